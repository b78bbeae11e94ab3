"""Parts: the named values of a request, of which signature schemes and mappings are composed.

A part is one short text: a source, its argument after a colon, and filters after ` | `. So
`body | minify | sha256 | hex` is the digest of the minified body, and `header:X-Request-Id` a header.
A part that is not there, or that is there twice, has no value; reading never raises, whatever a
request holds.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from catalog import strict_json

MAX_TEXT = 500
MAX_FIELDS = 200
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
# https://www.rfc-editor.org/rfc/rfc6901
POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
FORM = re.compile(rb"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*+")


class SignedRequest(NamedTuple):
    """A request as plain data. `url` is the address that was registered with the provider.

    Headers are pairs with lower-case names, so that one that was sent twice is seen.
    """

    method: str
    url: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    now: float


class Reading:
    """One look at one request: what is costly to parse is parsed once, and only when asked for."""

    __slots__ = ("_document", "_form", "item", "items", "key", "request", "signature")

    def __init__(self, request: SignedRequest, document: Any = ...) -> None:
        self.request = request
        self.key: bytes | None = None
        self.signature: bytes | None = None
        self.items: Sequence[bytes] = ()
        self.item: Any = None
        self._document: Any = document
        self._form: Any = ...

    def header(self, name: str) -> str | None:
        values = [value for header, value in self.request.headers if header == name]
        return values[0] if len(values) == 1 else None

    @property
    def document(self) -> Any:
        """The body as JSON with its numbers as they are written; None where it is not JSON."""
        if self._document is ...:
            try:
                self._document = strict_json.loads(self.request.body, literal_numbers=True)
            except strict_json.StrictJSONError:
                self._document = None
        return self._document

    @property
    def form(self) -> list[tuple[str, str]] | None:
        if self._form is ...:
            self._form = _pairs(self.request.body)
        pairs: list[tuple[str, str]] | None = self._form
        return pairs


def _pairs(raw: bytes) -> list[tuple[str, str]] | None:
    """Names and values; None where a field has no `=` or a byte could be read in two ways.

    Schemes that sign names and values glued together can't tell `a=b` from `a&b`; this can.
    """
    if not FORM.fullmatch(raw):
        return None
    if not raw:
        return []
    try:
        return parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        return None


def _named(pairs: list[tuple[str, str]] | None, name: str) -> bytes | None:
    values = [value for key, value in pairs or () if key == name]
    return values[0].encode("utf-8", "surrogatepass") if len(values) == 1 else None


def _wire(text: str) -> bytes:
    """The bytes of a header as they were sent; servers hand them out as Latin-1."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def value_at(document: Any, steps: Sequence[str]) -> Any:
    """What stands at a JSON pointer; None where nothing does."""
    for step in steps:
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isascii() and step.isdigit() and len(step) < 5:
            index = int(step)
            document = document[index] if index < len(document) else None
        else:
            return None
    return document


def text_of(value: Any) -> bytes | None:
    """A JSON value as a provider writes it into what it signs; None for null and for structures."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return str(value).encode() if isinstance(value, int | float) else None


def claims_of(token: bytes) -> dict[str, Any]:
    """The claims of a JWT, whether or not it is signed; empty where it is none."""
    segments = token.split(b".")
    payload = decoded_url(segments[1]) if len(segments) == 3 else None
    try:
        claims = strict_json.loads(payload or b"")
    except strict_json.StrictJSONError:
        return {}
    return claims if isinstance(claims, dict) else {}


def decoded_url(text: bytes) -> bytes | None:
    """Base64url without padding; None for anything but the one way to write it."""
    try:
        value = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return value if base64.urlsafe_b64encode(value).rstrip(b"=") == text else None


def _full_url(reading: Reading) -> bytes:
    address = reading.request.url.partition("?")[0]
    query = reading.request.query
    return _wire(f"{address}?{query}" if query else address)


def _target(reading: Reading) -> bytes:
    query = reading.request.query
    return _wire(f"{reading.request.path}?{query}" if query else reading.request.path)


def _item(reading: Reading, prefix: str) -> bytes | None:
    """The one element of the signature's list that starts so, without that start."""
    start = prefix.encode()
    found = [item[len(start) :] for item in reading.items if item.startswith(start)]
    return found[0] if len(found) == 1 else None


def _sorted_form(reading: Reading) -> bytes | None:
    if reading.form is None:
        return None
    glued = "".join(key + value for key, value in sorted(set(reading.form)))
    return glued.encode("utf-8", "surrogatepass")


