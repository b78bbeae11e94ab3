"""What is kept of a verified webhook: its events as they came, without what proves who sent them.

A signature or a token in the body would let whoever reads the ledger send the event again, so its
value is replaced by an empty one. The digest that tells whether an event came again differently is
made of the bytes before that.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote_plus

from catalog import strict_json
from catalog.inbound_mapping import EventMapping
from catalog.inbound_parts import value_at
from catalog.inbound_scheme import Scheme

# What is no business of whoever reads the ledger, whatever a scheme or a mapping reads from it.
CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)

Path = tuple[str, ...]


def kept_names(scheme: Scheme, mapping: EventMapping | None) -> frozenset[str]:
    """The headers that are kept, in lower case: those that the scheme or the mapping reads."""
    places = scheme.signature.places if scheme.signature else ()
    signing = {part.argument for part in places if part.source == "header"}
    read = scheme.header_names | (mapping.header_names if mapping else frozenset())
    return read - CREDENTIALS - signing


def kept_headers(names: frozenset[str], headers: Sequence[tuple[str, str]]) -> list[list[str]]:
    return [[name, _storable(value)] for name, value in headers if name in names]


def _storable(value: str) -> str:
    """Servers hand headers out as Latin-1; no database can hold a NUL or half a character."""
    return value.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def kept_bodies(scheme: Scheme, mapping: EventMapping | None, body: bytes) -> list[bytes] | None:
    """The body, or the item of each event where it holds several; None where nothing is left out.

    The body must be one that the mapping could read.
    """
    places = scheme.signature.places if scheme.signature else ()
    if mapping is not None and mapping.is_form:
        names = {part.argument for part in places if part.source == "form"}
        return [_without_fields(body, names)] if names else None
    paths = {_any_index(part.steps) for part in places if part.source == "body"}
    if not paths:
        return None
    kept = _without_values(body, paths)
    if mapping is None or mapping.each is None:
        return [kept]
    items = value_at(strict_json.loads(kept), mapping.each)
    return [strict_json.dumps(item) for item in items]


def _any_index(steps: Sequence[str]) -> Path:
    """Each item of a list has a signature of its own where the first one has."""
    return tuple("*" if step.isdigit() else step for step in steps)


def _without_values(body: bytes, paths: set[Path]) -> bytes:
    """The JSON document with an empty text at the paths; everything else byte for byte."""
    kept, copied_to = [], 0
    path: list[str] = []
    are_objects: list[bool] = []
    is_name = False
    for match in TOKEN.finditer(body):
        token = match[0]
        if token in {b"{", b"["}:
            path.append("*")
            are_objects.append(token == b"{")
            is_name = are_objects[-1]
        elif token in {b"}", b"]"}:
            path.pop()
            are_objects.pop()
        elif token == b",":
            is_name = are_objects[-1]
        elif token == b":":
            is_name = False
        elif is_name:
            path[-1:] = _any_index([strict_json.loads(token)])
        elif tuple(path) in paths:
            kept += [body[copied_to : match.start()], b'""']
            copied_to = match.end()
    return b"".join([*kept, body[copied_to:]])


def _without_fields(body: bytes, names: set[str]) -> bytes:
    fields = []
    for field in body.split(b"&"):
        name = field.partition(b"=")[0]
        fields.append(name + b"=" if unquote_plus(name.decode()) in names else field)
    return b"&".join(fields)
