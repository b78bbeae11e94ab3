"""Carries out inbound schemes: whether a request is signed by one of the keys, and by which.

Pure functions over plain data. Whatever a request holds, `verify` answers and never raises; every
key is tried, and digests are compared in constant time, as texts, so that there is one way to write
each of them.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from catalog import strict_json
from catalog.inbound_parts import Reading, SignedRequest, claims_of, decoded_url
from catalog.inbound_scheme import Kind, Scheme, Signature

MAX_SIGNATURES = 20
MAX_SIGNATURE_BYTES = 8_192
# https://www.rfc-editor.org/rfc/rfc7518#section-3.2
JWT_ALGORITHMS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}

# Whether a bearer token is one that Posz issued and still accepts.
IsIssued = Callable[[str], bool]


class Outcome(StrEnum):
    """`CONFIRM`: let in as a hint only; ask the provider before anything is done."""

    SIGNED = "signed"
    CONFIRM = "confirm"
    REFUSED = "refused"


class Reason(StrEnum):
    NO_KEY = "no_key"
    NO_SIGNATURE = "no_signature"
    NOT_READABLE = "not_readable"
    PART_MISSING = "part_missing"
    TIME_MISSING = "time_missing"
    TOO_OLD = "too_old"
    TOO_NEW = "too_new"
    NOT_SAME = "not_same"
    MISMATCH = "mismatch"


class Verdict(NamedTuple):
    """`signers` are the places, among the keys that were given, of those that made the signature.

    `part` names the part of the scheme that a refusal is about, where it is about one.
    """

    outcome: Outcome
    signers: tuple[int, ...] = ()
    reason: Reason | None = None
    part: str = ""

    @property
    def is_signed(self) -> bool:
        """Whether the request may be believed as it is."""
        return self.outcome is Outcome.SIGNED

    @property
    def is_refused(self) -> bool:
        return self.outcome is Outcome.REFUSED


class RefusedError(Exception):
    """Why a request is not signed; never leaves `verify`."""

    def __init__(self, reason: Reason, part: str = "") -> None:
        self.reason = reason
        self.part = part
        super().__init__(reason)


def verify(
    scheme: Scheme,
    request: SignedRequest,
    keys: Sequence[bytes],
    *,
    is_issued: IsIssued | None = None,
) -> Verdict:
    """Keys are the stored bytes; an empty one opens nothing.

    `is_issued` is asked for schemes of kind `issued`, and there alone.
    """
    try:
        signers = _signers(scheme, Reading(request), keys, is_issued)
    except RefusedError as error:
        return Verdict(Outcome.REFUSED, reason=error.reason, part=error.part)
    return Verdict(Outcome.CONFIRM if scheme.must_confirm else Outcome.SIGNED, signers)


def _signers(
    scheme: Scheme, reading: Reading, keys: Sequence[bytes], is_issued: IsIssued | None
) -> tuple[int, ...]:
    if scheme.signature is None:
        return ()
    given = received(scheme.signature, reading)
    check_time(scheme, reading)
    if scheme.kind is Kind.ISSUED:
        _require_issued(given, is_issued)
        signers: tuple[int, ...] = ()
    else:
        signers = _matching(scheme, reading, given, keys)
    check_same(scheme, reading)
    return signers


def _matching(
    scheme: Scheme, reading: Reading, given: Sequence[bytes], keys: Sequence[bytes]
) -> tuple[int, ...]:
    usable = [decoded_key(key, scheme.key_encoding) for key in keys]
    if not any(usable):
        raise RefusedError(Reason.NO_KEY)
    match = CHECKS[scheme.kind]
    # No early end, so that the time taken does not tell which key or which signature matched.
    signers = [
        index for index, key in enumerate(usable) if key and match(scheme, reading, given, key)
    ]
    if not signers:
        raise RefusedError(Reason.MISMATCH)
    return tuple(signers)


# The signature


def received(signature: Signature, reading: Reading) -> list[bytes]:
    """The signatures of a request, without their prefixes; at least one."""
    found: list[bytes] = []
    for place in signature.places:
        value = place.read(reading)
        if value is None or len(value) > MAX_SIGNATURE_BYTES:
            continue
        items = value.split(signature.separator) if signature.separator else [value]
        if len(items) > MAX_SIGNATURES:
            continue
        reading.items = items
        found += [bare for item in items if (bare := _bare(item, signature)) is not None]
    if not found:
        raise RefusedError(Reason.NO_SIGNATURE, ", ".join(place.text for place in signature.places))
    reading.signature = found[0]
    return found


def _bare(item: bytes, signature: Signature) -> bytes | None:
    if not item.endswith(signature.suffix):
        return None
    for prefix in signature.prefixes:
        if item.startswith(prefix):
            return item[len(prefix) : len(item) - len(signature.suffix)] or None
    return None


def encoded(digest: bytes, encoding: str) -> bytes:
    return digest.hex().encode() if encoding == "hex" else base64.b64encode(digest)


def _comparable(given: bytes, encoding: str) -> bytes:
    """Hex may come in either case; everything else has one spelling."""
    return given.lower() if encoding == "hex" else given


# What is signed


def message(scheme: Scheme, reading: Reading) -> bytes:
    """The bytes that are signed; `reading.key` must be set where the key is one of the parts."""
    values = []
    for part in scheme.signed:
        value = part.read(reading)
        if value is None:
            raise RefusedError(Reason.PART_MISSING, part.text)
        values.append(value)
    return values[0] if len(values) == 1 else scheme.joiner.join(values)


def check_time(scheme: Scheme, reading: Reading) -> None:
    fresh = scheme.freshness
    if fresh is None:
        return
    seconds = fresh.moment.read(reading)
    if seconds is None:
        raise RefusedError(Reason.TIME_MISSING, fresh.moment.at.text)
    age = reading.request.now - seconds
    if age > fresh.tolerance_seconds:
        raise RefusedError(Reason.TOO_OLD, fresh.moment.at.text)
    if age < -fresh.tolerance_seconds:
        raise RefusedError(Reason.TOO_NEW, fresh.moment.at.text)


def check_same(scheme: Scheme, reading: Reading) -> None:
    for left, right in scheme.same:
        values = left.read(reading), right.read(reading)
        if None in values or not hmac.compare_digest(values[0] or b"", values[1] or b""):
            raise RefusedError(Reason.NOT_SAME, left.text)


# Keys


def decoded_key(key: bytes, encoding: str) -> bytes:
    """The bytes that sign; empty for a key that can't be read."""
    if encoding == "utf-8":
        return key
    try:
        if encoding == "hex":
            return bytes.fromhex(key.decode("ascii"))
        return base64.b64decode(
            key.removeprefix(b"whsec_") if encoding == "whsec" else key, validate=True
        )
    except (ValueError, binascii.Error):
        return b""


