"""What Posz says to a partner's OAuth server, all of it through the HTTP door, and the one way to an
access token.

A refresh is claimed, committed, made and reported: never two at once, because a partner that rotates
takes a second use of one refresh token for theft and ends the whole grant.
"""

import base64
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

from django.utils import timezone
from oauthlib.oauth2 import WebApplicationClient

from catalog.models import Integration
from catalog.oauth import at_pointer
from dispatch import door
from dispatch.contracts import AuthError, TemporaryError
from installs import grants
from installs.credentials import client_secret
from installs.models import Install, OAuthGrant
from installs.oauth_client import Account, OAuthClient, OAuthError, Tokens

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10
# How long one process waits for what another one is fetching.
WAIT_SECONDS = 12.0
POLL_SECONDS = 0.05
MOST_PER_RUN = 100
MOST_LIFE_SECONDS = 10 * 365 * 24 * 3600
# A token has to stand in a header: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
TOKEN = re.compile(r"[!-~]{1,8192}")
# https://www.rfc-editor.org/rfc/rfc6749#section-5.2
OUR_FAULT = ("invalid_client", "unauthorized_client")


class Client(OAuthClient):
    def exchange(
        self, integration: Integration, *, code: str, verifier: str, redirect_uri: str
    ) -> Tokens:
        client = WebApplicationClient(integration.oauth.client_id)
        body = client.prepare_request_body(
            code=code, redirect_uri=redirect_uri, code_verifier=verifier, include_client_id=False
        )
        return self._tokens(integration, body)

    def refresh(self, integration: Integration, refresh_token: str) -> Tokens:
        client = WebApplicationClient(integration.oauth.client_id)
        return self._tokens(integration, client.prepare_refresh_body(refresh_token=refresh_token))

    def account(self, integration: Integration, tokens: Tokens) -> Account:
        settings = integration.oauth
        if not settings.account_url:
            found = Account(tokens.account_id, tokens.account_name)
        else:
            bearer = {"Authorization": f"Bearer {tokens.access_token}"}
            document = _answer("GET", settings.account_url, bearer)
            found = Account(
                at_pointer(document, settings.account_pointer),
                at_pointer(document, settings.account_name_pointer),
            )
        if not found.id:
            raise OAuthError("no_account")
        return found

    def revoke(self, integration: Integration, tokens: dict[str, str]) -> None:
        """https://www.rfc-editor.org/rfc/rfc7009#section-2.1"""
        if not integration.is_oauth or not integration.oauth.revoke_url:
            return
        for hint in ("refresh_token", "access_token"):
            if tokens[hint]:
                form = urlencode({"token": tokens[hint], "token_type_hint": hint})
                headers, body = _as_client(integration, form)
                status = _call("POST", integration.oauth.revoke_url, headers, body).status
                if status >= 300:
                    raise OAuthError("upstream_error" if status >= 500 else "refused")

    def _tokens(self, integration: Integration, form: str) -> Tokens:
        headers, body = _as_client(integration, form)
        answer = _answer("POST", integration.oauth.token_url, headers, body)
        return _checked(integration, answer)


def access_token_for(install: Install, *, wait_seconds: float = WAIT_SECONDS) -> str:
    """A token that the partner accepts now, refreshed here or by whoever is at it already.

    Never inside a transaction. Raises AuthError where only the merchant can mend the connection, and
    TemporaryError where the partner gives no new token at the moment.
    """
    give_up_at = time.monotonic() + wait_seconds
    while True:
        grant = OAuthGrant.objects.filter(installs=install.pk).first()
        if grant is None or grant.needs_reconnect:
            raise AuthError("the merchant has to connect again")
        now = timezone.now()
        if not grant.is_expired(now):
            token: str = grant.tokens["access_token"]
            return token
        is_at_work = grant.lease_until is not None and grant.lease_until > now
        if not is_at_work and (grant.refresh_due_at is None or grant.refresh_due_at > now):
            raise TemporaryError("the partner gave no new token")
        if time.monotonic() >= give_up_at:
            raise TemporaryError("the partner took too long for a new token")
        if not refresh(grant):
            time.sleep(POLL_SECONDS)


def current_token(install: Install) -> str:
    """The token of now, for a till that can't wait for a fresh one: those are fetched in time."""
    grant = OAuthGrant.objects.filter(installs=install.pk).first()
    if grant is None or grant.needs_reconnect:
        raise AuthError("the merchant has to connect again")
    if grant.is_expired(timezone.now()):
        raise TemporaryError("the partner's token has ended")
    token: str = grant.tokens["access_token"]
    return token


