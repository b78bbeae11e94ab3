"""SplitEasy: a QR on the receipt with which a table splits its bill.

Auth is one secret for all of Posz: a fresh HS256 JWT per request, valid for 15 minutes.
Amounts are integers in the unit that is really used, so rupiah lose their hundredths here.
"""

import time
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import jwt

from catalog.strict_json import dumps
from dispatch import door
from dispatch.contracts import (
    AuditNote,
    AuthError,
    Call,
    InboundAdapter,
    Order,
    PartnerEvent,
    PermanentError,
    ProvisioningAdapter,
    QrLink,
    ReceiptQrAdapter,
    ReceiptQrRequest,
    TemporaryError,
)

JWT_SECONDS = 900
EVENTS = ("bill.settled", "bill.expired", "bill.cancelled")
# Currencies that nobody pays fractions of, whatever ISO 4217 says of their minor unit.
WHOLE_UNIT_CURRENCIES = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "IDR", "IRR", "ISK", "JPY", "KHR", "KMF", "KRW", "LAK", "MMK"}
    | {"PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"}
)


class SplitEasy(ReceiptQrAdapter, ProvisioningAdapter, InboundAdapter):
    slug = "spliteasy"
    speaks = {"receipt_qr": (1,), "payment_webhook_inbound": (1,)}

    def provision(self, call: Call) -> str:
        answer = self._post(
            call, "/v1/external/merchants", {"merchant_id": str(call.merchant.pk), **_profile(call)}
        )
        return _text(answer, "external_merchant_id")

    def receipt_qr(self, call: Call, request: ReceiptQrRequest) -> QrLink:
        order = request.order
        answer = self._post(
            call,
            "/v1/external/bills",
            {
                "external_merchant_id": call.external_merchant_id,
                "external_order_id": order.id,
                "order_number": order.number,
                "location_id": str(call.location.pk) if call.location else None,
                "table": order.table,
                "currency": order.currency,
                **bill_amounts(order),
                "closed_at": order.closed_at.isoformat(),
            },
        )
        token = _text(answer, "bill_token")
        return QrLink(
            qr_payload=f"{call.integration.landing_base_url.rstrip('/')}/{token}",
            label_en="Scan to split the bill",
            label_id="Pindai untuk bagi tagihan",
            external_ref=token,
        )

    def on_event(self, event: PartnerEvent) -> list[AuditNote]:
        if event.type not in EVENTS:
            return []
        kept = ("bill_token", "external_order_id", "amount", "currency")
        return [AuditNote(event.type, {key: event.data[key] for key in kept if key in event.data})]

    def external_ref(self, data: Mapping[str, Any]) -> str | None:
        token = data.get("bill_token")
        return token if isinstance(token, str) else None

    def _post(self, call: Call, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            reply = door.call(
                "POST",
                f"{call.integration.api_base_url.rstrip('/')}{path}",
                headers={
                    "Authorization": f"Bearer {_token(call)}",
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                },
                body=dumps(body),
                timeout_seconds=call.timeout_seconds,
            )
            if reply.status in {401, 403}:
                raise AuthError(f"{path} answered {reply.status}")
            if reply.status >= 500 or reply.status == 429:
                raise TemporaryError(f"{path} answered {reply.status}")
            if reply.status not in {200, 201}:
                raise PermanentError(f"{path} answered {reply.status}")
            answer = reply.json()
        except (door.NonsenseError, door.TooLargeError) as error:
            raise PermanentError(f"{path}: {error.code}") from None
        except door.DoorError as error:
            raise TemporaryError(f"{path}: {error.code}") from None
        if not isinstance(answer, dict):
            raise PermanentError(f"{path} did not answer with an object")
        return answer


def bill_amounts(order: Order) -> dict[str, Any]:
    """The order in SplitEasy's unit.

    Each amount is rounded half up by itself; `rounding` takes what that costs, so that subtotal +
    service charge + tax - discount + rounding is the total, always.
    """
    unit = 100 if order.currency in WHOLE_UNIT_CURRENCIES else 1
    items: list[dict[str, Any]] = [
        {
            "name": line.name,
            "quantity": int(line.qty) if line.qty == int(line.qty) else float(line.qty),
            "unit_price": _in_units(line.unit_price_cents, unit),
            "total": _in_units(line.total_cents, unit),
        }
        for line in order.lines
    ]
    subtotal = (
        sum(item["total"] for item in items) if items else _in_units(order.subtotal_cents, unit)
    )
    service = _in_units(order.service_cents, unit)
    tax = _in_units(order.tax_cents, unit)
    discount = _in_units(order.discount_cents, unit)
    total = _in_units(order.total_cents, unit)
    return {
        "items": items,
        "subtotal": subtotal,
        "service_charge": service,
        "tax": tax,
        "discount": discount,
        "rounding": total - (subtotal + service + tax - discount),
        "total": total,
    }


def _in_units(cents: int, unit: int) -> int:
    return int((Decimal(cents) / unit).quantize(Decimal(1), ROUND_HALF_UP))


def _token(call: Call) -> str:
    key = call.keys.get("jwt")
    if not key:
        raise AuthError("no JWT secret is set for SplitEasy")
    now = int(time.time())
    return jwt.encode(
        {
            "iss": "posz",
            "aud": "spliteasy",
            "iat": now,
            "exp": now + JWT_SECONDS,
            "merchant": {"id": str(call.merchant.pk), **_profile(call)},
        },
        key,
        algorithm="HS256",
    )


def _profile(call: Call) -> dict[str, Any]:
    merchant, location = call.merchant, call.location
    return {
        "name": merchant.name,
        "location": location.name if location else None,
        "city": location.city if location else merchant.city,
        "email": merchant.email,
        "phone": merchant.phone or None,
        "currency": merchant.currency,
        "locale": merchant.locale,
        "timezone": location.timezone if location else merchant.timezone,
        "logo_url": merchant.logo_url or None,
    }


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not value.isprintable():
        raise PermanentError(f"the answer has no usable “{name}”")
    return value
