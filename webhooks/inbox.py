"""The POS's inbox: what partners told, handed over once each and in order.

A row is written by whoever processes an event, in the transaction that marks the event processed.
Until the POS acknowledges it, it is handed over again. Sequences are given out under a lock that is
held until the commit, so whatever has a lower one is there already: a cursor skips nothing.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.capabilities import Direction
from catalog.envelope import ApiError
from dispatch.adapters.generic import told
from dispatch.contracts import InboundAdapter, PartnerEvent
from dispatch.operations import contract_of
from dispatch.operations.notation import Operation, Record
from installs.access import Actor, Verb
from installs.lifecycle import hold_merchant
from installs.models import Install
from installs.tokens import Caller
from webhooks.inbox_records import Handover, Telling, handover_of
from webhooks.models import InboundEvent, InboundStatus, InboxCount, InboxQuerySet, InboxRow

PAGE, LONGEST_PAGE = 50, 200
CURSOR = re.compile(r"[0-9]{1,18}", re.ASCII)
# What partners tell the hub itself, as in `session.revoked`, is none of the POS's business.
CAPABILITIES = frozenset(
    {
        "payment_webhook_inbound",
        "tax_invoice_provider",
        "reservation_provider",
        "order_inbound",
        "menu_sync_outbound",
        "notification_provider",
        "inventory_replenish_inbound",
        "staff_schedule_import",
    }
)
# For information only: none of them waits for another.
UNORDERED = frozenset({"payment_webhook_inbound"})


# Writing


def operation_of_event(row: InboundEvent, version: int) -> Operation | None:
    """What the event is in the contract, None where the inbox has no use for it."""
    if row.capability not in CAPABILITIES:
        return None
    operation = contract_of(row.capability, version).operation(row.type)
    if operation is None or operation.direction is not Direction.INBOUND or operation.answer:
        return None
    return operation


def is_behind(row: InboundEvent) -> bool:
    """Whether an event of the same install that came before is still to be processed, or another
    worker is at it. Then this one is left for later, so that the POS hears of both in their order.

    One that has failed before is not waited for, lest one bad event hold up all others.
    """
    if not is_ordered(row.capability):
        return False
    earlier = InboundEvent.objects.filter(
        Q(received_at__lt=row.received_at) | Q(received_at=row.received_at, id__lt=row.id),
        install_id=row.install_id,
        status=InboundStatus.RECEIVED,
        attempts=0,
    )
    return earlier.exclude(capability__in=UNORDERED).exists()


def is_ordered(capability: str) -> bool:
    return capability in CAPABILITIES - UNORDERED


def hand_over(
    row: InboundEvent,
    install: Install | None,
    operation: Operation,
    adapter: InboundAdapter,
    event: PartnerEvent,
) -> InboxRow:
    """Write the one row of an event, in the transaction that processes it.

    Raises WrongRecordError where the record is not what the contract says, ParkedError where it waits
    for a mapping.
    """
    record = _read(operation, adapter, event)
    hold_merchant(row.merchant_id)
    if install is None:
        # Uninstalled meanwhile: nobody can say any more what its ids are.
        handover = Handover(dict(event.data))
    else:
        handover = handover_of(Telling(row, install, operation, record))
    versions = install.capability_versions if install else row.integration.capabilities
    late = {"late": True} if row.is_late else {}
    return InboxRow.objects.create(
        event_id=row.pk,
        merchant_id=row.merchant_id,
        location=handover.location or row.location,
        integration=row.integration,
        install_id=row.install_id,
        capability=row.capability,
        operation=operation.name,
        contract_version=versions.get(row.capability, 1),
        external_id=handover.external_id,
        data=handover.data,
        notes=handover.notes | late,
        needs_approval=handover.needs_approval,
        accept_by=handover.accept_by,
        occurred_at=row.occurred_at,
        withheld=handover.withheld,
        sequence=None if handover.withheld else _next_sequence(row.merchant_id),
    )


def _read(operation: Operation, adapter: InboundAdapter, event: PartnerEvent) -> Record:
    """In the adapter's words, where it has any for this operation, else as the contract has it."""
    method = operation.method
    own = getattr(adapter, method.__name__, None) if method else None
    record: Record = own(event) if own else told(method, event)  # type: ignore[arg-type]
    return record


