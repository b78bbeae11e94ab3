"""What Posz says to a merchant's OpenID Connect provider, all of it through the HTTP door, and the
checks that an ID token has to pass.

Discovery and keys are remembered for an hour. A token that names an unknown key has them fetched
again, at most once a minute, so that a made-up token can't make Posz knock all the time.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from django.core.cache import cache
from django.core.exceptions import ValidationError
from jwt.exceptions import (
    ExpiredSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    PyJWTError,
)
from oauthlib.common import add_params_to_uri
from oauthlib.oauth2 import WebApplicationClient

from catalog.addresses import check_url
from catalog.verification import Outcome
from dispatch import door
from installs.identity_provider import Claims, IdentityProvider, ProviderError, Secrets, Service

TIMEOUT_SECONDS = 5
REMEMBERED_SECONDS = 3600
REFETCH_SECONDS = 60
DOWN_SECONDS = 30
LEEWAY_SECONDS = 60
LONGEST_TOKEN = 32 * 1024
LONGEST_SUBJECT = 255
LEAST_RSA_BITS = 2048
# What a key must be like for each algorithm: https://www.rfc-editor.org/rfc/rfc7518#section-3.1
ALGORITHMS: dict[str, dict[str, str]] = {
    "RS256": {"kty": "RSA"},
    "ES256": {"kty": "EC", "crv": "P-256"},
}
REQUIRED = ["iss", "sub", "aud", "exp", "iat", "nonce"]
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
PROBLEMS: tuple[tuple[type[PyJWTError], str], ...] = (
    (ExpiredSignatureError, "token_expired"),
    (InvalidIssuerError, "wrong_issuer"),
    (InvalidAudienceError, "wrong_audience"),
)


class Provider(IdentityProvider):
    def departure(self, service: Service, secrets: Secrets, redirect_uri: str) -> str:
        """https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest"""
        client = WebApplicationClient(service.client_id)
        asked = {
            "response_type": "code",
            "client_id": service.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(dict.fromkeys(("openid", "email", "profile", *service.scopes))),
            "state": secrets.state,
            "nonce": secrets.nonce,
            "code_challenge": client.create_code_challenge(secrets.verifier, "S256"),
            "code_challenge_method": "S256",
        }
        address = discovery(service.issuer)["authorization_endpoint"]
        return str(add_params_to_uri(address, asked.items()))

    def check_issuer(self, service: Service, told: str | None) -> None:
        """https://www.rfc-editor.org/rfc/rfc9207#section-2.4"""
        document = discovery(service.issuer)
        is_promised = document.get("authorization_response_iss_parameter_supported") is True
        if told != service.issuer and (told is not None or is_promised):
            raise ProviderError("wrong_issuer")

    def claims(self, service: Service, secrets: Secrets, redirect_uri: str, code: str) -> Claims:
        answer = _exchange(service, secrets, redirect_uri, code)
        token = answer.get("id_token")
        if not isinstance(token, str) or len(token) > LONGEST_TOKEN:
            raise ProviderError("nonsense")
        told = verified(service, token)
        _check_binding(told, secrets.nonce, answer.get("access_token"))
        email, name = told.get("email"), told.get("name")
        return Claims(
            subject=told["sub"],
            email=email.lower() if isinstance(email, str) else "",
            is_email_verified=told.get("email_verified") is True,
            name=name if isinstance(name, str) else "",
            everything=told,
        )

    def is_down(self, service: Service) -> bool:
        """Asked anew at most every half minute.

        What the token endpoint answers does not count, only that it does not answer: a stranger may
        send it any code, and could so make it fail.
        """
        key = _key("down", service.issuer)
        verdict = cache.get(key)
        if verdict is None:
            verdict = outcome_of(service.issuer) is Outcome.PARTNER_DOWN
            cache.set(key, verdict, DOWN_SECONDS)
        return bool(verdict)


def outcome_of(issuer: str) -> Outcome:
    """Whether a provider of this name answers and publishes keys, now. The client is proved by the
    first sign-in only."""
    try:
        _fetched_keys(issuer, is_fresh=True)
    except ProviderError as error:
        return Outcome.PARTNER_DOWN if error.is_down else Outcome.WRONG_ADDRESS
    return Outcome.FOUND


def discovery(issuer: str, *, is_fresh: bool = False) -> dict[str, Any]:
    """https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfigurationValidation"""
    known = None if is_fresh else cache.get(_key("discovery", issuer))
    if isinstance(known, dict):
        return known
    document = _get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise ProviderError("wrong_issuer")
    for name in ENDPOINTS:
        try:
            check_url(document.get(name))  # type: ignore[arg-type]
        except (ValidationError, TypeError, AttributeError):
            raise ProviderError("address_refused") from None
    cache.set(_key("discovery", issuer), document, REMEMBERED_SECONDS)
    return document


def verified(service: Service, token: str) -> dict[str, Any]:
    """The claims of an ID token: https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation

    Only signatures by a published key count. HS256 is refused because the public key could pass for
    its secret, `none` because it is no signature.
    """
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise ProviderError("token_unsigned")
        told = jwt.decode(
            token,
            _signing_key(service.issuer, algorithm, header.get("kid")),
            algorithms=[algorithm],
            issuer=service.issuer,
            audience=service.client_id,
            leeway=LEEWAY_SECONDS,
            options={"require": REQUIRED},
        )
    except PyJWTError as error:
        known = (code for kind, code in PROBLEMS if isinstance(error, kind))
        raise ProviderError(next(known, "token_refused")) from None
    several = isinstance(told["aud"], list) and len(told["aud"]) > 1
    if told.get("azp", None if several else service.client_id) != service.client_id:
        raise ProviderError("wrong_audience")
    if not 0 < len(told["sub"]) <= LONGEST_SUBJECT or not told["sub"].isprintable():
        raise ProviderError("token_refused")
    return dict(told)


