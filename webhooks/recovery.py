"""Sending many deliveries again: a selection at once, or everything of a time as a durable job.

A job is a row. `run_due` carries it out in steps, each one transaction that sends up to `STEP`
deliveries again and moves the cursor, under the row's lock. A worker that dies loses a step that was
never written and repeats none; a second worker finds the row locked, or goes on where the first was.
"""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from catalog.envelope import ApiError
from catalog.models import Integration
from installs import audit
from installs.access import ALLOWED, Actor, Verb
from installs.models import Install
from installs.wake import wake
from webhooks import outbound
from webhooks.models import Delivery, DeliveryQuerySet, DeliveryStatus, Recovery

STEP = 500
MOST_CHOSEN = 500
# Well below the time after which the queue hands a message out again.
RUN_SECONDS = 60.0
SENT_AGAIN = "sent_again"
# What `replay_chosen` says of a delivery.
RESULTS = (
    SENT_AGAIN,
    "pending",
    "not_found",
    "forbidden",
    "integration_disabled",
    "integration_not_installed",
)


def count(
    actor: Actor,
    integration: Integration,
    *,
    since: datetime,
    until: datetime | None = None,
    what: str = Recovery.What.DEAD,
) -> int:
    """How many deliveries `start` would send again at this moment. Refused where it would be."""
    return _found(_plan(actor, integration, since, until, what)).count()


def start(
    actor: Actor,
    integration: Integration,
    *,
    since: datetime,
    until: datetime | None = None,
    what: str = Recovery.What.DEAD,
) -> Recovery:
    """Begin to send again what was created from `since` and before `until`, or before now.

    Examples and what is still on its way are left alone. Only for installs that are switched on and
    that the actor may do this to: refused with `forbidden`, `integration_not_installed` or
    `integration_disabled` where there is none.
    """
    row = _plan(actor, integration, since, until, what)
    with transaction.atomic():
        row.total = _found(row).count()
        row.save(force_insert=True)
        _note(row, "recovery.started", actor.label, deliveries=row.total)
        transaction.on_commit(wake_recoveries)
    return row


def run_due() -> int:
    """Carry on with what is running, job by job in turns; return how many steps were made.

    Safe to run in many workers at once and after any crash.
    """
    steps, end_at = 0, time.monotonic() + RUN_SECONDS
    running = Recovery.objects.filter(status=Recovery.Status.RUNNING).order_by("created_at", "id")
    while made := sum(_step(pk) for pk in list(running.values_list("pk", flat=True))):
        steps += made
        if time.monotonic() > end_at:
            wake_recoveries()
            break
    return steps


def replay_chosen(actor: Actor, ids: Iterable[UUID]) -> dict[UUID, str]:
    """Send these deliveries of the merchant again; say for each what became of it.

    That is `sent_again`, `pending` where it is on its way already, or the code of the refusal.
    """
    if Verb.REPLAY not in ALLOWED[actor.role]:
        actor.require(Verb.REPLAY)
    asked = list(dict.fromkeys(ids))
    mine = Delivery.objects.for_merchant(actor.merchant_id).filter(pk__in=asked)
    with transaction.atomic():
        installs = _locked_installs(mine.values_list("install_id", flat=True))
        rows = {row.pk: row for row in mine}
        results = {pk: _answer(actor, rows.get(pk), installs) for pk in asked}
        chosen = [pk for pk, result in results.items() if result == SENT_AGAIN]
        if chosen:
            outbound.start_anew(chosen)
            audit.record(
                "deliveries.replayed",
                actor=actor.label,
                merchant_id=actor.merchant_id,
                data={"deliveries": len(chosen)},
            )
    return results


def wake_recoveries() -> None:
    wake("webhooks.tasks.run_recoveries")


def _plan(
    actor: Actor, integration: Integration, since: datetime, until: datetime | None, what: str
) -> Recovery:
    now = timezone.now()
    return Recovery(
        merchant_id=actor.merchant_id,
        integration=integration,
        install_ids=[str(row.pk) for row in _installs_for(actor, integration)],
        what=what,
        since=since,
        # What comes into being meanwhile is none of this job's business, or it would never end.
        until=min(until or now, now),
        asked_by=actor.label,
    )


