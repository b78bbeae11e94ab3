"""Everything that runs in a chaos run, and how it is killed."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis
import requests

from tests import stack
from tests.stack import Program

SLUGS = ["bakery", "ledger", "loyalty"]
DELIVERY_TIMEOUT_SECONDS = 5


@dataclass
class Rig:
    """Everything that runs, and how it is reached. `killed` counts processes."""

    folder: Path
    postgres: Any
    redis_port: int
    web_port: int
    env: dict[str, str]
    programs: dict[str, Program]
    seed: dict[str, Any]
    killed: int = 0

    @property
    def record(self) -> Path:
        return self.folder / "received.jsonl"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}/v1"

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[Any]:
        with psycopg.connect(self.env["DATABASE_URL"], autocommit=True) as database:
            rows = database.execute(sql.encode(), params)
            return rows.fetchall() if rows.description else []

    def kill(self, *names: str, down_seconds: float = 0) -> None:
        for name in names:
            self.killed += len(children_of(self.programs[name])) + 1
            self.programs[name].kill()
        time.sleep(down_seconds)
        for name in names:
            self.programs[name].start()

    def kill_one_process_of(self, name: str) -> None:
        """As the kernel does it when memory runs out; whoever minds the others starts another."""
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            children_of(self.programs[name])[0].kill()
            self.killed += 1

    def answers(self) -> bool:
        """Whether a web process has come up again, which takes the longer the busier the machine is."""
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{self.web_port}/healthz", timeout=2).ok
        return False

    def restart_postgres(self) -> None:
        stack.restart_postgres(self.postgres)

    def disturb(self, what: str) -> None:
        acts: dict[str, Callable[[], Any]] = {
            "worker": lambda: self.kill("worker"),
            "other worker": lambda: self.kill("other worker"),
            "beat": lambda: self.kill("beat"),
            "web": lambda: self.kill("web"),
            "a web process": lambda: self.kill_one_process_of("web"),
            "redis": lambda: self.kill("redis", down_seconds=2),
            "everything": lambda: self.kill("worker", "other worker", "beat", "redis"),
            "postgres": self.restart_postgres,
            "flushall": lambda: redis.Redis(port=self.redis_port).flushall(),
        }
        acts[what]()

    def print_logs(self) -> None:
        for name, program in self.programs.items():
            print(f"--- {name}", program.log.read_text()[-4000:], sep="\n")


def children_of(program: Program) -> list[Any]:
    with contextlib.suppress(psutil.NoSuchProcess):
        children: list[Any] = psutil.Process(program.pid).children(recursive=True)
        return children
    return []


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
    schedule = str(it.folder / "schedule")
    return {
        "redis": stack.redis_command(it.redis_port, str(it.folder)),
        "partner": [*python, "chaos.partner", str(partner_port), str(it.record), str(seed)],
        "web": stack.web_command(it.web_port),
        "worker": [*worker, "-n", "one@%h", "--pool", "prefork", "-c", "2"],
        "other worker": [*worker, "-n", "two@%h", "--pool", "threads", "-c", "4"],
        "beat": [*celery, "beat", "--schedule", schedule, "--loglevel", "WARNING"],
    }


def web_process(it: Rig) -> subprocess.Popen[bytes]:
    process = it.programs["web"].process
    assert process is not None
    return process
