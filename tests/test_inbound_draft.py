from dataclasses import fields
from urllib.parse import urlencode

import pytest
from django.http import QueryDict

from catalog.inbound_draft import ROWS, Documents, Draft
from catalog.inbound_presets import PRESETS
from tests.inbound_samples import VECTORS

MAPPING = {"event_id": "body:/id", "type": "body:/type"}


def posted(draft: Draft) -> Draft:
    """The draft as a browser sends it back: what is not ticked is missing, line ends are CRLF."""
    pairs = [(name, value.replace("\n", "\r\n")) for name, value in draft.values.items() if value]
    for name, make in ROWS.items():
        for row in draft.rows[name]:
            pairs += [(f"{name}-{item.name}", getattr(row, item.name)) for item in fields(make)]
    return Draft.typed_in(QueryDict(urlencode(pairs)))


@pytest.mark.parametrize("name", PRESETS)
def test_preset_comes_out_of_the_form_as_it_went_in(name):
    preset = PRESETS[name]
    documents = Documents(dict(preset.verification), dict(preset.mapping), {"paid": "receipt_qr"})

    assert posted(Draft.of(documents)).documents() == documents


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["name"])
def test_scheme_of_a_published_vector_comes_out_of_the_form(row):
    scheme = row.get("scheme") or PRESETS[row["preset"]].verification
    documents = Documents(dict(scheme), MAPPING, {})

    assert posted(Draft.of(documents)).is_exact(documents)


@pytest.mark.parametrize(
    "verification",
    [
        {},
        {"kind": "basic"},
        {"kind": "token", "signature": "header:Authorization", "prefix": ["Bearer ", ""]},
        {"kind": "hmac", "signature": ["header:A", "body:/b"], "encoding": "hex", "joiner": "\n"},
        {
            "kind": "hmac",
            "signature": "header:A",
            "encoding": "base64",
            "signed": ["text: a + b | c\\ ", "body"],
            "joiner": " ",
            "suffix": "\t",
            "same": {"header:D | after:SHA-256= ": "body | sha256 | base64"},
        },
    ],
)
def test_odd_characters_of_a_scheme_survive_the_form(verification):
    documents = Documents(verification, {}, {})

    assert posted(Draft.of(documents)).documents() == documents


@pytest.mark.parametrize(
    "value", ["text: + ", ["text:a + b", "body:/c"], [["body:/a", "body:/b"], ["text:\\+"]]]
)
def test_ways_to_a_value_survive_the_form(value):
    documents = Documents({}, MAPPING | {"event_id": value}, {})

    assert posted(Draft.of(documents)).documents() == documents


def test_types_lead_to_our_events_and_their_capabilities():
    mapping = MAPPING | {"types": {"PAID": "bill.settled", "GONE": "bill.cancelled"}}
    documents = Documents({}, mapping, {"bill.settled": "receipt_qr", "left": "receipt_qr"})

    assert posted(Draft.of(documents)).documents() == documents


def test_document_that_a_form_would_change_is_not_exact():
    documents = Documents({"kind": "hmac", "signature": "header:A", "signed": ["body:"]}, {}, {})

    assert not Draft.of(documents).is_exact(documents)
