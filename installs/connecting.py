"""The pages of the connect flow: out to the partner's consent page, and back."""

from uuid import UUID

from django.contrib import messages
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import HttpResponseClientRedirect

from catalog.envelope import ApiError
from catalog.models import Integration
from installs import audit, history, oauth
from installs.detail import Refusal
from installs.models import Connection, Install, OAuthState, User
from installs.tenancy import MerchantRequest, choose_merchant, merchant_page
from installs.views import config_asked, detail_page, is_partial, places_asked, visible_or_404

PARAMETERS = ("state", "code", "iss", "error")
ADVICE: dict[str, Promise] = {
    "access_denied": gettext_lazy(
        "Nothing was installed and nothing was shared. Connect again whenever you like."
    ),
    "missing_scopes": gettext_lazy(
        "What it does needs all of them. Connect again and leave every right allowed."
    ),
    "state_used": gettext_lazy("If the connection is not there yet, start once more."),
    "state_expired": gettext_lazy("A link to a partner is good for ten minutes. Start once more."),
    "install_gone": gettext_lazy("Connect it anew to have it back."),
}
# What leaves a connection that is there already as good as it was.
IN_VAIN = frozenset({"access_denied", "state_used"})


@vary_on_headers("HX-Request")
@merchant_page
def connect(request: MerchantRequest, slug: str) -> HttpResponse:
    if request.method != "POST":
        return redirect("installs:detail", slug=slug)
    integration = visible_or_404(request, slug)
    try:
        address = oauth.begin(
            request.actor,
            person(request),
            integration,
            location_id=places_asked(request)[0],
            config=config_asked(request, integration),
        )
    except ApiError as error:
        return detail_page(request, integration, Refusal(error, posted=request.POST))
    return depart(request, address)


@vary_on_headers("HX-Request")
@merchant_page
def reconnect(request: MerchantRequest, slug: str, install_id: UUID) -> HttpResponse:
    row = (
        Install.objects.for_merchant(request.actor.merchant_id)
        .filter(pk=install_id, integration__slug=slug)
        .select_related("integration__category")
        .first()
    )
    if row is None or not row.integration.is_oauth:
        raise Http404
    if request.method != "POST":
        return redirect("installs:detail", slug=slug)
    try:
        address = oauth.begin_again(request.actor, person(request), row.pk)
    except ApiError as error:
        return detail_page(request, row.integration, Refusal(error, install_id=row.pk))
    return depart(request, address)


@never_cache
@require_safe
@merchant_page
def callback(request: MerchantRequest, slug: str) -> HttpResponse:
    """Where the partner sends the browser back to. The person must be the one who left."""
    user, answer = person(request), answer_of(request)
    try:
        trip = oauth.take(user, slug, answer.get("state", ""))
        choose_merchant(request, trip.state.merchant_id)
        done = oauth.finish(trip, answer)
    except oauth.RefusedError as refused:
        return refused_page(request, slug, refused)
    except ApiError as error:
        return not_installed(request, trip.state.integration, error)
    if isinstance(done, oauth.Change):
        return render(request, "installs/other_account.html", {"change": done})
    return arrived(request, done)


@require_POST
@merchant_page
def confirm(request: MerchantRequest, slug: str, state_id: UUID) -> HttpResponse:
    try:
        row = oauth.confirm(person(request), slug, state_id)
    except oauth.RefusedError as refused:
        return refused_page(request, slug, refused)
    return arrived(request, row)


def person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise Http404
    return request.user


def answer_of(request: HttpRequest) -> dict[str, str]:
    """What the partner sent. A parameter that came twice counts as none: readers would differ."""
    return {name: request.GET[name] for name in PARAMETERS if len(request.GET.getlist(name)) == 1}


def depart(request: MerchantRequest, address: str) -> HttpResponse:
    if is_partial(request):
        return HttpResponseClientRedirect(address)
    # Not redirect(): that would take some addresses for the name of a view.
    response = HttpResponseRedirect(address)
    response.status_code = 303
    return response


def arrived(request: MerchantRequest, row: Install) -> HttpResponse:
    messages.success(request, _("%(name)s is connected.") % {"name": row.integration.name})
    return redirect("installs:detail", slug=row.integration.slug)


def refused_page(request: MerchantRequest, slug: str, refused: oauth.RefusedError) -> HttpResponse:
    state = refused.state
    audit.record(
        "oauth.refused",
        actor=request.actor.label,
        merchant_id=state.merchant_id if state else request.actor.merchant_id,
        integration_slug=slug if state else known_slug(slug),
        data={"problem": refused.problem, "partner_code": refused.detail},
    )
    if state is None and refused.problem == "state_unknown":
        raise Http404
    is_connected = state is not None and has_connection(state)
    advice = {} if is_connected and refused.problem in IN_VAIN else ADVICE
    context = {
        "integration": state.integration if state else None,
        "is_connected": is_connected,
        "problem": history.problem_text(refused.problem),
        "detail": refused.detail if refused.problem == "missing_scopes" else "",
        "advice": advice.get(refused.problem, _("Nothing was changed. Try again in a moment.")),
        "is_ours": refused.problem in history.OURS,
    }
    return render(request, "installs/not_connected.html", context, status=400)


def has_connection(state: OAuthState) -> bool:
    """Whether it works there all the same: a reconnect failed, or the partner came back twice."""
    rows = Install.objects.for_merchant(state.merchant_id).filter(
        Q(location_id=state.location_id), integration=state.integration
    )
    return rows.filter(connection=Connection.CONNECTED).exists()


def known_slug(slug: str) -> str:
    return slug if Integration.objects.filter(slug=slug).exists() else ""


def not_installed(
    request: MerchantRequest, integration: Integration, error: ApiError
) -> HttpResponse:
    """The rules of installs refused it after all: what changed while the person was away."""
    return detail_page(request, integration, Refusal(error))
