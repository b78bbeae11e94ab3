"""Events that wait for a person to say what an id of the partner is, and how they go on.

A parked event has had no effect. It starts anew, at the place it had by the time it came, once all
that it waits for was mapped or ignored; whoever resolves an id only wakes this up.
"""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from installs.models import IdMapping, Install, MappedKind, OutletNumber
from webhooks.inbound_problems import NEEDS_MAPPING
from webhooks.models import InboundEvent, InboundStatus, ParkedFor

BATCH = 500

Missing = tuple[str, str]


class ParkedError(Exception):
    """The event names something that nobody has mapped: kinds and ids."""

    def __init__(self, missing: Iterable[Missing]) -> None:
        super().__init__("needs mapping")
        self.missing = sorted(set(missing))


def park(row: InboundEvent, missing: Iterable[Missing]) -> None:
    """To be called in the transaction that processes the event."""
    ParkedFor.objects.filter(event=row).delete()
    ParkedFor.objects.bulk_create(
        ParkedFor(event=row, kind=kind, external_id=text) for kind, text in missing
    )
    row.status, row.problem, row.problem_at = InboundStatus.PARKED, NEEDS_MAPPING, ""
    row.save(update_fields=["status", "problem", "problem_at", "location", "is_late"])


def unpark() -> int:
    """Start what waits for nothing any more; return how many. Safe to run twice at once."""
    started = 0
    while True:
        with transaction.atomic():
            rows = InboundEvent.objects.filter(status=InboundStatus.PARKED)
            free = rows.exclude(Exists(_open())).order_by("received_at", "id")
            chosen = list(free.select_for_update(of=("self",)).values_list("pk", flat=True)[:BATCH])
            ParkedFor.objects.filter(event__in=chosen).delete()
            rows.filter(pk__in=chosen).update(
                status=InboundStatus.RECEIVED,
                attempts=0,
                problem="",
                # In the order in which they came, and before what came since.
                due_at=F("received_at"),
                replayed_at=timezone.now(),
            )
        started += len(chosen)
        if len(chosen) < BATCH:
            return started


def _open() -> QuerySet[ParkedFor]:
    """What a parked event still waits for. An install that is gone waits for nobody."""
    mappings = IdMapping.objects.open().filter(
        install=OuterRef("event__install_id"),
        kind=OuterRef("kind"),
        external_id=OuterRef("external_id"),
    )
    numbers = OutletNumber.objects.filter(
        integration=OuterRef("event__integration"),
        external_id=OuterRef("external_id"),
        location__merchant=OuterRef("event__merchant"),
    )
    waits = ParkedFor.objects.filter(event=OuterRef("pk"))
    is_outlet = Q(kind=MappedKind.OUTLET)
    return waits.filter(
        Exists(Install.objects.filter(pk=OuterRef("event__install_id"))),
        (is_outlet & ~Exists(numbers)) | (~is_outlet & Exists(mappings)),
    )
