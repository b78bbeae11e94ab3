"""The delivery log in words that a merchant reads."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Model, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from catalog.envelope import MESSAGE_OF
from installs.access import ALLOWED, Actor, Verb
from installs.history import time_text
from installs.models import Install, Merchant
from webhooks.models import (
    Attempt,
    BreakerState,
    Delivery,
    DeliveryQuerySet,
    DeliveryStatus,
    Recovery,
)
from webhooks.problems import Problem, problem_of
from webhooks.redaction import redact, shown_answer

Row = TypeVar("Row", bound=Model)
PAGE_SIZE = 25
RECENT = 3
# Sent with every attempt; their values are not kept.
SIGNED_WITH = (
    "X-Posz-Signature",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
)
SHOWN_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class Line:
    """One delivery as a row: what, to whom, how it went, what comes next."""

    delivery: Delivery
    at: datetime
    problem: Problem | None
    next_words: str
    latency: str
    can_replay: bool

    @property
    def time(self) -> str:
        return time_text(self.at)

    @property
    def label(self) -> str:
        return f"{self.delivery.event.type}, {self.delivery.integration.name}, {self.time}"


@dataclass(frozen=True, slots=True)
class Try:
    attempt: Attempt
    time: str
    latency: str
    problem: Problem | None
    answer: str


@dataclass(frozen=True, slots=True)
class Page:
    lines: list[Line]
    older: str
    newest: bool


def page_of(actor: Actor, merchant: Merchant, rows: DeliveryQuerySet, before: str) -> Page:
    """A page of the rows, the newest first. `before` is what the page before gave as `older`."""
    rows = with_latency(rows).select_related("event__location", "integration__endpoint")
    found, older, newest = keyset(rows.defer("event__body", "body"), "created_at", before)
    return Page(lines_of(actor, merchant, found), older, newest)


def keyset(rows: QuerySet[Row], column: str, before: str) -> tuple[list[Row], str, bool]:
    """A page of the rows by that time, where the older ones begin, and whether it is the newest."""
    rows = rows.order_by(f"-{column}", "-id")
    place = _place(before)
    if place:
        at, row_id = place
        rows = rows.filter(Q(**{f"{column}__lt": at}) | Q(**{column: at, "id__lt": row_id}))
    found = list(rows[: PAGE_SIZE + 1])
    more = found[PAGE_SIZE - 1] if len(found) > PAGE_SIZE else None
    older = _cursor(getattr(more, column), more.pk) if more else ""
    return found[:PAGE_SIZE], older, place is None


def lines_of(actor: Actor, merchant: Merchant, rows: list[Delivery]) -> list[Line]:
    now, zone = timezone.now(), ZoneInfo(merchant.timezone)
    ids = {row.install_id for row in rows}
    installs = Install.objects.filter(pk__in=ids, is_enabled=True).in_bulk()
    return [line_of(actor, row, now, zone, installs.get(row.install_id)) for row in rows]


def line_of(
    actor: Actor, row: Delivery, now: datetime, merchant_zone: ZoneInfo, install: Install | None
) -> Line:
    """`install` is the one that it goes to, None where that is uninstalled or switched off."""
    zone = row.event.location.zone if row.event.location else merchant_zone
    is_over = row.status != DeliveryStatus.PENDING
    return Line(
        delivery=row,
        at=row.created_at.astimezone(zone),
        problem=problem_of(row.reason, is_over=is_over),
        next_words=next_words(row, now, zone, is_live=install is not None),
        latency=duration_text(getattr(row, "latency_ms", None)),
        can_replay=is_over
        and install is not None
        and install.outbound_off_at is None
        and actor.may(Verb.REPLAY, install.location_id),
    )


def tries_of(row: Delivery, zone: ZoneInfo) -> list[Try]:
    return [
        Try(
            attempt=item,
            time=time_text(item.started_at.astimezone(zone)),
            latency=duration_text(item.elapsed_ms),
            problem=problem_of(item.problem, is_over=True),
            answer=shown_answer(item.response_excerpt),
        )
        for item in row.attempts.all()
    ]


def with_latency(rows: DeliveryQuerySet) -> DeliveryQuerySet:
    """Each with how long its last attempt took."""
    last = Attempt.objects.filter(delivery=OuterRef("pk")).order_by("-number")
    return rows.annotate(latency_ms=Subquery(last.values("elapsed_ms")[:1]))


def next_words(row: Delivery, now: datetime, zone: ZoneInfo, *, is_live: bool) -> str:
    """When it is tried next, empty where it is not."""
    if row.status != DeliveryStatus.PENDING:
        return ""
    if not is_live or row.next_attempt_at is None:
        return _("Waits until the integration is enabled again")
    endpoint = getattr(row.integration, "endpoint", None)
    if endpoint is not None and endpoint.state == BreakerState.OPEN:
        return _("Waits until the partner is well again; Posz tries it once a minute")
    if row.lease_until and row.lease_until > now:
        return _("Being sent now")
    if row.next_attempt_at <= now:
        return _("Next in line")
    return _("Next try %(wait)s, at %(time)s") % {
        "wait": wait_text(row.next_attempt_at - now),
        "time": clock_text(row.next_attempt_at.astimezone(zone), now.astimezone(zone)),
    }


def wait_text(wait: timedelta) -> str:
    seconds = max(round(wait.total_seconds()), 1)
    if seconds < 60:
        return ngettext("in %(count)d second", "in %(count)d seconds", seconds) % {"count": seconds}
    minutes = round(seconds / 60)
    if minutes < 90:
        return ngettext("in %(count)d minute", "in %(count)d minutes", minutes) % {"count": minutes}
    hours = round(minutes / 60)
    return ngettext("in %(count)d hour", "in %(count)d hours", hours) % {"count": hours}


def clock_text(at: datetime, now: datetime) -> str:
    """The time of day with its zone, and the day where it is another one."""
    return f"{date_format(at, 'H:i')} {at.tzname()}" if at.date() == now.date() else time_text(at)


def duration_text(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    return f"{number_format(milliseconds / 1000, 1)} s"


def body_text(body: bytes | memoryview) -> str:
    """What was sent, laid out for reading; the bytes themselves have no blanks between."""
    return _cut(_laid_out(body), SHOWN_CHARACTERS)


def redacted_body_text(body: bytes | memoryview) -> str:
    """What somebody else has sent: redacted before it is cut, so that no half of a key is left."""
    return _cut(redact(_laid_out(body)[: 4 * SHOWN_CHARACTERS]), SHOWN_CHARACTERS)


def _laid_out(body: bytes | memoryview) -> str:
    text = bytes(body).decode("utf-8", "replace")
    with suppress(ValueError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return text


def _cut(text: str, length: int) -> str:
    return f"{text[:length]}\n…" if len(text) > length else text


def summary_of(lines: Iterable[Line]) -> str:
    """How the page stands, to be said aloud when it has changed."""
    states = [line.delivery.status for line in lines]
    return _("List changed: %(pending)d on their way, %(dead)d failed.") % {
        "pending": states.count(DeliveryStatus.PENDING),
        "dead": states.count(DeliveryStatus.DEAD),
    }


def refusal_text(code: str) -> str:
    """Why a delivery is not sent again, by what `recovery.replay_chosen` says of it."""
    if code == DeliveryStatus.PENDING:
        return _("It is still on its way, so there is nothing to send again.")
    if code == "forbidden":
        return _("Your role, or your outlets, do not allow this. Ask an owner.")
    return str(MESSAGE_OF[code])


def recoveries_of(actor: Actor, merchant: Merchant) -> list[Recovery]:
    """The last few times somebody sent many again, for those who may do so themselves."""
    if Verb.REPLAY not in ALLOWED[actor.role]:
        return []
    rows = Recovery.objects.filter(merchant=merchant).select_related("integration")
    return list(rows.order_by("-created_at", "id")[:RECENT])


def _cursor(at: datetime, row_id: UUID) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S.%f}_{row_id}"


def _place(cursor: str) -> tuple[datetime, UUID] | None:
    """Where a page begins; a cursor that is none begins with the newest."""
    at, _sign, row_id = cursor.partition("_")
    try:
        moment = datetime.strptime(at, "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
        return moment, UUID(row_id)
    except (ValueError, OverflowError):
        return None
