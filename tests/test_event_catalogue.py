"""The documents that partners build against: complete, sound, and the same in every place."""

import json
import re
from copy import deepcopy
from datetime import date, datetime
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from django.test import Client
from jsonschema import Draft202012Validator, FormatChecker

from catalog.capabilities import CAPABILITIES
from catalog.models import EVENT_TYPE_PATTERN
from tests.factories import make_merchant, make_token
from webhooks.catalogue import EVENT_TYPES, capabilities_of, example_of, schema_of
from webhooks.event_types.common import DEFS

Path: TypeAlias = tuple[Any, ...]
FORMATS = FormatChecker(formats=())
for name, read in {
    "uuid": UUID,
    "date": date.fromisoformat,
    "date-time": lambda text: datetime.fromisoformat(text).tzinfo,
}.items():
    # A format says nothing of what is no text; that is for the type to say.
    FORMATS.checks(name, raises=ValueError)(
        lambda value, read=read: not isinstance(value, str) or bool(read(value))
    )
NAMES = [
    f"{subject}.{what}"
    for subject, names in {
        "order": (
            "opened",
            "updated",
            "sent_to_kitchen",
            "ready",
            "completed",
            "closed",
            "paid",
            "voided",
        ),
        "refund": ("created", "completed"),
        "payment": ("created", "updated"),
        "check": ("opened", "updated", "closed"),
        "channel_order": ("received", "accepted", "rejected", "cancelled"),
        "menu": ("published",),
        "item": ("availability_changed",),
        "price": ("changed",),
        "store": ("hours_changed", "paused"),
        "customer": ("created", "updated", "consent_changed", "merged", "erasure_requested"),
        "loyalty": ("accrued", "redeemed", "reversed"),
        "reservation": ("created", "updated", "status_changed"),
        "inventory": ("depleted", "counted", "wasted", "low", "received"),
        "staff": (
            "clocked_in",
            "clocked_out",
            "break_started",
            "break_ended",
            "timecard_edited",
            "updated",
        ),
        "schedule": ("applied",),
        "tax_invoice": ("requested", "updated"),
        "receipt": ("printed", "sent"),
        "message": ("status_changed",),
        "business_day": ("opened", "closed"),
        "settings": ("changed",),
        "integration": ("installed", "configured", "enabled", "disabled", "degraded", "recovered"),
        "auth": ("login_succeeded", "login_failed", "session_revoked"),
    }.items()
    for what in names
]


def problems(event_type: str, body: dict[str, Any]) -> list[str]:
    validator = Draft202012Validator(schema_of(event_type), format_checker=FORMATS)
    return [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(body)]


def required_paths(schema: Any, value: Any, event_type: str, path: Path = ()) -> list[Path]:
    """Where in the example a field stands that its schema requires."""
    if "$ref" in schema:
        return required_paths(DEFS[schema["$ref"].split("/")[-1]], value, event_type, path)
    found = []
    for part in schema.get("allOf", []):
        found += required_paths(part, value, event_type, path)
    for name in schema.get("required", []):
        found.append((*path, name))
    for name, rules in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            found += required_paths(rules, value[name], event_type, (*path, name))
    if schema.get("type") == "array" and value:
        found += required_paths(schema["items"], value[0], event_type, (*path, 0))
    return found


def changed(body: dict[str, Any], path: Path, value: Any = None) -> dict[str, Any]:
    """The body with one field set to another value, or without it where there is none."""
    copy = deepcopy(body)
    place: Any = copy
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


def test_catalogue_has_every_event_by_name():
    assert sorted(EVENT_TYPES) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_event_is_well_named_well_described_and_for_known_capabilities(name):
    known = EVENT_TYPES[name]

    assert re.fullmatch(EVENT_TYPE_PATTERN, name)
    assert [text[-1] for text in (known.en, known.id)] == [".", "."]
    assert known.en != known.id
    assert set(known.capabilities) <= CAPABILITIES.keys()
    assert len(capabilities_of(name)) == len(known.capabilities)


@pytest.mark.parametrize("name", NAMES)
def test_example_satisfies_its_schema(name):
    Draft202012Validator.check_schema(schema_of(name))

    assert problems(name, json.loads(json.dumps(example_of(name)))) == []


