"""The sandbox as an HTTP server: reads a request whole, logs it, answers as the switches say."""

import logging
import selectors
import socket
import socketserver
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from dispatch.sandbox.app import Sandbox, SecretOf, is_own_path
from dispatch.sandbox.behaviour import SPOKEN_MODES, WRONG_WAYS, Switch
from dispatch.sandbox.callbacks import FIRST_RETRY_SECONDS
from dispatch.sandbox.messages import Answer, RefusalError, Request, json_answer

MOST_BODY_BYTES = 256 * 1024
LONGEST_HANG_SECONDS = 120.0
IDLE_SECONDS = 120.0
DRIP_SECONDS = 1.0

logger = logging.getLogger(__name__)


class SandboxServer(ThreadingHTTPServer):
    """Listens from the moment it is made; `start` serves in a thread of its own, `stop` ends it.

    `connection_ended` is called in a connection's thread when that is over.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        *,
        secret_of: SecretOf,
        hub: str,
        host: str = "127.0.0.1",
        port: int = 0,
        first_retry_seconds: float = FIRST_RETRY_SECONDS,
        connection_ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._connection_ended = connection_ended
        # Closing one end wakes every connection that waits on the other.
        self._open_end, self.closing_end = socket.socketpair()
        super().__init__((host, port), _Handler)
        self.sandbox = Sandbox(
            secret_of=secret_of,
            hub=hub,
            bind_host=host,
            base_url=lambda: self.url,
            first_retry_seconds=first_retry_seconds,
        )
        self._thread = Thread(target=self.serve_forever, args=(0.1,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def server_bind(self) -> None:
        # The parent also asks the name service for this machine's full name, which can take long.
        socketserver.TCPServer.server_bind(self)

    def start(self) -> None:
        self.sandbox.outbox.start()
        self._thread.start()

    def stop(self) -> None:
        self._open_end.close()
        self.shutdown()
        self._thread.join()
        self.sandbox.outbox.stop()
        self.server_close()
        self.closing_end.close()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connection_ended()

    def shutdown_request(self, request: Any) -> None:
        try:
            lingers = request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        except OSError:
            lingers = b""
        if lingers == struct.pack("ii", 1, 0):
            # An orderly end would come before the reset that was asked for.
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        logger.debug("A connection broke off.", exc_info=sys.exception())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "PartnerSandbox/1.0"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE_SECONDS
    server: SandboxServer

    def _serve(self) -> None:
        try:
            request = Request(
                self.command, *self._split_target(), self._joined_headers(), self._read_body()
            )
        except RefusalError as refusal:
            self.close_connection = True
            self._write(refusal.answer())
            return
        if is_own_path(request.path):
            self._write(self._answer(request))
            return
        self.server.sandbox.received.add(request)
        self._behave(self.server.sandbox.switches.take(request.path), request)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _split_target(self) -> tuple[str, str]:
        path, _, query = self.path.partition("?")
        return path, query

    def _joined_headers(self) -> dict[str, str]:
        """Headers that came twice are joined by a comma, as proxies do."""
        joined: dict[str, str] = {}
        names: dict[str, str] = {}
        for name, value in self.headers.items():
            first = names.setdefault(name.lower(), name)
            joined[first] = f"{joined[first]}, {value}" if first in joined else value
        return joined

    def _read_body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            raise RefusalError(411, "length_required", "Send a body with its Content-Length.")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            raise RefusalError(400, "invalid_header", "Content-Length is not a number.")
        if len(length) > 9 or int(length) > MOST_BODY_BYTES:
            raise RefusalError(413, "payload_too_large", "A body may have 256 KiB.")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionResetError("The sender left in the middle of a body.")
        return body

    def _answer(self, request: Request) -> Answer:
        try:
            return self.server.sandbox.answer(request)
        except Exception:
            logger.exception("The sandbox failed at %s %s", request.method, request.path)
            error = {"code": "internal", "message": "The sandbox has a fault of its own."}
            return json_answer(500, {"error": error})

    def _behave(self, switch: Switch, request: Request) -> None:
        match switch.mode:
            case "hang":
                self._wait(LONGEST_HANG_SECONDS, until_client_leaves=True)
                self.close_connection = True
            case "reset":
                self._reset()
            case "drip":
                self._write(self._answer(request), is_dripping=True)
            case "fail" | "garbage" | "unauthorized":
                self._write(_wrong_answer(switch, self.server.url))
            case _:
                if switch.mode == "slow":
                    self._wait(switch.delay_ms / 1000)
                is_spoken = switch.mode in {*SPOKEN_MODES, *WRONG_WAYS}
                mode = switch.mode if is_spoken else "ok"
                self._write(self._answer(replace(request, mode=mode)))

    def _write(self, answer: Answer, *, is_dripping: bool = False) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.body:
            self.send_header("Content-Type", answer.content_type)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if is_dripping:
            self._drip(answer.body)
        else:
            self.wfile.write(answer.body)

    def _drip(self, body: bytes) -> None:
        give_up_at = time.monotonic() + LONGEST_HANG_SECONDS
        for position in range(len(body)):
            self.wfile.flush()
            if time.monotonic() > give_up_at or self._wait(DRIP_SECONDS, until_client_leaves=True):
                self.close_connection = True
                return
            self.wfile.write(body[position : position + 1])

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _wait(self, seconds: float, *, until_client_leaves: bool = False) -> bool:
        """Wait; True if it ended early because the sandbox stops or the client left."""
        ends_at = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.server.closing_end, selectors.EVENT_READ)
            if until_client_leaves:
                selector.register(self.connection, selectors.EVENT_READ)
            while (left := ends_at - time.monotonic()) > 0:
                for key, _events in selector.select(left):
                    if key.fileobj is self.server.closing_end or self._has_client_left():
                        return True
                    # A next request is waiting already: that is no reason to look again and again.
                    selector.unregister(key.fileobj)
        return False

    def _has_client_left(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        logger.debug(format, *args)


def _wrong_answer(switch: Switch, base_url: str) -> Answer:
    if switch.mode == "garbage":
        html = b"<!doctype html><title>Welcome</title><p>This is not the JSON you asked for."
        return Answer(200, html, "text/html; charset=utf-8")
    if switch.mode == "unauthorized":
        return RefusalError(401, "invalid_token", "Switched to refuse everybody.").answer()
    if 300 <= switch.status < 400:
        # Whoever follows it is seen in the log.
        return Answer(switch.status, headers={"Location": f"{base_url}/redirected"})
    if switch.status == 204:
        return Answer(204)
    return RefusalError(switch.status, "switched", "Switched to fail.").answer()
