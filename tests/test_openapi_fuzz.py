"""Every operation of the OpenAPI document with generated requests, good and bad, against a whole running
hub: never a 5xx, nothing that the document does not say, no refusal outside the envelope.
`make fuzz` tries more.

Most ids are those of things that exist, most requests are signed or show a token: else everything
would end at the door.
"""

import contextlib
import hashlib
import hmac
import os
import time
from collections import Counter
from operator import methodcaller
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import schemathesis
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings, strategies
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from catalog.envelope import STATUS_OF
from dispatch.operations.payments import CHECK
from dispatch.signing import standard_headers
from tests import stack
from tests.conftest import redis_of_this_worker
from tests.factories import make_order
from tests.traps import BY_THE_SERVER

pytestmark = [pytest.mark.servers, pytest.mark.alone]
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "10"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
DOCUMENT = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True))
OPERATIONS: dict[str, Any] = {
    operation.label: operation
    for operation in map(methodcaller("ok"), DOCUMENT.get_all_operations())
}
INSTALLED = {
    "spliteasy": {},
    "demo-table-a": {},
    "demo-qr-a": {},
    "demo-key": {"api_key": "demo-valid-key", "greeting": "Hi"},
}
IDS = {
    "install_id": "SELECT id FROM merchant_integration WHERE merchant_id = %s",
    "location_id": "SELECT id FROM location WHERE merchant_id = %s",
    "delivery_id": "SELECT id FROM delivery WHERE merchant_id = %s LIMIT 20",
    "recovery_id": "SELECT id FROM delivery_recovery WHERE merchant_id = %s LIMIT 20",
    "event_id": "SELECT id FROM inbound_event WHERE merchant_id = %s LIMIT 20",
    "payment_id": "SELECT payment_id FROM payment_intent WHERE merchant_id = %s LIMIT 20",
    "mapping_id": """
        SELECT mapping.id FROM mapping JOIN merchant_integration held ON held.id = install_id
        WHERE merchant_id = %s AND external_id = 'fuzz'
    """,
    "mapped_install_id": """
        SELECT install_id FROM mapping JOIN merchant_integration held ON held.id = install_id
        WHERE merchant_id = %s AND external_id = 'fuzz'
    """,
    "inbox_id": "SELECT id FROM inbox WHERE merchant_id = %s LIMIT 20",
    "plan": "SELECT id FROM install_plan WHERE merchant_id = %s ORDER BY created_at DESC LIMIT 2",
}
# As if an adapter had broken: only what was set aside can be processed again.
SET_ASIDE = """
    UPDATE inbound_event SET status = 'quarantined', attempts = 5, problem = 'TypeError'
    WHERE merchant_id = %s
"""
# As if a till had asked a partner for it; there is none here that takes payments.
PAYMENT = """
    INSERT INTO payment_intent (id, merchant_id, location_id, integration_id, install_id, payment_id,
        order_id, amount_cents, tip_cents, currency, state, problem, provider_ref, paid_amount_cents,
        refunded_cents, was_asked, created_at, expires_at)
    SELECT gen_random_uuid(), location.merchant_id, location.id, integration.id, gen_random_uuid(),
        'pay-1', 'o-1', 100, 0, 'IDR', 'paid', '', 'p-1', 100, 0, true, now(), now()
    FROM location, integration WHERE location.merchant_id = %s AND slug = 'demo-table-a' LIMIT 1
    ON CONFLICT DO NOTHING
"""
# An id to map at one install, and something for the POS to take over.
IN_THE_INBOX = """
    INSERT INTO mapping (id, install_id, kind, external_id, name, posz_id, state, events,
        first_seen_at, last_seen_at)
    SELECT gen_random_uuid(), id, 'sku', 'fuzz', '', '', 'open', 1, now(), now()
    FROM merchant_integration held
    WHERE merchant_id = %(merchant)s AND NOT EXISTS (
        SELECT FROM mapping JOIN merchant_integration other ON other.id = install_id
        WHERE other.merchant_id = held.merchant_id AND external_id = 'fuzz')
    LIMIT 1;
    INSERT INTO inbox (id, event_id, merchant_id, integration_id, install_id, capability, operation,
        contract_version, external_id, data, notes, needs_approval, withheld, acknowledged_by,
        created_at, sequence)
    SELECT gen_random_uuid(), gen_random_uuid(), merchant_id, integration_id, id, 'order_inbound',
        'order.cancelled', 1, 'o-1', '{"version": 1}', '{}', false, '', '', now(),
        (SELECT coalesce(max(sequence), 0) + 1 FROM inbox WHERE merchant_id = held.merchant_id)
    FROM merchant_integration held WHERE merchant_id = %(merchant)s LIMIT 1
"""
CLIENT = """
from catalog.models import Integration
from installs import issuer
client = issuer.create_client(Integration.objects.get(slug="spliteasy"), "test")
print("client", client.row.client_id, client.secret)
"""
WEBHOOK = "POST /v1/integrations/{slug}/webhook"
TOKEN = "POST /v1/oauth/token"
TABLE = "POST /v1/integrations/{slug}/pay_at_table/{operation}"
# Only where a provider can be asked whether it is true; that has tests of its own,
# and a menu wants a partner that has one.
NOT_ENTERED = {
    "POST /v1/integrations/{slug}/webhook/{secret}",
    "GET /v1/integrations/{slug}/menu",
}
CAPABILITIES = ["receipt_qr", "receipt_pretext", "pay_at_table", "payment_webhook_inbound"]
EVENT_TYPES = ["order.paid", "bill.settled"]
DATA = [{"order": make_order()}, {"bill_token": "t", "external_order_id": "o", "amount": 1}]
# Names that mean something else there.
OWN_WORDS: dict[str, Any] = {
    TABLE: {
        "slug": ["demo-table-a", "demo-table-b"],
        "operation": ["tables.list", "check.get", "payment.start"],
        "data": [{}, {"check_id": CHECK["check_id"]}],
    }
}
# Generated parts of these seldom fit each other: bodies that are right as a whole, by known names.
WHOLE = {
    "POST /v1/installs": ["new_integration"],
    "PATCH /v1/installs/{install_id}": ["config"],
    "POST /v1/installs/preview": ["new_integration"],
    "POST /v1/installs/swap": ["plan"],
    "POST /v1/installs/{install_id}/mappings": ["kind", "external_id", "posz_id"],
    "POST /v1/inbox/acknowledge": ["inbox_ids"],
    TOKEN: ["grant_type", "client_id", "client_secret"],
}