Source = Callable[[Reading, "Part"], bytes | None]
PLAIN: dict[str, Source] = {
    "body": lambda reading, _part: reading.request.body,
    "url": lambda reading, _part: _wire(reading.request.url),
    "full-url": lambda reading, _part: _full_url(reading),
    # What DOKU and SNAP call the target of the request: the path of the address that we registered.
    "url-path": lambda reading, _part: _wire(_path_of(reading.request.url)),
    "path": lambda reading, _part: _wire(reading.request.path),
    "target": lambda reading, _part: _target(reading),
    "method": lambda reading, _part: _wire(reading.request.method),
    "form": lambda reading, _part: _sorted_form(reading),
    "key": lambda reading, _part: reading.key,
    "signature": lambda reading, _part: reading.signature,
}
NAMED: dict[str, Source] = {
    "header": lambda reading, part: (
        None if (value := reading.header(part.argument)) is None else _wire(value)
    ),
    "query": lambda reading, part: _named(_pairs(_wire(reading.request.query)), part.argument),
    "form": lambda reading, part: _named(reading.form, part.argument),
    "body": lambda reading, part: text_of(value_at(reading.document, part.steps)),
    "item": lambda reading, part: text_of(value_at(reading.item, part.steps)),
    "signature": lambda reading, part: _item(reading, part.argument),
    "text": lambda _reading, part: part.argument.encode(),
}
Filter = Callable[[bytes, str], bytes | None]
FILTERS: dict[str, Filter] = {
    "minify": lambda value, _argument: strict_json.minified(value),
    "sha256": lambda value, _argument: hashlib.sha256(value).digest(),
    "hex": lambda value, _argument: value.hex().encode(),
    "base64": lambda value, _argument: base64.b64encode(value),
    "nonempty": lambda value, _argument: value or None,
    "after": lambda value, start: (
        value[len(start.encode()) :] if value.startswith(start.encode()) else None
    ),
    "claim": lambda value, name: text_of(claims_of(value).get(name)),
}
WITH_ARGUMENT = frozenset({"after", "claim"})
POINTED = frozenset({"body", "item"})


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class Part:
    """`text` is how staff wrote it. `optional` as the last filter makes an absent value empty."""

    text: str
    source: str
    argument: str = ""
    steps: tuple[str, ...] = ()
    filters: tuple[tuple[Filter, str], ...] = field(default=(), repr=False)
    is_optional: bool = False
    _read: Source = field(default=PLAIN["body"], repr=False, compare=False)

    def read(self, reading: Reading) -> bytes | None:
        value = self._read(reading, self)
        for apply, argument in self.filters:
            if value is None:
                break
            value = apply(value, argument)
        return b"" if value is None and self.is_optional else value

    @property
    def is_whole_body(self) -> bool:
        return self.source in {"body", "form"} and ":" not in self.text.partition(" | ")[0]


def parse_part(text: Any, allowed: frozenset[str]) -> Part:
    """Raises ValidationError, naming the part, for what is not one or stands in the wrong place."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
        raise ValidationError(_("A part is a short text, such as body or header:X-Request-Id."))
    if text.startswith("text:"):
        return Part(text, "text", text.removeprefix("text:"), _read=NAMED["text"])
    head, *rest = text.split(" | ")
    source, colon, argument = head.partition(":")
    read = (NAMED if colon else PLAIN).get(source)
    if read is None or source not in allowed:
        raise ValidationError(
            _("“%(part)s” is no part that can stand here. Parts are: %(known)s.")
            % {"part": text, "known": ", ".join(sorted(allowed))}
        )
    if colon:
        argument = _checked_argument(text, source, argument)
    is_optional = rest[-1:] == ["optional"]
    filters = tuple(_filter(text, item) for item in (rest[:-1] if is_optional else rest))
    steps = (parse_pointer(argument) or ()) if colon and source in POINTED else ()
    return Part(text, source, argument, steps, filters, is_optional, read)


def _checked_argument(text: str, source: str, argument: str) -> str:
    if source == "header" and HEADER_NAME.fullmatch(argument):
        return argument.lower()
    if source in POINTED and POINTER.fullmatch(argument):
        return argument
    if source in {"query", "form", "signature"} and argument:
        return argument
    raise ValidationError(
        _("“%(part)s”: write a name, or a JSON pointer such as /order/id, after the colon.")
        % {"part": text}
    )


def _filter(text: str, item: str) -> tuple[Filter, str]:
    name, colon, argument = item.partition(":")
    if name not in FILTERS or bool(colon and argument) != (name in WITH_ARGUMENT):
        known = ", ".join([*sorted(FILTERS), "optional"])
        raise ValidationError(
            _("“%(part)s”: after “|” stands one of %(known)s.") % {"part": text, "known": known}
        )
    return FILTERS[name], argument


def parse_pointer(pointer: str) -> tuple[str, ...] | None:
    """The steps of a JSON pointer; none for the whole document, None for a text that is no pointer."""
    if not POINTER.fullmatch(pointer):
        return None
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
