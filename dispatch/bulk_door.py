"""The HTTP door for a great many calls at once, from one event loop. Its rules are those of `door`.

A call goes to a checked public address or nowhere, takes at most `timeout_seconds` in all, follows no
redirect, keeps no cookie, reads no proxy or netrc from the environment, and sends its request once.
Answers are taken as they are: none is asked for in a compressed form, so none can grow while it is read.
"""

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from math import inf
from select import POLLIN, poll
from time import monotonic
from typing import Any, Self

import certifi
from aiohttp import (  # noqa: TID251
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult  # noqa: TID251
from aiohttp.client_proto import ResponseHandler  # noqa: TID251
from aiohttp.http_exceptions import HttpProcessingError  # noqa: TID251
from yarl import URL

from catalog.addresses import Target, is_allowed, is_public
from dispatch.door import (
    CONNECT_SECONDS,
    MAX_BODY_BYTES,
    MAX_WIRE_BYTES,
    AddressRefusedError,
    DeadlineError,
    DoorError,
    NonsenseError,
    Reply,
    TooLargeError,
    UnreachableError,
    checked_headers,
    checked_target,
    resolver,
)

RECORDS_KEPT_SECONDS = 10
IDLE_KEPT_SECONDS = 15
MAX_HEADERS = 100
PLAIN = {"Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Route:
    """An address whose text has been checked, ready to be called many times."""

    url: URL
    target: Target

    def error(self, kind: type[DoorError], reason: str) -> DoorError:
        return kind(f"{self.target.host}:{self.target.port}: {reason}")


def route_to(url: str) -> Route:
    """Refused with AddressRefusedError where no call may be made to it."""
    target = checked_target(url)
    return Route(URL(url, encoded=True), target)


class BulkDoor:
    """Belongs to the event loop that enters it; its connections are kept until it is left."""

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            connector=_CheckedConnector(),
            cookie_jar=DummyCookieJar(),
            skip_auto_headers=("Accept", "Content-Type"),
            auto_decompress=False,
            trust_env=False,
            max_field_size=MAX_BODY_BYTES,
            max_headers=MAX_HEADERS,
        )
        return self

    async def __aexit__(self, *_args: object) -> None:
        await self._session.close()

    async def post(
        self, route: Route, *, headers: Mapping[str, str], body: bytes, timeout_seconds: float
    ) -> Reply:
        """Make one POST and return whatever was answered, 3xx, 4xx and 5xx included.

        After any DoorError but AddressRefusedError and RequestRefusedError the peer may have acted
        on the request.
        """
        started = monotonic()
        sent = checked_headers("POST", headers) | PLAIN
        if timeout_seconds <= 0:
            # The client would take 0 for no limit at all.
            raise route.error(DeadlineError, "no complete answer in time")
        # From the threshold on the client would round the deadline up to a whole second.
        limits = ClientTimeout(
            total=timeout_seconds, sock_connect=CONNECT_SECONDS, ceil_threshold=inf
        )
        try:
            async with self._session.post(
                route.url, headers=sent, data=body, allow_redirects=False, timeout=limits
            ) as response:
                answer = await _body(route, response)
                elapsed_ms = round((monotonic() - started) * 1000)
                return Reply(response.status, response.headers, answer, elapsed_ms)
        except (ClientError, HttpProcessingError, TimeoutError, OSError, ValueError) as error:
            failure = _failure(route, error)
        # Raised out here because the original error, which names the whole URL, would be its context.
        raise failure


@cache
def _trust(certificates: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates)


async def _body(route: Route, response: ClientResponse) -> bytes:
    if response.headers.get("Content-Encoding", "").strip().lower() not in {"", "identity"}:
        response.close()
        raise route.error(NonsenseError, "the answer is in an encoding that was not asked for")
    body = b""
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            response.close()
            raise route.error(TooLargeError, "the answer is too large")
    return body


def _failure(route: Route, error: Exception) -> DoorError:
    if isinstance(error, _FloodError):
        return route.error(TooLargeError, "the answer is too large")
    if isinstance(error, ClientSSLError):
        return route.error(UnreachableError, "no trusted TLS connection")
    if isinstance(error, ConnectionTimeoutError | ClientConnectorError):
        return route.error(UnreachableError, "no connection")
    if isinstance(error, TimeoutError):
        return route.error(DeadlineError, "no complete answer in time")
    if isinstance(error, ClientPayloadError):
        return route.error(UnreachableError, "the connection broke off")
    causes = (error, error.__cause__, error.__context__)
    if any(isinstance(cause, HttpProcessingError | ValueError) for cause in causes):
        return route.error(NonsenseError, "the answer is not valid HTTP")
    return route.error(UnreachableError, "the connection broke off")


class _FloodError(ClientError):
    """More bytes than an answer may take, headers, chunk framing and interim answers included."""


class _LimitedHandler(ResponseHandler):
    """One connection: what it reads for one call is counted, and what it breaks off is not sent."""

    _wire_bytes = MAX_WIRE_BYTES

    def set_response_params(self, **params: Any) -> None:
        self._wire_bytes = MAX_WIRE_BYTES
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        self._wire_bytes -= len(data)
        if self._wire_bytes >= 0:
            super().data_received(data)
        elif self.transport is not None:
            self.set_exception(_FloodError())
            self.transport.abort()

    def set_exception(self, exc: BaseException, *args: Any, **kwargs: Any) -> None:
        super().set_exception(exc, *args, **kwargs)
        # Whoever is reading the body would otherwise learn nothing before the deadline.
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(exc)

    def is_connected(self) -> bool:
        """Whether an idle connection may be used again: not with anything in it to read.

        That would be its end, seen before the event loop sees it, or bytes nobody asked for, which
        would be taken for the answer to the next call.
        """
        if self.transport is None or self.transport.is_closing() or self.should_close:
            return False
        unread = poll()
        unread.register(self.transport.get_extra_info("socket"), POLLIN)
        return not unread.poll(0)

    def close(self) -> None:
        # An ordinary close first writes the rest of the request and waits for the end of TLS, for
        # as long as the peer takes.
        self.abort()


class _CheckedConnector(TCPConnector):
    def __init__(self) -> None:
        super().__init__(
            resolver=_CheckedResolver(),
            ttl_dns_cache=RECORDS_KEPT_SECONDS,
            keepalive_timeout=IDLE_KEPT_SECONDS,
            limit=0,
            ssl=_trust(certifi.where()),
        )
        handler: type[ResponseHandler] = _LimitedHandler
        self._factory = partial(handler, loop=self._loop)


class _CheckedResolver(AbstractResolver):
    """Hands out the very addresses that were checked; TLS and Host go on by name."""

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: Any = 0,  # noqa: ARG002 - passed by name
    ) -> list[ResolveResult]:
        # The look-up is shared with others, so that one who gives up must not cancel it.
        lookup = asyncio.wrap_future(resolver(os.getpid()).lookup(host, port))
        try:
            records = await asyncio.shield(lookup)
        except UnicodeError:
            raise OSError("the name can't be resolved") from None
        if not is_allowed(host, port) and not all(is_public(item[1]) for item in records):
            raise AddressRefusedError(f"{host}:{port}: the name leads to a private address")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)
            for kind, address in records
        ]

    async def close(self) -> None:
        """There is nothing to close: the look-ups belong to the process."""
