"""What holds for calls from one event loop only; the rules of both doors are in `test_door`."""

import asyncio
import gzip
import socket
import zlib
from threading import Event

import pytest

from dispatch.bulk_door import BulkDoor, route_to
from dispatch.door import DeadlineError, DoorError, NonsenseError
from tests.test_door import OK, answering, make_peer, with_body  # noqa: F401 - fixtures


async def outcome(
    bulk: BulkDoor, url: str, timeout_seconds: float, body: bytes = b"x"
) -> int | type[DoorError]:
    try:
        reply = await bulk.post(
            route_to(url), headers={}, body=body, timeout_seconds=timeout_seconds
        )
    except DoorError as error:
        return type(error)
    return reply.status


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)],
)
def test_bulk_call_refuses_every_packed_answer(make_peer, encoding, pack):  # noqa: F811
    peer = make_peer(answering(with_body(pack(b"ok"), f"Content-Encoding: {encoding}")))

    async def act():
        async with BulkDoor() as bulk:
            return await outcome(bulk, peer.url, 5)

    assert asyncio.run(act()) is NonsenseError


def test_bulk_call_that_gives_up_leaves_the_lookup_to_others(make_peer, monkeypatch):  # noqa: F811
    peer = make_peer(answering(OK), "slow.example")
    release, lookups = Event(), []

    def getaddrinfo(host, port, *args, **kwargs):
        lookups.append(host)
        release.wait(5)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def act():
        url = f"http://slow.example:{peer.port}/"
        async with BulkDoor() as bulk:
            others = [asyncio.create_task(outcome(bulk, url, 10)) for _ in range(3)]
            hasty = await outcome(bulk, url, 0.2)
            release.set()
            return [hasty, *await asyncio.gather(*others)]

    assert (asyncio.run(act()), lookups) == ([DeadlineError, 200, 200, 200], ["slow.example"])


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_bulk_call_writes_nothing_after_its_deadline(make_peer):  # noqa: F811
    is_over, has_read = Event(), Event()
    body = bytes(32 * 1024 * 1024)

    def handle(peer, connection):
        is_over.wait(5)
        try:
            peer.read_request(connection)
        finally:
            has_read.set()

    peer = make_peer(handle)

    async def act():
        async with BulkDoor() as bulk:
            result = await outcome(bulk, peer.url, 0.3, body)
            is_over.set()
            await asyncio.to_thread(has_read.wait, 10)
            return result

    assert (asyncio.run(act()), peer.requests) == (DeadlineError, [])
