"""How a provider proves itself: the document `inbound_verification` of a catalog row as dataclasses.

{} is the scheme of Posz itself. The parts that are signed are told in `catalog.inbound_parts`; what
a scheme decides is carried out by an app to the right. Reading a document is strict, so that a
mistake of staff shows when they save it, not when a webhook comes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from catalog.inbound_parts import Part, parse_part
from catalog.inbound_times import Moment, parse_moment

MAX_PARTS = 40
MAX_TOLERANCE_SECONDS = 24 * 3600
MAX_LEEWAY_SECONDS = 600


class Kind(StrEnum):
    HMAC = "hmac"
    DIGEST = "digest"
    RSA = "rsa"
    JWT = "jwt"
    TOKEN = "token"  # noqa: S105 - the name of a method
    ISSUED = "issued"
    NONE = "none"


ALGORITHMS = ("sha256", "sha512", "sha1")
ENCODINGS = ("hex", "base64")
KEY_ENCODINGS = ("utf-8", "hex", "base64", "whsec")
# The purposes of secrets that a provider may prove itself with.
PURPOSES = ("inbound", "oauth_client")
SIGNED_BY = frozenset(
    {"body", "url", "full-url", "url-path", "path", "target", "method", "header", "query", "form"}
    | {"signature", "text"}
)
WITH_KEY = SIGNED_BY | {"key"}
PLACES = frozenset({"header", "query", "body", "form"})

COMMON = frozenset({"kind", "confirm", "purpose"})
PLACED = COMMON | {"signature", "prefix", "suffix", "separator", "same"}
COMPOSED = PLACED | {"encoding", "signed", "joiner", "time"}
KEYS: dict[str, frozenset[str]] = {
    "hmac": COMPOSED | {"algorithm", "key"},
    "digest": COMPOSED | {"algorithm", "key"},
    "rsa": COMPOSED,
    "jwt": PLACED | {"leeway", "key"},
    "token": PLACED | {"encoding"},
    "basic": COMMON,
    "issued": PLACED,
    "none": COMMON,
}
# What the document needs not say.
BASIC = {"signature": "header:Authorization", "prefix": ["Basic ", "basic "], "encoding": "base64"}
BEARER = {"signature": "header:Authorization", "prefix": ["Bearer ", "bearer "]}


@dataclass(frozen=True, slots=True)
class Signature:
    """Where the signatures are. With a separator there is a list of them, each with a prefix.

    Empty encoding: the text itself, which only tokens have.
    """

    places: tuple[Part, ...]
    encoding: str
    prefixes: tuple[bytes, ...] = (b"",)
    suffix: bytes = b""
    separator: bytes = b""


@dataclass(frozen=True, slots=True)
class Freshness:
    """The time that was signed may be this far from ours, before and after."""

    moment: Moment
    tolerance_seconds: int


@dataclass(frozen=True, slots=True)
class Scheme:
    """`same` are pairs of parts that must be equal, such as a digest header and that digest.

    With `must_confirm` the signature leaves something open that matters, such as the body: the
    provider has to be asked before anything is done.
    """

    kind: Kind
    signature: Signature | None = None
    algorithm: str = "sha256"
    signed: tuple[Part, ...] = ()
    joiner: bytes = b""
    key_encoding: str = "utf-8"
    freshness: Freshness | None = None
    leeway_seconds: int = 0
    same: tuple[tuple[Part, Part], ...] = ()
    purpose: str = "inbound"
    must_confirm: bool = False

    @property
    def covers_body(self) -> bool:
        """Whether no byte of the body that means something can be changed unseen."""
        proven = [*self.signed]
        for left, right in self.same:
            proven += [right] if self._is_proven(left) else []
            proven += [left] if self._is_proven(right) else []
        return any(part.is_whole_body for part in proven)

    @property
    def header_names(self) -> frozenset[str]:
        """The headers that are signed, compared or tell the time, in lower case."""
        return frozenset(part.argument for part in _parts_of(self) if part.source == "header")

    def is_signed_part(self, part: Part) -> bool:
        return any(
            (part.source, part.argument) == (signed.source, signed.argument)
            for signed in self.signed
        )

    def _is_proven(self, part: Part) -> bool:
        if part.source == "signature":
            return self.kind is Kind.JWT
        is_in_url = part.source == "query" and any(
            signed.source in {"full-url", "target"} for signed in self.signed
        )
        return is_in_url or self.is_signed_part(part)


def standard_document(header: str) -> dict[str, Any]:
    """What {} stands for: hex HMAC-SHA256 of the raw body, alone in one header."""
    return {"kind": "hmac", "signature": f"header:{header}", "prefix": ["", "sha256="]}


def read_scheme(document: Any, header: str) -> Scheme:
    """The scheme of a row whose own signature header is given; keep it, for reading costs time.

    Raises ValidationError with a sentence for staff that names the part of the document.
    """
    if not isinstance(document, dict):
        raise ValidationError(_("Write an object; {} is the standard scheme of Posz."))
    document = document or standard_document(header)
    name = document.get("kind")
    if not isinstance(name, str) or name not in KEYS:
        raise ValidationError(_("“kind” is one of %(known)s.") % {"known": ", ".join(KEYS)})
    _refuse_unknown(document.keys(), KEYS[name], name)
    scheme = _scheme(name, document)
    _check_whole(scheme)
    return scheme


def _scheme(name: str, document: Mapping[str, Any]) -> Scheme:
    kind = Kind.TOKEN if name == "basic" else Kind(name)
    common: dict[str, Any] = {
        "kind": kind,
        "purpose": _choice(document, "purpose", PURPOSES),
        "must_confirm": _flag(document, "confirm"),
    }
    if kind is Kind.NONE:
        return Scheme(**common)
    defaults = BASIC if name == "basic" else BEARER if name == "issued" else {}
    return Scheme(
        **common,
        signature=_signature(kind, {**defaults, **document}),
        algorithm=_choice(document, "algorithm", ALGORITHMS),
        signed=_signed(kind, document),
        joiner=_text(document, "joiner", 20).encode(),
        key_encoding=_choice(document, "key", KEY_ENCODINGS),
        freshness=_freshness(document.get("time")),
        leeway_seconds=_number(document, "leeway", MAX_LEEWAY_SECONDS, 0),
        same=_same(document.get("same", {})),
    )


def _signature(kind: Kind, document: Mapping[str, Any]) -> Signature:
    places = document.get("signature")
    texts = places if isinstance(places, list) else [places]
    if not 0 < len(texts) <= 4:
        raise _problem("signature", _("Name one to four places."))
    return Signature(
        places=tuple(_part("signature", text, PLACES) for text in texts),
        encoding=_encoding(kind, document),
        prefixes=_prefixes(document.get("prefix", "")),
        suffix=_text(document, "suffix", 20).encode(),
        separator=_text(document, "separator", 5).encode(),
    )


def _encoding(kind: Kind, document: Mapping[str, Any]) -> str:
    if kind in {Kind.JWT, Kind.ISSUED} or (kind is Kind.TOKEN and "encoding" not in document):
        return ""
    return _choice(document, "encoding", ENCODINGS)


def _prefixes(value: Any) -> tuple[bytes, ...]:
    """The longest first, so that an empty one never hides another."""
    texts = value if isinstance(value, list) else [value]
    if not 0 < len(texts) <= 4 or not all(
        isinstance(text, str) and len(text) < 50 for text in texts
    ):
        raise _problem("prefix", _("Write a short text, or a list of up to four."))
    return tuple(sorted((text.encode() for text in texts), key=len, reverse=True))


def _signed(kind: Kind, document: Mapping[str, Any]) -> tuple[Part, ...]:
    if kind not in {Kind.HMAC, Kind.DIGEST, Kind.RSA}:
        return ()
    texts = document.get("signed", ["body"])
    if not isinstance(texts, list) or not 0 < len(texts) <= MAX_PARTS:
        raise _problem("signed", _('Write a list of parts, such as ["header:X-Time", "body"].'))
    allowed = WITH_KEY if kind is Kind.DIGEST else SIGNED_BY
    parts = tuple(_part("signed", text, allowed) for text in texts)
    if all(part.source in {"text", "key", "method"} for part in parts):
        raise _problem("signed", _("At least one part must belong to the request."))
    # Whoever sees a digest whose last part is theirs to extend can make the next one without a key.
    if kind is Kind.DIGEST and parts[-1].source != "key":
        raise _problem("signed", _("In a plain digest the last part must be key."))
    return parts


def _freshness(value: Any) -> Freshness | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _problem("time", _("Write an object with “at”, “format” and “tolerance”."))
    _refuse_unknown(value.keys(), frozenset({"at", "format", "zone", "tolerance"}), "time")
    try:
        moment = parse_moment(value, SIGNED_BY)
    except ValidationError as error:
        raise _problem("time", " ".join(error.messages)) from None
    return Freshness(moment, _number(value, "tolerance", MAX_TOLERANCE_SECONDS, 300))


def _same(value: Any) -> tuple[tuple[Part, Part], ...]:
    if not isinstance(value, dict) or len(value) > MAX_PARTS:
        raise _problem("same", _("Write an object of part to part."))
    return tuple(
        (_part("same", left, SIGNED_BY), _part("same", right, SIGNED_BY))
        for left, right in value.items()
    )


def _check_whole(scheme: Scheme) -> None:
    if scheme.kind is Kind.NONE and not scheme.must_confirm:
        raise _problem("confirm", _("Without a signature the provider must be asked: write true."))
    if scheme.kind is Kind.DIGEST and scheme.algorithm == "sha1":
        raise _problem("algorithm", _("A plain digest is sha256 or sha512."))
    if scheme.freshness is not None and not _is_time_signed(scheme.freshness.moment.at, scheme):
        raise _problem(
            "time", _("The time is not among what is signed, so anyone could change it.")
        )
    has_list = bool(scheme.signature and scheme.signature.separator)
    if has_list and scheme.signature is not None and b"" in scheme.signature.prefixes:
        raise _problem("prefix", _("In a list each signature needs its prefix."))
    if not has_list and any(_is_element(part) for part in _parts_of(scheme)):
        raise _problem("separator", _("Parts of the signature need the separator of its list."))


def _is_time_signed(part: Part, scheme: Scheme) -> bool:
    is_in_body = part.source in {"body", "form"} and not part.is_whole_body
    return scheme.is_signed_part(part) or (is_in_body and scheme.covers_body)


def _parts_of(scheme: Scheme) -> Iterable[Part]:
    yield from scheme.signed
    if scheme.freshness is not None:
        yield scheme.freshness.moment.at
    for left, right in scheme.same:
        yield left
        yield right


def _is_element(part: Part) -> bool:
    return part.source == "signature" and bool(part.argument)


def _part(key: str, text: Any, allowed: frozenset[str]) -> Part:
    try:
        return parse_part(text, allowed)
    except ValidationError as error:
        raise _problem(key, " ".join(error.messages)) from None


def _problem(key: str, message: str) -> ValidationError:
    return ValidationError(f"“{key}”: {message}")


def _refuse_unknown(keys: Iterable[str], known: frozenset[str], name: str) -> None:
    for key in keys:
        if key not in known:
            raise ValidationError(
                _("“%(name)s” has no “%(key)s”. Known ones: %(known)s.")
                % {"name": name, "key": key, "known": ", ".join(sorted(known))}
            )


def _choice(document: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
    value = document.get(key, choices[0])
    if value not in choices:
        raise _problem(key, _("Write one of %(known)s.") % {"known": ", ".join(choices)})
    return str(value)


def _text(document: Mapping[str, Any], key: str, length: int) -> str:
    value = document.get(key, "")
    if not isinstance(value, str) or len(value) > length:
        raise _problem(
            key, _("Write a text of at most %(length)s characters.") % {"length": length}
        )
    return value


def _flag(document: Mapping[str, Any], key: str) -> bool:
    value = document.get(key, False)
    if not isinstance(value, bool):
        raise _problem(key, _("Write true or false."))
    return value


def _number(document: Mapping[str, Any], key: str, most: int, default: int) -> int:
    value = document.get(key, default)
    if type(value) is not int or not 0 <= value <= most:
        raise _problem(key, _("Write a whole number of seconds up to %(most)s.") % {"most": most})
    return value
