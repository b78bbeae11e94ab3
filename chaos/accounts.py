"""What came of a chaos run: every event, every request and every attempt is accounted for."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from chaos.partner import ACCEPT

RECOVERY_SECONDS = 120


class Received(NamedTuple):
    at: float
    slug: str
    event_id: str
    delivery_id: str
    attempt: int
    answer: str


class Attempted(NamedTuple):
    delivery_id: str
    number: int
    response_status: int | None
    problem: str


@dataclass
class Lease:
    """A delivery that somebody claimed and did not finish while anybody alive would have."""

    delivery_id: str
    claimed_at: float
    until: float
    recovered_at: float | None = None


@dataclass
class Run:
    """What was seen and done while it ran. `kills` are moments with what was killed."""

    slugs: list[str]
    events: int
    accepted: dict[str, str] = field(default_factory=dict)
    kills: list[tuple[float, str]] = field(default_factory=list)
    leases: dict[tuple[str, int], Lease] = field(default_factory=dict)
    replayed: int = 0
    posting_seconds: float = 0
    slowest_accept: float = 0
    settled_at: float | None = None

    def kill_of(self, lease: Lease) -> float | None:
        return next((at for at, _what in self.kills if at >= lease.claimed_at - 1), None)


def read_record(path: Path) -> list[Received]:
    return [Received(*json.loads(line)) for line in path.read_text().splitlines()]


@dataclass
class Accounts:
    """The counts, and in `broken` the promises that were not kept."""

    counts: dict[str, Any]
    broken: list[str]

    def __str__(self) -> str:
        lines = [f"  {name:52} {value}" for name, value in self.counts.items()]
        return "\n".join([*lines, *(f"  BROKEN: {promise}" for promise in self.broken)])


def settle(
    run: Run, record: list[Received], attempts: Iterable[Attempted], rows: dict[str, int]
) -> Accounts:
    """`rows` counts the database: events, and deliveries by status."""
    attempted = {(item.delivery_id, item.number): item for item in attempts}
    requests = Counter((item.delivery_id, item.attempt) for item in record)
    again = received_again(record)
    hit = hit_in_flight(run, record)
    reached = {slug: {item.event_id for item in record if item.slug == slug} for slug in run.slugs}
    ids = set(run.accepted.values())
    lost = sum(len(ids - seen) for seen in reached.values())
    unaccounted = [key for key in requests if key not in attempted]
    invented = [
        key
        for key, item in attempted.items()
        if item.response_status is not None and key not in requests
    ]
    repeated = {key: count - 1 for key, count in requests.items() if count > 1}
    recoveries = [
        lease.recovered_at - killed_at
        for lease in run.leases.values()
        if lease.recovered_at is not None and (killed_at := run.kill_of(lease)) is not None
    ]
    left = [
        lease
        for lease in run.leases.values()
        if lease.recovered_at is None or run.kill_of(lease) is None
    ]
    delivered = rows.get("delivered", 0)
    wanted = run.events * len(run.slugs)
    settle_seconds = (
        run.settled_at - max((at for at, _what in run.kills), default=run.settled_at)
        if run.settled_at
        else None
    )
    counts: dict[str, Any] = {
        "events accepted with 202": f"{len(run.accepted)} of {run.events}",
        "posted within (slowest event, with all its repetitions)": (
            f"{seconds(run.posting_seconds)} ({seconds(run.slowest_accept)})"
        ),
        "event rows": rows["events"],
        "deliveries": f"{rows['deliveries']}, delivered {delivered}, expected {wanted}",
        **{f"event ids received by {slug}": len(seen & ids) for slug, seen in reached.items()},
        "lost": lost,
        "disturbances": ", ".join(
            f"{what} {count}x" for what, count in Counter(what for _at, what in run.kills).items()
        ),
        "requests received": f"{len(record)} ({summary(item.answer for item in record)})",
        "attempts recorded": f"{len(attempted)} ({summary(map(kind, attempted.values()))})",
        "requests without a recorded attempt": len(unaccounted),
        "attempts with an answer that no partner gave": len(invented),
        "attempts sent twice under one number": sum(repeated.values()),
        "leases left behind by a kill": len(run.leases),
        "  of them with a request that had reached the partner": len(hit),
        "received again after success (bound: the line above)": sum(again.values()),
        "sent again by hand after five attempts": run.replayed,
        f"slowest recovery of a lease (at most {RECOVERY_SECONDS} s)": seconds(
            max(recoveries, default=None)
        ),
        "settled after the last disturbance": seconds(settle_seconds),
    }
    promises = {
        "every event was accepted": len(run.accepted) == run.events == rows["events"],
        "every delivery was delivered": delivered == rows["deliveries"] == wanted,
        "nothing was lost": lost == 0,
        "every request has its attempt": not unaccounted,
        "every answered attempt had its request": not invented,
        "only kills repeat a number": {delivery for delivery, _number in repeated} <= hit.keys(),
        "only kills repeat a success": again.keys() <= hit.keys()
        and sum(again.values()) <= sum(hit.values()),
        "only kills leave leases behind": not left,
        "leases are recovered in time": max(recoveries, default=0) <= RECOVERY_SECONDS,
    }
    return Accounts(counts, [promise for promise, is_kept in promises.items() if not is_kept])


def received_again(record: list[Received]) -> Counter[str]:
    """Delivery to the number of requests after the first one that its partner accepted."""
    again: Counter[str] = Counter()
    accepted = set()
    for item in record:
        if item.delivery_id in accepted:
            again[item.delivery_id] += 1
        elif item.answer == ACCEPT:
            accepted.add(item.delivery_id)
    return again


def hit_in_flight(run: Run, record: list[Received]) -> Counter[str]:
    """Delivery to the number of its left leases under which a request had reached the partner."""
    received_at: defaultdict[str, list[float]] = defaultdict(list)
    for item in record:
        received_at[item.delivery_id].append(item.at)
    hit: Counter[str] = Counter()
    for lease in run.leases.values():
        if any(lease.claimed_at <= at < lease.until for at in received_at[lease.delivery_id]):
            hit[lease.delivery_id] += 1
    return hit


def kind(attempt: Attempted) -> str:
    return attempt.problem or "delivered"


def summary(kinds: Iterable[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in Counter(kinds).most_common())


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
