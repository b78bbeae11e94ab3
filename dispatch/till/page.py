"""The pages of the till's places: what can be done there, who answers, and what happened."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core import signing
from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST
from django.views.decorators.vary import vary_on_headers

from catalog.capabilities import CAPABILITIES, Capability
from catalog.models import Integration
from dispatch.till import partner, shown
from dispatch.till.stand import outlet_of, outlets_of
from dispatch.till.surfaces import SURFACES, Action, Data, Happened, Stand, Surface, actions_of
from installs import snapshot
from installs.access import Verb
from installs.models import Install
from installs.tenancy import MerchantRequest, merchant_page

SALT = "dispatch.till.slip"
STARTING = "do"
PLACE = re.compile(r"[a-z0-9]{1,8}\Z")


@dataclass(frozen=True, slots=True)
class Button:
    """An action on the page: its form, and the slip where it follows something.

    `place` tells apart what stands on one page more than once.
    """

    place: str
    action: Action
    form: forms.Form
    slip: str = ""
    is_primary: bool = False
    note: str | Promise = ""

    @property
    def id(self) -> str:
        return f"{self.place}-{self.action.name}"


@dataclass(frozen=True, slots=True)
class Page:
    """A place of the till at an outlet, and the buttons that it has there."""

    surface: Surface
    stand: Stand

    def button(
        self, action: Action, place: str, slip: Mapping[str, Any], data: Mapping[str, Any] | None
    ) -> Button:
        initial = action.start(self.stand, slip) if action.start else {}
        form = action.form(data, auto_id=f"{place}-{action.name}-%s", initial=initial)
        note: str | Promise = ""
        for name, options in (action.options(self.stand) if action.options else {}).items():
            if options:
                form.fields[name].choices = options  # type: ignore[attr-defined]
            else:
                del form.fields[name]
                note = action.nothing_to_choose
        first = next(iter(starters_of(self.surface)), None)
        signed = self.signed(slip) if action.is_follow_up else ""
        return Button(place, action, form, signed, is_primary=action is first, note=note)

    def starters(self) -> list[Button]:
        return [self.button(action, STARTING, {}, None) for action in starters_of(self.surface)]

    def follow_ups(
        self, names: tuple[str, ...], place: str, slip: Mapping[str, Any]
    ) -> list[Button]:
        known = actions_of(self.surface.slug)
        offered = [known[name] for name in names if name in known and is_offered(known[name])]
        return [self.button(action, place, slip, None) for action in offered]

    def signed(self, data: Mapping[str, Any]) -> str:
        value = {
            "surface": self.surface.slug,
            "outlet": str(self.stand.outlet.pk),
            "data": dict(data),
        }
        return signing.dumps(value, salt=SALT, compress=True)


def starters_of(surface: Surface) -> list[Action]:
    known = actions_of(surface.slug).values()
    return [action for action in known if not action.is_follow_up and is_offered(action)]


def is_offered(action: Action) -> bool:
    return not action.is_played or bool(partner.sandbox_url())


@dataclass(frozen=True, slots=True)
class Answering:
    """Who answers a capability here. Empty where Posz does it by itself."""

    capability: Capability
    integrations: list[Integration]


@require_http_methods(["GET", "HEAD", "POST"])
@vary_on_headers("HX-Request")
@merchant_page
def surface(request: MerchantRequest, slug: str) -> HttpResponse:
    place = SURFACES.get(slug)
    if place is None:
        raise Http404
    if place.url_name:
        return redirect(place.url_name)
    return _act(request, place) if request.method == "POST" else _show(request, place)


def _show(request: MerchantRequest, place: Surface) -> HttpResponse:
    outlet = outlet_of(request, request.GET.get("outlet"))
    page = Page(place, Stand(request.actor, outlet)) if outlet else None
    # By htmx another outlet was chosen, and all but the choice is drawn anew.
    is_part = request.htmx and page  # type: ignore[attr-defined]
    template = "till/_place.html" if is_part else "till/surface.html"
    return render(request, template, _context(request, place, page))


def _act(request: MerchantRequest, surface: Surface) -> HttpResponse:
    action = actions_of(surface.slug).get(request.POST.get("action", ""))
    if action is None or not is_offered(action):
        raise Http404
    slip = _read_slip(request.POST.get("slip", ""), surface) if action.is_follow_up else {}
    given = slip.get("outlet") if action.is_follow_up else request.POST.get("outlet")
    outlet = outlet_of(request, given)
    if outlet is None or given is None:
        raise Http404
    request.actor.require(Verb.TEST, outlet.pk)
    page = Page(surface, Stand(request.actor, outlet))
    where = request.POST.get("place", "")
    where = where if PLACE.fullmatch(where) else STARTING
    carried = slip.get("data", {})
    button = page.button(action, where, carried, request.POST)
    if not button.form.is_valid():
        return _misfilled(request, page, button)
    return _answer(request, page, action.run(page.stand, carried | button.form.cleaned_data))


def _misfilled(request: MerchantRequest, page: Page, button: Button) -> HttpResponse:
    """The form again, in its own place, with what is wrong beside each field."""
    if not request.htmx:  # type: ignore[attr-defined]
        context = _context(request, page.surface, page) | {"wrong": button}
        return render(request, "till/surface.html", context, status=422)
    context = {"surface": page.surface, "stand": page.stand, "button": button}
    response = render(request, "till/_action.html", context, status=422)
    response["HX-Retarget"] = f"#{button.id}"
    response["HX-Reswap"] = "outerHTML"
    return response


def _answer(request: MerchantRequest, page: Page, happened: Happened) -> HttpResponse:
    context = _shown(page, happened)
    if not request.htmx:  # type: ignore[attr-defined]
        whole = _context(request, page.surface, page) | context
        return render(request, "till/surface.html", whole)
    is_again = "again" in request.POST
    if is_again and request.POST["again"] == context["digest"]:
        return HttpResponse(status=204)
    return render(request, "till/_happened.html", context | {"is_again": is_again})


def _shown(page: Page, happened: Happened) -> dict[str, Any]:
    exchange = happened.exchange
    rows = happened.rows.lines if happened.rows else ()
    return {
        "surface": page.surface,
        "stand": page.stand,
        "happened": happened,
        "slip": page.signed(happened.slip),
        "offers": page.follow_ups(happened.offers, "next", happened.slip),
        "lines": [
            (row.cells, page.follow_ups(row.offers, f"row{number}", row.slip))
            for number, row in enumerate(rows)
        ],
        "sent": shown.as_text(exchange.request) if exchange else "",
        "received": shown.as_text(exchange.answer) if exchange else "",
        "digest": _digest(happened),
    }


def _digest(happened: Happened) -> str:
    """The same while nothing has changed that a person would see."""
    parties = happened.exchange.parties if happened.exchange else ()
    standing = [(party.name, party.status_name, party.detail) for party in parties]
    what = (happened.title, happened.note, happened.offers, happened.asks_again, standing)
    return hashlib.sha256(repr(what).encode()).hexdigest()[:16]


def _context(request: MerchantRequest, surface: Surface, page: Page | None) -> dict[str, Any]:
    stand = page.stand if page else None
    rows = _answering(surface, stand)
    integrations = {row.pk: row for line in rows for row in line.integrations}
    may_act = stand is not None and request.actor.may(Verb.TEST, stand.outlet.pk)
    return {
        "surfaces": SURFACES.values(),
        "surface": surface,
        "stand": stand,
        "outlets": outlets_of(request),
        "may_act": may_act,
        "buttons": page.starters() if page else [],
        "answering": rows,
        "switches": partner.switches_of(integrations.values()) if may_act else [],
        "modes": partner.MODES,
    }


def _answering(surface: Surface, stand: Stand | None) -> list[Answering]:
    if stand is None:
        return []
    snap = snapshot.current(stand.actor.merchant_id)
    return [
        Answering(CAPABILITIES[name], _integrations(snap, name, stand.outlet.pk))
        for name in surface.capabilities
    ]


def _integrations(
    snap: snapshot.Snapshot | None, capability: str, outlet_id: UUID
) -> list[Integration]:
    rows: list[Install] = snap.answering(capability, outlet_id) if snap else []
    return [row.integration for row in rows]


def _read_slip(text: str, place: Surface) -> Data:
    """404 where it is of another place; one of another merchant finds no outlet."""
    try:
        slip: Data = signing.loads(text, salt=SALT)
    except signing.BadSignature as error:
        raise SuspiciousOperation("A follow-up must be of what happened.") from error
    if slip["surface"] != place.slug:
        raise Http404
    return slip


@require_POST
@merchant_page
def turn_partner(request: MerchantRequest, slug: str) -> HttpResponse:
    """Make a partner of the sandbox behave otherwise. There is no such page in production."""
    row = Integration.objects.filter(slug=slug).first()
    is_mine = Install.objects.for_merchant(request.actor.merchant_id).filter(integration=row)
    mode = request.POST.get("mode", "")
    if row is None or not partner.is_played(row) or not is_mine.exists():
        raise Http404
    if mode not in partner.MODES:
        raise Http404
    outlet = outlet_of(request, request.POST.get("outlet"))
    if outlet is None:
        raise Http404
    request.actor.require(Verb.TEST, outlet.pk)
    is_done = partner.turn(row, mode)
    text = _("%(name)s now: %(mode)s") if is_done else _("The sandbox could not be reached.")
    words = {"name": row.name, "mode": str(partner.MODES[mode])}
    place = SURFACES.get(request.POST.get("surface", ""), SURFACES["checkout"])
    if not request.htmx:  # type: ignore[attr-defined]
        messages.info(request, text % words)
        return redirect(place.url_name) if place.url_name else redirect("till:surface", place.slug)
    context = _context(request, place, Page(place, Stand(request.actor, outlet)))
    context |= {"said": text % words, "turned": row.slug}
    return render(request, "till/_answering.html", context)
