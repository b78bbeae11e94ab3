"""The pages on which people sign in through their merchant's own service."""

import secrets
from uuid import UUID

from allauth.core import ratelimit
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from installs import history, sessions, sign_in
from installs.models import Install, User
from installs.tenancy import MerchantRequest, merchant_page

BROWSER = "sign_in_browser"
REMEMBERED_SECONDS = 365 * 24 * 3600
LONGEST_PATH = 500
PARAMETERS = ("state", "code", "iss", "error")
# What a person can do about a refusal. All others are for the owner to mend.
ADVICE: dict[str, Promise] = {
    "access_denied": gettext_lazy("Start once more, and allow Posz Hub to know who you are."),
    "state_unknown": gettext_lazy(
        "Start once more in the same browser, and let it keep cookies of Posz Hub."
    ),
    "state_used": gettext_lazy("Start once more: every sign-in needs a fresh link."),
    "state_expired": gettext_lazy("Start once more: a link is good for ten minutes."),
    "code_refused": gettext_lazy("Start once more."),
    "token_expired": gettext_lazy("Start once more."),
    "not_a_member": gettext_lazy("Ask an owner of the restaurant to have your address added."),
    "email_unverified": gettext_lazy(
        "Have your address confirmed at the sign-in service, then start once more."
    ),
    "email_not_accepted": gettext_lazy("Use the account that your restaurant gave you."),
    "linked_already": gettext_lazy(
        "Ask an owner to unlink the other account, under Integrations. Then start once more."
    ),
    "no_role": gettext_lazy(
        "Ask whoever manages the accounts of your restaurant to put you into a group with a role."
    ),
}


@never_cache
@require_safe
def page(request: HttpRequest, merchant_id: UUID) -> HttpResponse:
    """The public link of a merchant: says whose service it is, and leads there."""
    service = sessions.services_of([merchant_id]).get(merchant_id)
    # One answer for all that is not in use, whether or not there is such a merchant.
    context = {"service": service, "next": next_path(request)}
    return render(request, "account/sign_in_service.html", context, status=200 if service else 404)


@never_cache
@require_safe
def start(request: HttpRequest, merchant_id: UUID) -> HttpResponse:
    limited: HttpResponse | None = ratelimit.consume_or_429(
        request, action="sign_in_service", limit_get=True
    )
    if limited is not None:
        return limited
    service = sessions.services_of([merchant_id]).get(merchant_id)
    if service is None:
        return redirect("installs:sign-in", merchant_id)
    browser = request.session.setdefault(BROWSER, secrets.token_urlsafe(32))
    try:
        address = sign_in.begin(service, browser, next_path(request))
    except sign_in.RefusedError as refused:
        return refused_page(request, merchant_id, refused)
    # Not redirect(): that would take some addresses for the name of a view.
    return HttpResponseRedirect(address)


@never_cache
@require_safe
def callback(request: HttpRequest, merchant_id: UUID) -> HttpResponse:
    """Where the provider sends the browser back to."""
    # A parameter that came twice counts as none: readers would differ.
    answer = {name: request.GET[name] for name in PARAMETERS if len(request.GET.getlist(name)) == 1}
    try:
        account, path = sign_in.finish(merchant_id, request.session.get(BROWSER, ""), answer)
    except sign_in.RefusedError as refused:
        return refused_page(request, merchant_id, refused)
    sessions.begin(request, account)
    response = redirect(path or settings.LOGIN_REDIRECT_URL)
    response.set_cookie(
        sessions.REMEMBERED,
        str(merchant_id),
        max_age=REMEMBERED_SECONDS,
        httponly=True,
        secure=settings.SESSION_COOKIE_SECURE,
        samesite="Lax",
    )
    return response


@require_POST
@merchant_page
def unlink(request: MerchantRequest, slug: str, account_id: UUID) -> HttpResponse:
    sign_in.unlink(request.actor, account_id)
    messages.success(request, _("The account is unlinked, and signed out."))
    return redirect("installs:detail", slug=slug)


def next_path(request: HttpRequest) -> str:
    path = request.GET.get("next", "")
    is_ours = path.startswith("/") and url_has_allowed_host_and_scheme(path, allowed_hosts=None)
    return path if is_ours and len(path) <= LONGEST_PATH else ""


def refused_page(
    request: HttpRequest, merchant_id: UUID, refused: sign_in.RefusedError
) -> HttpResponse:
    falls_back = (
        refused.is_down
        and refused.service is not None
        and sign_in.Rules(refused.service.config).falls_back
    )
    context = {
        "service": refused.service,
        "merchant_id": merchant_id,
        "problem": history.problem_text(refused.problem),
        "advice": ADVICE.get(refused.problem, ""),
        "is_down": refused.is_down,
        "falls_back": falls_back,
    }
    status = 502 if refused.is_down else 403
    return render(request, "account/sign_in_refused.html", context, status=status)


def password_page(request: HttpRequest, services: list[Install]) -> HttpResponse:
    """What somebody is told whose password opens nothing."""
    return render(request, "account/sign_in_elsewhere.html", {"services": services}, status=403)


def instead_of_password(request: HttpRequest, user: User) -> HttpResponse | None:
    """The page that takes the place of a sign-in with a password; None where it may go on."""
    services = sign_in.services_left(request, user)
    return password_page(request, services) if services else None
