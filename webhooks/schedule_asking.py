"""Shifts of partners that are asked for them: every 15 minutes, install by install.

What a partner answers goes through the ledger like what it posts, as `schedule.published`, so the same
answer twice is one event. An asking is claimed for as long as it may take; a worker that dies gives it
back by the time it is due again.
"""

import hashlib
import json
import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from catalog.models import IntegrationStatus
from dispatch.adapters import adapter_for
from dispatch.contracts import AdapterError, Call
from dispatch.oauth import current_token
from dispatch.operations import as_document, contract_of, staff
from installs.credentials import current_keys
from installs.models import Install
from webhooks.models import InboundEvent, ScheduleAsking
from webhooks.processing import wake_sweep

logger = logging.getLogger(__name__)

CAPABILITY, OPERATION, EVENT = "staff_schedule_import", "pull", "schedule.published"
EVERY = timedelta(minutes=15)
LEASE = timedelta(minutes=2)
BACK, AHEAD = timedelta(days=1), timedelta(days=14)
MOST_PER_RUN = 100


def ask_due() -> int:
    """Ask once for every install that is due; return how many were asked. Safe in many workers."""
    begin()
    due = ScheduleAsking.objects.filter(due_at__lte=timezone.now(), install__in=_asked_installs())
    asked = 0
    for row in list(due.order_by("due_at")[:MOST_PER_RUN]):
        if claim(row):
            ask(row)
            asked += 1
    return asked


def ask(row: ScheduleAsking) -> None:
    """One question to the partner, outside any transaction; what it answers is one event."""
    now = timezone.now()
    install = Install.objects.with_names().filter(pk=row.install_id).first()
    if install is None:
        return
    question = staff.ScheduleQuestion(
        from_=now - BACK, to=now + AHEAD, since_version=row.schedule_version or None
    )
    try:
        schedule = _answer(install, question)
    except AdapterError as error:
        logger.info("%s gave no shifts: %s", install.integration.slug, error)
        _finish(row, now, problem=f"{error.code}: {error}"[:400])
        return
    with transaction.atomic():
        _store(install, schedule, now)
        _finish(row, now, answered_at=now, schedule_version=schedule.schedule_version, problem="")
        transaction.on_commit(wake_sweep)


def _asked_installs() -> QuerySet[Install]:
    rows = Install.objects.filter(is_enabled=True, integration__is_asked_for_shifts=True)
    running = rows.exclude(integration__status=IntegrationStatus.DISABLED)
    return running.filter(capability_versions__has_key=CAPABILITY)


def begin() -> None:
    """A row for each install that has none yet."""
    fresh = _asked_installs().exclude(pk__in=ScheduleAsking.objects.values("install_id"))
    rows = [ScheduleAsking(install=install) for install in fresh]
    ScheduleAsking.objects.bulk_create(rows, ignore_conflicts=True)


def claim(row: ScheduleAsking) -> bool:
    lease = timezone.now() + LEASE
    mine = ScheduleAsking.objects.filter(pk=row.pk, due_at=row.due_at).update(due_at=lease)
    row.due_at = lease
    return bool(mine)


def _finish(row: ScheduleAsking, now: datetime, **facts: object) -> None:
    """Only by whoever still holds the claim."""
    mine = ScheduleAsking.objects.filter(pk=row.pk, due_at=row.due_at)
    mine.update(due_at=now + EVERY, asked_at=now, **facts)


def _answer(install: Install, question: staff.ScheduleQuestion) -> staff.Schedule:
    slug = install.integration.slug
    version = install.capability_versions[CAPABILITY]
    adapter = adapter_for(slug, CAPABILITY, version)
    contract = contract_of(CAPABILITY, version)
    operation = contract.operation(OPERATION)
    if operation is None or not isinstance(adapter, staff.ScheduleImportAdapter):
        raise AdapterError("no adapter asks for shifts")
    call = Call(
        merchant=install.merchant,
        location=install.location,
        install=install,
        keys=current_keys([slug]).get(slug, {}),
        timeout_seconds=(contract.budget_of(operation) or 0) / 1000,
        external_merchant_id=install.external_merchant_id,
        access_token=current_token(install) if install.integration.is_oauth else "",
    )
    return adapter.pull_schedule(call, question)


def _store(install: Install, schedule: staff.Schedule, now: datetime) -> None:
    data = as_document(schedule)
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    number = f"asked:{digest[:40]}"
    body = {
        "event_id": number,
        "type": EVENT,
        "merchant_id": str(install.merchant_id),
        "data": data,
    }
    row = InboundEvent(
        install_id=install.pk,
        integration=install.integration,
        merchant=install.merchant,
        provider_event_id=number,
        type=EVENT,
        capability=CAPABILITY,
        occurred_at=now,
        body=json.dumps(body).encode(),
        body_digest=digest,
        was_fetched=True,
    )
    InboundEvent.objects.bulk_create([row], ignore_conflicts=True)
