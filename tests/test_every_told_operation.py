"""Every operation that nobody waits for, through a sandbox process of its own: what Posz tells
partners by deliveries, and what partners post.

The lists come from the registry. Whatever happens to a delivery, it is kept and sent again as the same
bytes; whatever is posted, and how often, has one effect.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.test import Client
from django.utils import timezone

from catalog.capabilities import CAPABILITIES, NEED_CONSENT, Direction
from dispatch.operations import all_operations, inbound_operations, told_operations
from dispatch.operations.notation import Wire
from installs.models import AuditEntry
from tests.factories import make_location, make_merchant
from tests.sandbox_process import SLUG, installed_partner, running_sandbox
from tests.stack import free_ports
from tests.test_exports import configured
from webhooks import inbound, outbound
from webhooks.catalogue import EVENT_TYPES
from webhooks.models import Attempt, Delivery, DeliveryStatus, InboundEvent, InboundStatus

pytestmark = pytest.mark.django_db

OUTBOUND = [pair for pair in all_operations() if pair[1].direction is Direction.OUTBOUND]
# One for each event that causes an operation.
CAUSES = [
    pytest.param(contract, event, id=f"{contract.path(operation)}-{event}")
    for contract, operation in OUTBOUND
    for event in operation.events
]
POSTED = [pytest.param(*pair, id=pair[0].path(pair[1])) for pair in told_operations()]
# What a partner asks Posz is answered at once, at addresses of their own with tests of their own.
ANSWERED = [pair for pair in inbound_operations() if pair[1].answer is not None]

PURPOSES = ["marketing_email", "marketing_whatsapp", "marketing_sms", "profiling"]

every_cause = pytest.mark.parametrize(("contract", "event"), CAUSES)
every_post = pytest.mark.parametrize(("contract", "operation"), POSTED)

# What becomes of an event that is stored, where its record is right and where it is wrong. Ids of
# articles and of people have to be mapped first, and that somebody signed out is only noted.
AFTERWARDS = dict.fromkeys(CAPABILITIES, InboundStatus.PROCESSED) | dict.fromkeys(
    ("inventory_replenish_inbound", "staff_schedule_import"), InboundStatus.PARKED
)
AFTERWARDS_IF_WRONG = dict.fromkeys(CAPABILITIES, InboundStatus.QUARANTINED) | {
    "auth_provider": InboundStatus.PROCESSED
}


def test_no_operation_is_missing():
    others = [
        pair for pair in all_operations() if pair[1].is_asked or pair[1].wire is not Wire.POSZ
    ]
    told = [pair for pair in OUTBOUND if pair[1].events]
    lists = [others, told, [tuple(param.values) for param in POSTED], ANSWERED]

    assert sum(len(pairs) for pairs in lists) == len(list(all_operations()))
    assert {contract.capability for pairs in lists for contract, _ in pairs} == set(CAPABILITIES)


class Doorstep(BaseHTTPRequestHandler):
    """The hub's webhook endpoint in the thread of the test, where its database is."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.is_out:
            self.answer(503, b"{}")
            return
        headers = {name: value for name, value in self.headers.items() if name.startswith("X-")}
        response = Client().post(self.path, body, content_type="application/json", headers=headers)
        self.answer(response.status_code, response.content)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture(scope="module")
def doorstep():
    with HTTPServer(("127.0.0.1", 0), Doorstep) as server:
        server.timeout = 10
        yield server


@pytest.fixture(scope="module")
def process(doorstep):
    with running_sandbox(f"http://127.0.0.1:{doorstep.server_port}") as running:
        yield running


@pytest.fixture
def sandbox(process, doorstep, settings):
    doorstep.is_out = False
    process.forget()
    settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, process.host]
    settings.DELIVERY_TIMEOUT_SECONDS = 5
    return process


@pytest.fixture
def location():
    return make_location(make_merchant(currency="IDR"))


# What Posz tells partners


class Told:
    def __init__(self, location, contract, event, url):
        self.location, self.event = location, event
        over = {"outbound_events": [event], "outbound_url": f"{url}/events/{SLUG}"}
        self.install = installed_partner(location.merchant, contract, **over)
        if contract.capability in NEED_CONSENT:
            configured(self.install, purposes=PURPOSES, fields=["name"])

    def happen(self):
        new = outbound.NewEvent(
            self.event,
            self.location.merchant_id,
            self.location.pk,
            None,
            None,
            EVENT_TYPES[self.event].example,
        )
        outbound.accept_event(new)
        outbound.deliver_due()

    def send_again(self):
        Delivery.objects.update(next_attempt_at=timezone.now())
        outbound.deliver_due()

    @property
    def delivery(self):
        return Delivery.objects.get()


@pytest.fixture
def told(location, sandbox, contract, event):
    return Told(location, contract, event, sandbox.url)


def is_kept_for_later(delivery):
    return delivery.status == DeliveryStatus.PENDING and delivery.next_attempt_at > timezone.now()


@every_cause
def test_event_is_delivered_signed_and_whole(told, sandbox, event):
    told.happen()

    [request] = sandbox.requests()
    body = json.loads(request["body"])
    assert (told.delivery.status, request["path"]) == (DeliveryStatus.DELIVERED, f"/events/{SLUG}")
    assert request["headers"]["x-posz-event"] == body["type"] == event
    assert request["headers"]["webhook-id"] == body["id"] == str(told.delivery.event_id)
    assert body["merchant_id"] == str(told.location.merchant_id)
    assert sandbox.call("GET", "/_events")["events"][SLUG]["types"][event] >= 1


