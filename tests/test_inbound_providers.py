"""Posts of providers that sign in their own ways, through the door to the effects."""

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext

from catalog.inbound_presets import PRESETS
from catalog.models import Integration
from installs.credentials import rotate
from installs.models import AuditEntry, IntegrationSecret, Purpose, SecretState
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_merchant,
)
from tests.inbound_samples import b64, mac
from webhooks import fast_lane, inbound
from webhooks.models import InboundEvent, InboundStatus

pytestmark = pytest.mark.django_db
URL = "/v1/integrations/acme/webhook"
KEY = "the-key-that-the-provider-shows"
CAPABILITY = "payment_webhook_inbound"


def make_provider(preset: str, event: str, **over: Any) -> Integration:
    """A provider of a preset, with the key that it shows and one merchant who is `m-1` there."""
    defaults = {
        "capabilities": {CAPABILITY: 1},
        "inbound_verification": PRESETS[preset].verification,
        "inbound_mapping": {**PRESETS[preset].mapping, "types": {event: "bill.settled"}},
        "inbound_events": {"bill.settled": CAPABILITY},
    }
    row = make_integration("acme", **(defaults | over))
    row.full_clean()
    keys_of(row)
    secret = IntegrationSecret.objects.get(
        integration=row, purpose=Purpose.INBOUND, state=SecretState.CURRENT
    )
    secret.value = KEY.encode().hex()
    secret.save(update_fields=["value"])
    make_install(make_merchant(), row, external_merchant_id="m-1")
    return row


def post(body: bytes, headers: dict[str, str], query: str = ""):
    return Client().post(URL + query, body, content_type="application/json", headers=headers)


def assert_refused(response, status: int = 401, code: str = "invalid_signature"):
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert not InboundEvent.objects.exists()


@dataclass(frozen=True)
class Post:
    """A signed post, and the id and data that are read from it."""

    body: bytes
    headers: dict[str, str]
    event_id: str
    data: dict[str, Any]
    secret: str = ""


def stripe() -> Post:
    document = {"id": "evt_1", "type": "charge.succeeded", "account": "m-1", "created": 1790000000}
    body, now = json.dumps(document).encode(), int(time.time())
    signature = mac(f"{now}.".encode() + body, KEY).hex()
    return Post(body, {"Stripe-Signature": f"t={now},v1={signature}"}, "evt_1", document)


def midtrans() -> Post:
    document = {
        "order_id": "o-1",
        "status_code": "200",
        "gross_amount": "100000.00",
        "transaction_id": "t-1",
        "transaction_status": "settlement",
        "merchant_id": "m-1",
        "signature_key": hashlib.sha512(f"o-1200100000.00{KEY}".encode()).hexdigest(),
    }
    body, secret = json.dumps(document).encode(), document["signature_key"]
    kept = document | {"signature_key": ""}
    return Post(body, {}, "t-1|200|settlement", kept, secret)


def gofood() -> Post:
    data = {"outlet": {"id": "m-1"}, "order": {"total": 173500}}
    header = {"event_id": "go-1", "event_name": "gofood.order.completed"}
    body = json.dumps({"header": header, "body": data}).encode()
    return Post(body, {"X-Go-Signature": mac(body, KEY).hex()}, "go-1", data)


def xendit() -> Post:
    data = {"payment_id": "p-1", "status": "SUCCEEDED"}
    document = {"event": "payment.succeeded", "business_id": "m-1", "data": data}
    body = json.dumps(document).encode()
    return Post(body, {"x-callback-token": KEY}, "p-1|payment.succeeded|SUCCEEDED", document)


FAMILIES = {
    "stripe": ("charge.succeeded", stripe),
    "midtrans": ("settlement", midtrans),
    "gofood": ("gofood.order.completed", gofood),
    "xendit": ("payment.succeeded", xendit),
}
# Those whose signature leaves something open, as staff may set them up at their own risk.
OPEN = ("midtrans", "xendit")


def make_family(name: str) -> Post:
    event, make = FAMILIES[name]
    verification = {**PRESETS[name].verification}
    verification.pop("confirm", None)
    make_provider(name, event, inbound_verification=verification)
    return make()


