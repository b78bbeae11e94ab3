"""Old inbound events: first their bodies are erased, and only much later the rows go.

A row is also the key by which a repetition is known. It stays as long as any secret could still sign
the post it came with: until every secret of the integration was made after the post was received.
Only what was processed is touched; what was set aside or parked waits for somebody. Rows of the inbox go
as bodies do once the POS has taken them over, and as rows do where nobody ever fetched them.
"""

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Min, Q, QuerySet
from django.utils import timezone

from catalog.inbound_scheme import MAX_TOLERANCE_SECONDS, PURPOSES, Kind
from catalog.models import Integration
from installs.models import ACCEPTED_NOW, IntegrationSecret, SecretState
from webhooks import inbox
from webhooks.models import InboundEvent, InboundRefusal, InboundStatus, InboundSubject, Told

BATCH = 1_000
# Well below the time after which the queue hands a message out again. What is left waits for the
# next run, which finds it in the rows.
RUN_SECONDS = 60.0
# No scheme lets a signed time be further from ours.
TOLERANCE = timedelta(seconds=MAX_TOLERANCE_SECONDS)
REFUSALS_KEPT = timedelta(days=30)


def prune() -> dict[str, int]:
    """Erase and remove what is old enough, in batches; return how much of each.

    Safe to run twice at once, and after any crash: each batch is one statement about rows that
    still need it.
    """
    now, end_at = timezone.now(), time.monotonic() + RUN_SECONDS
    kept = {"bodies": settings.INBOUND_BODY_DAYS, "rows": settings.INBOUND_ROW_DAYS}
    before = {name: now - timedelta(days=days) for name, days in kept.items()}
    return {
        "bodies": sum(until(end_at, erase_bodies(before["bodies"]))),
        "rows": sum(until(end_at, remove_rows(min(before.values())))),
        "subjects": sum(until(end_at, remove_subjects(before["rows"]))),
        "inbox": sum(until(end_at, _remove(inbox.old(before["bodies"], before["rows"])))),
        "told": sum(until(end_at, remove_told(before["rows"]))),
        "refusals": sum(until(end_at, remove_refusals(now - REFUSALS_KEPT))),
    }


def until(end_at: float, batches: Iterator[int]) -> Iterator[int]:
    for done in batches:
        yield done
        if time.monotonic() > end_at:
            return


def erase_bodies(before: datetime) -> Iterator[int]:
    rows = InboundEvent.objects.filter(
        status=InboundStatus.PROCESSED, erased_at=None, received_at__lt=before
    )
    yield from _in_batches(
        rows.order_by("received_at"),
        lambda batch: batch.update(body=b"", headers=[], erased_at=timezone.now()),
    )


def remove_rows(before: datetime) -> Iterator[int]:
    for integration in Integration.objects.order_by("slug"):
        safe = nobody_can_sign_before(integration)
        if safe is None:
            continue
        rows = InboundEvent.objects.filter(
            integration=integration,
            status=InboundStatus.PROCESSED,
            erased_at__isnull=False,
            received_at__lt=min(before, safe),
        )
        yield from _in_batches(rows.order_by("received_at"), lambda batch: batch.delete()[0])


def nobody_can_sign_before(integration: Integration) -> datetime | None:
    """The moment before which whatever was received can't be sent again; None where there is none.

    A secret may have signed what was received since it was made, and with the tolerance of its time
    a little before. The next one counts too: it will be accepted. So does one of another purpose that
    a scheme may use. Where no secret signs, as with issued tokens, nothing tells what can't be sent.
    """
    try:
        scheme = integration.inbound_scheme
    except ValidationError:
        return None
    if scheme.kind in {Kind.NONE, Kind.ISSUED}:
        return None
    live = IntegrationSecret.objects.filter(
        ACCEPTED_NOW | Q(state=SecretState.NEXT), integration=integration, purpose__in=PURPOSES
    )
    oldest: datetime | None = live.aggregate(oldest=Min("created_at"))["oldest"]
    return oldest - TOLERANCE if oldest else None


def remove_subjects(before: datetime) -> Iterator[int]:
    """What nothing was said about for so long is settled."""
    rows = InboundSubject.objects.filter(changed_at__lt=before).order_by("changed_at")
    yield from _in_batches(rows, lambda batch: batch.delete()[0])


def remove_told(before: datetime) -> Iterator[int]:
    yield from _remove(Told.objects.filter(changed_at__lt=before).order_by("changed_at"))


def _remove(rows: QuerySet[Any]) -> Iterator[int]:
    yield from _in_batches(rows, lambda batch: batch.delete()[0])


def remove_refusals(before: datetime) -> Iterator[int]:
    rows = InboundRefusal.objects.filter(hour__lt=before).order_by("hour")
    yield from _in_batches(rows, lambda batch: batch.delete()[0])


def _in_batches(rows: QuerySet[Any], act: Callable[[QuerySet[Any]], int]) -> Iterator[int]:
    while ids := list(rows.values_list("pk", flat=True)[:BATCH]):
        # The conditions once more: a row may have changed since it was looked for.
        yield act(rows.order_by().filter(pk__in=ids))
