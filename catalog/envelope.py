"""The one shape of every answer under `/v1` that is not a success.

`{"error": {"code": "...", "message": "...", ...}}`, always JSON. Codes are never renamed; the table
below is the whole list. Framework errors are translated here so that no HTML ever leaves `/v1`.
"""

import logging
from collections.abc import Mapping
from typing import IO, Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse, JsonResponse, UnreadablePostError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.response import Response

from catalog import strict_json

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 1024
RETRY_AFTER_SECONDS = 5

STATUS_OF: dict[str, int] = {
    "invalid_signature": 401,
    "integration_not_installed": 404,
    "integration_disabled": 403,
    "capability_unsupported": 422,
    "config_invalid": 422,
    "rate_limited": 429,
    "upstream_error": 502,
    "invalid_payload": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "capability_conflict": 409,
    "already_installed": 409,
    "not_replayable": 409,
    "check_not_found": 404,
    "qr_invalid": 404,
    "check_closed": 409,
    "locked": 409,
    "version_conflict": 409,
    "amount_exceeds_due": 409,
    "plan_stale": 412,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "internal": 500,
    "unavailable": 503,
}

MESSAGE_OF: dict[str, Promise] = {
    "invalid_signature": _("The signature is missing or does not match the body."),
    "integration_not_installed": _("This merchant has not installed the integration."),
    "integration_disabled": _("The integration is installed but switched off."),
    "capability_unsupported": _("The integration does not offer what was asked for."),
    "config_invalid": _("The settings do not fit this integration."),
    "rate_limited": _("Too many requests. Try again after the time in Retry-After."),
    "upstream_error": _("The partner did not answer as agreed."),
    "invalid_payload": _("The request body is not what this endpoint expects."),
    "unauthenticated": _("Send a valid token as `Authorization: Bearer <token>`."),
    "forbidden": _("Your role does not allow this."),
    "not_found": _("There is nothing here."),
    "method_not_allowed": _("This method is not allowed here."),
    "capability_conflict": _("Another integration already holds this place."),
    "already_installed": _("The integration is already installed there."),
    "not_replayable": _("Only what was set aside is processed again."),
    "check_not_found": _("There is no such check at this outlet."),
    "qr_invalid": _("There is no such table at this outlet."),
    "check_closed": _("The check is closed."),
    "locked": _("Another guest is paying this check. Try again after the time in Retry-After."),
    "version_conflict": _("The check has changed. Get it again."),
    "amount_exceeds_due": _("This is more than is due."),
    "plan_stale": _("Things have changed since this plan was made. Ask for a new preview."),
    "payload_too_large": _("The request body is too large."),
    "unsupported_media_type": _("Send the body as application/json."),
    "internal": _("Something broke on our side. Nothing was lost; try again."),
    "unavailable": _("Posz Hub is not ready. Try again in a moment."),
}


class ApiError(Exception):
    """A refusal with a code of the table; extra keys stand beside code and message."""

    def __init__(
        self,
        code: str,
        message: str | Promise | None = None,
        *,
        retry_after: int | None = None,
        **extra: Any,
    ) -> None:
        self.code = code
        self.status = STATUS_OF[code]
        self.message = str(message or MESSAGE_OF[code])
        self.retry_after = retry_after
        self.extra = extra
        super().__init__(f"{code}: {self.message}")

    def body(self) -> dict[str, Any]:
        return error_body(self.code, self.message, self.extra)

    def response(self) -> JsonResponse:
        response = JsonResponse(self.body(), status=self.status)
        if self.retry_after is not None:
            response["Retry-After"] = str(self.retry_after)
        return response


def error_body(code: str, message: str, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **(extra or {})}}


class StrictJSONParser(BaseParser):
    """Bodies of the API: an object in strict JSON, at most 256 KiB."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        return json_object(stream.read(MAX_BODY_BYTES + 1))


def json_object(raw: bytes) -> dict[str, Any]:
    value = json_value(raw)
    if not isinstance(value, dict):
        raise ApiError("invalid_payload", _("The body must be a JSON object."))
    return value


def json_value(raw: bytes) -> Any:
    if len(raw) > MAX_BODY_BYTES:
        raise ApiError("payload_too_large")
    try:
        return strict_json.loads(raw)
    except strict_json.StrictJSONError as error:
        raise ApiError("invalid_payload", str(error)) from None


def read_body(request: Any) -> bytes:
    """The raw bytes of a request, refused past 256 KiB before they are held in memory."""
    length = request.META.get("CONTENT_LENGTH") or ""
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise ApiError("payload_too_large")
    raw: bytes = request.body
    if len(raw) > MAX_BODY_BYTES:
        raise ApiError("payload_too_large")
    return raw


SIMPLE: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((Http404, exceptions.NotFound), "not_found"),
    ((exceptions.NotAuthenticated, exceptions.AuthenticationFailed), "unauthenticated"),
    ((PermissionDenied, exceptions.PermissionDenied), "forbidden"),
    ((exceptions.MethodNotAllowed,), "method_not_allowed"),
    ((exceptions.UnsupportedMediaType,), "unsupported_media_type"),
)


def as_api_error(error: Exception) -> ApiError:
    """What a framework's exception means in the words of the table."""
    if isinstance(error, ApiError):
        return error
    for kinds, code in SIMPLE:
        if isinstance(error, kinds):
            return ApiError(code)
    match error:
        case exceptions.Throttled():
            return ApiError("rate_limited", retry_after=int(getattr(error, "wait", None) or 1))
        case exceptions.ValidationError():
            message = _("Some fields are missing or wrong; see `fields`.")
            return ApiError("invalid_payload", message, fields=error.detail)
        case exceptions.APIException() | SuspiciousOperation() | UnreadablePostError():
            return ApiError("invalid_payload")
        case OperationalError() | InterfaceError():
            # The database is away or too busy, which is nobody's bug and soon over.
            logger.error("The database does not answer: %s", error)
            return ApiError("unavailable", retry_after=RETRY_AFTER_SECONDS)
    logger.error("Unhandled error in the API", exc_info=error)
    return ApiError("internal")


def exception_handler(error: Exception, _context: Any) -> Response:
    api_error = as_api_error(error)
    response = Response(api_error.body(), status=api_error.status)
    if api_error.retry_after is not None:
        response["Retry-After"] = str(api_error.retry_after)
    return response


def failure_response(error: Exception) -> HttpResponse:
    """The envelope for errors that happen outside a DRF view."""
    return as_api_error(error).response()


class JSONOnly(BaseContentNegotiation):
    """The API has one format, whatever `Accept` says; a refusal over it would help nobody."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(
        self,
        request: Any,  # noqa: ARG002
        renderers: Any,
        format_suffix: str | None = None,  # noqa: ARG002
    ) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type
