"""The connect flow: authorization code with PKCE, as RFC 9700 wants it.

A trip to the partner's consent page is a row: made by `begin`, good for one use by the same person
within ten minutes, and bound to merchant, integration, outlet and redirect address. What comes back
is exchanged outside any transaction. Tokens are stored before they are used for anything; whoever
does not end up behind an install is given back to the partner.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from oauthlib.common import add_params_to_uri
from oauthlib.oauth2 import WebApplicationClient

from catalog.envelope import ApiError
from catalog.models import Integration
from installs import grants, lifecycle
from installs.access import Actor, Verb
from installs.models import Install, Membership, OAuthGrant, OAuthState, User
from installs.oauth_client import OAuthError, oauth_client
from installs.tenancy import actor_of
from installs.wake import wake

STATE_LIFETIME = timedelta(minutes=10)
# Kept a while so that a second use can be told from a made-up one.
STATE_KEPT = timedelta(days=1)
VERIFIER_LENGTH = 64
LONGEST_PARAMETER = 4_096


class RefusedError(Exception):
    """The trip ended without a connection. `problem` is a code that `history` has words for."""

    def __init__(self, problem: str, state: OAuthState | None = None, detail: str = "") -> None:
        self.problem = problem
        self.state = state
        self.detail = detail
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class Trip:
    """A state that was taken, and the person back from it as an actor of its merchant."""

    state: OAuthState
    actor: Actor


@dataclass(frozen=True, slots=True)
class Change:
    """A reconnect that came back with another account than before: the person has to say so."""

    state: OAuthState
    install: Install
    before: OAuthGrant
    after: OAuthGrant


def begin(
    actor: Actor,
    user: User,
    integration: Integration,
    *,
    location_id: UUID | None,
    config: dict[str, Any],
) -> str:
    """The address of the partner's consent page, for a new install.

    Refused with what `lifecycle.install` would refuse, before the merchant goes there in vain.
    """
    _require_oauth(integration)
    cleaned = lifecycle.check_install(actor, integration, location_id=location_id, config=config)
    return _depart(actor, user, integration, {"config": cleaned}, location_id=location_id)


def begin_again(actor: Actor, user: User, install_id: UUID) -> str:
    """The same for an install that is there: its settings and its id stay."""
    with transaction.atomic():
        row = lifecycle.locked_install(actor, install_id, Verb.CONFIGURE)
    _require_oauth(row.integration)
    return _depart(actor, user, row.integration, {}, location_id=row.location_id, install_id=row.pk)


def redirect_uri(slug: str) -> str:
    return f"{settings.PUBLIC_URL.rstrip('/')}/integrations/{slug}/callback"


def take(user: User, slug: str, value: str) -> Trip:
    """The trip that this state value belongs to, used up by this.

    Raises RefusedError without a state where the value is made up or somebody else's, which must
    look the same, and with it where it is too old or was used.
    """
    state = _own_state(user, slug, value)
    membership = _membership_of(user, state)
    if state is None or membership is None:
        raise RefusedError("state_unknown")
    is_mine = OAuthState.objects.filter(
        pk=state.pk, used_at=None, expires_at__gt=timezone.now()
    ).update(used_at=timezone.now())
    if not is_mine:
        raise RefusedError("state_used" if state.used_at else "state_expired", state)
    # What was read stays in hand; the row keeps no verifier and no settings once it is used.
    spent = OAuthState.objects.get(pk=state.pk)
    spent.payload = {}
    spent.save(update_fields=["payload"])
    return Trip(state, actor_of(membership))


def finish(trip: Trip, answer: Mapping[str, str]) -> Install | Change:
    """Turn what the partner sent back into a connected install.

    Raises RefusedError for what the partner or the person did, ApiError for what the rules of
    installs refuse. In both cases tokens that came go back to the partner.
    """
    state, actor = trip.state, trip.actor
    _check_issuer(state, answer)
    if "error" in answer:
        code = "access_denied" if answer["error"] == "access_denied" else "consent_failed"
        raise RefusedError(code, state, _printable(answer["error"]))
    code = answer.get("code", "")
    if not 0 < len(code) <= LONGEST_PARAMETER:
        raise RefusedError("no_code", state)
    grant = _exchanged(trip, code)
    try:
        return _put_to_use(actor, state, grant)
    except (ApiError, RefusedError):
        grants.give_up(grant)
        raise


def confirm(user: User, slug: str, state_id: UUID) -> Install:
    """Take the other account after all: both were shown, and the person said yes."""
    state = OAuthState.objects.filter(
        pk=state_id, user=user, integration__slug=slug, grant__isnull=False
    ).first()
    membership = _membership_of(user, state)
    if state is None or membership is None or state.grant is None or state.install_id is None:
        raise ApiError("not_found")
    if not OAuthState.objects.filter(pk=state.pk, grant__isnull=False).update(grant=None):
        raise ApiError("not_found")
    try:
        return _attach(actor_of(membership), state.install_id, state.grant)
    except (ApiError, RefusedError):
        grants.give_up(state.grant)
        raise


def prune_states() -> int:
    over = OAuthState.objects.filter(expires_at__lt=timezone.now() - STATE_KEPT)
    return over.delete()[0]


def _depart(
    actor: Actor,
    user: User,
    integration: Integration,
    payload: dict[str, Any],
    *,
    location_id: UUID | None,
    install_id: UUID | None = None,
) -> str:
    client = WebApplicationClient(integration.oauth.client_id)
    verifier = client.create_code_verifier(VERIFIER_LENGTH)
    value = secrets.token_urlsafe(32)
    now = timezone.now()
    state = OAuthState.objects.create(
        digest=_digest(value),
        user=user,
        merchant_id=actor.merchant_id,
        integration=integration,
        location_id=location_id,
        install_id=install_id,
        redirect_uri=redirect_uri(integration.slug),
        payload={**payload, "verifier": verifier},
        created_at=now,
        expires_at=now + STATE_LIFETIME,
    )
    asked = {
        "response_type": "code",
        "client_id": integration.oauth.client_id,
        "redirect_uri": state.redirect_uri,
        "state": value,
        "code_challenge": client.create_code_challenge(verifier, "S256"),
        "code_challenge_method": "S256",
    }
    if integration.oauth.scopes:
        asked["scope"] = " ".join(integration.oauth.scopes)
    return str(add_params_to_uri(integration.oauth.authorize_url, asked.items()))


def _own_state(user: User, slug: str, value: str) -> OAuthState | None:
    if not value.isascii() or len(value) > LONGEST_PARAMETER:
        return None
    return (
        OAuthState.objects.select_related("integration")
        .filter(digest=_digest(value), user=user, integration__slug=slug)
        .first()
    )


def _membership_of(user: User, state: OAuthState | None) -> Membership | None:
    if state is None:
        return None
    own = Membership.objects.filter(user=user, merchant_id=state.merchant_id)
    return own.select_related("user").first()


def _digest(value: str) -> str:
    # A state holds 256 random bits, so a plain hash can't be reversed by guessing.
    return hashlib.sha256(value.encode()).hexdigest()


def _check_issuer(state: OAuthState, answer: Mapping[str, str]) -> None:
    """Against mix-up: https://www.rfc-editor.org/rfc/rfc9207#section-2.4"""
    issuer = state.integration.oauth.issuer
    if issuer and answer.get("iss") != issuer:
        raise RefusedError("wrong_issuer", state)


