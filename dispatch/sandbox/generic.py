"""Demo partners in the generic shape, and the receiver of the events that Posz sends to partners.

Both hold the keys of the purpose `outbound`. A call is signed both ways by the Standard Webhooks
triple: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from catalog import strict_json
from dispatch.sandbox.messages import Answer, RefusalError, Request, json_answer, json_object
from dispatch.signing import is_signed, is_standard_signed, standard_headers

Keys = Callable[[str], list[bytes]]

DEMO_PARTNERS = {
    **{f"demo-qr-{letter}": "receipt_qr" for letter in "abcd"},
    **{f"demo-table-{letter}": "pay_at_table" for letter in "ab"},
}
LONGEST_QR = 300
LABELS = {
    "order": ("see your order", "lihat pesanan"),
    "check": ("pay here", "bayar di sini"),
}
MOST_ANSWERS = 20_000
MOST_EVENT_IDS = 100_000


class DemoPartners:
    def __init__(self, keys: Keys, base_url: Callable[[], str]) -> None:
        self._keys = keys
        self._base_url = base_url
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, ...], bytes] = OrderedDict()

    def post(self, request: Request, slug: str, capability: str, operation: str = "") -> Answer:
        keys = self._keys(slug) if slug in DEMO_PARTNERS else []
        if not is_standard_signed(request.headers, request.body, keys, time.time()):
            raise RefusalError(401, "invalid_signature", "The signature or its time is not right.")
        if DEMO_PARTNERS[slug] != capability:
            raise RefusalError(422, "capability_unsupported", f"{slug} has no {capability}.")
        body = self._repeated_answer(request, slug, capability, operation)
        message_id = request.header("webhook-id") or ""
        headers = standard_headers(message_id, int(time.time()), body, keys)
        return Answer(200, body, headers=headers)

    def _repeated_answer(self, request: Request, *asked: str) -> bytes:
        """What was answered to this idempotency key before, byte for byte, else a new answer."""
        envelope = json_object(request)
        body = strict_json.dumps(self._answer(envelope, *asked))
        key = request.header("Idempotency-Key")
        if not key:
            return body
        with self._lock:
            body = self._answers.setdefault((*asked, str(envelope.get("install_id")), key), body)
            if len(self._answers) > MOST_ANSWERS:
                self._answers.popitem(last=False)
            return body

    def _answer(
        self, envelope: dict[str, Any], slug: str, capability: str, _operation: str
    ) -> dict[str, Any]:
        contract, data = envelope.get("contract"), envelope.get("data")
        if not isinstance(contract, str) or contract.partition("@")[0] != capability:
            raise RefusalError(422, "invalid_field", "The contract is not this one.", "contract")
        if not isinstance(data, dict):
            raise RefusalError(422, "invalid_field", "An object is needed.", "data")
        answer = self._link(slug, data, "order" if capability == "receipt_qr" else "check")
        return {"contract": contract, "status": "ok", "data": answer}

    def _link(self, slug: str, data: dict[str, Any], subject: str) -> dict[str, Any]:
        order = data.get(subject)
        order_id = order.get("id") if isinstance(order, dict) else None
        if not isinstance(order_id, str) or not order_id:
            raise RefusalError(422, "invalid_field", "An id is needed.", f"data.{subject}.id")
        name = f"Demo {slug[-1].upper()}"
        verbs = LABELS[subject]
        return {
            "qr_payload": self._order_url(slug, order_id),
            "label": {"en": f"{name}: {verbs[0]}", "id": f"{name}: {verbs[1]}"},
            "external_ref": f"{slug}-{hashlib.sha256(order_id.encode()).hexdigest()[:16]}",
        }

    def _order_url(self, slug: str, order_id: str) -> str:
        base = f"{self._base_url()}/demo/{slug}/o/"
        url = base + quote(order_id, safe="")
        if len(url) <= LONGEST_QR:
            return url
        return base + hashlib.sha256(order_id.encode()).hexdigest()


class Events:
    """Counts deliveries and, once per `webhook-id`, the events in them."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._ids: dict[str, OrderedDict[str, None]] = {}
        self._counts: dict[str, dict[str, int]] = {}

    def post(self, request: Request, slug: str) -> Answer:
        if not is_signed(request.body, request.header("X-Posz-Signature"), self._keys(slug)):
            raise RefusalError(401, "invalid_signature", "X-Posz-Signature is not right.")
        message_id = request.header("webhook-id") or hashlib.sha256(request.body).hexdigest()
        with self._lock:
            ids = self._ids.setdefault(slug, OrderedDict())
            counts = self._counts.setdefault(slug, {"deliveries": 0, "events": 0})
            is_known = message_id in ids
            ids[message_id] = None
            if len(ids) > MOST_EVENT_IDS:
                ids.popitem(last=False)
            counts["deliveries"] += 1
            counts["events"] += not is_known
            return json_answer(200, {"status": "ok", "duplicate": is_known, **counts})

    def shown(self) -> dict[str, dict[str, int]]:
        with self._lock:
            return {slug: dict(counts) for slug, counts in sorted(self._counts.items())}