@pytest.mark.parametrize("name", FAMILIES)
def test_post_of_a_provider_is_stored_under_its_id_and_has_its_effect(name):
    sent = make_family(name)

    response = post(sent.body, sent.headers)
    inbound.sweep()

    row = InboundEvent.objects.get()
    assert response.json() == {"status": "accepted", "deduped": False, "id": str(row.pk)}
    assert (row.provider_event_id, row.type, row.status) == (
        sent.event_id,
        "bill.settled",
        InboundStatus.PROCESSED,
    )
    assert bytes(row.body) == sent.body.replace(sent.secret.encode(), b"")
    assert row.body_digest == hashlib.sha256(sent.body).hexdigest()
    entry = AuditEntry.objects.get(action="bill.settled")
    assert entry.data == {"event_id": sent.event_id, **sent.data}


@pytest.mark.parametrize("name", FAMILIES)
def test_post_that_comes_again_is_a_duplicate(name):
    sent = make_family(name)
    first = post(sent.body, sent.headers).json()

    again = post(sent.body, sent.headers).json()

    assert again == {"status": "duplicate", "deduped": True, "id": first["id"]}


@pytest.mark.parametrize("name", ["stripe", "gofood"])
def test_body_that_was_changed_is_refused(name):
    sent = make_family(name)

    assert_refused(post(sent.body.replace(b"m-1", b"m-2"), sent.headers))


def test_signed_field_that_was_changed_is_refused():
    sent = make_family("midtrans")

    assert_refused(post(sent.body.replace(b"100000.00", b"900000.00"), sent.headers))


@pytest.mark.parametrize("token", ["", KEY[:-1], f"{KEY},{KEY}", f" {KEY}x"])
def test_wrong_token_is_refused(token):
    sent = make_family("xendit")

    assert_refused(post(sent.body, {"x-callback-token": token}))


def test_old_post_is_refused():
    sent = make_family("stripe")
    old = int(time.time()) - 301
    signature = mac(f"{old}.".encode() + sent.body, KEY).hex()

    assert_refused(post(sent.body, {"Stripe-Signature": f"t={old},v1={signature}"}))


def test_use_of_an_ended_key_is_noticed_and_not_told():
    sent = make_family("gofood")
    row = Integration.objects.get(slug="acme")
    rotate(row, Purpose.INBOUND, "staff:ayu@posz.id")
    accepted = post(sent.body, sent.headers).status_code
    IntegrationSecret.objects.filter(state=SecretState.PREVIOUS).update(expires_at=Now())

    refused = post(sent.body, sent.headers)

    assert (accepted, refused.status_code) == (200, 401)
    assert IntegrationSecret.objects.get(state=SecretState.PREVIOUS).late_uses == 1


@pytest.mark.parametrize("name", OPEN)
def test_post_that_the_provider_must_confirm_is_not_believed(name):
    event, make = FAMILIES[name]
    make_provider(name, event)
    sent = make()

    assert_refused(post(sent.body, sent.headers))


def test_unsigned_provider_is_not_believed():
    make_provider("kredivo", "settlement")

    assert_refused(post(b"{}", {}))


@pytest.mark.parametrize(
    "documents",
    [{"inbound_verification": {"kind": "nonsense"}}, {"inbound_mapping": {"event_id": 5}}],
)
def test_documents_that_can_not_be_read_let_nobody_in(documents, caplog):
    sent = make_family("gofood")
    Integration.objects.filter(slug="acme").update(**documents)

    assert_refused(post(sent.body, sent.headers))
    assert "Webhooks of acme are refused" in caplog.text


def test_address_that_is_signed_is_the_registered_one(settings):
    settings.PUBLIC_URL = "https://hub.example"
    make_provider("square", "payment.updated")
    body = b'{"event_id":"s-1","type":"payment.updated","merchant_id":"m-1"}'
    signature = b64(mac(f"https://hub.example{URL}".encode() + body, KEY))
    header = "x-square-hmacsha256-signature"

    response = post(body, {header: signature})

    assert response.status_code == 200


