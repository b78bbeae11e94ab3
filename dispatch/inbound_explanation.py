"""Shows staff, step by step, why a sample request passes or fails its scheme.

What is shown is what the sender sent and digests of it: never a key, nor a part that is one. The
expected digest is a valid signature of this one sample, so only staff may see it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from catalog.inbound_parts import Part, Reading, SignedRequest, claims_of
from catalog.inbound_scheme import Kind, Scheme
from dispatch.inbound_verifier import (
    IsIssued,
    Outcome,
    Reason,
    RefusedError,
    Verdict,
    check_time,
    decoded_key,
    encoded,
    expected,
    received,
    verify,
)

TEXT_LENGTH = 400
HEX_BYTES = 32
SHORTEST_HIDDEN = 4
CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})

SENTENCES: dict[Reason, Promise] = {
    Reason.NO_KEY: gettext_lazy(
        "There is no key that can be used: check the key and its encoding."
    ),
    Reason.NO_SIGNATURE: gettext_lazy(
        "The signature is missing, sent twice or without its prefix."
    ),
    Reason.NOT_READABLE: gettext_lazy("The signature is not written as the scheme says."),
    Reason.PART_MISSING: gettext_lazy("This part is missing in the request, or sent twice."),
    Reason.TIME_MISSING: gettext_lazy("There is no time, or it is written in another format."),
    Reason.TOO_OLD: gettext_lazy("The request is older than the tolerance allows."),
    Reason.TOO_NEW: gettext_lazy("The time of the request lies in the future."),
    Reason.NOT_SAME: gettext_lazy("Two parts that must be equal are not."),
    Reason.MISMATCH: gettext_lazy(
        "No key makes this signature: a part, the key or its encoding differs."
    ),
}
OUTCOMES: dict[Outcome, Promise] = {
    Outcome.SIGNED: gettext_lazy("Accepted."),
    Outcome.CONFIRM: gettext_lazy("Accepted as a hint: Posz asks the provider before it acts."),
    Outcome.REFUSED: gettext_lazy("Refused."),
}


@dataclass(frozen=True, slots=True)
class Step:
    """`text` is escaped and cut, `hex` its first bytes; `is_ok` is None where nothing is decided."""

    title: str
    text: str = ""
    hex: str = ""
    is_ok: bool | None = None


def explain(
    scheme: Scheme,
    request: SignedRequest,
    keys: Sequence[bytes],
    *,
    is_issued: IsIssued | None = None,
) -> list[Step]:
    """The steps of `verify` in their order; the last one is its verdict."""
    verdict = verify(scheme, request, keys, is_issued=is_issued)
    hidden = spellings_of(scheme, keys)
    reading = Reading(request)
    return [
        *_signature_steps(scheme, reading, hidden),
        *_part_steps(scheme, reading, hidden),
        *_time_steps(scheme, reading),
        *_same_steps(scheme, reading, hidden),
        *_digest_steps(scheme, reading, keys),
        _verdict_step(scheme, verdict),
    ]


def reason_text(verdict: Verdict) -> str:
    """One sentence for a list of refusals; it holds nothing of the request."""
    if verdict.reason is None:
        return str(OUTCOMES[verdict.outcome])
    sentence = str(SENTENCES[verdict.reason])
    return f"{verdict.part}: {sentence}" if verdict.part else sentence


def _signature_steps(scheme: Scheme, reading: Reading, hidden: Sequence[bytes]) -> Iterator[Step]:
    if scheme.signature is None:
        return
    title = _("Received signature")
    try:
        given = received(scheme.signature, reading)
    except RefusedError as error:
        yield Step(title, str(SENTENCES[error.reason]), is_ok=False)
        return
    for item in given:
        if scheme.kind in {Kind.TOKEN, Kind.ISSUED}:
            yield Step(title, _not_shown(item))
        else:
            yield _bytes_step(title, item, hidden)


def _part_steps(scheme: Scheme, reading: Reading, hidden: Sequence[bytes]) -> Iterator[Step]:
    for part in scheme.signed:
        title = _("Signed part %(part)s") % {"part": part.text}
        if part.source == "key":
            yield Step(title, _("The key, which is not shown."))
        else:
            yield _value_step(title, part, reading, hidden)


def _value_step(title: str, part: Part, reading: Reading, hidden: Sequence[bytes]) -> Step:
    value = part.read(reading)
    if value is None:
        return Step(title, str(SENTENCES[Reason.PART_MISSING]), is_ok=False)
    if part.source == "header" and part.argument in CREDENTIALS:
        return Step(title, _not_shown(value))
    return _bytes_step(title, value, hidden)


def _time_steps(scheme: Scheme, reading: Reading) -> Iterator[Step]:
    if scheme.freshness is None:
        return
    title = _("Time %(part)s") % {"part": scheme.freshness.moment.at.text}
    try:
        check_time(scheme, reading)
    except RefusedError as error:
        yield Step(title, str(SENTENCES[error.reason]), is_ok=False)
        return
    seconds = reading.request.now - (scheme.freshness.moment.read(reading) or 0)
    text = _("%(age)s s old, allowed are %(limit)s s before and after.")
    limit = scheme.freshness.tolerance_seconds
    yield Step(title, text % {"age": f"{seconds:.0f}", "limit": limit}, is_ok=True)


def _same_steps(scheme: Scheme, reading: Reading, hidden: Sequence[bytes]) -> Iterator[Step]:
    for left, right in scheme.same:
        names = {"left": left.text, "right": right.text}
        is_ok = left.read(reading) is not None and left.read(reading) == right.read(reading)
        yield Step(_("Must be equal: %(left)s and %(right)s") % names, is_ok=is_ok)
        yield _value_step(left.text, left, reading, hidden)
        yield _value_step(right.text, right, reading, hidden)


def _digest_steps(scheme: Scheme, reading: Reading, keys: Sequence[bytes]) -> Iterator[Step]:
    if scheme.kind not in {Kind.HMAC, Kind.DIGEST}:
        return
    for number, key in enumerate(keys, start=1):
        title = _("Expected signature with key %(number)s") % {"number": number}
        usable = decoded_key(key, scheme.key_encoding)
        if not usable:
            yield Step(title, str(SENTENCES[Reason.NO_KEY]), is_ok=False)
            continue
        try:
            yield _bytes_step(title, expected(scheme, reading, usable), ())
        except RefusedError as error:
            yield Step(title, str(SENTENCES[error.reason]), is_ok=False)


def _verdict_step(scheme: Scheme, verdict: Verdict) -> Step:
    title = str(OUTCOMES[verdict.outcome])
    if verdict.is_refused:
        return Step(title, reason_text(verdict), is_ok=False)
    if not scheme.covers_body and not scheme.must_confirm:
        return Step(title, _("The signature does not cover the whole body."), is_ok=True)
    return Step(title, is_ok=True)


def spellings_of(scheme: Scheme, keys: Sequence[bytes]) -> list[bytes]:
    """How a request may spell the keys, on purpose or by mistake; a public key is no secret."""
    if scheme.kind is Kind.RSA:
        return []
    encoding = scheme.signature.encoding if scheme.signature else ""
    spellings = [
        spelling
        for key in keys
        for spelling in (
            key,
            decoded_key(key, scheme.key_encoding),
            encoded(key, encoding) if encoding else b"",
        )
    ]
    return [spelling for spelling in spellings if len(spelling) >= SHORTEST_HIDDEN]


def time_of(scheme: Scheme, request: SignedRequest) -> float | None:
    """When a request says that it was made, in seconds since 1970; None where it does not."""
    if scheme.signature is None:
        return None
    reading = Reading(request)
    try:
        given = received(scheme.signature, reading)
    except RefusedError:
        return None
    if scheme.kind is Kind.JWT:
        claims = claims_of(given[0])
        found = [claims.get(name) for name in ("iat", "nbf", "exp")]
        return next((item for item in found if isinstance(item, int | float)), None)
    return scheme.freshness.moment.read(reading) if scheme.freshness else None


def _bytes_step(title: str, value: bytes, hidden: Sequence[bytes]) -> Step:
    for secret in hidden:
        value = value.replace(secret, b"[key]")
    text = value.decode("utf-8", "backslashreplace")
    escaped = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text[:TEXT_LENGTH]
    )
    more = "…" if len(text) > TEXT_LENGTH else ""
    return Step(title, escaped + more, value[:HEX_BYTES].hex(" "))


def _not_shown(value: bytes) -> str:
    return _("%(count)s bytes, which are not shown.") % {"count": len(value)}
