import asyncio
import gzip
import os
import re
import socket
import ssl
import traceback
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from secrets import token_hex
from threading import Barrier, Event, Lock, Thread
from types import SimpleNamespace

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dispatch import bulk_door, door
from tests.test_addresses import FORBIDDEN_URLS

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD = b"HTTP/1.1 200 OK\r\n"


class Peer:
    """A server on loopback that hands every connection to `handle` and notes what it was sent."""

    def __init__(self, handle: Callable[["Peer", socket.socket], None], address=("127.0.0.1", 0)):
        self.handle = handle
        self.listener = socket.create_server(address, reuse_port=True)
        self.host, self.port = self.listener.getsockname()[:2]
        self.connections: list[socket.socket] = []
        self.requests: list[bytes] = []
        self.stopped = Event()
        self.lock = Lock()
        self.threads = [Thread(target=self.accept)]
        self.threads[0].start()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            self.threads.append(Thread(target=self.serve, args=(connection,)))
            self.threads[-1].start()

    def serve(self, connection):
        with connection:
            try:
                self.handle(self, connection)
            except OSError:
                return

    def read_request(self, connection):
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            if not piece:
                return None
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            piece = connection.recv(65536)
            if not piece:
                return None
            body += piece
        with self.lock:
            self.requests.append(head + b"\r\n\r\n" + body)
        return head

    def drip(self, connection, data: bytes):
        for byte in data:
            if self.stopped.wait(0.03):
                return
            connection.sendall(bytes([byte]))

    def stop(self):
        self.stopped.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.threads[0].join()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self.threads:
            thread.join()


def answering(*answers: bytes):
    def handle(peer, connection):
        for answer in [*answers[:-1], *[answers[-1]] * 1000]:
            if peer.read_request(connection) is None:
                return
            connection.sendall(answer)

    return handle


def answering_once(answer: bytes):
    def handle(peer, connection):
        if connection.recv(1, socket.MSG_PEEK) != b"\x16":
            peer.read_request(connection)
        connection.sendall(answer)

    return handle


def dripping(start: bytes, rest: bytes):
    def handle(peer, connection):
        peer.read_request(connection)
        connection.sendall(start)
        peer.drip(connection, rest)

    return handle


def with_body(body: bytes, *headers: str):
    lines = "".join(f"{header}\r\n" for header in headers).encode()
    return HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture(autouse=True)
def production(settings):
    settings.OUTBOUND_ALLOW = []
    settings.OUTBOUND_HTTPS_ONLY = True


@pytest.fixture(params=["door", "bulk"])
def kind(request):
    return request.param


@pytest.fixture
def post(kind):
    """A POST through either door: the rules are the same."""
    if kind == "door":
        yield partial(door.call, "POST")
        return
    with asyncio.Runner() as runner:
        bulk = runner.run(bulk_door.BulkDoor().__aenter__())

        def bulk_post(url, *, headers=None, body=b"", timeout_seconds):
            call = bulk.post(
                bulk_door.route_to(url),
                headers=headers or {},
                body=body,
                timeout_seconds=timeout_seconds,
            )
            return runner.run(call)

        yield bulk_post
        runner.run(bulk.__aexit__())


@pytest.fixture
def make_peer(settings):
    peers = []

    def make(handle, *names, address=("127.0.0.1", 0)):
        peer = Peer(handle, address)
        peers.append(peer)
        allowed = [f"{name}:{peer.port}" for name in names or (peer.host,)]
        settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, *allowed]
        return peer

    yield make
    for peer in peers:
        peer.stop()


@pytest.fixture
def dns(monkeypatch):
    """Names and the answers their look-ups get, one after the other; the last one stays."""
    answers: dict[str, list[list[str]]] = {}
    lookups: list[str] = []

    def getaddrinfo(host, port, *args, **kwargs):
        lookups.append(host)
        if host not in answers:
            raise socket.gaierror(socket.EAI_NONAME, "unknown name")
        found = answers[host][0] if len(answers[host]) == 1 else answers[host].pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return SimpleNamespace(answers=answers, lookups=lookups)


