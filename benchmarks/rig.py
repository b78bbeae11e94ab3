"""What the benchmark of outbound delivery stands on: partners, processes, a database to fill."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import django
import psycopg

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks import per_delivery  # noqa: E402
from catalog.models import Integration  # noqa: E402
from installs.credentials import ensure_secrets  # noqa: E402
from installs.models import Install, Merchant  # noqa: E402
from tests import stack  # noqa: E402
from tests.factories import make_install, make_integration, make_merchant  # noqa: E402
from tests.stack import Program  # noqa: E402
from webhooks.models import Delivery, Endpoint, Event  # noqa: E402

DATA = {"order": {"id": "order-1", "lines": [{"name": "Nasi goreng", "qty": "2"}] * 12}}
BODY = json.dumps({"type": "order.paid", "version": 1, "data": DATA}).encode()
TABLES = "delivery, event, delivery_attempt, delivery_endpoint, delivery_health"


class Child:
    """A process of `benchmarks.senders`: told to start, it answers when nothing is due any more."""

    def __init__(self, work: str, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.senders", work],
            cwd=stack.BASE_DIR,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_args: object) -> None:
        self.process.terminate()
        self.process.wait()

    def start(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("A sender ended; its error is above.")
        return line

    def wait(self) -> dict[str, Any]:
        done: dict[str, Any] = json.loads(self.line())
        return done

    def run(self) -> dict[str, Any]:
        self.start()
        return self.wait()


@dataclass
class Bench:
    """The sink, and the environment in which everything else runs."""

    env: dict[str, str]
    sink_url: str
    folder: Path
    merchant: Merchant
    installs: list[Install] = field(default_factory=list)

    def child(self, work: str, **env: str) -> Child:
        return Child(work, self.env | env)

    def program(self, *command: str, **env: str) -> Program:
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        return Program([sys.executable, "-m", *command], self.env | env, log)

    def received(self) -> list[tuple[float, str, str]]:
        """Monotonic second, event id and path of each request since the last call."""

        async def get() -> Any:
            async with aiohttp.request("GET", self.sink_url) as reply:
                return await reply.json(content_type=None)

        return [tuple(item) for item in asyncio.run(get())]

    def point(self, *paths: str, **over: Any) -> None:
        """One endpoint per path at the sink, nothing due, nothing remembered."""
        execute(f"TRUNCATE {TABLES} CASCADE")
        for number, _path in enumerate(paths):
            if number == len(self.installs):
                row = make_integration(
                    f"bench-{number}", capabilities={"payment_webhook_inbound": 1}
                )
                ensure_secrets(row)
                self.installs.append(make_install(self.merchant, row))
        for number, install in enumerate(self.installs):
            fields: dict[str, Any] = {
                "outbound_url": "",
                "outbound_events": [],
                "outbound_rate_per_second": None,
            }
            if number < len(paths):
                url = f"{self.sink_url}{paths[number]}/{number}"
                fields |= {"outbound_url": url, "outbound_events": ["order.paid"]}
                Endpoint.objects.create(integration_id=install.integration_id)
            Integration.objects.filter(pk=install.integration_id).update(**(fields | over))

    def make_due(self, count: int, shares: Sequence[int]) -> None:
        """Deliveries that are due, spread over the endpoints by shares, well mixed."""
        pattern = [number for number, share in enumerate(shares) for _ in range(share)]
        now = timezone.now()
        events = [
            Event(merchant=self.merchant, type="order.paid", body=BODY, occurred_at=now)
            for _ in range(count)
        ]
        Event.objects.bulk_create(events, batch_size=1000)
        rows = []
        for number, event in enumerate(events):
            install = self.installs[pattern[number * 37 % len(pattern)]]
            due_at = now - timedelta(milliseconds=count - number)
            rows.append(
                Delivery(
                    event=event,
                    merchant=self.merchant,
                    integration_id=install.integration_id,
                    install_id=install.pk,
                    next_attempt_at=due_at,
                )
            )
        Delivery.objects.bulk_create(rows, batch_size=1000)
        # What autovacuum does in a hub that has been up for a minute.
        execute("VACUUM ANALYZE")

    def attempts(self) -> int:
        return int(fetch("SELECT count(*) FROM delivery_attempt")[0][0])


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def fetch(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def cpu_seconds(group: int) -> float:
    """Processor time of the living processes of a group."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(") ")[2].split()
            if int(fields[2]) == group:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def rig() -> Iterator[Bench]:
    [port] = stack.free_ports(1)
    with (
        stack.redis() as redis_url,
        tempfile.TemporaryDirectory(prefix="posz-bench-") as folder,
    ):
        settings.CELERY_BROKER_URL = redis_url
        name = settings.DATABASES["default"]["NAME"]
        own = {
            "DATABASE_URL": urlunsplit(
                urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}")
            ),
            "REDIS_URL": redis_url,
            "OUTBOUND_ALLOW": f"127.0.0.1:{port}",
            "DELIVERY_TIMEOUT_SECONDS": "2",
            "LOG_LEVEL": "WARNING",
            "PYTHONWARNINGS": "ignore",
        }
        bench = Bench(os.environ | own, f"http://127.0.0.1:{port}", Path(folder), make_merchant())
        with bench.program("benchmarks.sink", str(port)) as sink:
            assert sink.process is not None
            stack.wait_for_port(port, sink.process)
            yield bench


@contextlib.contextmanager
def hub(bench: Bench) -> Iterator[str]:
    """Two web workers, a Celery worker with two processes, beat: the address to post events to."""
    [port] = stack.free_ports(1)
    # The timeout of production, so that one who hangs may do so for as long.
    env = {"DELIVERY_TIMEOUT_SECONDS": "15"}
    celery = ["celery", "-A", "poszhub"]
    worker = [*celery, "worker", "--pool", "prefork", "-c", "2", "--loglevel", "WARNING"]
    beat = [*celery, "beat", "--schedule", str(bench.folder / "schedule"), "--loglevel", "WARNING"]
    web = stack.web_command(port)
    with (
        Program(web, bench.env | env, bench.folder / "web.log") as server,
        bench.program(*worker, **env),
        bench.program(*beat, **env),
    ):
        assert server.process is not None
        stack.wait_for_port(port, server.process, 30)
        wait_for_worker()
        yield f"http://127.0.0.1:{port}/v1/events"


def wait_for_worker() -> None:
    while not per_delivery.app.control.ping(timeout=0.5):
        pass


@contextlib.contextmanager
def copy_of(url: str) -> Iterator[str]:
    name = urlsplit(url).path.strip("/")
    connection.close()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        database.execute(f"CREATE DATABASE {name}_copy TEMPLATE {name}".encode())
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{name}_copy"))
        finally:
            database.execute(f"DROP DATABASE {name}_copy WITH (FORCE)".encode())
