"""The registry of operations: nothing is missing, and every contract keeps its own word."""

import typing
from datetime import date, datetime
from functools import cache
from typing import get_args

import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from catalog.capabilities import CAPABILITIES, Direction, Mode
from catalog.schema import check_schema
from dispatch.operations import (
    CONTRACTS,
    all_objects,
    all_operations,
    common,
    contract_of,
    customers,
    schema_of,
)
from dispatch.operations.notation import Failure, Wire
from tests.schema_mutations import mutations
from webhooks.catalogue import EVENT_TYPES

FORMATS = FormatChecker(formats=())
for name, read in {
    "date": date.fromisoformat,
    "date-time": lambda text: datetime.fromisoformat(text).tzinfo,
}.items():
    FORMATS.checks(name, raises=ValueError)(
        lambda value, read=read: not isinstance(value, str) or bool(read(value))
    )

ALL = [pytest.param(*pair, id=f"{pair[0].path(pair[1])}") for pair in all_operations()]
# Those that are older than the registry have dataclasses of their own.
TYPED = [
    pytest.param(operation, id=contract.path(operation))
    for contract, operation in all_operations()
    if operation.method and operation.method.__module__ != "dispatch.contracts"
]
DOCUMENTS = [
    pytest.param(kind, example, id=f"{contract.path(operation)}-{what}")
    for contract, operation in all_operations()
    for what, kind, example in (
        ("request", operation.request, operation.request_example),
        ("answer", operation.answer, operation.answer_example),
    )
    if kind is not None
]
# What each capability has at the least, under the names that partners know.
NAMES = {
    "payment_method": {"create", "status", "cancel", "refund", "list_plans"},
    "pay_at_table": {
        "check.opened",
        "check.updated",
        "check.closed",
        "tables.list",
        "checks.by_table",
        "check.get",
        "payment.start",
        "payment.apply",
        "payment.release",
    },
    "reservation_provider": {"availability", "create", "update", "cancel", "list", "hold"},
    "loyalty_provider": {
        "search",
        "enroll",
        "inquire",
        "redeem",
        "accrue",
        "reverse",
        "transfer",
    },
    "order_inbound": {
        "order.created",
        "order.updated",
        "order.cancelled",
        "order.driver_update",
    },
    "menu_sync_outbound": {"full", "patch", "menu.get", "menu.result"},
    "inventory_replenish_inbound": {
        "stock.level_set",
        "stock.received",
        "purchase_order.updated",
        "item.availability",
    },
    "data_export_destination": {"events", "daily_summary"},
    "staff_schedule_import": {"pull", "schedule.published"},
    "auth_provider": {"login", "directory.sync", "session.revoked"},
}


def is_right(kind, document):
    """What reading says; JSON Schema must say the same."""
    try:
        msgspec.convert(document, kind)
    except msgspec.ValidationError:
        by_reading = False
    else:
        by_reading = True
    return by_reading, validator_of(kind).is_valid(document)


@cache
def validator_of(kind):
    return Draft202012Validator(schema_of(kind), format_checker=FORMATS)


def test_every_version_of_every_capability_has_a_contract():
    assert list(CONTRACTS) == [
        (name, version) for name, item in CAPABILITIES.items() for version in item.versions
    ]
    assert len(CAPABILITIES) == 21


@pytest.mark.parametrize("capability", NAMES)
def test_capability_has_the_operations_that_partners_know(capability):
    names = {item.name for item in CONTRACTS[capability, 1].operations}

    assert NAMES[capability] - names == set()


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda item: item.name)
def test_contract_is_complete(contract):
    texts = [text for words in (contract.words, contract.failure) for text in (words.en, words.id)]
    names = [item.name for item in contract.operations]

    assert [text[-1] for text in texts] == [".", ".", ".", "."]
    assert len(set(texts)) == 4
    assert len(set(names)) == len(names) > 0
    assert {item.direction for item in contract.operations} >= {contract.place.direction}
    assert contract.config
    check_schema(contract.config_schema())


@pytest.mark.parametrize(("contract", "operation"), ALL)
def test_operation_is_complete(contract, operation):
    hub_answers = operation.direction is Direction.INBOUND and operation.answer is not None

    assert [operation.words.en[-1], operation.words.id[-1]] == [".", "."]
    assert operation.words.en != operation.words.id
    assert set(operation.events) <= EVENT_TYPES.keys()
    assert (operation.answer is None) == (operation.answer_example is None)
    assert all(part != "None" for part in operation.key_of(operation.request_example).split(":"))
    if operation.is_asked:
        assert operation.answer is not None
        assert contract.budget_of(operation)
    if operation.direction is not Direction.SYNC and not hub_answers:
        assert operation.key
    if operation.wire is Wire.POSZ and not hub_answers and "check." not in operation.name:
        assert issubclass(contract.adapter, owner_of(operation.method))