def refresh(grant: OAuthGrant) -> bool:
    """Fetch new tokens, unless somebody else is at it. True where an attempt was made."""
    claimed = grants.claim_refresh(grant.pk)
    if claimed is None:
        return False
    try:
        token = claimed.tokens["refresh_token"]
        if not token:
            raise OAuthError("no_refresh_token", is_final=True)
        tokens = Client().refresh(claimed.integration, token)
    except OAuthError as error:
        logger.info("Refresh of %s failed: %s", claimed.pk, error.code)
        grants.refresh_failed(claimed, error.code, is_final=error.is_final)
    else:
        grants.refreshed(claimed, tokens)
    return True


def refresh_due() -> int:
    """Refresh what expires soon; return how many attempts were made."""
    due = OAuthGrant.objects.due_for_refresh(timezone.now()).order_by("refresh_due_at")
    return sum(_tried(refresh, grant) for grant in due[:MOST_PER_RUN])


def revoke(grant: OAuthGrant) -> bool:
    """Give its tokens back, unless somebody else is at it. True where an attempt was made."""
    claimed = grants.claim_revocation(grant.pk)
    if claimed is None:
        return False
    try:
        Client().revoke(claimed.integration, claimed.tokens)
    except OAuthError as error:
        grants.revoke_failed(claimed, error.code)
    else:
        grants.revoked(claimed)
    return True


def revoke_due() -> int:
    """Give back the tokens that no install uses any more; return how many were tried."""
    due = OAuthGrant.objects.due_for_revocation(timezone.now()).order_by("revoke_due_at")
    return sum(_tried(revoke, grant) for grant in due[:MOST_PER_RUN])


def _tried(act: Callable[[OAuthGrant], bool], grant: OAuthGrant) -> bool:
    """A row that breaks, such as one that does not decrypt, must not keep those behind it waiting.
    It is tried again when its lease is over."""
    try:
        return act(grant)
    except Exception:
        logger.exception("%s of %s broke", act.__name__, grant.pk)
        return True


def _as_client(integration: Integration, form: str) -> tuple[dict[str, str], str]:
    """Headers and body by which Posz proves who it is.

    https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
    """
    client_id, secret = integration.oauth.client_id, client_secret(integration.slug)
    if not secret:
        raise OAuthError("no_client_secret")
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    if integration.oauth.token_auth == "post":  # noqa: S105 - the name of a method
        return headers, f"{form}&{urlencode({'client_id': client_id, 'client_secret': secret})}"
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
    return headers | {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}, form


def _call(method: str, url: str, headers: Mapping[str, str], body: str = "") -> door.Reply:
    try:
        return door.call(
            method,
            url,
            headers=headers,
            body=body.encode() if body else None,
            timeout_seconds=TIMEOUT_SECONDS,
        )
    except door.DoorError as error:
        raise OAuthError(error.code) from None


def _answer(method: str, url: str, headers: Mapping[str, str], body: str = "") -> dict[str, Any]:
    reply = _call(method, url, {**headers, "Accept": "application/json"}, body)
    if reply.status >= 500 or reply.status == 429:
        raise OAuthError("upstream_error")
    try:
        document = reply.json()
    except door.NonsenseError:
        raise OAuthError("refused" if 400 <= reply.status < 500 else "nonsense") from None
    if not isinstance(document, dict):
        raise OAuthError("nonsense")
    if reply.status != 200 or "error" in document:
        raise _refusal(reply.status, document.get("error"))
    return document


def _refusal(status: int, code: Any) -> OAuthError:
    if code == "invalid_grant":
        return OAuthError("refused", is_final=True)
    if code in OUR_FAULT:
        return OAuthError("unauthorized")
    return OAuthError("refused" if 400 <= status < 500 else "nonsense")


def _checked(integration: Integration, answer: dict[str, Any]) -> Tokens:
    """https://www.rfc-editor.org/rfc/rfc6749#section-5.1"""
    access, refresh_token = answer.get("access_token"), answer.get("refresh_token") or ""
    if not _is_token(access) or str(answer.get("token_type")).lower() != "bearer":
        raise OAuthError("nonsense")
    if refresh_token and not _is_token(refresh_token):
        raise OAuthError("nonsense")
    scope = answer.get("scope")
    settings = integration.oauth
    return Tokens(
        access_token=str(access),
        refresh_token=refresh_token,
        expires_in=_seconds(answer.get("expires_in")),
        scopes=tuple(scope.split()) if isinstance(scope, str) else None,
        account_id=at_pointer(answer, settings.account_pointer),
        account_name=at_pointer(answer, settings.account_name_pointer),
    )


def _is_token(value: Any) -> bool:
    return isinstance(value, str) and TOKEN.fullmatch(value) is not None


def _seconds(value: Any) -> int | None:
    """Partners also write the number as a text. What is no number says nothing."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value, re.ASCII):
        value = int(value)
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        return None
    return min(int(value), MOST_LIFE_SECONDS)
