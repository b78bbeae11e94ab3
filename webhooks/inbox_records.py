"""From a partner's record to what the POS is handed: ids of Posz, nothing old, and what to look at.

One function per kind of record. What is in no record, such as a till that is off, is not known here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from dispatch.operations import (
    WrongRecordError,
    as_document,
    channels,
    inventory,
    messages,
    payments,
    reservations,
    staff,
    taxes,
)
from dispatch.operations.notation import Operation, Record
from installs import mappings, outlets
from installs.models import Install, Location, MappedKind
from webhooks import told
from webhooks.models import InboundEvent, Withheld
from webhooks.parking import Missing, ParkedError
from webhooks.told import Version, moment

# Where neither the order nor the install's settings say how long a channel waits.
ACCEPT_WITHIN = timedelta(minutes=10)
# Nothing about an order is newer than that it is off.
OFF = 2**62
MESSAGE_STEPS = ("queued", "sent", "failed", "delivered", "read")
MENU_STEPS = {"queued": 1, "processing": 2, "success": 3, "partial": 3, "failed": 3}


@dataclass(frozen=True, slots=True)
class Handover:
    """`withheld` says why the POS is not told; `notes` what it should look at beside the data."""

    data: dict[str, Any]
    external_id: str = ""
    location: Location | None = None
    withheld: str = ""
    needs_approval: bool = False
    accept_by: datetime | None = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Telling:
    """A record on its way."""

    row: InboundEvent
    install: Install
    operation: Operation
    record: Any

    def setting(self, name: str) -> Any:
        return self.install.config.get(name)

    def verdict(self, subject: str, number: int, value: str = "") -> str:
        return told.tell_one(self.row.install_id, subject, Version(number, value)).withheld


def handover_of(telling: Telling) -> Handover:
    """What becomes of the record. ParkedError where it waits for a mapping; nothing is noted then
    but the ids that are missing.
    """
    handler = HANDLERS.get(type(telling.record), _as_it_is)
    return handler(telling)


# Orders of channels


def _order(it: Telling) -> Handover:
    """An item that nobody mapped is an open item: an order is never lost and never waits.

    Where the channel itself says what an item is in Posz, as it knows from the menu, that holds.
    """
    record: channels.ChannelOrder = it.record
    subject = f"order:{record.channel}:{record.external_order_id}"
    data = as_document(record)
    open_lines = _name_items(it, data["lines"])
    return Handover(
        data,
        external_id=record.external_order_id,
        withheld=it.verdict(subject, record.version),
        accept_by=_accept_by(it, record),
        notes={"open_items": open_lines} if open_lines else {},
    )


def _name_items(it: Telling, lines: list[dict[str, Any]]) -> list[str]:
    unnamed = [line for line in lines if "sku" not in line]
    seen = {line["external_sku"]: line["name"] for line in unnamed}
    known = mappings.look_up(it.install, MappedKind.SKU, seen).known
    for line in unnamed:
        if sku := known.get(line["external_sku"]):
            line["sku"] = sku
        else:
            line["open_item"] = True
    return [line["id"] for line in unnamed if "open_item" in line]


def _accept_by(it: Telling, record: channels.ChannelOrder) -> datetime | None:
    if record.acceptance != "manual":
        return None
    minutes = it.setting("accept_minutes")
    within = timedelta(minutes=minutes) if type(minutes) is int else ACCEPT_WITHIN
    return record.accept_by or record.placed_at + within


def _cancelled(it: Telling) -> Handover:
    record: channels.ChannelOrderCancelled = it.record
    subject = f"order:{record.channel}:{record.external_order_id}"
    withheld = it.verdict(subject, OFF)
    return Handover(as_document(record), record.external_order_id, withheld=withheld)


def _driver(it: Telling) -> Handover:
    record: channels.DriverUpdate = it.record
    subject = f"driver:{record.channel}:{record.external_order_id}"
    withheld = it.verdict(subject, record.version, record.status)
    return Handover(as_document(record), record.external_order_id, withheld=withheld)


# Bookings, and what became of what Posz sent


def _booking(it: Telling) -> Handover:
    record: reservations.Reservation = it.record
    withheld = it.verdict(f"reservation:{record.external_id}", record.sequence)
    return Handover(as_document(record), record.external_id, withheld=withheld)


def _message(it: Telling) -> Handover:
    record: messages.MessageReport = it.record
    step = MESSAGE_STEPS.index(record.status)
    withheld = it.verdict(f"message:{record.message_id}", step)
    return Handover(as_document(record), record.message_id, withheld=withheld)


def _menu(it: Telling) -> Handover:
    record: channels.MenuResult = it.record
    step = MENU_STEPS[record.status]
    withheld = it.verdict(f"menu:{record.job_id}", step, record.status)
    return Handover(as_document(record), record.job_id, withheld=withheld)


def _invoice(it: Telling) -> Handover:
    """A status may come back, after a correction; only the partner's own times tell an order."""
    record: taxes.TaxInvoiceChange = it.record
    at, withheld = it.row.occurred_at, ""
    if at is not None:
        withheld = it.verdict(f"tax_invoice:{record.invoice_id}", moment(at), record.status)
    return Handover(as_document(record), record.invoice_id, withheld=withheld)