@pytest.fixture
def sink():
    """What a forbidden target would reach: loopback on a port that is open to the public rules."""
    peer = Peer(answering(OK), ("127.0.0.1", 8443))
    yield peer
    peer.stop()


def test_call_returns_what_was_answered(post, make_peer):
    peer = make_peer(answering(b"HTTP/1.1 418 No\r\nX-Kind: Pot\r\nContent-Length: 2\r\n\r\n{}"))

    reply = post(f"{peer.url}/a?b=c", body=b"payload", timeout_seconds=5)

    assert (reply.status, reply.headers["x-kind"], reply.body, reply.json()) == (
        418,
        "Pot",
        b"{}",
        {},
    )


@pytest.mark.parametrize(("kind", "accepted"), [("door", "gzip, deflate"), ("bulk", "identity")])
def test_call_sends_one_plain_request(post, make_peer, accepted):
    peer = make_peer(answering(OK))

    post(
        f"{peer.url}/a?b=c",
        headers={"X-Key": "v", "user-agent": "x", "accept-encoding": "br"},
        body=b"payload",
        timeout_seconds=5,
    )

    head, _, body = peer.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert (first, sorted(lines), body) == (
        "POST /a?b=c HTTP/1.1",
        [
            f"Accept-Encoding: {accepted}",
            "Content-Length: 7",
            f"Host: 127.0.0.1:{peer.port}",
            "User-Agent: Posz-Hub/1.0",
            "X-Key: v",
        ],
        b"payload",
    )


@pytest.mark.parametrize("url", FORBIDDEN_URLS)
def test_call_to_forbidden_url_reaches_nothing(post, dns, sink, url):
    with pytest.raises(door.AddressRefusedError):
        post(url, timeout_seconds=5)

    assert (dns.lookups, sink.connections) == ([], [])


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "0", "0.0.0.0"),  # noqa: S104
        *("localhost", "localhost.", "LOCALHOST", "a.localhost", "[::1]", "[::ffff:127.0.0.1]"),
        *("x@127.0.0.1", "127.0.0.1\\@good.example", "%31%32%37.0.0.1", "\uff11\uff12\uff17.1"),
    ],
)
def test_call_to_loopback_in_any_spelling_reaches_nothing(post, sink, host):
    with pytest.raises(door.AddressRefusedError):
        post(f"https://{host}:8443/", timeout_seconds=5)

    assert sink.connections == []


@pytest.mark.parametrize(
    "records",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["168.63.129.16"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["fe80::1%eth0"],
        ["1.1.1.1", "127.0.0.1"],
        ["127.0.0.1", "1.1.1.1"],
    ],
)
def test_call_to_name_with_a_private_record_reaches_nothing(post, dns, sink, records):
    dns.answers["rebind.example"] = [records]

    with pytest.raises(door.AddressRefusedError):
        post("https://rebind.example:8443/", timeout_seconds=5)

    assert sink.connections == []


def test_call_connects_to_the_address_that_was_checked(post, dns, make_peer):
    peer = make_peer(answering(OK), "rebind.example")
    second = make_peer(answering(OK), address=("127.0.0.2", peer.port))
    dns.answers["rebind.example"] = [["127.0.0.1"], ["127.0.0.2"]]

    post(f"http://rebind.example:{peer.port}/", timeout_seconds=5)

    assert (dns.lookups, len(peer.requests), second.connections) == (["rebind.example"], 1, [])


