"""The short way of a request to the API: only the middleware that an answer without a session needs.

Under `/v1` callers show a token or a signature. There is no session, no cookie that counts and no
form, so nothing of it is looked up, started or checked.
"""

from collections.abc import Callable
from typing import Any, cast

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.module_loading import import_string

from poszhub.failures import FailureMiddleware, is_api

Respond = Callable[[HttpRequest], HttpResponseBase]

# Nothing of an answer in JSON may be run or shown inside a page.
CONTENT_SECURITY_POLICY = "default-src 'none'; frame-ancestors 'none'"


class ApiMiddleware:
    """The first of all: sends requests under `/v1` down the chain of `API_MIDDLEWARE` instead."""

    def __init__(self, get_response: Respond) -> None:
        self.get_response = get_response
        self.api = ApiHandler().chain

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.api(request) if is_api(request) else self.get_response(request)


class ApiHandler(BaseHandler):
    """Django's way from an address to the view and back, inside another chain of middleware."""

    def __init__(self) -> None:
        respond: Respond = self._get_response  # type: ignore[attr-defined]
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware = [FailureMiddleware(respond).process_exception]
        self.chain = chain_around(respond)


def chain_around(respond: Respond) -> Respond:
    chain: Any = convert_exception_to_response(respond)
    for path in reversed(settings.API_MIDDLEWARE):
        chain = convert_exception_to_response(import_string(path)(chain))
    return cast("Respond", chain)


class AnswerMiddleware:
    """Says the length of the answer, so that connections are kept."""

    def __init__(self, get_response: Respond) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        if isinstance(response, HttpResponse) and not response.has_header("Content-Length"):
            response["Content-Length"] = str(len(response.content))
        return response
