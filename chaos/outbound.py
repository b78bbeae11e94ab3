"""Events out: posted by the POS, delivered to partners that misbehave, while everything is killed.

The ladder, which takes 81 minutes, is shortened by moving what the database says is due later.
"""

import contextlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import requests

from chaos.accounts import Accounts, Attempted, Lease, Run, read_record, settle
from chaos.rig import SLUGS, Rig

DISTURBANCES = ["worker", "beat", "redis", "other worker", "flushall", "postgres", "everything"]
POSTERS = 6
DISTURBED_EVERY_SECONDS = 3.0
EVENTS_PER_CYCLE = 2000
EVENTS_PER_SECOND = 70
# By then whoever is alive has written what came of an attempt.
LEFT_BEHIND_AFTER_SECONDS = 20
MOVE_THE_CLOCK = (
    "UPDATE delivery SET next_attempt_at = now()"
    " WHERE status = 'pending' AND lease_until IS NULL AND next_attempt_at > now()"
)
ASK_AGAIN = "UPDATE delivery_endpoint SET probe_at = now() WHERE probe_at > now()"
LEFT_BEHIND = (
    "SELECT id::text, fencing_token, extract(epoch FROM lease_until)::float FROM delivery"
    " WHERE status = 'pending' AND lease_until < now() + make_interval(secs => %s)"
)


def carry_out(it: Rig, events: int, seconds: float, kinds: Sequence[str]) -> Accounts:
    done = Run(SLUGS, events)
    until = time.monotonic() + seconds
    acts = [
        threading.Thread(target=post_events, args=(it, done, until)),
        threading.Thread(target=watch, args=(it, done, until)),
    ]
    for act in acts:
        act.start()
    disturb(it, done, kinds or DISTURBANCES)
    for act in acts:
        act.join()
    return account(it, done)


def post_json(it: Rig, path: str, body: dict[str, Any] | None = None) -> requests.Response:
    token = it.seed["token"]
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{it.url}/{path}", json=body, headers=headers, timeout=10)


def post_events(it: Rig, run: Run, until: float) -> None:
    """Each with a key of its own and until it is accepted, as the POS does it."""
    started_at = time.monotonic()

    def post(number: int) -> None:
        time.sleep(max(started_at + number / EVENTS_PER_SECOND - time.monotonic(), 0))
        key = f"order-{number}"
        event = {"type": "order.paid", "idempotency_key": key, "data": {"order_id": key}}
        first_at = time.monotonic()
        while time.monotonic() < until:
            with contextlib.suppress(requests.RequestException):
                reply = post_json(it, "events", event)
                if reply.status_code == 202:
                    run.accepted[key] = reply.json()["id"]
                    run.slowest_accept = max(run.slowest_accept, time.monotonic() - first_at)
                    return
            time.sleep(0.2)

    with ThreadPoolExecutor(POSTERS) as threads:
        list(threads.map(post, range(run.events)))
    run.posting_seconds = time.monotonic() - started_at


def watch(it: Rig, run: Run, until: float) -> None:
    """Once a second: move the clock, look for leases nobody serves, send the dead again."""
    while time.monotonic() < until:
        with contextlib.suppress(psycopg.Error, requests.RequestException):
            it.query(MOVE_THE_CLOCK)
            it.query(ASK_AGAIN)
            note_leases(it, run)
            replay_dead(it, run)
            if len(run.accepted) == run.events and not unsettled(it):
                run.settled_at = time.time()
                return
        time.sleep(1)


def note_leases(it: Rig, run: Run) -> None:
    lease_seconds = it.seed["lease_seconds"]
    left = {
        (delivery, token): Lease(delivery, until - lease_seconds, until)
        for delivery, token, until in it.query(
            LEFT_BEHIND, [lease_seconds - LEFT_BEHIND_AFTER_SECONDS]
        )
    }
    for key, lease in run.leases.items():
        if key not in left and lease.recovered_at is None:
            lease.recovered_at = time.time()
    for key, lease in left.items():
        run.leases.setdefault(key, lease)


def replay_dead(it: Rig, run: Run) -> None:
    for (delivery,) in it.query("SELECT id::text FROM delivery WHERE status = 'dead'"):
        run.replayed += post_json(it, f"deliveries/{delivery}/replay").status_code == 202


def unsettled(it: Rig) -> bool:
    return bool(it.query("SELECT 1 FROM delivery WHERE status <> 'delivered' LIMIT 1"))


def disturb(it: Rig, run: Run, kinds: Sequence[str]) -> None:
    """Each kind in turn, while events are posted."""
    for what in list(kinds) * max(1, run.events // EVENTS_PER_CYCLE):
        time.sleep(DISTURBED_EVERY_SECONDS)
        run.kills.append((time.time(), what))
        it.disturb(what)


def account(it: Rig, run: Run) -> Accounts:
    attempts = it.query(
        "SELECT delivery_id::text, number, response_status, problem FROM delivery_attempt"
    )
    rows = dict(it.query("SELECT status, count(*) FROM delivery GROUP BY status"))
    rows["deliveries"] = sum(rows.values())
    rows["events"] = it.query("SELECT count(*) FROM event")[0][0]
    return settle(run, read_record(it.record), [Attempted(*row) for row in attempts], rows)
