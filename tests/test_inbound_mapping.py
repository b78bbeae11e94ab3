import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from django.core.exceptions import ValidationError

from catalog.envelope import ApiError
from catalog.inbound_events import read_events
from catalog.inbound_mapping import read_mapping
from catalog.inbound_presets import PRESETS
from tests.inbound_samples import make_jwt

BASIC = {"event_id": "body:/id", "type": "body:/type"}


def events(mapping, body, headers=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    pairs = [(name.lower(), value) for name, value in (headers or {}).items()]
    return read_events(read_mapping(mapping), pairs, raw)


def event(mapping, body, headers=None):
    (only,) = events(mapping, body, headers)
    if isinstance(only, ApiError):
        raise only
    return only


def of_preset(name, body, headers=None):
    return event(PRESETS[name].mapping, body, headers)


def refused_field(mapping, body, headers=None):
    with pytest.raises(ApiError) as caught:
        event(mapping, body, headers)
    assert caught.value.code == "invalid_payload"
    return list(caught.value.extra.get("fields", {}))


def test_empty_document_is_the_standard_body():
    merchant = "7b0cd8f2-6f5d-4c0e-9a55-6a3f0b9f2a11"
    body = {"id": "e-1", "event": "bill.settled", "merchant_id": merchant, "data": {"a": 1}}

    found = event({}, body)

    assert (found.event_id, found.type, found.merchant_id) == (
        "e-1",
        "bill.settled",
        UUID(merchant),
    )
    assert found.data == {"a": 1}


def test_gofood_order():
    body = {
        "header": {
            "timestamp": "2023-05-12T14:56:27.446+07:00",
            "event_name": "gofood.order.driver_arrived",
            "event_id": "1296721d-b43c-3ed2-9915-097fb2e7e0f9",
        },
        "body": {"outlet": {"id": "G-1", "external_outlet_id": "5023"}, "order": {"total": 173500}},
    }

    found = of_preset("gofood", body)

    assert found.event_id == "1296721d-b43c-3ed2-9915-097fb2e7e0f9"
    assert (found.external_merchant_id, found.external_location_id) == ("G-1", "G-1")
    assert found.occurred_at == datetime(2023, 5, 12, 7, 56, 27, 446000, UTC)
    assert found.data["order"] == {"total": 173500}


def test_midtrans_has_a_composite_id_and_a_time_of_its_zone():
    body = {
        "transaction_id": "6ee793df",
        "status_code": "201",
        "transaction_status": "pending",
        "merchant_id": "M1",
        "transaction_time": "2018-10-24 15:34:33",
    }

    found = of_preset("midtrans", body)

    assert found.event_id == "6ee793df|201|pending"
    assert found.occurred_at == datetime(
        2018, 10, 24, 15, 34, 33, tzinfo=timezone(timedelta(hours=7))
    )


def test_a_batch_is_several_events():
    items = [
        {
            "resourceId": number,
            "eventDateUtc": "2024-06-21T01:15:39.902",
            "eventType": "UPDATE",
            "eventCategory": "CONTACT",
            "tenantId": "t-1",
        }
        for number in ("c-1", "c-2")
    ]

    found = events(PRESETS["xero"].mapping, {"events": items})

    assert [item.event_id for item in found] == [
        "c-1|2024-06-21T01:15:39.902|UPDATE",
        "c-2|2024-06-21T01:15:39.902|UPDATE",
    ]
    assert {item.type for item in found} == {"CONTACT.UPDATE"}
    assert found[0].occurred_at == datetime(2024, 6, 21, 1, 15, 39, 902000, UTC)


def test_a_batch_may_be_empty_or_the_whole_body():
    assert events(PRESETS["xero"].mapping, {"events": []}) == []
    assert of_preset("intuit", [{"id": "1", "type": "t", "intuitaccountid": "9"}]).event_id == "1"


def test_the_first_way_that_is_whole_is_taken():
    state = {"orderID": "o-1", "merchantID": "m-1", "state": "CANCELLED"}
    menu = {"requestID": "r-1", "merchantID": "m-1", "status": "QUEUEING"}
    order = {"orderID": "o-1", "merchantID": "m-1"}

    found = [of_preset("grabfood", body) for body in (state, menu, order)]

    assert [(item.event_id, item.type) for item in found] == [
        ("o-1|CANCELLED", "order.CANCELLED"),
        ("r-1|QUEUEING", "menu.QUEUEING"),
        ("o-1|submitted", "order.submitted"),
    ]


def test_headers_forms_and_tokens_are_read():
    form = b"MessageSid=SM1&MessageStatus=sent&AccountSid=AC1"
    token = {"messagebird-signature-jwt": make_jwt({"jti": "j-1"})}

    assert of_preset("twilio", form).event_id == "SM1|sent"
    assert of_preset("twilio", form).data["AccountSid"] == "AC1"
    assert of_preset("messagebird", {"message": {"channelId": "c"}}, token).event_id == "j-1"


def test_types_of_the_provider_become_ours():
    found = event(BASIC | {"types": {"paid": "order.paid"}}, {"id": 17, "type": "paid"})

    assert (found.event_id, found.type, found.provider_type) == ("17", "order.paid", "paid")


def test_composite_ids_do_not_run_into_each_other():
    mapping = BASIC | {"event_id": ["body:/a", "body:/b"]}

    one = event(mapping, {"a": "x|y", "b": "z", "type": "t"}).event_id
    two = event(mapping, {"a": "x", "b": "y|z", "type": "t"}).event_id

    assert (one, two) == ("x%7Cy|z", "x|y%7Cz")


def test_a_long_composite_id_is_kept_as_its_digest():
    mapping = BASIC | {"event_id": ["body:/id", "body:/type"]}

    found = event(mapping, {"id": "x" * 300, "type": "t"})

    assert found.event_id.startswith("sha256:")
    assert len(found.event_id) == 71


@pytest.mark.parametrize(
    ("over", "body", "field"),
    [
        ({}, {"type": "t"}, "event_id"),
        ({}, {"id": "", "type": "t"}, "event_id"),
        ({}, {"id": "x" * 256, "type": "t"}, "event_id"),
        ({}, {"id": {"a": 1}, "type": "t"}, "event_id"),
        ({}, {"id": "1"}, "type"),
        ({}, {"id": "1", "type": "x" * 101}, "type"),
        ({"external_merchant_id": "body:/m"}, {"id": "1", "type": "t"}, "merchant_id"),
        (
            {"external_merchant_id": "body:/m"},
            {"id": "1", "type": "t", "m": "x" * 256},
            "external_merchant_id",
        ),
        ({"merchant_id": "body:/m"}, {"id": "1", "type": "t", "m": "M"}, "merchant_id"),
        ({"location_id": "body:/l"}, {"id": "1", "type": "t", "l": "L"}, "location_id"),
        ({"occurred_at": "body:/at"}, {"id": "1", "type": "t", "at": "noon"}, "occurred_at"),
        (
            {"occurred_at": "body:/at"},
            {"id": "1", "type": "t", "at": "2026-99-99T00:00:00Z"},
            "occurred_at",
        ),
        (
            {"occurred_at": {"at": "body:/at", "format": "unix"}},
            {"id": "1", "type": "t", "at": 999999999999},
            "occurred_at",
        ),
        ({"data": "/data"}, {"id": "1", "type": "t", "data": []}, "data"),
        ({"each": "/events"}, {"events": {}}, "each"),
        ({"each": "/events"}, {"events": [1]}, "data"),
        ({}, [], "data"),
    ],
)
def test_a_field_that_does_not_fit_is_named(over, body, field):
    assert refused_field(BASIC | over, body) == [field]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"id":1,"id":2}', b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(body):
    assert refused_field(BASIC, body) == []


