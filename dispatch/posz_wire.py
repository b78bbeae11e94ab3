"""The Posz contract over HTTP: one signed POST with an envelope, one signed answer.

`POST {api}/posz/v1/{capability}[/{operation}]`; both the request and the answer carry the Standard
Webhooks headers, signed with the integration's outbound key. Where the catalog row says how else a call
is authenticated, that goes along, and there may be no outbound key: then answers are not signed.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from django.utils import timezone

from catalog.schema import secret_names
from catalog.strict_json import dumps
from dispatch import door
from dispatch.contracts import AuthError, Call, DeclinedError, PermanentError, TemporaryError
from dispatch.request_auth import auth_headers, was_refused
from dispatch.signing import is_standard_signed, standard_headers

# Half a second of thinking is no reason for another try, but a token that was just refused is.
LEAST_SECONDS = 0.02


def ask(call: Call, capability: str, operation: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put one question to the partner and return the `data` of its answer."""
    version = call.install.capability_versions.get(capability, 1)
    contract = f"{capability}@{version}"
    path = f"{capability}/{operation}" if operation else capability
    give_up_at = time.monotonic() + call.timeout_seconds

    def time_left() -> float:
        left = give_up_at - time.monotonic()
        if left < LEAST_SECONDS:
            raise TemporaryError("no time left")
        return left

    body_of = envelope(call, contract, operation, data)
    reply = post(call, path, body_of, time_left)
    if reply.status == 401 and was_refused(call):
        reply = post(call, path, body_of, time_left)
    return answer_of(call, path, reply, contract)


def envelope(
    call: Call, contract: str, operation: str, data: Mapping[str, Any]
) -> Callable[[str], bytes]:
    """Everything but the id of the request, which is new for each try."""

    def body_of(request_id: str) -> bytes:
        return dumps(
            {
                "contract": contract,
                "operation": operation or None,
                "request_id": request_id,
                "sent_at": timezone.now().isoformat(),
                **_parties(call),
                "install_id": str(call.install.pk),
                "config": _open_config(call),
                "data": data,
            }
        )

    return body_of


def post(
    call: Call,
    path: str,
    body_of: Callable[[str], bytes],
    time_left: Callable[[], float],
    *,
    age_seconds: int = 0,
) -> door.Reply:
    """Send a question that was signed so many seconds ago; whatever is answered comes back."""
    if not call.integration.api_base_url:
        raise PermanentError("the integration has no API address")
    key = call.keys.get("outbound")
    auth = auth_headers(call, time_left, age_seconds)
    if not key and not auth:
        raise AuthError("no outbound secret is set")
    request_id = f"req_{call.install.pk.hex}_{time.time_ns():x}"
    body = body_of(request_id)
    signed_at = int(time.time()) - age_seconds
    signature = standard_headers(request_id, signed_at, body, [key]) if key else {}
    repeated = {"Idempotency-Key": call.idempotency_key} if call.idempotency_key else {}
    try:
        return door.call(
            "POST",
            f"{call.integration.api_base_url.rstrip('/')}/posz/v1/{path}",
            headers={"Content-Type": "application/json", **repeated, **auth, **signature},
            body=body,
            timeout_seconds=time_left(),
        )
    except door.RequestRefusedError:
        raise AuthError(f"{path}: the key can't be sent in a header") from None
    except (door.NonsenseError, door.TooLargeError) as error:
        raise PermanentError(f"{path}: {error.code}") from None
    except door.DoorError as error:
        raise TemporaryError(f"{path}: {error.code}") from None


def answer_of(call: Call, path: str, reply: door.Reply, contract: str) -> Mapping[str, Any]:
    """The `data` of an answer that is the partner's own and speaks this contract."""
    return _answer_data(_believed(call, path, reply), contract)


def _believed(call: Call, path: str, reply: door.Reply) -> Mapping[str, Any]:
    """The answer as an object, once it is known to be the partner's own."""
    key = call.keys.get("outbound")
    if reply.status in {401, 403}:
        raise AuthError(f"{path} answered {reply.status}")
    if reply.status >= 500 or reply.status == 429:
        raise TemporaryError(f"{path} answered {reply.status}")
    if reply.status != 200:
        raise PermanentError(f"{path} answered {reply.status}")
    if key and not is_standard_signed(reply.headers, reply.body, [key], time.time()):
        raise PermanentError("the answer is not signed with our key")
    try:
        answer = reply.json()
    except door.NonsenseError as error:
        raise PermanentError(f"{path}: {error.code}") from None
    if not isinstance(answer, dict):
        raise PermanentError("the answer is not an object")
    return answer


def _answer_data(answer: Mapping[str, Any], contract: str) -> Mapping[str, Any]:
    if answer.get("contract") != contract:
        raise PermanentError("the answer speaks another contract")
    match answer.get("status"):
        case "ok" if isinstance(answer.get("data"), dict):
            data: Mapping[str, Any] = answer["data"]
            return data
        case "declined":
            raise DeclinedError("the partner declined")
        case "error":
            raise PermanentError("the partner reported an error")
    raise PermanentError("the answer has no usable status")


def _open_config(call: Call) -> dict[str, Any]:
    """What the partner may see of the settings in the body: no secret, and nothing that the schema
    no longer knows, for that may have been one."""
    schema = call.integration.config_schema
    hidden = secret_names(schema)
    known = schema.get("properties", {})
    config = call.install.config
    return {name: config[name] for name in known if name in config and name not in hidden}


def _parties(call: Call) -> dict[str, Any]:
    merchant, location = call.merchant, call.location
    return {
        "merchant": {
            "id": str(merchant.pk),
            "name": merchant.name,
            "external_merchant_id": call.external_merchant_id or None,
            "currency": merchant.currency,
            "currency_exponent": 2,
            "locale": merchant.locale,
            "timezone": merchant.timezone,
        },
        "outlet": {
            "id": str(location.pk),
            "name": location.name,
            "external_outlet_id": None,
            "timezone": location.timezone,
        }
        if location
        else None,
    }