def _payment(it: Telling) -> Handover:
    """For information: what a payment is, is decided by whoever keeps payments."""
    record: payments.ReportedPayment = it.record
    return Handover(as_document(record), record.provider_ref)


def _as_it_is(it: Telling) -> Handover:
    return Handover(as_document(it.record))


# Stock


def _supply(it: Telling) -> Handover:
    """A count that differs too much from the last one, or has none before it, needs approval."""
    record: inventory.Supply = it.record
    data = as_document(record)
    location = _placed(it, data, data["lines"])
    withheld = it.verdict(f"{it.operation.name}:{record.external_id}", 0)
    doubtful = False
    if not withheld and it.operation.method is inventory.ReplenishAdapter.stock_level:
        data["lines"], doubtful = _counted(it, location, record.at, data["lines"])
    return Handover(
        data,
        record.external_id,
        location,
        withheld or _unless_empty(data["lines"]),
        needs_approval=doubtful,
    )


def _counted(
    it: Telling, location: Location, at: datetime, lines: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], bool]:
    most = it.setting("variance_percent")
    versions = {
        f"stock:{location.pk}:{line['sku']}": Version(moment(at), line["qty"]) for line in lines
    }
    verdicts = told.tell(it.row.install_id, versions)
    kept = []
    for line in lines:
        verdict = verdicts[f"stock:{location.pk}:{line['sku']}"]
        if verdict.withheld:
            continue
        if type(most) is int and _is_far_off(verdict.before, line["qty"], most):
            line["needs_approval"] = True
            if verdict.before is not None:
                line["previous_qty"] = verdict.before
        kept.append(line)
    return kept, any("needs_approval" in line for line in kept)


def _is_far_off(before: str | None, now: str, most_percent: int) -> bool:
    if before is None:
        return True
    old, new = Decimal(before), Decimal(now)
    return abs(new - old) * 100 > abs(old) * most_percent


def _purchase_order(it: Telling) -> Handover:
    record: inventory.PurchaseOrder = it.record
    data = as_document(record)
    location = _placed(it, data, data.get("lines", []))
    subject = f"purchase_order:{record.external_id}"
    withheld = it.verdict(subject, moment(record.at), record.status)
    return Handover(data, record.external_id, location, withheld)


def _available(it: Telling) -> Handover:
    """Applied at once, unless the merchant wants to look at it first."""
    record: inventory.Availabilities = it.record
    data = as_document(record)
    location = _placed(it, data, data["items"])
    withheld = it.verdict(f"{it.operation.name}:{record.external_id}", 0)
    if not withheld:
        versions = {
            f"available:{location.pk}:{item['sku']}": Version(
                moment(record.at), str(item["available"])
            )
            for item in data["items"]
        }
        verdicts = told.tell(it.row.install_id, versions)
        data["items"] = [
            item
            for item in data["items"]
            if not verdicts[f"available:{location.pk}:{item['sku']}"].withheld
        ]
    return Handover(
        data,
        record.external_id,
        location,
        withheld or _unless_empty(data["items"]),
        needs_approval=it.setting("auto_availability") is False,
    )


def _placed(it: Telling, data: dict[str, Any], lines: list[dict[str, Any]]) -> Location:
    """The outlet, with its id and those of the items written over the partner's own.

    Whatever was ignored is taken out of `lines`.
    """
    found = mappings.look_up(it.install, MappedKind.SKU, {line["sku"]: "" for line in lines})
    places = _Places(it)
    location = places.place_of(data["location_id"], ".location_id")
    missing = [*places.missing, *((MappedKind.SKU, text) for text in found.open)]
    if missing or location is None:
        raise ParkedError(missing)
    _rename(data, "location_id", "external_location_id", str(location.pk))
    lines[:] = [line for line in lines if line["sku"] not in found.ignored]
    for line in lines:
        _rename(line, "sku", "external_sku", found.known[line["sku"]])
    return location


