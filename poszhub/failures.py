"""What goes wrong outside a view's own care: the envelope under `/v1`, a plain page elsewhere.

Also on a development machine: Django's debug pages print settings and local variables.
"""

import logging
from collections.abc import Callable

from django.core.exceptions import DisallowedHost, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

from catalog.envelope import ApiError, failure_response

logger = logging.getLogger(__name__)


class KnownHostMiddleware:
    """Refuses a foreign `Host` before another middleware asks for it, which would show a debug page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            request.get_host()
        except DisallowedHost:
            return bad_request(request)
        return self.get_response(request)


class FailureMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if is_api(request):
            return failure_response(error)
        match error:
            case Http404():
                return page(request, 404)
            case PermissionDenied():
                return page(request, 403)
            case SuspiciousOperation():
                return None
            case ApiError():
                return page(request, error.status if error.status in {403, 404} else 400)
        logger.error("Unhandled error at %s", request.path, exc_info=error)
        return page(request, 500)


def is_api(request: HttpRequest) -> bool:
    return request.path == "/v1" or request.path.startswith("/v1/")


def page(request: HttpRequest, status: int) -> HttpResponse:
    response = render(request, "failure.html", {"status": status}, status=status)
    # A whole page that answers a request for a part of one takes the place of the whole page.
    response["HX-Retarget"] = "body"
    response["HX-Reswap"] = "innerHTML"
    return response


@csrf_exempt
def not_found(request: HttpRequest, *_args: object, **_kwargs: object) -> HttpResponse:
    if is_api(request):
        return ApiError("not_found").response()
    return page(request, 404)


def bad_request(request: HttpRequest, *_args: object, **_kwargs: object) -> HttpResponse:
    if is_api(request):
        return ApiError("invalid_payload").response()
    return page(request, 400)


def forbidden(request: HttpRequest, *_args: object, **_kwargs: object) -> HttpResponse:
    if is_api(request):
        return ApiError("forbidden").response()
    return page(request, 403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    return render(request, "failure.html", {"status": 403, "is_stale_form": True}, status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    if is_api(request):
        return ApiError("internal").response()
    return HttpResponse("<h1>Posz Hub</h1><p>500</p>", status=500)
