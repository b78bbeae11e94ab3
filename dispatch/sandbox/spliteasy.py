"""SplitEasy's server, as far as Posz sees it: merchants and bills come in, webhooks go out.

It is stricter than a partner need be, so that a wrong request is found here and not in the field.
A merchant's id follows from the Posz id and the name on a bill from the token, so that a restarted
sandbox, which has forgotten everything, still serves the installs that a hub remembers.
"""

import hashlib
import secrets
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jwt
from django.utils.dateparse import parse_datetime

from catalog import strict_json
from dispatch.sandbox.callbacks import Callback, Outbox
from dispatch.sandbox.messages import (
    Answer,
    RefusalError,
    Request,
    json_answer,
    json_object,
    now,
    rfc3339,
)

LONGEST_TOKEN_SECONDS = 900
BILL_LIFETIME = timedelta(hours=24)
MOST_BILLS = 20_000
OUTCOMES = {"settle": "settled", "expire": "expired", "cancel": "cancelled"}
AMOUNTS = ("subtotal", "service_charge", "tax", "discount", "rounding", "total")

Check = Callable[[Any], bool]


@dataclass(slots=True)
class Bill:
    token: str
    merchant: Mapping[str, Any]
    data: Mapping[str, Any]
    expires_at: datetime
    state: str = "open"
    callbacks: dict[str, Callback] = field(default_factory=dict)

    @property
    def last_callback(self) -> Callback | None:
        return self.callbacks.get(self.state)


