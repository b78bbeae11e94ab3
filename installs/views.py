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
from installs import config_form, connection, history, lifecycle, listing
from installs.access import ALLOWED, Actor, Verb
from installs.detail import Refusal, block_for, obstacles_of, scopes_for
from installs.models import AuditEntry, Install
from installs.tenancy import MerchantRequest, choose_merchant, merchant_page

RECENT = 8
PAGE_SIZE = 25
LONGEST_QUERY = 100

ACTS: dict[str, Callable[[Actor, UUID], Any]] = {
    "enable": lifecycle.enable,
    "disable": lifecycle.disable,
    "retry": connection.reconnect,
    "uninstall": lifecycle.uninstall,
}
DONE: dict[str, Promise] = {
    "install": gettext_lazy("%(name)s is installed."),
    "configure": gettext_lazy("The settings of %(name)s are saved."),
    "enable": gettext_lazy("%(name)s is enabled."),
    "disable": gettext_lazy("%(name)s is disabled."),
    "retry": gettext_lazy("Posz is connecting %(name)s again."),
    "uninstall": gettext_lazy("%(name)s is uninstalled."),
}


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
    return detail_page(request, visible_or_404(request, slug))


@vary_on_headers("HX-Request")
@merchant_page
def install(request: MerchantRequest, slug: str) -> HttpResponse:
    if request.method != "POST":
        return redirect("installs:detail", slug=slug)
    integration = visible_or_404(request, slug)
    try:
        lifecycle.install(
            request.actor,
            integration,
            location_id=location_asked(request),
            config=given(config_form.read(integration, request.POST)),
        )
    except ApiError as error:
        return detail_page(request, integration, Refusal(error, posted=request.POST))
    return done(request, integration, "install")


@vary_on_headers("HX-Request")
@merchant_page
def act(request: MerchantRequest, slug: str, install_id: UUID, verb: str) -> HttpResponse:
    if verb not in DONE or verb == "install":
        raise Http404
    row = (
        Install.objects.for_merchant(request.actor.merchant_id)
        .filter(pk=install_id, integration__slug=slug)
        .select_related("integration__category", "location")
        .first()
    )
    if row is None:
        raise Http404
    if request.method != "POST" and verb != "uninstall":
        return redirect("installs:detail", slug=slug)
    try:
        if request.method != "POST":
            request.actor.require(Verb.UNINSTALL, row.location_id)
            return show(request, "installs/_uninstall.html", row.integration, {"install": row})
        if verb == "configure":
            config = config_form.read(row.integration, request.POST)
            lifecycle.configure(request.actor, row.pk, config)
        else:
            ACTS[verb](request.actor, row.pk)
    except ApiError as error:
        refusal = Refusal(error, install_id=row.pk, posted=request.POST)
        return detail_page(request, row.integration, refusal)
    return done(request, row.integration, verb)


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


def location_asked(request: MerchantRequest) -> UUID | None:
    text = request.POST.get("location", "")
    try:
        return UUID(text) if text else None
    except ValueError:
        raise ApiError("not_found", _("This merchant has no such outlet.")) from None


def given(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if value is not None}


def done(request: MerchantRequest, integration: Integration, verb: str) -> HttpResponse:
    text = DONE[verb] % {"name": integration.name}
    # What is no longer offered has no page any more once it is uninstalled.
    is_visible = listing.visible_to(request.actor.merchant_id).filter(pk=integration.pk).exists()
    if is_visible and is_partial(request):
        response = detail_page(request, integration)
        trigger_client_event(response, "posz:toast", {"text": text})
        return trigger_client_event(response, "posz:changed")
    messages.success(request, text)
    if is_partial(request):
        return HttpResponseClientRedirect(reverse("installs:catalog"))
    if is_visible:
        return redirect("installs:detail", slug=integration.slug)
    return redirect("installs:catalog")


def detail_page(
    request: MerchantRequest, integration: Integration, refusal: Refusal | None = None
) -> HttpResponse:
    merchant, actor = request.membership.merchant, request.actor
    installs = list(
        Install.objects.for_merchant(merchant.pk)
        .filter(integration=integration)
        .with_names()
        .select_related("grant")
        .in_order()
    )
    entries = AuditEntry.objects.for_merchant(merchant.pk).filter(integration_slug=integration.slug)
    scopes = scopes_for(actor, integration, installs, list(merchant.locations.all()), refusal)
    at_form = refusal if refusal and refusal.install_id is None else None
    context = {
        "row": listing.Row(integration, tuple(installs)),
        "blocks": [block_for(actor, integration, install, refusal) for install in installs],
        "scopes": scopes,
        "is_open": any(item.is_allowed and not item.is_taken for item in scopes),
        "has_all": any(install.location_id is None for install in installs),
        "may_install": Verb.INSTALL in ALLOWED[actor.role],
        "inputs": config_form.inputs(
            integration,
            posted=at_form.posted if at_form else None,
            errors=at_form.fields if at_form else None,
        ),
        "refusal": at_form,
        "obstacles": obstacles_of(at_form),
        "lines": history.lines(merchant, entries.latest_first()[:RECENT]),
    }
    status = refusal.error.status if refusal else 200
    return show(request, "installs/_detail.html", integration, context, status)


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
