"""Which merchant a signed-in person is working for."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import SimpleLazyObject
from django_htmx.http import HttpResponseClientRedirect

from installs import sessions
from installs.access import Actor
from installs.models import Membership

P = ParamSpec("P")


class MerchantRequest(HttpRequest):
    """A request behind `merchant_page`: the membership is there."""

    membership: Membership
    actor: Actor


class TenancyMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sessions.end_if_over(request)
        request.reach = SimpleLazyObject(lambda: sessions.reach_of(request))  # type: ignore[attr-defined]
        request.memberships = SimpleLazyObject(lambda: request.reach.memberships)  # type: ignore[attr-defined]
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_args: Any) -> HttpResponse | None:
        if not sessions.is_closed_page(request):
            return None
        return render(request, "account/not_your_account.html", status=403)


def chosen_membership(request: HttpRequest) -> Membership | None:
    """The merchant chosen in this session, else the first one."""
    memberships: list[Membership] = request.memberships  # type: ignore[attr-defined]
    chosen = request.session.get(sessions.MERCHANT)
    for membership in memberships:
        if str(membership.merchant_id) == chosen:
            return membership
    return memberships[0] if memberships else None


def choose_merchant(request: HttpRequest, merchant_id: UUID) -> bool:
    """Work for this merchant from now on; False where the person has no part in it."""
    memberships: list[Membership] = request.memberships  # type: ignore[attr-defined]
    if not any(item.merchant_id == merchant_id for item in memberships):
        return False
    request.session[sessions.MERCHANT] = str(merchant_id)
    return True


def actor_of(membership: Membership) -> Actor:
    locations = frozenset(item.pk for item in membership.locations.all())
    return Actor(
        merchant_id=membership.merchant_id,
        label=membership.user.email,
        role=membership.role,
        locations=locations or None,
    )


def merchant_page(
    view: Callable[Concatenate[MerchantRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """For pages of a merchant: signed in, and with a merchant to work for."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return sign_in_first(request)
        membership = chosen_membership(request)
        reach: sessions.Reach = request.reach  # type: ignore[attr-defined]
        if membership is None and reach.closed:
            context = {"services": reach.closed}
            return render(request, "account/sign_in_elsewhere.html", context, status=403)
        if membership is None:
            return render(request, "installs/no_merchant.html", status=403)
        service = reach.emergency.get(membership.merchant_id)
        if service is not None:
            sessions.tell_of_emergency(request, membership, service)
        request.membership = membership  # type: ignore[attr-defined]
        request.actor = actor_of(membership)  # type: ignore[attr-defined]
        return view(request, *args, **kwargs)  # type: ignore[arg-type]

    return guarded  # type: ignore[return-value]


def sign_in_first(request: HttpRequest) -> HttpResponse:
    """To the sign-in page and back; a request for a part of a page sends the whole page there."""
    if not request.headers.get("HX-Request"):
        return redirect_to_login(request.get_full_path())
    page = urlsplit(request.headers.get("HX-Current-URL", ""))
    back = page.path + (f"?{page.query}" if page.query else "")
    return HttpResponseClientRedirect(redirect_to_login(back or "/integrations").url)


def tenancy_context(request: HttpRequest) -> dict[str, Any]:
    if not hasattr(request, "memberships"):
        return {}
    return {
        "memberships": request.memberships,
        "membership": SimpleLazyObject(lambda: chosen_membership(request)),
        "reach": getattr(request, "reach", None),
        "remembered_service": SimpleLazyObject(lambda: sessions.remembered_service(request)),
        "is_of_service": SimpleLazyObject(lambda: sessions.is_of_service(request)),
    }
