"""The short way of a webhook gives the answers of the rules, and believes nothing that is old."""

import hashlib
import hmac
import io
import json
import time
from dataclasses import replace
from uuid import uuid4

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection

from catalog.envelope import ApiError
from catalog.inbound_parts import SignedRequest
from catalog.models import Integration
from installs import connection as connection_to_partner
from installs import credentials, lifecycle
from installs.models import Install, Merchant
from poszhub.shortcut import Shortcut
from tests.factories import (
    keys_of,
    make_install,
    make_location,
    make_merchant,
    make_spliteasy,
    owner_of,
)
from webhooks import fast_lane, inbound
from webhooks.models import InboundEvent

pytestmark = [pytest.mark.servers, pytest.mark.django_db]
PATH = "/v1/integrations/spliteasy/webhook"
application = Shortcut(WSGIHandler())


@pytest.fixture
def spliteasy():
    # Another test's integration, which never was, is remembered for a second.
    fast_lane._remembered.clear()
    return make_spliteasy()


@pytest.fixture
def long_memory(monkeypatch):
    """What is remembered is not read anew meanwhile, however slow the machine is."""
    monkeypatch.setattr(fast_lane, "REMEMBERED_SECONDS", 3600.0)


@pytest.fixture
def install(spliteasy):
    return make_install(make_merchant(), spliteasy)


def body_of(install=None, **over):
    defaults = {
        "event_id": "evt-1",
        "type": "bill.settled",
        "merchant_id": str(install.merchant_id) if install else ...,
        "occurred_at": "2026-11-23T05:00:00Z",
        "data": {"bill_token": "tok"},
    }
    return json.dumps({k: v for k, v in (defaults | over).items() if v is not ...}).encode()


def signed(body, key):
    return {"HTTP_X_SPLITEASY_SIGNATURE": hmac.new(key, body, hashlib.sha256).hexdigest()}


def post(body, headers, **over):
    """Through the WSGI application, as a server calls it."""
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": PATH,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        **headers,
        **over,
    }
    told = {}

    def start_response(status, items):
        told.update({"status": int(status[:3]), "headers": dict(items)})

    content = b"".join(application(environ, start_response))
    return told["status"], json.loads(content), told["headers"]


@pytest.fixture(autouse=True)
def connection_of_the_test():
    """Django's own test client keeps it open across requests in the same way."""
    ends = request_started, request_finished
    for signal in ends:
        signal.disconnect(close_old_connections)
    yield
    for signal in ends:
        signal.connect(close_old_connections)


def request_of(body, key):
    signature = hmac.new(key, body, hashlib.sha256).hexdigest()
    headers = [("x-spliteasy-signature", signature), ("cookie", "c")]
    return SignedRequest("POST", f"http://hub{PATH}", PATH, "", headers, body, time.time())


def by_the_short_way(body, key):
    return fast_lane.accept("spliteasy", request_of(body, key))


def by_the_rules(body, key):
    [receipt] = inbound.receive_by_the_rules("spliteasy", request_of(body, key)).receipts
    return receipt


def columns(row):
    left_out = {"id", "install_id", "merchant_id", "received_at", "due_at"}
    names = [field.attname for field in InboundEvent._meta.concrete_fields]
    return {name: getattr(row, name) for name in names if name not in left_out}


CASES = {
    "usual": {},
    "short names": {"event_id": ..., "id": "e", "type": ..., "event": "bill.expired"},
    "no time": {"occurred_at": ...},
    "number": {"merchant_id": ..., "external_merchant_id": "se-1"},
}
OTHERS = {
    "unknown type": {"type": "bill.unheard_of"},
    "not its capability": {"type": "bill.tipped"},
    "no id": {"event_id": ""},
    "unknown merchant": {"merchant_id": str(uuid4())},
    "unknown number": {"merchant_id": ..., "external_merchant_id": "nobody"},
}


def make_state(state, integration):
    """A merchant in the state, and the number of the event's outlet, where it names one."""
    merchant = make_merchant()
    here, there = make_location(merchant).pk, make_location(merchant).pk
    places = {"outlet": [here], "override": [None, here], "two": [here, there]}
    rows = [make_install(merchant, integration, place) for place in places.get(state, [None])]
    Install.objects.filter(merchant=merchant).update(
        external_merchant_id="se-1", is_enabled=state != "off"
    )
    return merchant, here, [row.pk for row in rows]