def test_token_in_the_query_is_read():
    make_provider(
        "gofood",
        "gofood.order.completed",
        inbound_verification={"kind": "token", "signature": "query:token"},
    )
    sent = gofood()

    refused = post(sent.body, {}, "?token=wrong")
    accepted = post(sent.body, {}, f"?token={KEY}")

    assert (refused.status_code, accepted.status_code) == (401, 200)


def test_event_id_of_a_header_is_kept_without_the_header():
    make_provider("github", "push")
    body = b'{"organization":{"login":"m-1"},"ref":"main"}'
    headers = {
        "X-Hub-Signature-256": f"sha256={mac(body, KEY).hex()}",
        "X-GitHub-Delivery": "d-1",
        "X-GitHub-Event": "push",
    }

    post(body, headers)
    inbound.sweep()

    row = InboundEvent.objects.get()
    assert (row.provider_event_id, row.status) == ("d-1", InboundStatus.PROCESSED)


def test_event_that_names_no_merchant_belongs_to_nobody():
    make_provider("midtrans-iris", "completed")
    body = b'{"reference_no":"r-1","status":"completed"}'
    signature = hashlib.sha512(body + KEY.encode()).hexdigest()

    response = post(body, {"Iris-Signature": signature})

    assert_refused(response, 404, "integration_not_installed")


# Batches


def item(number: int, **over: Any) -> dict[str, Any]:
    return {
        "resourceId": f"inv-{number}",
        "eventDateUtc": "2026-11-24T01:15:39.902",
        "eventCategory": "INVOICE",
        "eventType": "UPDATE",
        "tenantId": "m-1",
    } | over


def post_batch(*items: dict[str, Any]):
    body = json.dumps({"events": items, "firstEventSequence": 1}).encode()
    return post(body, {"x-xero-signature": b64(mac(body, KEY))})


def states(response) -> list[str]:
    return [event["status"] for event in response.json()["events"]]


@pytest.fixture
def xero() -> Integration:
    return make_provider("xero", "INVOICE.UPDATE")


def test_each_event_of_a_batch_is_a_row_with_its_own_item_and_effect(xero):
    items = [item(1), item(2), item(3)]

    response = post_batch(*items)
    inbound.sweep()

    ids = {row.provider_event_id: row for row in InboundEvent.objects.all()}
    rows = [ids[f"inv-{number}|2026-11-24T01:15:39.902|UPDATE"] for number in (1, 2, 3)]
    assert response.json() == {
        "status": "accepted",
        "deduped": False,
        "id": str(rows[0].pk),
        "events": [{"status": "accepted", "deduped": False, "id": str(row.pk)} for row in rows],
    }
    assert [json.loads(bytes(row.body)) for row in rows] == items
    found = AuditEntry.objects.filter(action="bill.settled").values_list("data", flat=True)
    assert {entry["resourceId"] for entry in found} == {"inv-1", "inv-2", "inv-3"}


def test_batch_that_comes_again_is_a_duplicate(xero):
    first = post_batch(item(1), item(2)).json()

    again = post_batch(item(1), item(2)).json()

    assert (again["status"], again["deduped"], again["id"]) == ("duplicate", True, first["id"])
    assert [event["id"] for event in again["events"]] == [event["id"] for event in first["events"]]
    assert InboundEvent.objects.count() == 2


def test_batch_with_one_new_event_is_accepted_and_the_others_are_not_flagged(xero):
    post_batch(item(1), item(2))

    response = post_batch(item(1), item(2), item(3))

    assert (response.json()["status"], response.json()["deduped"]) == ("accepted", False)
    assert states(response) == ["duplicate", "duplicate", "accepted"]
    assert not InboundEvent.objects.exclude(mismatched_at=None).exists()


def test_event_that_comes_again_differently_in_a_batch_is_flagged(xero):
    post_batch(item(1))

    post_batch(item(1, resourceUrl="https://api.example/other"))

    assert InboundEvent.objects.get().mismatched_at is not None


def test_event_that_stands_twice_in_a_batch_is_one(xero):
    response = post_batch(item(1), item(1))

    assert states(response) == ["accepted", "duplicate"]
    assert InboundEvent.objects.count() == 1


