"""The door for what Posz tells partners: an event and its deliveries are one transaction.

`accept_event` writes them, the engine (`engine.py`) sends what is due. The database is the clock and
the truth; the queue only wakes workers up. A delivery is claimed with a lease and a fencing token
(`claims.py`), sent without any lock held (`sending.py`), and its outcome is written only by whoever
still holds the token (`outcomes.py`). Delivery is at least once, with a stable event id and the same
bytes on every attempt.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from catalog.envelope import ApiError
from catalog.strict_json import dumps
from installs import connection, lifecycle, scope
from installs.models import Install, Location, Merchant
from installs.wake import wake
from webhooks import claims, health
from webhooks.engine import Engine
from webhooks.models import Delivery, DeliveryStatus, Endpoint, Event

VERSION = 1
ORDER_KEY_LENGTH = 255


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event as the POS reports it, checked."""

    type: str
    merchant_id: UUID
    location_id: UUID | None
    occurred_at: datetime | None
    idempotency_key: str | None
    data: Mapping[str, Any]


def accept_event(new: NewEvent) -> tuple[Event, int]:
    """Store an event with one delivery per subscribed, enabled, effective install.

    The same idempotency key of a merchant gives the same event and writes nothing. Refused with 404
    for an unknown merchant or outlet.
    """
    try:
        with transaction.atomic():
            event = _write_event(new)
    except IntegrityError:
        event = Event.objects.get(merchant_id=new.merchant_id, idempotency_key=new.idempotency_key)
    return event, event.deliveries.count()


def _write_event(new: NewEvent) -> Event:
    if new.idempotency_key is not None:
        known = Event.objects.filter(
            merchant_id=new.merchant_id, idempotency_key=new.idempotency_key
        ).first()
        if known is not None:
            return known
    # The update is also the lock that puts a merchant's events in one order.
    if not Merchant.objects.filter(pk=new.merchant_id).update(
        event_sequence=F("event_sequence") + 1
    ):
        raise ApiError("not_found")
    location = lifecycle.find_location(new.merchant_id, new.location_id)
    merchant = Merchant.objects.get(pk=new.merchant_id)
    event = _event_row(new, merchant, location)
    event.save(force_insert=True)
    rows = subscribers(merchant.pk, location, new.type)
    write_deliveries(event, rows, new.data)
    if new.type == "settings.changed":
        merchant_settings_changed(merchant, new.data)
    return event


def write_deliveries(event: Event, rows: list[Install], data: Mapping[str, Any]) -> list[Delivery]:
    """One delivery of the event per install, and somebody to send it once all is committed."""
    ensure_endpoints({row.integration_id for row in rows})
    deliveries = Delivery.objects.bulk_create(
        [
            Delivery(
                event=event,
                merchant_id=event.merchant_id,
                integration=row.integration,
                install_id=row.pk,
                sequence=event.sequence,
                order_key=order_of(data) if row.integration.outbound_in_order else "",
            )
            for row in rows
        ]
    )
    if deliveries:
        transaction.on_commit(wake_delivery)
    return deliveries


def order_of(data: Mapping[str, Any]) -> str:
    """The order an event is about, empty where it is about none."""
    order = data.get("order")
    found = order.get("id") if isinstance(order, dict) else None
    found = found or data.get("order_id") or data.get("external_order_id")
    return str(found)[:ORDER_KEY_LENGTH] if isinstance(found, str | int) else ""


_known_endpoints: set[UUID] = set()


def ensure_endpoints(integration_ids: set[UUID]) -> None:
    """Without its row an endpoint is never looked at."""
    missing = integration_ids - _known_endpoints
    if missing:
        Endpoint.objects.bulk_create(
            [Endpoint(integration_id=item) for item in missing], ignore_conflicts=True
        )
        transaction.on_commit(lambda: _known_endpoints.update(missing))


def accept_example(install: Install, event_type: str, data: Mapping[str, Any]) -> Delivery:
    """Store an event in which nothing has happened, with a delivery to this install alone.

    It says so in its body, and has no place in the merchant's sequence.
    """
    new = NewEvent(event_type, install.merchant_id, install.location_id, None, None, data)
    with transaction.atomic():
        event = _event_row(new, install.merchant, install.location, is_example=True)
        event.save(force_insert=True)
        # The order it speaks of is invented, so it waits for no other.
        [delivery] = write_deliveries(event, [install], {})
    return delivery


