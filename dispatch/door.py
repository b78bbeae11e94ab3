"""The one door for outbound HTTP. No other module may open a connection to a partner.

A call goes to a checked public address or nowhere, takes at most `timeout_seconds` in all whatever
the peer does, follows no redirect, keeps no cookie, reads no proxy, netrc or certificate setting
from the environment, and sends its request at most once. Errors are `DoorError`; their text names
host and port and never a path, a query, a header or a body.
"""

import logging
import os
import re
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException, IncompleteRead, RemoteDisconnected  # noqa: TID251
from threading import Lock, Thread
from time import monotonic
from typing import Any

import certifi
import requests  # noqa: TID251
from django.core.exceptions import ValidationError
from requests.adapters import HTTPAdapter  # noqa: TID251
from urllib3.connection import HTTPConnection, HTTPSConnection  # noqa: TID251
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool  # noqa: TID251
from urllib3.exceptions import DecodeError, HTTPError  # noqa: TID251

from catalog import strict_json
from catalog.addresses import Target, check_url, is_allowed, is_public, split_url

CONNECT_SECONDS = 2.0
MAX_BODY_BYTES = 64 * 1024
# Headers, chunk framing and interim answers count here, so that none of them can grow for ever.
MAX_WIRE_BYTES = 1024 * 1024
HOSTS_KEPT = 128
CONNECTIONS_PER_HOST = 32

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
FRAMING_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "upgrade", "expect")
ENCODINGS = ("", "identity", "gzip", "deflate")

# urllib3 names whole URLs, query included, in its debug lines and some warnings.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class DoorError(Exception):
    code = "door"


class AddressRefusedError(DoorError):
    code = "address_refused"


class RequestRefusedError(DoorError):
    code = "request_refused"


class DeadlineError(DoorError):
    code = "deadline"


class UnreachableError(DoorError):
    code = "unreachable"


class TooLargeError(DoorError):
    code = "too_large"


class NonsenseError(DoorError):
    code = "nonsense"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: int

    def json(self) -> Any:
        try:
            return strict_json.loads(self.body)
        except strict_json.StrictJSONError as error:
            raise NonsenseError(str(error)) from None


def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_seconds: float,
) -> Reply:
    """Make one request and return whatever was answered, 3xx, 4xx and 5xx included.

    After any DoorError but AddressRefusedError and RequestRefusedError the peer may have acted on
    the request. Header names are looked up in `Reply.headers` without regard to case.
    """
    target = checked_target(url)
    sent = checked_headers(method, headers)
    request = requests.Request(method, url, headers=sent, data=body).prepare()
    started = monotonic()
    call_limits = _Limits(target, started + timeout_seconds, MAX_WIRE_BYTES)
    token = _limits.set(call_limits)
    try:
        status, reply_headers, reply_body = _exchange(request, call_limits)
    finally:
        _limits.reset(token)
    return Reply(status, reply_headers, reply_body, round((monotonic() - started) * 1000))


def checked_target(url: str) -> Target:
    try:
        check_url(url)
    except ValidationError as error:
        raise AddressRefusedError(" ".join(error.messages)) from None
    return split_url(url)


def checked_headers(method: str, headers: Mapping[str, str] | None) -> dict[str, str]:
    if method not in METHODS:
        raise RequestRefusedError("The request method is not one of those in use.")
    sent = dict(headers or {})
    for name, value in sent.items():
        if not HEADER_NAME.fullmatch(name) or name.lower() in FRAMING_HEADERS:
            raise RequestRefusedError("A header name is malformed or not the caller's to set.")
        if not HEADER_VALUE.fullmatch(value):
            raise RequestRefusedError(f"The value of the header {name} is malformed.")
    # Requests compares names without regard to case and keeps the last.
    return sent | {"User-Agent": "Posz-Hub/1.0", "Accept-Encoding": "gzip, deflate"}


@dataclass(slots=True)
class _Limits:
    """What is left of one call's time and bytes; its sockets ask before each read and write."""

    target: Target
    deadline: float
    wire_bytes: int

    def error(self, kind: type[DoorError], reason: str) -> DoorError:
        return kind(f"{self.target.host}:{self.target.port}: {reason}")

    def seconds(self) -> float:
        left = self.deadline - monotonic()
        if left <= 0:
            raise self.error(DeadlineError, "no complete answer in time")
        return left

    def received(self, size: int) -> None:
        self.wire_bytes -= size
        if self.wire_bytes < 0:
            raise self.error(TooLargeError, "the answer is too large")


_limits: ContextVar[_Limits] = ContextVar("limits")


def _exchange(
    request: requests.PreparedRequest, limits: _Limits
) -> tuple[int, Mapping[str, str], bytes]:
    try:
        response = _adapter(os.getpid()).send(request, stream=True, timeout=CONNECT_SECONDS)
        try:
            return response.status_code, response.headers, _body(response, limits)
        finally:
            # Does nothing to a connection whose answer was read to the end: that is pooled by now.
            response.raw.close()
    except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
        failure = _failure(error, limits)
    # Raised out here because the original error, which names the whole URL, would be its context.
    raise failure


