"""The door for what partners tell us: verified, stored once, answered, and only then worked on.

`receive` writes the ledger rows; `process` turns each into effects. Both are the only writers of the
ledger. One provider event has one effect per install, whatever is posted, when and how often.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache as remembered
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.envelope import ApiError, json_object
from catalog.inbound_events import ParsedEvent, read_envelope, read_events, read_kept
from catalog.inbound_parts import SignedRequest
from catalog.models import Integration
from dispatch import answers
from dispatch.adapters import adapter_for
from dispatch.contracts import InboundAdapter, PartnerEvent
from dispatch.models import Answer
from installs import audit, scope
from installs.ladder import next_attempt_at
from installs.models import Install, Location, Merchant
from installs.wake import wake
from webhooks.models import InboundEvent, InboundStatus
from webhooks.signed import documents_of, require_signed

logger = logging.getLogger(__name__)

SWEEP_SIZE = 200


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the sender is told. The id is the same for every repetition."""

    id: UUID
    is_duplicate: bool


@dataclass(frozen=True, slots=True)
class Reception:
    """The events of one post in their order; one that is no batch has exactly one."""

    receipts: Sequence[Receipt]
    is_batch: bool

    @property
    def is_duplicate(self) -> bool:
        return bool(self.receipts) and all(item.is_duplicate for item in self.receipts)


def receive(slug: str, request: SignedRequest) -> Reception:
    """Verify, parse and store one post; its rows are committed when this returns.

    The order of checks is part of the contract: slug, signature, JSON, ids, merchant, install,
    enabled, capability, rate. Until the signature has been verified the answer tells nothing about
    any merchant. One event that is refused refuses the post: nothing of it is stored, and what is
    sent again is whole.
    """
    integration = Integration.objects.filter(slug=slug).first()
    if integration is None:
        raise ApiError("not_found")
    scheme, mapping = documents_of(integration)
    require_signed(slug, scheme, request)
    events = read_events(mapping, request.headers, request.body)
    is_batch = mapping is not None and mapping.each is not None
    return Reception(_store(_rows(integration, events, request.body)), is_batch)


def _rows(
    integration: Integration, events: Sequence[ParsedEvent], body: bytes
) -> list[InboundEvent]:
    """What the ledger would hold, in the order of the events; writes nothing."""
    named = remembered(
        lambda merchant_id, external_id: installs_named(integration, merchant_id, external_id)
    )
    rows = []
    for event in events:
        present = named(event.merchant_id, event.external_merchant_id)
        install = find_install(integration, event, present)
        if not install.is_enabled or not integration.is_running:
            raise ApiError("integration_disabled")
        capability = integration.capability_of_event(event.type)
        if capability is None or capability not in install.capability_versions:
            raise ApiError("capability_unsupported")
        kept = body if event.item is None else event.item
        rows.append(
            InboundEvent(
                install_id=install.pk,
                integration=integration,
                merchant_id=install.merchant_id,
                provider_event_id=event.event_id,
                type=event.type,
                capability=capability,
                occurred_at=event.occurred_at,
                body=kept,
                body_digest=hashlib.sha256(kept).hexdigest(),
            )
        )
    return rows


def _store(rows: Sequence[InboundEvent]) -> list[Receipt]:
    """Insert what is new, all of it in one transaction, and say what was known already."""
    known = _known(rows)
    new = {_key(row): row for row in reversed(rows) if _key(row) not in known}
    spent = Counter((row.integration.slug, row.merchant_id) for row in new.values())
    for (slug, merchant_id), count in spent.items():
        spend_rate(slug, merchant_id, count)
    if new:
        with transaction.atomic():
            # In one order, so that two batches with the same events never wait for each other.
            ordered = [new[key] for key in sorted(new)]
            InboundEvent.objects.bulk_create(ordered, ignore_conflicts=True)
            known |= _known(ordered)
    receipts = []
    for row in rows:
        first = known[_key(row)]
        is_duplicate = first.pk != row.pk
        if is_duplicate:
            _flag_other_body(first, row.body_digest)
        receipts.append(Receipt(first.pk, is_duplicate))
    _wake([item.id for item in receipts if not item.is_duplicate])
    return receipts


