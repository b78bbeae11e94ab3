"""What a line of the log holds where `LOG_FORMAT=json`, and the id that ties lines to a request."""

import logging
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from random import getrandbits
from typing import Any

from celery import current_task
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from pythonjsonlogger.json import JsonFormatter

# The only extras that are written: a body or a header given as another one stays out of the log.
IDS = ("event_id", "delivery_id", "attempt", "integration", "merchant_id")
SANE_ID = re.compile(r"[A-Za-z0-9._:-]{8,64}")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def id_of(meta: Mapping[str, Any]) -> str:
    """The caller's own id where it is a sane one, else a new one.

    No secret, so no random bytes of the kernel's: asking for those lets other threads go first.
    """
    given: str = meta.get("HTTP_X_REQUEST_ID", "")
    return given if given and SANE_ID.fullmatch(given) else f"{getrandbits(128):032x}"


class RequestIdMiddleware:
    """Gives every request an id and tells it back."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        current = id_of(request.META)
        token = request_id.set(current)
        try:
            response = self.get_response(request)
        finally:
            request_id.reset(token)
        response["X-Request-Id"] = current
        return response


class JSONLine(JsonFormatter):
    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Of the caller's extras only the known ids, and nothing that has no value."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        known: dict[str, Any] = {
            "time": time,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            "task_id": current_task.request.id if current_task else None,
            **{name: getattr(record, name, None) for name in IDS},
            "exception": message_dict.get("exc_info"),
        }
        log_data.update({name: value for name, value in known.items() if value is not None})
