from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event

from catalog.envelope import ApiError
from catalog.models import Integration
from catalog.verification import Outcome, Verdict
from installs import (
    config_form,
    connection,
    history,
    lifecycle,
    listing,
    mappings,
    outcome,
    plans,
    preview,
    sign_in,
    verification,
)
from installs.access import ALLOWED, Actor, Verb, needed
from installs.detail import Refusal, block_for, own_installs, scopes_for
from installs.event_notes import event_notes
from installs.models import AuditEntry, Connection, Install, InstallPlan, Merchant
from installs.outlet_form import OutletForm, form_of
from installs.state import State, state_of
from installs.tenancy import MerchantRequest, choose_merchant, merchant_page

RECENT = 8
PAGE_SIZE = 25
LONGEST_QUERY = 100

ACTS: dict[str, Callable[[Actor, UUID], Any]] = {
    "enable": lifecycle.enable,
    "disable": lifecycle.disable,
    "retry": connection.reconnect,
    "upgrade": lifecycle.accept_versions,
    "uninstall": lifecycle.uninstall,
}
DONE: dict[str, Promise] = {
    "install": gettext_lazy("%(name)s is installed."),
    "configure": gettext_lazy("The settings of %(name)s are saved."),
    "enable": gettext_lazy("%(name)s is enabled."),
    "disable": gettext_lazy("%(name)s is disabled."),
    "retry": gettext_lazy("Posz is connecting %(name)s again."),
    "test": gettext_lazy("%(name)s is tested."),
    "uninstall": gettext_lazy("%(name)s is uninstalled."),
    "upgrade": gettext_lazy("%(name)s runs its latest version."),
    "outlets": gettext_lazy("The outlet numbers at %(name)s are saved."),
    "undo": gettext_lazy("Everything is as it was before the switch."),
}
# These ask first, and show what will happen.
QUESTIONS = {"disable": "installs/_disable.html", "uninstall": "installs/_uninstall.html"}
ACTED_ON = {*ACTS, "configure", "test"}


@require_safe
@vary_on_headers("HX-Request")
@merchant_page
def catalog(request: MerchantRequest) -> HttpResponse:
    query = " ".join(request.GET.get("q", "").split())[:LONGEST_QUERY]
    category = request.GET.get("category", "")
    only_installed = request.GET.get("installed") == "1"
    found = listing.find(
        request.actor.merchant_id, query=query, category=category, only_installed=only_installed
    )
    template = "installs/_results.html" if is_partial(request) else "installs/catalog.html"
    context = {
        "listing": found,
        "query": query,
        "category": category,
        "only_installed": only_installed,
        "is_narrowed": bool(query or category or only_installed),
    }
    return render(request, template, context)


@require_safe
@vary_on_headers("HX-Request")
@merchant_page
def detail(request: MerchantRequest, slug: str) -> HttpResponse:
    integration = visible_or_404(request, slug)
    asked = uuid_or_none(request.GET.get("undo", ""))
    undo = plan_of(request, integration, asked) if asked else None
    return detail_page(request, integration, undo=undo)


@require_safe
@vary_on_headers("HX-Request")
@merchant_page
def effect(request: MerchantRequest, slug: str) -> HttpResponse:
    """What installing would bring, for the place chosen at the moment."""
    integration = visible_or_404(request, slug)
    text = request.GET.get("location", "")
    place = uuid_or_none(text)
    state = state_of(request.actor.merchant_id)
    if text and place not in state.locations:
        raise Http404
    context = {"outcome": outcome.installing(state, integration, place)}
    return show(request, "installs/_effect.html", integration, context)


@vary_on_headers("HX-Request")
@merchant_page
def install(request: MerchantRequest, slug: str) -> HttpResponse:
    if request.method != "POST":
        return redirect("installs:detail", slug=slug)
    integration = visible_or_404(request, slug)
    place: UUID | None = None
    try:
        config = config_asked(request, integration)
        # Who has no script has not seen yet what the chosen place would bring.
        is_shown = is_partial(request) or request.POST.get("way") == "only_at"
        problem = ""
        for place in places_asked(request):
            if not is_shown:
                plan_id = planned(request.actor, integration, place, config)
                return redirect("installs:plan", slug=slug, plan_id=plan_id)
            row = lifecycle.install(request.actor, integration, location_id=place, config=config)
            problem = problem or problem_of(row)
    except ApiError as error:
        refusal = Refusal(error, location_id=place, posted=request.POST)
        return detail_page(request, integration, refusal)
    return done(request, integration, "install", problem)


