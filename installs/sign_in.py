"""Signing in through a merchant's own OpenID Connect provider.

A trip to the provider is a row: good once, for ten minutes, in the browser that left, at the merchant
whose link was followed. Who comes back is known by issuer and subject. The first time, a member of
that merchant is recognised by a verified e-mail address, if its owner lets that be; nobody of Posz's
staff and nobody of another merchant ever is.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone
from oauthlib.oauth2 import WebApplicationClient

from catalog.envelope import ApiError
from installs import audit, lifecycle, sessions
from installs.access import Actor, Verb
from installs.identity_provider import (
    Claims,
    ProviderError,
    Secrets,
    Service,
    identity_provider,
)
from installs.models import Install, LinkedAccount, Membership, Role, SignInTrip, User

TRIP_LIFETIME = timedelta(minutes=10)
VERIFIER_LENGTH = 64
LONGEST_PARAMETER = 4_096
NAME_LENGTH = 120
MOST_SHOWN = 200
# The highest role counts where somebody is in several groups.
ROLES = (Role.OWNER, Role.MANAGER, Role.VIEWER)


class RefusedError(Exception):
    """Nobody was signed in. `problem` is a code that `history` has words for; the service is there
    where the trip was a real one."""

    def __init__(
        self, problem: str, service: Install | None = None, *, is_down: bool = False
    ) -> None:
        self.problem = problem
        self.service = service
        self.is_down = is_down
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of the install, read."""

    config: Mapping[str, Any]

    @property
    def service(self) -> Service:
        return Service(
            issuer=self._text("issuer"),
            client_id=self._text("client_id"),
            client_secret=self._text("client_secret"),
            scopes=tuple(self._text("extra_scopes").split()),
        )

    @property
    def links_by_email(self) -> bool:
        return self.config.get("link_by_email") is True

    @property
    def takes_new_people(self) -> bool:
        return self.config.get("create_people") is True

    @property
    def falls_back(self) -> bool:
        return self.config.get("password_fallback") is True

    def accepts(self, email: str) -> bool:
        domains = {item.lower().lstrip("@") for item in self._list("domains")}
        return not domains or email.rpartition("@")[2] in domains

    def role_of(self, claims: Claims) -> Role | None:
        """The role that the groups give; None where groups decide nothing.

        Raises RefusedError where they decide and the person is in none that counts.
        """
        wanted = {role: set(self._list(f"{role.value}_groups")) for role in ROLES}
        if not any(wanted.values()):
            return None
        told = claims.everything.get(self._text("group_claim") or "groups")
        groups = {item for item in (told if isinstance(told, list) else [told]) if item}
        for role in ROLES:
            if wanted[role] & groups:
                return role
        raise RefusedError("no_role")

    def _text(self, name: str) -> str:
        return str(self.config.get(name) or "")

    def _list(self, name: str) -> list[str]:
        return [item for item in re.split(r"\s*,\s*", self._text(name).strip()) if item]


def address_of(merchant_id: UUID) -> str:
    """The public link through which the people of a merchant sign in."""
    return _absolute("installs:sign-in", merchant_id)


def redirect_uri(merchant_id: UUID) -> str:
    """One for each merchant, so that no answer of one provider is taken for another's.

    https://www.rfc-editor.org/rfc/rfc9700#section-4.4.2
    """
    return _absolute("installs:sign-in-callback", merchant_id)


def shown(actor: Actor) -> dict[str, Any]:
    """What the page of the integration says about signing in to this merchant."""
    accounts = LinkedAccount.objects.filter(merchant_id=actor.merchant_id).select_related("user")
    return {
        "is_on": actor.merchant_id in sessions.services_of([actor.merchant_id]),
        "address": address_of(actor.merchant_id),
        "redirect_uri": redirect_uri(actor.merchant_id),
        "accounts": accounts.order_by("-used_at", "id")[:MOST_SHOWN],
        "may_unlink": actor.may(Verb.MANAGE_PEOPLE),
    }