# Shifts


def _schedule(it: Telling) -> Handover:
    """Only what is published reaches the POS, and that a published shift was taken back."""
    record: staff.Schedule = it.record
    data = as_document(record)
    shifts = data.pop("shifts")
    people = {shift["staff_external_id"]: "" for shift in shifts}
    found = mappings.look_up(it.install, MappedKind.EMPLOYEE, people)
    places = _Places(it)
    located = [
        places.place_of(shift["outlet_id"], f".shifts[{number}].outlet_id")
        for number, shift in enumerate(shifts)
    ]
    missing = [*places.missing, *((MappedKind.EMPLOYEE, text) for text in found.open)]
    if missing:
        raise ParkedError(missing)
    told_at = dict(zip((shift["external_id"] for shift in shifts), located, strict=True))
    kept = [
        shift
        for shift in _news_of_shifts(it, record.shifts, shifts)
        if shift["staff_external_id"] not in found.ignored
    ]
    for shift in kept:
        shift["staff_id"] = found.known[shift["staff_external_id"]]
        location = told_at[shift["external_id"]]
        if location is not None:
            _rename(shift, "outlet_id", "external_outlet_id", str(location.pk))
    data["shifts"] = kept
    outlet_ids = {shift["outlet_id"] for shift in kept}
    only = places.known[outlet_ids.pop()] if len(outlet_ids) == 1 else None
    return Handover(data, record.schedule_version, only, _unless_empty(kept))


def _news_of_shifts(
    it: Telling, records: Sequence[staff.Shift], shifts: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The newest of each shift, where the POS is told anything about it."""
    newest = {record.external_id: record for record in sorted(records, key=_by_time)}
    versions = {
        f"shift:{key}": Version(moment(record.updated_at), record.status)
        for key, record in newest.items()
    }
    verdicts = told.tell(it.row.install_id, versions)
    news = []
    for record, shift in zip(records, shifts, strict=True):
        verdict = verdicts[f"shift:{record.external_id}"]
        if verdict.withheld or newest[record.external_id] is not record:
            continue
        if record.status == "published":
            news.append(shift)
        elif verdict.before == "published":
            # Taken back, whether by deleting it or by making a draft of it again.
            news.append(shift | {"status": "deleted"})
    return news


def _by_time(shift: staff.Shift) -> datetime:
    return shift.updated_at


# Ids


class _Places:
    """Outlets by what a record calls them; remembers which nobody knows."""

    def __init__(self, it: Telling) -> None:
        self.it = it
        self.known = outlets.places_of(it.row.integration, it.row.merchant_id)
        self.missing: set[Missing] = set()

    def place_of(self, text: str, field: str) -> Location | None:
        own = self.it.install.location_id
        location = self.known.get(text)
        if location is None and text not in {number for _kind, number in self.missing}:
            outlets.note_unknown(self.it.row.integration, text, self.it.row.merchant_id)
            self.missing.add((MappedKind.OUTLET, text))
        if location is not None and own is not None and location.pk != own:
            raise WrongRecordError(field, _("It is not installed at this outlet."))
        return location


def _rename(data: dict[str, Any], name: str, external_name: str, value: str) -> None:
    """Posz's id in its place; the partner's own beside it where it is another."""
    if data[name] != value:
        data[external_name] = data[name]
        data[name] = value


def _unless_empty(items: list[Any]) -> str:
    return "" if items else Withheld.NOTHING_NEW


HANDLERS: dict[type[Record], Callable[[Telling], Handover]] = {
    channels.ChannelOrder: _order,
    channels.ChannelOrderCancelled: _cancelled,
    channels.DriverUpdate: _driver,
    channels.MenuResult: _menu,
    reservations.Reservation: _booking,
    messages.MessageReport: _message,
    taxes.TaxInvoiceChange: _invoice,
    payments.ReportedPayment: _payment,
    inventory.Supply: _supply,
    inventory.PurchaseOrder: _purchase_order,
    inventory.Availabilities: _available,
    staff.Schedule: _schedule,
}