def test_call_tries_the_next_record_where_one_refuses(post, dns, make_peer):
    peer = make_peer(answering(OK), "two.example")
    dns.answers["two.example"] = [["127.0.0.9", "127.0.0.1"]]

    reply = post(f"http://two.example:{peer.port}/", timeout_seconds=5)

    assert reply.status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_call_redirected_returns_the_redirect(post, make_peer, status):
    other = make_peer(answering(OK))
    moved = f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}/\r\nContent-Length: 0\r\n\r\n"
    peer = make_peer(answering(moved.encode()))

    reply = post(peer.url, body=b"secret", timeout_seconds=5)

    assert (reply.status, other.connections) == (status, [])


def test_call_ignores_proxies_and_netrc_of_the_environment(post, make_peer, monkeypatch, tmp_path):
    proxy = make_peer(answering(OK))
    peer = make_peer(answering(OK))
    netrc = tmp_path / "netrc"
    netrc.write_text("default login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)

    post(peer.url, timeout_seconds=5)

    assert (proxy.connections, b"Authorization" in peer.requests[0]) == ([], False)


def test_call_keeps_no_cookies(post, make_peer):
    peer = make_peer(answering(with_body(b"ok", "Set-Cookie: session=1; Path=/")))

    for _ in range(2):
        post(peer.url, timeout_seconds=5)

    assert b"cookie" not in peer.requests[1].lower()


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "handle",
    [
        pytest.param(dripping(b"", OK), id="status line"),
        pytest.param(dripping(HEAD, b"X-Slow: 123456789012345\r\n" + OK[17:]), id="headers"),
        pytest.param(dripping(HEAD + b"Content-Length: 50\r\n\r\n", b"x" * 50), id="body"),
        pytest.param(dripping(HEAD + b"\r\n", b"x" * 50), id="body without length"),
        pytest.param(dripping(CHUNKED, b"1\r\nx\r\n" * 9 + b"0\r\n\r\n"), id="chunks"),
        pytest.param(
            dripping(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Go\r\n\r\n" * 3 + OK),
            id="interim answers",
        ),
        pytest.param(lambda peer, _: peer.stopped.wait(), id="silence"),
    ],
)
def test_call_slow_peer_ends_at_the_deadline(post, make_peer, handle):
    peer = make_peer(handle)

    with pytest.raises(door.DeadlineError):
        post(peer.url, timeout_seconds=0.4)


def test_call_slow_packed_body_ends_at_the_deadline(make_peer):
    packed = gzip.compress(os.urandom(50))
    peer = make_peer(dripping(HEAD + b"Content-Encoding: gzip\r\n\r\n", packed))

    with pytest.raises(door.DeadlineError):
        door.call("GET", peer.url, timeout_seconds=0.4)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_call_peer_that_reads_late_ends_at_the_deadline(post, make_peer):
    def handle(peer, connection):
        peer.stopped.wait(2)
        answering_once(OK)(peer, connection)

    peer = make_peer(handle)

    with pytest.raises(door.DeadlineError):
        post(peer.url, body=bytes(32 * 1024 * 1024), timeout_seconds=0.4)


def test_call_after_the_deadline_sends_nothing(post, make_peer):
    peer = make_peer(answering(OK))

    with pytest.raises(door.DeadlineError):
        post(peer.url, timeout_seconds=0)

    assert peer.connections == []


@pytest.fixture
def full_backlog(settings):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        settings.OUTBOUND_ALLOW = [f"127.0.0.1:{port}"]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port
        for filler in fillers:
            filler.close()


def test_call_unanswered_connect_ends_at_the_deadline(post, full_backlog):
    with pytest.raises(door.DeadlineError):
        post(f"http://127.0.0.1:{full_backlog}/", timeout_seconds=0.3)


def test_call_unanswered_connect_is_given_up_before_a_far_deadline(post, full_backlog):
    with pytest.raises(door.UnreachableError):
        post(f"http://127.0.0.1:{full_backlog}/", timeout_seconds=60)


def test_call_slow_name_ends_at_the_deadline_with_one_lookup(post, settings, monkeypatch):
    settings.OUTBOUND_ALLOW = ["slow.example:8001"]
    release, ended, lookups = Event(), Event(), []

    def getaddrinfo(host, *args, **kwargs):
        lookups.append(host)
        release.wait(3)
        ended.set()
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    for _ in range(2):
        with pytest.raises(door.DeadlineError):
            post("http://slow.example:8001/", timeout_seconds=0.2)
    release.set()

    assert (ended.wait(5), lookups) == (True, ["slow.example"])


def test_call_body_at_the_cap_is_returned(post, make_peer):
    peer = make_peer(answering(with_body(b"x" * 65536)))

    assert len(post(peer.url, timeout_seconds=5).body) == 65536


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(with_body(b"x" * 65537), id="plain"),
        pytest.param(HEAD + b"\r\n" + b"x" * 65537, id="without length"),
        pytest.param(CHUNKED + b"10001\r\n" + b"x" * 65537 + b"\r\n0\r\n\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000 + OK, id="interim answers"),
        pytest.param(
            HEAD + (b"X-A: " + b"x" * 60_000 + b"\r\n") * 50 + OK[17:], id="large headers"
        ),
        pytest.param(
            CHUNKED + (b"1;" + b"x" * 60_000 + b"\r\nx\r\n") * 50 + b"0\r\n\r\n",
            id="large chunk framing",
        ),
        pytest.param(
            CHUNKED + b"0\r\n" + (b"X-A: " + b"x" * 60_000 + b"\r\n") * 50 + b"\r\n",
            id="large trailers",
        ),
    ],
)
def test_call_answer_over_the_cap_is_refused(post, make_peer, answer):
    peer = make_peer(answering_once(answer))

    with pytest.raises(door.TooLargeError):
        post(peer.url, timeout_seconds=20)


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_call_answer_over_the_cap_once_unpacked_is_refused(make_peer, encoding, pack):
    body = pack(b"x" * 65537)
    peer = make_peer(answering_once(with_body(body, f"Content-Encoding: {encoding}")))

    with pytest.raises(door.TooLargeError):
        door.call("GET", peer.url, timeout_seconds=20)