@pytest.mark.parametrize("name", NAMES)
def test_example_without_a_required_field_or_with_a_wrong_kind_does_not(name):
    body = json.loads(json.dumps(example_of(name)))
    paths = required_paths(schema_of(name), body, name)

    unnoticed = [path for path in paths if not problems(name, changed(body, path))]
    wrong_kind = [path for path in paths if not problems(name, changed(body, path, 1.5))]

    assert (unnoticed, wrong_kind) == ([], [])
    assert len(paths) > 8


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("data", "order", "total_cents"), "159390"),
        (("data", "order", "type"), "drive_in"),
        (("data", "order", "business_date"), "24-11-2026"),
        (("data", "order", "lines", 0, "qty"), "two"),
        (("data", "customer", "phone_e164"), "081237004512"),
        (("data", "payments", 0, "status"), "done"),
        (("data", "fully_paid_at"), "yesterday"),
        (("merchant_id",), "maple"),
        (("type",), "order.opened"),
        (("version",), 2),
    ],
)
def test_order_that_is_not_as_agreed_does_not_satisfy_the_schema(path, value):
    assert problems("order.paid", changed(example_of("order.paid"), path, value))


def test_unknown_fields_may_come():
    body = changed(example_of("order.paid"), ("data", "order", "mood"), "good")

    assert problems("order.paid", body | {"example": True, "new": 1}) == []


def test_sums_of_the_examples_are_right():
    order = EVENT_TYPES["order.paid"].example["order"]
    summary = EVENT_TYPES["business_day.closed"].example["daily_summary"]

    assert order["subtotal_cents"] == sum(line["total_cents"] for line in order["lines"])
    assert order["total_cents"] == order["subtotal_cents"] + sum(
        item["amount_cents"] for item in (*order["charges"], *order["taxes"])
    )
    assert sum(row["debit_cents"] for row in summary["journal"]) == sum(
        row["credit_cents"] for row in summary["journal"]
    )
    assert sum(row["amount_cents"] for row in summary["payments"]) == (
        summary["net_cents"]
        + summary["service_cents"]
        + sum(tax["amount_cents"] for tax in summary["taxes"])
        + summary["rounding_cents"]
    )


def test_schema_holds_the_common_objects_it_needs_and_no_others():
    assert set(schema_of("order.voided")["$defs"]) == set()
    assert set(schema_of("check.opened")["$defs"]) == {
        "Check",
        "Line",
        "Modifier",
        "Charge",
        "Tax",
        "Payment",
    }


def test_api_lists_the_catalogue_to_everybody():
    data = Client().get("/v1/event-types").json()["data"]

    assert [item["type"] for item in data] == list(EVENT_TYPES)
    assert data[0] == {
        "type": "order.opened",
        "version": 1,
        "summary": {"en": "An order was opened.", "id": "Pesanan dibuka."},
        "capabilities": ["pay_at_table", "reservation_status_outbound"],
    }


def test_api_gives_schema_and_example_of_one_event():
    found = Client().get("/v1/event-types/order.paid").json()

    assert Draft202012Validator(found["schema"]).is_valid(found["example"])
    assert found["example"]["data"]["order"]["lines"][0]["name"] == "Nasi campur Bali"


@pytest.mark.parametrize("name", ["order.lost", "x", "%00", "__class__"])
def test_api_knows_no_other_event(name):
    response = Client(raise_request_exception=False).get(f"/v1/event-types/{name}")

    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.django_db
def test_event_that_is_not_in_the_catalogue_or_not_like_it_is_accepted():
    token = make_token(make_merchant())
    statuses = [
        Client()
        .post(
            "/v1/events",
            {"type": name, "data": {"anything": 1}},
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}"},
        )
        .status_code
        for name in ("order.paid", "order.haunted")
    ]

    assert statuses == [202, 202]


@pytest.mark.parametrize(
    ("lang", "summary"), [("en", "An order was paid in full."), ("id", "Pesanan lunas.")]
)
def test_page_shows_every_event_in_the_language_asked_for(lang, summary):
    text = Client().get(f"/docs/integrations/events?lang={lang}").content.decode()

    assert [name for name in NAMES if f'id="{name}"' not in text] == []
    assert (summary in text, f'<html lang="{lang}">' in text) == (True, True)
    assert all(f'id="object-{name}"' in text for name in DEFS)
