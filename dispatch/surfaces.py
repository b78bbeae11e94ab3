"""What each capability that tills ask for takes and gives: the seam between JSON and contracts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from dispatch.contracts import (
    Adapter,
    Call,
    PayAtTableAdapter,
    PermanentError,
    ReceiptPretextAdapter,
    ReceiptPretextRequest,
    ReceiptQrAdapter,
    ReceiptQrRequest,
    TableCheckRequest,
)
from dispatch.orders import field_error, order_of


@dataclass(frozen=True, slots=True)
class Question:
    """A till's question, read and checked. `key` is what makes two askings the same."""

    key: str
    request: Any


@dataclass(frozen=True, slots=True)
class Surface:
    read: Callable[[Mapping[str, Any], str], Question]
    ask: Callable[[Adapter, Call, Question], dict[str, Any]]


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
