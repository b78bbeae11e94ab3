"""What inbound events mean: from rows of the ledger to their effects, after the sender has its answer.

Whatever is woken, when and how often, an event has its effects once.
"""

import logging
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from catalog.envelope import json_object
from catalog.inbound_events import ParsedEvent, read_envelope, read_kept
from dispatch import payment_reports
from dispatch.adapters import adapter_for
from dispatch.contracts import AuditNote, InboundAdapter, PartnerEvent, PermanentError
from dispatch.operations import WrongRecordError, as_document
from dispatch.operations.payments import PaymentWebhookAdapter, ReportedPayment
from installs import audit
from installs.ladder import next_attempt_at
from installs.models import AuditEntry, Install
from installs.wake import wake_soon
from webhooks import erasures, inbox, incidents, ordering, parking, tally
from webhooks.addressee import outlet_of
from webhooks.models import InboundEvent, InboundQuerySet, InboundStatus
from webhooks.parking import ParkedError

logger = logging.getLogger(__name__)

SWEEP_EVERY_SECONDS = 0.25
SWEEP_SIZE = 200
START_SIZE = 1_000
# The event of `payment_webhook_inbound`; providers may post others under types of their own.
PAYMENT_UPDATED = "payment.updated"
WRITTEN = ["status", "problem", "problem_at", "processed_at", "location", "effects", "is_late"]


def process(event_id: UUID) -> bool:
    """Turn one ledger row into its effects; False where there was nothing to do.

    Effects and the processed mark are one transaction under the row's lock, so a worker that is
    killed leaves either both or neither. An adapter that breaks is tried again on the ladder and
    the event is set aside with its reason when that is used up. A record that is wrong is set aside
    at once; one that names what nobody has mapped is parked. What another worker is at is left to it.
    """
    try:
        with transaction.atomic():
            row = (
                InboundEvent.objects.select_for_update(of=("self",), skip_locked=True)
                .select_related("integration")
                .filter(pk=event_id, status=InboundStatus.RECEIVED)
                .first()
            )
            if row is None or inbox.is_behind(row):
                return False
            try:
                _apply(row)
            except ParkedError as parked:
                # Nothing is undone: what it waits for is on record.
                parking.park(row, parked.missing)
                return True
            row.status = InboundStatus.PROCESSED
            row.problem = row.problem_at = ""
            row.processed_at = timezone.now()
            row.save(update_fields=WRITTEN)
            incidents.close_if_over(row)
    except WrongRecordError as error:
        logger.warning(
            "Inbound event %s is wrong: %s", event_id, error, extra={"event_id": str(event_id)}
        )
        _processing_failed(event_id, error.code, error.where)
    except Exception as error:
        logger.exception(
            "Inbound event %s could not be processed", event_id, extra={"event_id": str(event_id)}
        )
        _processing_failed(event_id, incidents.problem_code(error))
    else:
        tally.of_this_process().ended(row.integration.slug, tally.PROCESSED)
    return True


def start_anew(rows: InboundQuerySet) -> list[UUID]:
    """Put those of the rows that were set aside at the start of their ladder, due now.

    Who may do so is for the caller to know. Returns their ids; one that was processed meanwhile, or
    that somebody else has started anew, is not among them.
    """
    now, started = timezone.now(), list[UUID]()
    # In one order, so that two of these never wait for each other.
    waiting = rows.set_aside().order_by("pk").select_for_update(of=("self",))
    with transaction.atomic():
        while chosen := list(waiting.values_list("pk", flat=True)[:START_SIZE]):
            InboundEvent.objects.filter(pk__in=chosen).update(
                status=InboundStatus.RECEIVED,
                attempts=0,
                problem="",
                problem_at="",
                due_at=now,
                replayed_at=now,
            )
            started += chosen
        if started:
            transaction.on_commit(wake_sweep)
    return started


def wake_sweep() -> None:
    """A sweep takes all that is due, so that many messages would only cost."""
    wake_soon("webhooks.tasks.sweep_inbound", every_seconds=SWEEP_EVERY_SECONDS)


def sweep() -> int:
    """Start what is due and was never finished; finds it whatever happened to the queue."""
    rows = InboundEvent.objects.due(timezone.now())
    due = list(rows.values_list("pk", "install_id", "capability")[:SWEEP_SIZE])
    behind = set[UUID]()
    for event_id, install_id, capability in due:
        is_ordered = inbox.is_ordered(capability)
        if is_ordered and install_id in behind:
            continue
        if not process(event_id) and is_ordered:
            # Another worker is at an earlier one of this install.
            behind.add(install_id)
    if behind:
        wake_sweep()
    return len(due)


