"""Signatures on bodies, both ways. Everything is computed over the raw bytes and compared in
constant time.

Two forms: the Posz form, hex HMAC-SHA256 of the body in one header, and the Standard Webhooks triple
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

HEX_SIGNATURE = re.compile(r"(?:sha256=)?([0-9a-fA-F]{64})", re.ASCII)
TOLERANCE_SECONDS = 300


def hex_signature(body: bytes, key: bytes) -> str:
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def is_signed(body: bytes, header: str | None, keys: Iterable[bytes]) -> bool:
    """Whether the header is exactly one signature of the body by one of the keys.

    Two headers arrive joined by a comma, so they do not match. Without keys nothing is signed.
    """
    match = HEX_SIGNATURE.fullmatch(header or "")
    if match is None:
        return False
    given = match[1].lower()
    # Every key is tried, so that the time taken does not tell which one matched.
    matches = [hmac.compare_digest(given, hex_signature(body, key)) for key in keys]
    return any(matches)


def standard_headers(
    message_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]
) -> dict[str, str]:
    """The Standard Webhooks triple; several keys during a rotation give several signatures."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(
            f"v1,{_standard_digest(message_id, str(timestamp), body, key)}" for key in keys
        ),
    }


@dataclass(frozen=True, slots=True)
class SignedEvent:
    """One attempt to hand an event over."""

    type: str
    event_id: str
    delivery_id: str
    attempt: int
    body: bytes

    def headers(self, keys: Sequence[bytes], signed_at: int) -> dict[str, str]:
        """All that a delivery carries but a token: both forms of the signature, the newest key first."""
        return {
            "Content-Type": "application/json",
            "X-Posz-Signature": hex_signature(self.body, keys[0]),
            "X-Posz-Event": self.type,
            "X-Posz-Delivery": self.delivery_id,
            "X-Posz-Attempt": str(self.attempt),
            **standard_headers(self.event_id, signed_at, self.body, keys),
        }


def is_standard_signed(
    headers: Mapping[str, str], body: bytes, keys: Iterable[bytes], now: float
) -> bool:
    """Whether the triple is right and its time within five minutes, both ways."""
    lower = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = lower.get("webhook-id", ""), lower.get("webhook-timestamp", "")
    if not message_id or not re.fullmatch(r"[0-9]{1,12}", timestamp, re.ASCII):
        return False
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    expected = [_standard_digest(message_id, timestamp, body, key) for key in keys]
    given = [
        item.removeprefix("v1,")
        for item in lower.get("webhook-signature", "").split(" ")
        if item.startswith("v1,") and item.isascii()
    ]
    matches = [hmac.compare_digest(left, right) for left in given for right in expected]
    return any(matches)


def _standard_digest(message_id: str, timestamp: str, body: bytes, key: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
