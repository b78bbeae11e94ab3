"""What a partner must do beside answering, and how the sandbox breaks it in each of the `WRONG_WAYS`.

Everything is done to a request before it is answered, or to the answer, so that the demo partners
themselves know none of it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from catalog import strict_json
from dispatch.operations import newest
from dispatch.sandbox.generic import MERCHANT_KEYS, DemoPartners, Events
from dispatch.sandbox.messages import Answer, RefusalError, Request, json_object
from dispatch.signing import TOLERANCE_SECONDS, hex_signature, is_standard_signed, standard_headers

Keys = Callable[[str], list[bytes]]

ENVELOPE = frozenset(
    {"contract", "operation", "request_id", "sent_at", "merchant", "outlet", "install_id"}
    | {"config", "data"}
)
UNKNOWN = "unknown-"


class Conduct:
    """Stands before the demo partners and the receiver of events."""

    def __init__(self, keys: Keys, demo: DemoPartners, events: Events) -> None:
        self._keys = keys
        self._demo = demo
        self._events = events
        self._numbers = count(1)

    def post(self, request: Request, slug: str, capability: str, operation: str = "") -> Answer:
        asked = self._let_in(request, slug)
        match request.mode:
            case "any_version":
                return self._of_any_version(asked, slug, capability, operation)
            case "forgetful":
                answer = self._answered(_without_key(asked), slug, capability, operation)
                return self._signed(asked, slug, _numbered(answer, next(self._numbers)))
        try:
            return self._answered(asked, slug, capability, operation)
        except RefusalError as refusal:
            if refusal.status != 422 or refusal.error.get("field") == "contract":
                raise
            if request.mode == "crash_on_malformed":
                raise RefusalError(500, "internal", "Switched to stumble.") from None
            if request.mode != "accept_malformed":
                raise
            return self._signed(asked, slug, _example(asked, capability, operation))

    def post_event(self, request: Request, slug: str) -> Answer:
        let_in = self._event_let_in(request, slug)
        answer = self._events.post(let_in, slug)
        if request.mode == "forgetful" and strict_json.loads(answer.body).get("duplicate"):
            raise RefusalError(409, "known", "Switched to refuse what is known.")
        return answer

    def _answered(self, request: Request, slug: str, capability: str, operation: str) -> Answer:
        answer = self._demo.post(request, slug, capability, operation)
        envelope = json_object(request)
        if request.mode == "closed_envelope" and (more := envelope.keys() - ENVELOPE):
            raise RefusalError(422, "unknown_field", "There is no such field.", min(more))
        if request.mode != "never_decline" and _names_unknown(envelope.get("data")):
            error = {"code": "unknown", "message": "There is no such thing.", "retryable": False}
            told = {"contract": envelope["contract"], "status": "declined", "error": error}
            return self._signed(request, slug, told)
        return answer

    def _of_any_version(
        self, request: Request, slug: str, capability: str, operation: str
    ) -> Answer:
        """As if it had been asked for a version that there is, where it was asked rightly."""
        if not is_standard_signed(request.headers, request.body, self._keys(slug), time.time()):
            return self._answered(request, slug, capability, operation)
        envelope = json_object(request)
        name = newest(capability).name
        body = strict_json.dumps(envelope | {"contract": name})
        asked = self._signed_anew(replace(request, body=body), slug)
        answer = strict_json.loads(self._answered(asked, slug, capability, operation).body)
        return self._signed(request, slug, answer | {"contract": envelope.get("contract")})

    def _let_in(self, request: Request, slug: str) -> Request:
        """The request as somebody would send it who may; by default what it is."""
        keys, at = self._keys(slug), _timestamp(request)
        if request.mode == "unchecked_signature" and not _is_late(at):
            return self._signed_anew(request, slug)
        is_own = at is not None and is_standard_signed(request.headers, request.body, keys, at)
        if request.mode == "accept_late" and is_own:
            return self._signed_anew(request, slug)
        return request

    def _event_let_in(self, request: Request, slug: str) -> Request:
        if _is_late(_timestamp(request)) and request.mode != "accept_late":
            raise RefusalError(401, "invalid_signature", "This was signed too long ago.")
        if request.mode != "unchecked_signature":
            return request
        signature = hex_signature(request.body, self._keys(slug)[0])
        return _with_headers(request, {"X-Posz-Signature": signature})

    def _signed_anew(self, request: Request, slug: str) -> Request:
        message_id = request.header("webhook-id") or "msg"
        keys = self._keys(slug)
        headers = standard_headers(message_id, int(time.time()), request.body, keys) if keys else {}
        if slug in MERCHANT_KEYS:
            headers["Authorization"] = f"Bearer {MERCHANT_KEYS[slug]}"
        return _with_headers(request, headers)

    def _signed(self, request: Request, slug: str, told: Mapping[str, Any]) -> Answer:
        body = strict_json.dumps(told)
        message_id = request.header("webhook-id") or "msg"
        headers = standard_headers(message_id, int(time.time()), body, self._keys(slug))
        return Answer(200, body, headers=headers)


def _with_headers(request: Request, headers: Mapping[str, str]) -> Request:
    changed = {name.lower() for name in headers}
    kept = {name: value for name, value in request.headers.items() if name.lower() not in changed}
    return replace(request, headers={**kept, **headers})


def _without_key(request: Request) -> Request:
    kept = request.headers.items()
    return replace(
        request, headers={name: value for name, value in kept if name.lower() != "idempotency-key"}
    )


def _timestamp(request: Request) -> float | None:
    text = request.header("webhook-timestamp") or ""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 13 else None


def _is_late(at: float | None) -> bool:
    return at is not None and abs(time.time() - at) > TOLERANCE_SECONDS


def _numbered(answer: Answer, number: int) -> dict[str, Any]:
    told: dict[str, Any] = strict_json.loads(answer.body)
    return told | {"data": told["data"] | {"number": number}} if "data" in told else told


def _names_unknown(data: Any) -> bool:
    named = data.items() if isinstance(data, dict) else ()
    return any(
        name.endswith("id") and isinstance(value, str) and value.startswith(UNKNOWN)
        for name, value in named
    )


def _example(request: Request, capability: str, operation: str) -> dict[str, Any]:
    found = newest(capability).operation(operation)
    data = dict(found.answer_example or {}) if found else {}
    return {"contract": json_object(request).get("contract"), "status": "ok", "data": data}
