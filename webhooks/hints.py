"""Where webhooks that prove too little are kept until their provider has been asked.

Whoever posts may have made it all up. So nothing is looked up for it that would show in the answer, of
its body only what the question needs is kept, and it takes no event id: a forged one can neither go
before the real one nor have an effect. Every post is asked about after it came, so that one which was
refused before it was true is not lost; however often it is posted meanwhile, it waits as one row.
"""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Case, DateTimeField, F, QuerySet, Value, When
from django.utils import timezone

from catalog import strict_json
from catalog.envelope import ApiError
from catalog.inbound_confirmation import Confirmation
from catalog.inbound_events import ParsedEvent, read_events
from catalog.inbound_mapping import EventMapping
from catalog.inbound_parts import Reading, SignedRequest
from catalog.inbound_scheme import Kind, Scheme
from catalog.models import Integration
from dispatch.inbound_verifier import Reason
from installs import throttle
from installs.inbound_addresses import install_at
from installs.models import Install
from installs.wake import wake_soon
from webhooks.models import Hint, HintStatus
from webhooks.signed import UnsignedError, confirmation_of

MAX_BODY_BYTES = 64 * 1024
# The same question is not asked more often than this.
PAUSE = timedelta(seconds=10)
NAMED = ("merchant_id", "external_merchant_id", "location_id", "external_location_id")

Kept = tuple[UUID, bool]


def keep(
    integration: Integration,
    scheme: Scheme,
    mapping: EventMapping | None,
    request: SignedRequest,
    secret: str | None,
) -> list[Kept]:
    """The hints of a post, committed, and whether each was waiting already.

    Refused with `invalid_signature` where nobody can be asked, and where the address is none of an
    install; `invalid_payload` and `payload_too_large` are about the post alone; `rate_limited` counts
    those who prove nothing apart from everybody else.
    """
    question = confirmation_of(integration)
    install = None if secret is None else install_at(integration, secret)
    if secret is not None and install is None:
        raise UnsignedError([], Reason.MISMATCH)
    if len(request.body) > MAX_BODY_BYTES:
        raise ApiError("payload_too_large")
    found = read_events(mapping, request.headers, request.body)
    events = [event for event in found if isinstance(event, ParsedEvent)]
    rows = [_row(integration, question, request, event, install) for event in events]
    _spend(integration, scheme, install, len(rows))
    kept = [_stored(row) for row in rows]
    wake_soon("webhooks.tasks.confirm_due")
    return kept


def _row(
    integration: Integration,
    question: Confirmation,
    request: SignedRequest,
    event: ParsedEvent,
    install: Install | None,
) -> Hint:
    reading = Reading(request)
    if event.item is not None:
        reading.item = strict_json.loads(event.item, literal_numbers=True)
    values = question.values(reading)
    named = {name: str(value) for name in NAMED if (value := getattr(event, name)) is not None}
    install_id = install.pk if install else None
    asked: list[Any] = [str(install_id), sorted(values.items()), sorted(named.items())]
    return Hint(
        integration=integration,
        digest=hashlib.sha256(strict_json.dumps(asked)).hexdigest(),
        install_id=install_id,
        claimed_id=event.event_id,
        claimed_type=event.provider_type,
        values=values,
        named=named,
    )


def _spend(integration: Integration, scheme: Scheme, install: Install | None, count: int) -> None:
    """Whoever knows a key or an address has a share of their own, which nobody else can use up."""
    if install is not None:
        throttle.spend(f"hint:{install.pk}", settings.INBOUND_RATE_PER_MINUTE, count)
    elif scheme.kind is not Kind.NONE:
        throttle.spend(f"hint:{integration.pk}", settings.INBOUND_RATE_PER_MINUTE, count)
    else:
        throttle.spend(f"hint:any:{integration.pk}", settings.HINTS_PER_MINUTE, count)


def _stored(row: Hint) -> Kept:
    """A row, or one more post of the row that asks the same."""
    known = Hint.objects.filter(integration=row.integration, digest=row.digest)
    while True:
        first = known.only("id", "status").first()
        if first is None:
            Hint.objects.bulk_create([row], ignore_conflicts=True)
            if known.filter(pk=row.pk).exists():
                return row.pk, False
        elif _posted_again(known.filter(pk=first.pk), row):
            return first.pk, first.status == HintStatus.RECEIVED


def _posted_again(known: QuerySet[Hint], row: Hint) -> int:
    """One statement decides what to do with the row that is there: who is asking about it at this
    moment finds that `posts` has grown and asks again. It may have been erased; then 0."""
    now = timezone.now()
    is_waiting = When(status=HintStatus.RECEIVED, then=F("due_at"))
    was_asked = When(asked_at__gt=now - PAUSE, then=Value(now + PAUSE))
    return known.update(
        posts=F("posts") + 1,
        posted_at=now,
        values=row.values,
        due_at=Case(is_waiting, was_asked, default=Value(now), output_field=DateTimeField()),
        attempts=Case(When(status=HintStatus.RECEIVED, then=F("attempts")), default=Value(0)),
        status=HintStatus.RECEIVED,
    )


def ask_again(hint_ids: Sequence[UUID]) -> int:
    """For staff: ask about those that were refused or set aside once more."""
    rows = Hint.objects.filter(pk__in=hint_ids).exclude(status=HintStatus.RECEIVED)
    changed = rows.exclude(status=HintStatus.CONFIRMED).update(
        status=HintStatus.RECEIVED, attempts=0, due_at=timezone.now()
    )
    wake_soon("webhooks.tasks.confirm_due")
    return changed