@vary_on_headers("HX-Request")
@merchant_page
def plan(request: MerchantRequest, slug: str, plan_id: UUID) -> HttpResponse:
    """Look at a plan, and carry it out by POST: an install, a switch, or an undo."""
    integration = visible_or_404(request, slug)
    asked = plan_of(request, integration, plan_id)
    if asked is None:
        raise Http404
    is_undo = asked.kind == InstallPlan.Kind.UNDO
    try:
        if request.method == "POST":
            swapped = lifecycle.swap(request.actor, asked.pk)
        elif is_undo:
            return redirect(undo_url(integration, asked))
        else:
            return plan_page(request, asked)
    except ApiError as error:
        refusal = Refusal(error, verb="undo" if is_undo else "plan")
        return detail_page(request, integration, refusal)
    if is_undo:
        return done(request, integration, "undo")
    if not asked.instead_of:
        return done(request, integration, "install", problem_of(swapped.installed[-1]))
    if not is_partial(request):
        return redirect(undo_url(integration, swapped.undo))
    response = detail_page(request, integration, undo=swapped.undo)
    return trigger_client_event(response, "posz:changed")


@vary_on_headers("HX-Request")
@merchant_page
def act(request: MerchantRequest, slug: str, install_id: UUID, verb: str) -> HttpResponse:
    if verb not in ACTED_ON:
        raise Http404
    row = (
        Install.objects.for_merchant(request.actor.merchant_id)
        .filter(pk=install_id, integration__slug=slug)
        .select_related("integration__category", "location")
        .first()
    )
    if row is None:
        raise Http404
    if request.method != "POST" and verb not in QUESTIONS:
        return redirect("installs:detail", slug=slug)
    problem = ""
    try:
        if request.method != "POST":
            return question(request, row, verb)
        if verb == "configure":
            config = config_form.read(row.integration, request.POST, config_form.place_of(row))
            problem = problem_of(lifecycle.configure(request.actor, row.pk, config))
        elif verb == "test":
            return tested(request, row.integration, connection.test(request.actor, row.pk))
        else:
            ACTS[verb](request.actor, row.pk)
    except ApiError as error:
        refusal = Refusal(error, verb=verb, install_id=row.pk, posted=request.POST)
        return detail_page(request, row.integration, refusal)
    return done(request, row.integration, verb, problem)


@require_safe
@merchant_page
def activity(request: MerchantRequest) -> HttpResponse:
    merchant = request.membership.merchant
    entries = AuditEntry.objects.for_merchant(merchant.pk).latest_first()
    known = entries.exclude(integration_slug="").order_by().values("integration_slug").distinct()
    integrations = sorted(
        Integration.objects.filter(slug__in=known), key=lambda item: item.name.casefold()
    )
    chosen = next((i for i in integrations if i.slug == request.GET.get("integration")), None)
    if chosen:
        entries = entries.filter(integration_slug=chosen.slug)
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 19:
        entries = entries.filter(pk__lt=int(before))
    lines = history.lines(merchant, entries[: PAGE_SIZE + 1])
    context = {
        "lines": lines[:PAGE_SIZE],
        "older": lines[PAGE_SIZE - 1].id if len(lines) > PAGE_SIZE else None,
        "is_later_page": bool(before),
        "integrations": integrations,
        "chosen": chosen,
    }
    return render(request, "installs/activity.html", context)


@require_POST
@merchant_page
def switch_merchant(request: MerchantRequest) -> HttpResponse:
    try:
        merchant_id = UUID(request.POST.get("merchant_id", ""))
    except ValueError:
        raise Http404 from None
    if not choose_merchant(request, merchant_id):
        raise Http404
    return redirect("installs:catalog")


