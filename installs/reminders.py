"""Mail to staff about secrets that are due for rotation: once per secret and quarter of its age.

The count of what was told is in the database, claimed before the mail leaves, so that two workers
send one; a mail that can't leave gives its claim back and is tried again the next day.
"""

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from installs.models import IntegrationSecret, User


def remind_of_old_secrets() -> int:
    """Tell staff of every secret that has begun another 90 days; return of how many."""
    people = list(
        User.objects.filter(is_staff=True, is_active=True).values_list("email", flat=True)
    )
    claimed = _claim_due() if people else []
    if not claimed:
        return 0
    try:
        mail_about([row for row, _told in claimed], people).send()
    except Exception:
        for row, told in claimed:
            IntegrationSecret.objects.filter(pk=row.pk).update(reminders=told)
        raise
    return len(claimed)


def _claim_due() -> list[tuple[IntegrationSecret, int]]:
    """The secrets that are this caller's to tell of, each with what was told before."""
    now = timezone.now()
    rows = IntegrationSecret.objects.old(now).select_related("integration").defer("value")
    return [
        (row, row.reminders)
        for row in rows
        if row.quarters(now) > row.reminders
        and IntegrationSecret.objects.filter(pk=row.pk, reminders=row.reminders).update(
            reminders=row.quarters(now)
        )
    ]


def mail_about(rows: list[IntegrationSecret], people: list[str]) -> EmailMessage:
    now = timezone.now()
    lines = [
        _("%(integration)s, %(purpose)s: in use for %(days)d days")
        % {
            "integration": row.integration.slug,
            "purpose": row.purpose,
            "days": (now - row.activated_at).days if row.activated_at else 0,
        }
        for row in rows
    ]
    subject = ngettext(
        "%(count)d secret is older than 90 days",
        "%(count)d secrets are older than 90 days",
        len(rows),
    ) % {"count": len(rows)}
    text = _("Rotate them in the staff pages, on the page of the integration:")
    address = f"{settings.PUBLIC_URL}/admin/installs/integrationsecret/"
    return EmailMessage(subject, "\n".join([text, address, "", *lines, ""]), bcc=people)
