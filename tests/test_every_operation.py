"""Every operation that tills can ask, through the router and a sandbox process of its own.

The list comes from the registry: an operation that is added is tried here without another line.
"""

from dataclasses import replace

import msgspec
import pytest

from catalog.capabilities import ANY_INTEGRATION, CAPABILITIES, Direction, has_adapter
from dispatch import router
from dispatch.adapters import adapter_for
from dispatch.contracts import Call
from dispatch.operations import all_operations
from dispatch.operations.notation import Failure
from dispatch.operations.payments import PAYMENT
from tests.factories import make_location, make_merchant, make_payment
from tests.sandbox_process import KEY, SLUG, installed_partner, running_sandbox
from tests.stack import free_ports

pytestmark = pytest.mark.django_db

# Posz itself asks this, not a till.
ASKED_BY_POSZ = {"staff_schedule_import/pull"}

SYNC = [pair for pair in all_operations() if pair[1].is_asked]
BY_TILLS = [
    pytest.param(*pair, id=pair[0].path(pair[1]))
    for pair in SYNC
    if pair[0].path(pair[1]) not in ASKED_BY_POSZ
]
BY_POSZ = [
    pytest.param(*pair, id=pair[0].path(pair[1]))
    for pair in SYNC
    if pair[0].path(pair[1]) in ASKED_BY_POSZ
]
every_operation = pytest.mark.parametrize(("contract", "operation"), BY_TILLS)


@pytest.fixture(scope="module")
def process():
    with running_sandbox() as running:
        yield running


@pytest.fixture
def sandbox(process, settings):
    router.forget_partners()
    process.forget()
    settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, process.host]
    return process


class Till:
    """One outlet at which the partner answers one capability."""

    def __init__(self, contract, operation, url):
        self.contract, self.operation = contract, operation
        merchant = make_merchant(currency="IDR")
        self.location = make_location(merchant)
        base = f"{url}/demo/{SLUG}"
        self.install = installed_partner(merchant, contract, api_base_url=base)
        self.integration = self.install.integration
        if operation.name in {"status", "cancel", "refund"}:
            self.begin_payment()

    def begin_payment(self):
        """Nothing is asked about a payment that was never begun, nor given back before it is paid."""
        paid = {"state": "paid", "paid_amount_cents": PAYMENT["amount_cents"]}
        make_payment(
            self.install,
            self.location,
            payment_id=PAYMENT["payment_id"],
            amount_cents=PAYMENT["amount_cents"],
            **(paid if self.operation.name == "refund" else {}),
        )

    def ask(self):
        return router.dispatch(
            self.location.merchant_id,
            self.location.pk,
            self.contract.capability,
            self.operation.request_example,
            operation=self.operation.name,
        )

    @property
    def if_unknown(self):
        if self.operation.failure is not Failure.PENDING:
            return {}
        payment_id = self.operation.request_example["payment_id"]
        return {"payment_id": payment_id, "status": "pending_verification"}


def patient(monkeypatch, contract, budget_ms):
    place = replace(CAPABILITIES[contract.capability], budget_ms=budget_ms)
    monkeypatch.setitem(CAPABILITIES, contract.capability, place)


@pytest.fixture
def till(sandbox, contract, operation, monkeypatch):
    patient(monkeypatch, contract, 6000)
    return Till(contract, operation, sandbox.url)


def only(answer):
    assert len(answer["results"]) == 1
    return answer["results"][0]


def test_no_sync_capability_is_missing():
    tried = {param.values[0].capability for param in BY_TILLS}
    sync = {name for name, item in CAPABILITIES.items() if item.direction is Direction.SYNC}

    assert tried == sync
    assert all(has_adapter(ANY_INTEGRATION, name, 1) for name in tried)
    assert len(BY_TILLS) + len(BY_POSZ) == len(SYNC) >= 25


@every_operation
def test_success_is_given_as_the_contract_says(till, contract, operation):
    answer = till.ask()

    result = only(answer)
    assert (answer["answered_by"], answer["mode"]) == ("integration", contract.mode)
    assert (result["status"], result.get("error")) == ("ok", None)
    msgspec.convert(result["output"], operation.answer)


@every_operation
def test_refusal_is_an_answer(till, sandbox):
    sandbox.behave("decline")

    answer = till.ask()

    assert answer["answered_by"] == "integration"
    assert (only(answer)["status"], only(answer)["output"]) == ("declined", {})


@every_operation
def test_malformed_answer_is_not_passed_on_and_its_field_is_named(till, sandbox):
    sandbox.behave("malformed")

    answer = till.ask()

    result = only(answer)
    assert answer["answered_by"] == "built_in"
    assert (result["status"], result["output"]) == ("error", till.if_unknown)
    assert result["error"]["code"] == "upstream_error"
    assert next(iter(till.operation.answer_example)) in result["error"]["message"]


@every_operation
def test_answer_that_somebody_else_signed_is_not_believed(till, sandbox):
    sandbox.behave("wrong_signature")

    answer = till.ask()

    result = only(answer)
    assert answer["answered_by"] == "built_in"
    assert (result["status"], result["output"]) == ("error", till.if_unknown)
    assert "not signed with our key" in result["error"]["message"]


@every_operation
def test_hanging_partner_costs_the_budget_and_no_more(till, sandbox, contract, monkeypatch):
    patient(monkeypatch, contract, 500)
    sandbox.behave("hang")

    answer = till.ask()

    assert answer["answered_by"] == "built_in"
    assert (only(answer)["status"], only(answer)["output"]) == ("timeout", till.if_unknown)


@every_operation
def test_dead_partner_is_done_without(till, settings):
    [port] = free_ports(1)
    settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, f"127.0.0.1:{port}"]
    till.integration.api_base_url = f"http://127.0.0.1:{port}"
    till.integration.save(update_fields=["api_base_url"])

    answer = till.ask()

    assert answer["answered_by"] == "built_in"
    assert (only(answer)["status"], only(answer)["output"]) == ("error", till.if_unknown)


@every_operation
def test_same_question_asks_the_partner_once_and_a_reading_each_time(till, sandbox, operation):
    first, second = only(till.ask()), only(till.ask())

    assert (second["status"], second["output"]) == ("ok", first["output"])
    assert len(sandbox.received()) == (2 if operation.is_reading else 1)


@every_operation
def test_question_that_failed_is_put_again_with_the_same_key(till, sandbox, operation):
    sandbox.behave("malformed")
    till.ask()
    sandbox.call("DELETE", "/_behave")

    assert only(till.ask())["status"] == "ok"
    keys = [headers.get("idempotency-key") for headers in sandbox.received()]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert (keys[0] is None) == operation.is_reading


@pytest.mark.parametrize(("contract", "operation"), BY_POSZ)
def test_what_posz_itself_asks_is_answered_by_the_generic_adapter(till, contract, operation):
    adapter = adapter_for(SLUG, "receipt_qr", 1)
    call = Call(
        merchant=till.location.merchant,
        location=till.location,
        install=till.install,
        keys={"outbound": KEY},
        timeout_seconds=6,
    )
    request = msgspec.convert(operation.request_example, operation.request)

    answer = getattr(adapter, operation.method.__name__)(call, request)

    assert answer == msgspec.convert(operation.answer_example, operation.answer)
