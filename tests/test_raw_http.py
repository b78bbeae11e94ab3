"""The doors of a running hub, over raw sockets: what a test client would tidy up on the way."""

import hashlib
import hmac
import json
import socket
from urllib.parse import urlsplit

import pytest

PATH = "/v1/integrations/spliteasy/webhook"


@pytest.fixture(scope="module")
def door(live_hub):
    return Door(live_hub)


class Door:
    def __init__(self, hub):
        parts = urlsplit(hub.url)
        self.address = (parts.hostname, parts.port)
        self.key = bytes.fromhex(hub.seed["integrations"]["spliteasy"]["inbound_secret"])
        self.token = hub.seed["pos_token"].encode()
        self.merchant_id = hub.seed["merchants"][1]["id"]

    def body(self) -> bytes:
        return json.dumps(
            {"event_id": "raw-1", "type": "bill.settled", "merchant_id": self.merchant_id}
        ).encode()

    def sign(self, body: bytes) -> bytes:
        return hmac.new(self.key, body, hashlib.sha256).hexdigest().encode()

    def send(
        self,
        *headers: bytes,
        body: bytes = b"",
        line: bytes | None = None,
        host: bytes = b"127.0.0.1",
    ):
        request = b"\r\n".join(
            [
                line or f"POST {PATH} HTTP/1.1".encode(),
                b"Host: " + host,
                b"Connection: close",
                *headers,
                b"",
                body,
            ]
        )
        with socket.create_connection(self.address, timeout=10) as peer:
            peer.sendall(request)
            answer = b""
            while chunk := peer.recv(65536):
                answer += chunk
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), content


def code(content: bytes) -> str:
    return json.loads(content)["error"]["code"]


def test_right_post_reaches_the_merchant_check(door):
    """The second demo merchant has not installed SplitEasy: the last answer before the ledger."""
    body = door.body()

    status, content = door.send(
        b"X-Spliteasy-Signature: " + door.sign(body), b"Content-Length: %d" % len(body), body=body
    )

    assert (status, code(content)) == (404, "integration_not_installed")


def test_chunked_post_is_read_whole(door):
    body = door.body()
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:5], body[5:]))

    status, content = door.send(
        b"X-Spliteasy-Signature: " + door.sign(body),
        b"Transfer-Encoding: chunked",
        body=chunked + b"0\r\n\r\n",
    )

    assert (status, code(content)) == (404, "integration_not_installed")


def test_chunked_post_past_the_limit_is_refused(door):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    status, content = door.send(b"Transfer-Encoding: chunked", body=chunk * 5 + b"0\r\n\r\n")

    assert (status, code(content)) == (413, "payload_too_large")


def test_chunks_that_can_not_be_read_are_the_sender_s_fault(door):
    status, content = door.send(b"Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n")

    assert (status, code(content)) == (400, "invalid_payload")


def test_chunked_question_is_read_whole_by_every_door(door):
    body = json.dumps({"integration": "nobody", "merchant_id": door.merchant_id}).encode()

    status, content = door.send(
        b"Authorization: Bearer " + door.token,
        b"Content-Type: application/json",
        b"Transfer-Encoding: chunked",
        line=b"POST /v1/installs HTTP/1.1",
        body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
    )

    assert (status, code(content)) == (404, "not_found")


def test_foreign_host_gets_no_debug_page(door):
    for path in (b"/v1/capabilities", b"/integrations"):
        status, content = door.send(line=b"GET " + path + b" HTTP/1.1", host=b"evil.example")

        assert status == 400
        assert b"DisallowedHost" not in content


def test_two_signature_headers_are_refused_even_if_both_are_right(door):
    body = door.body()
    header = b"X-Spliteasy-Signature: " + door.sign(body)

    status, content = door.send(header, header, b"Content-Length: %d" % len(body), body=body)

    assert (status, code(content)) == (401, "invalid_signature")


@pytest.mark.parametrize(
    "value", [b"\xff" * 64, "é".encode() * 32, b"0" * 7000, b"", b"sha256=\xf0\x9f\x98\x80"]
)
def test_strange_signature_header_is_refused(door, value):
    status, content = door.send(
        b"X-Spliteasy-Signature: " + value, b"Content-Length: 2", body=b"{}"
    )

    assert (status, code(content)) == (401, "invalid_signature")


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/nothing HTTP/1.1",
        b"GET /v1/installs/%ff%fe HTTP/1.1",
        b"GET /v1/installs/%00 HTTP/1.1",
        b"GET /v1/integrations/" + b"x" * 3000 + b" HTTP/1.1",
        b"GET /v1//installs HTTP/1.1",
        b"GET /v1/installs/ HTTP/1.1",
        b"GET /v1/integrations?limit=abc&cursor=%00%ff HTTP/1.1",
        b"DELETE /v1/capabilities HTTP/1.1",
        b"TRACE /v1/capabilities HTTP/1.1",
        b"POST /v1/nothing HTTP/1.1",
        b"POST /v1 HTTP/1.1",
        b"PUT /v1/openapi.yaml HTTP/1.1",
    ],
)
def test_strange_address_answers_in_the_envelope(door, line):
    status, content = door.send(line=line)

    assert 200 <= status < 500
    if status != 200:
        assert code(content) in {
            "not_found",
            "method_not_allowed",
            "unauthenticated",
            "invalid_payload",
        }


def test_length_that_promises_too_much_is_refused_at_once(door):
    status, content = door.send(b"Content-Length: 99999999999", body=b"{}")

    assert (status, code(content)) == (413, "payload_too_large")
