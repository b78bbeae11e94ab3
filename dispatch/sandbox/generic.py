"""Demo partners in the generic shape, and the receiver of the events that Posz sends to partners.

Both hold the keys of the purpose `outbound`. A call is signed both ways by the Standard Webhooks
triple, but `demo-key` knows its callers by the key that each merchant pasted: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hashlib
import hmac
import textwrap
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import timedelta
from itertools import zip_longest
from typing import Any
from urllib.parse import quote

from catalog import strict_json
from catalog.capabilities import CAPABILITIES
from dispatch.operations import CONTRACTS
from dispatch.operations.notation import Contract
from dispatch.sandbox.messages import (
    Answer,
    RefusalError,
    Request,
    json_answer,
    json_object,
    now,
    rfc3339,
)
from dispatch.sandbox.operations import Operations
from dispatch.signing import is_signed, is_standard_signed, standard_headers

Keys = Callable[[str], list[bytes]]

DEMO_PARTNERS = {
    **{f"demo-qr-{letter}": "receipt_qr" for letter in "abcd"},
    **{f"demo-table-{letter}": "pay_at_table" for letter in "ab"},
    "demo-key": "receipt_pretext",
    "demo-partner": "*",
}
# What the partners that go by a key of the merchant's own take for it.
MERCHANT_KEYS = {"demo-key": "demo-valid-key"}
GREETING = ("Thank you for coming!", "Terima kasih, sampai jumpa!")
COLUMNS = {58: 32, 80: 48}
MOST_LINES = 6
LONGEST_QR = 300
LABELS = {
    "order": ("see your order", "lihat pesanan"),
    "check": ("pay here", "bayar di sini"),
}
WRONG_KEY = bytes(32)
MOST_ANSWERS = 20_000
MOST_EVENT_IDS = 100_000


class DemoPartners:
    def __init__(self, keys: Keys, base_url: Callable[[], str]) -> None:
        self._keys = keys
        self._base_url = base_url
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self.operations = Operations()

    def post(self, request: Request, slug: str, capability: str, operation: str = "") -> Answer:
        self._check_caller(request, slug)
        if DEMO_PARTNERS[slug] not in {capability, "*"} or capability not in CAPABILITIES:
            raise RefusalError(422, "capability_unsupported", f"{slug} has no {capability}.")
        if request.mode == "decline":
            return self._signed(request, slug, _declined(request))
        body = self._repeated_answer(request, slug, capability, operation)
        if request.mode == "malformed":
            answer = strict_json.loads(body)
            body = strict_json.dumps(answer | {"data": spoilt(answer["data"])})
        return self._signed(request, slug, body)

    def verify(self, request: Request, slug: str) -> Answer:
        """Whether the caller's key is right: what a test of the connection asks."""
        if slug not in MERCHANT_KEYS:
            raise RefusalError(404, "not_found", "This partner has no keys of merchants.")
        self._check_caller(request, slug)
        return self._signed(request, slug, strict_json.dumps({"status": "ok"}))

    def _check_caller(self, request: Request, slug: str) -> None:
        if slug in MERCHANT_KEYS:
            given = (request.header("Authorization") or "").encode()
            if not hmac.compare_digest(given, f"Bearer {MERCHANT_KEYS[slug]}".encode()):
                raise RefusalError(401, "unauthorized", "This key is not right.")
            return
        keys = self._keys(slug) if slug in DEMO_PARTNERS else []
        if not is_standard_signed(request.headers, request.body, keys, time.time()):
            raise RefusalError(401, "invalid_signature", "The signature or its time is not right.")

    def _signed(self, request: Request, slug: str, body: bytes) -> Answer:
        message_id = request.header("webhook-id") or f"msg_{time.time_ns():x}"
        keys = [WRONG_KEY] if request.mode == "wrong_signature" else self._keys(slug)
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
        self, envelope: dict[str, Any], slug: str, capability: str, operation: str
    ) -> dict[str, Any]:
        contract, data = _contract_of(envelope.get("contract"), capability), envelope.get("data")
        if not isinstance(data, dict):
            raise RefusalError(422, "invalid_field", "An object is needed.", "data")
        if capability == "receipt_pretext":
            answer = _greeting(slug, data, envelope.get("config"))
        elif capability == "receipt_qr":
            answer = self._link(slug, data, "order")
            if contract.version == 2:
                answer = _codes(answer)
        elif capability == "pay_at_table" and not operation:
            answer = self._link(slug, data, "check")
        else:
            install_id = str(envelope.get("install_id"))
            answer = self.operations.answer(install_id, contract, operation, data)
        return {"contract": contract.name, "status": "ok", "data": answer}

    def _link(self, slug: str, data: dict[str, Any], subject: str) -> dict[str, Any]:
        order_id = _id_of(data, subject)
        name = f"Demo {slug[-1].upper()}"
        verbs = LABELS[subject]
        return {
            "qr_payload": self._order_url(slug, order_id),
            "label": {"en": f"{name}: {verbs[0]}", "id": f"{name}: {verbs[1]}"},
            "external_ref": _reference(slug, order_id),
        }

    def _order_url(self, slug: str, order_id: str) -> str:
        base = f"{self._base_url()}/demo/{slug}/o/"
        url = base + quote(order_id, safe="")
        if len(url) <= LONGEST_QR:
            return url
        return base + hashlib.sha256(order_id.encode()).hexdigest()