def _body(response: requests.Response, limits: _Limits) -> bytes:
    # Anything else would be decoded as soon as some package brings a decoder for it, or not at all.
    if response.headers.get("Content-Encoding", "").strip().lower() not in ENCODINGS:
        raise limits.error(NonsenseError, "the answer is in an encoding that was not asked for")
    body = b""
    while piece := response.raw.read(MAX_BODY_BYTES + 1 - len(body), decode_content=True):
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise limits.error(TooLargeError, "the answer is too large")
    return body


def _failure(error: Exception, limits: _Limits) -> DoorError:
    if monotonic() >= limits.deadline:
        return limits.error(DeadlineError, "no complete answer in time")
    if isinstance(error, requests.exceptions.SSLError):
        return limits.error(UnreachableError, "no trusted TLS connection")
    causes = _causes(error)
    if any(isinstance(cause, RemoteDisconnected | IncompleteRead) for cause in causes):
        return limits.error(UnreachableError, "the connection broke off")
    if any(isinstance(cause, HTTPException | DecodeError | ValueError) for cause in causes):
        return limits.error(NonsenseError, "the answer is not valid HTTP")
    return limits.error(UnreachableError, "the connection broke off")


def _causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


class _LimitedSocket(socket.socket):
    """A timeout of the ordinary kind starts anew with every byte; this one never does."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        limits = _limits.get()
        self.settimeout(limits.seconds())
        try:
            size = super().recv_into(*args, **kwargs)
        except TimeoutError:
            limits.seconds()
            raise
        limits.received(size)
        return size

    def send(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_limits.get().seconds())
        return super().send(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(_limits.get().seconds())
        super().sendall(*args, **kwargs)


class _LimitedTLSSocket(_LimitedSocket, ssl.SSLSocket):
    pass


class _CheckedConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """Connect to the very addresses that were checked; TLS and Host go on by name."""
        limits = _limits.get()
        records = resolver(os.getpid()).records(self.host, self.port, limits)
        if not is_allowed(self.host, self.port):
            for _family, address in records:
                if not is_public(address):
                    raise limits.error(AddressRefusedError, "the name leads to a private address")
        return _connected(records, self.port, limits)


class _CheckedTLSConnection(_CheckedConnection, HTTPSConnection):
    pass


class _CheckedPool(HTTPConnectionPool):
    ConnectionCls = _CheckedConnection


class _CheckedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _CheckedTLSConnection


def _connected(records: list[tuple[int, str]], port: int, limits: _Limits) -> socket.socket:
    give_up_at = monotonic() + CONNECT_SECONDS
    for position, (family, address) in enumerate(records):
        # A dead first address leaves the others their share of the time.
        share = (give_up_at - monotonic()) / (len(records) - position)
        try:
            return _opened(family, (address, port), min(max(share, 0.001), limits.seconds()))
        except OSError:
            continue
    limits.seconds()
    raise limits.error(UnreachableError, "no connection")


def _opened(family: int, address: tuple[str, int], timeout_seconds: float) -> socket.socket:
    sock = _LimitedSocket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_seconds)
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The TLS handshake that may follow takes its time limit from here.
        sock.settimeout(_limits.get().seconds())
    except BaseException:
        sock.close()
        raise
    return sock


class Resolver:
    """`getaddrinfo` has no time limit, so it runs beside the call; one look-up per host at once.

    The threads are daemons: a name server that never answers must not hold up a shutdown.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: dict[tuple[str, int], Future[list[tuple[int, str]]]] = {}

    def records(self, host: str, port: int, limits: _Limits) -> list[tuple[int, str]]:
        try:
            return self.lookup(host, port).result(timeout=limits.seconds())
        except FutureTimeoutError:
            raise limits.error(DeadlineError, "its name was not resolved in time") from None
        except (OSError, UnicodeError):
            raise limits.error(UnreachableError, "its name can't be resolved") from None

    def lookup(self, host: str, port: int) -> Future[list[tuple[int, str]]]:
        with self._lock:
            running = self._running.get((host, port))
            if running is not None:
                return running
            future = self._running[host, port] = Future()
        Thread(target=self._resolve, args=(host, port, future), daemon=True).start()
        return future

    def _resolve(self, host: str, port: int, future: Future[list[tuple[int, str]]]) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            records = [(int(family), str(address[0])) for family, _, _, _, address in found]
        except (OSError, UnicodeError) as error:
            self._forget(host, port)
            future.set_exception(error)
        else:
            self._forget(host, port)
            future.set_result(records)

    def _forget(self, host: str, port: int) -> None:
        with self._lock:
            del self._running[host, port]


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        context = ssl.create_default_context(cafile=certifi.where())
        context.sslsocket_class = _LimitedTLSSocket
        super().init_poolmanager(*args, ssl_context=context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _CheckedPool, "https": _CheckedTLSPool}

    def cert_verify(self, conn: Any, *_args: Any, **_kwargs: Any) -> None:
        # The context holds the certificates: requests would load them again for each connection.
        conn.cert_reqs = "CERT_REQUIRED"


# One of each per process, and never dropped: a forked child must share no connection and no lock
# with its parent, not even to close it.
@cache
def _adapter(_pid: int) -> _Adapter:
    return _Adapter(pool_connections=HOSTS_KEPT, pool_maxsize=CONNECTIONS_PER_HOST)


@cache
def resolver(_pid: int) -> Resolver:
    return Resolver()