def _wake(event_ids: Sequence[UUID]) -> None:
    """One message however many there are: a queue that hangs must not hold the answer back."""
    if len(event_ids) == 1:
        wake_processing(event_ids[0])
    elif event_ids:
        wake("webhooks.tasks.sweep_inbound")


def installs_named(
    integration: Integration, merchant_id: UUID | None, external_id: str | None
) -> dict[UUID, Install]:
    """The installs of a merchant whom an event names, the oldest first; at least one."""
    rows = Install.objects.filter(integration=integration).with_names().in_order()
    if merchant_id is not None:
        if not Merchant.objects.filter(pk=merchant_id).exists():
            raise ApiError("not_found", _("There is no such merchant."))
        rows = rows.for_merchant(merchant_id)
    else:
        rows = rows.filter(external_merchant_id=external_id)
    present = {row.pk: row for row in rows}
    if not present:
        raise ApiError("integration_not_installed")
    return present


def find_install(
    integration: Integration, envelope: ParsedEvent, present: Mapping[UUID, Install]
) -> Install:
    """The one of the merchant's installs an event belongs to.

    With a location: the one effective there. Without: the one whose earlier answer the event refers
    to, else the merchant-wide one, else the oldest.
    """
    if envelope.location_id is not None:
        effective = scope.effective_installs(
            [row.scoped() for row in present.values()], envelope.location_id
        )
        if not effective:
            raise ApiError("integration_not_installed")
        return present[effective[0].id]
    oldest = next(iter(present.values()))
    if len(present) == 1:
        return oldest
    answer = _answer_it_refers_to(integration, oldest.merchant_id, envelope)
    if answer is not None and answer.install_id in present:
        return present[answer.install_id]
    return next((row for row in present.values() if row.location_id is None), oldest)


def _answer_it_refers_to(
    integration: Integration, merchant_id: UUID, envelope: ParsedEvent
) -> Answer | None:
    """The earlier answer of ours that an event is about, such as the bill that was settled."""
    capability = integration.capability_of_event(envelope.type) or ""
    version = integration.capabilities.get(capability, 1)
    adapter = adapter_for(integration.slug, capability, version)
    reference = adapter.external_ref(envelope.data) if isinstance(adapter, InboundAdapter) else None
    if not reference:
        return None
    return answers.answer_of_reference(merchant_id, integration.slug, reference)


def _outlet_of(row: InboundEvent, envelope: ParsedEvent) -> Location | None:
    answer = _answer_it_refers_to(row.integration, row.merchant_id, envelope)
    location_id = envelope.location_id or (answer.location_id if answer else None)
    if location_id is None:
        return None
    return Location.objects.filter(pk=location_id, merchant_id=row.merchant_id).first()


def spend_rate(slug: str, merchant_id: UUID, count: int = 1) -> None:
    """Count verified new events against their merchant's share of this minute.

    A batch that is longer than the share passes when it is the first of its minute; it would never
    pass otherwise.
    """
    now = timezone.now()
    key = f"inbound:{slug}:{merchant_id}:{now:%Y%m%d%H%M}"
    cache.add(key, 0, timeout=120)
    try:
        used = cache.incr(key, count)
    except ValueError:  # evicted between the two calls
        return
    limit = settings.INBOUND_RATE_PER_MINUTE
    if used > (max(limit, count) if count > 1 else limit):
        raise ApiError("rate_limited", retry_after=60 - now.second)


