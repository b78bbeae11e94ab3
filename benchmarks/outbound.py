"""How fast, how evenly and at what cost events are delivered: `python -m benchmarks.outbound [PART...]`.

`make bench NAME=outbound` does it on a PostgreSQL of its own. Each part prints its figures with the
goal in brackets. Partners are one cheap process (`benchmarks.sink`); everything else is what runs in
production: the engine in processes of its own, web workers, Celery workers. The parts:

instant     the engine in one process beside a bare loop and beside one Celery task per delivery in
            two worker processes, with partners that answer at once
50ms        the same with partners that take 50 ms
mixed       the same, but 2 % go to a partner that never answers, with a timeout of 2 s
slow        one process of the engine and a partner that takes 200 ms
latency     from the accepted event (202 read) to the received request, 200 events a second
hanging     the same for one partner while another one never answers
rate        10,000 due at once at an endpoint that takes 200 a second, two processes of the engine
claim       what claiming costs beside 1,000 and beside 1,000,000 rows that are not due
"""

import argparse
import asyncio
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
import psycopg
from django.test.utils import setup_databases, teardown_databases

from benchmarks.bare_loop import INDEX
from benchmarks.per_delivery import deliver
from benchmarks.rig import (
    DATA,
    Bench,
    copy_of,
    cpu_seconds,
    execute,
    fetch,
    hub,
    rig,
    wait_for_worker,
)
from tests.factories import make_token
from tests.stack import Program
from webhooks.models import Delivery

ROUNDS = 3


@dataclass
class Speed:
    per_second: list[float] = field(default_factory=list)
    cpu_per_1000: list[float] = field(default_factory=list)

    def add(self, done: dict[str, Any]) -> None:
        self.per_second.append(done["result"] / done["seconds"])
        self.cpu_per_1000.append(done["cpu_seconds"] / done["result"] * 1000)

    @property
    def rate(self) -> float:
        return statistics.median(self.per_second)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpu_per_1000)


CASES: dict[str, tuple[list[str], list[int], float]] = {
    "instant": (["/0"] * 4, [1] * 4, 0.8),
    "50ms": (["/50"] * 4, [1] * 4, 0.8),
    "mixed": (["/50"] * 4 + ["/hang"], [49] * 4 + [4], 0.7),
}
MANY, FEW = 8000, 300


def throughput(case: str, bench: Bench) -> None:
    paths, shares, goal = CASES[case]
    speeds = {variant: Speed() for variant in ("bare loop", "engine", "task each")}
    command = ["celery", "-A", "benchmarks.per_delivery", "worker", "--pool", "prefork", "-c", "2"]
    with (
        bench.child("bare") as bare,
        bench.child("product") as engine,
        bench.program(*command) as worker,
    ):
        wait_for_worker()
        for _ in range(ROUNDS):
            bench.point(*paths)
            execute(f"CREATE INDEX {INDEX} ON delivery (next_attempt_at) WHERE status = 'pending'")
            bench.make_due(MANY, shares)
            speeds["bare loop"].add(bare.run())
            execute(f"DROP INDEX {INDEX}")
            bench.point(*paths)
            bench.make_due(MANY, shares)
            speeds["engine"].add(engine.run())
            bench.point(*paths)
            bench.make_due(FEW, shares)
            speeds["task each"].add(run_tasks(bench, worker))
    report_speeds(case, speeds, goal)


def run_tasks(bench: Bench, worker: Program) -> dict[str, Any]:
    rows = Delivery.objects.order_by("next_attempt_at")
    ids = [str(pk) for pk in rows.values_list("pk", flat=True)]
    started_at, cpu = time.monotonic(), cpu_seconds(worker.pid)
    for pk in ids:
        deliver.delay(pk)
    while bench.attempts() < len(ids):
        time.sleep(0.02)
    return {
        "result": len(ids),
        "seconds": time.monotonic() - started_at,
        "cpu_seconds": cpu_seconds(worker.pid) - cpu,
    }


def report_speeds(name: str, speeds: dict[str, Speed], goal: float) -> None:
    print(f"{name}: deliveries a second, processor seconds per 1,000; medians of {ROUNDS} rounds")
    for variant, speed in speeds.items():
        print(f"  {variant:14} {speed.rate:8.0f} {speed.cpu:8.2f}")
    bare, product, task = speeds["bare loop"], speeds["engine"], speeds["task each"]
    print(f"  of the bare loop:            {product.rate / bare.rate:.2f} (goal: at least {goal})")
    if name != "mixed":
        print(f"  of a task per delivery:      {product.rate / task.rate:.1f} (goal: at least 10)")
        print(f"  of its processor time:       {product.cpu / task.cpu:.3f} (goal: at most 0.1)")
    sys.stdout.flush()


def slow(bench: Bench) -> None:
    rates = []
    with bench.child("product") as product:
        for _ in range(ROUNDS):
            bench.point("/200")
            bench.make_due(MANY, [1])
            done = product.run()
            rates.append(done["result"] / done["seconds"])
    rate = statistics.median(rates)
    print(f"a 200 ms partner, one process: {rate:.0f} deliveries a second (goal: at least 1000)")


async def post_events(url: str, token: str, per_second: int, seconds: int) -> dict[str, float]:
    """Event id to the monotonic second at which its 202 was read."""
    accepted: dict[str, float] = {}
    started_at = time.monotonic()

    async def post(number: int, session: aiohttp.ClientSession) -> None:
        await asyncio.sleep(started_at + number / per_second - time.monotonic())
        async with session.post(url, json={"type": "order.paid", "data": DATA}) as reply:
            assert reply.status == 202, await reply.text()
            accepted[(await reply.json())["id"]] = time.monotonic()

    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(post(number, session) for number in range(per_second * seconds)))
    return accepted


