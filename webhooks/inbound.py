"""The door for what partners tell us: verified, stored once, answered, and only then worked on.

`receive` writes the ledger rows; `process` turns each into effects. Both are the only writers of the
ledger. One provider event has one effect per install, whatever is posted, when and how often.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as remembered
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from catalog.envelope import ApiError
from catalog.inbound_events import ParsedEvent, read_events
from catalog.inbound_keeping import kept_bodies, kept_headers, kept_names
from catalog.inbound_parts import SignedRequest
from catalog.models import Integration
from installs import outlets
from installs.models import Install
from webhooks import fast_lane, hints, limits
from webhooks.addressee import find_install, installs_named
from webhooks.models import InboundEvent
from webhooks.processing import SWEEP_SIZE, process, start_anew, sweep, wake_sweep
from webhooks.signed import documents_of, require_signed
from webhooks.tally import RefusedForMerchantError

__all__ = [
    "SWEEP_SIZE",
    "Receipt",
    "Reception",
    "process",
    "receive",
    "receive_by_the_rules",
    "start_anew",
    "sweep",
]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the sender is told of an event. The id is the same for every repetition.

    Refused ones have no id; they stand among others in a batch.
    """

    id: UUID | None
    is_duplicate: bool = False
    refusal: ApiError | None = None


@dataclass(frozen=True, slots=True)
class Reception:
    """The events of one post in their order; one that is no batch has exactly one."""

    receipts: Sequence[Receipt]
    is_batch: bool


Key = tuple[UUID, str]


def receive(slug: str, request: SignedRequest, secret: str | None = None) -> Reception:
    """Verify, parse and store one post; its rows are committed when this returns.

    The order of checks is part of the contract: slug, signature, JSON, ids, merchant, install,
    enabled, capability, rate. Until the signature has been verified the answer tells nothing about
    any merchant. An event of a batch that is refused is left out and told of; the others are stored.

    With `secret` it came to the address of one install. What the provider has to confirm is kept as
    a hint and told as accepted, whatever the merchant's state is: it becomes an event, under the
    rules of this module, when the provider has been asked.
    """
    passed = fast_lane.accept(slug, request) if secret is None else None
    if passed is not None:
        return Reception([Receipt(UUID(passed.id), passed.is_duplicate)], is_batch=False)
    return receive_by_the_rules(slug, request, secret)


def receive_by_the_rules(slug: str, request: SignedRequest, secret: str | None = None) -> Reception:
    """The rules in full. The fast lane accepts nothing that this would not, and refuses nothing."""
    integration = Integration.objects.filter(slug=slug).first()
    if integration is None:
        raise ApiError("not_found")
    scheme, mapping = documents_of(integration)
    require_signed(integration, scheme, request)
    is_batch = mapping is not None and mapping.each is not None
    if scheme.must_confirm or secret is not None:
        kept = hints.keep(integration, scheme, mapping, request, secret)
        return Reception([Receipt(*item) for item in kept], is_batch)
    events = read_events(mapping, request.headers, request.body)
    rows = _rows(integration, events, request.body)
    if not is_batch and isinstance(rows[0], ApiError):
        raise rows[0]
    headers = kept_headers(kept_names(scheme, mapping), request.headers)
    bodies = kept_bodies(scheme, mapping, request.body)
    for number, row in enumerate(rows):
        if isinstance(row, InboundEvent):
            row.headers = headers
            if bodies is not None:
                row.body = bodies[number]
    return Reception(_store(rows), is_batch)


def accept_confirmed(integration: Integration, events: Sequence[ParsedEvent], body: bytes) -> None:
    """Store events as their provider has told them; `body` is its answer.

    Refused as a whole, like a post. A provider may write the same event otherwise each time it is
    asked, so an answer is told apart by what it is about and not by its bytes.
    """
    rows = _rows(integration, events, body)
    for row in rows:
        if isinstance(row, ApiError):
            raise row
        row.confirmed_at = timezone.now()
        named = f"{row.provider_event_id}\n{row.type}"
        row.body_digest = hashlib.sha256(named.encode()).hexdigest()
    _store(rows)


