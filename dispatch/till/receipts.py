"""A till to try: rings up a sample order, asks the integrations, and shows what the printer gets.

Printing is a new order, which partners may make a bill of. A reprint sends the very same order again,
signed into the page, and so gets the answers that were given before.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.core import signing
from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import dateformat, timezone
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy
from django.views.decorators.http import require_http_methods

from catalog.models import Integration
from dispatch import receipt, router
from dispatch.till.asking import FAILURES, STATUS_NAMES, TONES
from dispatch.till.stand import SESSION_KEY, chosen, outlets_of
from dispatch.till.surfaces import SURFACES
from installs.access import Verb
from installs.models import Location
from installs.tenancy import MerchantRequest, merchant_page

SALT = "dispatch.till.reprint"

# What became of it, in the till's own words; what the partner's side said stands below as a detail.
REASONS = {
    "ok": gettext_lazy("Its code is on the receipt."),
    "kept": gettext_lazy("The same code as before; it was not asked again."),
    "declined": gettext_lazy("It has nothing for this order."),
    "error": gettext_lazy("It could not be reached or gave no usable answer."),
    "timeout": gettext_lazy("It did not answer in time."),
    "skipped": gettext_lazy(
        "It has been failing, so it was not asked. It is tried again in a moment."
    ),
    "unsupported": gettext_lazy("Posz does not speak its version of the receipt code yet."),
}

PRETEXT_REASONS = {
    "ok": gettext_lazy("Its text is above the totals."),
    "kept": gettext_lazy("The same text as before; it was not asked again."),
    "unsupported": gettext_lazy("Posz does not speak its version of the text block yet."),
}


@dataclass(frozen=True, slots=True)
class Desk:
    """What is chosen at the till. No outlet where this person has none at the merchant."""

    outlets: list[Location]
    outlet: Location | None
    sample: receipt.Sample
    paper_mm: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """An order that is printed at an outlet: all that a reprint needs."""

    outlet: Location
    paper_mm: int
    order: dict[str, Any]

    @property
    def closed_at(self) -> str:
        """In the outlet's zone, with its Indonesian name: WIB, WITA or WIT."""
        moment = datetime.fromisoformat(self.order["closed_at"]).astimezone(self.outlet.zone)
        return f"{dateformat.format(moment, 'j M Y H:i')} {moment.tzname()}"

    def signed(self) -> str:
        value = {"outlet": str(self.outlet.pk), "paper_mm": self.paper_mm, "order": self.order}
        return signing.dumps(value, salt=SALT, compress=True)


@require_http_methods(["GET", "HEAD", "POST"])
def till(request: HttpRequest) -> HttpResponse:
    return _print(request) if request.method == "POST" else _show(request)


@merchant_page
def _show(request: MerchantRequest) -> HttpResponse:
    return _page(request, _desk(request, request.GET))


@merchant_page
def _print(request: MerchantRequest) -> HttpResponse:
    signed = request.POST.get("reprint")
    ticket = _same_ticket(request, signed) if signed else _new_ticket(request)
    started = time.monotonic()
    above = _ask(request, ticket, "receipt_pretext")["results"]
    below = _ask(request, ticket, "receipt_qr")["results"]
    results = [*above, *below]
    printed = {
        "ticket": ticket,
        "columns": receipt.PAPERS[ticket.paper_mm],
        "lines": receipt.line_rows(ticket.order),
        "sums": receipt.sum_rows(ticket.order),
        "pretext": receipt.pretext(above),
        "codes": receipt.codes(below),
        "has_failures": any(result["status"] in FAILURES for result in results),
        "outcomes": [
            *_outcomes(above, REASONS | PRETEXT_REASONS, is_reprint=bool(signed)),
            *_outcomes(below, REASONS, is_reprint=bool(signed)),
        ],
        "elapsed_ms": round((time.monotonic() - started) * 1000),
        "is_reprint": bool(signed),
    }
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "till/_printed.html", printed)
    return _page(request, _desk(request, {}), **printed)


