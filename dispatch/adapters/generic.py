"""Any partner that speaks the Posz contract over signed HTTP: it needs a catalog row and no code.

`POST {api}/posz/v1/{capability}` with an envelope; both the request and the answer carry the Standard
Webhooks headers, signed with the integration's outbound key.
"""

import time
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

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
    QrLink,
    ReceiptQrAdapter,
    ReceiptQrRequest,
    TableCheckRequest,
    TemporaryError,
)
from dispatch.signing import is_standard_signed, standard_headers


class Generic(ReceiptQrAdapter, PayAtTableAdapter, InboundAdapter):
    slug = "*"
    speaks = {
        "receipt_qr": (1,),
        "pay_at_table": (1,),
        "payment_webhook_inbound": (1,),
        # Spoken by the deliveries that every subscriber gets.
        "customer_event_export": (1,),
    }

    def receipt_qr(self, call: Call, request: ReceiptQrRequest) -> QrLink:
        question = {"order": request.order.raw, "receipt": request.receipt}
        return _qr_link(self._ask(call, "receipt_qr", question))

    def pay_at_table(self, call: Call, request: TableCheckRequest) -> QrLink:
        return _qr_link(self._ask(call, "pay_at_table", {"check": request.check.raw}))

    def on_event(self, event: PartnerEvent) -> list[AuditNote]:
        return [AuditNote(event.type, dict(event.data))]

    def _ask(self, call: Call, capability: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        version = call.install.capability_versions.get(capability, 1)
        contract = f"{capability}@{version}"
        key = call.keys.get("outbound")
        if not key:
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
                "config": {},
                "data": data,
            }
        )
        reply = self._post(call, capability, request_id, body, key)
        return _answer_data(reply, contract)

    def _post(
        self, call: Call, capability: str, request_id: str, body: bytes, key: bytes
    ) -> Mapping[str, Any]:
        try:
            reply = door.call(
                "POST",
                f"{call.integration.api_base_url.rstrip('/')}/posz/v1/{capability}",
                headers={
                    "Content-Type": "application/json",
                    "Idempotency-Key": call.idempotency_key,
                    **standard_headers(request_id, int(time.time()), body, [key]),
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
            if not is_standard_signed(reply.headers, reply.body, [key], time.time()):
                raise PermanentError("the answer is not signed with our key")
            answer = reply.json()
        except (door.NonsenseError, door.TooLargeError) as error:
            raise PermanentError(f"{capability}: {error.code}") from None
        except door.DoorError as error:
            raise TemporaryError(f"{capability}: {error.code}") from None
        if not isinstance(answer, dict):
            raise PermanentError("the answer is not an object")
        return answer


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


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 300:
        raise PermanentError(f"the answer has no usable “{name}”")
    return value
