"""What a session may reach, by how it began.

One that began at a merchant's sign-in service is good for that merchant alone, and for none of the
person's own account: the merchant's service could otherwise open other restaurants to whoever runs it.
One that began with a password reaches all merchants but those that have a service of their own. Those
open to their owners in an emergency, which is told to all owners, and for an hour to everybody whose
service did not answer when they signed in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, login, logout
from django.contrib.auth.backends import BaseBackend
from django.core.mail import send_mail
from django.http import HttpRequest
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from installs import audit
from installs.models import Install, LinkedAccount, Membership, Merchant, Role, User

BACKEND = "installs.sessions.SignInServiceBackend"
LIFETIME = timedelta(hours=8)
FALLBACK_LIFETIME = timedelta(hours=1)
MERCHANT = "merchant_id"
LINK = "linked_account"
FALLBACK = "sign_in_fallback"
TOLD = "emergency_told"
# A cookie: the merchant through whose service somebody signed in with this browser before.
REMEMBERED = "sign_in_at"
# Of one's own account, these are open to everybody.
OPEN_PAGES = frozenset({"account_login", "account_logout"})


class SignInServiceBackend(BaseBackend):
    """The person of a session that began at a merchant's service: never one of Posz's own staff."""

    def get_user(self, user_id: Any) -> User | None:
        return User.objects.filter(pk=user_id, is_active=True, is_staff=False).first()


@dataclass(frozen=True, slots=True)
class Reach:
    """What a session may work for. `emergency` are the services that its owner went around;
    `closed` are those through which the person would have to sign in."""

    memberships: list[Membership]
    emergency: Mapping[UUID, Install]
    closed: list[Install]


NOTHING = Reach([], {}, [])


def begin(request: HttpRequest, account: LinkedAccount) -> None:
    """Sign the person in, for this merchant only. Whoever was signed in before is signed out."""
    logout(request)
    login(request, account.user, backend=BACKEND)
    request.session[MERCHANT] = str(account.merchant_id)
    request.session[LINK] = {"id": str(account.pk), "at": timezone.now().timestamp()}
    request.session.set_expiry(int(LIFETIME.total_seconds()))


def is_of_service(request: HttpRequest) -> bool:
    """Whether the session began at a merchant's sign-in service."""
    return bool(request.session.get(BACKEND_SESSION_KEY) == BACKEND)


def end_if_over(request: HttpRequest) -> None:
    """Sign out whose service was switched off or changed places, whose link was taken away, or who
    came in too long ago."""
    # Without the cookie nobody is signed in, and reading the session would mark every answer.
    if settings.SESSION_COOKIE_NAME not in request.COOKIES or not is_of_service(request):
        return
    if not _is_good(request.session.get(LINK, {}), str(request.session.get(MERCHANT))):
        logout(request)


def _is_good(link: Mapping[str, Any], merchant_id: str) -> bool:
    began_at = link.get("at", 0)
    if not began_at <= timezone.now().timestamp() < began_at + LIFETIME.total_seconds():
        return False
    account = LinkedAccount.objects.filter(pk=str(link.get("id")), merchant_id=merchant_id).first()
    service = services_of([account.merchant_id]).get(account.merchant_id) if account else None
    return service is not None and service.switched_at.timestamp() <= began_at


def is_closed_page(request: HttpRequest) -> bool:
    """Whether the page is about the person's own account, and the session must not touch that."""
    match = request.resolver_match
    is_account = match is not None and match.route.startswith("accounts/")
    if match is None or not is_account or match.app_name == "installs":
        return False
    return match.url_name not in OPEN_PAGES and is_of_service(request)


def services_of(merchant_ids: Iterable[UUID]) -> dict[UUID, Install]:
    """The sign-in services of those merchants that have one."""
    rows = Install.objects.sign_in_services().filter(merchant_id__in=list(merchant_ids))
    return {row.merchant_id: row for row in rows.select_related("integration", "merchant")}


def reach_of(request: HttpRequest) -> Reach:
    if not isinstance(request.user, User):
        return NOTHING
    memberships = list(
        Membership.objects.filter(user=request.user)
        .select_related("merchant", "user")
        .prefetch_related("locations")
        .order_by("merchant__name", "merchant_id")
    )
    if is_of_service(request):
        own = request.session.get(MERCHANT)
        return Reach([item for item in memberships if str(item.merchant_id) == own], {}, [])
    services = services_of(item.merchant_id for item in memberships)
    open_now = _fallback(request, request.user)
    reached, emergency, closed = [], {}, []
    for item in memberships:
        service = services.get(item.merchant_id)
        if service is None or item.merchant_id in open_now or _was_there(item, service):
            reached.append(item)
        elif item.role == Role.OWNER:
            emergency[item.merchant_id] = service
        else:
            closed.append(service)
    # Last, so that nobody comes to an emergency without having chosen it.
    reached += [item for item in memberships if item.merchant_id in emergency]
    return Reach(reached, emergency, closed)


def remembered_service(request: HttpRequest) -> Install | None:
    """The service through which somebody signed in with this browser before."""
    try:
        merchant_id = UUID(request.COOKIES.get(REMEMBERED, ""))
    except ValueError:
        return None
    return services_of([merchant_id]).get(merchant_id)


def allow_fallback(request: HttpRequest, user: User, services: Iterable[Install]) -> None:
    """Let this person, who is about to sign in, work for these merchants without their service."""
    merchants = []
    for service in services:
        merchants.append(str(service.merchant_id))
        audit.record("sign_in.fallback", actor=user.email, install=service)
    until = (timezone.now() + FALLBACK_LIFETIME).timestamp()
    request.session[FALLBACK] = {"user": str(user.pk), "merchants": merchants, "until": until}


def _fallback(request: HttpRequest, user: User) -> set[UUID]:
    kept = request.session.get(FALLBACK, {})
    is_good = kept.get("user") == str(user.pk) and timezone.now().timestamp() < kept["until"]
    return {UUID(item) for item in kept["merchants"]} if is_good else set()


def tell_of_emergency(request: HttpRequest, membership: Membership, service: Install) -> None:
    """Once a session: an owner works with a password where a sign-in service is in charge."""
    told = request.session.get(TOLD, [])
    user, merchant = membership.user, membership.merchant
    if str(merchant.pk) in told:
        return
    request.session[TOLD] = [*told, str(merchant.pk)]
    audit.record("sign_in.emergency", actor=user.email, install=service)
    _mail_owners(merchant, user, service)


def _was_there(membership: Membership, service: Install) -> bool:
    """Whether this is an owner who signed in before the service was switched on, as whoever switches
    it on has."""
    last_login = membership.user.last_login
    is_older = last_login is not None and last_login < service.switched_at
    return membership.role == Role.OWNER and is_older


def _mail_owners(merchant: Merchant, user: User, service: Install) -> None:
    owners = merchant.memberships.filter(role=Role.OWNER, user__is_active=True)
    with translation.override(merchant.locale):
        facts = {
            "merchant": merchant.name,
            "person": user.email,
            "name": service.integration.name,
            "page": f"{settings.PUBLIC_URL}/activity",
        }
        subject = _("Emergency sign-in at %(merchant)s with a password") % facts
        body = (
            _(
                "%(person)s, an owner of %(merchant)s, signed in with a password instead of through "
                "%(name)s.\n\nIf that was not you or one of your co-owners, have the password changed "
                "and look at what was done:\n\n%(page)s"
            )
            % facts
        )
    for email in owners.values_list("user__email", flat=True):
        send_mail(subject, body, None, [email], fail_silently=True)
