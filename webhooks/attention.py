"""What of a merchant's deliveries needs somebody: shown on the pages, mailed once per incident.

Incidents are opened and closed by the worker that records attempts. Here they are only told.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from installs import connection
from installs.access import Actor, Verb
from installs.event_notes import DeliveryNote
from installs.history import time_text
from installs.models import Install, Location, Merchant, Role, User
from webhooks.filters import TROUBLE
from webhooks.models import Attention, DeliveryHealth
from webhooks.problems import Problem, problem_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """An open incident with what this person can do about it."""

    health: DeliveryHealth
    install: Install
    problem: Problem | None
    since: str
    can_open: bool

    @property
    def is_gone(self) -> bool:
        return self.health.attention == Attention.GONE

    @property
    def url(self) -> str:
        return log_url(self.health)


def items_for(actor: Actor, merchant: Merchant) -> list[Item]:
    """Everything open, the oldest first; for somebody limited to outlets, what concerns those."""
    rows = DeliveryHealth.objects.in_need().filter(merchant=merchant).select_related("integration")
    health = {row.install_id: row for row in rows.order_by("attention_at", "install_id")}
    installs = Install.objects.with_names().in_bulk(list(health)) if health else {}
    return [
        _item(actor, merchant, row, installs[install_id])
        for install_id, row in health.items()
        if install_id in installs and _concerns(actor, installs[install_id])
    ]


def _concerns(actor: Actor, install: Install) -> bool:
    return actor.locations is None or install.location_id in {None, *actor.locations}


def _item(actor: Actor, merchant: Merchant, row: DeliveryHealth, install: Install) -> Item:
    zone = install.location.zone if install.location else ZoneInfo(merchant.timezone)
    return Item(
        health=row,
        install=install,
        problem=problem_of(row.problem),
        since=time_text(since_of(row).astimezone(zone)),
        can_open=actor.may(Verb.ENABLE, install.location_id),
    )


def since_of(row: DeliveryHealth) -> datetime:
    return row.failing_since or row.attention_at or timezone.now()


def log_url(row: DeliveryHealth) -> str:
    """Where its deliveries are listed; where something is wrong, those that went wrong."""
    status = f"&status={TROUBLE}" if row.attention else ""
    return f"{reverse('webhooks:deliveries')}?integration={row.integration.slug}{status}"


def take_events_again(actor: Actor, install_id: UUID) -> Install:
    """The partner has opened its address again: send events, and close the incident."""
    with transaction.atomic():
        row = connection.turn_outbound_on(actor, install_id)
        DeliveryHealth.objects.filter(install_id=row.pk, attention=Attention.GONE).update(
            attention="", attention_at=None, mailed_at=None, failing_since=None, problem=""
        )
    return row


def notes_for(merchant_id: UUID) -> Mapping[UUID, DeliveryNote]:
    """For the pages of the catalog, which know nothing of deliveries."""
    rows = list(
        DeliveryHealth.objects.filter(merchant_id=merchant_id).select_related(
            "integration", "merchant"
        )
    )
    outlets = Location.objects.filter(merchant_id=merchant_id, installs__isnull=False)
    zones = dict(outlets.values_list("installs", "timezone")) if rows else {}
    return {
        row.install_id: _note(row, ZoneInfo(zones.get(row.install_id, row.merchant.timezone)))
        for row in rows
    }


def _note(row: DeliveryHealth, zone: ZoneInfo) -> DeliveryNote:
    last = time_text(row.last_success_at.astimezone(zone)) if row.last_success_at else ""
    if not row.attention:
        return DeliveryNote(last, log_url(row))
    return DeliveryNote(
        last_success=last,
        url=log_url(row),
        problem=row.get_attention_display(),
        turn=str(row.turn.label),
        since=time_text(since_of(row).astimezone(zone)),
    )


def mail_about_incidents() -> int:
    """Tell the owners of every incident that they have had no mail about; return of how many.

    The claim is committed before the mail leaves, so that two workers send one; a mail that can't
    leave gives its claim back and is tried again with the next tick.
    """
    sent = 0
    for row in DeliveryHealth.objects.to_mail().select_related("merchant", "integration"):
        now = timezone.now()
        claim = DeliveryHealth.objects.to_mail().filter(pk=row.pk, attention_at=row.attention_at)
        if not claim.update(mailed_at=now):
            continue
        try:
            sent += _mail_owners(row)
        except Exception:
            logger.exception("Owners of %s could not be mailed", row.merchant_id)
            DeliveryHealth.objects.filter(pk=row.pk, mailed_at=now).update(mailed_at=None)
    return sent


def owners_of(merchant: Merchant) -> list[str]:
    rows = User.objects.filter(
        memberships__merchant=merchant, memberships__role=Role.OWNER, is_active=True
    )
    return list(rows.values_list("email", flat=True))


def _mail_owners(row: DeliveryHealth) -> int:
    people = owners_of(row.merchant)
    return _mail(row, people).send() if people else 0


def _mail(row: DeliveryHealth, people: list[str]) -> EmailMessage:
    with translation.override(row.merchant.locale):
        found = problem_of(row.problem)
        facts = {
            "name": row.integration.name,
            "merchant": row.merchant.name,
            "since": time_text(since_of(row).astimezone(ZoneInfo(row.merchant.timezone))),
            "turn": row.turn.label,
            "page": f"{settings.PUBLIC_URL}{log_url(row)}",
        }
        if row.attention == Attention.GONE:
            subject = _("%(name)s has closed its address for events")
            text = _(
                "%(name)s told Posz at %(since)s that its address for the events of %(merchant)s is "
                "closed, so nothing more is sent there. Receipts print as usual.\n\n"
                "It is your turn: ask %(name)s whether it is open again, then press “Take events "
                "again” here:\n\n%(page)s\n"
            )
        else:
            subject = _("%(name)s does not take events")
            text = _(
                "Since %(since)s %(name)s has not taken the events of %(merchant)s. Receipts print as "
                "usual, and Posz keeps trying.\n\nWhose turn it is: %(turn)s\n\n"
                "What went wrong, and how to send it again:\n\n%(page)s\n"
            )
        lines = [text % facts, *([f"{found.what} {found.next_step}\n"] if found else [])]
        return EmailMessage(subject % facts, "\n".join(lines), bcc=people)
