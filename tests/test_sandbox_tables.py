"""The guest of the sandbox who pays a table, against a real HTTP server in the hub's place."""

import time

import pytest

from dispatch.sandbox.tables import Tables
from dispatch.signing import is_standard_signed
from tests.partners import Partner, Reply, as_json

KEY = bytes([4]) * 32
ENVELOPE = {
    "merchant": {"id": "m-1"},
    "outlet": {"id": "o-1"},
    "data": {"check": {"id": "chk 1/2", "total_cents": 11_550_000}},
}
ANSWERS = {
    "check.get": {"due_cents": 8_000_000},
    "payment.start": {"lock_id": "lck-1", "due_cents": 8_000_000},
    "payment.apply": {"due_cents": 0, "check_status": "open"},
}


def operation_of(request):
    return request.path.rsplit("/", 1)[1]


def agreeing(request):
    return as_json({"status": "ok", "data": ANSWERS[operation_of(request)]})


@pytest.fixture
def hub():
    with Partner(agreeing) as hub:
        yield hub


@pytest.fixture
def tables(hub):
    tables = Tables(hub.url, lambda _slug: [KEY])
    tables.heard_of("demo-partner", ENVELOPE)
    return tables


def test_guest_pays_what_is_due_by_three_signed_calls(hub, tables):
    check = tables.find("demo-partner", "chk 1/2")

    tables.pay(check)

    asked = [(operation_of(item), item.json()) for item in hub.requests]
    assert [name for name, _body in asked] == ["check.get", "payment.start", "payment.apply"]
    assert {body["merchant_id"] for _name, body in asked} == {"m-1"}
    assert (asked[1][1]["data"]["amount_cents"], asked[2][1]["data"]["lock_id"]) == (
        8_000_000,
        "lck-1",
    )
    assert all(
        is_standard_signed(item.headers, item.body, [KEY], time.time()) for item in hub.requests
    )
    assert (check.paid_cents, check.problem) == (8_000_000, "")


def test_guest_is_told_why_the_hub_refuses(hub, tables):
    hub.answer = lambda _request: as_json({"error": {"code": "locked", "message": "…"}}, 409)
    check = tables.find("demo-partner", "chk 1/2")

    tables.pay(check)

    assert (check.paid_cents, check.problem) == (0, "locked")


def test_guest_can_pay_again_after_a_refusal(hub, tables):
    hub.answer = lambda _request: Reply(500, b"{}")
    check = tables.find("demo-partner", "chk 1/2")
    tables.pay(check)
    hub.answer = agreeing

    tables.pay(check)

    assert (check.paid_cents, check.problem) == (8_000_000, "")


@pytest.mark.parametrize("data", [{}, {"check": {"id": 7}}, {"check": {"total_cents": 1}}])
def test_code_of_nothing_payable_is_not_kept(tables, data):
    tables.heard_of("demo-partner", ENVELOPE | {"data": data})

    assert tables.find("demo-partner", "7") is None