def test_call_gzip_bomb_is_never_unpacked(make_peer):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(200)) + packer.flush()
    peer = make_peer(answering_once(with_body(bomb, "Content-Encoding: gzip")))
    tracemalloc.start()

    with pytest.raises(door.TooLargeError):
        door.call("GET", peer.url, timeout_seconds=20)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "identity"])
def test_call_decodes_what_it_asked_for(make_peer, encoding):
    packed: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "identity": bytes,
    }
    body = packed[encoding.lower()](b"plain")
    peer = make_peer(answering(with_body(body, f"Content-Encoding: {encoding}")))

    replies = [door.call("GET", peer.url, timeout_seconds=5) for _ in range(2)]

    assert ([reply.body for reply in replies], len(peer.connections)) == ([b"plain"] * 2, 1)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"220 mail.example ESMTP\r\n\r\n", id="not HTTP"),
        pytest.param(b"\x00\x01\x02\x03\r\n\r\n", id="binary"),
        pytest.param(HEAD + b"X: y\r\n" * 200 + b"\r\n", id="too many headers"),
        pytest.param(with_body(b"no gzip", "Content-Encoding: gzip"), id="broken gzip"),
        pytest.param(with_body(b"x", "Content-Encoding: br"), id="brotli"),
        pytest.param(with_body(b"x", "Content-Encoding: zstd"), id="zstd"),
        pytest.param(
            with_body(gzip.compress(gzip.compress(b"x", mtime=0)), "Content-Encoding: gzip, gzip"),
            id="packed twice",
        ),
    ],
)
def test_call_answer_that_is_nonsense_is_refused(post, make_peer, answer):
    peer = make_peer(answering_once(answer))

    with pytest.raises(door.NonsenseError):
        post(peer.url, timeout_seconds=5)