def _exchanged(trip: Trip, code: str) -> OAuthGrant:
    state = trip.state
    try:
        tokens = oauth_client().exchange(
            state.integration,
            code=code,
            verifier=state.payload["verifier"],
            redirect_uri=state.redirect_uri,
        )
    except OAuthError as error:
        raise RefusedError("code_refused" if error.is_final else error.code, state) from None
    grant = grants.keep_new(
        state.merchant_id, state.integration, tokens, connected_by=trip.actor.label
    )
    try:
        if missing := grants.missing_scopes(state.integration, grant):
            raise RefusedError("missing_scopes", state, ", ".join(missing))
        grants.name_account(grant, oauth_client().account(state.integration, tokens))
    except OAuthError as error:
        grants.give_up(grant)
        raise RefusedError(error.code, state) from None
    except RefusedError:
        grants.give_up(grant)
        raise
    return grant


def _put_to_use(actor: Actor, state: OAuthState, grant: OAuthGrant) -> Install | Change:
    if state.install_id is None:
        return lifecycle.install(
            actor,
            state.integration,
            location_id=state.location_id,
            config=state.payload["config"],
            grant=grant,
        )
    row = (
        Install.objects.for_merchant(actor.merchant_id)
        .select_related("grant", "integration", "location")
        .filter(pk=state.install_id)
        .first()
    )
    if row is None:
        raise RefusedError("install_gone", state)
    if row.grant is not None and row.grant.account_id != grant.account_id:
        state.grant = grant
        state.save(update_fields=["grant"])
        return Change(state, row, row.grant, grant)
    return _attach(actor, row.pk, grant)


def _attach(actor: Actor, install_id: UUID, grant: OAuthGrant) -> Install:
    with transaction.atomic():
        row = lifecycle.locked_install(actor, install_id, Verb.CONFIGURE)
        adopted = grants.adopt(grant.pk)
        if adopted is None:
            raise RefusedError("state_expired")
        before = row.grant
        is_same = before is not None and before.account_id == adopted.account_id
        # Installs that a swap has left on one grant go on together.
        mine = Q(grant=before) if before is not None and is_same else Q(pk=row.pk)
        for item in Install.objects.for_merchant(row.merchant_id).filter(mine):
            item.grant = adopted
            item.save(update_fields=["grant"])
            grants.connect(item)
        if before is not None and not Install.objects.filter(grant=before).exists():
            grants.retire(before, is_same_account=is_same)
        row.refresh_from_db()
        facts = {"account": adopted.account, "scopes": adopted.granted_scopes}
        if before is not None and not is_same:
            facts["account_before"] = before.account
        lifecycle.changed(row, actor, "install.reconnected", facts)
        transaction.on_commit(_wake_delivery, robust=True)
    return row


def _wake_delivery() -> None:
    wake("webhooks.tasks.deliver_due")


def _require_oauth(integration: Integration) -> None:
    if not integration.is_oauth:
        raise ApiError("not_found")


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isascii() and char.isprintable())[:80]
