"""What of a verified webhook may stay in the ledger."""

import json

import pytest

from catalog.inbound_keeping import kept_bodies, kept_headers, kept_names
from catalog.inbound_mapping import read_mapping
from catalog.inbound_presets import PRESETS
from catalog.inbound_scheme import read_scheme

EVENT = {"event_id": "body:/id", "type": "body:/type"}


def scheme_of(**document):
    return read_scheme(document, "X-Acme-Signature")


def in_body(pointer):
    return scheme_of(kind="token", signature=f"body:{pointer}")


def test_signature_in_the_body_is_left_out_and_every_other_byte_stays():
    body = b'{"a": 1.50 , "sign\\u0061ture":\t"s3cret", "b": {"signature": "dish"}, "c": "\\"{"}'

    kept = kept_bodies(in_body("/signature"), None, body)

    assert kept == [body.replace(b'"s3cret"', b'""')]


def test_signature_of_every_item_of_adyen_is_left_out():
    def item(name):
        more = {"hmacSignature": f"sig-{name}", "cardBin": "4242"}
        return {"NotificationRequestItem": {"pspReference": name, "additionalData": more}}

    body = json.dumps({"live": "false", "notificationItems": [item("a"), item("b")]}).encode()
    preset = PRESETS["adyen"]

    [kept] = kept_bodies(scheme_of(**preset.verification), read_mapping(preset.mapping), body)

    assert json.loads(kept) == json.loads(body.replace(b"sig-a", b"").replace(b"sig-b", b""))


def test_signature_inside_the_events_of_a_batch_is_left_out_of_each():
    items = [{"id": str(number), "type": "t", "sig": "s3cret"} for number in range(2)]
    mapping = read_mapping(EVENT | {"each": "/events"})

    kept = kept_bodies(in_body("/events/0/sig"), mapping, json.dumps({"events": items}).encode())

    assert [json.loads(item) for item in kept] == [item | {"sig": ""} for item in items]


def test_signature_among_the_fields_of_a_form_is_left_out():
    mapping = read_mapping({"event_id": "form:id", "type": "form:t", "format": "form"})
    scheme = scheme_of(kind="token", signature="form:my sign")

    assert kept_bodies(scheme, mapping, b"id=1&my+sign=s3cret&t=x%20y") == [
        b"id=1&my+sign=&t=x%20y"
    ]


def test_body_without_a_signature_in_it_is_kept_as_it_is():
    assert kept_bodies(scheme_of(), None, b"{}") is None


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("snap-symmetric", {"x-timestamp", "x-external-id", "x-partner-id"}),
        ("doku", {"client-id", "request-id", "request-timestamp"}),
        ("xendit", {"webhook-id"}),
        ("stripe", set()),
    ],
)
def test_headers_that_are_read_are_kept_and_none_that_proves_who_sends(preset, expected):
    chosen = PRESETS[preset]

    names = kept_names(scheme_of(**chosen.verification), read_mapping(chosen.mapping))

    assert names == expected


def test_kept_header_can_be_stored():
    assert kept_headers(frozenset({"x-a"}), [("x-a", "\x00\udcff"), ("cookie", "c")]) == [
        ["x-a", "\\x00\\udcff"]
    ]