def _next_sequence(merchant_id: UUID) -> int:
    """The last thing of a transaction: from here to its end the merchant's others wait."""
    rows = InboxCount.objects.filter(merchant_id=merchant_id)
    if not rows.update(last=F("last") + 1):
        InboxCount.objects.bulk_create([InboxCount(merchant_id=merchant_id)], ignore_conflicts=True)
        rows.update(last=F("last") + 1)
    return rows.values_list("last", flat=True).get()


# Handing over


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the inbox. Rows about no one outlet are given to whichever asks."""

    after: str | None = None
    limit: int = PAGE
    location_id: UUID | None = None
    capability: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    rows: Sequence[InboxRow]
    next: str
    has_more: bool


def page_of(actor: Actor, asked: Question) -> Page:
    """What is not acknowledged, the oldest first. `next` is always a place to go on from."""
    actor.require(Verb.VIEW)
    after = asked.after or "0"
    if not CURSOR.fullmatch(after):
        message = _("Pass the `next` of an earlier answer.")
        raise ApiError("invalid_payload", f"after: {message}", fields={"after": [message]})
    rows = _narrowed(InboxRow.objects.for_merchant(actor.merchant_id).waiting(), asked)
    rows = rows.filter(sequence__gt=int(after)).select_related("integration")
    found = list(rows[: asked.limit + 1])
    page = found[: asked.limit]
    last = str(page[-1].sequence) if page else after
    return Page(page, last, has_more=len(found) > len(page))


def _narrowed(rows: InboxQuerySet, asked: Question) -> InboxQuerySet:
    if asked.location_id is not None:
        rows = rows.filter(Q(location=asked.location_id) | Q(location=None))
    if asked.capability is not None:
        rows = rows.filter(capability=asked.capability)
    return rows


Taken: TypeAlias = list[tuple[UUID, datetime]]


def acknowledge(caller: Caller, ids: Sequence[UUID]) -> Taken:
    """Note that the POS has taken these over: each with the time at which it was noted first.

    All or none: an id that is unknown, or another merchant's, is `not_found`. What is withheld was
    never handed over, so there is nothing to take over.
    """
    rows = InboxRow.objects.all()
    if caller.merchant_id is not None:
        rows = rows.for_merchant(caller.merchant_id)

    def check(row: InboxRow) -> None:
        caller.actor(row.merchant_id).require(Verb.ACKNOWLEDGE)

    return _take_over(rows, ids, f"token:{caller.name}", check)


def acknowledge_at(actor: Actor, location_id: UUID, ids: Sequence[UUID]) -> Taken:
    """The same for somebody who stands at the till of an outlet, of what that outlet is handed."""
    mine = InboxRow.objects.for_merchant(actor.merchant_id)
    rows = _narrowed(mine, Question(location_id=location_id))

    def check(row: InboxRow) -> None:  # noqa: ARG001
        actor.require(Verb.ACKNOWLEDGE, location_id)

    return _take_over(rows, ids, actor.label, check)


def _take_over(
    rows: InboxQuerySet, ids: Sequence[UUID], by: str, check: Callable[[InboxRow], None]
) -> Taken:
    asked = rows.filter(pk__in=set(ids), sequence__isnull=False)
    with transaction.atomic():
        # In one order, so that two of these never wait for each other.
        found = {row.pk: row for row in asked.order_by("pk").select_for_update(of=("self",))}
        if len(found) != len(set(ids)):
            raise ApiError("not_found")
        for row in found.values():
            check(row)
        now = timezone.now()
        new = [row.pk for row in found.values() if row.acknowledged_at is None]
        InboxRow.objects.filter(pk__in=new).update(acknowledged_at=now, acknowledged_by=by)
    return [(pk, found[pk].acknowledged_at or now) for pk in dict.fromkeys(ids)]


# Retention


def old(acknowledged_before: datetime, forgotten_before: datetime) -> InboxQuerySet:
    """What may go: taken over or withheld long ago, or fetched by nobody for much longer."""
    settled = Q(acknowledged_at__lt=acknowledged_before) | Q(
        sequence=None, created_at__lt=acknowledged_before
    )
    forgotten = Q(created_at__lt=forgotten_before, acknowledged_at=None)
    return InboxRow.objects.filter(settled | forgotten).order_by("created_at")
