"""What the generic partner posts to the hub by itself: any inbound operation, signed.

Events go to the webhook endpoint, questions to an address of their own. Each is posted once, and whoever
asked for it sees what the hub answered. Posted again it is the same bytes. Merchant and outlet are those
the partner heard of last, unless somebody says which.
"""

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, Literal, get_args

from catalog import strict_json
from dispatch.operations import inbound_operations
from dispatch.operations.notation import Contract, Operation
from dispatch.sandbox.callbacks import DidNotAnswerError, post
from dispatch.sandbox.generic import WRONG_KEY, Keys, spoilt
from dispatch.sandbox.messages import RefusalError, now, rfc3339
from dispatch.signing import hex_signature, standard_headers

Way = Literal["ok", "wrong_signature", "malformed"]
WAYS = get_args(Way)
MOST_SENT = 1_000
# What names the subject of an event. A new subject is another one each time, and what follows is about
# the newest.
SUBJECTS = ("external_order_id", "external_id", "schedule_version")
FOLLOWING = frozenset({"order.updated", "order.cancelled", "order.driver_update"})


@dataclass(frozen=True, slots=True)
class Order:
    """What to send. Fields of `data` take the place of those of the contract's example."""

    capability: str
    operation: str
    slug: str = "demo-partner"
    merchant_id: str | None = None
    location_id: str | None = None
    event_id: str | None = None
    occurred_at: str | None = None
    data: Mapping[str, Any] | None = None
    way: str = "ok"

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Order":
        for name in fields:
            if name not in cls.__slots__:
                raise RefusalError(422, "invalid_field", "There is no such setting.", name)
        for name in ("capability", "operation"):
            if name not in fields:
                raise RefusalError(422, "invalid_field", "This is needed.", name)
        for name in cls.__slots__:
            kind = Mapping if name == "data" else str
            if fields.get(name) is not None and not isinstance(fields[name], kind):
                raise RefusalError(422, "invalid_field", "This is of the wrong kind.", name)
        if fields.get("way", "ok") not in WAYS:
            raise RefusalError(422, "invalid_field", f"One of {', '.join(WAYS)} is needed.", "way")
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Sent:
    """`status` 0 where the hub did not answer."""

    event_id: str
    slug: str
    capability: str
    type: str
    way: str
    path: str
    body: str
    status: int = 0
    answer: str = ""
    at: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Sender:
    def __init__(self, hub: str, keys: Keys, newest_payment: Callable[[], dict[str, Any]]) -> None:
        self._hub = hub
        self._keys = keys
        self._newest_payment = newest_payment
        self._lock = threading.Lock()
        self._heard: dict[str, tuple[str, str | None]] = {}
        # What questions about checks need: the newest check, and the lock that was given for it.
        self._known: dict[str, dict[str, Any]] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._sent: OrderedDict[str, Sent] = OrderedDict()

    def heard_of(self, slug: str, merchant_id: Any, location_id: Any, data: Any = None) -> None:
        check = data.get("check") if isinstance(data, dict) else None
        known = check if isinstance(check, dict) else {}
        with self._lock:
            if isinstance(merchant_id, str):
                place = location_id if isinstance(location_id, str) else None
                self._heard[slug] = merchant_id, place
            for name, value in (
                ("check_id", known.get("check_id") or known.get("id")),
                ("table", known.get("table")),
            ):
                if value:
                    self._known.setdefault(slug, {})[name] = value

    def heard_last(self, slug: str) -> tuple[str | None, str | None]:
        with self._lock:
            return self._heard.get(slug, (None, None))

    def latest(self, count: int) -> list[Sent]:
        with self._lock:
            return list(islice(reversed(self._sent.values()), count))

    def send(self, order: Order) -> Sent:
        contract, operation = _inbound(order)
        merchant_id, location_id = self._place(order)
        data = self._data(order, contract, operation)
        at = order.occurred_at or rfc3339(now())
        place = {"merchant_id": merchant_id, "location_id": location_id}
        told = {"data": spoilt(data) if order.way == "malformed" else data}
        event_id = order.event_id or f"evt_{uuid.uuid4().hex}"
        if operation.answer is None:
            said = {"event_id": event_id, "type": operation.name, "occurred_at": at}
        else:
            said = {"contract": contract.name, "operation": operation.name, "sent_at": at}
            place = {name: value for name, value in place.items() if value}
        body = strict_json.dumps({**said, **place, **told}).decode()
        path = "webhook" if operation.answer is None else contract.path(operation)
        draft = Sent(
            event_id, order.slug, contract.capability, operation.name, order.way, path, body
        )
        return self._post(draft)

    def send_again(self, event_id: str) -> Sent | None:
        with self._lock:
            known = self._sent.get(event_id)
        return known and self._post(known)

    def _place(self, order: Order) -> tuple[str, str | None]:
        heard, place = self.heard_last(order.slug)
        if order.merchant_id:
            return order.merchant_id, order.location_id
        if heard is None:
            problem = "This partner has heard of no merchant yet: say which."
            raise RefusalError(422, "invalid_field", problem, "merchant_id")
        return heard, order.location_id or place

    def _data(self, order: Order, contract: Contract, operation: Operation) -> dict[str, Any]:
        data = dict(operation.request_example)
        place = order.slug, contract.capability
        with self._lock:
            if operation.name not in FOLLOWING:
                self._numbers[place] = self._numbers.get(place, 0) + 1
            number = self._numbers.get(place, 1)
        for name in SUBJECTS:
            if name in data:
                data[name] = f"{data[name]}-{number}"
        if contract.capability == "payment_webhook_inbound":
            data |= self._newest_payment()
        if operation.answer is not None:
            with self._lock:
                known = self._known.get(order.slug, {})
                data |= {name: known[name] for name in data if name in known}
        return data | dict(order.data or {})

    def _post(self, draft: Sent) -> Sent:
        body = draft.body.encode()
        keys = [WRONG_KEY] if draft.way == "wrong_signature" else self._keys(draft.slug)
        if not keys:
            raise RefusalError(409, "no_secret", f"There is no inbound secret of {draft.slug}.")
        if draft.path == "webhook":
            name = "-".join(part.capitalize() for part in draft.slug.split("-"))
            signed = {f"X-{name}-Signature": hex_signature(body, keys[0])}
        else:
            signed = standard_headers(draft.event_id, int(time.time()), body, keys[:1])
        try:
            status, answer = post(
                f"{self._hub}/v1/integrations/{draft.slug}/{draft.path}", body, signed
            )
        except DidNotAnswerError as error:
            status, answer = 0, str(error)
        sent = replace(draft, status=status, answer=answer, at=rfc3339(now()))
        with self._lock:
            self._sent.pop(sent.event_id, None)
            self._sent[sent.event_id] = sent
            if len(self._sent) > MOST_SENT:
                self._sent.popitem(last=False)
        if sent.type == "payment.start" and status == 200:
            self._locked(sent)
        return sent

    def _locked(self, sent: Sent) -> None:
        try:
            lock = strict_json.loads(sent.answer.encode())["data"]["lock_id"]
        except (strict_json.StrictJSONError, LookupError, TypeError):
            return
        asked = strict_json.loads(sent.body.encode())["data"]
        with self._lock:
            known = self._known.setdefault(sent.slug, {})
            known |= {"lock_id": lock, "payment_id": asked["payment_id"]}
            known["amount_cents"] = asked["amount_cents"]


def _inbound(order: Order) -> tuple[Contract, Operation]:
    for contract, operation in inbound_operations():
        if (contract.capability, operation.name) == (order.capability, order.operation):
            return contract, operation
    problem = f"{order.capability} has no such event."
    raise RefusalError(422, "operation_unknown", problem, "operation")
