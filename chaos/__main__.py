"""A run of the hub through everything that can go wrong: `python -m chaos`, or `make chaos`.

Real processes (PostgreSQL, Redis, two web workers, two Celery workers, beat, partners), killed with
SIGKILL while events are posted over HTTP. Production code knows nothing of it: the ladder, which
takes 81 minutes, is shortened by moving what the database says is due later. Prints the counts; the
exit code is 1 where a promise was broken.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis
import requests

from chaos.accounts import Accounts, Attempted, Lease, Run, read_record, settle
from tests import stack
from tests.stack import Program

SLUGS = ["bakery", "ledger", "loyalty"]
DISTURBANCES = ["worker", "beat", "redis", "other worker", "flushall", "postgres", "everything"]
POSTERS = 6
DISTURBED_EVERY_SECONDS = 3.0
EVENTS_PER_CYCLE = 2000
EVENTS_PER_SECOND = 70
DELIVERY_TIMEOUT_SECONDS = 2
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


@dataclass
class Rig:
    """Everything that runs, and how it is reached."""

    folder: Path
    postgres: Any
    redis_port: int
    web_port: int
    env: dict[str, str]
    programs: dict[str, Program]
    seed: dict[str, Any]

    @property
    def record(self) -> Path:
        return self.folder / "received.jsonl"

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[Any]:
        with psycopg.connect(self.env["DATABASE_URL"], autocommit=True) as database:
            rows = database.execute(sql.encode(), params)
            return rows.fetchall() if rows.description else []

    def post(self, path: str, body: dict[str, Any] | None = None) -> requests.Response:
        return requests.post(
            f"http://127.0.0.1:{self.web_port}/v1/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.seed['token']}"},
            timeout=10,
        )

    def kill(self, *names: str, down_seconds: float = 0) -> None:
        for name in names:
            self.programs[name].kill()
        time.sleep(down_seconds)
        for name in names:
            self.programs[name].start()

    def disturb(self, what: str) -> None:
        acts: dict[str, Callable[[], Any]] = {
            "worker": lambda: self.kill("worker"),
            "other worker": lambda: self.kill("other worker"),
            "beat": lambda: self.kill("beat"),
            "redis": lambda: self.kill("redis", down_seconds=2),
            "everything": lambda: self.kill("worker", "other worker", "beat", "redis"),
            "postgres": lambda: stack.restart_postgres(self.postgres),
            "flushall": lambda: redis.Redis(port=self.redis_port).flushall(),
        }
        acts[what]()


@contextlib.contextmanager
def rig(seed: int) -> Iterator[Rig]:
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="posz-chaos-")))
        # The database server's own user must be able to enter, where this one is root.
        folder.chmod(0o755)
        postgres = running.enter_context(stack.postgres_server(folder))
        redis_port, web_port, partner_port = stack.free_ports(3)
        env = {
            **stack.hub_env(folder),
            "DATABASE_URL": postgres.get_uri(),
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "OUTBOUND_ALLOW": f"127.0.0.1:{partner_port}",
            "DELIVERY_TIMEOUT_SECONDS": str(DELIVERY_TIMEOUT_SECONDS),
            "LOG_LEVEL": "WARNING",
            "PYTHONWARNINGS": "ignore",
        }
        it = Rig(folder, postgres, redis_port, web_port, env, {}, {})
        it.seed = seeded(env, f"http://127.0.0.1:{partner_port}")
        for name, command in commands(it, partner_port, seed).items():
            program = Program(command, env, folder / f"{name}.log")
            it.programs[name] = running.enter_context(program)
        stack.wait_for_port(web_port, web_process(it), 30)
        yield it


def seeded(env: dict[str, str], partner_url: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "chaos.seed", partner_url, *SLUGS]
    done = subprocess.run(command, cwd=stack.BASE_DIR, env=env, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def commands(it: Rig, partner_port: int, seed: int) -> dict[str, list[str]]:
    python = [sys.executable, "-m"]
    celery = [*python, "celery", "-A", "poszhub"]
    worker = [*celery, "worker", "--without-gossip", "--without-mingle"]
    web = [*python, "gunicorn", "-c", "poszhub/gunicorn_conf.py"]
    schedule = str(it.folder / "schedule")
    return {
        "redis": stack.redis_command(it.redis_port, str(it.folder)),
        "partner": [*python, "chaos.partner", str(partner_port), str(it.record), str(seed)],
        "web": [*web, "--bind", f"127.0.0.1:{it.web_port}"],
        "worker": [*worker, "-n", "one@%h", "--pool", "prefork", "-c", "2"],
        "other worker": [*worker, "-n", "two@%h", "--pool", "threads", "-c", "4"],
        "beat": [*celery, "beat", "--schedule", schedule, "--loglevel", "WARNING"],
    }


def web_process(it: Rig) -> subprocess.Popen[bytes]:
    process = it.programs["web"].process
    assert process is not None
    return process


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
                reply = it.post("events", event)
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
        run.replayed += it.post(f"deliveries/{delivery}/replay").status_code == 202


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


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=180, help="give up after as many")
    parser.add_argument("--seed", type=int, default=1, help="decides what partners answer")
    parser.add_argument("--only", choices=DISTURBANCES, action="append", help="may be repeated")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    # Ends the servers on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = Run(SLUGS, options.events)
    with rig(options.seed) as it:
        until = time.monotonic() + options.seconds
        acts = [
            threading.Thread(target=post_events, args=(it, run, until)),
            threading.Thread(target=watch, args=(it, run, until)),
        ]
        started = time.monotonic()
        for act in acts:
            act.start()
        disturb(it, run, options.only or DISTURBANCES)
        for act in acts:
            act.join()
        print(f"Chaos run of {time.monotonic() - started:.0f} s, seed {options.seed}")
        accounts = account(it, run)
        print(accounts, flush=True)
        if accounts.broken or os.environ.get("CHAOS_LOGS"):
            for name, program in it.programs.items():
                print(f"--- {name}", program.log.read_text()[-4000:], sep="\n")
    return 1 if accounts.broken else 0


if __name__ == "__main__":
    sys.exit(main())
