"""Closing a business day: its summary is computed or checked, and each closing is a revision of its own.

Under the merchant's lock, before the event is written: everything with a lower sequence is there then.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

import msgspec
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from dispatch.operations import where_and_what
from dispatch.operations.exports import DailySummary, Outlet
from dispatch.orders import field_error
from installs.snapshot import Snapshot
from webhooks import daily_summary
from webhooks.event_rows import NewEvent
from webhooks.models import ClosedDay, Event

CLOSED = "business_day.closed"
BOOKS = "data_export_destination"


def close(new: NewEvent, sequence: int, known: Snapshot) -> tuple[NewEvent, ClosedDay | None]:
    """The event with its summary, and what is to be remembered of the day once the event is there.

    A summary that comes along is checked: refused with 400 where it contradicts itself, with the cents
    by which, or where its revision is not a new one. One that does not come along is computed for
    whoever listens. Without a business day it is an event like any other, unless books depend on it.
    """
    listeners = known.subscribers(new.location_id, new.type)
    has_books = any(BOOKS in item.capabilities for item in listeners)
    day = _day_of(new)
    if day is None:
        if has_books:
            raise field_error("data.business_date", _("A date is needed, such as 2026-11-24."))
        return new, None
    rows = ClosedDay.objects.filter(merchant_id=new.merchant_id, location=new.location_id)
    last = rows.filter(business_date=day).order_by("-revision").first()
    revision = last.revision + 1 if last else 1
    given = new.data.get("daily_summary")
    if given is not None:
        given = _checked(given, day, revision, must_fit=has_books)
        revision = given.get("revision", revision) if isinstance(given, dict) else revision
    elif listeners:
        summary = daily_summary.of_events(
            _events_of(new, day, sequence),
            outlet=_outlet(new, known),
            business_date=day,
            revision=revision,
        )
        given = daily_summary.document_of(summary)
    closed = ClosedDay(
        merchant_id=new.merchant_id,
        location_id=new.location_id,
        business_date=day,
        revision=revision,
        sequence=sequence,
    )
    if given is None:
        return new, closed
    return replace(new, data={**new.data, "daily_summary": given}), closed


def remember(closed: ClosedDay, event: Event) -> None:
    closed.event_id, closed.closed_at = event.pk, event.occurred_at
    closed.save(force_insert=True)


def _day_of(new: NewEvent) -> date | None:
    value = new.data.get("business_date")
    try:
        return parse_date(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _checked(given: Any, day: date, revision: int, *, must_fit: bool) -> Any:
    """With its day and revision filled in. What nobody's books depend on may have another shape."""
    filled = (
        {"business_date": day.isoformat(), "revision": revision, **given}
        if isinstance(given, dict)
        else given
    )
    try:
        summary = msgspec.convert(filled, DailySummary)
    except msgspec.ValidationError as error:
        if not must_fit:
            return given
        place, problem = where_and_what(error)
        raise field_error(f"data.daily_summary{place}", problem) from None
    if summary.business_date != day:
        message = _("This is not the business day that is closed.")
        raise field_error("data.daily_summary.business_date", message)
    if summary.revision < revision:
        message = _("A day that is closed again needs revision %(revision)s or higher.")
        raise field_error("data.daily_summary.revision", message % {"revision": revision})
    if found := daily_summary.differences(summary):
        raise _unbalanced(found)
    return filled


def _unbalanced(found: dict[str, int]) -> ApiError:
    message = _("It does not balance: the difference is %(cents)s cents.")
    fields = {
        f"data.daily_summary.{name}": [message % {"cents": cents}] for name, cents in found.items()
    }
    first, [text] = next(iter(fields.items()))
    return ApiError("invalid_payload", f"{first}: {text}", fields=fields, differences=found)


def _outlet(new: NewEvent, known: Snapshot) -> Outlet:
    place = known.locations.get(new.location_id) if new.location_id else None
    number: UUID = place.pk if place else known.merchant.pk
    return Outlet(id=str(number), name=place.name if place else known.merchant.name)


def _events_of(new: NewEvent, day: date, sequence: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The day's events in their order.

    An event that says to which business day it belongs counts there. Any other counts on the day in
    which it came in: after the closing of the day before, up to the first closing of this one. Whoever
    states a day late is found up to two closings back.
    """
    rows = ClosedDay.objects.filter(merchant_id=new.merchant_id, location=new.location_id)
    first = rows.filter(business_date=day).order_by("sequence").first()
    until = first.sequence if first else sequence
    before = rows.exclude(business_date=day).filter(sequence__lt=until).order_by("-sequence")
    starts = [*before.values_list("sequence", flat=True)[:2], 0, 0]
    found = Event.objects.filter(
        merchant_id=new.merchant_id,
        location=new.location_id,
        type__in=daily_summary.SUMMED,
        sequence__gt=starts[1],
        sequence__lt=sequence,
        is_example=False,
    )
    rows_of_day = found.order_by("sequence").values_list("sequence", "type", "body")
    for number, kind, body in rows_of_day.iterator():
        # Only examples have no place in the sequence.
        assert number is not None  # noqa: S101
        data = msgspec.json.decode(bytes(body))["data"]
        stated = _stated_day(data)
        if stated == day.isoformat() if stated else starts[0] < number <= until:
            yield kind, data


def _stated_day(data: dict[str, Any]) -> str | None:
    order = data.get("order")
    stated = data.get("business_date") or (isinstance(order, dict) and order.get("business_date"))
    return stated if isinstance(stated, str) else None
