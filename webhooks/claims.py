"""Which deliveries may start now: claimed per endpoint, in fair shares, at its pace, under a lease.

A claim is one short transaction. It locks the rows of endpoints that have something due and room for
it, so that what they agree on (breaker, pace, how many are on their way) is exact over all workers,
and skips what somebody else is claiming. A delivery that must not be sent any more is put aside here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from catalog import prepared
from installs.models import Install
from webhooks import breaker, endpoint_rows, health
from webhooks.models import Attempt, BreakerState, Delivery, DeliveryStatus, Endpoint

LEASE = timedelta(seconds=60)
# How far ahead of its moment a paced delivery is claimed.
HORIZON = timedelta(milliseconds=60)
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Claimed:
    """One delivery that is ours until its lease is over.

    It may start `delay_seconds` from now, and `spacing_seconds` after the one before it there.
    """

    id: UUID
    fencing_token: int
    event_id: UUID
    event_type: str
    body: bytes
    merchant_id: UUID
    install_id: UUID
    attempts_made: int
    attempts_before_replay: int
    integration_id: UUID
    slug: str
    url: str
    is_oauth: bool
    useful_until: datetime | None = None
    delay_seconds: float = 0.0
    spacing_seconds: float = 0.0

    @property
    def number(self) -> int:
        return self.attempts_made + 1


@dataclass(slots=True)
class Claim:
    """What was claimed. `again_in` seconds there may be more, None where nothing says so."""

    items: list[Claimed] = field(default_factory=list)
    again_in: float | None = None
    # Installs for which something came too late, with their merchant and their integration.
    late: dict[UUID, tuple[UUID, UUID]] = field(default_factory=dict)

    def hear(self, seconds: float) -> None:
        self.again_in = seconds if self.again_in is None else min(self.again_in, seconds)


def now() -> datetime:
    """The database's clock, so that workers on several machines agree about leases and due times."""
    if connection.vendor != "postgresql":
        return timezone.now()
    row = prepared.fetch_row("SELECT clock_timestamp()", [])
    assert row is not None  # noqa: S101 - the statement always has one
    moment: datetime = row[0]
    return moment


