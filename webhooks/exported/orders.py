"""What channels are told of their orders, and whoever shows bills at the table of these."""

from datetime import timedelta
from typing import get_args

from dispatch.operations.channels import Reason
from installs.models import Install
from webhooks.exported.notation import Happening, Part, settings_of, some

# Channels give up an order that nobody has accepted after eleven minutes or so.
ACCEPT_WITHIN = timedelta(minutes=10)
STATUS = {
    "channel_order.accepted": "accepted",
    "channel_order.rejected": "rejected",
    "order.sent_to_kitchen": "preparing",
    "order.ready": "ready",
    "order.completed": "completed",
    "order.voided": "cancelled",
}
ANSWERS = ("accepted", "rejected")


def order_status(event: Happening, install: Install) -> Part | None:
    """How an order goes, to the channel it came from. Orders of the till's own are nobody's."""
    data, status = event.data, STATUS[event.type]
    is_own = status not in ANSWERS and data.get("external_order_id") is None
    if is_own or not _is_of(event, install):
        return None
    reason = data.get("reason") if status in {"rejected", "cancelled"} else None
    known_reasons = get_args(Reason)
    request = some(
        external_order_id=data.get("external_order_id"),
        status=status,
        attempt_group=data.get("attempt_group", 1),
        reason_code=(reason if reason in known_reasons else "other") if reason else None,
        reason_text=reason if reason not in known_reasons else None,
        ready_at=data.get("ready_at"),
        edits=data.get("edits"),
    )
    until = (
        (event.time("accept_by") or event.occurred_at + ACCEPT_WITHIN)
        if status in ANSWERS
        else None
    )
    return Part(request, "", {".reason_text": ".reason"}, until)


def _is_of(event: Happening, install: Install) -> bool:
    """A channel goes by the slug of its integration; one of another name may be any of them."""
    channel = event.data.get("channel")
    named = any(row.integration.slug == channel for row in event.known.installs.values())
    return install.integration.slug == channel if named else True


def check(event: Happening, _install: Install) -> Part:
    return Part(some(check=event.data.get("check")), event.type)


def reservation_status(event: Happening, install: Install) -> Part | None:
    """How a booking goes, to whoever took it. Those of Posz's own book have no number elsewhere."""
    booking = event.object("reservation")
    if booking is None or booking.get("external_id") is None:
        return None
    spent = event.data.get("check") if settings_of(install).get("send_spend") is True else None
    request = some(
        reservation_id=booking.get("id"),
        external_id=booking.get("external_id"),
        status=booking.get("status"),
        at=event.occurred_at.isoformat(),
        sequence=booking.get("sequence"),
        tables=booking.get("tables"),
        course=event.data.get("course"),
        covers_actual=event.data.get("covers_actual"),
        check=spent,
        staff_id=event.data.get("staff_id"),
    )
    names = ("external_id", "status", "sequence", "tables")
    places = {f".{name}": f".reservation.{name}" for name in names}
    return Part(request, "", places | {".reservation_id": ".reservation.id"})
