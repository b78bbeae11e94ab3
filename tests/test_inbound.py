import hashlib
import hmac
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection as database
from django.test import Client
from django.utils import timezone

from dispatch.models import Answer
from installs import connection, lifecycle
from installs.models import AuditEntry, IntegrationSecret
from tests.factories import (
    keys_of,
    make_install,
    make_location,
    make_merchant,
    make_spliteasy,
    owner_of,
)
from webhooks import inbound
from webhooks.models import InboundEvent, InboundStatus

pytestmark = pytest.mark.django_db
URL = "/v1/integrations/spliteasy/webhook"


@pytest.fixture
def key():
    return keys_of(make_spliteasy())["inbound"]


@pytest.fixture
def install(key):
    from catalog.models import Integration

    return make_install(make_merchant(), Integration.objects.get(slug="spliteasy"))


def make_body(install, **over) -> bytes:
    defaults = {
        "event_id": "evt-1",
        "type": "bill.settled",
        "merchant_id": str(install.merchant_id),
        "occurred_at": "2026-11-23T05:00:00Z",
        "data": {"bill_token": "tok", "external_order_id": "o-1", "amount": 115500},
    }
    return json.dumps({k: v for k, v in (defaults | over).items() if v is not ...}).encode()


def sign(body: bytes, key: bytes) -> str:
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def post(body: bytes, signature: str | None, url: str = URL):
    headers = {} if signature is None else {"X-Spliteasy-Signature": signature}
    return Client().post(url, body, content_type="application/json", headers=headers)


def post_signed(body: bytes, key: bytes):
    return post(body, sign(body, key))


def assert_refused(response, status: int, code: str):
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response["Content-Type"] == "application/json"
    assert not InboundEvent.objects.exists()


def test_signed_event_is_stored_and_answered(install, key):
    body = make_body(install)

    response = post_signed(body, key)
    row = InboundEvent.objects.get()

    assert response.status_code == 200
    assert response.json() == {"status": "accepted", "deduped": False, "id": str(row.pk)}
    assert (bytes(row.body), row.install_id, row.capability) == (
        body,
        install.pk,
        "payment_webhook_inbound",
    )


def test_work_is_done_after_the_answer_and_once(install, key):
    post_signed(make_body(install), key)
    row = InboundEvent.objects.get()
    before = AuditEntry.objects.filter(action="bill.settled").count()

    inbound.process(row.pk)
    inbound.process(row.pk)

    entry = AuditEntry.objects.get(action="bill.settled")
    assert before == 0
    assert (entry.install_id, entry.actor) == (install.pk, "spliteasy")
    assert entry.data == {
        "event_id": "evt-1",
        "bill_token": "tok",
        "external_order_id": "o-1",
        "amount": 115500,
    }
    assert InboundEvent.objects.get().status == InboundStatus.PROCESSED


@pytest.mark.parametrize("kind", ["bill.settled", "bill.expired", "bill.cancelled"])
def test_every_event_of_spliteasy_reaches_the_audit_log(install, key, kind):
    post_signed(make_body(install, type=kind), key)

    inbound.sweep()

    assert AuditEntry.objects.filter(action=kind).count() == 1


def test_known_event_is_answered_as_duplicate_with_the_same_id(install, key):
    first = post_signed(make_body(install), key).json()

    second = post_signed(make_body(install), key)

    assert second.status_code == 200
    assert second.json() == {"status": "duplicate", "deduped": True, "id": first["id"]}


def test_same_id_with_another_body_keeps_the_first_and_is_flagged(install, key):
    post_signed(make_body(install), key)

    response = post_signed(make_body(install, data={"amount": 1}), key)
    row = InboundEvent.objects.get()

    assert response.json()["deduped"] is True
    assert json.loads(bytes(row.body))["data"]["amount"] == 115500
    assert row.mismatched_at is not None


def test_same_event_id_of_two_merchants_is_two_events(install, key):
    other = make_install(make_merchant(), install.integration)

    post_signed(make_body(install), key)
    response = post_signed(make_body(other), key)

    assert response.json()["deduped"] is False


def test_short_field_names_are_accepted(install, key):
    body = make_body(install, event_id=..., type=..., id="e-9", event="bill.expired")

    post_signed(body, key)

    row = InboundEvent.objects.get()
    assert (row.provider_event_id, row.type) == ("e-9", "bill.expired")


def test_external_merchant_id_finds_the_install(install, key):
    connection.provisioned(install.pk, "se-77")

    post_signed(make_body(install, merchant_id=..., external_merchant_id="se-77"), key)

    assert InboundEvent.objects.get().install_id == install.pk