def owner_of(method):
    [owner] = [
        cls
        for cls in vars(__import__(method.__module__, fromlist=["_"])).values()
        if isinstance(cls, type) and vars(cls).get(method.__name__) is method
    ]
    return owner


@pytest.mark.parametrize("operation", TYPED)
def test_method_of_the_adapter_takes_and_gives_what_the_operation_says(operation):
    hints = typing.get_type_hints(operation.method)

    if operation.direction is Direction.INBOUND:
        assert hints["return"] is operation.request
    else:
        assert (hints["request"], hints["return"]) == (operation.request, operation.answer)
    assert operation.method.__isabstractmethod__


@pytest.mark.parametrize(("contract", "operation"), ALL)
def test_failure_never_counts_as_money_and_only_what_is_replaced_has_something_built_in(
    contract, operation
):
    is_money = contract.capability == "payment_method" and operation.name != "list_plans"
    sounds_done = {Failure.SKIP, Failure.BUILT_IN, Failure.RETRY}

    assert not is_money or operation.failure not in sounds_done
    assert operation.failure is not Failure.BUILT_IN or contract.mode is Mode.REPLACE
    assert (operation.failure is Failure.SEND_AGAIN) == (operation.direction is Direction.INBOUND)


@pytest.mark.parametrize(("kind", "example"), DOCUMENTS)
def test_example_satisfies_its_schema(kind, example):
    Draft202012Validator.check_schema(schema_of(kind))

    assert is_right(kind, example) == (True, True)


@pytest.mark.parametrize(("kind", "example"), DOCUMENTS)
def test_document_that_is_wrong_in_one_place_satisfies_neither_reading_nor_schema(kind, example):
    made = list(mutations(schema_of(kind), example))

    assert [what for what, document in made if any(is_right(kind, document))] == []


def test_mutations_are_of_every_sort():
    made = [
        what
        for param in DOCUMENTS
        for what, _ in mutations(schema_of(param.values[0]), param.values[1])
    ]

    assert {what.partition(" at ")[0] for what in made} == {
        "wrong type",
        "missing",
        "null",
        "unknown field",
        "too few",
        "too many",
        "too short",
        "too long",
        "not of the form",
        "without an offset",
        "number for a text",
        "text for a number",
        "yes for a number",
        "text for yes",
        "too small",
        "too large",
        "no such choice",
    }
    assert len(made) > 3000


def test_objects_have_names_of_their_own():
    assert [name for name in all_objects("#/{name}") if not name.isalnum()] == []


@pytest.mark.parametrize(("kind", "example"), DOCUMENTS)
def test_fields_that_partners_add_are_ignored_and_those_that_tills_misspell_are_not(kind, example):
    is_closed = schema_of(kind).get("additionalProperties") is False

    assert is_right(kind, {**example, "amount_cent": 1}) == (not is_closed, not is_closed)


def test_examples_of_money_add_up():
    order = CONTRACTS["receipt_qr", 1].operations[0].request_example["order"]
    summary = CONTRACTS["data_export_destination", 1].operation("daily_summary").request_example
    invoice = CONTRACTS["tax_invoice_provider", 1].operations[0].request_example["lines"][0]

    assert order["total_cents"] == order["subtotal_cents"] + sum(
        item["amount_cents"] for item in (*order["charges"], *order["taxes"])
    )
    assert sum(row["debit_cents"] for row in summary["journal"]) == sum(
        row["credit_cents"] for row in summary["journal"]
    )
    assert invoice["other_tax_base_cents"] == round(invoice["tax_base_cents"] * 11 / 12)
    assert invoice["vat_cents"] == round(invoice["other_tax_base_cents"] * 12 / 100)


def test_every_purpose_and_field_of_customers_has_words():
    settings = contract_of("customer_export", 1).config_schema()["properties"]

    assert tuple(common.PURPOSES) == get_args(common.Purpose)
    assert set(customers.FIELDS) <= set(customers.Profile.__struct_fields__)
    for name in ("purpose", "purposes", "fields"):
        rules = settings[name]
        offered = rules.get("items", rules)["enum"]
        assert list(rules["x-labels-en"]) == list(rules["x-labels-id"]) == offered
        assert not set(rules["x-labels-en"].values()) & set(offered)
