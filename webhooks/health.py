"""How an install's deliveries are doing, for the merchant: last real success, failing since when, and
at most one open incident, raised and cleared by itself.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce

from installs import audit
from installs.models import Install
from webhooks.models import Attention, DeliveryHealth, DeliveryStatus

if TYPE_CHECKING:
    from webhooks.outcomes import Result

# A success is written down at most this often per install and process, and at once after a failure.
SUCCESS_EVERY = timedelta(seconds=10)
# An install needs attention when a delivery was given up, or after this many failures for this long.
FAILURES = 10
FAILING_FOR = timedelta(minutes=10)
# Why a delivery is cancelled that nobody needs any more.
TOO_LATE = "too_late"

_noted: dict[UUID, float] = {}
INSTALLS_NOTED = 10_000


def note(results: Sequence["Result"], at: datetime) -> None:
    """Bring the health of the installs of these attempts up to date."""
    by_install: dict[UUID, list[Result]] = {}
    for result in results:
        by_install.setdefault(result.item.install_id, []).append(result)
    for install_id, ended in by_install.items():
        failed = [result for result in ended if not result.outcome.is_success]
        if failed:
            _note_failures(failed, at)
        if len(failed) < len(ended) and (failed or _is_worth_noting(install_id)):
            _note_success(ended[0], at)


def _is_worth_noting(install_id: UUID) -> bool:
    now = time.monotonic()
    if now - _noted.get(install_id, -1e9) < SUCCESS_EVERY.total_seconds():
        return False
    if len(_noted) >= INSTALLS_NOTED:
        _noted.clear()
    _noted[install_id] = now
    return True


def _note_success(result: "Result", at: datetime) -> None:
    row = _row(result)
    stale = Q(last_success_at=None) | Q(last_success_at__lt=at - SUCCESS_EVERY)
    row.filter(stale).update(last_success_at=at)
    row.exclude(failing_since=None).update(
        last_success_at=at, failing_since=None, failures=0, problem=""
    )
    if row.exclude(attention="").update(attention="", attention_at=None, mailed_at=None):
        _record("install.deliveries_recovered", result, {})


def _note_failures(failed: Sequence["Result"], at: datetime) -> None:
    last = failed[-1]
    # The next success must be written at once.
    _noted.pop(last.item.install_id, None)
    row = _row(last)
    row.update(
        failures=F("failures") + len(failed),
        failing_since=Coalesce(F("failing_since"), at),
        problem=last.outcome.problem,
    )
    if any(result.outcome.status == 410 for result in failed):
        row.exclude(attention=Attention.GONE).update(
            attention=Attention.GONE, attention_at=at, mailed_at=None
        )
        return
    is_late = any(result.reason == TOO_LATE for result in failed)
    if is_late:
        row.update(problem=TOO_LATE)
    is_given_up = is_late or any(result.status == DeliveryStatus.DEAD for result in failed)
    lasting = Q(failures__gte=FAILURES, failing_since__lte=at - FAILING_FOR)
    bad = row if is_given_up else row.filter(lasting)
    if bad.filter(attention="").update(attention=Attention.FAILING, attention_at=at):
        _record("install.deliveries_failing", last, {"problem": last.outcome.problem})


def note_too_late(installs: Mapping[UUID, tuple[UUID, UUID]], at: datetime) -> None:
    """What waited for these is of no use any more; each with its merchant and its integration."""
    for install_id, (merchant_id, integration_id) in installs.items():
        row = _row_of(install_id, merchant_id, integration_id)
        row.filter(attention="").update(
            attention=Attention.FAILING, attention_at=at, problem=TOO_LATE
        )


def _row(result: "Result") -> "QuerySet[DeliveryHealth]":
    item = result.item
    return _row_of(item.install_id, item.merchant_id, item.integration_id)


def _row_of(
    install_id: UUID, merchant_id: UUID, integration_id: UUID
) -> "QuerySet[DeliveryHealth]":
    rows = DeliveryHealth.objects.filter(pk=install_id)
    if not rows.exists():
        DeliveryHealth.objects.bulk_create(
            [
                DeliveryHealth(
                    install_id=install_id, merchant_id=merchant_id, integration_id=integration_id
                )
            ],
            ignore_conflicts=True,
        )
    return rows


def _record(action: str, result: "Result", data: dict[str, str]) -> None:
    install = Install.objects.with_names().filter(pk=result.item.install_id).first()
    if install is not None:
        audit.record(action, actor=audit.SYSTEM, install=install, data=data)


def forget(install_ids: Iterable[UUID]) -> None:
    """What was removed has no health any more."""
    DeliveryHealth.objects.filter(pk__in=list(install_ids)).delete()
