"""Any partner that speaks the Posz contract over signed HTTP: it needs a catalog row and no code.

Every method passes its question on as it is and reads the answer as the registry of operations says; how
they travel is in `dispatch.posz_wire`.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec

from dispatch.contracts import (
    AuditNote,
    Call,
    InboundAdapter,
    Order,
    PartnerEvent,
    PayAtTableAdapter,
    PermanentError,
    Pretext,
    QrCodes,
    QrLink,
    ReceiptCodesAdapter,
    ReceiptPretextAdapter,
    ReceiptPretextRequest,
    ReceiptQrAdapter,
    ReceiptQrRequest,
    TableCheckRequest,
    TextLine,
)
from dispatch.operations import (
    as_document,
    identity,
    messages,
    operation_of,
    read_from_partner,
    receipts,
    reservations,
    staff,
    taxes,
    where_and_what,
)
from dispatch.operations.notation import Done, Record
from dispatch.posz_wire import ask

SUMS = ("subtotal_cents", "total_cents")

Q = TypeVar("Q", bound=Record)
A = TypeVar("A", bound=Record)


class Noting(InboundAdapter):
    """An event means what it says: it is noted as it came."""

    def on_event(self, event: PartnerEvent) -> list[AuditNote]:
        return [AuditNote(event.type, dict(event.data))]


class Generic(
    ReceiptQrAdapter,
    ReceiptCodesAdapter,
    ReceiptPretextAdapter,
    PayAtTableAdapter,
    taxes.TaxInvoiceAdapter,
    reservations.ReservationProviderAdapter,
    messages.NotificationAdapter,
    staff.ScheduleImportAdapter,
    identity.AuthProviderAdapter,
    Noting,
):
    slug = "*"
    speaks = {
        "receipt_qr": (1, 2),
        "receipt_pretext": (1,),
        "pay_at_table": (1,),
        "tax_invoice_provider": (1,),
        "reservation_provider": (1,),
        "notification_provider": (1,),
        "staff_schedule_import": (1,),
        # Signing in goes over OpenID Connect; the directory and ended sessions over the Posz contract.
        "auth_provider": (1,),
    }

    def receipt_qr(self, call: Call, request: ReceiptQrRequest) -> QrLink:
        question = {"order": request.order.raw, "receipt": request.receipt}
        return _qr_link(ask(call, "receipt_qr", "", question))

    def receipt_codes(self, call: Call, request: ReceiptQrRequest) -> QrCodes:
        question = {"order": _without_people(request.order), "receipt": request.receipt}
        answer = read_from_partner(ask(call, "receipt_qr", "", question), receipts.ReceiptCodes)
        return QrCodes(
            links=tuple(
                QrLink(code.qr_payload, code.label.en, code.label.id, answer.external_ref)
                for code in answer.codes
            ),
            expires_at=tuple(code.expires_at for code in answer.codes),
            external_ref=answer.external_ref,
        )

    def receipt_pretext(self, call: Call, request: ReceiptPretextRequest) -> Pretext:
        question = {"order": request.order.raw, "receipt": request.receipt}
        return _pretext(ask(call, "receipt_pretext", "", question), request.columns)

    def pay_at_table(self, call: Call, request: TableCheckRequest) -> QrLink:
        return _qr_link(ask(call, "pay_at_table", "", {"check": request.check.raw}))

    # Tax invoices

    def tax_invoice(self, call: Call, request: taxes.TaxInvoiceOrder) -> taxes.TaxInvoice:
        return asked(taxes.TaxInvoiceAdapter.tax_invoice, call, request)

    def tax_invoice_change(self, event: PartnerEvent) -> taxes.TaxInvoiceChange:
        return told(taxes.TaxInvoiceAdapter.tax_invoice_change, event)

    # Reservations

    def availability(
        self, call: Call, request: reservations.AvailabilityQuestion
    ) -> reservations.Availability:
        return asked(reservations.ReservationProviderAdapter.availability, call, request)

    def create_reservation(
        self, call: Call, request: reservations.NewReservation
    ) -> reservations.Reservation:
        return asked(reservations.ReservationProviderAdapter.create_reservation, call, request)

    def update_reservation(
        self, call: Call, request: reservations.ReservationUpdate
    ) -> reservations.Reservation:
        return asked(reservations.ReservationProviderAdapter.update_reservation, call, request)

    def cancel_reservation(
        self, call: Call, request: reservations.ReservationCancel
    ) -> reservations.Reservation:
        return asked(reservations.ReservationProviderAdapter.cancel_reservation, call, request)

    def reservations_of_day(
        self, call: Call, request: reservations.DayQuestion
    ) -> reservations.Book:
        return asked(reservations.ReservationProviderAdapter.reservations_of_day, call, request)

    def hold_table(self, call: Call, request: reservations.HoldQuestion) -> reservations.Hold:
        return asked(reservations.ReservationProviderAdapter.hold_table, call, request)

    def reservation_change(self, event: PartnerEvent) -> reservations.Reservation:
        return told(reservations.ReservationProviderAdapter.reservation_change, event)

    # Messages

    def send_message(self, call: Call, request: messages.Message) -> messages.TakenMessage:
        return asked(messages.NotificationAdapter.send_message, call, request)

    def message_report(self, event: PartnerEvent) -> messages.MessageReport:
        return told(messages.NotificationAdapter.message_report, event)

    # Staff

    def pull_schedule(self, call: Call, request: staff.ScheduleQuestion) -> staff.Schedule:
        return asked(staff.ScheduleImportAdapter.pull_schedule, call, request)

    def published_schedule(self, event: PartnerEvent) -> staff.Schedule:
        return told(staff.ScheduleImportAdapter.published_schedule, event)

    def people(self, call: Call, request: identity.DirectoryQuestion) -> identity.Directory:
        return asked(identity.AuthProviderAdapter.people, call, request)

    def ended_session(self, event: PartnerEvent) -> identity.EndedSession:
        return told(identity.AuthProviderAdapter.ended_session, event)


def asked(method: Callable[[Any, Call, Q], A], call: Call, request: Q) -> A:
    """Put an operation's question to the partner and read its answer strictly."""
    contract, operation = operation_of(method)
    data = ask(call, contract.capability, operation.name, as_document(request))
    return cast("A", read_from_partner(data, operation.answer or Done))


