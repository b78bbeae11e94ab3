"""What a partner of the sandbox answers to each operation that the hub asks or hands over.

The example of the contract, with what the question says in place of what the example says. Payments are
remembered, because a status must tell of the very amount that was asked for, and so are bookings.
"""

import hashlib
import threading
from collections import OrderedDict
from typing import Any

import msgspec

from catalog.capabilities import Direction
from dispatch.operations import where_and_what
from dispatch.operations.notation import Contract, Operation, Wire
from dispatch.sandbox.bookings import Bookings
from dispatch.sandbox.messages import RefusalError

MOST_PAYMENTS = 10_000


class Operations:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._payments: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()
        self.bookings = Bookings()

    def answer(
        self, install_id: str, contract: Contract, name: str, data: dict[str, Any]
    ) -> dict[str, Any]:
        operation = _answered(contract, name)
        try:
            msgspec.convert(data, operation.request)
        except msgspec.ValidationError as error:
            where, what = where_and_what(error)
            raise RefusalError(422, "invalid_field", what, f"data{where}") from None
        if contract.capability == "payment_method" and "payment_id" in data:
            return self._payment(install_id, operation, data)
        if contract.capability == "reservation_provider":
            example = dict(operation.answer_example or {})
            return self.bookings.answer(install_id, operation.name, data, example)
        return _example(operation, data)

    def newest_payment(self) -> dict[str, Any]:
        """The payment that was started last, as a webhook reports it once it is paid."""
        with self._lock:
            key = next(reversed(self._payments), None)
            known = dict(self._payments[key]) if key else {}
        if key is None:
            return {}
        told = {name: known[name] for name in ("payment_id", "amount_cents", "currency")}
        return {**told, "status": known["status"], "provider_ref": _reference(key)}

    def _payment(
        self, install_id: str, operation: Operation, data: dict[str, Any]
    ) -> dict[str, Any]:
        """Whatever was started is paid as soon as its status is asked, unless it was cancelled."""
        key = install_id, data["payment_id"]
        answer = _example(operation, data)
        with self._lock:
            if operation.name == "create":
                self._payments[key] = {**data, "status": "paid"}
                if len(self._payments) > MOST_PAYMENTS:
                    self._payments.popitem(last=False)
            known = self._payments.get(key)
            if known is not None and operation.name == "cancel":
                known["status"] = "cancelled"
        if "provider_ref" in answer:
            answer["provider_ref"] = _reference(key)
        return answer | _state(known) if operation.name == "status" else answer


def _reference(key: tuple[str, str]) -> str:
    return f"sandbox-{hashlib.sha256(':'.join(key).encode()).hexdigest()[:16]}"


def _state(known: dict[str, Any] | None) -> dict[str, Any]:
    if known is None:
        return {"status": "failed", "paid_amount_cents": 0}
    is_paid = known["status"] == "paid"
    return {
        "status": known["status"],
        "paid_amount_cents": known["amount_cents"] + known.get("tip_cents", 0) if is_paid else 0,
        "currency": known["currency"],
    }


def _answered(contract: Contract, name: str) -> Operation:
    operation = contract.operation(name)
    is_answered = operation is not None and operation.direction is not Direction.INBOUND
    if operation is None or not is_answered or operation.wire is not Wire.POSZ:
        raise RefusalError(422, "operation_unknown", f"{contract.name} has no such operation.")
    return operation


def _example(operation: Operation, data: dict[str, Any]) -> dict[str, Any]:
    example = dict(operation.answer_example or {})
    return example | {name: data[name] for name in example if name in data}
