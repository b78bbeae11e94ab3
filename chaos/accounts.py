"""What came of a run of deliveries: every event, every request and every attempt is accounted for."""

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
    run: Run, record: list[Received], attempts: list[Attempted], rows: dict[str, int]
) -> Accounts:
    """`rows` counts the database: events, deliveries, and deliveries by status."""
    counts: dict[str, Any] = {}
    promises: dict[str, bool] = {}
    for account in (
        of_events(run, record, rows),
        of_attempts(record, attempts),
        of_kills(run, record),
    ):
        counts |= account[0]
        promises |= account[1]
    return Accounts(counts, promises_broken(promises))


def promises_broken(promises: dict[str, bool]) -> list[str]:
    return [promise for promise, is_kept in promises.items() if not is_kept]


# The counts, and each promise with whether it was kept.
Account = tuple[dict[str, Any], dict[str, bool]]


def of_events(run: Run, record: list[Received], rows: dict[str, int]) -> Account:
    ids = set(run.accepted.values())
    reached = {slug: {item.event_id for item in record if item.slug == slug} for slug in run.slugs}
    lost = sum(len(ids - seen) for seen in reached.values())
    wanted, delivered = run.events * len(run.slugs), rows.get("delivered", 0)
    posted = f"{seconds(run.posting_seconds)}, the slowest {seconds(run.slowest_accept)}"
    counts = {
        "events accepted with 202": f"{len(run.accepted)} of {run.events}",
        "accepted within, repetitions included": posted,
        "event rows": rows["events"],
        "deliveries": f"{rows['deliveries']}, delivered {delivered}",
        **{f"event ids received by {slug}": len(seen & ids) for slug, seen in reached.items()},
        "lost": lost,
        "sent again by hand after five attempts": run.replayed,
    }
    promises = {
        "every event was accepted": len(run.accepted) == run.events == rows["events"],
        "every delivery was delivered": delivered == rows["deliveries"] == wanted,
        "nothing was lost": lost == 0,
    }
    return counts, promises


def of_attempts(record: list[Received], attempts: list[Attempted]) -> Account:
    requests = {(item.delivery_id, item.attempt) for item in record}
    recorded = {(item.delivery_id, item.number) for item in attempts}
    answered = {
        (item.delivery_id, item.number) for item in attempts if item.response_status is not None
    }
    repeated = len(record) - len(requests)
    counts = {
        "requests received": f"{len(record)} ({summary(item.answer for item in record)})",
        "attempts recorded": f"{len(attempts)} ({summary(map(kind, attempts))})",
        "requests without a recorded attempt": len(requests - recorded),
        "recorded answers that no partner gave": len(answered - requests),
        "requests that repeat the number of another": repeated,
    }
    promises = {
        "every request has its attempt": requests <= recorded,
        "every answer was given": answered <= requests,
        "no two requests are one attempt": repeated == 0,
    }
    return counts, promises


def of_kills(run: Run, record: list[Received]) -> Account:
    hit, again = hit_in_flight(run, record), accepted_again(record)
    kills = [(run.kill_of(lease), lease.recovered_at) for lease in run.leases.values()]
    recoveries = [back - at for at, back in kills if at is not None and back is not None]
    slowest = max(recoveries, default=0.0)
    settled = run.settled_at - run.kills[-1][0] if run.settled_at and run.kills else None
    counts = {
        "disturbances": summary(what for _at, what in run.kills),
        "leases left behind by them": len(run.leases),
        "of these with a request that had reached the partner": sum(hit.values()),
        "accepted again by a partner": f"{sum(again.values())} (bound: the line above)",
        "slowest recovery of a lease": f"{seconds(slowest)} (at most {RECOVERY_SECONDS} s)",
        "settled after the last disturbance": seconds(settled),
    }
    promises = {
        "only kills repeat a success": all(again[key] <= hit[key] for key in again),
        "only kills leave leases behind": len(recoveries) == len(run.leases),
        "leases are recovered in time": slowest <= RECOVERY_SECONDS,
    }
    return counts, promises


def accepted_again(record: list[Received]) -> Counter[str]:
    """Delivery to how often its partner accepted it after the first time."""
    accepted = Counter(item.delivery_id for item in record if item.answer == ACCEPT)
    return accepted - Counter(accepted.keys())


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
    return ", ".join(f"{count} {name}" for name, count in Counter(kinds).most_common())


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
