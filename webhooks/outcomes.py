"""What follows from attempts, written in bulk: attempt, status and next due time in one transaction.

An outcome is written only by whoever still holds the delivery's fencing token. Consequences for people
(audit entries, the health of an install, an endpoint that is gone) follow in transactions of their own,
because they wait for locks that the ledger must not wait for.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import DatabaseError, connection, transaction

from catalog import prepared
from installs import audit, grants
from installs import connection as install_connection
from installs.ladder import LADDER, next_attempt_at
from installs.models import Install
from webhooks import breaker, endpoint_rows, erasures, health, totals
from webhooks.claims import Claimed
from webhooks.models import Attempt, BreakerState, Delivery, DeliveryStatus, Endpoint
from webhooks.sending import Job, Outcome

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """An attempt and what the delivery becomes by it."""

    job: Job
    outcome: Outcome
    status: str
    reason: str
    next_at: datetime | None

    @property
    def item(self) -> Claimed:
        return self.job.item


def record(ended: Sequence[tuple[Job, Outcome]], at: datetime) -> None:
    """Write the outcomes of attempts and what follows from them."""
    results = [_result(job, outcome) for job, outcome in ended]
    with prepared.pipelined(), transaction.atomic():
        mine = _write(results, at)
        written = [result for result in results if result.item.id in mine]
        changed = _tell_endpoints(written, at)
    for result in results:
        _log(result, is_mine=result.item.id in mine)
    try:
        _consequences(written, changed, at)
    except DatabaseError:
        # The ledger is right; whoever records next brings the health up to date.
        logger.exception("The consequences of %d attempts were not written", len(written))


def _result(job: Job, outcome: Outcome) -> Result:
    tries = job.item.number - job.item.attempts_before_replay
    return Result(job, outcome, *what_follows(tries, outcome, job.item.useful_until))


def what_follows(
    tries: int, outcome: Outcome, useful_until: datetime | None = None
) -> tuple[str, str, datetime | None]:
    """Status, reason and next due time after the given number of attempts that count.

    What would come too late is not tried any more.
    """
    if outcome.is_success:
        return DeliveryStatus.DELIVERED, "", None
    if outcome.status == 410:
        return DeliveryStatus.DEAD, "endpoint_gone", None
    failed_at = outcome.started_at + timedelta(milliseconds=outcome.elapsed_ms)
    next_at = next_attempt_at(tries, failed_at)
    if next_at is None:
        return DeliveryStatus.DEAD, outcome.problem, None
    if outcome.retry_after:
        next_at = max(next_at, failed_at + min(outcome.retry_after, LADDER[-1]))
    if useful_until is not None and next_at > useful_until:
        return DeliveryStatus.CANCELLED, health.TOO_LATE, None
    return DeliveryStatus.PENDING, outcome.problem, next_at


BULK = """
    WITH outcome AS (
        SELECT * FROM unnest(
            %s::uuid[], %s::bigint[], %s::text[], %s::text[], %s::int[], %s::timestamptz[],
            %s::timestamptz[], %s::int[], %s::int[], %s::text[], %s::text[]
        ) AS o(id, token, status, reason, number, next_at,
               started_at, elapsed_ms, response_status, problem, excerpt)
    ), written AS (
        UPDATE delivery d
        SET status = o.status, reason = o.reason, attempts_made = o.number,
            next_attempt_at = o.next_at, lease_until = NULL,
            finished_at = CASE WHEN o.status = 'pending' THEN NULL ELSE %s::timestamptz END
        FROM outcome o
        WHERE d.id = o.id AND d.fencing_token = o.token AND d.lease_until IS NOT NULL
        RETURNING d.id
    )
    INSERT INTO delivery_attempt
        (delivery_id, number, started_at, elapsed_ms, response_status, problem, response_excerpt)
    SELECT o.id, o.number, o.started_at, o.elapsed_ms, o.response_status, o.problem, o.excerpt
    FROM outcome o JOIN written w ON w.id = o.id
    RETURNING delivery_id
