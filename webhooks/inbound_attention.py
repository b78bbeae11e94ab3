"""Events that were set aside need somebody: told on the pages, mailed once per incident."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Count
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from installs.access import Actor, Verb
from installs.event_notes import SetAsideNote
from installs.history import time_text
from installs.models import Install, Merchant
from webhooks.attention import owners_of
from webhooks.inbound_problems import problem_of
from webhooks.models import InboundEvent, InboundIncident, InboundStatus
from webhooks.problems import Problem

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """An open incident with what this person can do about it."""

    incident: InboundIncident
    install: Install
    problem: Problem | None
    count: int
    since: str
    can_replay: bool

    @property
    def url(self) -> str:
        return log_url(self.incident.integration.slug)


def items_for(actor: Actor, merchant: Merchant) -> list[Item]:
    """Everything open, the oldest first; for somebody limited to outlets, what concerns those."""
    rows = InboundIncident.objects.of_working().filter(merchant=merchant)
    incidents = {row.install_id: row for row in rows.select_related("integration")}
    if not incidents:
        return []
    installs = Install.objects.with_names().in_bulk(list(incidents))
    counts = set_aside_counts(incidents)
    found = [
        _item(actor, merchant, incidents[pk], installs[pk], count)
        for pk, count in counts.items()
        if pk in installs and _concerns(actor, installs[pk])
    ]
    return sorted(found, key=lambda item: (item.incident.opened_at, item.install.pk))


def notes_for(merchant_id: UUID) -> Mapping[UUID, SetAsideNote]:
    """For the pages of the catalog, which know nothing of the ledger."""
    rows = InboundIncident.objects.of_working().filter(merchant_id=merchant_id)
    incidents = {row.install_id: row for row in rows.select_related("integration")}
    if not incidents:
        return {}
    installs = Install.objects.with_names().select_related("merchant").in_bulk(list(incidents))
    return {
        pk: SetAsideNote(
            count=count,
            since=_since(incidents[pk], installs[pk], installs[pk].merchant),
            url=log_url(incidents[pk].integration.slug),
        )
        for pk, count in set_aside_counts(incidents).items()
        if pk in installs
    }


def set_aside_counts(install_ids: Mapping[UUID, object]) -> dict[UUID, int]:
    rows = InboundEvent.objects.set_aside().filter(install_id__in=list(install_ids))
    return dict(rows.values_list("install_id").annotate(number=Count("pk")).order_by())


def _concerns(actor: Actor, install: Install) -> bool:
    return actor.locations is None or install.location_id in actor.locations


def _item(
    actor: Actor, merchant: Merchant, row: InboundIncident, install: Install, count: int
) -> Item:
    return Item(
        incident=row,
        install=install,
        problem=problem_of(row.problem, is_over=True),
        count=count,
        since=_since(row, install, merchant),
        can_replay=actor.may(Verb.REPLAY, install.location_id),
    )


def _since(row: InboundIncident, install: Install, merchant: Merchant) -> str:
    zone = install.location.zone if install.location else ZoneInfo(merchant.timezone)
    return time_text(row.opened_at.astimezone(zone))


def log_url(slug: str) -> str:
    address = reverse("webhooks:inbound")
    return f"{address}?integration={slug}&status={InboundStatus.QUARANTINED.value}"


def mail_about_incidents() -> int:
    """Once per incident, in the way of the incidents of deliveries: claimed before a mail leaves."""
    sent = 0
    unsaid = InboundIncident.objects.of_working().filter(mailed_at=None)
    for row in unsaid.select_related("merchant", "integration"):
        now = timezone.now()
        claim = InboundIncident.objects.filter(pk=row.pk, mailed_at=None, opened_at=row.opened_at)
        if not claim.update(mailed_at=now):
            continue
        try:
            sent += _mail_owners(row)
        except Exception:
            logger.exception("Owners of %s could not be mailed", row.merchant_id)
            InboundIncident.objects.filter(pk=row.pk, mailed_at=now).update(mailed_at=None)
    return sent


def _mail_owners(row: InboundIncident) -> int:
    people = owners_of(row.merchant)
    return _mail(row, people).send() if people else 0


def _mail(row: InboundIncident, people: list[str]) -> EmailMessage:
    with translation.override(row.merchant.locale):
        problem = problem_of(row.problem, is_over=True)
        facts = {
            "name": row.integration.name,
            "merchant": row.merchant.name,
            "since": time_text(row.opened_at.astimezone(ZoneInfo(row.merchant.timezone))),
            "turn": problem.turn.label if problem else "",
            "page": f"{settings.PUBLIC_URL}{log_url(row.integration.slug)}",
        }
        subject = _("An event of %(name)s was set aside")
        text = _(
            "At %(since)s Posz gave up on an event of %(name)s for %(merchant)s and set it aside. "
            "Others go on, and nothing is lost.\n\nWhose turn it is: %(turn)s\n\n"
            "What went wrong, and how to have it processed again:\n\n%(page)s\n"
        )
        lines = [text % facts, *([f"{problem.what} {problem.next_step}\n"] if problem else [])]
        return EmailMessage(subject % facts, "\n".join(lines), bcc=people)
