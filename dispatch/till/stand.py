"""At which outlet somebody stands: what is asked for, else what was chosen last, else the first."""

from typing import TypeVar

from django.http import Http404

from installs.models import Location
from installs.tenancy import MerchantRequest

SESSION_KEY = "till"
T = TypeVar("T")


def outlets_of(request: MerchantRequest) -> list[Location]:
    """Those where this person may act for the merchant."""
    rows = Location.objects.filter(merchant_id=request.actor.merchant_id).select_related("merchant")
    mine = request.actor.locations
    return list(rows if mine is None else rows.filter(pk__in=mine))


def chosen(options: dict[str, T], given: str | None, kept: str | None) -> T | None:
    """404 for what is given and unknown; what was kept may be gone."""
    if given is not None and given not in options:
        raise Http404
    return options.get(given or kept or "", next(iter(options.values()), None))


def outlet_of(request: MerchantRequest, given: str | None) -> Location | None:
    options = {str(item.pk): item for item in outlets_of(request)}
    kept = request.session.get(SESSION_KEY, {})
    outlet = chosen(options, given, kept.get("outlet"))
    if given is not None and outlet is not None and kept.get("outlet") != given:
        request.session[SESSION_KEY] = kept | {"outlet": given}
    return outlet