def told(method: Callable[[Any, PartnerEvent], Q], event: PartnerEvent) -> Q:
    _contract, operation = operation_of(method)
    return cast("Q", read_from_partner(event.data, operation.request))


def _without_people(order: Order) -> dict[str, Any]:
    """The order of the contract, and nothing more of what the till has; what Posz knows is filled in."""
    known = {name: getattr(order, name) for name in ("number", "version", *SUMS)}
    lines = enumerate(order.raw.get("lines") or (), 1)
    numbered = [{"id": str(number), **line} for number, line in lines]
    whole = {**known, **order.raw, "lines": numbered}
    try:
        return as_document(msgspec.convert(whole, receipts.ReceiptOrder))
    except msgspec.ValidationError as error:
        where, what = where_and_what(error)
        raise PermanentError(f"the till’s order is wrong at data.order{where}: {what}") from None


def _qr_link(data: Mapping[str, Any]) -> QrLink:
    label = data.get("label")
    if not isinstance(label, dict):
        raise PermanentError("the answer has no label")
    return QrLink(
        qr_payload=_text(data, "qr_payload"),
        label_en=_text(label, "en"),
        label_id=_text(label, "id"),
        external_ref=_text(data, "external_ref"),
    )


def _pretext(data: Mapping[str, Any], columns: int) -> Pretext:
    lines = data.get("lines")
    if not isinstance(lines, list):
        raise PermanentError("the answer has no lines")
    return Pretext(
        lines=tuple(_text_line(line) for line in lines),
        columns=columns,
        external_ref=_text(data, "external_ref") if data.get("external_ref") else "",
    )


def _text_line(line: Any) -> TextLine:
    text = line.get("text") if isinstance(line, dict) else None
    if not isinstance(text, dict):
        raise PermanentError("a line has no text")
    english, indonesian = text.get("en"), text.get("id")
    align, emphasis = line.get("align", "left"), line.get("emphasis", False)
    if not isinstance(english, str) or not isinstance(indonesian, str):
        raise PermanentError("a line has no text in both languages")
    if not isinstance(align, str) or not isinstance(emphasis, bool):
        raise PermanentError("a line has no usable align or emphasis")
    return TextLine(english, indonesian, align, emphasis)


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 300:
        raise PermanentError(f"the answer has no usable “{name}”")
    return value
