import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.strict_json import StrictJSONError, dumps, loads

DEPTH = "JSON must not be nested deeper than 64 levels."
EMPTY = "The JSON document is empty."
NUL = "JSON must not contain NUL characters."
SURROGATE = "JSON must not contain lone surrogates."
TWICE = "An object must not hold the same key twice."
LARGE = "A number is too large."
DIGITS = "A number has too many digits."
CONSTANT = "NaN and Infinity are not JSON numbers."
ENCODING = "JSON must be encoded as UTF-8."
BOM = "JSON must not start with a byte order mark."

REFUSED = {
    "empty": (b"", EMPTY),
    "white space": (b" \r\n\t", EMPTY),
    "latin-1": ('{"a": "é"}'.encode("latin-1"), ENCODING),
    "utf-8 bom": (b"\xef\xbb\xbf{}", BOM),
    "utf-16 with bom": ('{"a": 1}'.encode("utf-16"), ENCODING),
    "utf-16 without bom": ('{"a": 1}'.encode("utf-16-le"), NUL),
    "nan": (b'{"a": NaN}', CONSTANT),
    "infinity": (b"[Infinity]", CONSTANT),
    "minus infinity": (b"-Infinity", CONSTANT),
    "overflowing float": (b'{"a": 1e999}', LARGE),
    "overflowing negative float": (b"-1e999", LARGE),
    "long integer": (b"1" * 4_301, DIGITS),
    "very long negative integer": (b"[-" + b"9" * 100_000 + b"]", DIGITS),
    "raw nul": (b'{"a": "\x00"}', NUL),
    "escaped nul in value": (rb'{"a": ["x\u0000y"]}', NUL),
    "escaped nul in key": (rb'{"a\u0000": 1}', NUL),
    "escaped nul as whole document": (rb'"\u0000"', NUL),
    "lone high surrogate": (rb'"\ud83d"', SURROGATE),
    "lone low surrogate in key": (rb'[{"\uDE00": 1}]', SURROGATE),
    "surrogates in wrong order": (rb'"\ude00\ud83d"', SURROGATE),
    "surrogate halves of two strings": (rb'["\ud83d", "\ude00"]', SURROGATE),
    "surrogate as utf-8": (b'"\xed\xa0\x80"', ENCODING),
    "same key twice": (b'{"a": 1, "a": 1}', TWICE),
    "same key twice, escaped": (rb'{"a": 1, "\u0061": 2}', TWICE),
    "same key twice, deep": (b'[{"b": {"a": 1, "a": 2}}]', TWICE),
    "65 levels": (b"[" * 65 + b"]" * 65, DEPTH),
    "100,000 arrays": (b"[" * 100_000, DEPTH),
    "100,000 objects": (b'{"a":' * 100_000, DEPTH),
    "100,000 arrays after a string with brackets": (rb'["]\"]",' + b"[" * 100_000, DEPTH),
    "trailing data": (b"{} {}", "This is not valid JSON: line 1, column 4."),
    "trailing comma": (b'{"a": 1,}', "This is not valid JSON: line 1, column 9."),
    "single quotes": (b"{'a': 1}", "This is not valid JSON: line 1, column 2."),
    "raw line break in string": (b'"a\nb"', "This is not valid JSON: line 1, column 3."),
    "unclosed string": (b'["[[[[', "This is not valid JSON: line 1, column 2."),
    "comment": (b"{} // x", "This is not valid JSON: line 1, column 4."),
}


@pytest.mark.parametrize(("raw", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_loads_refuses(raw, message):
    with pytest.raises(StrictJSONError) as caught:
        loads(raw)

    assert str(caught.value) == message


ACCEPTED = {
    "scalar": (b" true\n", True),
    "null": (b"null", None),
    "bytearray": (bytearray(b"[1, 2.5, -3e2]"), [1, 2.5, -300.0]),
    "unicode": ('{"é": "日本 😀"}'.encode(), {"é": "日本 😀"}),
    "surrogate pair": (rb'"\ud83d\ude00"', "😀"),
    "escaped backslash before u0000": (rb'"\\u0000 \\ud83d"', r"\u0000 \ud83d"),
    "64 levels": (b"[" * 64 + b"]" * 64, eval("[" * 64 + "]" * 64)),  # noqa: S307
    "brackets in a string": (b'"' + b"[" * 1_000 + b'"', "[" * 1_000),
    "brackets after an escaped quote": (rb'["\"' + b"{" * 100 + b'"]', ['"' + "{" * 100]),
    "many siblings": (b"[" + b"[]," * 999 + b"[]]", [[]] * 1_000),
    "same key in two objects": (b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
    "longest integer": (b"9" * 4_300, 10**4_300 - 1),
    "escaped control character": (rb'"\u0001\n"', "\x01\n"),
}


@pytest.mark.parametrize(("raw", "value"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_loads_accepts(raw, value):
    assert loads(raw) == value


def test_loads_max_depth_is_a_setting():
    with pytest.raises(StrictJSONError, match="deeper than 2 levels"):
        loads(b'{"a": [{}]}', max_depth=2)


def test_loads_error_never_repeats_the_input():
    with pytest.raises(StrictJSONError) as caught:
        loads(b'{"api_key": hunter2}')

    assert "hunter2" not in str(caught.value)


@given(st.binary(max_size=200))
def test_loads_answers_only_its_own_error_on_any_bytes(raw):
    try:
        value = loads(raw)
    except StrictJSONError:
        return
    assert loads(dumps(value)) == value


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", codec="utf-8")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_characters="\x00", codec="utf-8")), inner)
    ),
    max_leaves=20,
)


@given(json_values)
def test_dumps_is_read_back_equal(value):
    assert loads(dumps(value)) == value


def test_dumps_is_compact_utf8_in_the_given_order():
    assert dumps({"b": [1, "é"], "a": None}) == '{"b":[1,"é"],"a":null}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud83d"])
def test_dumps_refuses_what_loads_refuses(value):
    with pytest.raises(ValueError, match=r"JSON compliant|surrogates"):
        dumps(value)