def _check_binding(told: Mapping[str, Any], nonce: str, access_token: Any) -> None:
    """That the token is of this trip, and beside the access token that it came with."""
    if not _is_same(told["nonce"], nonce):
        raise ProviderError("wrong_nonce")
    if "at_hash" in told:
        # Both algorithms hash with SHA-256.
        half = hashlib.sha256(str(access_token).encode()).digest()[:16]
        wanted = base64.urlsafe_b64encode(half).rstrip(b"=").decode()
        if not _is_same(told["at_hash"], wanted):
            raise ProviderError("token_refused")


def _is_same(one: Any, other: str) -> bool:
    return isinstance(one, str) and hmac.compare_digest(one.encode(), other.encode())


def _signing_key(issuer: str, algorithm: str, kid: Any) -> Any:
    keys = cache.get(_key("keys", issuer))
    if isinstance(keys, list):
        found = _chosen(keys, algorithm, kid)
        if found is not None or not cache.add(_key("refetch", issuer), 1, REFETCH_SECONDS):
            return _usable(found, algorithm)
        # The address of the keys may have moved with them.
        discovery(issuer, is_fresh=True)
    return _usable(_chosen(_fetched_keys(issuer), algorithm, kid), algorithm)


def _fetched_keys(issuer: str, *, is_fresh: bool = False) -> list[Any]:
    keys = _get(discovery(issuer, is_fresh=is_fresh)["jwks_uri"]).get("keys")
    if not isinstance(keys, list):
        raise ProviderError("nonsense")
    cache.set(_key("keys", issuer), keys, REMEMBERED_SECONDS)
    return keys


def _chosen(keys: list[Any], algorithm: str, kid: Any) -> dict[str, Any] | None:
    """The key that the token names; where it names none, the only one that fits."""
    fitting = [
        key
        for key in keys
        if isinstance(key, dict)
        and ALGORITHMS[algorithm].items() <= key.items()
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (kid is None or key.get("kid") == kid)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _usable(key: dict[str, Any] | None, algorithm: str) -> Any:
    if key is None:
        raise ProviderError("token_refused")
    public = jwt.PyJWK(key, algorithm=algorithm).key
    if isinstance(public, RSAPublicKey) and public.key_size < LEAST_RSA_BITS:
        raise ProviderError("token_refused")
    return public


def _exchange(service: Service, secrets: Secrets, redirect_uri: str, code: str) -> dict[str, Any]:
    """https://openid.net/specs/openid-connect-core-1_0.html#TokenRequest"""
    document = discovery(service.issuer)
    body = WebApplicationClient(service.client_id).prepare_request_body(
        code=code,
        redirect_uri=redirect_uri,
        code_verifier=secrets.verifier,
        include_client_id=False,
    )
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if _takes_basic(document):
        pair = f"{quote_plus(service.client_id)}:{quote_plus(service.client_secret)}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    else:
        own = {"client_id": service.client_id, "client_secret": service.client_secret}
        body = f"{body}&{urlencode(own)}"
    try:
        reply = _call("POST", document["token_endpoint"], headers, body)
    except ProviderError as error:
        if error.is_down:
            cache.set(_key("down", service.issuer), True, DOWN_SECONDS)
        raise
    return _document(reply)


def _takes_basic(document: Mapping[str, Any]) -> bool:
    methods = document.get("token_endpoint_auth_methods_supported")
    return not isinstance(methods, list) or "client_secret_basic" in methods


def _get(url: str) -> dict[str, Any]:
    reply = _call("GET", url)
    if reply.status >= 500 or reply.status == 429:
        raise ProviderError("upstream_error", is_down=True)
    return _document(reply)


def _call(
    method: str, url: str, headers: Mapping[str, str] | None = None, body: str = ""
) -> door.Reply:
    try:
        return door.call(
            method,
            url,
            headers={"Accept": "application/json", **(headers or {})},
            body=body.encode() if body else None,
            timeout_seconds=TIMEOUT_SECONDS,
        )
    except door.DoorError as error:
        is_down = isinstance(error, door.UnreachableError | door.DeadlineError)
        raise ProviderError(error.code, is_down=is_down) from None


def _document(reply: door.Reply) -> dict[str, Any]:
    if reply.status >= 500:
        raise ProviderError("upstream_error")
    try:
        document = reply.json()
    except door.NonsenseError:
        raise ProviderError("nonsense") from None
    if not isinstance(document, dict):
        raise ProviderError("nonsense")
    if reply.status != 200:
        # https://www.rfc-editor.org/rfc/rfc6749#section-5.2
        is_key = document.get("error") in ("invalid_client", "unauthorized_client")
        raise ProviderError("client_refused" if is_key else "code_refused")
    return document


def _key(what: str, issuer: str) -> str:
    return f"openid:{what}:{hashlib.sha256(issuer.encode()).hexdigest()}"
