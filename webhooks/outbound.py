"""The door for what Posz tells partners: an event and its deliveries are one transaction.

`accept_event` writes them, the engine (`engine.py`) sends what is due. The database is the clock and
the truth; the queue only wakes workers up. A delivery is claimed with a lease and a fencing token
(`claims.py`), sent without any lock held (`sending.py`), and its outcome is written only by whoever
still holds the token (`outcomes.py`). Delivery is at least once, with a stable event id and the same
bytes on every attempt.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from catalog.prepared import fetch_row
from dispatch import table_checks
from installs import connection, lifecycle, snapshot
from installs.models import Install, Merchant
from installs.snapshot import Snapshot, Subscriber
from installs.wake import wake_soon
from webhooks import business_days, claims, erasures, event_rows, exported, health, menus
from webhooks.engine import Engine
from webhooks.event_rows import Addressed, Draft, TokenProof
from webhooks.event_rows import NewEvent as NewEvent
from webhooks.exported import Happening, Parcel
from webhooks.exported.customers import ERASURES
from webhooks.models import Delivery, DeliveryStatus, Endpoint, Event

SETTINGS_CHANGED = "settings.changed"
REMIND_EVERY_SECONDS = 0.5
# Of these more is written than the event and its deliveries.
IN_TURN = frozenset(
    {SETTINGS_CHANGED, business_days.CLOSED, *ERASURES, *menus.KEPT, *table_checks.EVENTS}
)


def accept_event(new: NewEvent) -> tuple[Event, int]:
    """Store an event with one delivery per subscribed, enabled, effective install.

    Gives the event and how many deliveries it has. The same idempotency key of a merchant gives the
    same event and writes nothing. Refused with 404 for an unknown merchant or outlet.
    """
    known = _known(new)
    if known is None:
        try:
            return accept_at_once(new) or _accept_in_turn(new)
        except IntegrityError:
            # Only another request with the same key can have been faster.
            known = _known(new)
            if known is None:
                raise
    return known, known.deliveries.count()


def _known(new: NewEvent) -> Event | None:
    if new.idempotency_key is None:
        return None
    return Event.objects.filter(
        merchant_id=new.merchant_id, idempotency_key=new.idempotency_key
    ).first()


def accept_at_once(new: NewEvent, token: TokenProof | None = None) -> tuple[Event, int] | None:
    """With what is remembered of the merchant and the token, if that is how things are; else None.

    Writes nothing where it gives None, and never finds an event that is there already. Refused with 400
    where an operation that the event causes can't be made of it.
    """
    known = snapshot.remembered(new.merchant_id)
    if known is None or new.type in IN_TURN or not _is_place_of(known, new):
        return None
    draft = event_rows.draft(new)
    to = _addressees(known, new, draft)
    ensure_endpoints(item.install for item in to)
    written = event_rows.insert_at_once(draft, to, known.stamp, token)
    if written is None:
        return None
    event, is_looked_for = written
    if to:
        transaction.on_commit(remind_delivery if is_looked_for else wake_delivery)
    return event, len(to)


# The update is also the lock that puts a merchant's events in one order, and nobody can install or
# uninstall between the stamp it gives and the commit.
NEXT_IN_SEQUENCE = f"""
    UPDATE merchant SET event_sequence = event_sequence + 1 WHERE id = %s
    RETURNING event_sequence, {snapshot.STAMP_COLUMNS}