def process(event_id: UUID) -> bool:
    """Turn one ledger row into its effects; False where there was nothing to do.

    Effects and the processed mark are one transaction under the row's lock, so a worker that is
    killed leaves either both or neither. An adapter that breaks is tried again on the ladder and
    the event is set aside with its reason when that is used up.
    """
    try:
        with transaction.atomic():
            row = (
                InboundEvent.objects.select_for_update(of=("self",))
                .select_related("integration")
                .filter(pk=event_id, status=InboundStatus.RECEIVED)
                .first()
            )
            if row is None:
                return False
            _apply(row)
            row.status = InboundStatus.PROCESSED
            row.processed_at = timezone.now()
            row.save(update_fields=["status", "processed_at"])
    except Exception as error:
        logger.exception(
            "Inbound event %s could not be processed", event_id, extra={"event_id": str(event_id)}
        )
        _processing_failed(event_id, type(error).__name__)
    return True


def sweep() -> int:
    """Start what is due and was never finished; finds it whatever happened to the queue."""
    due = list(InboundEvent.objects.due(timezone.now()).values_list("pk", flat=True)[:SWEEP_SIZE])
    for event_id in due:
        process(event_id)
    return len(due)


def wake_processing(event_id: UUID) -> None:
    wake("webhooks.tasks.process_inbound", str(event_id))


def _apply(row: InboundEvent) -> None:
    install = Install.objects.with_names().filter(pk=row.install_id).first()
    versions = install.capability_versions if install else row.integration.capabilities
    adapter = adapter_for(row.integration.slug, row.capability, versions.get(row.capability, 1))
    if not isinstance(adapter, InboundAdapter):
        raise TypeError(f"no adapter takes {row.capability} events of {row.integration.slug}")
    envelope = _read_again(row)
    notes = adapter.on_event(
        PartnerEvent(
            id=row.provider_event_id,
            type=row.type,
            capability=row.capability,
            occurred_at=row.occurred_at,
            data=envelope.data,
            install_id=row.install_id,
        )
    )
    for note in notes:
        audit.record(
            note.action,
            actor=row.integration.slug,
            install=install,
            merchant_id=row.merchant_id,
            integration_slug=row.integration.slug,
            location=_outlet_of(row, envelope),
            data={"event_id": row.provider_event_id, **note.data},
        )


def _read_again(row: InboundEvent) -> ParsedEvent:
    """What the adapter needs beside the columns. Headers are gone; they were needed for those."""
    mapping = row.integration.event_mapping
    if mapping is None:
        return read_envelope(json_object(bytes(row.body)))
    kept = read_kept(mapping, bytes(row.body))
    return ParsedEvent(
        event_id=row.provider_event_id,
        type=row.type,
        provider_type=row.type,
        location_id=kept.location_id,
        data=kept.data,
    )


def _processing_failed(event_id: UUID, problem: str) -> None:
    with transaction.atomic():
        row = InboundEvent.objects.select_for_update().get(pk=event_id)
        if row.status != InboundStatus.RECEIVED:
            return
        row.attempts += 1
        row.problem = problem
        due_at = next_attempt_at(row.attempts, timezone.now())
        if due_at is None:
            row.status = InboundStatus.QUARANTINED
        else:
            row.due_at = due_at
        row.save(update_fields=["attempts", "problem", "status", "due_at"])


def _key(row: InboundEvent) -> tuple[UUID, str]:
    return row.install_id, row.provider_event_id


def _known(rows: Sequence[InboundEvent]) -> dict[tuple[UUID, str], InboundEvent]:
    """The rows of the ledger that have the keys of these."""
    found = InboundEvent.objects.filter(
        install_id__in={row.install_id for row in rows},
        provider_event_id__in={row.provider_event_id for row in rows},
    ).only("install_id", "provider_event_id", "body_digest")
    return {_key(row): row for row in found}


def _flag_other_body(known: InboundEvent, digest: str) -> None:
    if known.body_digest != digest:
        InboundEvent.objects.filter(pk=known.pk, mismatched_at=None).update(
            mismatched_at=timezone.now()
        )