def _page(request: MerchantRequest, desk: Desk, **printed: Any) -> HttpResponse:
    context = {
        "desk": desk,
        "surfaces": SURFACES.values(),
        "surface": SURFACES["receipt"],
        "samples": receipt.SAMPLES,
        "papers": receipt.PAPERS,
        "may_print": desk.outlet is not None and request.actor.may(Verb.TEST, desk.outlet.pk),
    }
    return render(request, "till/till.html", context | printed)


def _desk(request: MerchantRequest, given: Mapping[str, Any]) -> Desk:
    """What was given, else what was chosen last time, else the first; 404 for the unknown."""
    kept = request.session.get(SESSION_KEY, {})
    outlets = {str(item.pk): item for item in outlets_of(request)}
    samples = {item.slug: item for item in receipt.SAMPLES}
    papers = {str(width): width for width in receipt.PAPERS}
    return Desk(
        outlets=list(outlets.values()),
        outlet=chosen(outlets, given.get("outlet"), kept.get("outlet")),
        sample=chosen(samples, given.get("sample"), kept.get("sample")) or receipt.SAMPLES[0],
        paper_mm=chosen(papers, given.get("paper"), kept.get("paper")) or 58,
    )


def _new_ticket(request: MerchantRequest) -> Ticket:
    desk = _desk(request, request.POST)
    if desk.outlet is None:
        raise Http404
    request.actor.require(Verb.TEST, desk.outlet.pk)
    count = request.session.get(SESSION_KEY, {}).get("count", 0) + 1
    request.session[SESSION_KEY] = {
        "outlet": str(desk.outlet.pk),
        "sample": desk.sample.slug,
        "paper": str(desk.paper_mm),
        "count": count,
    }
    order = receipt.build_order(
        desk.sample, desk.outlet, str(uuid4()), f"T-{count:03}", timezone.now()
    )
    return Ticket(desk.outlet, desk.paper_mm, order)


def _same_ticket(request: MerchantRequest, signed: str) -> Ticket:
    try:
        value = signing.loads(signed, salt=SALT)
    except signing.BadSignature as error:
        raise SuspiciousOperation("A reprint must be what was printed.") from error
    outlet = next((item for item in outlets_of(request) if str(item.pk) == value["outlet"]), None)
    if outlet is None:
        raise Http404
    request.actor.require(Verb.TEST, outlet.pk)
    return Ticket(outlet, value["paper_mm"], value["order"])


def _ask(request: MerchantRequest, ticket: Ticket, capability: str) -> dict[str, Any]:
    paper = {
        "number": ticket.order["number"],
        "paper_mm": ticket.paper_mm,
        "locale": get_language() or "en",
    }
    return router.dispatch(
        request.actor.merchant_id,
        ticket.outlet.pk,
        capability,
        {"order": ticket.order, "receipt": paper},
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one integration made of the question, for a person."""

    name: str
    status_name: str
    tone: str
    reason: str
    detail: str
    elapsed_ms: int


def _outcomes(
    results: list[dict[str, Any]], reasons: Mapping[str, Promise], *, is_reprint: bool
) -> list[Outcome]:
    rows = Integration.objects.filter(slug__in=[result["integration"] for result in results])
    names = {row.slug: row.name for row in rows}
    return [
        Outcome(
            name=names.get(result["integration"], result["integration"]),
            status_name=str(STATUS_NAMES[result["status"]]),
            tone=TONES[result["status"]],
            reason=str(reasons[_reason(result, is_reprint=is_reprint)]),
            detail=result["error"]["message"] if result["status"] in {"error", "timeout"} else "",
            elapsed_ms=result["elapsed_ms"],
        )
        for result in results
    ]


def _reason(result: dict[str, Any], *, is_reprint: bool) -> str:
    status: str = result["status"]
    if status == "ok" and is_reprint and not result["elapsed_ms"]:
        return "kept"
    if result.get("error", {}).get("code") == "capability_unsupported":
        return "unsupported"
    return status