"""  # noqa: S608


def _accept_in_turn(new: NewEvent) -> tuple[Event, int]:
    with transaction.atomic():
        row = fetch_row(NEXT_IN_SEQUENCE, [new.merchant_id])
        if row is None:
            raise ApiError("not_found")
        sequence, *stamp = row
        known = snapshot.at(new.merchant_id, snapshot.stamp_of(stamp))
        if not _is_place_of(known, new):
            raise ApiError("not_found", lifecycle.no_such_outlet())
        closed = None
        if new.type == business_days.CLOSED:
            new, closed = business_days.close(new, sequence, known)
        draft = event_rows.draft(new)
        event = event_rows.insert_event(draft, sequence)
        if closed is not None:
            business_days.remember(closed, event)
        if new.type in menus.KEPT:
            menus.note(new.type, new.merchant_id, new.location_id, new.data, event.occurred_at)
        parcels = _parcels(known, new, draft)
        to = [_addressed(item, draft) for item in parcels]
        write_deliveries(event, draft, to, new.data)
        if new.type in ERASURES:
            erasures.begin(event, parcels)
        if new.type == SETTINGS_CHANGED:
            merchant_settings_changed(new.merchant_id, new.data)
        if new.type in table_checks.EVENTS:
            table_checks.take(new.merchant_id, new.location_id, new.type, new.data)
    return event, len(parcels)


def _parcels(known: Snapshot, new: NewEvent, draft: Draft) -> list[Parcel]:
    told: Sequence[Subscriber] = known.subscribers(new.location_id, new.type)
    if new.type == erasures.REQUESTED:
        told = erasures.holders(known, told)
    happening = Happening(draft.id, new.type, draft.occurred_at, new.location_id, new.data, known)
    return exported.parcels(told, happening)


def _addressees(known: Snapshot, new: NewEvent, draft: Draft) -> list[Addressed]:
    return [_addressed(item, draft) for item in _parcels(known, new, draft)]


def _addressed(parcel: Parcel, draft: Draft) -> Addressed:
    tail = None if parcel.data is None else draft.tail_with(parcel.data)
    return Addressed(parcel.install, tail, parcel.useful_until)


def _is_place_of(known: Snapshot, new: NewEvent) -> bool:
    return new.location_id is None or new.location_id in known.locations


def write_deliveries(
    event: Event, draft: Draft, to: Sequence[Addressed], data: Mapping[str, Any]
) -> Sequence[UUID]:
    """One delivery of the event per install, and somebody to send it once all is committed."""
    ensure_endpoints(item.install for item in to)
    ids = event_rows.insert_deliveries(event, draft, to, data)
    if ids:
        transaction.on_commit(wake_delivery)
    return ids


_known_endpoints: set[UUID] = set()


def ensure_endpoints(rows: Iterable[Install]) -> None:
    """Without its row an endpoint is never looked at."""
    missing = {row.integration_id for row in rows} - _known_endpoints
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
        draft = event_rows.draft(new, is_example=True)
        event = event_rows.insert_event(draft, None)
        # The order it speaks of is invented, so it waits for no other.
        [delivery_id] = write_deliveries(event, draft, [Addressed(install)], {})
    return Delivery.objects.get(pk=delivery_id)


def merchant_settings_changed(merchant_id: UUID, data: Mapping[str, Any]) -> None:
    """Follow the POS: take over what changed, and tell the partners that know the merchant."""
    merchant, after = Merchant.objects.get(pk=merchant_id), data.get("after")
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


def is_reachable(install: Install) -> bool:
    """Whether anything may be sent for an install now. Its `integration` should be loaded."""
    return install.is_enabled and install.integration.is_running and install.outbound_off_at is None


def require_reachable(install: Install) -> None:
    if install.outbound_off_at is not None:
        raise ApiError("integration_disabled", _("The partner has closed its address for events."))
    if not is_reachable(install):
        raise ApiError("integration_disabled")


def replay(delivery: Delivery) -> None:
    """Send a finished delivery again from the start of its ladder.

    Refused where the install is gone, switched off or told to stop by its partner. One that is still
    on its way stays as it is.
    """
    install = Install.objects.select_related("integration").filter(pk=delivery.install_id).first()
    if install is None:
        raise ApiError("integration_not_installed")
    require_reachable(install)
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
                # Whoever sends it again wants it to arrive, however late.
                useful_until=None,
            )
        )
        if started:
            transaction.on_commit(wake_delivery)
    return started


def wake_delivery() -> None:
    wake_soon("webhooks.tasks.deliver_due")


def remind_delivery() -> None:
    """An engine is looking already; should it have died since, another one is woken up."""
    wake_soon("webhooks.tasks.deliver_due", every_seconds=REMIND_EVERY_SECONDS)