def _installs_for(actor: Actor, integration: Integration) -> list[Install]:
    if Verb.REPLAY not in ALLOWED[actor.role]:
        actor.require(Verb.REPLAY)
    rows = list(
        Install.objects.for_merchant(actor.merchant_id)
        .filter(integration=integration)
        .select_related("integration")
    )
    if not rows:
        raise ApiError("integration_not_installed")
    allowed = [row for row in rows if actor.may(Verb.REPLAY, row.location_id)]
    if not allowed:
        actor.require(Verb.REPLAY, rows[0].location_id)
    able = [row for row in allowed if outbound.is_reachable(row)]
    if not able:
        raise ApiError("integration_disabled")
    return able


def _locked_installs(ids: Iterable[UUID | str]) -> dict[UUID, Install]:
    """Those that are still there, kept from being switched or removed until the transaction ends.

    It is also what keeps two jobs from sending the same delivery again at the same time.
    """
    rows = Install.objects.filter(pk__in=ids).select_related("integration").order_by("pk")
    return {row.pk: row for row in rows.select_for_update(of=("self",))}


def _answer(actor: Actor, row: Delivery | None, installs: Mapping[UUID, Install]) -> str:
    if row is None:
        return "not_found"
    install = installs.get(row.install_id)
    if install is None:
        return "integration_not_installed"
    if not actor.may(Verb.REPLAY, install.location_id):
        return "forbidden"
    if not outbound.is_reachable(install):
        return "integration_disabled"
    return row.status if row.status == DeliveryStatus.PENDING else SENT_AGAIN


def _found(row: Recovery) -> DeliveryQuerySet:
    """What the job is about and has not been looked at yet, the oldest first."""
    rows = Delivery.objects.for_merchant(row.merchant_id).filter(
        integration=row.integration,
        install_id__in=row.install_ids,
        event__is_example=False,
        created_at__gte=row.cursor_at or row.since,
        created_at__lt=row.until,
    )
    if row.cursor_at is not None:
        rows = rows.exclude(created_at=row.cursor_at, id__lte=row.cursor_id)
    if row.what == Recovery.What.DEAD:
        rows = rows.filter(status=DeliveryStatus.DEAD)
    return rows.exclude(status=DeliveryStatus.PENDING).order_by("created_at", "id")


def _step(recovery_id: UUID) -> int:
    """Send the next deliveries of a job again; 0 where another worker has it, or it is over."""
    with transaction.atomic():
        mine = Recovery.objects.select_related("integration").filter(
            pk=recovery_id, status=Recovery.Status.RUNNING
        )
        can_skip = database.features.has_select_for_update_skip_locked
        row = mine.select_for_update(of=("self",), skip_locked=can_skip).first()
        if row is None:
            return 0
        installs = _locked_installs(row.install_ids)
        able = {pk for pk, item in installs.items() if outbound.is_reachable(item)}
        if not able:
            _stop(row)
            return 1
        page = list(_found(row)[:STEP])
        sent = outbound.start_anew([item.pk for item in page if item.install_id in able])
        row.done += sent
        row.skipped += len(page) - sent
        if page:
            row.cursor_at, row.cursor_id = page[-1].created_at, page[-1].pk
            row.save(update_fields=["done", "skipped", "cursor_at", "cursor_id"])
        else:
            _finish(row, Recovery.Status.DONE)
    return 1


def _stop(row: Recovery) -> None:
    """Nobody is left to send to; what has not been looked at is left out."""
    row.skipped += _found(row).count()
    is_there = Install.objects.filter(pk__in=row.install_ids).exists()
    row.reason = "integration_disabled" if is_there else "integration_not_installed"
    _finish(row, Recovery.Status.STOPPED)


def _finish(row: Recovery, status: str) -> None:
    row.status, row.finished_at = status, timezone.now()
    row.save(update_fields=["status", "reason", "done", "skipped", "finished_at"])
    facts = {"deliveries": row.done, "skipped": row.skipped, "problem": row.reason}
    _note(row, f"recovery.{status}", audit.SYSTEM, **facts)


def _note(row: Recovery, action: str, actor: str, **facts: Any) -> None:
    audit.record(
        action,
        actor=actor,
        merchant_id=row.merchant_id,
        integration_slug=row.integration.slug,
        data={
            "recovery_id": str(row.pk),
            "what": row.what,
            "since": row.since.isoformat(),
            "until": row.until.isoformat(),
            **facts,
        },
    )