@pytest.mark.parametrize("with_outlet", [False, True])
@pytest.mark.parametrize("state", ["everywhere", "outlet", "override", "two", "off"])
@pytest.mark.parametrize("case", CASES | OTHERS)
def test_what_the_short_way_accepts_the_rules_accept_and_store_alike(
    spliteasy, case, state, with_outlet
):
    key, found = keys_of(spliteasy)["inbound"], []
    for accept in (by_the_short_way, by_the_rules):
        merchant, here, installs = make_state(state, spliteasy)
        fields = {"merchant_id": str(merchant.pk)} | (CASES | OTHERS)[case]
        body = body_of(**fields, **({"location_id": str(here)} if with_outlet else {}))
        try:
            first, again = accept(body, key), accept(body, key)
        except ApiError as refusal:
            found.append(refusal.code)
        else:
            rows = [columns(row) for row in InboundEvent.objects.filter(merchant=merchant)]
            place = InboundEvent.objects.filter(install_id__in=installs).values("install_id")
            found.append(
                first
                and (
                    rows,
                    [installs.index(row["install_id"]) for row in place],
                    (first.is_duplicate, again.is_duplicate, first.id == again.id),
                )
            )
        Install.objects.filter(merchant=merchant).update(external_merchant_id="")

    short, rules = found
    plain = state in {"everywhere", "outlet"} or (with_outlet and state in {"override", "two"})
    is_usual = case in CASES and plain
    assert (short is not None) == is_usual
    if is_usual:
        assert alike(short) == alike(rules)


def alike(found):
    """Without what differs between the two merchants by itself."""
    rows, places, told = found
    differing = {"body", "body_digest"}
    return [{k: v for k, v in row.items() if k not in differing} for row in rows], places, told


def test_event_is_answered_by_the_shortcut_with_the_headers_of_every_answer(install):
    body = body_of(install)

    status, answer, headers = post(body, signed(body, keys_of(install.integration)["inbound"]))

    assert status == 200
    assert answer == {
        "status": "accepted",
        "deduped": False,
        "id": str(InboundEvent.objects.get().pk),
    }
    assert {"X-Request-Id", "X-Content-Type-Options", "Content-Security-Policy"} <= headers.keys()
    assert headers["Content-Type"] == "application/json"


def test_event_takes_one_statement_when_all_is_remembered(
    long_memory, install, django_assert_num_queries
):
    key = keys_of(install.integration)["inbound"]
    by_the_short_way(body_of(install), key)
    body = body_of(install, event_id="evt-2")

    with django_assert_num_queries(1):
        post(body, signed(body, key))


def test_what_is_a_second_old_is_read_anew_by_one_request_only(long_memory, install):
    key = keys_of(install.integration)["inbound"]
    assert by_the_short_way(body_of(install), key)
    known = fast_lane._remembered["spliteasy"]
    fast_lane._remembered["spliteasy"] = replace(known, until=time.monotonic() - 1)
    reads, meanwhile = [], []

    def watch(execute, sql, params, many, context):
        if "integration_secret" in sql and "INSERT" not in sql:
            reads.append(sql)
            # Comes in while the first one reads, as another thread's would.
            meanwhile.append(by_the_short_way(body_of(install, event_id="evt-3"), key))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        passed = by_the_short_way(body_of(install, event_id="evt-2"), key)

    assert passed is not None
    assert [item is not None for item in meanwhile] == [True]
    assert len(reads) == 1


def test_known_event_takes_two_statements(long_memory, install, django_assert_num_queries):
    key = warm(install)
    body = body_of(install, event_id="warm")

    with django_assert_num_queries(2):
        again = by_the_short_way(body, key)

    assert again.is_duplicate


def test_change_costs_one_event_the_long_way(install):
    key = warm(install)
    Merchant.touch(install.merchant_id)

    found = [by_the_short_way(body_of(install, event_id=str(n)), key) for n in range(2)]

    assert [item is None for item in found] == [True, False]


def test_foreign_host_is_refused_in_the_envelope(install):
    body = body_of(install)
    headers = signed(body, keys_of(install.integration)["inbound"])

    status, answer, _headers = post(body, headers, HTTP_HOST="evil.example")

    assert (status, answer["error"]["code"]) == (400, "invalid_payload")


def test_body_with_another_content_is_known_and_flagged(install):
    key = keys_of(install.integration)["inbound"]
    first = by_the_short_way(body_of(install), key)

    again = by_the_short_way(body_of(install, data={"amount": 1}), key)

    assert (again.id, again.is_duplicate) == (first.id, True)
    assert InboundEvent.objects.get().mismatched_at is not None


def warm(install):
    """Everything is remembered, as in a process that has taken such an event a moment ago."""
    key = keys_of(install.integration)["inbound"]
    assert by_the_short_way(body_of(install, event_id="warm"), key) is not None
    return key


def status_of(install, key, **over):
    body = body_of(install, event_id=str(uuid4()), **over)
    status, answer, _headers = post(body, signed(body, key))
    return status, answer.get("error", {}).get("code")


def test_install_that_was_switched_off_is_refused_at_once(install):
    key = warm(install)

    lifecycle.disable(owner_of(install.merchant), install.pk)

    assert status_of(install, key) == (403, "integration_disabled")


def test_install_that_left_is_refused_at_once(install):
    key = warm(install)

    lifecycle.uninstall(owner_of(install.merchant), install.pk)

    assert status_of(install, key) == (404, "integration_not_installed")


