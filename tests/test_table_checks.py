"""Guests who pay at their table: the POS tells of checks, a partner locks and pays them, signed."""

import json
import time
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from dispatch.models import TableCheck, TablePayment
from dispatch.operations.payments import CHECK
from dispatch.signing import is_standard_signed, standard_headers
from installs import issuer, lifecycle
from installs.models import AuditEntry
from tests.conftest import ON_POSTGRES
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
    owner_of,
)
from tests.test_races import race

pytestmark = pytest.mark.django_db
TOTAL = CHECK["total_cents"]
START = {"check_id": "chk-58213", "payment_id": "g-1", "amount_cents": 8000000}
TIMES = {"paid_at": "2026-11-24T05:43:10Z"}


class Table:
    """A partner at one outlet, and the POS there."""

    def __init__(self):
        self.location = make_location(make_merchant(currency="IDR"))
        self.integration = make_integration("table-pay", capabilities={"pay_at_table": 1})
        self.keys = keys_of(self.integration)
        self.install = make_install(self.location.merchant, self.integration)
        self.token = make_token()

    def says(self, kind="opened", **over):
        body = {
            "type": f"check.{kind}",
            "merchant_id": str(self.location.merchant_id),
            "location_id": str(self.location.pk),
            "data": {"order_id": "o", "check": CHECK | over},
        }
        headers = {"Authorization": f"Bearer {self.token}"}
        reply = Client().post("/v1/events", body, content_type="application/json", headers=headers)
        assert reply.status_code == 202

    def post(self, operation, data, headers=None, **over):
        envelope = {
            "operation": operation,
            "merchant_id": str(self.location.merchant_id),
            "location_id": str(self.location.pk),
            "data": data,
        }
        fields = {name: item for name, item in (envelope | over).items() if item is not None}
        body = json.dumps(fields).encode()
        if headers is None:
            headers = standard_headers("m-1", int(time.time()), body, [self.keys["inbound"]])
        path = f"/v1/integrations/{self.integration.slug}/pay_at_table/{operation}"
        client = Client(raise_request_exception=False)
        return client.post(path, body, content_type="application/json", headers=headers)

    def ask(self, operation, data, **over):
        reply = self.post(operation, data, **over)
        assert reply.status_code == 200, reply.content
        return reply.json()["data"]

    def refused(self, operation, data, **over):
        reply = self.post(operation, data, **over)
        return reply.status_code, reply.json()["error"]["code"]

    def pay(self, lock, amount, **over):
        data = {
            "lock_id": lock["lock_id"],
            "payment_id": "g-1",
            "amount_cents": amount,
            "method": "qris",
            "provider_ref": "q-1",
            **TIMES,
        }
        return self.ask("payment.apply", data | over)


@pytest.fixture
def table():
    found = Table()
    found.says()
    return found


def test_guest_reads_locks_and_pays(table):
    assert table.ask("tables.list", {}) == {"tables": [{"id": "12", "name": "12"}]}
    [check] = table.ask("checks.by_table", {"table": "12"})["checks"]
    assert check == table.ask("check.get", {"check_id": check["check_id"]})
    assert (check["status"], check["due_cents"]) == ("open", TOTAL)

    lock = table.ask("payment.start", START)
    assert table.ask("check.get", {"check_id": "chk-58213"})["status"] == "locked"

    assert table.pay(lock, 8000000, tip_cents=500000) == {
        "due_cents": TOTAL - 8000000,
        "check_status": "open",
    }
    check = table.ask("check.get", {"check_id": "chk-58213"})
    assert (check["paid_cents"], check["due_cents"]) == (8000000, TOTAL - 8000000)


def test_answer_is_signed_for_the_partner(table):
    reply = table.post("tables.list", {})

    assert is_standard_signed(reply.headers, reply.content, [table.keys["outbound"]], time.time())
    assert reply.json()["contract"] == "pay_at_table@1"


def test_newest_version_of_a_check_counts(table):
    table.says("updated", version=3, total_cents=100, due_cents=100)
    table.says("updated", version=2, total_cents=200, due_cents=200)

    assert table.ask("check.get", {"check_id": "chk-58213"})["total_cents"] == 100
    assert TableCheck.objects.count() == 1


def test_check_that_can_not_be_read_is_an_event_all_the_same(table):
    table.says(version="two")

    assert TableCheck.objects.get().version == 1


def test_payment_that_the_pos_has_booked_is_counted_once(table):
    table.pay(table.ask("payment.start", START), 8000000)
    booked = {"id": "g-1", "method": "qris", "amount_cents": 8000000, "status": "paid"}

    table.says("updated", version=2, paid_cents=8000000, payments=[booked])

    assert table.ask("check.get", {"check_id": "chk-58213"})["due_cents"] == TOTAL - 8000000


