"""The one door for JSON that comes from outside: RFC 8259 with everything ambiguous refused.

Two readers of one document must never see two values, and whatever is accepted must be storable
by PostgreSQL and writable again as UTF-8. https://www.rfc-editor.org/rfc/rfc7493 (I-JSON) is the
model. A `StrictJSONError` may be shown to a partner: its text never holds any of the input.
"""

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from django.utils.translation import gettext as _

MAX_DIGITS = 4_300

# An unclosed string runs to the end, so that brackets after it are never counted.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BETWEEN_TOKENS = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+"?)|[ \t\r\n]+', re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class StrictJSONError(ValueError):
    pass


def loads(raw: bytes | bytearray, *, max_depth: int = 64, literal_numbers: bool = False) -> Any:
    """With literal numbers a number is the text it was written as: 100.00 is signed as "100.00"."""
    text = _decoded(bytes(raw))
    _check_depth(bytes(raw), max_depth)
    try:
        value = (_LITERAL if literal_numbers else _DECODER).decode(text)
    except json.JSONDecodeError as error:
        message = _("This is not valid JSON: line %(line)s, column %(column)s.")
        place = {"line": error.lineno, "column": error.colno}
        raise StrictJSONError(message % place) from None
    # Raw text is free of NUL and surrogates by now: only an escape can still bring one in.
    if "\\u" in text:
        _check_characters(value)
    return value


def minified(raw: bytes) -> bytes:
    """Without the white space between the tokens; numbers and strings stay as they are written."""
    return _BETWEEN_TOKENS.sub(rb"\1", raw)


def dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _decoded(raw: bytes) -> str:
    if not raw.strip():
        raise StrictJSONError(_("The JSON document is empty."))
    if raw.startswith(codecs.BOM_UTF8):
        raise StrictJSONError(_("JSON must not start with a byte order mark."))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise StrictJSONError(_("JSON must be encoded as UTF-8.")) from None
    if "\x00" in text:
        raise StrictJSONError(_("JSON must not contain NUL characters."))
    return text


def _check_depth(raw: bytes, max_depth: int) -> None:
    """Runs before the parser, which recurses once per level."""
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return
    depth = 0
    for bracket in STRING.sub(b"", raw).translate(None, NOT_BRACKETS):
        depth += STEP[bracket]
        if depth > max_depth:
            message = _("JSON must not be nested deeper than %(limit)s levels.")
            raise StrictJSONError(message % {"limit": max_depth})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise StrictJSONError(_("An object must not hold the same key twice."))
    return value


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise StrictJSONError(_("A number has too many digits."))
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise StrictJSONError(_("A number is too large."))
    return value


def _constant(_name: str) -> NoReturn:
    raise StrictJSONError(_("NaN and Infinity are not JSON numbers."))


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
_LITERAL = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=str, parse_float=str, parse_constant=_constant
)


def _check_characters(value: Any) -> None:
    text = "".join(_strings(value))
    if "\x00" in text:
        raise StrictJSONError(_("JSON must not contain NUL characters."))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise StrictJSONError(_("JSON must not contain lone surrogates.")) from None


def _strings(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            pending += item.keys()
            pending += item.values()
        elif isinstance(item, list):
            pending += item
