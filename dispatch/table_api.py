"""Where partners call Posz about checks at tables: one signed POST and one signed answer.

The envelope is the one in which Posz calls partners, the other way round. What is signed names the
operation too, so that a request can't be sent on to another address.
"""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from catalog.envelope import ApiError, json_object, read_body
from catalog.models import Integration
from catalog.strict_json import dumps
from dispatch import table_checks
from dispatch.operations import as_document, newest, where_and_what
from dispatch.operations.notation import Operation, Record, Text
from dispatch.signing import is_standard_signed, standard_headers
from dispatch.table_checks import Place
from installs import issuer, outlets, snapshot, throttle
from installs.credentials import active_secrets
from installs.models import Install

CAPABILITY = "pay_at_table"
READINGS: dict[str, Callable[[Place, Any], Record]] = {
    "tables.list": table_checks.tables,
    "checks.by_table": table_checks.checks_of_table,
    "check.get": table_checks.check,
    "payment.start": table_checks.start,
}
# About a lock that is known: money that was taken comes in also where the integration is off.
REPORTS: dict[str, Callable[[Integration, UUID | None, Any], Record]] = {
    "payment.apply": table_checks.apply,
    "payment.release": table_checks.release,
}
NAMES = [*READINGS, *REPORTS]


class TableCall(Record, frozen=True):
    """`contract`, `request_id`, `sent_at` and whatever else stands in an envelope is not needed."""

    operation: Text
    data: dict[str, Any]
    merchant_id: UUID | None = None
    external_merchant_id: Text | None = None
    location_id: UUID | None = None
    external_location_id: Text | None = None


def _refs(kinds: list[type[Record]]) -> list[dict[str, str]]:
    names = sorted({kind.__name__ for kind in kinds})
    return [{"$ref": f"#/components/schemas/Contract{name}"} for name in names]


def _operations() -> list[Operation]:
    contract = newest(CAPABILITY)
    return [item for name in NAMES if (item := contract.operation(name)) is not None]


CALL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["operation", "data"],
    "properties": {
        "operation": {"type": "string", "enum": NAMES, "description": "As in the address."},
        "merchant_id": {"type": "string", "format": "uuid"},
        "external_merchant_id": {"type": "string", "minLength": 1, "maxLength": 200},
        "location_id": {"type": "string", "format": "uuid"},
        "external_location_id": {"type": "string", "minLength": 1, "maxLength": 200},
        "data": {"anyOf": _refs([item.request for item in _operations()])},
    },
}
ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["contract", "status", "data"],
    "properties": {
        "contract": {"const": newest(CAPABILITY).name},
        "status": {"const": "ok"},
        "data": {"anyOf": _refs([item.answer for item in _operations() if item.answer])},
    },
}
SIGNATURE = [
    OpenApiParameter(name, str, OpenApiParameter.HEADER)
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
]
OPERATION = OpenApiParameter("operation", str, OpenApiParameter.PATH, enum=NAMES)


@extend_schema(tags=["partners"])
class TableCalls(APIView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        parameters=[OPERATION, *SIGNATURE],
        request={"application/json": CALL_SCHEMA},
        responses={200: ANSWER_SCHEMA},
        operation_id="integrations_pay_at_table",
    )
    def post(self, request: Request, slug: str, operation: str) -> HttpResponse:
        """Ask about the checks of an outlet, lock one, report a guest's payment.

        Signed like a Standard Webhooks message with the inbound secret, or with a bearer token of
        `POST /v1/oauth/token`. The answer is signed with the outbound secret.
        """
        integration = Integration.objects.filter(slug=slug).first()
        known = newest(CAPABILITY).operation(operation)
        if integration is None or known is None or operation not in NAMES:
            raise ApiError("not_found")
        raw = request._request  # noqa: SLF001
        body = read_body(raw)
        require_partner(integration, raw, body)
        call, question = _read(body, known)
        answer = _answered(integration, operation, call, question)
        told = {"contract": newest(CAPABILITY).name, "status": "ok", "data": as_document(answer)}
        return _signed(integration, raw, dumps(told))


