"""Partners of our own on real sockets: what they answer is a function of the test."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from dispatch.signing import standard_headers


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Answer = Callable[[Request], Reply]


class Partner:
    """Records every request. `slug` and `key` are the test's to set.

    `answer` may be changed while it runs; `leave` ends hanging calls.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.slug, self.key = "", b""
        self.requests: list[Request] = []
        self.leave = threading.Event()
        self.arrived = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def hang(self, _request: Request) -> Reply:
        self.leave.wait(60)
        return Reply(503)

    def wait_for(self, count: int, seconds: float = 60) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.requests) >= count, seconds)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        partner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                request = Request(
                    self.command, self.path, dict(self.headers), self.rfile.read(length)
                )
                with partner.arrived:
                    partner.requests.append(request)
                    partner.arrived.notify_all()
                reply = partner.answer(request)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_args: object) -> None:
                pass

        return Handler

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_args: object) -> None:
        self.leave.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_args: object) -> None:
        """A till that hangs up early is no error of the partner."""


def as_json(value: Any, status: int = 200, **headers: str) -> Reply:
    body = json.dumps(value).encode()
    return Reply(status, body, {"Content-Type": "application/json"} | headers)


def spliteasy_answer(request: Request) -> Reply:
    """The happy SplitEasy: one id per merchant, one token per order."""
    body = request.json()
    if request.path.endswith("/merchants"):
        return as_json({"external_merchant_id": f"se-{body['merchant_id'][:8]}"}, 201)
    if request.path.endswith("/bills"):
        return as_json({"bill_token": f"bill-{body['external_order_id']}", "expires_at": None}, 201)
    return Reply(204)


def generic_answer(key: bytes, *, subject: str = "order", **data: Any) -> Answer:
    """A partner that speaks the Posz contract and signs its answers with the key."""

    def answer(request: Request) -> Reply:
        if request.path.startswith("/events"):
            return Reply(204)
        asked = request.json()
        order_id = asked["data"][subject]["id"]
        body = json.dumps(
            {
                "contract": asked["contract"],
                "status": "ok",
                "data": {
                    "qr_payload": f"https://partner.example/o/{order_id}",
                    "label": {"en": "Scan me", "id": "Pindai saya"},
                    "external_ref": f"ref-{order_id}",
                    **data,
                },
            }
        ).encode()
        headers = standard_headers(asked["request_id"], int(time.time()), body, [key])
        return Reply(200, body, {"Content-Type": "application/json", **headers})

    return answer


@contextmanager
def running_partner(settings: Any, answer: Answer) -> Iterator[Partner]:
    with Partner(answer) as partner:
        settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, partner.host]
        yield partner
