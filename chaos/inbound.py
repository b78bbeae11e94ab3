"""Events in: posted by partners until they are acknowledged, while everything is killed.

Acknowledged is what a partner was answered 2xx for, rows are in the ledger, effects are entries of the
audit log: each must be there exactly once. An acknowledged event is sent again now and then.
"""

import contextlib
import hashlib
import hmac
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg
import requests

from chaos.accounts import Account, Accounts, promises_broken, seconds, summary
from chaos.rig import Rig

DISTURBANCES = [
    *("web", "worker", "a web process", "redis", "other worker", "flushall"),
    *("a web process", "beat", "web", "postgres", "everything"),
]
SENDERS = 8
EVENTS_PER_SECOND = 80
SENT_AGAIN_EVERY = 10
DISTURBED_EVERY_SECONDS = 3.0
SETTLED_WITHIN_SECONDS = 300
# Retries of what failed for want of a server are an hour's ladder, which is not what is tried here.
MOVE_THE_CLOCK = (
    "UPDATE inbound_event SET due_at = now() WHERE status = 'received' AND due_at > now()"
)
ROWS = "SELECT provider_event_id, id::text, status FROM inbound_event"
EFFECTS = "SELECT data->>'event_id' FROM audit_entry WHERE action = 'bill.settled'"


@dataclass
class Posted:
    """What was seen and done while it ran. `told` is event id to the ledger ids it was answered."""

    events: int
    told: dict[str, list[str]] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    disturbances: list[tuple[float, str]] = field(default_factory=list)
    posting_seconds: float = 0
    slowest: float = 0
    settled_at: float | None = None


def carry_out(it: Rig, events: int, seconds: float, kinds: Sequence[str]) -> Accounts:
    done = Posted(events)
    until = time.monotonic() + seconds
    posting = threading.Thread(target=post_events, args=(it, done, until))
    posting.start()
    disturb(it, done, kinds or DISTURBANCES, posting)
    posting.join()
    wait_until_settled(it, done, until)
    return account(it, done)


def post_events(it: Rig, done: Posted, until: float) -> None:
    started_at = time.monotonic()

    def post(number: int) -> None:
        time.sleep(max(started_at + number / EVENTS_PER_SECOND - time.monotonic(), 0))
        first_at = time.monotonic()
        if post_until_acknowledged(it, done, number, until):
            done.slowest = max(done.slowest, time.monotonic() - first_at)
            if number % SENT_AGAIN_EVERY == 0:
                reply = post_until_acknowledged(it, done, number, until)
                done.again[reply.get("status", "nothing")] += 1

    with ThreadPoolExecutor(SENDERS) as threads:
        list(threads.map(post, range(done.events)))
    done.posting_seconds = time.monotonic() - started_at


def post_until_acknowledged(it: Rig, done: Posted, number: int, until: float) -> dict[str, Any]:
    key = f"bill-{number}"
    while time.monotonic() < until:
        try:
            reply = post_event(it, number, key)
        except requests.RequestException as error:
            done.answers[type(error).__name__] += 1
        else:
            done.answers[str(reply.status_code)] += 1
            if reply.ok:
                told: dict[str, Any] = reply.json()
                done.told.setdefault(key, []).append(told["id"])
                return told
        time.sleep(0.2)
    return {}


def post_event(it: Rig, number: int, key: str) -> requests.Response:
    keys: dict[str, str] = it.seed["inbound_keys"]
    slug = sorted(keys)[number % len(keys)]
    body = json.dumps(
        {
            "event_id": key,
            "type": "bill.settled",
            "merchant_id": it.seed["merchant_id"],
            "data": {"bill_token": key, "amount": number},
        }
    ).encode()
    signature = hmac.new(bytes.fromhex(keys[slug]), body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", f"X-{slug}-Signature": signature}
    url = f"{it.url}/integrations/{slug}/webhook"
    return requests.post(url, data=body, headers=headers, timeout=10)


def disturb(it: Rig, done: Posted, kinds: Sequence[str], posting: threading.Thread) -> None:
    """Each kind in turn, for as long as events are posted; between two the hub comes up again."""
    for what in itertools.cycle(kinds):
        posting.join(DISTURBED_EVERY_SECONDS)
        while posting.is_alive() and not it.answers():
            posting.join(0.5)
        if not posting.is_alive():
            return
        done.disturbances.append((time.time(), what))
        it.disturb(what)


def wait_until_settled(it: Rig, done: Posted, until: float) -> None:
    while time.monotonic() < until:
        with contextlib.suppress(psycopg.Error):
            it.query(MOVE_THE_CLOCK)
            if not it.query("SELECT 1 FROM inbound_event WHERE status = 'received' LIMIT 1"):
                done.settled_at = time.time()
                return
        time.sleep(1)


def account(it: Rig, done: Posted) -> Accounts:
    rows = [tuple(row) for row in it.query(ROWS)]
    effects = Counter(event_id for (event_id,) in it.query(EFFECTS))
    counts: dict[str, Any] = {}
    promises: dict[str, bool] = {}
    for part in of_events(done, rows, effects), of_answers(done), of_kills(it, done):
        counts |= part[0]
        promises |= part[1]
    return Accounts(counts, promises_broken(promises))


def of_events(done: Posted, rows: list[Any], effects: Counter[str]) -> Account:
    row_ids = {event_id: {number} for event_id, number, _status in rows}
    counts = {
        "events acknowledged": f"{len(done.told)} of {done.events}",
        "rows": f"{len(rows)} ({summary(status for *_rest, status in rows)})",
        "effects": f"{effects.total()} of {len(effects)} events",
        "lost": len(done.told.keys() - effects.keys()),
        "doubled": sum((effects - Counter(effects.keys())).values()),
    }
    promises = {
        "every event was acknowledged": len(done.told) == done.events,
        "rows are what was acknowledged": row_ids.keys() == done.told.keys(),
        "there is one row for each event": len(rows) == len(row_ids),
        "each has exactly one effect": effects == Counter(done.told.keys()),
        "repetitions are told the same number": all(
            set(told) == row_ids.get(event_id) for event_id, told in done.told.items()
        ),
    }
    return counts, promises


def of_answers(done: Posted) -> Account:
    """A good event is never refused: what goes wrong is said so that it is sent again."""
    refused = sum(count for status, count in done.answers.items() if status.startswith("4"))
    counts = {
        "posts by their answers": summary(done.answers.elements()),
        "sent again after they were acknowledged": summary(done.again.elements()),
        "posted within": f"{seconds(done.posting_seconds)}, the slowest {seconds(done.slowest)}",
    }
    promises = {
        "no good event was refused": refused == 0,
        "what is sent again is known": done.again.keys() <= {"duplicate"},
    }
    return counts, promises


def of_kills(it: Rig, done: Posted) -> Account:
    last_at = done.disturbances[-1][0] if done.disturbances else None
    settled = done.settled_at - last_at if done.settled_at and last_at else None
    counts = {
        "disturbances": summary(what for _at, what in done.disturbances),
        "processes killed with SIGKILL": it.killed,
        "settled after the last disturbance": seconds(settled),
    }
    is_settled = done.settled_at is not None and (settled or 0) <= SETTLED_WITHIN_SECONDS
    return counts, {"everything was settled in time": is_settled}
