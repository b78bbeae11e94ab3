import base64
import hashlib
import hmac
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from http.client import BadStatusLine, RemoteDisconnected  # noqa: TID251
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen  # noqa: TID251

import jwt
import msgspec
import pytest

from dispatch.operations import contract_of, told_operations
from dispatch.sandbox.server import SandboxServer
from dispatch.signing import is_standard_signed

JWT_KEY, OLD_JWT_KEY, INBOUND_KEY, OUTBOUND_KEY = (bytes([n]) * 32 for n in (1, 2, 3, 4))
KEYS = {
    ("spliteasy", "jwt"): [JWT_KEY, OLD_JWT_KEY],
    ("spliteasy", "inbound"): [INBOUND_KEY],
    ("demo-qr-a", "outbound"): [OUTBOUND_KEY],
    ("demo-table-b", "outbound"): [OUTBOUND_KEY],
    ("demo-key", "outbound"): [OUTBOUND_KEY],
    ("demo-partner", "outbound"): [OUTBOUND_KEY],
    ("demo-partner", "inbound"): [INBOUND_KEY],
}
MERCHANT_ID = "0d6d2c0e-8f0c-4b7e-9d55-1d6f8a4f0b11"
PROFILE = {
    "name": "Maple & Oat",
    "location": "Senopati",
    "city": "Jakarta",
    "email": "owner@mapleandoat.id",
    "phone": None,
    "currency": "IDR",
    "locale": "id",
    "timezone": "Asia/Jakarta",
    "logo_url": None,
}


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.text = self.body.decode()
        self.url = response.url

    def json(self):
        return json.loads(self.body)


