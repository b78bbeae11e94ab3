"""How Posz proves itself to a partner beside its signature: headers, chosen on the catalog row.

Static keys, and tokens that are made or fetched. Fetched ones are kept in this process until shortly
before they end, and dropped as soon as a partner refuses one.
"""

import base64
import hashlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import jwt

from dispatch import door
from dispatch.contracts import AuthError, Call, PermanentError, TemporaryError

JWT_SECONDS = 300
# A token that ends sooner than this may end on its way.
LEAST_TOKEN_SECONDS = 30
DEFAULT_TOKEN_SECONDS = 300
MOST_TOKENS = 1_000
TOKEN = re.compile(r"[!-~]{1,8192}")

TimeLeft = Callable[[], float]


class FetchedTokens:
    """Tokens by what they were fetched with. The secrets themselves are not kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def get(self, key: str) -> str | None:
        with self._lock:
            token, good_until = self._kept.get(key, ("", 0.0))
            return token if time.monotonic() < good_until else None

    def put(self, key: str, token: str, seconds: float) -> None:
        with self._lock:
            self._kept[key] = token, time.monotonic() + seconds - LEAST_TOKEN_SECONDS
            if len(self._kept) > MOST_TOKENS:
                self._kept.popitem(last=False)

    def drop(self, key: str) -> bool:
        """Whether there was one: then a fresh one may be worth another try."""
        with self._lock:
            return self._kept.pop(key, None) is not None


tokens = FetchedTokens()


def auth_headers(call: Call, time_left: TimeLeft, age_seconds: int = 0) -> dict[str, str]:
    """The headers that go along; none where Posz's own signature is all there is.

    `age_seconds` is how long ago a token that is made here was made.
    """
    auth, config = call.integration.request_auth, call.install.config
    match auth.get("scheme"):
        case "jwt":
            return _bearer(_signed(call, auth, _key(config, auth["field"]).encode(), age_seconds))
        case "platform_jwt":
            return _bearer(_signed(call, auth, _platform_key(call), age_seconds))
    found = key_headers(auth, config, time_left)
    return found or (_bearer(call.access_token) if call.access_token else {})


def key_headers(
    auth: Mapping[str, Any], config: Mapping[str, Any], time_left: TimeLeft
) -> dict[str, str]:
    """The headers that carry a merchant's own key, or the token it was given for it; none for {}."""
    match auth.get("scheme"):
        case "bearer":
            return _bearer(_key(config, auth["field"]))
        case "header":
            return {auth["name"]: _key(config, auth["field"])}
        case "basic":
            pair = f"{_key(config, auth['user_field'])}:{_key(config, auth['password_field'])}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        case "client_credentials":
            return _bearer(_fetched(auth, config, time_left))
    return {}


def was_refused(call: Call) -> bool:
    """The partner said 401. True where that may have been the age of a token that was kept."""
    auth = call.integration.request_auth
    if auth.get("scheme") != "client_credentials":
        return False
    return tokens.drop(_cache_key(auth, call.install.config))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _key(config: Mapping[str, Any], name: str) -> str:
    value = config.get(name)
    if not isinstance(value, str) or not value:
        raise AuthError("the merchant's key is not set")
    return value


def _platform_key(call: Call) -> bytes:
    key = call.keys.get("jwt")
    if not key:
        raise AuthError("no JWT secret is set")
    return key


def _signed(call: Call, auth: Mapping[str, Any], key: bytes, age_seconds: int) -> str:
    """Fresh for each request: https://www.rfc-editor.org/rfc/rfc7519#section-4.1"""
    now = int(time.time()) - age_seconds
    claims = {
        "iss": auth["issuer"],
        "aud": auth["audience"],
        "sub": str(call.install.pk),
        "iat": now,
        "exp": now + JWT_SECONDS,
        "jti": uuid4().hex,
        "merchant_id": str(call.merchant.pk),
    }
    try:
        return jwt.encode(claims, key, algorithm="HS256")
    except (jwt.InvalidKeyError, TypeError):
        raise AuthError("the key can't sign a token") from None


def _cache_key(auth: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    parts = (
        auth["token_url"],
        auth["scope"],
        _key(config, auth["client_id_field"]),
        _key(config, auth["client_secret_field"]),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _fetched(auth: Mapping[str, Any], config: Mapping[str, Any], time_left: TimeLeft) -> str:
    key = _cache_key(auth, config)
    token = tokens.get(key)
    if token is None:
        token, seconds = _fetch(auth, config, time_left)
        tokens.put(key, token, seconds)
    return token


def _fetch(
    auth: Mapping[str, Any], config: Mapping[str, Any], time_left: TimeLeft
) -> tuple[str, float]:
    """https://www.rfc-editor.org/rfc/rfc6749#section-4.4"""
    form = {"grant_type": "client_credentials"} | (
        {"scope": auth["scope"]} if auth["scope"] else {}
    )
    pair = f"{_key(config, auth['client_id_field'])}:{_key(config, auth['client_secret_field'])}"
    try:
        reply = door.call(
            "POST",
            auth["token_url"],
            headers={
                "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            body=urlencode(form).encode(),
            timeout_seconds=time_left(),
        )
        if reply.status in {400, 401, 403}:
            raise AuthError(f"the token address answered {reply.status}")
        if reply.status != 200:
            raise TemporaryError(f"the token address answered {reply.status}")
        return _token_of(reply.json())
    except (door.NonsenseError, door.TooLargeError) as error:
        raise PermanentError(f"the token address: {error.code}") from None
    except door.DoorError as error:
        raise TemporaryError(f"the token address: {error.code}") from None


def _token_of(answer: Any) -> tuple[str, float]:
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise PermanentError("the token address gave no usable token")
    seconds = answer.get("expires_in", DEFAULT_TOKEN_SECONDS)
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return token, seconds if is_number else DEFAULT_TOKEN_SECONDS