def test_a_form_that_is_none_is_refused():
    assert refused_field(PRESETS["twilio"].mapping, b"To&From") == []


def test_a_hostile_header_makes_a_storable_id():
    mapping = BASIC | {"event_id": "header:X-Id"}

    found = event(mapping, {"type": "t"}, {"X-Id": "a\x00\xff"})

    assert found.event_id == r"a\x00\xff"


def test_the_headers_that_matter_are_named():
    assert read_mapping(PRESETS["shopify"].mapping).header_names == {
        "x-shopify-webhook-id",
        "x-shopify-topic",
        "x-shopify-shop-domain",
        "x-shopify-triggered-at",
    }


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "{} is the standard body"),
        ({"type": "body:/t"}, "“event_id”: Say where it stands"),
        (BASIC | {"evnet": "x"}, "“evnet”: Known ones are"),
        (BASIC | {"event_id": []}, "“event_id”: Write a part, or a list"),
        (BASIC | {"event_id": [[]]}, "“event_id”: Write a part, or a list"),
        (BASIC | {"event_id": ["body:/a", ["body:/b"]]}, "“event_id”: A part is a short text"),
        (BASIC | {"event_id": "url"}, "“event_id”: “url” is no part"),
        (BASIC | {"each": "events"}, "“each”: Write a JSON pointer"),
        (BASIC | {"data": 5}, "“data”: Write a JSON pointer"),
        (BASIC | {"types": {"a": 5}}, "“types”: Write an object"),
        (BASIC | {"format": "xml"}, "“format”: Write one of json, form"),
        (BASIC | {"occurred_at": []}, "“occurred_at”: Write a part"),
        (BASIC | {"occurred_at": {"at": "body:/t", "format": "x"}}, "“format” of a time"),
    ],
)
def test_a_mistake_of_the_document_is_named(document, words):
    with pytest.raises(ValidationError) as caught:
        read_mapping(document)

    assert words in " ".join(caught.value.messages)