def is_partial(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def visible_or_404(request: MerchantRequest, slug: str) -> Integration:
    integration = listing.visible_to(request.actor.merchant_id).filter(slug=slug).first()
    if integration is None:
        raise Http404
    return integration


def uuid_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def plan_of(
    request: MerchantRequest, integration: Integration, plan_id: UUID
) -> InstallPlan | None:
    plans_here = InstallPlan.objects.filter(merchant_id=request.actor.merchant_id)
    return plans_here.filter(pk=plan_id, integration=integration).first()


def undo_url(integration: Integration, undo: InstallPlan) -> str:
    return f"{reverse('installs:detail', args=[integration.slug])}?undo={undo.pk}"


def places_asked(request: MerchantRequest) -> list[UUID | None]:
    try:
        return [UUID(text) if text else None for text in request.POST.getlist("location") or [""]]
    except ValueError:
        raise ApiError("not_found", _("This merchant has no such outlet.")) from None


def config_asked(request: MerchantRequest, integration: Integration) -> dict[str, Any]:
    """What the form says, or what it said when the plan was made that it names."""
    plan_id = uuid_or_none(request.POST.get("plan", ""))
    if plan_id is not None:
        kept = plans.find_plan(request.actor.merchant_id, plan_id)
        if kept.integration_id != integration.pk:
            raise ApiError("not_found")
        config: dict[str, Any] = kept.payload.get("config", {})
        return config
    read = config_form.read(integration, request.POST, place_asked(request))
    return {name: value for name, value in read.items() if value is not None}


def planned(
    actor: Actor, integration: Integration, place: UUID | None, config: dict[str, Any]
) -> str:
    """A plan to install, refused for whatever the install itself would be refused for."""
    lifecycle.require_install(actor, integration, place)
    cleaned = lifecycle.clean_config(lifecycle.installable(integration), config, place, config)
    verification.check(integration, cleaned)
    answer = preview.what_would_happen(
        actor, "install", integration=integration, location_id=place, config=cleaned
    )
    if answer["conflicts"]:
        extra = {name: answer[name] for name in ("conflicts", "ways_out", "plan")}
        raise ApiError("capability_conflict", **extra)
    return str(answer["plan"])


def place_asked(request: MerchantRequest) -> str:
    return "location" if request.POST.get("location") else "merchant"


def problem_of(row: Install) -> str:
    """What keeps it from working although it is saved, for the sentence that says it is."""
    is_known = row.connection == Connection.FAILED and row.connection_problem in list(Outcome)
    return history.problem_text(row.connection_problem) if is_known else ""


def done(
    request: MerchantRequest, integration: Integration, verb: str, problem: str = ""
) -> HttpResponse:
    text = DONE[verb] % {"name": integration.name}
    if problem:
        return answered(request, integration, f"{text} {problem}.", level=messages.WARNING)
    return answered(request, integration, text)


def tested(request: MerchantRequest, integration: Integration, verdict: Verdict) -> HttpResponse:
    level = messages.SUCCESS if verdict.is_ok else messages.WARNING
    return answered(request, integration, verdict.message, level=level)


def answered(
    request: MerchantRequest,
    integration: Integration,
    text: str,
    *,
    level: int = messages.SUCCESS,
) -> HttpResponse:
    # What is no longer offered has no page any more once it is uninstalled.
    is_visible = listing.visible_to(request.actor.merchant_id).filter(pk=integration.pk).exists()
    if is_visible and is_partial(request):
        response = detail_page(request, integration)
        trigger_client_event(response, "posz:toast", {"text": text})
        return trigger_client_event(response, "posz:changed")
    messages.add_message(request, level, text)
    if is_partial(request):
        return HttpResponseClientRedirect(reverse("installs:catalog"))
    if is_visible:
        return redirect("installs:detail", slug=integration.slug)
    return redirect("installs:catalog")


def question(request: MerchantRequest, row: Install, verb: str) -> HttpResponse:
    held = {*row.capability_versions, *row.integration.capabilities}
    request.actor.require(needed(Verb(verb), held), row.location_id)
    state = state_of(request.actor.merchant_id)
    found = (
        outcome.removing(state, row)
        if verb == "uninstall"
        else outcome.switching(state, row, is_enabled=False)
    )
    return show(request, QUESTIONS[verb], row.integration, {"install": row, "outcome": found})


def plan_page(request: MerchantRequest, asked: InstallPlan) -> HttpResponse:
    """What an open plan to install would bring, with the button to carry it out."""
    state = state_of(request.actor.merchant_id)
    if plans.find_plan(state.merchant_id, asked.pk).fingerprint != state.fingerprint():
        raise ApiError("plan_stale")
    context = {
        "plan": asked,
        "outcome": outcome.carrying_out(state, asked),
        "location": state.locations[asked.location_id] if asked.location_id else None,
        "departing": [state.name_of(slug) for slug in asked.instead_of],
    }
    return show(request, "installs/_plan.html", asked.integration, context)


def detail_page(
    request: MerchantRequest,
    integration: Integration,
    refusal: Refusal | None = None,
    undo: InstallPlan | None = None,
    outlets: OutletForm | None = None,
) -> HttpResponse:
    merchant, actor = request.membership.merchant, request.actor
    state = state_of(merchant.pk)
    installs = own_installs(state, integration)
    wide = next((install for install in installs if install.location_id is None), None)
    entries = AuditEntry.objects.for_merchant(merchant.pk).filter(integration_slug=integration.slug)
    notes = event_notes(merchant.pk)
    to_map = mappings.open_counts(row.pk for row in installs) if integration.has_ids_to_map else {}
    scopes = scopes_for(actor, integration, installs, state.locations.values(), refusal)
    chosen = next((item for item in scopes if item.is_chosen), None)
    at_form = refusal if refusal and refusal.install_id is None else None
    context = {
        "row": listing.Row(integration, tuple(installs), notes),
        "blocks": [
            block_for(
                actor,
                state,
                install,
                refusal,
                wide,
                notes.deliveries.get(install.pk),
                notes.set_aside.get(install.pk),
                to_map.get(install.pk, 0),
            )
            for install in installs
        ],
        "scopes": scopes,
        "is_open": any(item.is_allowed and not item.is_taken for item in scopes),
        "has_all": wide is not None,
        "may_install": needed(Verb.INSTALL, integration.capabilities) in ALLOWED[actor.role],
        "outcome": outcome.installing(state, integration, chosen.location_id) if chosen else None,
        "inputs": config_form.inputs(
            integration,
            posted=at_form.posted if at_form else None,
            errors=at_form.fields if at_form else None,
        ),
        "undo": outcome.undo_of(actor, state, undo) if undo else None,
        "outlets": outlets or form_of(actor, integration),
        "lines": history.lines(merchant, entries.latest_first()[:RECENT]),
        "sign_in": sign_in.shown(actor) if "auth_provider" in integration.capabilities else None,
        **refused(merchant, actor, state, integration, at_form),
    }
    status = refusal.error.status if refusal else outlets.status if outlets else 200
    return show(request, "installs/_detail.html", integration, context, status)


def refused(
    merchant: Merchant,
    actor: Actor,
    state: State,
    integration: Integration,
    refusal: Refusal | None,
) -> dict[str, Any]:
    """What a page needs to say why something did not happen, and how to go on."""
    if refusal is None:
        return {}
    ways = outcome.ways_of(actor, state, integration, refusal.location_id, refusal.error)
    return {
        "refusal": refusal,
        "obstacles": outcome.obstacles_of(refusal.error),
        "ways": ways,
        "plan_id": refusal.error.extra.get("plan"),
        "owners": [] if all(way.is_allowed for way in ways) else outcome.owners_of(merchant.pk),
    }


def show(
    request: MerchantRequest,
    partial: str,
    integration: Integration,
    context: dict[str, Any],
    status: int = 200,
) -> HttpResponse:
    """The partial alone for the drawer, or inside a page of its own."""
    template = partial if is_partial(request) else "installs/detail.html"
    everything = {**context, "integration": integration, "partial": partial}
    response = render(request, template, everything, status=status)
    if integration.is_oauth:
        # Without script the form leads on to the partner, and browsers hold redirects to the policy.
        response._csp_update = {"form-action": origin_of(integration.oauth.authorize_url)}  # type: ignore[attr-defined]  # noqa: SLF001
    return response


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
