"""A guest at a table: pays the open check that a code of the sandbox stands for.

The partner asks the hub what is due, locks it, and reports the money, each call signed with the key of
its webhooks.
"""

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog import strict_json
from dispatch.sandbox.callbacks import DidNotAnswerError, post
from dispatch.sandbox.generic import Keys
from dispatch.sandbox.messages import now, rfc3339
from dispatch.signing import standard_headers

MOST_CHECKS = 1_000
LOCK_SECONDS = 60


@dataclass(slots=True)
class Check:
    """A check that a code was given for. `problem` is why the hub did not take the money."""

    slug: str
    check_id: str
    merchant_id: str
    location_id: str | None
    total_cents: int
    paid_cents: int = 0
    problem: str = ""


class RefusedByHubError(Exception):
    """The hub's own code, or that it did not answer."""


class Tables:
    def __init__(self, hub: str, keys: Keys) -> None:
        self._hub = hub
        self._keys = keys
        self._lock = threading.Lock()
        self._checks: OrderedDict[tuple[str, str], Check] = OrderedDict()

    def heard_of(self, slug: str, envelope: Mapping[str, Any]) -> None:
        """A code was asked for; whatever of it can't be paid is left out."""
        merchant, outlet = envelope.get("merchant") or {}, envelope.get("outlet") or {}
        data = envelope.get("data") or {}
        check = data.get("check") or {}
        named = merchant.get("id"), check.get("id"), check.get("total_cents")
        if not isinstance(named[0], str) or not isinstance(named[1], str):
            return
        total = named[2] if isinstance(named[2], int) else 0
        row = Check(slug, named[1], named[0], outlet.get("id"), total)
        with self._lock:
            self._checks.setdefault((slug, row.check_id), row)
            if len(self._checks) > MOST_CHECKS:
                self._checks.popitem(last=False)

    def find(self, slug: str, check_id: str) -> Check | None:
        with self._lock:
            return self._checks.get((slug, check_id))

    def pay(self, check: Check) -> None:
        """All that is due, as one guest does who pays for the table."""
        payment_id = f"table-{uuid.uuid4().hex[:12]}"
        try:
            due = self._asked(check, "check.get", {"check_id": check.check_id})["due_cents"]
            if not due:
                return
            start = {
                "check_id": check.check_id,
                "payment_id": payment_id,
                "amount_cents": due,
                "ttl_s": LOCK_SECONDS,
            }
            lock_id = self._asked(check, "payment.start", start)["lock_id"]
            paid = {
                "lock_id": lock_id,
                "payment_id": payment_id,
                "amount_cents": due,
                "method": "qris",
                "provider_ref": f"sandbox-{payment_id}",
                "paid_at": rfc3339(now()),
            }
            self._asked(check, "payment.apply", paid)
        except RefusedByHubError as error:
            check.problem = str(error)
        else:
            check.problem, check.paid_cents = "", check.paid_cents + due

    def _asked(self, check: Check, operation: str, data: dict[str, Any]) -> dict[str, Any]:
        document = {
            "operation": operation,
            "merchant_id": check.merchant_id,
            "location_id": check.location_id,
            "data": data,
        }
        body, message_id = strict_json.dumps(document), f"msg_{uuid.uuid4().hex}"
        keys = self._keys(check.slug)[:1]
        signed = standard_headers(message_id, int(time.time()), body, keys)
        url = f"{self._hub}/v1/integrations/{check.slug}/pay_at_table/{operation}"
        try:
            status, text = post(url, body, signed)
        except DidNotAnswerError as error:
            raise RefusedByHubError(str(error)) from None
        answer: dict[str, Any] = strict_json.loads(text.encode())
        if status != 200:
            raise RefusedByHubError(answer.get("error", {}).get("code", str(status)))
        told: dict[str, Any] = answer["data"]
        return told
