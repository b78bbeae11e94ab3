"""The page that tells who answers where, now and at any earlier moment."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from installs import history, matrix
from installs.state import state_of
from installs.tenancy import MerchantRequest, merchant_page


@require_safe
@merchant_page
def answers(request: MerchantRequest) -> HttpResponse:
    """Who answers where, now or at an earlier moment."""
    merchant = request.membership.merchant
    zone = ZoneInfo(merchant.timezone)
    moment, problem = None, ""
    try:
        moment = moment_asked(request.GET.get("at", ""), zone)
    except ValueError as error:
        problem = str(error)
    found = matrix.then(merchant.pk, moment) if moment else matrix.now(state_of(merchant.pk))
    today = timezone.now().astimezone(zone)
    context = {
        "matrix": found,
        "by_place": found.by_place(),
        "moment": moment,
        "problem": problem,
        "shown_at": f"{moment or today:%Y-%m-%dT%H:%M:%S}",
        "latest": f"{today:%Y-%m-%dT%H:%M}",
        "zone": today.tzname(),
        "moment_text": history.time_text(moment) if moment else "",
        "yesterday": f"{today - timedelta(days=1):%Y-%m-%dT%H:%M}",
        "last_week": f"{today - timedelta(days=7):%Y-%m-%dT%H:%M}",
    }
    return render(request, "installs/answers.html", context, status=400 if problem else 200)


def moment_asked(text: str, zone: ZoneInfo) -> datetime | None:
    """The moment that a form or a link names, None for now. `ValueError` says what is wrong."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        # Without an offset it is the merchant's own clock.
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
        moment = moment.astimezone(zone)
    except (ValueError, OverflowError):
        raise ValueError(_("That is not a date and a time.")) from None
    # Links to what just happened name the full second after it.
    if moment > timezone.now() + timedelta(seconds=1):
        raise ValueError(_("That moment is still to come, and nobody knows what will be then."))
    return moment