@lru_cache(maxsize=256)
def rsa_key(pem: bytes) -> rsa.RSAPublicKey | None:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, rsa.RSAPublicKey) else None


# One key


def expected(scheme: Scheme, reading: Reading, key: bytes) -> bytes:
    """The signature that this key makes, encoded."""
    reading.key = key
    signed = message(scheme, reading)
    if scheme.kind is Kind.HMAC:
        digest = hmac.digest(key, signed, scheme.algorithm)
    else:
        digest = hashlib.new(scheme.algorithm, signed, usedforsecurity=True).digest()
    encoding = scheme.signature.encoding if scheme.signature else ""
    return encoded(digest, encoding)


def _is_mac(scheme: Scheme, reading: Reading, given: Sequence[bytes], key: bytes) -> bool:
    right = expected(scheme, reading, key)
    encoding = scheme.signature.encoding if scheme.signature else ""
    matches = [hmac.compare_digest(_comparable(item, encoding), right) for item in given]
    return any(matches)


def _is_rsa(scheme: Scheme, reading: Reading, given: Sequence[bytes], key: bytes) -> bool:
    public = rsa_key(key)
    if public is None:
        return False
    signed = message(scheme, reading)
    encoding = scheme.signature.encoding if scheme.signature else ""
    return any(_is_rsa_signature(public, signed, item, encoding) for item in given)


def _is_rsa_signature(key: rsa.RSAPublicKey, signed: bytes, given: bytes, encoding: str) -> bool:
    text = _comparable(given, encoding)
    raw = decoded_key(text, encoding)
    if encoded(raw, encoding) != text:
        return False
    try:
        key.verify(raw, signed, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _is_token(scheme: Scheme, _reading: Reading, given: Sequence[bytes], key: bytes) -> bool:
    encoding = scheme.signature.encoding if scheme.signature else ""
    right = encoded(key, encoding) if encoding else key
    matches = [hmac.compare_digest(_comparable(item, encoding), right) for item in given]
    return any(matches)


def _is_jwt(scheme: Scheme, reading: Reading, given: Sequence[bytes], key: bytes) -> bool:
    token = given[0]
    parts = jwt_parts(token) if len(given) == 1 else None
    if parts is None:
        raise RefusedError(Reason.NOT_READABLE)
    algorithm, signed, signature = parts
    if not hmac.compare_digest(hmac.digest(key, signed, algorithm), signature):
        return False
    _check_claims(claims_of(token), reading.request.now, scheme.leeway_seconds)
    return True


def jwt_parts(token: bytes) -> tuple[str, bytes, bytes] | None:
    """The hash, the signed bytes and the signature of a JWT that is signed with a shared key."""
    segments = token.split(b".")
    if len(segments) != 3:
        return None
    raw = [decoded_url(segment) for segment in segments]
    try:
        header = strict_json.loads(raw[0] or b"")
    except strict_json.StrictJSONError:
        return None
    name = header.get("alg") if isinstance(header, dict) and "crit" not in header else None
    algorithm = JWT_ALGORITHMS.get(name) if isinstance(name, str) else None
    if algorithm is None or raw[1] is None or raw[2] is None:
        return None
    return algorithm, b".".join(segments[:2]), raw[2]


def _check_claims(claims: dict[str, Any], now: float, leeway: int) -> None:
    """A token that never ends is not accepted: it could be sent again for ever."""
    ends, begins = claims.get("exp"), claims.get("nbf", claims.get("iat", 0))
    if not isinstance(ends, int | float) or not isinstance(begins, int | float):
        raise RefusedError(Reason.TIME_MISSING, "exp")
    if now >= ends + leeway:
        raise RefusedError(Reason.TOO_OLD, "exp")
    if now < begins - leeway:
        raise RefusedError(Reason.TOO_NEW, "nbf")


def _require_issued(given: Sequence[bytes], is_issued: IsIssued | None) -> None:
    if is_issued is None:
        raise RefusedError(Reason.NO_KEY)
    if len(given) != 1 or not given[0].isascii() or not is_issued(given[0].decode()):
        raise RefusedError(Reason.MISMATCH)


Check = Callable[[Scheme, Reading, Sequence[bytes], bytes], bool]
CHECKS: dict[Kind, Check] = {
    Kind.HMAC: _is_mac,
    Kind.DIGEST: _is_mac,
    Kind.RSA: _is_rsa,
    Kind.JWT: _is_jwt,
    Kind.TOKEN: _is_token,
}