def test_replay_is_refused_like_a_new_event_after_a_change(install):
    key = warm(install)
    body = body_of(install, event_id="warm")
    lifecycle.disable(owner_of(install.merchant), install.pk)

    status, answer, _headers = post(body, signed(body, key))

    assert (status, answer["error"]["code"]) == (403, "integration_disabled")


def test_install_that_was_switched_on_is_accepted_at_once(install):
    key = warm(install)
    lifecycle.disable(owner_of(install.merchant), install.pk)
    off = status_of(install, key)

    lifecycle.enable(owner_of(install.merchant), install.pk)

    assert (off[0], status_of(install, key)) == (403, (200, None))


def test_capability_that_an_install_gave_up_is_refused_at_once(install):
    key = warm(install)
    integration = install.integration
    Integration.objects.filter(pk=integration.pk).update(capabilities={"receipt_qr": 1})

    lifecycle.accept_versions(owner_of(install.merchant), install.pk)

    # Nothing but the merchant's stamp has moved: the catalog's own was passed by.
    assert status_of(install, key) == (422, "capability_unsupported")


def test_second_install_leaves_events_without_an_outlet_to_the_rules(install):
    key = warm(install)

    make_install(install.merchant, install.integration, make_location(install.merchant).pk)

    assert by_the_short_way(body_of(install, event_id="evt-2"), key) is None
    assert status_of(install, key) == (200, None)


def test_number_that_the_partner_no_longer_uses_is_refused_at_once(install):
    staff = owner_of(install.merchant)
    connection_to_partner.name_at_partner(staff, install.pk, "se-1")
    key = keys_of(install.integration)["inbound"]
    numbered = {"merchant_id": ..., "external_merchant_id": "se-1"}
    accepted = by_the_short_way(body_of(install, **numbered), key)

    connection_to_partner.name_at_partner(staff, install.pk, "se-2")

    assert accepted is not None
    assert status_of(install, key, **numbered) == (404, "integration_not_installed")


def test_new_key_is_accepted_and_a_revoked_one_refused_at_once(install):
    old = warm(install)

    new = bytes.fromhex(credentials.rotate(install.integration, "inbound", "staff"))
    in_overlap = status_of(install, old), status_of(install, new)
    credentials.revoke_previous(install.integration, "inbound", "staff")

    assert in_overlap == ((200, None), (200, None))
    assert status_of(install, old) == (401, "invalid_signature")
    assert status_of(install, new) == (200, None)


def test_integration_that_staff_switched_off_is_refused_at_once(install):
    key = warm(install)

    install.integration.status = "disabled"
    install.integration.save()

    assert status_of(install, key) == (403, "integration_disabled")


def test_change_past_the_catalog_is_known_within_a_second(install):
    key = warm(install)
    Integration.objects.filter(pk=install.integration_id).update(inbound_events={})

    time.sleep(fast_lane.REMEMBERED_SECONDS)

    assert status_of(install, key) == (422, "capability_unsupported")


def test_unsigned_posts_spend_no_tokens(install, settings):
    settings.INBOUND_RATE_PER_MINUTE = 1
    key = keys_of(install.integration)["inbound"]

    unsigned = {status_of(install, b"wrong") for _ in range(5)}

    assert unsigned == {(401, "invalid_signature")}
    assert status_of(install, key) == (200, None)


def test_known_event_spends_no_token_and_is_known_when_there_are_none(install, settings):
    settings.INBOUND_RATE_PER_MINUTE = 2
    key = keys_of(install.integration)["inbound"]
    body = body_of(install)

    replays = [post(body, signed(body, key))[0] for _ in range(5)]
    second = status_of(install, key)
    refused = status_of(install, key)
    known = post(body, signed(body, key))[1]["deduped"]

    assert (replays, second) == ([200] * 5, (200, None))
    assert (refused, known) == ((429, "rate_limited"), True)


@pytest.mark.django_db(transaction=True)
def test_connection_that_was_lost_loses_no_event(install):
    key = warm(install)
    connection.connection.close()

    assert status_of(install, key) == (200, None)


def test_headers_that_the_scheme_reads_are_kept_and_no_credentials(spliteasy):
    spliteasy.inbound_mapping = {
        "event_id": "header:X-Delivery",
        "type": "body:/type",
        "merchant_id": "body:/merchant_id",
    }
    spliteasy.save()
    install = make_install(make_merchant(), spliteasy)
    body = body_of(install)
    headers = signed(body, keys_of(spliteasy)["inbound"]) | {"HTTP_COOKIE": "secret=1"}

    post(body, headers, HTTP_X_DELIVERY="d-1", HTTP_AUTHORIZATION="Bearer secret")

    row = InboundEvent.objects.get()
    assert (row.provider_event_id, row.headers) == ("d-1", [["x-delivery", "d-1"]])