# How it fails has nothing to do with what is sent: one cause of each operation will do.
one_cause_each = pytest.mark.parametrize(
    ("contract", "event"),
    [
        pytest.param(contract, operation.events[0], id=contract.path(operation))
        for contract, operation in OUTBOUND
    ],
)


@one_cause_each
def test_refused_event_is_kept_and_sent_again_as_the_same_bytes(told, sandbox):
    sandbox.behave("decline", times=1)

    told.happen()
    was_kept = is_kept_for_later(told.delivery)
    told.send_again()

    first, second = sandbox.requests()
    assert (was_kept, told.delivery.status) == (True, DeliveryStatus.DELIVERED)
    assert first["body"] == second["body"]
    assert first["headers"]["webhook-id"] == second["headers"]["webhook-id"]
    numbers = [item["headers"]["x-posz-attempt"] for item in (first, second)]
    assert numbers == ["1", "2"]
    assert list(Attempt.objects.order_by("number").values_list("response_status", flat=True)) == [
        422,
        200,
    ]


@one_cause_each
def test_partner_that_hangs_costs_one_attempt(told, sandbox, settings):
    settings.DELIVERY_TIMEOUT_SECONDS = 0.3
    sandbox.behave("hang")

    told.happen()

    assert is_kept_for_later(told.delivery)
    assert Attempt.objects.get().problem == "deadline"


@one_cause_each
def test_slow_partner_is_waited_for(told, sandbox):
    sandbox.behave("slow", delay_ms=100)

    told.happen()

    assert told.delivery.status == DeliveryStatus.DELIVERED


@one_cause_each
@pytest.mark.parametrize("mode", ["reset", "nobody there"])
def test_event_waits_for_a_partner_that_is_dead(told, sandbox, settings, mode):
    if mode == "reset":
        sandbox.behave(mode)
    else:
        [port] = free_ports(1)
        settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, f"127.0.0.1:{port}"]
        partner = told.install.integration
        partner.outbound_url = f"http://127.0.0.1:{port}/events"
        partner.save(update_fields=["outbound_url"])

    told.happen()

    assert is_kept_for_later(told.delivery)
    assert Attempt.objects.get().response_status is None


@one_cause_each
def test_event_that_is_replayed_is_the_same_and_known(told, sandbox):
    told.happen()
    before = sandbox.call("GET", "/_events")["events"][SLUG]

    outbound.replay(told.delivery)
    outbound.deliver_due()

    after = sandbox.call("GET", "/_events")["events"][SLUG]
    first, second = sandbox.requests()
    assert first["body"] == second["body"]
    assert (after["deliveries"], after["events"]) == (before["deliveries"] + 1, before["events"])


# What partners post


class Poster:
    def __init__(self, sandbox, doorstep, location, contract, operation):
        self.sandbox, self.doorstep = sandbox, doorstep
        over = {"inbound_events": {operation.name: contract.capability}}
        self.install = installed_partner(location.merchant, contract, **over)
        self.order = {
            "capability": contract.capability,
            "operation": operation.name,
            "merchant_id": str(location.merchant_id),
            "location_id": str(location.pk),
        }

    def post(self, **over):
        return self._while_answering("/_send", {**self.order, **over})

    def post_again(self, sent):
        return self._while_answering(f"/_send/{sent['event_id']}/again", {})

    def _while_answering(self, path, body):
        with ThreadPoolExecutor(1) as elsewhere:
            sent = elsewhere.submit(self.sandbox.call, "POST", path, body)
            self.doorstep.handle_request()
            answer = sent.result()
        return {**answer, "answer": json.loads(answer["answer"])}


@pytest.fixture
def poster(sandbox, doorstep, location, contract, operation):
    return Poster(sandbox, doorstep, location, contract, operation)


def worked_on():
    row = InboundEvent.objects.get()
    inbound.process(row.pk)
    row.refresh_from_db()
    return row


@every_post
def test_post_is_stored_answered_and_worked_on(poster, location, contract, operation):
    sent = poster.post()
    row = worked_on()

    assert sent["status"] == 200
    assert sent["answer"] == {"status": "accepted", "deduped": False, "id": str(row.pk)}
    assert (row.capability, row.type) == (contract.capability, operation.name)
    assert (row.install_id, row.location_id) == (poster.install.pk, location.pk)
    assert row.status == AFTERWARDS[contract.capability]


@every_post
def test_post_that_somebody_else_signed_is_refused_and_not_stored(poster):
    sent = poster.post(way="wrong_signature")

    assert (sent["status"], sent["answer"]["error"]["code"]) == (401, "invalid_signature")
    assert not InboundEvent.objects.exists()


@every_post
def test_post_with_a_wrong_record_is_stored_for_somebody_to_look_at(poster, contract):
    sent = poster.post(way="malformed")
    row = worked_on()

    assert (sent["status"], sent["answer"]["status"]) == (200, "accepted")
    assert row.status == AFTERWARDS_IF_WRONG[contract.capability]


@every_post
def test_post_that_is_repeated_is_known_and_has_one_effect(poster):
    sent = poster.post()
    worked_on()
    effects = AuditEntry.objects.count()

    again = poster.post_again(sent)
    worked_on()

    assert again["answer"] == {"status": "duplicate", "deduped": True, "id": sent["answer"]["id"]}
    assert AuditEntry.objects.count() == effects


@every_post
def test_post_that_the_hub_could_not_take_is_taken_when_it_is_sent_again(poster, doorstep):
    doorstep.is_out = True
    sent = poster.post()
    doorstep.is_out = False

    again = poster.post_again(sent)

    assert (sent["status"], again["answer"]["status"]) == (503, "accepted")
    assert InboundEvent.objects.count() == 1
