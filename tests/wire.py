"""HTTP over bare sockets, many at once: sends what a client would refuse to, and reads the answer."""

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.stack import Hub

SLUG = "spliteasy"
WEBHOOK = f"/v1/integrations/{SLUG}/webhook"
GIVE_UP_SECONDS = 20


class Answer(NamedTuple):
    """What came back; status 0 where the server closed the connection without a word."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code in the envelope of a refusal, or nothing where this is no such envelope."""
        if self.headers.get("content-type") != "application/json":
            return ""
        with contextlib.suppress(ValueError, KeyError, TypeError):
            error = json.loads(self.body)["error"]
            return error["code"] if isinstance(error["message"], str) else ""
        return ""


class Peer:
    """One connection to the hub."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, hub: Hub) -> "Peer":
        parts = urlsplit(hub.url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def ask(
        self, chunks: Sequence[bytes], pause_seconds: float = 0, *, is_cut_off: bool = False
    ) -> Answer:
        """Send the chunks one after the other, then read until the server closes.

        Whoever is cut off says that nothing more will come, and still listens.
        """
        answer = b""
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                with contextlib.suppress(OSError):
                    for chunk in chunks:
                        self.writer.write(chunk)
                        await self.writer.drain()
                        await asyncio.sleep(pause_seconds)
                    if is_cut_off:
                        self.writer.write_eof()
                with contextlib.suppress(OSError):
                    while part := await self.reader.read(65536):
                        answer += part
        finally:
            self.writer.close()
        return read_answer(answer)


def read_answer(raw: bytes) -> Answer:
    if not raw:
        return Answer(0, {}, b"")
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    status = int(line.split(" ")[1])
    if status == 100:
        return read_answer(body)
    pairs = (item.partition(":") for item in lines)
    headers = {name.lower(): value.strip() for name, _colon, value in pairs}
    if headers.get("transfer-encoding") == "chunked":
        body = unchunked(body)
    elif "content-length" in headers:
        body = body[: int(headers["content-length"])]
    return Answer(status, headers, body)


def unchunked(rest: bytes) -> bytes:
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
    return body


def request(
    headers: Sequence[bytes] = (), body: bytes = b"", line: bytes = b"", host: bytes = b"127.0.0.1"
) -> bytes:
    """The bytes of a request that asks for the connection to be closed after it."""
    line = line or f"POST {WEBHOOK} HTTP/1.1".encode()
    return b"\r\n".join([line, b"Host: " + host, b"Connection: close", *headers, b"", body])


async def ask_at_once(hub: Hub, requests: Sequence[bytes]) -> list[Answer]:
    """The answers in the order of the requests; all connections are open before anything is sent."""
    peers = [await Peer.to(hub) for _ in requests]
    asked = (peer.ask([one]) for peer, one in zip(peers, requests, strict=True))
    return await asyncio.gather(*asked)


def install_everywhere(hub: Hub) -> None:
    """The partner, for each merchant of the demo world."""
    body = json.dumps({"integration": SLUG}).encode()
    kind = [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    posts = [
        request(
            [b"Authorization: Bearer " + token.encode(), *kind], body, b"POST /v1/installs HTTP/1.1"
        )
        for token in hub.seed["merchant_tokens"].values()
    ]
    answers = asyncio.run(ask_at_once(hub, posts))
    assert {answer.status for answer in answers} <= {201, 409}


class Partner:
    """Signs as the partner of the demo world does."""

    def __init__(self, hub: Hub) -> None:
        self.key = bytes.fromhex(hub.seed["integrations"][SLUG]["inbound_secret"])

    def signature(self, body: bytes) -> bytes:
        return b"X-Spliteasy-Signature: " + self.hex_of(body).encode()

    def hex_of(self, body: bytes) -> str:
        return hmac.new(self.key, body, hashlib.sha256).hexdigest()

    def post(self, body: bytes, *headers: bytes) -> bytes:
        length = b"Content-Length: %d" % len(body)
        return request([self.signature(body), length, *headers], body)


def make_event(event_id: Any, merchant_id: str, **over: Any) -> bytes:
    defaults = {
        "event_id": event_id,
        "type": "bill.settled",
        "merchant_id": merchant_id,
        "data": {"bill_token": "t", "external_order_id": "o", "amount": 1},
    }
    return json.dumps(defaults | over).encode()
