"""What each operation that tills ask for takes and gives: the seam between JSON and contracts.

Most are read and asked as the registry of operations says; receipts and checks have readers of their
own, which are content with less.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from dispatch.answers import Ask
from dispatch.contracts import (
    Adapter,
    Call,
    PayAtTableAdapter,
    PermanentError,
    ReceiptCodesAdapter,
    ReceiptPretextAdapter,
    ReceiptPretextRequest,
    ReceiptQrAdapter,
    ReceiptQrRequest,
    TableCheckRequest,
)
from dispatch.operations import as_document, newest, where_and_what
from dispatch.operations.notation import Contract, Failure, Operation
from dispatch.orders import field_error, order_of
from dispatch.payment_keeping import KEEPERS
from dispatch.questions import Keeper, Question

__all__ = ["Keeper", "Question", "Surface", "operation_error", "surface_of"]

UNKNOWN_OUTCOME = "pending_verification"


@dataclass(frozen=True, slots=True)
class Surface:
    read: Callable[[Mapping[str, Any], str], Question]
    ask: Callable[[Adapter, Call, Question], dict[str, Any]]
    keeper: Callable[[Ask, Question], Keeper] | None = None


def read_receipt(data: Mapping[str, Any], currency: str) -> Question:
    order, receipt = order_of(data, currency), _receipt_of(data)
    return Question(f"{order.id}:{order.version}", ReceiptQrRequest(order, receipt))


def read_pretext(data: Mapping[str, Any], currency: str) -> Question:
    order, receipt = order_of(data, currency), _receipt_of(data)
    return Question(f"{order.id}:{order.version}", ReceiptPretextRequest(order, receipt))


def _receipt_of(data: Mapping[str, Any]) -> dict[str, Any]:
    receipt = data.get("receipt") or {}
    if not isinstance(receipt, dict):
        raise field_error("data.receipt", _("An object is needed."))
    return receipt


def ask_receipt_qr(adapter: Adapter, call: Call, question: Question) -> dict[str, Any]:
    """In the version that the install has; what tills have read so far is in both answers."""
    if call.install.capability_versions.get("receipt_qr") == 2:
        if not isinstance(adapter, ReceiptCodesAdapter):
            raise PermanentError(f"{adapter.slug} does not speak receipt_qr@2")
        return adapter.receipt_codes(call, question.request).output()
    if not isinstance(adapter, ReceiptQrAdapter):
        raise PermanentError(f"{adapter.slug} does not speak receipt_qr")
    return adapter.receipt_qr(call, question.request).output()


def ask_receipt_pretext(adapter: Adapter, call: Call, question: Question) -> dict[str, Any]:
    if not isinstance(adapter, ReceiptPretextAdapter):
        raise PermanentError(f"{adapter.slug} does not speak receipt_pretext")
    return adapter.receipt_pretext(call, question.request).output()


def read_check(data: Mapping[str, Any], currency: str) -> Question:
    check = order_of(data, currency, name="check")
    return Question(f"{check.id}:{check.version}", TableCheckRequest(check))


def ask_pay_at_table(adapter: Adapter, call: Call, question: Question) -> dict[str, Any]:
    if not isinstance(adapter, PayAtTableAdapter):
        raise PermanentError(f"{adapter.slug} does not speak pay_at_table")
    return adapter.pay_at_table(call, question.request).output()


SURFACES: dict[str, Surface] = {
    "receipt_qr": Surface(read_receipt, ask_receipt_qr),
    "receipt_pretext": Surface(read_pretext, ask_receipt_pretext),
    "pay_at_table": Surface(read_check, ask_pay_at_table),
}


def surface_of(capability: str, name: str) -> Surface | None:
    """How an operation is asked. None where none is named and the capability has several.

    Refused (ApiError): a name that is not one of them.
    """
    contract = newest(capability)
    operation = contract.operation(name)
    if operation is None and not name:
        return None
    if operation is None or not operation.is_asked:
        raise operation_error(contract)
    return (not name and SURFACES.get(capability)) or _by_contract(contract, operation)


def operation_error(contract: Contract | str) -> ApiError:
    if isinstance(contract, str):
        contract = newest(contract)
    names = ", ".join(item.name for item in contract.operations if item.is_asked and item.name)
    message = _("One of these is needed: %(names)s.") if names else _("This must be left out.")
    return field_error("operation", message % {"names": names})


def _by_contract(contract: Contract, operation: Operation) -> Surface:
    def read(data: Mapping[str, Any], currency: str) -> Question:
        try:
            request = msgspec.convert(data, operation.request)
        except msgspec.ValidationError as error:
            where, what = where_and_what(error)
            raise field_error(f"data{where}", what) from None
        if getattr(request, "currency", currency) != currency:
            raise field_error("data.currency", _("This is not the merchant’s currency."))
        is_doubtful = operation.failure is Failure.PENDING
        known = {"payment_id": data.get("payment_id"), "status": UNKNOWN_OUTCOME}
        return Question(operation.key_of(data), request, known if is_doubtful else {})

    def ask(adapter: Adapter, call: Call, question: Question) -> dict[str, Any]:
        if operation.method is None or not isinstance(adapter, contract.adapter):
            raise PermanentError(f"{adapter.slug} does not speak {contract.capability}")
        answer = getattr(adapter, operation.method.__name__)(call, question.request)
        return as_document(answer)

    return Surface(read, ask, KEEPERS.get((contract.capability, operation.name)))