def test_cash_at_the_till_counts_beside_a_guests_payment(table):
    table.pay(table.ask("payment.start", START), 8000000)

    table.says("updated", version=2, paid_cents=1000000)

    assert table.ask("check.get", {"check_id": "chk-58213"})["due_cents"] == TOTAL - 9000000


@pytest.mark.parametrize(
    ("operation", "data", "code"),
    [
        ("check.get", {"check_id": "nope"}, (404, "check_not_found")),
        ("checks.by_table", {"table": "99"}, (404, "qr_invalid")),
        ("payment.start", START | {"check_id": "nope"}, (404, "check_not_found")),
        ("payment.start", START | {"amount_cents": TOTAL + 1}, (409, "amount_exceeds_due")),
        ("payment.start", START | {"version": 9}, (409, "version_conflict")),
        (
            "payment.start",
            START | {"items": [{"line_id": "gone", "qty": "1"}]},
            (409, "version_conflict"),
        ),
        ("payment.release", {"lock_id": "x", "payment_id": "g-1"}, (404, "check_not_found")),
        ("payment.start", START | {"amount_cent": 1}, (400, "invalid_payload")),
        ("payment.start", START | {"ttl_s": 121}, (400, "invalid_payload")),
    ],
)
def test_refusal_has_a_code_of_its_own(table, operation, data, code):
    assert table.refused(operation, data) == code
    assert not TablePayment.objects.exists()


def test_one_guest_at_a_time(table):
    table.ask("payment.start", START)

    reply = table.post("payment.start", START | {"payment_id": "g-2"})

    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "locked")
    assert 0 < int(reply["Retry-After"]) <= 121


def test_lock_is_given_again_to_its_own_payment(table):
    first, second = (table.ask("payment.start", START)["lock_id"] for _time in range(2))

    assert first == second


def test_lock_ends_by_itself_and_by_release(table):
    lock = table.ask("payment.start", START)
    TablePayment.objects.update(lock_until=timezone.now() - timedelta(seconds=1))
    other = table.ask("payment.start", START | {"payment_id": "g-2"})
    assert other["lock_id"] != lock["lock_id"]

    told = table.ask("payment.release", {"lock_id": other["lock_id"], "payment_id": "g-2"})

    assert told == {"due_cents": TOTAL, "check_status": "open"}
    assert table.ask("payment.start", START)["lock_id"] == lock["lock_id"]


def test_closed_check_is_not_started(table):
    table.says("closed")

    assert table.refused("payment.start", START) == (409, "check_closed")
    assert table.ask("checks.by_table", {"table": "12"}) == {"checks": []}


def test_payment_number_of_another_amount_is_refused(table):
    table.ask("payment.start", START)

    assert table.refused("payment.start", START | {"amount_cents": 1}) == (400, "invalid_payload")


def test_money_is_taken_in_whatever_became_of_the_check(table):
    lock = table.ask("payment.start", START)
    TablePayment.objects.update(lock_until=timezone.now() - timedelta(minutes=5))
    table.says("updated", version=2, total_cents=5000000, due_cents=5000000)

    assert table.pay(lock, 8000000) == {
        "due_cents": 0,
        "check_status": "open",
        "overpaid_cents": 3000000,
    }
    entry = AuditEntry.objects.get(action="payment.overpaid")
    assert (entry.data["overpaid_cents"], entry.location_name) == (
        3000000,
        str(table.location),
    )


@pytest.mark.parametrize("ending", ["closed", "released", "switched off"])
def test_money_comes_in_also_after_the_end(table, ending):
    lock = table.ask("payment.start", START)
    match ending:
        case "closed":
            table.says("closed", version=2, paid_cents=TOTAL)
        case "released":
            table.ask("payment.release", {"lock_id": lock["lock_id"], "payment_id": "g-1"})
        case _:
            lifecycle.disable(owner_of(table.location.merchant), table.install.pk)

    told = table.pay(lock, 8000000)

    assert told.get("overpaid_cents") == (8000000 if ending == "closed" else None)
    assert TablePayment.objects.get().state == "applied"


def test_payment_has_one_effect(table):
    lock = table.ask("payment.start", START)

    first, second = (table.pay(lock, 8000000) for _time in range(2))

    assert first == second
    assert TableCheck.objects.get().payments.get().amount_cents == 8000000


def test_release_after_the_money_changes_nothing(table):
    lock = table.ask("payment.start", START)
    table.pay(lock, 8000000)

    table.ask("payment.release", {"lock_id": lock["lock_id"], "payment_id": "g-1"})

    assert TablePayment.objects.get().state == "applied"


# Who asks


def test_nobody_asks_unsigned(table):
    assert table.refused("tables.list", {}, headers={}) == (401, "invalid_signature")