def claim(most: int, at: datetime) -> Claim:
    """Take up to `most` due deliveries for the length of a lease."""
    claimed = Claim()
    with prepared.pipelined(), transaction.atomic():
        endpoints = endpoint_rows.ready(at, at + HORIZON)
        for endpoint in endpoints:
            _claim_at(endpoint, max(1, most // len(endpoints)), at, claimed)
    # Those rows are locked by others, for whom the ledger must not wait.
    health.note_too_late(claimed.late, at)
    return claimed


def _claim_at(endpoint: Endpoint, most: int, at: datetime, claimed: Claim) -> None:
    standing, integration = endpoint_rows.standing_of(endpoint), endpoint.integration
    most = min(most, integration.outbound_concurrency - endpoint.in_flight)
    per_second = breaker.pace(standing, integration.outbound_rate_per_second, at)
    first_slot = max(endpoint.next_slot_at or at, at)
    if standing.state == BreakerState.OPEN:
        most, standing = 1, breaker.probed(standing, at)
    elif per_second is not None:
        most = min(most, int((at + HORIZON - first_slot).total_seconds() * per_second) + 1)
    rows, is_all = _take(endpoint, most, at, claimed)
    if is_all and standing.state == BreakerState.RECOVERING:
        standing = breaker.drained(standing, at)
    endpoint_rows.set_standing(endpoint, standing)
    if per_second is not None:
        endpoint.next_slot_at = first_slot + timedelta(seconds=len(rows) / per_second)
    endpoint.in_flight += len(rows)
    endpoint.claimed_at = at
    endpoint_rows.save(endpoint, endpoint_rows.CLAIMED_FIELDS)
    wait = (first_slot - at).total_seconds()
    spacing = 1 / per_second if per_second is not None else 0.0
    for index, row in enumerate(rows):
        delay = wait + index * spacing if per_second is not None else 0.0
        claimed.items.append(_claimed(row, endpoint, delay, spacing))
    if not is_all and standing.state != BreakerState.OPEN:
        lead = HORIZON.total_seconds() / 2
        claimed.hear(max(wait + most / per_second - lead, 0.0) if per_second else 0.0)


# An earlier one of the same order that is still on its way, or waits for its next attempt, comes first.
DUE = """
    SELECT d.id, d.fencing_token, d.event_id, e.type, coalesce(d.body, e.body), d.merchant_id,
           d.install_id, d.attempts_made, d.attempts_before_replay, d.useful_until,
           coalesce(d.useful_until <= %s, false),
           i.id IS NULL, i.outbound_off_at IS NOT NULL, i.is_enabled
    FROM delivery d
    JOIN event e ON e.id = d.event_id
    LEFT JOIN merchant_integration i ON i.id = d.install_id
    WHERE d.integration_id = %s AND d.status = 'pending' AND d.next_attempt_at <= %s
      AND d.lease_until IS NULL
      AND (d.order_key = '' OR NOT EXISTS (
          SELECT 1 FROM delivery b
          WHERE b.install_id = d.install_id AND b.order_key = d.order_key
            AND b.status = 'pending' AND b.sequence < d.sequence))
    ORDER BY d.next_attempt_at
    LIMIT %s
"""
LOCKED = " FOR UPDATE OF d SKIP LOCKED"


def _take(
    endpoint: Endpoint, most: int, at: datetime, claimed: Claim
) -> tuple[list[tuple[Any, ...]], bool]:
    """Lease up to `most` rows of DUE and put aside those that must not be sent.

    The second value tells whether nothing else is due.
    """
    lock = LOCKED if connection.features.has_select_for_update_skip_locked else ""
    # One more than wanted tells whether there is more.
    due = prepared.fetch_rows(DUE + lock, [at, endpoint.pk, at, most + 1])
    found = due[:most]
    verdicts: dict[str, list[tuple[Any, ...]]] = {}
    for row in found:
        verdicts.setdefault(_verdict(row, endpoint), []).append(row)
    sendable = verdicts.pop("", [])
    for reason, rows in verdicts.items():
        _put_aside([row[0] for row in rows], reason, at)
    for row in verdicts.get(health.TOO_LATE, []):
        claimed.late[prepared.as_uuid(row[6])] = prepared.as_uuid(row[5]), endpoint.pk
    if sendable:
        lease(at + LEASE, [row[0] for row in sendable])
    return sendable, len(due) <= most


ASIDE = {
    "uninstalled": DeliveryStatus.CANCELLED,
    health.TOO_LATE: DeliveryStatus.CANCELLED,
    "endpoint_gone": DeliveryStatus.DEAD,
    "paused": DeliveryStatus.PENDING,
}


def _verdict(row: tuple[Any, ...], endpoint: Endpoint) -> str:
    """Why a row must not be sent now, empty where it may be."""
    is_late, is_gone, is_off, is_enabled = row[-4:]
    if is_gone:
        return "uninstalled"
    if is_late:
        return health.TOO_LATE
    if is_off:
        return "endpoint_gone"
    return "" if is_enabled and endpoint.integration.is_running else "paused"


def _put_aside(ids: Sequence[Any], reason: str, at: datetime) -> None:
    status = ASIDE[reason]
    Delivery.objects.filter(pk__in=ids).update(
        status=status,
        reason=reason,
        next_attempt_at=None,
        finished_at=None if status == DeliveryStatus.PENDING else at,
    )


def lease(until: datetime, ids: Sequence[Any]) -> None:
    if connection.vendor == "postgresql":
        prepared.execute(
            "UPDATE delivery SET lease_until = %s, fencing_token = fencing_token + 1"
            " WHERE id = ANY(%s)",
            [until, ids],
        )
    else:
        Delivery.objects.filter(pk__in=ids).update(
            lease_until=until, fencing_token=F("fencing_token") + 1
        )


def _claimed(
    row: tuple[Any, ...], endpoint: Endpoint, delay_seconds: float, spacing_seconds: float
) -> Claimed:
    return Claimed(
        id=prepared.as_uuid(row[0]),
        fencing_token=row[1] + 1,
        event_id=prepared.as_uuid(row[2]),
        event_type=row[3],
        body=bytes(row[4]),
        merchant_id=prepared.as_uuid(row[5]),
        install_id=prepared.as_uuid(row[6]),
        attempts_made=row[7],
        attempts_before_replay=row[8],
        integration_id=endpoint.pk,
        slug=endpoint.integration.slug,
        url=endpoint.integration.outbound_url,
        is_oauth=endpoint.integration.is_oauth,
        useful_until=prepared.as_time(row[9]),
        delay_seconds=delay_seconds,
        spacing_seconds=spacing_seconds,
    )


def give_back(items: Iterable[Claimed], at: datetime) -> None:
    """Of these nothing was sent and no attempt is counted; they are due again at the moment given."""
    with transaction.atomic():
        by_endpoint: dict[UUID, int] = {}
        for item in items:
            is_mine = Delivery.objects.filter(
                pk=item.id, fencing_token=item.fencing_token, status=DeliveryStatus.PENDING
            ).update(lease_until=None, next_attempt_at=at)
            by_endpoint[item.integration_id] = by_endpoint.get(item.integration_id, 0) + is_mine
        for endpoint in endpoint_rows.locked(by_endpoint):
            endpoint.in_flight = max(endpoint.in_flight - by_endpoint[endpoint.pk], 0)
            endpoint_rows.save(endpoint, ["in_flight"])


def reap(at: datetime) -> int:
    """Free what a dead worker held; return how many.

    Nobody knows whether the partner got it, so the attempt is on record as unknown. It does not count
    towards the five.
    """
    freed = 0
    for endpoint_id, in_flight in list(Endpoint.objects.values_list("pk", "in_flight")):
        held = Delivery.objects.leased(at).filter(integration_id=endpoint_id)
        # The count is asked first because it is cheap, and the rows because they are right.
        if in_flight or held.exists():
            freed += _reap_at(endpoint_id, at)
    return freed


def _reap_at(endpoint_id: UUID, at: datetime) -> int:
    with transaction.atomic():
        [endpoint] = endpoint_rows.locked([endpoint_id])
        held = Delivery.objects.leased(at).filter(integration_id=endpoint_id)
        over = list(held.filter(lease_until__lte=at).select_for_update())
        for row in over:
            _free(row)
        # Whatever went wrong with the count before, it is right again now.
        endpoint.in_flight = held.filter(lease_until__gt=at).count()
        endpoint_rows.save(endpoint, ["in_flight"])
    return len(over)


def _free(row: Delivery) -> None:
    Attempt.objects.create(
        delivery=row,
        number=row.attempts_made + 1,
        started_at=(row.lease_until or timezone.now()) - LEASE,
        elapsed_ms=0,
        problem=UNKNOWN,
    )
    row.attempts_made += 1
    row.attempts_before_replay += 1
    row.lease_until = None
    row.fencing_token += 1
    row.save(
        update_fields=["attempts_made", "attempts_before_replay", "lease_until", "fencing_token"]
    )


def resume(at: datetime, installs: Any = None) -> int:
    """Make due again what was paused and may be sent now; return how many."""
    may_send = Install.objects.filter(is_enabled=True).exclude(integration__status="disabled")
    rows = Delivery.objects.paused().filter(integration__in=Endpoint.objects.values("pk"))
    if installs is not None:
        rows = rows.filter(install_id__in=installs)
    gone = rows.exclude(install_id__in=Install.objects.values("pk"))
    gone.update(status=DeliveryStatus.CANCELLED, reason="uninstalled", finished_at=at)
    return rows.filter(install_id__in=may_send.values("pk")).update(next_attempt_at=at, reason="")
