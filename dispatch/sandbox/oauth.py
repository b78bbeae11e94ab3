"""The OAuth server of `demo-oauth`: consent page, codes, rotating refresh tokens, revocation.

It is strict where real ones are: exact redirect address, PKCE S256, codes good once and for a minute,
and a second use of a refresh token ends everything that came from the same consent.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote_plus, urlencode, urlsplit

from dispatch.sandbox import pages
from dispatch.sandbox.messages import Answer, RefusalError, Request, json_answer

SLUG = "demo-oauth"
CLIENT_ID = "posz-demo"
SCOPES = ("events:write",)
ACCOUNTS = {"a": "Maple Roastery (A)", "b": "Oat Bakery (B)"}
CODE_SECONDS = 60
TOKEN_SECONDS = 3600
MOST_KEPT = 10_000
ASKED = (
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
)


@dataclass(slots=True)
class Family:
    """Everything that came from one consent."""

    account: str
    scope: str
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    family: Family
    challenge: str
    redirect_uri: str
    good_until: float


@dataclass(slots=True)
class Token:
    family: Family
    good_until: float
    is_used: bool = False


@dataclass(slots=True)
class Issued:
    codes: dict[str, Code] = field(default_factory=dict)
    access: dict[str, Token] = field(default_factory=dict)
    refresh: dict[str, Token] = field(default_factory=dict)


class DemoOAuth:
    def __init__(self, client_secrets: Callable[[], list[bytes]], hub: str) -> None:
        self._client_secrets = client_secrets
        self.redirect_uri = f"{hub}/integrations/{SLUG}/callback"
        self._lock = threading.Lock()
        self._issued = Issued()

    def show_consent(self, request: Request) -> Answer:
        asked = {name: request.parameter(name) or "" for name in ASKED}
        problem = self._problem(asked)
        if problem:
            return pages.consent_page(request, {}, problem=problem)
        return pages.consent_page(request, asked, accounts=ACCOUNTS, scopes=asked["scope"].split())

    def decide(self, request: Request) -> Answer:
        form = request.form()
        asked = {name: form.get(name, "") for name in ASKED}
        problem = self._problem(asked)
        if problem:
            return pages.consent_page(request, {}, problem=problem)
        answer = {"state": asked["state"]}
        if form.get("act") != "allow" or form.get("account") not in ACCOUNTS:
            return _see_other(self.redirect_uri, answer | {"error": "access_denied"})
        code = secrets.token_urlsafe(24)
        with self._lock:
            family = Family(form["account"], asked["scope"])
            self._issued.codes[code] = Code(
                family, asked["code_challenge"], asked["redirect_uri"], time.time() + CODE_SECONDS
            )
            _trim(self._issued.codes)
        return _see_other(self.redirect_uri, answer | {"code": code})

    def token(self, request: Request) -> Answer:
        form = request.form()
        if not self._is_client(request, form):
            return _error(401, "invalid_client")
        with self._lock:
            match form.get("grant_type"):
                case "authorization_code":
                    family = self._use_code(form)
                case "refresh_token":
                    family = self._use_refresh(form.get("refresh_token", ""))
                case _:
                    return _error(400, "unsupported_grant_type")
            return self._new_tokens(family) if family else _error(400, "invalid_grant")

    def revoke(self, request: Request) -> Answer:
        form = request.form()
        if not self._is_client(request, form):
            return _error(401, "invalid_client")
        with self._lock:
            token = form.get("token", "")
            found = self._issued.refresh.get(token) or self._issued.access.get(token)
            if found:
                found.family.is_over = True
        return Answer(200)

    def me(self, request: Request) -> Answer:
        account = self.account_of(request)
        if account is None:
            return _error(401, "invalid_token")
        return json_answer(200, {"id": f"demo-account-{account}", "name": ACCOUNTS[account]})

    def account_of(self, request: Request) -> str | None:
        """Whose access token the request carries, None where it carries no good one."""
        kind, _, value = (request.header("Authorization") or "").partition(" ")
        with self._lock:
            token = self._issued.access.get(value) if kind.lower() == "bearer" else None
            is_good = token and not token.family.is_over and token.good_until > time.time()
            return token.family.account if token and is_good else None

    def _problem(self, asked: dict[str, str]) -> str:
        """Without the right client and address nobody may be sent anywhere."""
        if asked["client_id"] != CLIENT_ID:
            return "client_id"
        if asked["redirect_uri"] != self.redirect_uri:
            return "redirect_uri"
        if asked["response_type"] != "code":
            return "response_type"
        if asked["code_challenge_method"] != "S256" or len(asked["code_challenge"]) != 43:
            return "code_challenge"
        return "" if set(asked["scope"].split()) == set(SCOPES) else "scope"

    def _is_client(self, request: Request, form: dict[str, str]) -> bool:
        client_id, secret = _basic(request) or (
            form.get("client_id", ""),
            form.get("client_secret", ""),
        )
        known = [
            hmac.compare_digest(key, secret.encode("utf-8", "replace"))
            for key in self._client_secrets()
        ]
        return client_id == CLIENT_ID and any(known)

    def _use_code(self, form: dict[str, str]) -> Family | None:
        code = self._issued.codes.pop(form.get("code", ""), None)
        if code is None or code.good_until < time.time():
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        is_right = challenge == code.challenge and form.get("redirect_uri") == code.redirect_uri
        return code.family if is_right else None

    def _use_refresh(self, value: str) -> Family | None:
        token = self._issued.refresh.get(value)
        if token is None or token.family.is_over:
            return None
        if token.is_used:
            token.family.is_over = True
            return None
        token.is_used = True
        return token.family

    def _new_tokens(self, family: Family) -> Answer:
        access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._issued.access[access] = Token(family, time.time() + TOKEN_SECONDS)
        self._issued.refresh[refresh] = Token(family, float("inf"))
        _trim(self._issued.access)
        _trim(self._issued.refresh)
        return json_answer(
            200,
            {
                "access_token": access,
                "refresh_token": refresh,
                "token_type": "Bearer",
                "expires_in": TOKEN_SECONDS,
                "scope": family.scope,
            },
        )


def require_token(provider: DemoOAuth, request: Request) -> None:
    if provider.account_of(request) is None:
        raise RefusalError(401, "invalid_token", "The access token is not right.", "Authorization")


def _basic(request: Request) -> tuple[str, str] | None:
    kind, _, value = (request.header("Authorization") or "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return unquote_plus(client_id), unquote_plus(secret)


def _trim(kept: dict[str, Code] | dict[str, Token]) -> None:
    while len(kept) > MOST_KEPT:
        del kept[next(iter(kept))]


def _error(status: int, code: str) -> Answer:
    return json_answer(status, {"error": code})


def _see_other(address: str, parameters: dict[str, str]) -> Answer:
    joint = "&" if urlsplit(address).query else "?"
    return Answer(303, headers={"Location": f"{address}{joint}{urlencode(parameters)}"})