def _codes(link: dict[str, Any]) -> dict[str, Any]:
    """The same in version 2: the link is good for a day, and beside it is one that stays good."""
    tomorrow = rfc3339(now() + timedelta(days=1))
    code = {name: link[name] for name in ("qr_payload", "label")}
    second = {**code, "label": {"en": "Rate your visit", "id": "Nilai kunjungan Anda"}}
    return {
        "codes": [{**code, "expires_at": tomorrow}, second],
        "external_ref": link["external_ref"],
    }


def _declined(request: Request) -> bytes:
    error = {"code": "not_today", "message": "Switched to refuse.", "retryable": False}
    contract = json_object(request).get("contract")
    return strict_json.dumps({"contract": contract, "status": "declined", "error": error})


def spoilt(data: dict[str, Any]) -> dict[str, Any]:
    """The same with a number where its first field has something else."""
    return data | {next(iter(data), "external_ref"): 1.5}


def _contract_of(name: Any, capability: str) -> Contract:
    known = {item.name: item for item in CONTRACTS.values() if item.capability == capability}
    if not isinstance(name, str) or name not in known:
        raise RefusalError(422, "invalid_field", "The contract is not this one.", "contract")
    return known[name]


def _id_of(data: dict[str, Any], subject: str) -> str:
    order = data.get(subject)
    order_id = order.get("id") if isinstance(order, dict) else None
    if not isinstance(order_id, str) or not order_id:
        raise RefusalError(422, "invalid_field", "An id is needed.", f"data.{subject}.id")
    return order_id


def _reference(slug: str, order_id: str) -> str:
    return f"{slug}-{hashlib.sha256(order_id.encode()).hexdigest()[:16]}"


def _greeting(slug: str, data: dict[str, Any], config: Any) -> dict[str, Any]:
    """The merchant's own greeting as lines that fit the paper."""
    order_id = _id_of(data, "order")
    own = config.get("greeting") if isinstance(config, dict) else None
    texts = (own, own) if isinstance(own, str) and own.strip() else GREETING
    receipt = data.get("receipt")
    paper = receipt.get("paper_mm") if isinstance(receipt, dict) else None
    columns = COLUMNS[80] if paper == 80 else COLUMNS[58]
    english, indonesian = (textwrap.wrap(text, columns)[:MOST_LINES] for text in texts)
    rows = zip_longest(english, indonesian, fillvalue="")
    lines = [
        {"text": {"en": left, "id": right}, "align": "center", "emphasis": number == 0}
        for number, (left, right) in enumerate(rows)
    ]
    return {"lines": lines, "external_ref": _reference(slug, order_id)}


def _erased(event: dict[str, Any]) -> dict[str, Any]:
    """It forgets at once whom it is asked to forget, and says so."""
    data = event.get("data")
    told = data.get("customers") if isinstance(data, dict) else None
    rows = [item for item in told if isinstance(item, dict)] if isinstance(told, list) else []
    erased = [item.get("customer_id") for item in rows if item.get("op") == "erase"]
    return {"erased": erased} if erased else {}


class Events:
    """Counts deliveries and, once per `webhook-id`, the events in them; `told` gets the data of each."""

    def __init__(self, keys: Keys, told: Callable[[dict[str, Any]], None]) -> None:
        self._keys = keys
        self._told = told
        self._lock = threading.Lock()
        self._ids: dict[str, OrderedDict[str, None]] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._types: dict[str, Counter[str]] = {}

    def post(self, request: Request, slug: str) -> Answer:
        if not is_signed(request.body, request.header("X-Posz-Signature"), self._keys(slug)):
            raise RefusalError(401, "invalid_signature", "X-Posz-Signature is not right.")
        if request.mode == "decline":
            raise RefusalError(422, "not_today", "Switched to refuse.")
        message_id = request.header("webhook-id") or hashlib.sha256(request.body).hexdigest()
        event_type = request.header("X-Posz-Event") or str(json_object(request).get("type"))
        with self._lock:
            ids = self._ids.setdefault(slug, OrderedDict())
            counts = self._counts.setdefault(slug, {"deliveries": 0, "events": 0})
            is_known = message_id in ids
            ids[message_id] = None
            if len(ids) > MOST_EVENT_IDS:
                ids.popitem(last=False)
            counts["deliveries"] += 1
            counts["events"] += not is_known
            self._types.setdefault(slug, Counter())[event_type] += not is_known
            answer = {"status": "ok", "duplicate": is_known, **counts}
        event = json_object(request)
        if not is_known and isinstance(event.get("data"), dict):
            self._told(event["data"])
        return json_answer(200, answer | _erased(event))

    def shown(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            return {
                slug: {**counts, "types": dict(sorted(self._types[slug].items()))}
                for slug, counts in sorted(self._counts.items())
            }