def _event_row(
    new: NewEvent, merchant: Merchant, location: Location | None, *, is_example: bool = False
) -> Event:
    event_id, occurred_at = uuid4(), new.occurred_at or timezone.now()
    body = dumps(
        {
            "id": str(event_id),
            "type": new.type,
            "version": VERSION,
            "occurred_at": occurred_at.isoformat(),
            "merchant_id": str(merchant.pk),
            "location_id": str(location.pk) if location else None,
            "sequence": 0 if is_example else merchant.event_sequence,
            **({"example": True} if is_example else {}),
            "data": new.data,
        }
    )
    return Event(
        id=event_id,
        merchant=merchant,
        location=location,
        type=new.type,
        sequence=None if is_example else merchant.event_sequence,
        is_example=is_example,
        idempotency_key=new.idempotency_key,
        body=body,
        occurred_at=occurred_at,
    )


def subscribers(merchant_id: UUID, location: Location | None, event_type: str) -> list[Install]:
    """Enabled installs that are effective at the location and subscribe to the type.

    An event of no location goes to every enabled subscriber, once per partner.
    """
    rows = list(Install.objects.for_merchant(merchant_id).with_names().in_order())
    if location is not None:
        effective = {
            item.id
            for item in scope.effective_installs([row.scoped() for row in rows], location.pk)
        }
        rows = [row for row in rows if row.pk in effective]
    wanted = [
        row
        for row in rows
        if row.is_enabled
        and row.outbound_off_at is None
        and row.integration.is_running
        and event_type in row.integration.outbound_events
    ]
    if location is not None:
        return wanted
    first_of: dict[UUID, Install] = {}
    for row in wanted:
        first_of.setdefault(row.integration_id, row)
    return list(first_of.values())


def merchant_settings_changed(merchant: Merchant, data: Mapping[str, Any]) -> None:
    """Follow the POS: take over what changed, and tell the partners that know the merchant."""
    after = data.get("after")
    merchant.apply_settings(after if isinstance(after, dict) else {})
    rows = Install.objects.for_merchant(merchant.pk).with_names().filter(is_enabled=True)
    connection.schedule_provisioning(rows.select_for_update(of=("self",)))


def deliver_due() -> int:
    """Send everything that is due, in this thread; return how many attempts were made.

    Safe to run in many workers at once and after any crash.
    """
    return Engine().run_until_idle()


def look_after() -> None:
    """What a tick does: free what a dead worker held, make due what may be sent again."""
    at = claims.now()
    claims.reap(at)
    claims.resume(at)


def resume_install(install_id: UUID) -> None:
    """The install was switched on again: what waited for it is due now."""
    if claims.resume(claims.now(), [install_id]):
        wake_delivery()


def cancel_for(install_id: UUID) -> int:
    """The install is gone: nothing of it that has not been sent is sent any more."""
    health.forget([install_id])
    return Delivery.objects.filter(
        install_id=install_id, status=DeliveryStatus.PENDING, lease_until=None
    ).update(
        status=DeliveryStatus.CANCELLED,
        reason="uninstalled",
        next_attempt_at=None,
        finished_at=timezone.now(),
    )


def replay(delivery: Delivery) -> None:
    """Send a finished delivery again from the start of its ladder.

    Refused where the install is gone or switched off, and while it is still on its way.
    """
    install = Install.objects.filter(pk=delivery.install_id).first()
    if install is None:
        raise ApiError("integration_not_installed")
    if not install.is_enabled:
        raise ApiError("integration_disabled")
    start_anew([delivery.pk])


def start_anew(ids: Collection[UUID]) -> int:
    """Put finished deliveries at the start of their ladder, due now; return how many they were.

    Whether their installs may be sent to is for the caller to know. One on its way stays as it is.
    """
    with transaction.atomic():
        started = (
            Delivery.objects.filter(pk__in=ids)
            .exclude(status=DeliveryStatus.PENDING)
            .update(
                status=DeliveryStatus.PENDING,
                reason="",
                attempts_before_replay=F("attempts_made"),
                next_attempt_at=timezone.now(),
                finished_at=None,
            )
        )
        if started:
            transaction.on_commit(wake_delivery)
    return started


def wake_delivery() -> None:
    wake("webhooks.tasks.deliver_due")