class World:
    """A hub with the partner sandbox, things in it, and who may speak for them."""

    def __init__(self, hub):
        self.hub = hub
        self.answers = Counter()
        self.keys = {
            slug: bytes.fromhex(secrets["inbound_secret"])
            for slug, secrets in hub.seed["integrations"].items()
            if secrets.get("inbound_secret")
        }
        printed = hub.manage("shell", "-c", CLIENT)
        self.client_id, self.client_secret = printed.split("client ", 1)[1].split()[:2]

    def furnish(self, merchant):
        """So that something is there, whatever was taken away before."""
        for slug, config in INSTALLED.items():
            self.post("/v1/installs", merchant, {"integration": slug, "config": config})
        self.post("/v1/events", merchant, {"type": "order.paid", "data": {}})
        for wanted, holder in (("demo-table-b", "demo-table-a"), ("demo-table-a", "demo-table-b")):
            asked = {"action": "install", "integration": wanted, "instead_of": [holder]}
            self.post("/v1/installs/preview", merchant, asked)
        self.seat_guests(merchant)
        self.receive(merchant)

    def seat_guests(self, merchant):
        """A check at a table, which the partner that is installed gets."""
        [outlet, *_others] = self.known_rows(merchant, "location_id")
        event = {"type": "check.opened", "location_id": outlet, "data": {"check": CHECK}}
        self.post("/v1/events", merchant, event)
        for slug in ("demo-table-a", "demo-table-b"):
            asked = {"merchant_id": merchant, "location_id": outlet, "operation": "check.get"}
            case = OPERATIONS[TABLE].Case(
                path_parameters={"slug": slug, "operation": "check.get"},
                body=asked | {"data": {"check_id": CHECK["check_id"]}},
                media_type="application/json",
            )
            reply = case.call(base_url=self.hub.url, auth=self.sign, timeout=20)
            assert reply.status_code in {200, 403, 404}, reply.text
            self.answers[TABLE, reply.status_code] += 1

    def receive(self, merchant):
        """An event of the partner's, set aside."""
        body = {"event_id": str(uuid4()), "type": "bill.settled", "merchant_id": merchant}
        case = OPERATIONS[WEBHOOK].Case(
            path_parameters={"slug": "spliteasy"},
            body=body | {"data": DATA[1]},
            media_type="application/json",
        )
        reply = case.call(base_url=self.hub.url, auth=self.sign, timeout=20)
        # A generated request may have switched it off.
        assert reply.status_code in {200, 403}, reply.text
        self.answers[WEBHOOK, reply.status_code] += 1
        with psycopg.connect(
            self.hub.env["DATABASE_URL"], cursor_factory=psycopg.ClientCursor
        ) as database:
            database.execute(SET_ASIDE, [merchant])
            database.execute(PAYMENT, [merchant])
            database.execute(IN_THE_INBOX, {"merchant": merchant})

    def post(self, path, merchant, body):
        case = OPERATIONS[f"POST {path}"].Case(body=body, media_type="application/json")
        token = self.hub.seed["merchant_tokens"][merchant]
        headers = {"Authorization": f"Bearer {token}"}
        reply = case.call(base_url=self.hub.url, headers=headers, timeout=20)
        assert reply.status_code in {200, 201, 202, 409}, reply.text

    def known_rows(self, merchant, name):
        with psycopg.connect(self.hub.env["DATABASE_URL"]) as database:
            return [str(value) for (value,) in database.execute(IDS[name], [merchant])]

    def known(self, merchant):
        """Names of fields, parameters and parts of paths to values that exist right now."""
        with psycopg.connect(self.hub.env["DATABASE_URL"]) as database:
            rows = {
                name: [str(value) for (value,) in database.execute(sql, [merchant])]
                for name, sql in IDS.items()
            }
        return {
            **rows,
            "merchant_id": [merchant],
            "install": rows["install_id"],
            "ids": [[number] for number in rows["delivery_id"] + rows["event_id"]],
            "inbox_ids": [[number] for number in rows["inbox_id"]],
            "kind": ["sku", "employee"],
            "external_id": ["S-1", "S-2"],
            "posz_id": ["BERAS"],
            "numbers": [{place: f"n-{place}"} for place in rows["location_id"]],
            "grant_type": ["client_credentials"],
            "client_id": [self.client_id],
            "client_secret": [self.client_secret],
            "slug": list(INSTALLED),
            "integration": list(INSTALLED),
            "new_integration": ["demo-qr-b"],
            "capability": CAPABILITIES,
            "type": EVENT_TYPES,
            "event_type": EVENT_TYPES,
            "data": DATA,
            "operation": [""],
            "config": [{}, *INSTALLED.values()],
        }

    def sign(self, request):
        """As the partner of the path would, where it is one that signs."""
        slug = request.path_url.split("/")[3] if request.path_url.count("/") > 3 else ""
        key = self.keys.get(slug)
        if key is None:
            return request
        if request.method == "POST":
            body = request.body or b""
            body = body.encode() if isinstance(body, str) else body
            digest = hmac.new(key, body, hashlib.sha256).hexdigest()
            request.headers[f"X-{slug}-Signature"] = digest
        else:
            body = request.path_url.encode()
        request.headers.update(standard_headers("req-1", int(time.time()), body, [key]))
        return request


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    with (
        stack.fresh_database(os.environ["DATABASE_URL"]) as database,
        stack.running_hub(
            folder,
            DATABASE_URL=database,
            REDIS_URL=redis_of_this_worker(2),
            INBOUND_RATE_PER_MINUTE="1000000",
        ) as hub,
    ):
        yield World(hub)