def _apply(row: InboundEvent) -> None:
    install = Install.objects.with_names().filter(pk=row.install_id).first()
    versions = install.capability_versions if install else row.integration.capabilities
    version = versions.get(row.capability, 1)
    adapter = adapter_for(row.integration.slug, row.capability, version)
    if not isinstance(adapter, InboundAdapter):
        raise TypeError(f"no adapter takes {row.capability} events of {row.integration.slug}")
    envelope = read_again(row)
    row.location = outlet_of(row, envelope) or (install.location if install else None)
    row.is_late = ordering.is_late(row, adapter.subject(envelope.data))
    event = PartnerEvent(
        id=row.provider_event_id,
        type=row.type,
        capability=row.capability,
        occurred_at=row.occurred_at,
        data=envelope.data,
        install_id=row.install_id,
        is_late=row.is_late,
    )
    report = _reported_payment(row, adapter, event)
    operation = inbox.operation_of_event(row, version)
    if report is None and operation is None and inbox.is_ordered(row.capability):
        # The POS would never hear of it.
        raise WrongRecordError("", f"the contract has no operation “{row.type}”")
    if report is not None or operation is None or not inbox.is_ordered(row.capability):
        # Payments only move forwards, so a report that comes late does no harm.
        notes = adapter.on_event(event) if report is None else [_payment(row, report)]
        row.effects = [_effect(row, install, note).pk for note in notes]
    if operation is not None:
        inbox.hand_over(row, install, operation, adapter, event)
    if row.capability == erasures.CAPABILITY and row.type == erasures.CONFIRMED:
        erasures.confirm(row.install_id, envelope.data, timezone.now())


def _reported_payment(
    row: InboundEvent, adapter: InboundAdapter, event: PartnerEvent
) -> ReportedPayment | None:
    if not isinstance(adapter, PaymentWebhookAdapter) or row.type != PAYMENT_UPDATED:
        return None
    try:
        return adapter.reported_payment(event)
    except PermanentError:
        if row.integration.event_mapping is None:
            raise
        # A provider with a shape of its own, whose name for its event happens to be the same.
        return None


def _payment(row: InboundEvent, report: ReportedPayment) -> AuditNote:
    sender = payment_reports.Sender(
        row.merchant_id, row.integration_id, row.install_id, row.provider_event_id
    )
    outcome = payment_reports.take(sender, report)
    return AuditNote(f"payment.{outcome}", as_document(report))


def _effect(row: InboundEvent, install: Install | None, note: AuditNote) -> AuditEntry:
    late = {"late": True} if row.is_late else {}
    return audit.record(
        note.action,
        actor=row.integration.slug,
        install=install,
        merchant_id=row.merchant_id,
        integration_slug=row.integration.slug,
        location=row.location,
        data={"event_id": row.provider_event_id, **late, **note.data},
    )


def read_again(row: InboundEvent) -> ParsedEvent:
    """What the adapter needs beside the columns. Headers are gone; they were needed for those."""
    mapping = None if row.was_fetched else row.integration.event_mapping
    if row.confirmed_at is not None and (question := row.integration.confirmation) is not None:
        mapping = question.mapping
    if mapping is None:
        return read_envelope(json_object(bytes(row.body)))
    kept = read_kept(mapping, bytes(row.body))
    return ParsedEvent(
        event_id=row.provider_event_id,
        type=row.type,
        provider_type=row.type,
        location_id=kept.location_id,
        external_location_id=kept.external_location_id,
        data=kept.data,
    )


def _processing_failed(event_id: UUID, problem: str, where: str = "") -> None:
    """`where` in the record something is wrong; trying again does not change that."""
    with transaction.atomic():
        rows = InboundEvent.objects.select_for_update(of=("self",)).select_related("integration")
        row = rows.get(pk=event_id)
        if row.status != InboundStatus.RECEIVED:
            return
        row.attempts += 1
        row.problem, row.problem_at = problem, where[:400]
        due_at = None if where else next_attempt_at(row.attempts, timezone.now())
        if due_at is None:
            row.status = InboundStatus.QUARANTINED
        else:
            row.due_at = due_at
        row.save(update_fields=["attempts", "problem", "problem_at", "status", "due_at"])
        if row.status == InboundStatus.QUARANTINED:
            incidents.open_for(row)
            tally.of_this_process().ended(row.integration.slug, tally.SET_ASIDE)