def require_partner(integration: Integration, request: HttpRequest, body: bytes) -> None:
    """Refuse with 401 what neither an accepted inbound key has signed nor a token of the partner's
    comes with."""
    keys = active_secrets(integration.slug, "inbound")
    if is_standard_signed(dict(request.headers), body, keys, time.time()):
        return
    kind, _space, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not issuer.checker_for(integration.pk)(token.strip()):
        raise ApiError("invalid_signature")


def _read(body: bytes, operation: Operation) -> tuple[TableCall, Record]:
    document = json_object(body)
    try:
        call = msgspec.convert(document, TableCall)
    except msgspec.ValidationError as error:
        raise _wrong("", error) from None
    if call.operation != operation.name:
        message = _("This is another operation than the address says.")
        raise ApiError("invalid_payload", message, fields={"operation": [message]})
    try:
        return call, msgspec.convert(call.data, operation.request)
    except msgspec.ValidationError as error:
        raise _wrong("data", error) from None


def _wrong(prefix: str, error: msgspec.ValidationError) -> ApiError:
    where, what = where_and_what(error)
    field = f"{prefix}{where}".lstrip(".") or "body"
    return ApiError("invalid_payload", f"{field}: {what}", fields={field: [what]})


def _answered(
    integration: Integration, operation: str, call: TableCall, question: Record
) -> Record:
    if CAPABILITY not in integration.capabilities:
        raise ApiError("capability_unsupported")
    if report := REPORTS.get(operation):
        _spend(integration, call.merchant_id)
        return report(integration, call.merchant_id, question)
    place = _place(integration, call)
    _spend(integration, place.install.merchant_id)
    return READINGS[operation](place, question)


def _spend(integration: Integration, merchant_id: UUID | None) -> None:
    name = f"table:{integration.pk}:{merchant_id}"
    throttle.spend(name, settings.INBOUND_RATE_PER_MINUTE)


def _place(integration: Integration, call: TableCall) -> Place:
    """The outlet and the install that answers there; refused in the words of webhooks."""
    merchant_id = _merchant(integration, call)
    snap = snapshot.current(merchant_id)
    location_id = call.location_id
    if location_id is None and call.external_location_id is not None:
        outlet = outlets.outlet_of(integration, merchant_id, call.external_location_id)
        location_id = outlet.pk if outlet else None
    if snap is None or (location_id is not None and location_id not in snap.locations):
        raise ApiError("not_found")
    if location_id is None:
        if len(snap.locations) != 1 or call.external_location_id is not None:
            message = _("Say which outlet.")
            raise ApiError("invalid_payload", message, fields={"location_id": [message]})
        [location_id] = snap.locations
    if not integration.is_running:
        raise ApiError("integration_disabled")
    here = [row for row in snap.effective(location_id) if row.integration_id == integration.pk]
    if not here:
        raise ApiError("integration_not_installed")
    if not here[0].is_enabled:
        raise ApiError("integration_disabled")
    if here[0] not in snap.answering(CAPABILITY, location_id):
        raise ApiError("capability_unsupported")
    return Place(here[0], location_id)


def _merchant(integration: Integration, call: TableCall) -> UUID:
    if call.merchant_id is not None:
        return call.merchant_id
    if call.external_merchant_id is None:
        message = _("Say which merchant.")
        raise ApiError("invalid_payload", message, fields={"merchant_id": [message]})
    rows = Install.objects.filter(
        integration=integration, external_merchant_id=call.external_merchant_id
    )
    found = rows.values_list("merchant_id", flat=True).first()
    if found is None:
        raise ApiError("integration_not_installed")
    return found


def _signed(integration: Integration, request: HttpRequest, body: bytes) -> HttpResponse:
    keys = active_secrets(integration.slug, "outbound")
    message_id = request.headers.get("webhook-id", "")[:64]
    if not message_id.isascii() or not message_id.isprintable():
        message_id = ""
    headers = standard_headers(message_id or "answer", int(time.time()), body, keys) if keys else {}
    return HttpResponse(body, content_type="application/json", headers=headers)