# Three in four, so that several at once are still often all right.
OFTEN = strategies.sampled_from([True, True, True, False])


def with_what_exists(draw, case, known):
    """Each place of the case that has a known name may get a value that exists."""
    if "mapping_id" in (case.path_parameters or {}):
        known = known | {"install_id": known["mapped_install_id"]}
    if case.path.endswith("/inbox/acknowledge"):
        known = known | {"ids": known["inbox_ids"]}
    for place in (case.path_parameters, case.query, case.body):
        if isinstance(place, dict):
            for name in place.keys() & known.keys():
                if known[name] and draw(OFTEN):
                    place[name] = draw(strategies.sampled_from(known[name]))


def whole_body(label, known):
    """Right in all its parts, where generated parts seldom fit each other."""
    known_parts = {
        name.removeprefix("inbox_").removeprefix("new_"): strategies.sampled_from(known[name])
        for name in WHOLE[label]
    }
    return strategies.fixed_dictionaries(known_parts)


def is_enveloped(label, response):
    with contextlib.suppress(ValueError, KeyError, TypeError):
        error = response.json()["error"]
        if label == TOKEN:
            # Clients of that endpoint read the shape of RFC 6749 and no other.
            return isinstance(error, str) and bool(error)
        return STATUS_OF[error["code"]] == response.status_code and bool(error["message"])
    return False


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("label", OPERATIONS)
def test_operation_answers_what_the_document_says(world, label, mode):
    operation, merchants = OPERATIONS[label], list(world.hub.seed["merchant_tokens"])
    for merchant in merchants:
        world.furnish(merchant)
    own = OWN_WORDS.get(label, {})
    known = {merchant: world.known(merchant) | own for merchant in merchants}

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategies.data(), operation.as_strategy(generation_mode=mode))
    def ask(data, case):
        merchant = data.draw(strategies.sampled_from(merchants))
        with_what_exists(data.draw, case, known[merchant])
        own_token, pos_token = (
            world.hub.seed["merchant_tokens"][merchant],
            world.hub.seed["pos_token"],
        )
        headers = {}
        if data.draw(OFTEN):
            token = data.draw(strategies.sampled_from([own_token, pos_token]))
            headers["Authorization"] = f"Bearer {token}"
        if mode is GenerationMode.POSITIVE and label in WHOLE and not data.draw(OFTEN):
            case.body = data.draw(whole_body(label, known[merchant]))
            # Who asks for a token has none.
            headers = {} if label == TOKEN else {"Authorization": f"Bearer {own_token}"}
        signed = {"auth": world.sign} if data.draw(OFTEN) else {}

        response = case.call(base_url=world.hub.url, headers=headers, timeout=20, **signed)

        if response.status_code in BY_THE_SERVER and "x-request-id" not in response.headers:
            return  # to what is no HTTP, or too long for it: nobody was asked
        world.answers[label, response.status_code] += 1
        case.validate_response(response, checks=CHECKS)
        assert response.status_code < 400 or is_enveloped(label, response), response.content

    # A bad request to what takes nothing can't be made.
    with contextlib.suppress(Unsatisfiable):
        ask()


def test_operations_were_entered(world):
    """Runs last: generated requests that all ended at the door would prove nothing."""
    codes = {label: set() for label in OPERATIONS}
    for label, status in world.answers:
        codes[label].add(status)

    for label, statuses in codes.items():
        print(f"{label:55} {sorted(statuses)}")  # noqa: T201
    shut_out = {label for label, found in codes.items() if all(code >= 400 for code in found)}
    # A few requests each need not find their way into all of them.
    missed = shut_out - NOT_ENTERED
    assert len(missed) <= (8 if EXAMPLES < 100 else 0), missed
