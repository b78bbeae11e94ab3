"""Any partner that speaks the Posz contract over signed HTTP: it needs a catalog row and no code.

`POST {api}/posz/v1/{capability}` with an envelope; both the request and the answer carry the Standard
Webhooks headers, signed with the integration's outbound key. Where the catalog row says how the key
that a merchant pasted authenticates a call, that goes along, and there may be no outbound key.
"""

import base64
import time
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from catalog.schema import secret_names
from catalog.strict_json import dumps
from dispatch import door
from dispatch.contracts import (
    AuditNote,
    AuthError,
    Call,
    DeclinedError,
    InboundAdapter,
    PartnerEvent,
    PayAtTableAdapter,
    PermanentError,
    Pretext,
    QrLink,
    ReceiptPretextAdapter,
    ReceiptPretextRequest,
    ReceiptQrAdapter,
    ReceiptQrRequest,
    TableCheckRequest,
    TemporaryError,
    TextLine,
)
from dispatch.signing import is_standard_signed, standard_headers


class Generic(ReceiptQrAdapter, ReceiptPretextAdapter, PayAtTableAdapter, InboundAdapter):
    slug = "*"
    speaks = {
        "receipt_qr": (1,),
        "receipt_pretext": (1,),
        "pay_at_table": (1,),
        "payment_webhook_inbound": (1,),
        # Spoken by the deliveries that every subscriber gets.
        "customer_event_export": (1,),
    }

    def receipt_qr(self, call: Call, request: ReceiptQrRequest) -> QrLink:
        question = {"order": request.order.raw, "receipt": request.receipt}
        return _qr_link(self._ask(call, "receipt_qr", question))

    def receipt_pretext(self, call: Call, request: ReceiptPretextRequest) -> Pretext:
        question = {"order": request.order.raw, "receipt": request.receipt}
        return _pretext(self._ask(call, "receipt_pretext", question), request.columns)

    def pay_at_table(self, call: Call, request: TableCheckRequest) -> QrLink:
        return _qr_link(self._ask(call, "pay_at_table", {"check": request.check.raw}))

    def on_event(self, event: PartnerEvent) -> list[AuditNote]:
        return [AuditNote(event.type, dict(event.data))]

    def _ask(self, call: Call, capability: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        version = call.install.capability_versions.get(capability, 1)
        contract = f"{capability}@{version}"
        key = call.keys.get("outbound")
        auth = key_headers(call.integration.request_auth, call.install.config)
        if not key and not auth:
            raise AuthError("no outbound secret is set")
        request_id = f"req_{call.install.pk.hex}_{time.time_ns():x}"
        body = dumps(
            {
                "contract": contract,
                "operation": None,
                "request_id": request_id,
                "sent_at": timezone.now().isoformat(),
                **_parties(call),
                "install_id": str(call.install.pk),
                "config": _open_config(call),
                "data": data,
            }
        )
        signature = standard_headers(request_id, int(time.time()), body, [key]) if key else {}
        reply = self._post(call, capability, {**auth, **signature}, body)
        return _answer_data(reply, contract)

    def _post(
        self, call: Call, capability: str, proof: Mapping[str, str], body: bytes
    ) -> Mapping[str, Any]:
        key = call.keys.get("outbound")
        try:
            reply = door.call(
                "POST",
                f"{call.integration.api_base_url.rstrip('/')}/posz/v1/{capability}",
                headers={
                    "Content-Type": "application/json",
                    "Idempotency-Key": call.idempotency_key,
                    **proof,
                },
                body=body,
                timeout_seconds=call.timeout_seconds,
            )
            if reply.status in {401, 403}:
                raise AuthError(f"{capability} answered {reply.status}")
            if reply.status >= 500 or reply.status == 429:
                raise TemporaryError(f"{capability} answered {reply.status}")
            if reply.status != 200:
                raise PermanentError(f"{capability} answered {reply.status}")
            if key and not is_standard_signed(reply.headers, reply.body, [key], time.time()):
                raise PermanentError("the answer is not signed with our key")
            answer = reply.json()
        except door.RequestRefusedError:
            raise AuthError(f"{capability}: the key can't be sent in a header") from None
        except (door.NonsenseError, door.TooLargeError) as error:
            raise PermanentError(f"{capability}: {error.code}") from None
        except door.DoorError as error:
            raise TemporaryError(f"{capability}: {error.code}") from None
        if not isinstance(answer, dict):
            raise PermanentError("the answer is not an object")
        return answer


def key_headers(auth: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """The headers that carry a merchant's own key, as the catalog row says; none for {}."""
    match auth.get("scheme"):
        case "bearer":
            return {"Authorization": f"Bearer {_key(config, auth['field'])}"}
        case "header":
            return {auth["name"]: _key(config, auth["field"])}
        case "basic":
            pair = f"{_key(config, auth['user_field'])}:{_key(config, auth['password_field'])}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _key(config: Mapping[str, Any], name: str) -> str:
    value = config.get(name)
    if not isinstance(value, str) or not value:
        raise AuthError("the merchant's key is not set")
    return value


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


def _qr_link(data: Mapping[str, Any]) -> QrLink:
    label = data.get("label")
    if not isinstance(label, dict):
        raise PermanentError("the answer has no label")
    return QrLink(
        qr_payload=_text(data, "qr_payload"),
        label_en=_text(label, "en"),
        label_id=_text(label, "id"),
        external_ref=_text(data, "external_ref"),
    )


def _pretext(data: Mapping[str, Any], columns: int) -> Pretext:
    lines = data.get("lines")
    if not isinstance(lines, list):
        raise PermanentError("the answer has no lines")
    return Pretext(
        lines=tuple(_text_line(line) for line in lines),
        columns=columns,
        external_ref=_text(data, "external_ref") if data.get("external_ref") else "",
    )


def _text_line(line: Any) -> TextLine:
    text = line.get("text") if isinstance(line, dict) else None
    if not isinstance(text, dict):
        raise PermanentError("a line has no text")
    english, indonesian = text.get("en"), text.get("id")
    align, emphasis = line.get("align", "left"), line.get("emphasis", False)
    if not isinstance(english, str) or not isinstance(indonesian, str):
        raise PermanentError("a line has no text in both languages")
    if not isinstance(align, str) or not isinstance(emphasis, bool):
        raise PermanentError("a line has no usable align or emphasis")
    return TextLine(english, indonesian, align, emphasis)


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 300:
        raise PermanentError(f"the answer has no usable “{name}”")
    return value
