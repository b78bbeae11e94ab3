"""Where people of a merchant say what a partner's ids are in Posz, one line for each."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import trigger_client_event

from catalog.envelope import ApiError
from installs import mappings
from installs.access import Verb
from installs.models import IdMapping, Install, MappingState
from installs.tenancy import MerchantRequest, merchant_page
from installs.views import is_partial, show

PAGE_SIZE = 50
MOST_SUGGESTED = 200


@dataclass(frozen=True, slots=True)
class Wrong:
    """What was typed at a line, and why it is refused."""

    mapping_id: UUID
    value: str
    errors: list[str]


@require_safe
@vary_on_headers("HX-Request")
@merchant_page
def page(request: MerchantRequest, slug: str, install_id: UUID) -> HttpResponse:
    return mappings_page(request, install_or_404(request, slug, install_id))


@require_POST
@vary_on_headers("HX-Request")
@merchant_page
def decide(request: MerchantRequest, slug: str, install_id: UUID, mapping_id: UUID) -> HttpResponse:
    install = install_or_404(request, slug, install_id)
    text = request.POST.get("posz_id", "")
    try:
        if "ignore" in request.POST:
            row = mappings.ignore(request.actor, install.pk, mapping_id)
        else:
            row = mappings.resolve(request.actor, install.pk, mapping_id, text)
    except ApiError as error:
        if error.code != "config_invalid":
            raise
        errors = error.extra.get("fields", {}).get("posz_id", [error.message])
        return mappings_page(request, install, Wrong(mapping_id, text, errors))
    return decided(request, install, row)


def decided(request: MerchantRequest, install: Install, row: IdMapping) -> HttpResponse:
    said = (
        _("“%(id)s” is left out from now on.")
        if row.state == MappingState.IGNORED
        else _("“%(id)s” is “%(posz_id)s” in Posz. What waited for it is worked on.")
    ) % {"id": row.external_id, "posz_id": row.posz_id}
    if not is_partial(request):
        messages.success(request, said)
        address = reverse("installs:mappings", args=[install.integration.slug, install.pk])
        return HttpResponseRedirect(address)
    response = mappings_page(request, install)
    trigger_client_event(response, "posz:toast", {"text": said})
    return trigger_client_event(response, "posz:changed")


def install_or_404(request: MerchantRequest, slug: str, install_id: UUID) -> Install:
    rows = Install.objects.for_merchant(request.actor.merchant_id).with_names()
    row = rows.filter(pk=install_id, integration__slug=slug).first()
    if row is None:
        raise Http404
    return row


def mappings_page(
    request: MerchantRequest, install: Install, wrong: Wrong | None = None
) -> HttpResponse:
    state = request.GET.get("state", MappingState.OPEN)
    if state not in MappingState.values:
        raise Http404
    rows = mappings.of_install(install).filter(state=state)
    context = {
        "install": install,
        "page": Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
        "state": state,
        "states": MappingState.choices,
        "wrong": wrong,
        "may_map": request.actor.may(Verb.CONFIGURE, install.location_id),
        "suggested": mappings.suggested(install)[:MOST_SUGGESTED],
        "unknown_outlets": mappings.has_unknown_outlets(install),
    }
    status = 422 if wrong else 200
    return show(request, "installs/_mappings.html", install.integration, context, status)
