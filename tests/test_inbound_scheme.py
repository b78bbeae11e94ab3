import pytest
from django.core.exceptions import ValidationError

from catalog.inbound_mapping import read_mapping
from catalog.inbound_parts import parse_part
from catalog.inbound_presets import PRESETS
from catalog.inbound_scheme import SIGNED_BY, Kind, read_scheme
from tests.factories import make_integration

HMAC = {"kind": "hmac", "signature": "header:X-Sig"}


def problem(document):
    with pytest.raises(ValidationError) as caught:
        read_scheme(document, "X-Partner-Signature")
    return " ".join(caught.value.messages)


def test_empty_document_is_the_standard_scheme():
    scheme = read_scheme({}, "X-Partner-Signature")

    assert scheme.kind is Kind.HMAC
    assert scheme.signature.places[0].argument == "x-partner-signature"
    assert scheme.signature.prefixes == (b"sha256=", b"")
    assert [part.text for part in scheme.signed] == ["body"]


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_is_a_scheme_and_a_mapping(name):
    preset = PRESETS[name]

    read_scheme(preset.verification, "X-Partner-Signature")

    assert read_mapping(preset.mapping) is not None
    assert preset.docs_url.startswith("https://")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "{} is the standard"),
        ({"kind": "rot13"}, "“kind” is one of hmac"),
        ({"kind": ["hmac"]}, "“kind” is one of"),
        (HMAC | {"secret": "x"}, "“hmac” has no “secret”"),
        ({"kind": "none", "confirm": True, "signature": "header:X"}, "“none” has no “signature”"),
        ({"kind": "none"}, "“confirm”: Without a signature"),
        ({"kind": "hmac"}, "“signature”: A part is a short text"),
        ({"kind": "hmac", "signature": []}, "“signature”: Name one to four places"),
        (HMAC | {"signature": "url"}, "“url” is no part that can stand here"),
        (HMAC | {"signature": "header:"}, "write a name, or a JSON pointer"),
        (HMAC | {"signature": "body:no-slash"}, "write a name, or a JSON pointer"),
        (HMAC | {"signature": "body:/a~2"}, "write a name, or a JSON pointer"),
        (HMAC | {"signed": []}, "“signed”: Write a list of parts"),
        (HMAC | {"signed": "body"}, "“signed”: Write a list of parts"),
        (HMAC | {"signed": ["text:a", "method"]}, "At least one part must belong"),
        (HMAC | {"signed": ["key", "body"]}, "“key” is no part that can stand here"),
        (HMAC | {"signed": ["body | rot13"]}, "after “|” stands one of"),
        (HMAC | {"signed": ["body | after"]}, "after “|” stands one of"),
        (HMAC | {"signed": ["body | optional | hex"]}, "after “|” stands one of"),
        (HMAC | {"signed": ["signature:t=", "body"]}, "“separator”: Parts of the signature"),
        (HMAC | {"algorithm": "md5"}, "“algorithm”: Write one of sha256"),
        (HMAC | {"algorithm": ["sha256"]}, "“algorithm”: Write one of sha256"),
        (HMAC | {"encoding": "base58"}, "“encoding”: Write one of hex"),
        (HMAC | {"key": "rot13"}, "“key”: Write one of utf-8"),
        (HMAC | {"purpose": "outbound"}, "“purpose”: Write one of inbound"),
        (HMAC | {"confirm": 1}, "“confirm”: Write true or false"),
        (HMAC | {"joiner": 5}, "“joiner”: Write a text"),
        (HMAC | {"separator": ","}, "“prefix”: In a list each signature needs its prefix"),
        (HMAC | {"prefix": ["a", 5]}, "“prefix”: Write a short text"),
        (HMAC | {"same": []}, "“same”: Write an object of part to part"),
        (HMAC | {"time": "header:X-Time"}, "“time”: Write an object"),
        (HMAC | {"time": {"at": "header:X-Time"}}, "The time is not among what is signed"),
        (
            HMAC | {"signed": ["header:T", "body"], "time": {"at": "header:T", "format": "moon"}},
            "“time”: “format” of a time is one of unix",
        ),
        (
            HMAC | {"signed": ["header:T", "body"], "time": {"at": "header:T", "tolerance": -1}},
            "“tolerance”: Write a whole number",
        ),
        (
            HMAC | {"signed": ["header:T", "body"], "time": {"at": "header:T", "zone": "WIB"}},
            "“zone” is an offset",
        ),
        (
            {"kind": "digest", "signature": "header:S", "signed": ["key", "body"]},
            "last part must be",
        ),
        (
            {
                "kind": "digest",
                "signature": "header:S",
                "signed": ["body", "key"],
                "algorithm": "sha1",
            },
            "A plain digest is sha256 or sha512",
        ),
        (
            {"kind": "jwt", "signature": "header:S", "leeway": 9999},
            "“leeway”: Write a whole number",
        ),
    ],
)
def test_a_mistake_is_named(document, words):
    assert words in problem(document)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("body:/a/0", ("a", "0")),
        ("body:/a~1b/c~0d", ("a/b", "c~d")),
        ("body:/shift id", ("shift id",)),
        ("body:", ()),
    ],
)
def test_a_pointer_has_its_steps(text, steps):
    assert parse_part(text, SIGNED_BY).steps == steps


@pytest.mark.parametrize("name", ["midtrans", "adyen", "xendit", "grabfood", "kredivo"])
def test_a_scheme_that_leaves_the_body_open_says_so(name):
    assert not read_scheme(PRESETS[name].verification, "X").covers_body


def test_a_digest_header_that_is_not_signed_does_not_cover_the_body():
    scheme = read_scheme(
        HMAC | {"signed": ["url"], "same": {"header:Digest": "body | sha256 | hex"}}, "X"
    )

    assert not scheme.covers_body


@pytest.mark.django_db
@pytest.mark.parametrize("field", ["inbound_verification", "inbound_mapping"])
def test_staff_can_not_save_a_mistake(field):
    row = make_integration(**{field: {"kind": "rot13"}})

    with pytest.raises(ValidationError) as caught:
        row.full_clean()

    assert list(caught.value.message_dict) == [field]


@pytest.mark.django_db
def test_staff_save_a_preset():
    preset = PRESETS["gofood"]
    row = make_integration(inbound_verification=preset.verification, inbound_mapping=preset.mapping)

    row.full_clean()

    assert row.inbound_scheme.signature.places[0].text == "header:X-Go-Signature"
    assert row.event_mapping.data == ("body",)