@dataclass
class Waits:
    """Milliseconds from the 202 to the request at the first endpoint, one per event."""

    milliseconds: list[float]
    accepted_per_second: float

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.milliseconds, n=20)[18]

    def __str__(self) -> str:
        return (
            f"p50 {statistics.median(self.milliseconds):.0f} ms, p95 {self.p95:.0f} ms"
            f" ({self.accepted_per_second:.0f} a second were accepted)"
        )


def waits(bench: Bench, url: str, per_second: int, seconds: int) -> Waits:
    token = make_token(bench.merchant)
    asyncio.run(post_events(url, token, per_second, 3))
    time.sleep(1)
    bench.received()
    accepted = asyncio.run(post_events(url, token, per_second, seconds))
    wait_for_deliveries()
    first = {event: at for at, event, path in bench.received() if path.endswith("/0")}
    missing = accepted.keys() - first.keys()
    assert not missing, f"{len(missing)} of {len(accepted)} have not arrived"
    return Waits(
        [(first[event] - at) * 1000 for event, at in accepted.items()],
        len(accepted) / (max(accepted.values()) - min(accepted.values())),
    )


def wait_for_deliveries() -> None:
    """Of the first endpoint; those that hang may go on."""
    while fetch(
        "SELECT 1 FROM delivery WHERE status = 'pending' AND integration_id = ("
        "SELECT id FROM integration WHERE slug = 'bench-0') LIMIT 1"
    ):
        time.sleep(0.2)


def latency(bench: Bench) -> None:
    """Also at a rate that leaves processors free, to tell waiting from working."""
    bench.point("/0")
    with hub(bench) as url:
        for per_second in (50, 200):
            found = waits(bench, url, per_second, 10)
            print(f"accepted to received, {per_second} a second: {found} (goal: p95 below 100 ms)")


def hanging(bench: Bench) -> None:
    found = {}
    for name, other in {"quick": "/50", "hanging": "/hang"}.items():
        bench.point("/50", other)
        with hub(bench) as url:
            found[name] = waits(bench, url, 50, 15)
        print(f"accepted to received, 50 a second, beside a {name} partner: {found[name]}")
    ratio = found["hanging"].p95 / found["quick"].p95
    print(f"  p95 is {ratio:.2f} times as long beside the hanging one (goal: at most 2)")


def rate(bench: Bench) -> None:
    count, most = 10_000, 200
    bench.point("/0", outbound_rate_per_second=most)
    bench.make_due(count, [1])
    bench.received()
    with bench.child("product") as one, bench.child("product") as other:
        one.start()
        other.start()
        one.wait()
        other.wait()
    times = sorted(at for at, _event, _path in bench.received())
    assert len(times) == count
    busiest = max(in_window(times, 1.0))
    print(
        f"{count} due at once, at most {most} a second: {count / (times[-1] - times[0]):.1f} a second, "
        f"{busiest} in the busiest second (goal: at most {most})"
    )


def in_window(times: Sequence[float], seconds: float) -> Iterator[int]:
    """For each moment how many lie in the window that ends there."""
    first = 0
    for last, at in enumerate(times):
        while times[first] <= at - seconds:
            first += 1
        yield last - first + 1


def claim(bench: Bench) -> None:
    """Two databases that differ in nothing but the rows that are not due; rounds take turns."""
    few, many = 1_000, 1_000_000
    bench.point(*["/0"] * 4)
    bench.make_due(ROUNDS * 2500, [1] * 4)
    url = bench.env["DATABASE_URL"]
    times: dict[int, list[float]] = {few: [], many: []}
    with (
        copy_of(url) as other,
        bench.child("claims") as one,
        bench.child("claims", DATABASE_URL=other) as two,
    ):
        add_future_rows(url, few)
        add_future_rows(other, many)
        for _ in range(ROUNDS):
            times[few] += one.run()["result"]
            times[many] += two.run()["result"]
    costs = {count: statistics.median(found) for count, found in times.items()}
    for count, cost in costs.items():
        print(f"claiming 100 beside {count} rows that are not due: {cost:.2f} ms")
    print(f"  that is {costs[many] / costs[few]:.2f} times as much (goal: at most 1.5)")


def add_future_rows(url: str, count: int) -> None:
    columns = [str(item.column) for item in Delivery._meta.concrete_fields]
    own = {
        "id": "gen_random_uuid()",
        "install_id": "gen_random_uuid()",
        "next_attempt_at": "now() + interval '1 hour' + number * interval '1 ms'",
    }
    # A few of each endpoint's rows stand model for the many.
    statement = f"""
        INSERT INTO delivery ({", ".join(columns)})
        SELECT {", ".join(own.get(name, name) for name in columns)}
        FROM (SELECT * FROM delivery LIMIT 100) AS model, generate_series(1, {count // 100}) AS number
    """
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(statement.encode())
        database.execute("VACUUM ANALYZE")


PARTS: dict[str, Callable[[Bench], None]] = {
    **{case: partial(throughput, case) for case in CASES},
    "slow": slow,
    "latency": latency,
    "hanging": hanging,
    "rate": rate,
    "claim": claim,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outbound", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    chosen = parser.parse_args().parts or list(PARTS)
    with rig() as bench:
        for part in chosen:
            PARTS[part](bench)


if __name__ == "__main__":
    # Ends what was started on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    config = setup_databases(verbosity=0, interactive=False)
    try:
        main()
    finally:
        teardown_databases(config, verbosity=0)