def begin(service: Install, browser: str, next_path: str = "") -> str:
    """The address of the provider's sign-in page. `browser` is a secret of the browser that leaves."""
    trip_secrets = Secrets(
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=WebApplicationClient("").create_code_verifier(VERIFIER_LENGTH),
    )
    back = redirect_uri(service.merchant_id)
    try:
        address = identity_provider().departure(Rules(service.config).service, trip_secrets, back)
    except ProviderError as error:
        raise _refused(service, error) from None
    SignInTrip.objects.create(
        digest=_digest(browser, trip_secrets.state),
        install=service,
        redirect_uri=back,
        next_path=next_path,
        payload={"nonce": trip_secrets.nonce, "verifier": trip_secrets.verifier},
        expires_at=timezone.now() + TRIP_LIFETIME,
    )
    return address


def finish(merchant_id: UUID, browser: str, answer: Mapping[str, str]) -> tuple[LinkedAccount, str]:
    """Who came back, and where they wanted to go. Every refusal of a real trip is on record."""
    trip = _take(merchant_id, browser, answer.get("state", ""))
    try:
        claims = _claims_of(trip, answer)
        return _admit(trip.install, claims), trip.next_path
    except RefusedError as refused:
        refused.service = trip.install
        audit.record(
            "sign_in.refused",
            actor=audit.SYSTEM,
            install=trip.install,
            data={"problem": refused.problem},
        )
        raise


def unlink(actor: Actor, account_id: UUID) -> None:
    """Forget an account at the provider; its sessions end with the next request."""
    actor.require(Verb.MANAGE_PEOPLE)
    with transaction.atomic():
        lifecycle.lock_merchant(actor.merchant_id)
        account = LinkedAccount.objects.filter(pk=account_id, merchant_id=actor.merchant_id).first()
        if account is None:
            raise ApiError("not_found")
        account.delete()
        service = sessions.services_of([actor.merchant_id]).get(actor.merchant_id)
        audit.record(
            "sign_in.unlinked",
            actor=actor.label,
            install=service,
            merchant_id=actor.merchant_id,
            data={"person": account.user.email},
        )


def services_left(request: Any, user: User) -> list[Install]:
    """The services through which this person has to sign in, because a password opens nothing.

    Empty where it opens something. A service that does not answer, and whose owner allows it, lets
    its people in with the password they have just proved; that is asked of the network.
    """
    memberships = list(Membership.objects.filter(user=user))
    services = sessions.services_of(item.merchant_id for item in memberships)
    closed = [
        services[item.merchant_id]
        for item in memberships
        if item.merchant_id in services and item.role != Role.OWNER
    ]
    down = [service for service in closed if _may_go_around(service)]
    if down:
        sessions.allow_fallback(request, user, down)
    left = [service for service in closed if service not in down]
    if user.is_staff or len(left) < len(memberships):
        return []
    for service in left:
        audit.record("sign_in.password_refused", actor=user.email, install=service)
    return left


def prune_trips() -> int:
    return SignInTrip.objects.filter(expires_at__lt=timezone.now()).delete()[0]


def _may_go_around(service: Install) -> bool:
    rules = Rules(service.config)
    return rules.falls_back and identity_provider().is_down(rules.service)


def _absolute(name: str, merchant_id: UUID) -> str:
    return f"{settings.PUBLIC_URL.rstrip('/')}{reverse(name, args=[merchant_id])}"


def _digest(browser: str, state: str) -> str:
    # Both hold 256 random bits, so a plain hash can't be reversed by guessing.
    return hashlib.sha256(f"{browser}.{state}".encode()).hexdigest()


def _refused(service: Install, error: ProviderError) -> RefusedError:
    return RefusedError(error.code, service, is_down=error.is_down)


def _take(merchant_id: UUID, browser: str, state: str) -> SignInTrip:
    """The trip of this browser with that state, used up by this. What is made up, another browser's
    or another merchant's looks the same."""
    if not (browser and state.isascii() and len(state) <= LONGEST_PARAMETER):
        raise RefusedError("state_unknown")
    trip = (
        SignInTrip.objects.select_related("install__integration", "install__merchant")
        .filter(digest=_digest(browser, state), install__merchant_id=merchant_id)
        .first()
    )
    if trip is None or merchant_id not in sessions.services_of([merchant_id]):
        raise RefusedError("state_unknown")
    now = timezone.now()
    fresh = SignInTrip.objects.filter(pk=trip.pk, used_at=None, expires_at__gt=now)
    if not fresh.update(used_at=now):
        raise RefusedError("state_used" if trip.used_at else "state_expired", trip.install)
    return trip


