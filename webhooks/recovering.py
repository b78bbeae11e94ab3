"""The page that sends everything of a time again: it counts first, and sends when told to."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from catalog.models import Integration
from installs.history import time_text
from installs.models import Merchant
from installs.tenancy import MerchantRequest, merchant_page
from webhooks import filters, recovery
from webhooks.models import Recovery


@dataclass(frozen=True, slots=True)
class Wish:
    integration: Integration
    since: datetime
    until: datetime
    what: str

    @property
    def label(self) -> str:
        return str(Recovery.What(self.what).label)

    @property
    def since_text(self) -> str:
        return time_text(self.since)

    @property
    def query(self) -> str:
        """The same wish as an address; what comes into being meanwhile is not part of it."""
        return urlencode(
            {
                "integration": self.integration.slug,
                "since": self.since.isoformat(),
                "until": self.until.isoformat(),
                "what": self.what,
            }
        )


@merchant_page
def recover(request: MerchantRequest) -> HttpResponse:
    """By GET how many it would be, by POST it is done."""
    merchant, actor = request.membership.merchant, request.actor
    integrations = filters.choices_for(actor, merchant).integrations
    try:
        wish = read(request.GET, merchant, integrations)
        asked: Any = {"since": wish.since, "until": wish.until, "what": wish.what}
        if request.method != "POST":
            context = {"wish": wish, "count": recovery.count(actor, wish.integration, **asked)}
            return render(request, "webhooks/recover.html", context)
        row = recovery.start(actor, wish.integration, **asked)
    except ValueError as error:
        return render(request, "webhooks/recover.html", {"problem": str(error)}, status=400)
    except ApiError as error:
        context = {"problem": error.message}
        return render(request, "webhooks/recover.html", context, status=error.status)
    text = _("Posz is sending %(count)d events to %(name)s again.")
    messages.success(request, text % {"count": row.total, "name": wish.integration.name})
    address = urlencode({"integration": wish.integration.slug})
    return redirect(f"{reverse('webhooks:deliveries')}?{address}")


def read(given: QueryDict, merchant: Merchant, integrations: list[Integration]) -> Wish:
    """What was filled in, in the merchant's own time. `ValueError` says what is wrong with it."""
    zone = ZoneInfo(merchant.timezone)
    slug = given.get("integration", "")
    integration = next((item for item in integrations if item.slug == slug), None)
    if integration is None:
        raise ValueError(_("Choose the integration whose events are to be sent again."))
    what = given.get("what", Recovery.What.DEAD)
    if what not in Recovery.What.values:
        raise ValueError(_("Choose what is to be sent again."))
    now = datetime.now(UTC).astimezone(zone)
    since = _moment(given.get("since", ""), zone)
    if since >= now:
        raise ValueError(_("That moment is still to come, so there is nothing to send again."))
    asked_until = given.get("until", "")
    until = min(_moment(asked_until, zone), now) if asked_until else now
    return Wish(integration, since, until, what)


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        at = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
        if at.year < 2000:
            raise ValueError
        return at.astimezone(zone)
    except (ValueError, OverflowError):
        raise ValueError(_("That is not a date and a time.")) from None
