"""What happened, to be fetched: by a merchant's script with a token, by a partner's server signed.

Events come as they were delivered, byte for byte, the oldest first. `next` is always there, also when
there is nothing more for now: whoever polls goes on from it. Examples are in no feed.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from catalog.models import Integration
from catalog.strict_json import dumps
from dispatch.signing import is_standard_signed
from installs.access import Actor, Verb
from installs.credentials import active_secrets
from installs.models import Install, Merchant
from webhooks.models import Delivery, Event

PAGE, LONGEST_PAGE = 50, 200
# Longer than any transaction that writes events: what is older than this is complete, whatever the
# order in which they end.
SETTLED_AFTER = timedelta(seconds=15)

SEQUENCE = re.compile(r"[0-9]{1,18}", re.ASCII)
PLACE = re.compile(r"([0-9]{1,17})-([0-9a-f]{32})", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a feed: which events, after which place, how many at most."""

    after: str | None = None
    limit: int = PAGE
    type: str | None = None
    location_id: UUID | None = None

    def narrowed(self, rows: Any, prefix: str = "") -> Any:
        wanted = {"type": self.type, "location_id": self.location_id}
        return rows.filter(
            **{f"{prefix}{name}": value for name, value in wanted.items() if value is not None}
        )


def of_merchant(actor: Actor, asked: Question) -> HttpResponse:
    """The merchant's events by sequence; the place of an event is its sequence.

    A merchant's row is locked while a sequence is given out, so that whatever has a lower one is
    there already.
    """
    actor.require(Verb.VIEW)
    after = asked.after or "0"
    if not SEQUENCE.fullmatch(after):
        raise _unknown_place()
    # Read first: all events up to it are there, also those that the filters leave out.
    newest = (
        Merchant.objects.filter(pk=actor.merchant_id)
        .values_list("event_sequence", flat=True)
        .first()
    )
    if newest is None:
        raise ApiError("not_found")
    rows = Event.objects.filter(
        merchant_id=actor.merchant_id, sequence__gt=int(after), is_example=False
    )
    rows = asked.narrowed(rows).order_by("sequence").values_list("sequence", "body")
    found = list(rows[: asked.limit + 1])
    page = found[: asked.limit]
    has_more = len(found) > len(page)
    last = page[-1][0] if page else int(after)
    place = last if has_more else max(last, newest)
    return _answer([body for _sequence, body in page], str(place), has_more=has_more)


def of_integration(
    integration: Integration, asked: Question, merchant_id: UUID | None
) -> HttpResponse:
    """Events that this integration had a delivery for, of installs that are switched on now.

    Several merchants have no common sequence, so the place is the time and number of the delivery,
    and the newest seconds are held back until nothing can come in before them any more.
    """
    if not integration.is_running:
        raise ApiError("integration_disabled")
    installs = Install.objects.filter(integration=integration, is_enabled=True)
    if merchant_id is not None:
        installs = installs.for_merchant(merchant_id)
        if not installs.exists():
            raise ApiError("integration_not_installed")
    at, number = _read_place(asked.after)
    rows = (
        Delivery.objects.filter(
            integration=integration,
            install_id__in=installs.values("pk"),
            event__is_example=False,
            created_at__gte=at,
            created_at__lt=timezone.now() - SETTLED_AFTER,
        )
        .exclude(created_at=at, id__lte=number)
        .order_by("created_at", "id")
    )
    rows = asked.narrowed(rows, "event__")
    body = Coalesce("body", "event__body")
    found = list(rows.values_list("created_at", "id", body)[: asked.limit + 1])
    page = found[: asked.limit]
    if page:
        at, number = page[-1][:2]
    bodies = [body for *_place, body in page]
    return _answer(bodies, _write_place(at, number), has_more=len(found) > len(page))


def require_signed_request(integration: Integration, request: HttpRequest) -> None:
    """Refuse with 401 a GET whose path with its query is not signed by an accepted inbound key.

    The form is that of Standard Webhooks, with the path in the place of the body. Repeating such a
    request within its five minutes only reads the same again.
    """
    query = request.META.get("QUERY_STRING", "")
    target = f"{request.path}?{query}" if query else request.path
    keys = active_secrets(integration.slug, "inbound")
    if not is_standard_signed(dict(request.headers), target.encode(), keys, time.time()):
        raise ApiError("invalid_signature", _("The signature does not match this address."))


def _answer(bodies: Sequence[bytes | memoryview], place: str, *, has_more: bool) -> HttpResponse:
    # Written together and not read and written again, so that the bytes are those that were signed.
    head = dumps({"next": place, "has_more": has_more})[:-1]
    data = b",".join(bytes(body) for body in bodies)
    return HttpResponse(head + b',"data":[' + data + b"]}", content_type="application/json")


def _read_place(text: str | None) -> tuple[datetime, UUID]:
    if text is None:
        return EPOCH, UUID(int=0)
    match = PLACE.fullmatch(text)
    try:
        if match:
            return EPOCH + timedelta(microseconds=int(match[1])), UUID(match[2])
    except OverflowError:
        pass
    raise _unknown_place()


def _write_place(at: datetime, number: UUID) -> str:
    return f"{(at - EPOCH) // timedelta(microseconds=1)}-{number.hex}"


def _unknown_place() -> ApiError:
    message = _("Pass the `next` of an earlier answer.")
    return ApiError("invalid_payload", f"after: {message}", fields={"after": [message]})