"""


def _write(results: Sequence[Result], at: datetime) -> set[UUID]:
    """Write what is still ours to write; return the deliveries."""
    if connection.vendor != "postgresql":
        return {result.item.id for result in results if _write_one(result, at)}
    columns = zip(
        *(
            (
                result.item.id,
                result.item.fencing_token,
                str(result.status),
                result.reason,
                result.item.number,
                result.next_at,
                result.outcome.started_at,
                result.outcome.elapsed_ms,
                result.outcome.status,
                result.outcome.problem,
                result.outcome.excerpt,
            )
            for result in results
        ),
        strict=True,
    )
    return {row[0] for row in prepared.fetch_rows(BULK, [*map(list, columns), at])}


def _write_one(result: Result, at: datetime) -> bool:
    item, outcome = result.item, result.outcome
    is_mine = Delivery.objects.filter(
        pk=item.id, fencing_token=item.fencing_token, lease_until__isnull=False
    ).update(
        status=result.status,
        reason=result.reason,
        attempts_made=item.number,
        next_attempt_at=result.next_at,
        lease_until=None,
        finished_at=None if result.status == DeliveryStatus.PENDING else at,
    )
    if is_mine:
        Attempt.objects.create(
            delivery_id=item.id,
            number=item.number,
            started_at=outcome.started_at,
            elapsed_ms=outcome.elapsed_ms,
            response_status=outcome.status,
            problem=outcome.problem,
            response_excerpt=outcome.excerpt,
        )
    return bool(is_mine)


def _tell_endpoints(results: Sequence[Result], at: datetime) -> list[Endpoint]:
    """Bring breakers and totals up to date; return the endpoints whose breaker changed."""
    by_endpoint: dict[UUID, list[Result]] = {}
    for result in results:
        by_endpoint.setdefault(result.item.integration_id, []).append(result)
    changed = []
    for endpoint in endpoint_rows.locked(by_endpoint):
        ended = by_endpoint[endpoint.pk]
        before = endpoint.state
        standing = endpoint_rows.standing_of(endpoint)
        endpoint_rows.set_standing(endpoint, breaker.after(standing, _for_breaker(ended), at))
        endpoint.in_flight = max(endpoint.in_flight - len(ended), 0)
        attempts = [(result.outcome.status, result.outcome.elapsed_ms) for result in ended]
        totals.add(endpoint.totals, endpoint.latency_counts, attempts)
        endpoint.latency_ms_total += sum(elapsed for _status, elapsed in attempts)
        endpoint_rows.save(endpoint, endpoint_rows.RECORDED_FIELDS)
        if endpoint.state != before:
            changed.append(endpoint)
    return changed


def _log(result: Result, *, is_mine: bool) -> None:
    item, outcome = result.item, result.outcome
    ids = {
        "event_id": str(item.event_id),
        "delivery_id": str(item.id),
        "attempt": item.number,
        "integration": item.slug,
        "merchant_id": str(item.merchant_id),
    }
    if not is_mine:
        logger.warning("The lease of an attempt was over before its end", extra=ids)
    elif outcome.is_success:
        logger.debug("Delivered in %d ms", outcome.elapsed_ms, extra=ids)
    else:
        logger.info("Not delivered: %s after %d ms", outcome.problem, outcome.elapsed_ms, extra=ids)


def _for_breaker(results: Sequence[Result]) -> list[breaker.Result]:
    return [
        breaker.Result(result.outcome.started_at, breaker.is_trouble(result.outcome.status))
        for result in results
    ]


BREAKER_ACTIONS = {
    BreakerState.OPEN: "endpoint.paused",
    BreakerState.RECOVERING: "endpoint.recovering",
}


def _consequences(results: Sequence[Result], changed: Sequence[Endpoint], at: datetime) -> None:
    for endpoint in changed:
        audit.record(
            BREAKER_ACTIONS[BreakerState(endpoint.state)],
            actor=audit.SYSTEM,
            integration_slug=endpoint.integration.slug,
            data={"attempts": endpoint.window_attempts, "failures": endpoint.window_failures},
        )
    health.note(results, at)
    erasures.note(results, at)
    for result in results:
        if result.outcome.status == 410:
            install_connection.turn_outbound_off(result.item.install_id)
        elif result.status == DeliveryStatus.DEAD:
            _record_death(result)
        if result.outcome.status == 401 and result.job.token:
            _doubt_token(result.item.install_id, result.job.token)


def _record_death(result: Result) -> None:
    item = result.item
    audit.record(
        "delivery.dead",
        actor=audit.SYSTEM,
        install=Install.objects.with_names().filter(pk=item.install_id).first(),
        merchant_id=item.merchant_id,
        data={"event_id": str(item.event_id), "problem": result.outcome.problem},
    )


def _doubt_token(install_id: UUID, token: str) -> None:
    grant_id = Install.objects.filter(pk=install_id).values_list("grant_id", flat=True).first()
    if grant_id is not None:
        grants.doubt(grant_id, token)