def _claims_of(trip: SignInTrip, answer: Mapping[str, str]) -> Claims:
    provider, service = identity_provider(), Rules(trip.install.config).service
    try:
        provider.check_issuer(service, answer.get("iss"))
        if "error" in answer:
            is_no = answer["error"] == "access_denied"
            raise RefusedError("access_denied" if is_no else "consent_failed")
        code = answer.get("code", "")
        if not 0 < len(code) <= LONGEST_PARAMETER:
            raise RefusedError("no_code")
        trip_secrets = Secrets(state="", **trip.payload)
        return provider.claims(service, trip_secrets, trip.redirect_uri, code)
    except ProviderError as error:
        raise _refused(trip.install, error) from None


@transaction.atomic
def _admit(service: Install, claims: Claims) -> LinkedAccount:
    """The person behind the claims, with the role that their groups give.

    Under the merchant's lock, so that two who sign in at once leave one link and one owner.
    """
    lifecycle.lock_merchant(service.merchant_id)
    rules = Rules(service.config)
    role = rules.role_of(claims)
    links = LinkedAccount.objects.filter(
        merchant_id=service.merchant_id, issuer=rules.service.issuer
    )
    account = links.select_related("user").filter(subject=claims.subject).first()
    if account is None:
        user = _recognised(service, rules, claims) or _new_person(service, rules, claims, role)
        if links.filter(user=user).exists():
            raise RefusedError("linked_already")
        account = links.create(
            merchant_id=service.merchant_id,
            user=user,
            issuer=rules.service.issuer,
            subject=claims.subject,
            email=claims.email,
        )
        audit.record("sign_in.linked", actor=user.email, install=service)
    _follow_role(service, account.user, role)
    account.used_at = timezone.now()
    account.save(update_fields=["used_at"])
    audit.record("sign_in.done", actor=account.user.email, install=service)
    return account


def _recognised(service: Install, rules: Rules, claims: Claims) -> User | None:
    """The member with this address, where the provider vouches for it."""
    if not rules.links_by_email:
        return None
    if not claims.email or not claims.is_email_verified:
        raise RefusedError("email_unverified")
    if not rules.accepts(claims.email):
        raise RefusedError("email_not_accepted")
    return User.objects.filter(
        email=claims.email,
        memberships__merchant_id=service.merchant_id,
        is_active=True,
        is_staff=False,
    ).first()


def _new_person(service: Install, rules: Rules, claims: Claims, role: Role | None) -> User:
    """Somebody whom no merchant knows yet. There is no role without a group that gives it."""
    is_theirs = claims.is_email_verified and rules.accepts(claims.email)
    if not rules.takes_new_people or role is None or not is_theirs:
        raise RefusedError("not_a_member")
    try:
        validate_email(claims.email)
        with transaction.atomic():
            user = User.objects.create_user(claims.email, name=claims.name[:NAME_LENGTH])
    except (ValidationError, IntegrityError):
        # Whoever has the address works for others: their account is not this merchant's to open.
        raise RefusedError("not_a_member") from None
    Membership.objects.create(user=user, merchant_id=service.merchant_id, role=role)
    audit.record("sign_in.joined", actor=user.email, install=service, data={"role": role.value})
    return user


def _follow_role(service: Install, user: User, role: Role | None) -> None:
    """Set the role that the groups give, but never take the last owner away."""
    own = Membership.objects.filter(user=user, merchant_id=service.merchant_id).first()
    if own is None or not user.is_active or user.is_staff:
        raise RefusedError("not_a_member")
    if role is None or own.role == role:
        return
    others = Membership.objects.filter(
        merchant_id=service.merchant_id, role=Role.OWNER, user__is_active=True
    ).exclude(pk=own.pk)
    if own.role == Role.OWNER and not others.exists():
        audit.record("sign_in.last_owner_kept", actor=user.email, install=service)
        return
    before, own.role = own.role, role
    own.save(update_fields=["role"])
    facts = {"role": role.value, "role_before": before}
    audit.record("sign_in.role_changed", actor=user.email, install=service, data=facts)