@pytest.mark.parametrize("change", [str.upper, lambda text: f"sha256={text}"])
def test_signature_spellings_that_are_accepted(install, key, change):
    body = make_body(install)

    assert post(body, change(sign(body, key))).status_code == 200


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _text: None,
        lambda _text: "",
        lambda _text: "0" * 64,
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: f"{text},{text}",
        lambda text: f"{text} {text}",
        lambda text: f" {text[:-1]}é",
        lambda text: text.replace(text[0], chr(0xFF10), 1),
        lambda text: f"sha1={text}",
        lambda _text: "sha256=",
        lambda text: f"{text}\x00",
    ],
)
def test_signature_that_is_not_right_is_refused(install, key, spoil):
    body = make_body(install)

    assert_refused(post(body, spoil(sign(body, key))), 401, "invalid_signature")


def test_two_signature_headers_are_refused(install, key):
    """As WSGI servers hand them over: joined by a comma."""
    body = make_body(install)
    right = sign(body, key)

    assert_refused(post(body, f"{right},{right}"), 401, "invalid_signature")


def test_signature_is_checked_before_anything_of_the_merchant(install, key):
    answers = {
        post(body, "0" * 64).content
        for body in (
            make_body(install),
            make_body(install, merchant_id=str(uuid4())),
            b"not json",
            b"",
        )
    }

    assert len(answers) == 1


def test_outbound_key_does_not_open_the_inbound_door(install):
    body = make_body(install)

    assert_refused(
        post_signed(body, keys_of(install.integration)["outbound"]), 401, "invalid_signature"
    )


def test_integration_without_a_secret_accepts_nothing(install, key):
    IntegrationSecret.objects.all().delete()
    body = make_body(install)

    assert_refused(post(body, sign(body, b"")), 401, "invalid_signature")


def test_previous_secret_is_accepted_until_it_expires(install, key):
    old = IntegrationSecret.objects.get(purpose="inbound")
    old.state, old.expires_at = "previous", timezone.now() + timedelta(minutes=5)
    old.save(update_fields=["state", "expires_at"])
    body = make_body(install)

    assert post_signed(body, key).status_code == 200
    IntegrationSecret.objects.filter(pk=old.pk).update(expires_at=timezone.now())
    assert post_signed(make_body(install, event_id="e2"), key).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'"text"',
        b"null",
        b"1",
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": -Infinity}',
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"a": 1, "a": 2}',
        b"\xff\xfe{\x00}\x00",
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"{} {}",
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_body_that_is_no_clean_object_is_refused(install, key, body):
    assert_refused(post_signed(body, key), 400, "invalid_payload")


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": ...},
        {"event_id": ""},
        {"event_id": 7},
        {"event_id": None},
        {"event_id": "x" * 256},
        {"event_id": ["a"]},
        {"type": ...},
        {"type": ""},
        {"type": 1},
        {"type": "x" * 101},
        {"merchant_id": ...},
        {"merchant_id": "not-a-uuid"},
        {"merchant_id": 7},
        {"merchant_id": {}},
        {"merchant_id": ..., "external_merchant_id": ""},
        {"merchant_id": ..., "external_merchant_id": 5},
        {"merchant_id": ..., "external_merchant_id": "x" * 256},
        {"location_id": "nowhere"},
        {"occurred_at": "yesterday"},
        {"occurred_at": "2026-13-40T00:00:00Z"},
        {"occurred_at": "2026-11-23T05:00:00"},
        {"occurred_at": 5},
        {"data": []},
        {"data": None},
    ],
)
def test_field_that_is_not_usable_is_refused_by_name(install, key, change):
    response = post_signed(make_body(install, **change), key)

    assert_refused(response, 400, "invalid_payload")
    assert response.json()["error"]["fields"]


def test_event_id_of_255_characters_is_kept(install, key):
    assert post_signed(make_body(install, event_id="é" * 255), key).status_code == 200


def test_body_past_the_limit_is_refused_before_it_is_verified(install, key):
    assert_refused(post(b" " * (256 * 1024 + 1), "0" * 64), 413, "payload_too_large")


def test_body_of_the_limit_is_read(install, key):
    body = make_body(install)
    body = body[:-1] + b" " * (256 * 1024 - len(body)) + b"}"

    assert post_signed(body, key).status_code == 200


@pytest.mark.parametrize("slug", ["nobody", "split-easy"])
def test_unknown_slug_is_not_found(install, key, slug):
    body = make_body(install)

    assert_refused(
        post(body, sign(body, key), f"/v1/integrations/{slug}/webhook"), 404, "not_found"
    )


def test_get_is_not_allowed(install):
    response = Client().get(URL)

    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")


def test_unknown_merchant_is_not_found(install, key):
    assert_refused(post_signed(make_body(install, merchant_id=str(uuid4())), key), 404, "not_found")


def test_merchant_without_the_integration(install, key):
    body = make_body(install, merchant_id=str(make_merchant().pk))

    assert_refused(post_signed(body, key), 404, "integration_not_installed")