class FakeHub:
    """Answers each webhook with the next status of a list, the last one for ever."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.changed = threading.Condition()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with hub.changed:
                    hub.posts.append((self.path, dict(self.headers), body))
                    status = hub.statuses.pop(0) if len(hub.statuses) > 1 else hub.statuses[0]
                    hub.changed.notify_all()
                self.finish_with(status)

            def do_GET(self):
                self.finish_with(200)

            def finish_with(self, status):
                self.send_response(status)
                self.send_header("Location", "/followed")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.posts) >= count, timeout=60)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hub():
    fake = FakeHub(200)
    yield fake
    fake.close()


@pytest.fixture
def sandbox(hub):
    server = SandboxServer(
        secret_of=lambda slug, purpose: KEYS.get((slug, purpose), []),
        hub=hub.url,
        first_retry_seconds=0.01,
    )
    server.start()
    yield server
    server.stop()


def call(sandbox, method, path, body=None, headers=None, timeout=10):
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(sandbox.url + path, data, headers or {}, method=method)
    try:
        with urlopen(request, timeout=timeout) as response:
            return Reply(response)
    except HTTPError as error:
        with error:
            return Reply(error)


def make_claims(**changes):
    now = int(time.time())
    merchant = {"id": MERCHANT_ID, **PROFILE}
    claims = {"iss": "posz", "aud": "spliteasy", "iat": now, "exp": now + 900}
    return {**claims, "merchant": merchant, **changes}


def make_token(key=JWT_KEY, algorithm="HS256", **changes):
    return jwt.encode(make_claims(**changes), key, algorithm=algorithm)


def signed_in(token=None):
    return {"Authorization": f"Bearer {token or make_token()}"}


def make_merchant(**changes):
    return {"merchant_id": MERCHANT_ID, **PROFILE, **changes}


def post_merchant(sandbox, body=None, token=None):
    return call(
        sandbox, "POST", "/v1/external/merchants", body or make_merchant(), signed_in(token)
    )


def make_bill(sandbox, **changes):
    return {
        "external_merchant_id": post_merchant(sandbox).json()["external_merchant_id"],
        "external_order_id": "order-1",
        "order_number": "A-17",
        "location_id": str(uuid.UUID(int=7)),
        "table": "12",
        "currency": "IDR",
        "items": [
            {"name": "Nasi goreng", "quantity": 1, "unit_price": 30_000, "total": 30_000},
            {"name": "Es teh", "quantity": 2, "unit_price": 5_000, "total": 10_000},
        ],
        "subtotal": 40_000,
        "service_charge": 2_000,
        "tax": 4_200,
        "discount": 1_000,
        "rounding": -200,
        "total": 45_000,
        "closed_at": "2026-11-20T12:30:00+07:00",
        **changes,
    }


def post_bill(sandbox, **changes):
    body = make_bill(sandbox, **changes)
    return call(sandbox, "POST", "/v1/external/bills", body, signed_in())


def new_bill(sandbox, **changes):
    return post_bill(sandbox, **changes).json()["bill_token"]


def settle(sandbox, token, **headers):
    return call(sandbox, "POST", f"/b/{token}/settle", b"", headers)


def behave(sandbox, **switch):
    return call(sandbox, "PUT", "/_behave", switch)


def signed_call(path, body, *, key=OUTBOUND_KEY, at=None, **headers):
    raw = json.dumps(body).encode()
    timestamp = str(int(time.time()) if at is None else at)
    digest = hmac.new(key, f"msg_1.{timestamp}.".encode() + raw, hashlib.sha256).digest()
    return {
        "method": "POST",
        "path": path,
        "body": raw,
        "headers": {
            "webhook-id": "msg_1",
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
            **headers,
        },
    }


def make_envelope(order_id="o-1", contract="receipt_qr@1"):
    return {
        "contract": contract,
        "operation": None,
        "install_id": "ins_1",
        "data": {"order": {"id": order_id}},
    }


QR_PATH = "/demo/demo-qr-a/posz/v1/receipt_qr"


def test_merchant_is_known_by_one_id(sandbox):
    first = post_merchant(sandbox)
    second = post_merchant(sandbox)

    assert (first.status, second.status, first.json()) == (201, 200, second.json())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: make_token(key=b"x" * 32),
        lambda: make_token(iss="somebody"),
        lambda: make_token(aud="somebody"),
        lambda: make_token(iat=int(time.time()) - 60, exp=int(time.time()) - 30),
        lambda: make_token(exp=int(time.time()) + 3_600),
        lambda: make_token(exp=None),
        lambda: make_token(merchant="Maple & Oat"),
        lambda: make_token(merchant={"id": MERCHANT_ID}),
        lambda: jwt.encode(make_claims(), "", algorithm="none"),
        lambda: "not.a.token",
    ],
    ids=[
        "key", "iss", "aud", "expired", "too long", "no exp", "merchant", "profile", "none",
        "nonsense",
    ],
)  # fmt: skip
def test_token_that_is_wrong_is_refused(sandbox, wrong):
    reply = post_merchant(sandbox, token=wrong())

    assert (reply.status, reply.json()["error"]["code"]) == (401, "invalid_token")


def test_token_of_the_right_key_with_another_algorithm_is_refused():
    # Long enough for HS512, so that nothing but the algorithm is wrong.
    key = JWT_KEY * 2
    server = SandboxServer(secret_of=lambda *_: [key], hub="http://127.0.0.1:9")
    server.start()

    refused = post_merchant(server, token=make_token(key=key, algorithm="HS512"))
    accepted = post_merchant(server, token=make_token(key=key))

    server.stop()
    assert (refused.status, accepted.status) == (401, 201)


def test_no_token_is_refused(sandbox):
    assert call(sandbox, "POST", "/v1/external/merchants", make_merchant()).status == 401


def test_token_of_the_previous_key_is_accepted(sandbox):
    assert post_merchant(sandbox, token=make_token(key=OLD_JWT_KEY)).status == 201


def test_token_for_another_merchant_is_refused(sandbox):
    reply = post_merchant(sandbox, make_merchant(merchant_id=str(uuid.UUID(int=9))))

    assert (reply.status, reply.json()["error"]["field"]) == (422, "merchant_id")


@pytest.mark.parametrize("name", sorted(make_merchant()))
def test_merchant_without_a_field_is_refused(sandbox, name):
    body = make_merchant()
    del body[name]

    reply = post_merchant(sandbox, body)

    assert (reply.status, reply.json()["error"]["field"]) == (422, name)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"total": 45_001}, "total"),
        ({"subtotal": 40_001, "total": 45_001}, "subtotal"),
        ({"tax": 4_200.0}, "tax"),
        ({"tax": True}, "tax"),
        ({"tax": "4200"}, "tax"),
        ({"table": 12}, "table"),
        ({"location_id": "senopati"}, "location_id"),
        ({"closed_at": "2026-11-20T12:30:00"}, "closed_at"),
        ({"closed_at": None}, "closed_at"),
        ({"currency": "rupiah"}, "currency"),
        ({"items": {}}, "items"),
        ({"items": [{"name": "Teh", "quantity": 0, "unit_price": 1, "total": 1}]},
         "items.0.quantity"),
        ({"items": [{"name": "Teh", "quantity": 1, "unit_price": 1}]}, "items.0.total"),
        ({"external_merchant_id": "sem_other"}, "external_merchant_id"),
    ],
)  # fmt: skip
def test_bill_with_a_wrong_field_is_refused(sandbox, changes, field):
    reply = post_bill(sandbox, **changes)

    assert (reply.status, reply.json()["error"]["field"]) == (422, field)


def test_bill_that_is_not_json_is_refused(sandbox):
    reply = call(sandbox, "POST", "/v1/external/bills", b"{", signed_in())

    assert (reply.status, reply.json()["error"]["code"]) == (400, "invalid_json")


def test_bill_repeated_has_the_same_token(sandbox):
    first = post_bill(sandbox)
    second = post_bill(sandbox)

    assert (first.status, second.status, first.json()) == (201, 200, second.json())


def test_bill_posted_twenty_times_at_once_is_one(sandbox):
    body = make_bill(sandbox)

    def post(_):
        return call(sandbox, "POST", "/v1/external/bills", body, signed_in())

    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(post, range(20)))

    assert len({reply.json()["bill_token"] for reply in replies}) == 1
    assert sorted(reply.status for reply in replies) == [200] * 19 + [201]


def test_bill_is_served_after_a_restart(sandbox, hub):
    body = make_bill(sandbox)
    restarted = SandboxServer(secret_of=sandbox_keys, hub=hub.url)
    restarted.start()

    reply = call(restarted, "POST", "/v1/external/bills", body, signed_in())

    restarted.stop()
    assert reply.status == 201


def sandbox_keys(slug, purpose):
    return KEYS.get((slug, purpose), [])


def test_bill_page_shows_the_bill(sandbox):
    page = call(sandbox, "GET", f"/b/{new_bill(sandbox)}")

    shown = ["Maple &amp; Oat", "A-17", "Nasi goreng", "Rp40.000", "Rp2.000", "Rp4.200", "Rp45.000"]
    assert [text for text in shown if text not in page.text] == []


def test_bill_page_escapes_everything(sandbox):
    attack = "<script>alert(1)</script>\"'"
    item = {"name": attack, "quantity": 1, "unit_price": 40_000, "total": 40_000}
    token = new_bill(sandbox, order_number=attack, table=attack, items=[item])

    page = call(sandbox, "GET", f"/b/{token}")

    assert "<script" not in page.text
    assert page.text.count("&lt;script&gt;") == 3


def test_bill_page_allows_no_script(sandbox):
    page = call(sandbox, "GET", f"/b/{new_bill(sandbox)}")

    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "script-src" not in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("query", "accepted", "language"),
    [
        ("", "", "en"),
        ("", "id-ID,id;q=0.9,en;q=0.8", "id"),
        ("", "fr, en;q=0.5", "en"),
        ("?lang=id", "en", "id"),
        ("?lang=en", "id", "en"),
        ("?lang=xx", "id", "id"),
    ],
)
def test_bill_page_speaks_the_language_asked_for(sandbox, query, accepted, language):
    path = f"/b/{new_bill(sandbox)}{query}"

    page = call(sandbox, "GET", path, headers={"Accept-Language": accepted})

    assert page.headers["Content-Language"] == language
    assert f'<html lang="{language}">' in page.text


@pytest.mark.parametrize(
    ("people", "amounts"),
    [
        ("1", ["Rp45.000"]),
        ("2", ["Rp22.500"]),
        ("7", ["Rp6.429", "Rp6.428"]),
        ("99", ["Rp4.500"]),
        ("-3", ["Rp45.000"]),
        ("x", ["Rp45.000"]),
    ],
)
def test_bill_page_splits_the_total_without_a_rest(sandbox, people, amounts):
    page = call(sandbox, "GET", f"/b/{new_bill(sandbox)}?people={people}")

    shares = page.text.partition('<dl class="shares">')[2].partition("</dl>")[0]
    assert [part.partition("</dd>")[0] for part in shares.split("<dd>")[1:]] == amounts


def test_unknown_bill_is_a_friendly_page(sandbox):
    page = call(sandbox, "GET", "/b/nothing")

    assert (page.status, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert '<html lang="en">' in page.text


def test_settling_tells_the_hub_with_a_signature(sandbox, hub):
    token = new_bill(sandbox)

    settle(sandbox, token)

    hub.wait_for(1)
    path, headers, body = hub.posts[0]
    event = json.loads(body)
    expected = hmac.new(INBOUND_KEY, body, hashlib.sha256).hexdigest()
    assert (path, headers["X-Spliteasy-Signature"]) == (
        "/v1/integrations/spliteasy/webhook",
        expected,
    )
    assert event == {
        "event_id": event["event_id"],
        "type": "bill.settled",
        "external_merchant_id": post_merchant(sandbox).json()["external_merchant_id"],
        "merchant_id": MERCHANT_ID,
        "occurred_at": event["occurred_at"],
        "data": {
            "bill_token": token,
            "external_order_id": "order-1",
            "amount": 45_000,
            "currency": "IDR",
        },
    }


def test_settling_ends_on_the_bill_page_with_the_outcome(sandbox):
    token = new_bill(sandbox)

    page = settle(sandbox, token)

    assert page.url == f"{sandbox.url}/b/{token}"
    assert "The restaurant has been told." in page.text
    assert "/settle" not in page.text


def test_settling_many_times_at_once_sends_one_event(sandbox, hub):
    token = new_bill(sandbox)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: settle(sandbox, token), range(10)))

    assert len(hub.posts) == 1


def test_webhook_is_repeated_with_the_same_bytes_until_2xx(sandbox, hub):
    hub.statuses = [500, 404, 302, 200]
    token = new_bill(sandbox)

    page = settle(sandbox, token)

    assert "The restaurant has been told." in page.text
    assert len(hub.posts) == 4
    assert len({body for _, _, body in hub.posts}) == 1


def test_webhook_waits_for_a_hub_that_is_down(sandbox, hub):
    token = new_bill(sandbox)
    callback = sandbox.sandbox.spliteasy.bill(token)
    hub.statuses = [503]

    page = settle(sandbox, token)

    assert "The restaurant has not been told yet." in page.text
    hub.statuses = [200]
    assert callback.last_callback.decided.wait(60)


def test_bill_that_is_cancelled_is_not_settled(sandbox, hub):
    token = new_bill(sandbox)
    call(sandbox, "POST", f"/_control/bills/{token}/cancel", b"")

    settle(sandbox, token)

    hub.wait_for(1)
    assert [json.loads(body)["type"] for _, _, body in hub.posts] == ["bill.cancelled"]


def test_control_page_expires_a_bill(sandbox, hub):
    token = new_bill(sandbox)

    call(sandbox, "POST", f"/_control/bills/{token}/expire", b"")

    hub.wait_for(1)
    assert json.loads(hub.posts[0][2])["type"] == "bill.expired"


def test_resending_sends_the_same_event_again(sandbox, hub):
    token = new_bill(sandbox)
    settle(sandbox, token)

    call(sandbox, "POST", f"/_control/bills/{token}/resend", b"")

    hub.wait_for(2)
    assert hub.posts[0][2] == hub.posts[1][2]


def test_form_from_another_site_is_refused(sandbox, hub):
    token = new_bill(sandbox)

    reply = settle(sandbox, token, Origin="https://evil.example")

    assert (reply.status, hub.posts) == (403, [])


def test_demo_partner_answers_with_a_link(sandbox):
    reply = call(sandbox, **signed_call(QR_PATH, make_envelope("o 1/2")))

    answer = reply.json()
    assert (reply.status, answer["contract"], answer["status"]) == (200, "receipt_qr@1", "ok")
    assert answer["data"]["qr_payload"] == f"{sandbox.url}/demo/demo-qr-a/o/o%201%2F2"
    assert sorted(answer["data"]["label"]) == ["en", "id"]


def test_demo_partner_link_stays_printable(sandbox):
    reply = call(sandbox, **signed_call(QR_PATH, make_envelope("é" * 200)))

    assert len(reply.json()["data"]["qr_payload"]) <= 300


def test_demo_partner_link_leads_to_a_page(sandbox):
    page = call(sandbox, "GET", "/demo/demo-qr-a/o/%3Cb%3E17")

    assert (page.status, "&lt;b&gt;17" in page.text) == (200, True)


def test_demo_partner_signs_its_answer(sandbox):
    reply = call(sandbox, **signed_call(QR_PATH, make_envelope()))

    timestamp = reply.headers["webhook-timestamp"]
    signed = f"{reply.headers['webhook-id']}.{timestamp}.".encode() + reply.body
    digest = hmac.new(OUTBOUND_KEY, signed, hashlib.sha256).digest()
    assert reply.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_demo_partner_repeats_its_answer_to_an_idempotency_key(sandbox):
    first = signed_call(QR_PATH, make_envelope("first"), **{"Idempotency-Key": "k"})
    second = signed_call(QR_PATH, make_envelope("second"), **{"Idempotency-Key": "k"})

    assert call(sandbox, **first).body == call(sandbox, **second).body


@pytest.mark.parametrize("changes", [{"key": b"x" * 32}, {"at": 1}, {"at": 99_999_999_999}])
def test_demo_partner_refuses_a_wrong_signature(sandbox, changes):
    reply = call(sandbox, **signed_call(QR_PATH, make_envelope(), **changes))

    assert (reply.status, reply.json()["error"]["code"]) == (401, "invalid_signature")


def test_demo_partner_refuses_another_partners_capability(sandbox):
    path = "/demo/demo-qr-a/posz/v1/pay_at_table/check.get"

    reply = call(sandbox, **signed_call(path, make_envelope(contract="pay_at_table@1")))

    assert reply.status == 422


def test_demo_table_answers_ok(sandbox):
    path = "/demo/demo-table-b/posz/v1/pay_at_table"
    envelope = make_envelope(contract="pay_at_table@1") | {"data": {"check": {"id": "c-1"}}}

    reply = call(sandbox, **signed_call(path, envelope))

    assert reply.json()["status"] == "ok"
    assert reply.json()["data"]["qr_payload"] == f"{sandbox.url}/demo/demo-table-b/o/c-1"
    assert reply.json()["data"]["label"]["en"] == "Demo B: pay here"


KEY_PATH = "/demo/demo-key/posz/v1/receipt_pretext"
VALID = {"Authorization": "Bearer demo-valid-key"}


def ask_greeting(sandbox, headers=VALID, **config):
    envelope = make_envelope(contract="receipt_pretext@1")
    return call(sandbox, "POST", KEY_PATH, envelope | {"config": config}, headers)


def test_demo_key_prints_the_greeting_and_signs_it(sandbox):
    reply = ask_greeting(sandbox, greeting="Sampai jumpa")

    data = reply.json()["data"]
    text = {"en": "Sampai jumpa", "id": "Sampai jumpa"}
    assert data["lines"] == [{"text": text, "align": "center", "emphasis": True}]
    assert is_standard_signed(reply.headers, reply.body, [OUTBOUND_KEY], time.time())


def test_demo_key_without_a_greeting_has_one_of_its_own(sandbox):
    (line,) = ask_greeting(sandbox).json()["data"]["lines"]

    assert line["text"] == {"en": "Thank you for coming!", "id": "Terima kasih, sampai jumpa!"}


def test_demo_key_wraps_a_long_greeting_to_the_paper(sandbox):
    lines = ask_greeting(sandbox, greeting="Selamat datang kembali " * 20).json()["data"]["lines"]

    assert len(lines) == 6
    assert max(len(line["text"]["en"]) for line in lines) <= 32


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "demo-valid-key"},
        {"Authorization": "Basic ZGVtby12YWxpZC1rZXk6"},
        {"Authorization": "Bearer demo-valid-key-and-more"},
        {"Authorization": "Bearer \xe9"},
    ],
)
def test_demo_key_refuses_any_other_key(sandbox, headers):
    replies = [
        ask_greeting(sandbox, headers),
        call(sandbox, "GET", "/demo/demo-key/posz/v1/verify", headers=headers),
    ]

    assert [reply.status for reply in replies] == [401, 401]


def test_demo_key_verifies_its_key(sandbox):
    reply = call(sandbox, "GET", "/demo/demo-key/posz/v1/verify", headers=VALID)

    assert (reply.status, reply.json()) == (200, {"status": "ok"})
    assert is_standard_signed(reply.headers, reply.body, [OUTBOUND_KEY], time.time())


def test_verify_of_a_partner_without_keys_is_not_there(sandbox):
    reply = call(sandbox, "GET", "/demo/demo-qr-a/posz/v1/verify", headers=VALID)

    assert reply.status == 404


def test_events_are_counted_once_per_id(sandbox):
    body = b'{"type":"order.paid"}'
    headers = {
        "X-Posz-Signature": hmac.new(OUTBOUND_KEY, body, hashlib.sha256).hexdigest(),
        "webhook-id": "evt_1",
    }

    replies = [call(sandbox, "POST", "/events/demo-qr-a", body, headers) for _ in range(2)]

    assert [(reply.status, reply.json()["duplicate"]) for reply in replies] == [
        (200, False),
        (200, True),
    ]
    assert call(sandbox, "GET", "/_events").json() == {
        "events": {"demo-qr-a": {"deliveries": 2, "events": 1, "types": {"order.paid": 1}}}
    }


def test_customer_whom_it_is_to_forget_is_forgotten_at_once(sandbox):
    rows = [{"op": "upsert", "customer_id": "c-1"}, {"op": "erase", "customer_id": "c-2"}]
    body = json.dumps({"type": "customer.merged", "data": {"customers": rows}}).encode()
    headers = {"X-Posz-Signature": hmac.new(OUTBOUND_KEY, body, hashlib.sha256).hexdigest()}

    assert call(sandbox, "POST", "/events/demo-qr-a", body, headers).json()["erased"] == ["c-2"]


def test_events_with_a_wrong_signature_are_refused(sandbox):
    headers = {"X-Posz-Signature": "0" * 64, "webhook-id": "evt_1"}

    assert call(sandbox, "POST", "/events/demo-qr-a", b"{}", headers).status == 401


def test_events_of_an_unknown_partner_are_refused(sandbox):
    headers = {"X-Posz-Signature": hmac.new(b"", b"{}", hashlib.sha256).hexdigest()}

    assert call(sandbox, "POST", "/events/nobody", b"{}", headers).status == 401


def test_events_are_refused_where_a_partner_is_switched_to(sandbox):
    body = b'{"type":"order.paid"}'
    headers = {"X-Posz-Signature": hmac.new(OUTBOUND_KEY, body, hashlib.sha256).hexdigest()}
    call(sandbox, "PUT", "/_behave", {"partner": "demo-partner", "mode": "decline"})

    replies = [
        call(sandbox, "POST", f"/events/{slug}", body, headers)
        for slug in ("demo-partner", "demo-qr-a")
    ]

    assert [reply.status for reply in replies] == [422, 200]
    assert call(sandbox, "GET", "/_events").json()["events"].keys() == {"demo-qr-a"}


# What the generic partner posts by itself


def send(sandbox, **fields):
    order = {"capability": "order_inbound", "operation": "order.created", **fields}
    return call(sandbox, "POST", "/_send", order)


@pytest.mark.parametrize(("contract", "operation"), list(told_operations()))
def test_every_event_to_posz_is_sent_signed(sandbox, hub, contract, operation):
    order = {"capability": contract.capability, "operation": operation.name}
    reply = call(sandbox, "POST", "/_send", {**order, "merchant_id": MERCHANT_ID})

    [(path, headers, body)] = hub.posts
    event = json.loads(body)
    assert (path, reply.json()["status"]) == ("/v1/integrations/demo-partner/webhook", 200)
    signature = hmac.new(INBOUND_KEY, body, hashlib.sha256).hexdigest()
    assert headers["X-Demo-Partner-Signature"] == signature
    assert (event["type"], event["merchant_id"]) == (operation.name, MERCHANT_ID)
    assert event["event_id"] == reply.json()["event_id"]
    msgspec.convert(event["data"], operation.request)


def test_question_about_a_check_is_signed_and_about_the_newest_check(sandbox, hub):
    body = b'{"merchant_id": "m-1", "data": {"check": {"check_id": "chk-2", "table": "7"}}}'
    signature = hmac.new(OUTBOUND_KEY, body, hashlib.sha256).hexdigest()
    call(sandbox, "POST", "/events/demo-partner", body, {"X-Posz-Signature": signature})

    send(sandbox, capability="pay_at_table", operation="check.get")

    [(path, headers, body)] = hub.posts
    asked = json.loads(body)
    assert path == "/v1/integrations/demo-partner/pay_at_table/check.get"
    assert is_standard_signed(headers, body, [INBOUND_KEY], time.time())
    assert (asked["operation"], asked["merchant_id"]) == ("check.get", "m-1")
    assert asked["data"] == {"check_id": "chk-2"}


def test_what_follows_is_about_the_order_that_was_sent_last(sandbox, hub):
    for operation in ("order.created", "order.created", "order.cancelled"):
        send(sandbox, operation=operation, merchant_id=MERCHANT_ID)

    ids = [json.loads(post[2])["data"]["external_order_id"] for post in hub.posts]
    assert ids[0] != ids[1] == ids[2]


def test_payment_that_is_reported_is_the_one_that_was_started_last(sandbox, hub):
    asked = contract_of("payment_method", 1).operation("create").request_example
    envelope = make_envelope(contract="payment_method@1")
    envelope |= {"data": asked, "merchant": {"id": MERCHANT_ID}, "outlet": {"id": "the-outlet"}}
    path = "/demo/demo-partner/posz/v1/payment_method/create"
    started = call(sandbox, **signed_call(path, envelope)).json()["data"]

    send(sandbox, capability="payment_webhook_inbound", operation="payment.updated")

    event = json.loads(hub.posts[0][2])
    assert (event["merchant_id"], event["location_id"]) == (MERCHANT_ID, "the-outlet")
    assert event["data"] == {
        "kind": "payment",
        "status": "paid",
        "payment_id": asked["payment_id"],
        "amount_cents": asked["amount_cents"],
        "currency": asked["currency"],
        "provider_ref": started["provider_ref"],
    }


def test_event_is_sent_wrongly_on_demand(sandbox, hub):
    send(sandbox, merchant_id=MERCHANT_ID, way="wrong_signature")
    send(sandbox, merchant_id=MERCHANT_ID, way="malformed")

    body = hub.posts[0][2]
    right = hmac.new(INBOUND_KEY, body, hashlib.sha256).hexdigest()
    assert hub.posts[0][1]["X-Demo-Partner-Signature"] != right
    assert json.loads(hub.posts[1][2])["data"]["external_order_id"] == 1.5


def test_event_is_sent_again_with_the_same_bytes(sandbox, hub):
    number = send(sandbox, merchant_id=MERCHANT_ID).json()["event_id"]

    again = call(sandbox, "POST", f"/_send/{number}/again", b"")

    assert (again.status, hub.posts[0][2]) == (200, hub.posts[1][2])
    assert [item["event_id"] for item in call(sandbox, "GET", "/_send").json()["sent"]] == [number]


def test_hub_that_is_down_is_told_of(sandbox, hub):
    hub.close()

    assert send(sandbox, merchant_id=MERCHANT_ID).json()["status"] == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "merchant_id"),
        ({"operation": "order.eaten"}, "operation"),
        ({"operation": "check.opened", "capability": "pay_at_table"}, "operation"),
        ({"way": "sideways"}, "way"),
        ({"data": [1]}, "data"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_event_that_can_not_be_sent_is_refused(sandbox, hub, fields, field):
    reply = send(sandbox, **fields)

    assert (reply.status, reply.json()["error"]["field"], hub.posts) == (422, field, [])


def test_event_is_sent_and_repeated_by_the_form_of_the_control_page(sandbox, hub):
    form = {"event": "order_inbound/order.created", "merchant_id": MERCHANT_ID, "way": "ok"}
    page = call(sandbox, "POST", "/_control/send", urlencode(form).encode())
    [number] = set(re.findall(r'name="again" value="([^"]+)"', page.text))

    call(sandbox, "POST", "/_control/send", urlencode({"again": number}).encode())

    assert [json.loads(post[2])["event_id"] for post in hub.posts] == [number, number]


def test_form_with_an_unknown_event_is_told_of(sandbox):
    page = call(sandbox, "POST", "/_control/send", b"event=x&merchant_id=m")

    assert (page.status, "x has no such event." in page.text) == (422, True)


def test_received_requests_are_kept_verbatim(sandbox):
    call(sandbox, "POST", "/v1/external/bills?a=1", b"\xc3\xa9", {"Authorization": "Bearer x"})

    (row,) = call(sandbox, "GET", "/_received").json()["requests"]
    assert [row["method"], row["path"], row["query"], row["body"]] == [
        "POST",
        "/v1/external/bills",
        "a=1",
        "é",
    ]
    assert row["headers"]["Authorization"] == "Bearer x"
    assert row["at"].endswith("Z")


def test_received_requests_are_forgotten(sandbox):
    call(sandbox, "GET", "/b/x")

    forgotten = call(sandbox, "DELETE", "/_received")

    assert forgotten.status == 204
    assert call(sandbox, "GET", "/_received").json() == {"requests": []}


@pytest.mark.parametrize("path", ["/_received", "/_behave", "/_events", "/"])
def test_log_and_switches_refuse_a_foreign_host(sandbox, path):
    reply = call(sandbox, "GET", path, headers={"Host": "evil.example"})

    assert reply.status == 403


def test_control_page_shows_what_was_received(sandbox):
    call(sandbox, "GET", "/b/<b>x")

    page = call(sandbox, "GET", "/")

    assert "/b/&lt;b&gt;x" in page.text


@pytest.mark.parametrize(
    ("switch", "status", "content_type"),
    [
        ({"mode": "fail"}, 503, "application/json"),
        ({"mode": "fail", "status": 410}, 410, "application/json"),
        ({"mode": "unauthorized"}, 401, "application/json"),
        ({"mode": "garbage"}, 200, "text/html; charset=utf-8"),
        ({"mode": "slow", "delay_ms": 10}, 201, "application/json"),
        ({"mode": "ok"}, 201, "application/json"),
    ],
)
def test_switch_changes_the_answer(sandbox, switch, status, content_type):
    behave(sandbox, path_prefix="/v1/external/bills", **switch)

    reply = post_bill(sandbox)

    assert (reply.status, reply.headers["Content-Type"]) == (status, content_type)


def test_switch_slow_answers_later(sandbox):
    behave(sandbox, mode="slow", delay_ms=300)
    started = time.monotonic()

    call(sandbox, "GET", "/b/x")

    assert time.monotonic() - started >= 0.3


def test_switch_with_the_longest_prefix_wins(sandbox):
    behave(sandbox, path_prefix="", mode="fail")
    behave(sandbox, path_prefix="/v1/external/merchants", mode="ok")

    assert (post_merchant(sandbox).status, post_bill(sandbox).status) == (201, 503)


def test_switch_ends_after_its_times(sandbox):
    behave(sandbox, mode="fail", times=2)

    assert [post_merchant(sandbox).status for _ in range(3)] == [503, 503, 201]


def test_switches_are_shown_and_cleared(sandbox):
    shown = behave(sandbox, path_prefix="/b/", mode="fail", times=3).json()
    cleared = call(sandbox, "DELETE", "/_behave")

    assert shown == {
        "switches": [
            {"path_prefix": "/b/", "mode": "fail", "delay_ms": 2000, "status": 503, "times": 3}
        ]
    }
    assert cleared.status == 204
    assert call(sandbox, "GET", "/_behave").json() == {"switches": []}


@pytest.mark.parametrize(
    ("switch", "field"),
    [
        ({"mode": "explode"}, "mode"),
        ({"mode": ["ok"]}, "mode"),
        ({"delay_ms": -1}, "delay_ms"),
        ({"delay_ms": True}, "delay_ms"),
        ({"status": 99}, "status"),
        ({"times": 0}, "times"),
        ({"path_prefix": 1}, "path_prefix"),
        ({"partner": "nobody"}, "partner"),
        ({"partner": "demo-partner", "path_prefix": "/b/"}, "path_prefix"),
        ({"colour": 1}, "colour"),
    ],
)
def test_switch_that_is_wrong_is_refused(sandbox, switch, field):
    reply = behave(sandbox, **switch)

    assert (reply.status, reply.json()["error"]["field"]) == (422, field)


def test_switch_hang_never_answers(sandbox):
    behave(sandbox, mode="hang")

    with pytest.raises(TimeoutError):
        call(sandbox, "GET", "/b/x", timeout=0.3)


def test_switch_hang_ends_with_the_sandbox(hub):
    server = SandboxServer(secret_of=sandbox_keys, hub=hub.url)
    server.start()
    behave(server, mode="hang")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(call, server, "GET", "/b/x", timeout=60)
        while not server.sandbox.received.all():
            threading.Event().wait(0.01)

        server.stop()

        with pytest.raises((RemoteDisconnected, BadStatusLine)):
            asked.result(timeout=10)


def test_switch_reset_breaks_the_connection(sandbox):
    behave(sandbox, mode="reset")

    with socket.create_connection(sandbox.server_address, timeout=10) as client:
        client.sendall(b"GET /b/x HTTP/1.1\r\nHost: localhost\r\n\r\n")

        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_switch_drip_sends_the_body_slowly(sandbox):
    behave(sandbox, mode="drip")

    with socket.create_connection(sandbox.server_address, timeout=10) as client:
        client.sendall(b"GET /b/x HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert client.recv(10_000).endswith(b"\r\n\r\n")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(100)


def test_switch_is_set_by_the_form_of_the_control_page(sandbox):
    form = {"path_prefix": "/b/", "mode": "fail", "delay_ms": "", "status": "500", "times": ""}

    page = call(sandbox, "POST", "/_control/behave", urlencode(form).encode())

    assert (page.status, page.url) == (200, f"{sandbox.url}/?lang=en")
    assert call(sandbox, "GET", "/b/x").status == 500


def test_body_that_is_too_large_is_refused(sandbox):
    with socket.create_connection(sandbox.server_address, timeout=10) as client:
        client.sendall(b"POST /v1/external/bills HTTP/1.1\r\nContent-Length: 262145\r\n\r\n")

        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_connection_serves_request_after_request(sandbox):
    with socket.create_connection(sandbox.server_address, timeout=10) as client:
        for _ in range(2):
            client.sendall(b"GET /_events HTTP/1.1\r\nHost: localhost\r\n\r\n")

            assert client.recv(10_000).startswith(b"HTTP/1.1 200 ")


def test_wrong_method_names_the_right_one(sandbox):
    reply = call(sandbox, "GET", "/v1/external/bills")

    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_serves_and_ends_cleanly(number):
    manage = Path(__file__).resolve().parent.parent / "manage.py"
    arguments = ["--port", "0", "--mode", "fail", "--secret", f"spliteasy:jwt={JWT_KEY.hex()}"]
    process = subprocess.Popen(
        [sys.executable, manage, "partner_sandbox", *arguments], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        url = process.stdout.readline().split()[2]
        with pytest.raises(HTTPError) as failed:
            urlopen(url + "/b/x", timeout=10)
        failed.value.close()

        process.send_signal(number)

        assert (failed.value.status, process.wait(timeout=10)) == (503, 0)
