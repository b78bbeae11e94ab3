"""The shortest way of a webhook, and of a till's event: from the server straight to a lane and back.

What a lane takes is answered here; everything else goes on to Django as it came, so that every
rule, every refusal and every error stays where it is. Whether an address is ours, whether it must be
TLS and which headers an answer carries is asked of Django's own chain, once for each way to reach us.
"""

import io
import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse

from catalog.envelope import MAX_BODY_BYTES
from poszhub.api_chain import chain_around
from poszhub.logs import id_of, request_id
from webhooks import event_lane, fast_lane
from webhooks.api import signed_request, told

logger = logging.getLogger(__name__)

PATH = re.compile(r"/v1/(?:events|integrations/(?P<slug>[a-z0-9-]{1,64})/webhook)", re.ASCII)
# What decides whether, and how, somebody is let in.
WAY = ("wsgi.url_scheme", "HTTP_HOST", "HTTP_X_FORWARDED_PROTO", "SERVER_NAME")
REMEMBERED_WAYS = 200
UNKNOWN: Any = object()

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[str, str]]


class Shortcut:
    def __init__(self, application: Application) -> None:
        self.application = application
        self._chain = chain_around(_nothing)
        self._ways: dict[tuple[Any, ...], Headers | None] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        current = id_of(environ)
        token = request_id.set(current)
        try:
            answer = self._answer(environ)
        finally:
            request_id.reset(token)
        if answer is None:
            return self.application(environ, start_response)
        status, content, headers = answer
        own = [("Content-Length", str(len(content))), ("X-Request-Id", current)]
        start_response(status, [*headers, *own])
        return [content]

    def _answer(self, environ: dict[str, Any]) -> tuple[str, bytes, Headers] | None:
        path = environ["PATH_INFO"]
        match = PATH.fullmatch(path) if environ["REQUEST_METHOD"] == "POST" else None
        if match is None or environ.get("SCRIPT_NAME") or "HTTP_TRANSFER_ENCODING" in environ:
            return None
        length = environ.get("CONTENT_LENGTH") or ""
        headers = self._headers(environ)
        if headers is None or not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            return None
        try:
            body = environ["wsgi.input"].read(int(length))
        except OSError:
            return None  # the sender has gone; Django has its own words for that
        found = _taken(environ, match["slug"], body)
        if found is None:
            environ["wsgi.input"] = io.BytesIO(body)
            return None
        return *found, headers

    def _headers(self, environ: dict[str, Any]) -> Headers | None:
        """Those of an answer to whoever comes this way; None where Django would not let them in."""
        way = tuple(map(environ.get, WAY))
        headers: Headers | None = self._ways.get(way, UNKNOWN)
        if headers is not UNKNOWN:
            return headers
        language = {"HTTP_ACCEPT_LANGUAGE": "", "HTTP_COOKIE": "", "QUERY_STRING": ""}
        response = self._chain(WSGIRequest({**environ, **language}))
        own = {"Content-Length", "X-Request-Id"}
        told = [item for item in response.items() if item[0] not in own]
        headers = told if response.status_code == 200 else None
        if len(self._ways) >= REMEMBERED_WAYS:
            self._ways.clear()
        self._ways[way] = headers
        return headers


def _taken(environ: dict[str, Any], slug: str | None, body: bytes) -> tuple[str, bytes] | None:
    try:
        return _event(environ, body) if slug is None else _webhook(environ, slug, body)
    except Exception:
        logger.exception("A lane failed; the request goes the long way")
        return None


def _webhook(environ: dict[str, Any], slug: str, body: bytes) -> tuple[str, bytes] | None:
    passed = fast_lane.accept(slug, signed_request(environ, environ["PATH_INFO"], body))
    if passed is None:
        return None
    return "200 OK", told(passed.id, is_duplicate=passed.is_duplicate)


def _event(environ: dict[str, Any], body: bytes) -> tuple[str, bytes] | None:
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    content = event_lane.accept(authorization, environ.get("CONTENT_TYPE", ""), body)
    return None if content is None else ("202 Accepted", content)


def _nothing(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(content_type="application/json")