def test_external_merchant_nobody_has(install, key):
    body = make_body(install, merchant_id=..., external_merchant_id="se-unknown")

    assert_refused(post_signed(body, key), 404, "integration_not_installed")


def test_another_merchants_location(install, key):
    foreign = make_location(make_merchant())
    own_only = make_location(install.merchant)
    lifecycle.uninstall(owner_of(install.merchant), install.pk)
    make_install(install.merchant, install.integration, own_only.pk)

    body = make_body(install, location_id=str(foreign.pk))

    assert_refused(post_signed(body, key), 404, "integration_not_installed")


def test_disabled_install(install, key):
    lifecycle.disable(owner_of(install.merchant), install.pk)

    assert_refused(post_signed(make_body(install), key), 403, "integration_disabled")


@pytest.mark.parametrize("kind", ["bill.unheard_of", "bill.tipped"])
def test_event_of_a_capability_it_does_not_have(install, key, kind):
    assert_refused(post_signed(make_body(install, type=kind), key), 422, "capability_unsupported")


def test_rate_is_spent_by_new_events_and_not_by_replays(install, key, settings):
    settings.INBOUND_RATE_PER_MINUTE = 1
    post_signed(make_body(install), key)

    replay = post_signed(make_body(install), key)
    refused = post_signed(make_body(install, event_id="e2"), key)

    assert replay.status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert 1 <= int(refused["Retry-After"]) <= 60


def test_event_with_a_location_belongs_to_the_install_there(install, key):
    ubud = make_location(install.merchant)
    override = make_install(install.merchant, install.integration, ubud.pk)

    post_signed(make_body(install, location_id=str(ubud.pk)), key)

    assert InboundEvent.objects.get().install_id == override.pk


def test_event_without_a_location_belongs_to_the_install_that_made_the_bill(install, key):
    lifecycle.uninstall(owner_of(install.merchant), install.pk)
    first, second = (
        make_install(install.merchant, install.integration, make_location(install.merchant).pk)
        for _ in range(2)
    )
    Answer.objects.create(
        merchant_id=install.merchant_id,
        install_id=second.pk,
        capability="receipt_qr",
        idempotency_key="k",
        status="ok",
        external_ref="tok",
        claim=uuid4(),
        lease_until=timezone.now(),
    )

    post_signed(make_body(install), key)
    post_signed(make_body(install, event_id="e2", data={"bill_token": "?"}), key)
    inbound.sweep()

    found = dict(InboundEvent.objects.values_list("provider_event_id", "install_id"))
    assert found == {"evt-1": second.pk, "e2": first.pk}


def test_event_about_a_bill_names_the_outlet_that_printed_it(install, key):
    ubud = make_location(install.merchant, name="Ubud", city="Bali")
    Answer.objects.create(
        merchant_id=install.merchant_id,
        location_id=ubud.pk,
        install_id=install.pk,
        capability="receipt_qr",
        idempotency_key="k",
        status="ok",
        external_ref="tok",
        claim=uuid4(),
        lease_until=timezone.now(),
    )

    post_signed(make_body(install), key)
    inbound.sweep()

    assert AuditEntry.objects.get(action="bill.settled").location_name == "Ubud, Bali"


def test_event_that_came_before_an_uninstall_is_still_recorded(install, key):
    post_signed(make_body(install), key)
    lifecycle.uninstall(owner_of(install.merchant), install.pk)

    inbound.sweep()

    entry = AuditEntry.objects.get(action="bill.settled")
    assert (entry.merchant_id, entry.integration_slug) == (install.merchant_id, "spliteasy")


def test_event_that_can_not_be_processed_is_tried_on_the_ladder_then_set_aside(install, key):
    post_signed(make_body(install), key)
    InboundEvent.objects.update(capability="payment_method")

    for _ in range(5):
        InboundEvent.objects.update(due_at=timezone.now())
        inbound.sweep()

    row = InboundEvent.objects.get()
    assert (row.status, row.attempts, row.problem) == (InboundStatus.QUARANTINED, 5, "TypeError")


@pytest.mark.django_db(transaction=True)
def test_50_identical_posts_at_once_are_one_event(install, key):
    body = make_body(install)
    start = threading.Barrier(10)

    def send(_number):
        try:
            start.wait(60)
            return [post_signed(body, key) for _ in range(5)]
        finally:
            database.close()

    with ThreadPoolExecutor(10) as senders:
        responses = [item for group in senders.map(send, range(10)) for item in group]

    assert {item.status_code for item in responses} == {200}
    assert len({UUID(item.json()["id"]) for item in responses}) == 1
    assert [item.json()["deduped"] for item in responses].count(False) == 1
    assert InboundEvent.objects.count() == 1
