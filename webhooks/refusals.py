"""Why webhooks were refused, in words: what it means and what to do next."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from django.db.models import Max, Min, Sum
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from catalog.envelope import MESSAGE_OF
from catalog.models import Integration
from dispatch.inbound_explanation import reason_text
from dispatch.inbound_verifier import Outcome, Reason, Verdict
from installs.history import time_text
from installs.models import Merchant
from webhooks.models import InboundRefusal
from webhooks.signed import ENDED, UNCONFIRMED, UNREADABLE

SHOWN_FOR = timedelta(days=7)

WHAT: dict[str, Promise] = {
    ENDED: gettext_lazy("It was signed with a secret that has ended."),
    UNCONFIRMED: gettext_lazy(
        "The partner would have to confirm it, and Posz can’t ask there yet."
    ),
    UNREADABLE: gettext_lazy("The scheme of the integration can’t be read."),
    "not_found": gettext_lazy("There is no such integration, or no such merchant."),
    "integration_not_installed": gettext_lazy("The merchant has not installed the integration."),
    "integration_disabled": gettext_lazy("The integration is switched off."),
    "capability_unsupported": gettext_lazy(
        "The type of the event leads to no capability that is installed."
    ),
    "rate_limited": gettext_lazy("There were more new events than the limit of a minute."),
}
CHECK_SECRET = gettext_lazy(
    "Compare the secret with the partner, or rotate it; then paste a sample into the debugger."
)
CHECK_SCHEME = gettext_lazy("Paste a sample of the partner into the debugger of the scheme.")
CHECK_CLOCK = gettext_lazy("Ask the partner to check its clock, and that it signs each try anew.")
CHECK_BODY = gettext_lazy("Compare a sample of the partner with the mapping of the fields.")
NEXT: dict[str, Promise] = {
    Reason.NO_KEY: gettext_lazy("Set the secret of the integration."),
    Reason.NO_SIGNATURE: gettext_lazy(
        "Ask the partner to sign what it posts. A few of these are nothing: anybody may try."
    ),
    Reason.NOT_READABLE: CHECK_SCHEME,
    Reason.PART_MISSING: CHECK_SCHEME,
    Reason.TIME_MISSING: CHECK_SCHEME,
    Reason.TOO_OLD: CHECK_CLOCK,
    Reason.TOO_NEW: CHECK_CLOCK,
    Reason.NOT_SAME: CHECK_SCHEME,
    Reason.MISMATCH: CHECK_SECRET,
    ENDED: gettext_lazy("Tell the partner to change over to the current secret."),
    UNCONFIRMED: gettext_lazy("Choose a scheme whose signature covers the body."),
    UNREADABLE: gettext_lazy("Open the integration and mend what is marked."),
    "not_found": gettext_lazy("Ask the partner which address and which merchant it uses."),
    "integration_not_installed": gettext_lazy(
        "Ask the partner whom it means, or ask the merchant to install it."
    ),
    "integration_disabled": gettext_lazy(
        "Enable it to receive events again, or ask the partner to stop sending."
    ),
    "capability_unsupported": gettext_lazy(
        "Accept the latest version of the integration, or ask Posz to map the type."
    ),
    "rate_limited": gettext_lazy("Nothing is lost if the partner sends it again, as it should."),
    "invalid_payload": CHECK_BODY,
    "payload_too_large": gettext_lazy("Ask the partner to send less at a time."),
    "method_not_allowed": gettext_lazy("Ask the partner to POST."),
    "internal": gettext_lazy("Look into the log of the web processes."),
    "unavailable": gettext_lazy("Look at /readyz."),
}


def what_of(reason: str, detail: str) -> str:
    if reason in set(Reason):
        return reason_text(Verdict(Outcome.REFUSED, reason=Reason(reason), part=detail))
    sentence = str(WHAT.get(reason) or MESSAGE_OF.get(reason) or reason)
    return f"{detail}: {sentence}" if detail else sentence


def next_of(reason: str) -> str:
    return str(NEXT.get(reason, ""))


@dataclass(frozen=True, slots=True)
class Item:
    """Refusals of one reason that concern a merchant."""

    name: str
    what: str
    next_step: str
    count: int
    first: str
    last: str


def items_for(merchant: Merchant) -> list[Item]:
    """Verified events that were refused because of the merchant's own install, the latest first."""
    found = (
        InboundRefusal.objects.filter(merchant_id=merchant.pk, hour__gte=timezone.now() - SHOWN_FOR)
        .values("slug", "reason")
        .annotate(number=Sum("count"), first=Min("first_at"), last=Max("last_at"))
        .order_by("-last", "slug", "reason")
    )
    rows = list(found)
    names = names_of(row["slug"] for row in rows)
    zone = ZoneInfo(merchant.timezone)
    return [
        Item(
            name=names.get(row["slug"], row["slug"]),
            what=what_of(row["reason"], ""),
            next_step=next_of(row["reason"]),
            count=row["number"],
            first=time_text(row["first"].astimezone(zone)),
            last=time_text(row["last"].astimezone(zone)),
        )
        for row in rows
    ]


def names_of(slugs: Iterable[str]) -> dict[str, str]:
    return {row.slug: row.name for row in Integration.objects.filter(slug__in=set(slugs))}


def place_of(slug: str) -> str:
    return slug or _("No such integration")