@pytest.mark.parametrize("pause_seconds", [0, 0.2])
def test_call_chunk_without_size_is_refused_at_once(post, make_peer, pause_seconds):
    def handle(peer, connection):
        peer.read_request(connection)
        connection.sendall(CHUNKED + b"2\r\nok\r\n")
        peer.stopped.wait(pause_seconds)
        connection.sendall(b"nonsense\r\n\r\n")
        peer.stopped.wait()

    peer = make_peer(handle)

    with pytest.raises((door.NonsenseError, door.UnreachableError)):
        post(peer.url, timeout_seconds=5)


@pytest.mark.parametrize("body", [b"", b"<html>", b"NaN", b'{"a": 1, "a": 2}', b"\xff"])
def test_reply_without_json_is_nonsense(body):
    reply = door.Reply(200, {}, body, 1)

    with pytest.raises(door.NonsenseError):
        reply.json()


@pytest.mark.parametrize(
    "handle",
    [
        pytest.param(lambda *_: None, id="closed at once"),
        pytest.param(answering_once(b""), id="closed after the request"),
        pytest.param(answering_once(HEAD + b"Content-Length: 9\r\n\r\nhalf"), id="cut body"),
        pytest.param(answering_once(CHUNKED + b"9\r\nhalf"), id="cut chunk"),
    ],
)
def test_call_broken_off_is_unreachable_and_sent_once(post, make_peer, handle):
    peer = make_peer(handle)

    with pytest.raises(door.UnreachableError):
        post(peer.url, body=b"payload", timeout_seconds=5)

    assert len(peer.connections) == 1


def test_call_refused_connection_is_unreachable(post, settings):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    settings.OUTBOUND_ALLOW = [f"127.0.0.1:{port}"]

    with pytest.raises(door.UnreachableError):
        post(f"http://127.0.0.1:{port}/", timeout_seconds=5)


def test_call_unknown_name_is_unreachable(post, dns):
    with pytest.raises(door.UnreachableError):
        post("https://unknown.example/", timeout_seconds=5)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", with_body(b"x" * 65537)])
def test_call_error_shows_nothing_of_the_request(post, make_peer, caplog, answer, scheme):
    peer = make_peer(answering_once(answer))
    caplog.set_level("DEBUG")
    canary = token_hex()

    with pytest.raises(door.DoorError) as failure:
        post(
            f"{scheme}://127.0.0.1:{peer.port}/{canary}?token={canary}",
            headers={"Authorization": canary},
            body=canary.encode(),
            timeout_seconds=5,
        )

    assert canary not in "".join(traceback.format_exception(failure.value)) + caplog.text


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "a\r\nX-B: b"},
        {"X-A": "a\nb"},
        {"X-A": "a\rb"},
        {"X-A": "a\x00b"},
        {"X-A": " a"},
        {"X-A": "caf\u00e9 \u20ac"},
        {"X A": "a"},
        {"X-A:": "a"},
        {"": "a"},
        {"Host": "other.example"},
        {"content-length": "1"},
        {"Transfer-Encoding": "chunked"},
    ],
)
def test_call_with_unsafe_header_sends_nothing(post, make_peer, headers):
    peer = make_peer(answering(OK))

    with pytest.raises(door.RequestRefusedError):
        post(peer.url, headers=headers, timeout_seconds=5)

    assert peer.connections == []


@pytest.mark.parametrize("method", ["get", "TRACE", "CONNECT", "GET / HTTP/1.1\r\nX: y", ""])
def test_call_with_other_method_sends_nothing(make_peer, method):
    peer = make_peer(answering(OK))

    with pytest.raises(door.RequestRefusedError):
        door.call(method, peer.url, timeout_seconds=5)

    assert peer.connections == []


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_call_again_uses_the_same_connection(post, make_peer, answer):
    peer = make_peer(answering(answer))

    for _ in range(3):
        post(peer.url, body=b"x", timeout_seconds=5)

    assert (len(peer.requests), len(peer.connections)) == (3, 1)


