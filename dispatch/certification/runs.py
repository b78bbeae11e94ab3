"""The door to certifications: started by staff, carried out by a worker or a command, kept as rows.

A run is claimed by conditional update and holds a lease that grows with each step, so a worker that dies
leaves it to another, once; a second death ends it. Nothing is asked inside a transaction.
"""

import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from catalog.models import Integration
from dispatch.certification.examination import Subject, examine
from dispatch.certification.report import Verdict
from dispatch.models import Certification, CertificationStatus
from installs import audit
from installs.wake import wake

logger = logging.getLogger(__name__)

# No single step takes as long, however slow the partner is.
LEASE = timedelta(minutes=15)
MOST_RUNS = 2
KEPT = 20


def start(subject: Subject, actor: str) -> Certification:
    """Begin a run, to be carried out by a worker. Where one is under way already, that one is given."""
    with transaction.atomic():
        Integration.objects.select_for_update(no_key=True).get(pk=subject.integration.pk)
        row = under_way(subject.integration)
        if row is None:
            row = _new(subject, actor)
            transaction.on_commit(lambda: wake("dispatch.tasks.certify_due"))
    return row


def run_now(subject: Subject, actor: str) -> Certification:
    """Carry out a run in this process; raises nothing for what the partner does."""
    with transaction.atomic():
        row = _new(subject, actor)
    run(row.pk)
    row.refresh_from_db()
    return row


def run_due() -> int:
    """Carry out what waits; how many there were. Safe in many workers at once and after a crash."""
    due = list(Certification.objects.due(timezone.now()).values_list("pk", flat=True))
    return sum(run(pk) for pk in due)


def run(certification_id: UUID) -> bool:
    """False where another worker has it, or it is over."""
    row = _claimed(certification_id)
    if row is None:
        return False
    try:
        report = examine(_subject(row), lambda done, total: _noted(row, done, total))
    except Exception:
        logger.exception("The certification of %s broke", row.integration.slug)
        _finish(row, CertificationStatus.BROKEN, {})
    else:
        is_passed = report["verdict"] == Verdict.PASSED
        status = CertificationStatus.PASSED if is_passed else CertificationStatus.FAILED
        _finish(row, status, report)
    return True


def under_way(integration: Integration) -> Certification | None:
    rows = Certification.objects.filter(
        integration=integration,
        status__in=[CertificationStatus.WAITING, CertificationStatus.RUNNING],
    )
    return rows.order_by("created_at").first()


def newest(integration: Integration) -> Certification | None:
    rows = Certification.objects.filter(integration=integration)
    return rows.order_by("-created_at", "-id").first()


def is_certified(integration: Integration) -> bool:
    """Whether the newest whole run, at the row's own addresses, has passed for what it declares."""
    row = Certification.objects.that_count_for(
        integration, integration.api_base_url, integration.outbound_url
    ).first()
    is_passed = row is not None and row.status == CertificationStatus.PASSED
    return row is not None and is_passed and row.versions == integration.capabilities


def _new(subject: Subject, actor: str) -> Certification:
    declared = subject.integration.capabilities
    row = Certification.objects.create(
        integration=subject.integration,
        versions={name: declared[name] for name in subject.capabilities if name in declared},
        is_whole=subject.is_whole,
        base_url=subject.base_url or subject.integration.api_base_url,
        events_url=subject.event_address,
        settings=dict(subject.settings) or None,
        started_by=actor,
    )
    _note(row, "certification.started", actor)
    return row


def _subject(row: Certification) -> Subject:
    return Subject(
        row.integration, list(row.versions), row.base_url, row.events_url, row.settings or {}
    )


def _claimed(certification_id: UUID) -> Certification | None:
    now = timezone.now()
    row = (
        Certification.objects.due(now)
        .filter(pk=certification_id)
        .select_related("integration")
        .first()
    )
    if row is None:
        return None
    mine = Certification.objects.filter(pk=row.pk, status=row.status, runs=row.runs)
    if row.runs >= MOST_RUNS:
        if mine.update(status=CertificationStatus.RUNNING, runs=row.runs + 1):
            _finish(row, CertificationStatus.BROKEN, {})
        return None
    claim = {"status": CertificationStatus.RUNNING, "runs": row.runs + 1}
    if not mine.update(**claim, lease_until=now + LEASE):
        return None
    row.runs += 1
    return row


def _noted(row: Certification, done: int, total: int) -> None:
    mine = Certification.objects.filter(pk=row.pk, runs=row.runs)
    mine.update(done=done, total=total, lease_until=timezone.now() + LEASE)


def _finish(row: Certification, status: str, report: dict[str, Any]) -> None:
    row.status, row.report, row.finished_at = status, report, timezone.now()
    row.settings = row.lease_until = None
    with transaction.atomic():
        row.save(update_fields=["status", "report", "settings", "finished_at", "lease_until"])
        _note(row, "certification.finished", audit.SYSTEM, status=status)
        _forget_old(row)


def _forget_old(row: Certification) -> None:
    mine = Certification.objects.filter(integration_id=row.integration_id)
    kept = mine.order_by("-created_at", "-id").values_list("pk", flat=True)[:KEPT]
    mine.exclude(pk__in=list(kept)).delete()


def _note(row: Certification, action: str, actor: str, **facts: str) -> None:
    audit.record(
        action,
        actor=actor,
        integration_slug=row.integration.slug,
        data={"certification": str(row.pk), "versions": row.versions, **facts},
    )