def test_signature_is_not_good_for_another_operation(table):
    lock = {"lock_id": "x", "payment_id": "y"}
    body = json.dumps({"operation": "payment.release", "data": lock}).encode()
    signed = standard_headers("m", int(time.time()), body, [table.keys["inbound"]])
    path = f"/v1/integrations/{table.integration.slug}/pay_at_table/payment.apply"

    reply = Client().post(path, body, content_type="application/json", headers=signed)

    assert (reply.status_code, list(reply.json()["error"]["fields"])) == (400, ["operation"])


def test_partners_own_bearer_token_is_good(table):
    client = issuer.create_client(table.integration, "test")
    token = issuer.issue_token(client.row.client_id, client.secret).token
    bearer = {"Authorization": f"Bearer {token}"}

    assert table.ask("tables.list", {}, headers=bearer) == {"tables": [{"id": "12", "name": "12"}]}
    till = {"Authorization": f"Bearer {table.token}"}
    assert table.refused("tables.list", {}, headers=till) == (401, "invalid_signature")


def test_other_merchant_is_not_reached(table):
    lock = table.ask("payment.start", START)
    elsewhere = make_location(make_merchant())
    make_install(elsewhere.merchant, table.integration)
    there = {"merchant_id": str(elsewhere.merchant_id), "location_id": str(elsewhere.pk)}
    released = {"lock_id": lock["lock_id"], "payment_id": "g-1"}

    assert table.refused("check.get", {"check_id": "chk-58213"}, **there)[0] == 404
    assert table.refused("payment.release", released, **there) == (404, "check_not_found")


def test_partner_of_another_integration_can_not_pay_with_a_known_lock(table):
    lock = table.ask("payment.start", START)
    table.integration = make_integration(capabilities={"pay_at_table": 1})
    table.keys = keys_of(table.integration)

    released = {"lock_id": lock["lock_id"], "payment_id": "g-1"}

    assert table.refused("payment.release", released) == (404, "check_not_found")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("off", (403, "integration_disabled")),
        ("gone", (404, "integration_not_installed")),
        ("no outlet", (200, None)),
        ("other outlet", (404, "not_found")),
        ("no merchant", (400, "invalid_payload")),
    ],
)
def test_who_asks_where_it_does_not_answer_is_told(table, change, code):
    over = {}
    match change:
        case "off":
            lifecycle.disable(owner_of(table.location.merchant), table.install.pk)
        case "gone":
            lifecycle.uninstall(owner_of(table.location.merchant), table.install.pk)
        case "no outlet":
            over = {"location_id": None}
        case "other outlet":
            over = {"location_id": str(make_location(make_merchant()).pk)}
        case _:
            over = {"merchant_id": None}

    reply = table.post("tables.list", {}, **over)

    assert (reply.status_code, reply.json().get("error", {}).get("code")) == code


def test_integration_of_another_kind_is_told(table):
    table.integration = make_integration(capabilities={"receipt_qr": 1})
    table.keys = keys_of(table.integration)

    assert table.refused("tables.list", {}) == (422, "capability_unsupported")


@pytest.mark.parametrize("operation", ["check.opened", "nothing", ""])
def test_operation_that_partners_do_not_ask_is_not_there(table, operation):
    assert table.refused(operation, {})[0] == 404


# What the POS reads


def test_pos_reads_what_guests_have_paid(table):
    table.pay(table.ask("payment.start", START), 8000000, tip_cents=500000)
    token = {"Authorization": f"Bearer {make_token(table.location.merchant)}"}

    [row] = Client().get("/v1/table-payments", headers=token).json()["data"]

    assert (row["payment_id"], row["check_id"]) == ("g-1", "chk-58213")
    assert (row["amount_cents"], row["tip_cents"]) == (8000000, 500000)
    other = {"Authorization": f"Bearer {make_token(make_merchant())}"}
    assert Client().get("/v1/table-payments", headers=other).json()["data"] == []


@pytest.mark.django_db(transaction=True)
def test_two_guests_at_once_get_one_lock():
    table = Table()
    rounds = 8 if ON_POSTGRES else 2
    for number in range(rounds):
        table.says(check_id=f"chk-{number}")

    def starting(number, guest):
        asked = START | {"check_id": f"chk-{number}", "payment_id": f"g-{number}-{guest}"}

        def act():
            codes.append(table.post("payment.start", asked).status_code)

        return act

    codes = []
    race([[starting(number, guest) for guest in "abc"] for number in range(rounds)])

    assert (codes.count(200), codes.count(409)) == (rounds, 2 * rounds)


@pytest.mark.django_db(transaction=True)
def test_payment_that_is_reported_often_at_once_is_one():
    table = Table()
    table.says()
    lock = table.ask("payment.start", START)
    table.says("updated", version=2, total_cents=5000000, due_cents=5000000)
    answers = []

    race([[lambda: answers.append(table.pay(lock, 8000000))] * 4])

    assert answers == [{"due_cents": 0, "check_status": "open", "overpaid_cents": 3000000}] * 4
    assert AuditEntry.objects.filter(action="payment.overpaid").count() == 1