def test_call_on_connection_closed_meanwhile_opens_another(post, make_peer):
    closed = Event()

    def handle(peer, connection):
        peer.read_request(connection)
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    peer = make_peer(handle)
    post(peer.url, body=b"1", timeout_seconds=5)
    closed.wait(5)

    reply = post(peer.url, body=b"2", timeout_seconds=5)

    assert (reply.status, len(peer.requests), len(peer.connections)) == (200, 2, 2)


def test_call_on_kept_connection_that_breaks_is_not_sent_again(post, make_peer):
    def handle(peer, connection):
        peer.read_request(connection)
        connection.sendall(OK)
        peer.read_request(connection)

    peer = make_peer(handle)
    post(peer.url, body=b"1", timeout_seconds=5)

    with pytest.raises(door.UnreachableError):
        post(peer.url, body=b"2", timeout_seconds=5)

    assert (len(peer.requests), len(peer.connections)) == (2, 1)


@pytest.mark.parametrize("pause_seconds", [0, 0.1])
@pytest.mark.parametrize("stray", [with_body(b"stray"), b"x", b"HTTP/1.1 200 OK\r\nContent-"])
def test_call_is_not_answered_by_what_came_after_another_answer(
    post, make_peer, stray, pause_seconds
):
    sent = Event()

    def handle(peer, connection):
        while peer.read_request(connection) is not None:
            if len(peer.requests) > 1:
                connection.sendall(with_body(b"new"))
                continue
            connection.sendall(OK + (b"" if pause_seconds else stray))
            peer.stopped.wait(pause_seconds)
            connection.sendall(stray if pause_seconds else b"")
            sent.set()

    peer = make_peer(handle)
    with suppress(door.NonsenseError):
        post(peer.url, body=b"1", timeout_seconds=5)
    sent.wait(5)

    assert post(peer.url, body=b"2", timeout_seconds=5).body == b"new"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            b"HTTP/1.1 101 Other\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + b"x" * 99,
            id="other protocol",
        ),
        pytest.param(CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n0\r\n\r\n", id="two lengths"),
        pytest.param(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nok", id="lengths"),
        pytest.param(HEAD + b"Content-Length: -1\r\n\r\nok", id="negative length"),
        pytest.param(HEAD + b"Transfer-Encoding: gzip\r\n\r\nok", id="packed transfer"),
        pytest.param(HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok", id="close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="old version"),
    ],
)
def test_call_is_not_answered_by_the_rest_of_a_doubtful_answer(post, make_peer, answer):
    def handle(peer, connection):
        while peer.read_request(connection) is not None:
            connection.sendall(answer if len(peer.requests) == 1 else with_body(b"new"))

    peer = make_peer(handle)
    with suppress(door.DoorError):
        post(peer.url, body=b"1", timeout_seconds=0.5)

    assert post(peer.url, body=b"2", timeout_seconds=5).body == b"new"


def test_call_after_a_deadline_starts_on_a_fresh_connection(post, make_peer):
    def handle(peer, connection):
        peer.read_request(connection)
        if len(peer.connections) == 1:
            peer.drip(connection, OK)
        else:
            connection.sendall(with_body(b"new"))

    peer = make_peer(handle)
    with pytest.raises(door.DeadlineError):
        post(peer.url, timeout_seconds=0.2)

    assert post(peer.url, timeout_seconds=5).body == b"new"