class SplitEasy:
    def __init__(self, keys: Callable[[], list[bytes]], outbox: Outbox) -> None:
        self._keys = keys
        self._outbox = outbox
        self._lock = threading.Lock()
        self._merchants: set[str] = set()
        self._bills: OrderedDict[str, Bill] = OrderedDict()
        self._tokens: dict[tuple[str, str], str] = {}

    def post_merchant(self, request: Request) -> Answer:
        merchant = self._vouched_merchant(request)
        data = json_object(request)
        _check_fields(data, {"merchant_id": is_uuid, **PROFILE})
        if data["merchant_id"] != merchant["id"]:
            raise _invalid("merchant_id", "The token vouches for another merchant.")
        external_id = external_merchant_id(merchant["id"])
        with self._lock:
            is_new = external_id not in self._merchants
            self._merchants.add(external_id)
        return json_answer(201 if is_new else 200, {"external_merchant_id": external_id})

    def post_bill(self, request: Request) -> Answer:
        merchant = self._vouched_merchant(request)
        data = json_object(request)
        _check_bill(data)
        if data["external_merchant_id"] != external_merchant_id(merchant["id"]):
            raise _invalid("external_merchant_id", "The token vouches for another merchant.")
        bill, is_new = self._kept_bill(merchant, data)
        return json_answer(
            201 if is_new else 200,
            {"bill_token": bill.token, "expires_at": rfc3339(bill.expires_at)},
        )

    def bill(self, token: str) -> Bill | None:
        with self._lock:
            return self._bills.get(token)

    def latest_bills(self, count: int) -> list[Bill]:
        with self._lock:
            return list(reversed(self._bills.values()))[:count]

    def settle(self, bill: Bill) -> Callback | None:
        """The diner's own button: it does nothing to a bill that has ended otherwise."""
        with self._lock:
            if bill.state not in {"open", "settled"}:
                return None
        return self.end(bill, "settled")

    def end(self, bill: Bill, state: str) -> Callback:
        """Give the bill this state and tell the hub: once per state, whoever presses how often."""
        with self._lock:
            bill.state = state
            callback = bill.callbacks.get(state)
            if callback is not None:
                return callback
            callback = bill.callbacks[state] = _callback(bill, state)
        self._outbox.send(callback)
        return callback

    def resend(self, bill: Bill) -> None:
        for callback in list(bill.callbacks.values()):
            self._outbox.send(callback)

    def _kept_bill(self, merchant: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[Bill, bool]:
        order = (data["external_merchant_id"], data["external_order_id"])
        with self._lock:
            if order in self._tokens:
                return self._bills[self._tokens[order]], False
            if len(self._bills) >= MOST_BILLS:
                _, oldest = self._bills.popitem(last=False)
                del self._tokens[
                    oldest.data["external_merchant_id"], oldest.data["external_order_id"]
                ]
            bill = Bill(secrets.token_urlsafe(15), merchant, data, now() + BILL_LIFETIME)
            self._bills[bill.token] = bill
            self._tokens[order] = bill.token
            return bill, True

    def _vouched_merchant(self, request: Request) -> Mapping[str, Any]:
        scheme, _, token = (request.header("Authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("A bearer token is needed.")
        claims = self._claims(token.strip())
        if not 0 < claims["exp"] - claims["iat"] <= LONGEST_TOKEN_SECONDS:
            raise _unauthorized("The token must be valid for at most 900 seconds.")
        merchant = claims["merchant"]
        if not isinstance(merchant, dict):
            raise _unauthorized("The claim “merchant” must be an object.")
        wrong = _wrong_field(merchant, {"id": is_uuid, **PROFILE})
        if wrong:
            raise _unauthorized("The claim “merchant” is not complete.", f"merchant.{wrong}")
        return merchant

    def _claims(self, token: str) -> dict[str, Any]:
        reason = "there is no secret to check it with"
        for key in self._keys():
            try:
                # https://pyjwt.readthedocs.io/en/stable/api.html#jwt.decode
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=["HS256"],
                    issuer="posz",
                    audience="spliteasy",
                    options={"require": ["iss", "aud", "iat", "exp", "merchant"]},
                )
            except jwt.PyJWTError as error:
                reason = str(error)
            else:
                return claims
        raise _unauthorized(f"The token is not accepted: {reason}.")


def external_merchant_id(merchant_id: str) -> str:
    return "sem_" + hashlib.sha256(f"sandbox:{merchant_id.lower()}".encode()).hexdigest()[:20]


def _callback(bill: Bill, state: str) -> Callback:
    event_id, event_type = f"evt_{secrets.token_urlsafe(15)}", f"bill.{state}"
    body = {
        "event_id": event_id,
        "type": event_type,
        "external_merchant_id": bill.data["external_merchant_id"],
        "merchant_id": bill.merchant["id"],
        "occurred_at": rfc3339(now()),
        "data": {
            "bill_token": bill.token,
            "external_order_id": bill.data["external_order_id"],
            "amount": bill.data["total"],
            "currency": bill.data["currency"],
        },
    }
    return Callback(event_id, event_type, strict_json.dumps(body))


def is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 500


def is_text_or_empty(value: Any) -> bool:
    return value == "" or is_text(value)


def is_text_or_null(value: Any) -> bool:
    return value is None or is_text(value)


def is_integer(value: Any) -> bool:
    return type(value) is int


def is_quantity(value: Any) -> bool:
    return type(value) in {int, float} and value > 0


def is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def is_currency(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 3 and value.isascii() and value.isupper()


def is_time(value: Any) -> bool:
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        return False
    return moment is not None and moment.tzinfo is not None


def is_items(value: Any) -> bool:
    return isinstance(value, list)


def is_url_or_null(value: Any) -> bool:
    return value is None or (is_text(value) and value.startswith(("https://", "http://")))


PROFILE: dict[str, Check] = {
    "name": is_text,
    "location": is_text_or_null,
    "city": is_text_or_empty,
    "email": is_text_or_empty,
    "phone": is_text_or_null,
    "currency": is_currency,
    "locale": is_text,
    "timezone": is_text,
    "logo_url": is_url_or_null,
}
ITEM: dict[str, Check] = {
    "name": is_text,
    "quantity": is_quantity,
    "unit_price": is_integer,
    "total": is_integer,
}
BILL: dict[str, Check] = {
    "external_merchant_id": is_text,
    "external_order_id": is_text,
    "order_number": is_text,
    "location_id": is_uuid,
    "table": is_text_or_null,
    "currency": is_currency,
    "items": is_items,
    **dict.fromkeys(AMOUNTS, is_integer),
    "closed_at": is_time,
}


def _check_bill(data: Mapping[str, Any]) -> None:
    _check_fields(data, BILL)
    for index, item in enumerate(data["items"]):
        if not isinstance(item, dict):
            raise _invalid(f"items.{index}", "An item must be an object.")
        _check_fields(item, ITEM, f"items.{index}.")
    # A till may know only the sums of an order; then there are no items to add up.
    if data["items"] and sum(item["total"] for item in data["items"]) != data["subtotal"]:
        raise _invalid("subtotal", "The totals of the items do not add up to the subtotal.")
    subtotal, service_charge, tax, discount, rounding, total = (data[name] for name in AMOUNTS)
    if subtotal + service_charge + tax - discount + rounding != total:
        raise _invalid(
            "total", "subtotal + service_charge + tax - discount + rounding is not the total."
        )


def _check_fields(data: Mapping[str, Any], checks: Mapping[str, Check], where: str = "") -> None:
    wrong = _wrong_field(data, checks)
    if wrong:
        problem = "has the wrong type or value" if wrong in data else "is missing"
        raise _invalid(f"{where}{wrong}", f"{where}{wrong} {problem}.")


def _wrong_field(data: Mapping[str, Any], checks: Mapping[str, Check]) -> str | None:
    for name, is_right in checks.items():
        if name not in data or not is_right(data[name]):
            return name
    return None


def _invalid(field_name: str, message: str) -> RefusalError:
    return RefusalError(422, "invalid_field", message, field_name)


def _unauthorized(message: str, field_name: str = "Authorization") -> RefusalError:
    return RefusalError(401, "invalid_token", message, field_name)
