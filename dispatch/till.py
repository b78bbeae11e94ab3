"""A till to try: rings up a sample order, asks the integrations, and shows what the printer gets.

Printing is a new order, which partners may make a bill of. A reprint sends the very same order again,
signed into the page, and so gets the answers that were given before.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.core import signing
from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import dateformat, timezone
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy, pgettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from catalog.models import Integration
from dispatch import receipt, router
from installs.access import Verb
from installs.models import Location
from installs.tenancy import MerchantRequest, merchant_page

SESSION_KEY = "till"
SALT = "dispatch.till.reprint"


@require_http_methods(["GET", "HEAD", "POST"])
@merchant_page
def till(request: MerchantRequest) -> HttpResponse:
    if "reprint" in request.POST:
        return _show(request, _ticket_again(request), is_reprint=True)
    if request.method == "POST":
        return _show(request, _new_ticket(request), is_reprint=False)
    return _page(request, _desk(request, request.GET))


@dataclass(frozen=True, slots=True)
class Desk:
    """What is chosen at the till: None where the merchant has no outlet for this person."""

    outlets: list[Location]
    outlet: Location | None
    sample: receipt.Sample
    paper_mm: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """An order that is printed at an outlet: what a reprint needs."""

    outlet: Location
    paper_mm: int
    order: dict[str, Any]

    def signed(self) -> str:
        value = {"outlet": str(self.outlet.pk), "paper": self.paper_mm, "order": self.order}
        return signing.dumps(value, salt=SALT, compress=True)


def _desk(request: MerchantRequest, given: QueryDict | dict[str, str]) -> Desk:
    """What was given, else what was chosen last time, else the first; 404 for the unknown."""
    kept = request.session.get(SESSION_KEY, {})
    outlets = {str(item.pk): item for item in _outlets(request)}
    samples = {item.slug: item for item in receipt.SAMPLES}
    papers = {str(width): width for width in receipt.PAPERS}
    return Desk(
        outlets=list(outlets.values()),
        outlet=_chosen(outlets, given.get("outlet"), kept.get("outlet")) if outlets else None,
        sample=_chosen(samples, given.get("sample"), kept.get("sample")),
        paper_mm=_chosen(papers, given.get("paper"), kept.get("paper")),
    )


def _outlets(request: MerchantRequest) -> list[Location]:
    mine = request.actor.locations
    rows = Location.objects.filter(merchant_id=request.actor.merchant_id)
    return list(rows if mine is None else rows.filter(pk__in=mine))


def _chosen[T](options: dict[str, T], given: str | None, kept: str | None) -> T:
    if given is not None and given not in options:
        raise Http404
    return options[given or (kept if kept in options else next(iter(options)))]


def _new_ticket(request: MerchantRequest) -> Ticket:
    desk = _desk(request, request.POST)
    if desk.outlet is None:
        raise Http404
    request.actor.require(Verb.TEST, desk.outlet.pk)
    count = request.session.get(SESSION_KEY, {}).get("count", 0) + 1
    _keep(request, desk, count)
    order = receipt.build_order(
        desk.sample, desk.outlet, str(uuid4()), f"T-{count:03}", timezone.now()
    )
    return Ticket(desk.outlet, desk.paper_mm, order)