def test_call_from_many_threads_runs_side_by_side(make_peer):
    threads = 32
    together = Barrier(threads)

    def handle(peer, connection):
        while peer.read_request(connection) is not None:
            together.wait(20)
            connection.sendall(OK)

    peer = make_peer(handle)

    with ThreadPoolExecutor(threads) as pool:
        for _ in range(2):
            replies = list(
                pool.map(lambda _: door.call("GET", peer.url, timeout_seconds=20), range(threads))
            )
            assert [reply.status for reply in replies] == [200] * threads

    assert len(peer.connections) == threads


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_call_in_forked_child_leaves_the_parents_connection_alone(make_peer):
    peer = make_peer(answering(OK))
    door.call("GET", peer.url, timeout_seconds=5)

    child = os.fork()
    if not child:
        try:
            os._exit(0 if door.call("GET", peer.url, timeout_seconds=5).status == 200 else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    door.call("GET", peer.url, timeout_seconds=5)

    assert (os.waitstatus_to_exitcode(status), len(peer.connections)) == (0, 2)


def make_certificate(folder, name: str):
    """A certificate that vouches for itself, as both the trusted and the server's one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def certificate(tmp_path):
    return make_certificate(tmp_path, "partner.example")


@pytest.fixture
def trusted(certificate, monkeypatch):
    door._adapter.cache_clear()
    monkeypatch.setattr(certifi, "where", lambda: str(certificate))
    yield
    door._adapter.cache_clear()


def over_tls(certificate, handle, names: list[str | None]):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    def handle_tls(peer, connection):
        with context.wrap_socket(connection, server_side=True) as secured:
            peer.connections.append(secured)
            handle(peer, secured)

    return handle_tls


def test_call_over_tls_keeps_name_for_sni_and_host(dns, make_peer, certificate, trusted, post):
    names: list[str | None] = []
    peer = make_peer(over_tls(certificate, answering(OK), names), "partner.example")
    dns.answers["partner.example"] = [["127.0.0.1"]]

    for _ in range(3):
        post(f"https://partner.example:{peer.port}/", timeout_seconds=5)

    host = f"Host: partner.example:{peer.port}".encode()
    assert (names, [host in request for request in peer.requests]) == (
        ["partner.example"],
        [True, True, True],
    )


def test_call_over_tls_to_another_name_is_refused(dns, make_peer, certificate, trusted, post):
    peer = make_peer(over_tls(certificate, answering(OK), []), "other.example")
    dns.answers["other.example"] = [["127.0.0.1"]]

    with pytest.raises(door.UnreachableError, match="TLS"):
        post(f"https://other.example:{peer.port}/", timeout_seconds=5)

    assert peer.requests == []


@pytest.fixture
def trusted_by_environment(certificate, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(certificate))
    door._adapter.cache_clear()
    bulk_door._trust.cache_clear()


def test_call_over_tls_ignores_trust_in_the_environment(
    dns, make_peer, certificate, trusted_by_environment, post
):
    peer = make_peer(over_tls(certificate, answering(OK), []), "partner.example")
    dns.answers["partner.example"] = [["127.0.0.1"]]

    with pytest.raises(door.UnreachableError, match="TLS"):
        post(f"https://partner.example:{peer.port}/", timeout_seconds=5)

    assert peer.requests == []


def test_call_slow_body_over_tls_ends_at_the_deadline(dns, make_peer, certificate, trusted, post):
    handle = dripping(HEAD + b"Content-Length: 50\r\n\r\n", b"x" * 50)
    peer = make_peer(over_tls(certificate, handle, []), "partner.example")
    dns.answers["partner.example"] = [["127.0.0.1"]]

    with pytest.raises(door.DeadlineError):
        post(f"https://partner.example:{peer.port}/", timeout_seconds=0.5)


@pytest.mark.parametrize(
    "handle",
    [
        pytest.param(lambda peer, _: peer.stopped.wait(), id="silence"),
        pytest.param(
            lambda peer, connection: peer.drip(connection, b"\x16\x03\x03\x40\x00" + bytes(300)),
            id="drip",
        ),
    ],
)
def test_call_slow_tls_handshake_ends_at_the_deadline(post, make_peer, handle):
    peer = make_peer(handle)

    with pytest.raises(door.DeadlineError):
        post(f"https://127.0.0.1:{peer.port}/", timeout_seconds=0.4)
