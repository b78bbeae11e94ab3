"""The log of received events in words that a merchant reads."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.translation import gettext as _

from installs import history
from installs.access import Actor, Verb
from installs.history import time_text
from installs.models import AuditEntry, Install, Location, Merchant
from webhooks.inbound_problems import problem_of
from webhooks.log import clock_text, keyset, redacted_body_text, wait_text
from webhooks.models import InboundEvent, InboundQuerySet, InboundStatus, InboxRow, ParkedFor
from webhooks.problems import Problem
from webhooks.redaction import redact, shown_header


@dataclass(frozen=True, slots=True)
class Line:
    """One event as a row: what, from whom, about which outlet, how it went, what comes next."""

    event: InboundEvent
    location: Location | None
    zone: ZoneInfo
    problem: Problem | None
    next_words: str
    can_replay: bool

    @property
    def time(self) -> str:
        return self.time_of(self.event.received_at)

    @property
    def label(self) -> str:
        return f"{self.event.type}, {self.event.integration.name}, {self.time}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Times that are told on the event's own page, in the outlet's zone."""
        moments = (
            (_("Happened"), self.event.occurred_at),
            (_("Received"), self.event.received_at),
            (_("Processed"), self.event.processed_at),
            (_("Asked to be processed again"), self.event.replayed_at),
        )
        return [(label, self.time_of(at)) for label, at in moments if at]

    def time_of(self, at: datetime) -> str:
        return time_text(at.astimezone(self.zone))

    @property
    def mismatch_time(self) -> str:
        return self.time_of(self.event.mismatched_at) if self.event.mismatched_at else ""

    @property
    def erased_time(self) -> str:
        return self.time_of(self.event.erased_at) if self.event.erased_at else ""


@dataclass(frozen=True, slots=True)
class Page:
    lines: list[Line]
    older: str
    newest: bool

    @property
    def has_replayable(self) -> bool:
        return any(line.can_replay for line in self.lines)


def page_of(actor: Actor, merchant: Merchant, rows: InboundQuerySet, before: str) -> Page:
    """A page of the rows, the newest first. `before` is what the page before gave as `older`."""
    rows = rows.select_related("integration", "location").defer("body", "headers")
    found, older, newest = keyset(rows, "received_at", before)
    return Page(lines_of(actor, merchant, found), older, newest)


def lines_of(actor: Actor, merchant: Merchant, rows: list[InboundEvent]) -> list[Line]:
    now, zone = timezone.now(), ZoneInfo(merchant.timezone)
    ids = {row.install_id for row in rows}
    installs = Install.objects.filter(pk__in=ids).select_related("location").in_bulk()
    return [_line(actor, row, now, zone, installs.get(row.install_id)) for row in rows]


def _line(
    actor: Actor, row: InboundEvent, now: datetime, merchant_zone: ZoneInfo, install: Install | None
) -> Line:
    """`install` is the one that it came for, None where that is uninstalled."""
    location = row.location or (install.location if install else None)
    zone = location.zone if location else merchant_zone
    return Line(
        event=row,
        location=location,
        zone=zone,
        problem=problem_of(row.problem, is_over=row.status != InboundStatus.RECEIVED),
        next_words=next_words(row, now, zone),
        can_replay=row.is_replayable and actor.may(Verb.REPLAY, location.pk if location else None),
    )


def next_words(row: InboundEvent, now: datetime, zone: ZoneInfo) -> str:
    """When it is worked on, empty where it is not."""
    if row.status != InboundStatus.RECEIVED:
        return ""
    if row.due_at <= now:
        return _("Next in line")
    return _("Next try %(wait)s, at %(time)s") % {
        "wait": wait_text(row.due_at - now),
        "time": clock_text(row.due_at.astimezone(zone), now.astimezone(zone)),
    }


def body_of(row: InboundEvent) -> str:
    """Redacted, laid out for reading; empty where it is erased."""
    return redacted_body_text(row.body)


def headers_of(row: InboundEvent) -> list[tuple[str, str]]:
    return [(redact(str(name)), shown_header(str(name), str(value))) for name, value in row.headers]


@dataclass(frozen=True, slots=True)
class HandoverLine:
    """Whether the POS has taken over what the event told; `why` where it is not told."""

    row: InboxRow
    zone: ZoneInfo

    @property
    def taken_time(self) -> str:
        at = self.row.acknowledged_at
        return time_text(at.astimezone(self.zone)) if at else ""

    @property
    def accept_time(self) -> str:
        at = self.row.accept_by
        return time_text(at.astimezone(self.zone)) if at else ""

    @property
    def why(self) -> str:
        return str(self.row.get_withheld_display()) if self.row.withheld else ""


def handover_of(row: InboundEvent, zone: ZoneInfo) -> HandoverLine | None:
    found = InboxRow.objects.filter(event_id=row.pk).first()
    return HandoverLine(found, zone) if found else None


def unmapped_in(row: InboundEvent) -> list[ParkedFor]:
    """What a parked event waits for."""
    if row.status != InboundStatus.PARKED:
        return []
    return list(ParkedFor.objects.filter(event=row).order_by("kind", "external_id"))


def effects_of(row: InboundEvent, merchant: Merchant) -> list[history.Line]:
    """What the event brought about, as it stands in the activity of the merchant."""
    entries = AuditEntry.objects.for_merchant(row.merchant_id).filter(pk__in=row.effects or [])
    return history.lines(merchant, entries.order_by("id"))


def summary_of(lines: Iterable[Line]) -> str:
    """How the page stands, to be said aloud when it has changed."""
    states = [line.event.status for line in lines]
    return _("List changed: %(waiting)d waiting, %(aside)d set aside.") % {
        "waiting": states.count(InboundStatus.RECEIVED),
        "aside": states.count(InboundStatus.QUARANTINED),
    }
