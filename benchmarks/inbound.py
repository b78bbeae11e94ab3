"""How fast signed webhooks are taken: `python -m benchmarks.inbound [PART...]`.

`make bench NAME=inbound` does it on a PostgreSQL of its own, with synchronous commit on. Every variant
is served in the same way, by two processes that see the same kind of posts, each with an id of its own;
one after the other has the machine to itself, in short rounds, and medians are printed. A ratio is the
median of those of the rounds, as what is measured in one round is measured on the same machine, whose
speed may be another one a minute later. Workers are not running: what is accepted is worked on later.
The parts:

speed       the product, a bare WSGI app that checks the signature and inserts, and a DRF view with the
            whole middleware and get_or_create; 8 connections
latency     the product and the bare app at 32 connections
full        the product with --rows rows in the ledger beside the product with an empty one
"""

import argparse
import contextlib
import itertools
import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from django.test.utils import setup_databases, teardown_databases

from benchmarks.rig import Bench, copy_of, cpu_seconds, execute, rig
from installs.credentials import ensure_secrets
from tests import stack
from tests.factories import make_install, make_integration, make_merchant
from tests.stack import Program

T = TypeVar("T")

MERCHANTS = 20
CAPABILITY = "payment_webhook_inbound"
VARIANTS = {
    "product": "poszhub.wsgi:application",
    "bare": "benchmarks.bare_inbound:app",
    "default": "benchmarks.default_wsgi:application",
}
# With so many threads three variants stay within the 100 connections of PostgreSQL.
SERVERS = {
    "gunicorn": [
        *("gunicorn", "-c", "poszhub/gunicorn_conf.py", "--bind", "127.0.0.1:{port}"),
        *("--workers", "2", "--threads", "15"),
    ],
    "granian": [
        *("granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}"),
        *("--workers", "2", "--blocking-threads", "15", "--backpressure", "1024"),
        *("--no-ws", "--log-level", "warning"),
    ],
}


@dataclass
class Served:
    port: int
    program: Program
    per_second: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.per_second)

    def of(self, other: "Served") -> float:
        """How much of the other's rate, in the rounds that they shared."""
        pairs = zip(self.per_second, other.per_second, strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)

    def __str__(self) -> str:
        low, high = min(self.per_second), max(self.per_second)
        cpu = statistics.median(self.cpu_us)
        return f"{self.rate:7.0f} a second ({low:.0f}-{high:.0f}), {cpu:.0f} us of processor each"


@dataclass
class Door:
    """The partner that posts, and what the variants have to know of it."""

    bench: Bench
    seconds: float
    rounds: int
    server: str = ""
    merchants: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        row = make_integration(
            "bench", capabilities={CAPABILITY: 1}, inbound_events={"bill.settled": CAPABILITY}
        )
        installs = [make_install(make_merchant(), row) for _ in range(MERCHANTS)]
        self.merchants = [str(install.merchant_id) for install in installs]
        self.env = {
            "BENCH_KEY": ensure_secrets(row)["inbound"],
            "BENCH_INTEGRATION": str(row.pk),
            "BENCH_INSTALLS": json.dumps({str(i.merchant_id): str(i.pk) for i in installs}),
            "INBOUND_RATE_PER_MINUTE": "1000000000",
            "INBOUND_INTEGRATION_RATE_PER_MINUTE": "1000000000",
        }

    @contextlib.contextmanager
    def served(self, variant: str, **env: str) -> Iterator[Served]:
        [port] = stack.free_ports(1)
        if variant == "default":
            env["DJANGO_SETTINGS_MODULE"] = "benchmarks.default_settings"
        command = [word.format(port=port) for word in SERVERS[self.server]]
        with self.bench.program(*command, VARIANTS[variant], **self.env, **env) as program:
            assert program.process is not None
            stack.wait_for_port(port, program.process, 30)
            # The processes load their code, then each thread opens its connection.
            while not self.post(port, 32, 1)["per_second"]:
                pass
            self.post(port, 32, 1)
            yield Served(port, program)

    def measure(self, served: Served) -> None:
        cpu = cpu_seconds(served.program.pid)
        result = self.post(served.port, 8)
        cpu = cpu_seconds(served.program.pid) - cpu
        served.per_second.append(result["per_second"])
        served.cpu_us.append(cpu / (result["per_second"] * self.seconds) * 1e6)

    def post(self, port: int, connections: int, seconds: float = 0) -> dict[str, Any]:
        numbers = map(str, (port, connections, seconds or self.seconds))
        command = [sys.executable, "-m", "benchmarks.posts", *numbers, *self.merchants]
        done = subprocess.run(
            command, env=self.bench.env | self.env, stdout=subprocess.PIPE, check=True
        )
        result: dict[str, Any] = json.loads(done.stdout)
        assert not result["other"], result
        return result


