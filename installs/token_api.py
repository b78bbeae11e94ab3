"""`POST /v1/oauth/token`: where partners that call Posz with a bearer token get it.

The grant is client_credentials of https://www.rfc-editor.org/rfc/rfc6749#section-4.4, as a form or, as
some partners write it, as JSON. Answers have the RFC's own shape, refusals too: the clients that
partners use read no other.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_plus

from allauth.account.adapter import get_adapter
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from catalog.envelope import ApiError, as_api_error, json_object, read_body
from installs import issuer, throttle

ATTEMPTS_PER_MINUTE = 30
MOST_FIELDS = 20
LONGEST = 500
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
# https://www.rfc-editor.org/rfc/rfc6749#appendix-A.4
SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
# https://www.rfc-editor.org/rfc/rfc6749#section-5.1
NOT_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class TokenError(Exception):
    """https://www.rfc-editor.org/rfc/rfc6749#section-5.2"""

    def __init__(self, code: str, description: str = "", status: int = 400) -> None:
        self.code = code
        self.description = description
        self.status = status
        super().__init__(code)


@csrf_exempt
def issue_token(request: HttpRequest) -> HttpResponse:
    try:
        if request.method != "POST":
            raise TokenError("invalid_request", "Use POST.", 405)
        return _issued(request)
    except TokenError as error:
        return _refusal(error)
    except Exception as error:  # noqa: BLE001
        return _failure(as_api_error(error))


def _issued(request: HttpRequest) -> HttpResponse:
    fields = _fields(request)
    client_id, secret = _credentials(request, fields)
    throttle.spend(_attempts_of(request, client_id), ATTEMPTS_PER_MINUTE)
    grant = fields.get("grant_type", "")
    if grant and grant != "client_credentials":
        raise TokenError("unsupported_grant_type")
    if not grant:
        raise TokenError("invalid_request", "grant_type is missing.")
    scope = fields.get("scope", "")
    # What a token opens is fixed, so any scope is as good as none.
    if scope and not SCOPE.fullmatch(scope):
        raise TokenError("invalid_scope")
    issued = issuer.issue_token(client_id, secret)
    if issued is None:
        raise TokenError("invalid_client", status=401)
    answer = {
        "access_token": issued.token,
        "token_type": "Bearer",
        "expires_in": issued.seconds,
    }
    return JsonResponse(answer, headers=NOT_KEPT)


def _fields(request: HttpRequest) -> dict[str, str]:
    raw = read_body(request)
    kind = (request.content_type or "").lower()
    if kind == FORM:
        return _form(raw)
    if kind != JSON:
        raise TokenError("invalid_request", f"Send {FORM} or {JSON}.")
    document = json_object(raw)
    if len(document) > MOST_FIELDS:
        raise TokenError("invalid_request", "There are too many fields.")
    return _checked({key: value for key, value in document.items() if value is not None})


def _form(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(raw),
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise TokenError("invalid_request", "The form can't be read.") from None
    if len({name for name, _value in pairs}) != len(pairs):
        raise TokenError("invalid_request", "A field is there twice.")
    # One without a value counts as left out: https://www.rfc-editor.org/rfc/rfc6749#section-3.2
    return _checked({name: value for name, value in pairs if value})


def _checked(fields: Mapping[str, object]) -> dict[str, str]:
    known = {}
    for name in ("grant_type", "client_id", "client_secret", "scope"):
        value = fields.get(name, "")
        if not isinstance(value, str) or len(value) > LONGEST:
            raise TokenError("invalid_request", f"{name} must be a short text.")
        if value:
            known[name] = value
    return known


def _credentials(request: HttpRequest, fields: Mapping[str, str]) -> tuple[str, str]:
    """In the header or in the body, never in both.

    https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
    """
    header = request.headers.get("Authorization", "")
    if not header:
        if "client_id" not in fields or "client_secret" not in fields:
            raise TokenError("invalid_client", "client_id and client_secret are needed.", 401)
        return fields["client_id"], fields["client_secret"]
    client_id, secret = _basic(header)
    if "client_secret" in fields or fields.get("client_id", client_id) != client_id:
        raise TokenError("invalid_request", "Send the credentials in one way only.")
    return client_id, secret


def _basic(header: str) -> tuple[str, str]:
    scheme, _space, text = header.partition(" ")
    try:
        pair = base64.b64decode(text.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        pair = ""
    client_id, colon, secret = pair.partition(":")
    if scheme.lower() != "basic" or not colon or len(pair) > 2 * LONGEST:
        raise TokenError("invalid_client", status=401)
    return unquote_plus(client_id), unquote_plus(secret)


def _attempts_of(request: HttpRequest, client_id: str) -> str:
    """Per client and address: somebody who guesses from elsewhere must not lock the partner out."""
    try:
        address = get_adapter(request).get_client_ip(request)
    except PermissionDenied:
        address = ""
    return f"token:{hashlib.sha256(f'{client_id} {address}'.encode()).hexdigest()}"


def _refusal(error: TokenError) -> JsonResponse:
    body = {"error": error.code}
    if error.description:
        body["error_description"] = error.description
    response = JsonResponse(body, status=error.status, headers=NOT_KEPT)
    if error.status == 401:
        response["WWW-Authenticate"] = 'Basic realm="Posz Hub"'
    if error.status == 405:
        response["Allow"] = "POST"
    return response


def _failure(error: ApiError) -> JsonResponse:
    """What is no error of the RFC keeps our code for it and its status."""
    code = "invalid_request" if error.code == "invalid_payload" else error.code
    body = {"error": code, "error_description": _ascii(error.message)}
    response = JsonResponse(body, status=error.status, headers=NOT_KEPT)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    return response


def _ascii(text: str) -> str:
    """https://www.rfc-editor.org/rfc/rfc6749#section-5.2 allows no other characters."""
    return re.sub(r"[^ !#-\[\]-~]", "'", text)