def _rows(
    integration: Integration, events: Sequence[ParsedEvent | ApiError], body: bytes
) -> list[InboundEvent | ApiError]:
    """What the ledger would hold, in the order of the events; writes nothing."""

    @remembered
    def named(merchant_id: UUID | None, external_id: str | None) -> dict[UUID, Install] | ApiError:
        try:
            return installs_named(integration, merchant_id, external_id)
        except ApiError as refusal:
            return refusal

    def row_or_refusal(event: ParsedEvent | ApiError) -> InboundEvent | ApiError:
        if isinstance(event, ApiError):
            return event
        try:
            event = outlets.placed(integration, event)
        except ApiError as refusal:
            return refusal
        present = named(event.merchant_id, event.external_merchant_id)
        if isinstance(present, ApiError):
            return present
        try:
            return _row(integration, event, find_install(integration, event, present), body)
        except ApiError as refusal:
            return refusal

    return [row_or_refusal(event) for event in events]


def _row(
    integration: Integration, event: ParsedEvent, install: Install, body: bytes
) -> InboundEvent:
    if not install.is_enabled or not integration.is_running:
        raise RefusedForMerchantError(install.merchant_id, "integration_disabled")
    capability = integration.capability_of_event(event.type)
    if capability is None or capability not in install.capability_versions:
        raise RefusedForMerchantError(install.merchant_id, "capability_unsupported")
    kept = body if event.item is None else event.item
    return InboundEvent(
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


def _store(rows: Sequence[InboundEvent | ApiError]) -> list[Receipt]:
    """Insert what is new, all of it in one transaction, and say what was known already.

    A merchant whose tokens are used up is left out and then the whole post is refused: what is sent
    again finds the events of the others known.
    """
    good = [row for row in rows if isinstance(row, InboundEvent)]
    known = _known(good)
    new = {_key(row): row for row in reversed(good) if _key(row) not in known}
    refusal = _spend(new)
    if new:
        with transaction.atomic():
            # In one order, so that two batches with the same events never wait for each other.
            ordered = [new[key] for key in sorted(new)]
            InboundEvent.objects.bulk_create(ordered, ignore_conflicts=True)
            known |= _known(ordered)
        wake_sweep()
    if refusal is not None:
        raise refusal
    return [_receipt(row, known) for row in rows]


def _spend(new: dict[Key, InboundEvent]) -> ApiError | None:
    """Take the tokens of what is new, and take out of it what there are none for."""
    refusals = []
    for owner, count in Counter(map(_owner, new.values())).items():
        try:
            limits.spend(*owner, count)
        except ApiError as refusal:
            refusals.append(
                RefusedForMerchantError(owner[1], refusal.code, retry_after=refusal.retry_after)
            )
            for key in [key for key, row in new.items() if _owner(row) == owner]:
                del new[key]
    return max(refusals, key=lambda refusal: refusal.retry_after or 0, default=None)


def _receipt(row: InboundEvent | ApiError, known: dict[Key, InboundEvent]) -> Receipt:
    if isinstance(row, ApiError):
        return Receipt(None, refusal=row)
    first = known[_key(row)]
    is_duplicate = first.pk != row.pk
    if is_duplicate and first.body_digest != row.body_digest:
        fast_lane.flag_other_body(first.pk)
    return Receipt(first.pk, is_duplicate)


def _owner(row: InboundEvent) -> tuple[UUID, UUID]:
    return row.integration_id, row.merchant_id


def _key(row: InboundEvent) -> Key:
    return row.install_id, row.provider_event_id


def _known(rows: Sequence[InboundEvent]) -> dict[Key, InboundEvent]:
    """The rows of the ledger that have the keys of these."""
    found = InboundEvent.objects.filter(
        install_id__in={row.install_id for row in rows},
        provider_event_id__in={row.provider_event_id for row in rows},
    ).only("install_id", "provider_event_id", "body_digest")
    return {_key(row): row for row in found}