def test_empty_batch_is_accepted(xero):
    response = post_batch()

    assert (response.status_code, response.json()) == (
        200,
        {"status": "accepted", "deduped": False, "id": None, "events": []},
    )


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"tenantId": "nobody"}, "integration_not_installed"),
        ({"eventType": "CREATE"}, "capability_unsupported"),
        ({"resourceId": None}, "invalid_payload"),
    ],
)
def test_bad_event_of_a_batch_is_refused_alone(xero, bad, code):
    response = post_batch(item(1), item(2, **bad), item(3))

    answer = response.json()
    assert (response.status_code, answer["status"]) == (200, "accepted")
    assert states(response) == ["accepted", "refused", "accepted"]
    assert answer["events"][1] == {"status": "refused", "deduped": False, "id": None, "code": code}
    assert InboundEvent.objects.count() == 2


def test_batch_of_which_nothing_is_accepted_is_answered_200_so_that_it_is_not_sent_for_ever(xero):
    response = post_batch(item(1, tenantId="nobody"), item(2, eventType="CREATE"))

    answer = response.json()
    told = {name: answer[name] for name in ("status", "deduped", "id")}
    assert response.status_code == 200
    assert told == {"status": "refused", "deduped": False, "id": None}
    assert [event["code"] for event in answer["events"]] == [
        "integration_not_installed",
        "capability_unsupported",
    ]


def test_merchant_without_tokens_does_not_hold_the_others_of_a_batch_up(xero, settings):
    make_install(make_merchant(), xero, external_merchant_id="m-2")
    settings.INBOUND_RATE_PER_MINUTE = 1
    post_batch(item(1))

    refused = post_batch(item(2), item(3, tenantId="m-2"))

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert [row.provider_event_id[:5] for row in InboundEvent.objects.order_by("received_at")] == [
        "inv-1",
        "inv-3",
    ]


def test_long_batch_takes_as_many_queries_as_one_event(xero):
    # What is remembered for a second is read anew by both, however long the first one takes.
    fast_lane._remembered.clear()
    with CaptureQueriesContext(connection) as one:
        post_batch(item(1))
    fast_lane._remembered.clear()
    with CaptureQueriesContext(connection) as many:
        post_batch(*(item(number) for number in range(2, 40)))

    assert len(many) == len(one)


def test_rate_counts_the_new_events_of_a_batch(xero, settings):
    settings.INBOUND_RATE_PER_MINUTE = 3
    post_batch(item(1), item(2))

    replay = post_batch(item(1), item(2))
    refused = post_batch(item(3), item(4))

    assert (replay.status_code, refused.status_code) == (200, 429)
    assert InboundEvent.objects.count() == 2


def test_batch_longer_than_the_rate_passes_when_it_is_the_first(xero, settings):
    settings.INBOUND_RATE_PER_MINUTE = 1

    assert post_batch(item(1), item(2)).status_code == 200


def test_batch_of_two_merchants_goes_to_both(xero):
    other = make_install(make_merchant(), xero, external_merchant_id="m-2")

    post_batch(item(1), item(1, tenantId="m-2"))

    assert InboundEvent.objects.filter(install_id=other.pk).count() == 1
    assert InboundEvent.objects.count() == 2


@pytest.mark.servers
@pytest.mark.django_db(transaction=True)
def test_batches_with_the_same_events_in_another_order_do_not_lock_each_other_out(xero):
    post_batch(item(1), item(2))
    first, second = InboundEvent.objects.order_by("provider_event_id")
    InboundEvent.objects.all().delete()

    with ThreadPoolExecutor(1) as sender:
        with transaction.atomic():
            first.save(force_insert=True)
            reply = sender.submit(post_and_close, item(1), item(2))
            wait_for_a_lock()
            second.save(force_insert=True)
        response = reply.result(20)

    assert states(response) == ["duplicate", "duplicate"]


def post_and_close(*items: dict[str, Any]):
    try:
        return post_batch(*items)
    finally:
        connection.close()


def wait_for_a_lock() -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.05)
    raise AssertionError("nobody waits")