def speed(door: Door, _rows: int) -> None:
    with contextlib.ExitStack() as running:
        doors = {name: running.enter_context(door.served(name)) for name in VARIANTS}
        for number in range(door.rounds):
            for served in in_turn(list(doors.values()), number):
                empty()
                door.measure(served)
    for variant, served in doors.items():
        print(f"  {variant:8} {served}")
    of_bare = doors["product"].of(doors["bare"])
    of_default = doors["product"].of(doors["default"])
    print(f"  of the bare app {of_bare:.2f} (goal: at least 0.75)")
    print(f"  of the default view {of_default:.1f} times (goal: at least 5)")


def latency(door: Door, _rows: int) -> None:
    """The bare app tells how much of it is the machine's."""
    found: dict[str, list[dict[str, Any]]] = {"product": [], "bare": []}
    with contextlib.ExitStack() as running:
        doors = {name: running.enter_context(door.served(name)) for name in found}
        for number in range(door.rounds):
            for name, served in in_turn(list(doors.items()), number):
                empty()
                found[name].append(door.post(served.port, 32))
    for name, results in found.items():
        p50, p99, rate = (
            statistics.median(item[key] for item in results) for key in ("p50", "p99", "per_second")
        )
        print(f"  {name:8} 32 connections: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {rate:.0f} a second")
    print("  (goal of the product: p99 below 50 ms)")


def full(door: Door, rows: int) -> None:
    empty()
    with copy_of(door.bench.env["DATABASE_URL"]) as other:
        fill(other, rows)
        with door.served("product") as few, door.served("product", DATABASE_URL=other) as many:
            for number in range(door.rounds):
                empty()
                for served in in_turn([few, many], number):
                    door.measure(served)
    print(f"  empty    {few}")
    print(f"  full     {many}")
    print(f"  with {rows} rows {many.of(few):.2f} (goal: at least 0.8)")


def fill(url: str, rows: int) -> None:
    """As many events of the same merchants, processed long ago, as a ledger holds after years."""
    own = {
        "id": "gen_random_uuid()",
        "install_id": "i.id",
        "integration_id": "i.integration_id",
        "merchant_id": "i.merchant_id",
        "provider_event_id": "gen_random_uuid()::text",
        "type": "'bill.settled'",
        "capability": f"'{CAPABILITY}'",
        "headers": "'[]'",
        "body": "decode(repeat('7b', 300), 'hex')",
        "body_digest": "repeat('0', 64)",
        "status": "'processed'",
        "attempts": "0",
        "problem": "''",
        **dict.fromkeys(("due_at", "received_at"), "now() - interval '1 day'"),
    }
    statement = f"""
        INSERT INTO inbound_event ({", ".join(own)})
        SELECT {", ".join(own.values())}
        FROM generate_series(1, {rows // MERCHANTS}) AS number, merchant_integration i
    """
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(statement.encode())
        database.execute("VACUUM ANALYZE")
        database.execute("CHECKPOINT")


def in_turn(variants: Sequence[T], number: int) -> Iterator[T]:
    """In every order by turns, as one may leave the machine slower to the next than another does."""
    orders = list(itertools.permutations(variants))
    yield from orders[number % len(orders)]


def empty() -> None:
    """And let the database write what is left of the one before, so that each begins alike."""
    execute("TRUNCATE inbound_event CASCADE")
    execute("CHECKPOINT")


PARTS: dict[str, Callable[[Door, int], None]] = {"speed": speed, "latency": latency, "full": full}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inbound", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--server", choices=SERVERS, action="append")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=18)
    parser.add_argument("--rows", type=int, default=10_000_000)
    options = parser.parse_args()
    with rig() as bench:
        door = Door(bench, options.seconds, options.rounds)
        for server in options.server or ["gunicorn"]:
            door.server = server
            for part in options.parts or PARTS:
                print(f"{part}, {server}, {options.rounds} rounds of {options.seconds:.0f} s")
                PARTS[part](door, options.rows)


if __name__ == "__main__":
    # Ends what was started on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    config = setup_databases(verbosity=0, interactive=False)
    try:
        main()
    finally:
        teardown_databases(config, verbosity=0)
