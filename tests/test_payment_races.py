"""Several processes at one payment, as threads with connections of their own: all of it is exact."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from django.conf import settings as django_settings
from django.db import connection, connections
from django.utils import timezone

from dispatch import payment_states, payment_sweep, router
from dispatch.models import PaymentIntent
from dispatch.payment_models import Source, State
from dispatch.payment_states import Report
from dispatch.signing import standard_headers
from tests.conftest import ON_POSTGRES
from tests.factories import (
    keys_of,
    make_inbound,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_payment,
)
from tests.partners import Reply, running_partner
from tests.test_payments import NEW, PAID, REPORT, STARTED
from tests.test_races import race
from webhooks import processing

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 10 if ON_POSTGRES else 2
DUE = 5000000


class World:
    def __init__(self, partner):
        self.location = make_location(make_merchant(currency="IDR"))
        integration = make_integration(
            capabilities={"payment_method": 1, "payment_webhook_inbound": 1},
            inbound_events={"payment.updated": "payment_webhook_inbound"},
            api_base_url=partner.url,
        )
        key = keys_of(integration)["outbound"]
        self.install = make_install(self.location.merchant, integration)

        def answer(request):
            said = {"create": STARTED, "status": PAID}[request.path.rsplit("/", 1)[1]]
            body = json.dumps({"contract": "payment_method@1", "status": "ok", "data": said})
            raw = body.encode()
            return Reply(200, raw, standard_headers("m", int(time.time()), raw, [key]))

        partner.answer = answer

    def create(self, number):
        data = NEW | {"payment_id": number}
        return lambda: router.dispatch(
            self.location.merchant_id, self.location.pk, "payment_method", data, operation="create"
        )

    def post(self, number):
        row = make_inbound(
            self.install, type="payment.updated", data=REPORT | {"payment_id": number}
        )
        return lambda: processing.process(row.pk)


@pytest.fixture
def partner(settings):
    router.forget_partners()
    with running_partner(settings, lambda _request: Reply(500)) as running:
        yield running


def saying(row, status, amount=None):
    return lambda: payment_states.apply(row.pk, Report(Source.WEBHOOK, status, amount, "IDR"))


def test_reports_at_once_are_one_change_each_and_none_is_lost(partner):
    world = World(partner)
    rows = [make_payment(world.install, world.location) for _ in range(ROUNDS)]
    told = [
        *[(State.PAID, DUE)] * 3,
        (State.PENDING, None),
        (State.EXPIRED, None),
        (State.PARTIALLY_REFUNDED, 100),
        (State.PARTIALLY_REFUNDED, 300),
    ]

    outcomes = race([[saying(row, *item) for item in told] for row in rows])

    assert {name for outcome in outcomes for name in outcome} == {"done"}
    for row in PaymentIntent.objects.all():
        states = [change.state for change in row.changes.all()]
        assert (row.state, row.refunded_cents) == ("partially_refunded", 300)
        assert states.count("paid") <= 1
        previous = [change.previous for change in row.changes.all()]
        assert previous == ["pending", *states[:-1]]


def test_refunds_at_once_never_take_more_than_was_paid(partner):
    world = World(partner)
    rows = [
        make_payment(world.install, world.location, state="paid", paid_amount_cents=DUE)
        for _ in range(ROUNDS)
    ]

    def taking(row, number):
        return lambda: payment_states.reserve_refund(row.pk, f"{row.payment_id}-{number}", 2000000)

    race([[taking(row, number) for number in range(5)] for row in rows])

    taken = [sum(item.amount_cents for item in row.refunds.all()) for row in rows]
    assert taken == [4000000] * ROUNDS


def test_two_tills_begin_one_payment(partner):
    world = World(partner)
    numbers = [f"pay-{number}" for number in range(ROUNDS)]

    outcomes = race([[world.create(number)] * 3 for number in numbers])

    assert {name for outcome in outcomes for name in outcome} == {"done"}
    assert PaymentIntent.objects.count() == len(partner.requests) == ROUNDS
    assert set(PaymentIntent.objects.values_list("state", flat=True)) == {"pending"}


def test_webhook_that_comes_with_its_payment_is_not_lost(partner):
    world = World(partner)
    numbers = [f"pay-{number}" for number in range(ROUNDS)]

    race([[world.create(number), world.post(number)] for number in numbers])
    payment_sweep.sweep()

    assert set(PaymentIntent.objects.values_list("state", flat=True)) == {"paid"}


def test_two_sweeps_ask_once(partner):
    world = World(partner)
    for _ in range(ROUNDS):
        make_payment(world.install, world.location, next_sweep_at="2026-01-01T00:00:00Z")
    start = threading.Barrier(2)

    def sweep():
        start.wait(30)
        try:
            payment_sweep.sweep()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(partner.requests) == ROUNDS
    assert set(PaymentIntent.objects.values_list("state", flat=True)) == {"paid"}


KILLED = """
import json, sys
import django
django.setup()
from uuid import UUID
from django.conf import settings
from django.db import connections
name, host, act, merchant, location, data = sys.argv[1:]
connections["default"].settings_dict["NAME"] = name
settings.OUTBOUND_ALLOW = [host]
from dispatch import payment_sweep, router
if act == "sweep":
    payment_sweep.sweep()
else:
    place = UUID(merchant), UUID(location)
    router.dispatch(*place, "payment_method", json.loads(data), operation="create")
"""


@pytest.mark.parametrize("act", ["create", "sweep"])
def test_process_that_is_killed_while_its_partner_answers_loses_no_payment(partner, act):
    world = World(partner)
    answer, partner.answer = partner.answer, partner.hang
    if act == "sweep":
        make_payment(
            world.install, world.location, payment_id="pay-1", next_sweep_at=timezone.now()
        )
    place = [str(world.location.merchant_id), str(world.location.pk)]
    name = str(connection.settings_dict["NAME"])
    command = [sys.executable, "-c", KILLED, name, partner.host, act, *place, json.dumps(NEW)]
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "poszhub.settings"}

    with subprocess.Popen(command, cwd=django_settings.BASE_DIR, env=env) as process:
        partner.wait_for(1, 60)
        process.kill()
    row = PaymentIntent.objects.get()
    left = (row.state, row.next_sweep_at > timezone.now())
    partner.answer = answer
    PaymentIntent.objects.update(next_sweep_at=timezone.now())
    payment_sweep.sweep()

    assert process.returncode == -signal.SIGKILL
    assert left == ("pending", True)
    assert PaymentIntent.objects.get().state == "paid"
