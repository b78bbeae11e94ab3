"""ID tokens that are wrong, each in one way, for a client to refuse."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

Claims = dict[str, Any]
EC_KEY = ec.generate_private_key(ec.SECP256R1())
STRANGE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def new_pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def public_pem(pem: str) -> bytes:
    key = serialization.load_pem_private_key(pem.encode(), None)
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def signed(claims: Claims, kid: str, key: Any, algorithm: str = "RS256") -> str:
    return jwt.encode(claims, key, algorithm, headers={"kid": kid})


def changed(**over: Any) -> "Spoil":
    return lambda claims, kid, pem: signed(claims | over, kid, pem)


def moved(name: str, seconds: int) -> "Spoil":
    return lambda claims, kid, pem: signed(claims | {name: int(time.time()) + seconds}, kid, pem)


def without(name: str) -> "Spoil":
    return lambda claims, kid, pem: signed(
        {key: value for key, value in claims.items() if key != name}, kid, pem
    )


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(algorithm: str, claims: Claims, kid: str) -> str:
    head = {"alg": algorithm, "typ": "JWT", "kid": kid}
    return ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))


def signed_by_public_key(claims: Claims, kid: str, pem: str) -> str:
    """HS256 with the public key as its secret, which every library refuses to make."""
    text = unsigned("HS256", claims, kid)
    return f"{text}.{encoded(hmac.digest(public_pem(pem), text.encode(), hashlib.sha256))}"


Spoil = Callable[[Claims, str, str], str]
# By the claims, the key id and the signing key of a token that was right.
SPOILED: dict[str, Spoil] = {
    "issuer": changed(iss="https://evil.example"),
    "audience": changed(aud="another-client"),
    "several audiences": changed(aud=["posz", "other"]),
    "authorized party": changed(azp="other"),
    "nonce": changed(nonce="x" * 43),
    "no nonce": without("nonce"),
    "no subject": changed(sub=""),
    "at_hash": changed(at_hash="x" * 22),
    "expired": moved("exp", -120),
    "from the future": moved("iat", 600),
    "unsigned": lambda claims, kid, _pem: f"{unsigned('none', claims, kid)}.",
    "public key": signed_by_public_key,
    "client secret": lambda claims, kid, _pem: signed(claims, kid, "s" * 32, "HS256"),
    "another key": lambda claims, kid, _pem: signed(claims, kid, STRANGE_KEY),
    "unknown key": lambda claims, _kid, _pem: signed(claims, "unknown", STRANGE_KEY),
    "wrong kind": lambda claims, kid, pem: signed(claims, kid, pem, "RS384"),
    # Not wrong: the other algorithm that is allowed.
    "elliptic": lambda claims, _kid, _pem: signed(claims, "elliptic", EC_KEY, "ES256"),
}
