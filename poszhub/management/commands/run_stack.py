"""The whole hub in the foreground, as `make run` starts it: web, worker, beat, partner sandbox.

Each process is a direct child in a session of its own, so that Ctrl-C reaches only this process,
which then stops the others in its own way: SIGTERM, and SIGKILL to whatever is left 8 s later.
Exit code 0 after Ctrl-C or SIGTERM, 1 where something failed.
"""

import contextlib
import ctypes
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connections

from installs.encryption import require_right_keys
from poszhub.celery import app

HOST = "127.0.0.1"
READY_WITHIN_SECONDS = 60
STOP_WITHIN_SECONDS = 8
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1
# Loopback only, and whoever runs as root on a development machine knows it.
QUIET = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "ignore:You're running the worker with superuser",
}
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Command(BaseCommand):
    help = "Runs the whole hub for development: web, worker, beat and the partner sandbox."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--end-with-parent",
            action="store_true",
            help="Stop also when the process that started this one dies (Linux only).",
        )

    def handle(self, *, end_with_parent: bool, **_options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("run_stack is for development, with demo data; it needs DEBUG=1.")
        for signum in STOP_SIGNALS:
            signal.signal(signum, leave)
        if end_with_parent:
            end_with(os.getppid())
        require_free_ports()
        seed = prepare_database()
        with stack(commands()) as children:
            wait_until_ready(children)
            self.stdout.write(announcement(seed))
            self.stdout.flush()
            watch(children)


def leave(_signum: int, _frame: FrameType | None) -> None:
    # A second Ctrl-C must not interrupt the stopping that the first one begins.
    ignore_stop_signals()
    raise SystemExit(0)


def ignore_stop_signals() -> None:
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def end_with(parent: int) -> None:
    """Make the kernel send SIGTERM to this process when its parent dies, even by SIGKILL.

    https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html; survives exec. A parent that
    died before the call would never be noticed, hence the second look.
    """
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


def require_free_ports() -> None:
    if settings.PORT == settings.SANDBOX_PORT:
        raise CommandError(f"PORT and SANDBOX_PORT are both {settings.PORT}: set one to another.")
    for variable in ("PORT", "SANDBOX_PORT"):
        port = getattr(settings, variable)
        with socket.socket() as candidate:
            # As the servers do it, or a port would look taken for a minute after they stopped.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((HOST, port))
            except (OSError, OverflowError) as error:
                raise CommandError(
                    f"Port {port} on {HOST} can not be used: {error}. "
                    f"Choose another one: make run {variable}={port + 100}"
                ) from error


def prepare_database() -> dict[str, Any]:
    settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
    try:
        call_command("migrate", interactive=False, verbosity=0)
        require_right_keys()
    except OperationalError as error:
        raise CommandError(f"The database does not answer: {error}") from error
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    printed = io.StringIO()
    call_command("seed_demo", "--json", stdout=printed)
    connections.close_all()
    seed: dict[str, Any] = json.loads(printed.getvalue())
    return seed


def commands() -> dict[str, list[str]]:
    python = [sys.executable, "-m"]
    manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
    config = str(settings.BASE_DIR / "poszhub" / "gunicorn_conf.py")
    processes = {
        "web": [*python, "gunicorn", "-c", config, "--bind", f"{HOST}:{settings.PORT}"],
        "partner sandbox": [*manage, "partner_sandbox", "--port", str(settings.SANDBOX_PORT)],
    }
    if settings.REDIS_URL:
        celery = [*python, "celery", "-A", "poszhub"]
        schedule = str(settings.VAR_DIR / "celerybeat-schedule")
        processes["worker"] = [*celery, "worker", "--pool", "threads", "--concurrency", "8"]
        processes["beat"] = [*celery, "beat", "--schedule", schedule, "--loglevel", "WARNING"]
    return processes


@contextlib.contextmanager
def stack(processes: dict[str, list[str]]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in processes.items():
            children[name] = start(command)
        yield children
    finally:
        ignore_stop_signals()
        stop(list(children.values()))


def start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603
        command,
        cwd=settings.BASE_DIR,
        env=os.environ | QUIET,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=partial(end_with, os.getpid()),
    )


def stop(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.terminate()
    deadline = time.monotonic() + STOP_WITHIN_SECONDS
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=max(0, deadline - time.monotonic()))
    for child in children:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def wait_until_ready(children: dict[str, subprocess.Popen[bytes]]) -> None:
    waiting: dict[str, Callable[[], str]] = {
        "web": partial(answer, settings.PORT, "/healthz"),
        "partner sandbox": partial(answer, settings.SANDBOX_PORT, "/_received"),
    }
    if "worker" in children:
        waiting["worker"] = worker_answer
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    answers: dict[str, str] = {}
    while waiting:
        require_alive(children)
        for name, ask in list(waiting.items()):
            answers[name] = ask()
            if answers[name] == "200":
                del waiting[name]
        if waiting and time.monotonic() > deadline:
            late = ", ".join(f"{name} (last answer: {answers[name]})" for name in waiting)
            raise CommandError(f"Not ready after {READY_WITHIN_SECONDS} s: {late}.")
        time.sleep(0.1)


def answer(port: int, path: str) -> str:
    """The status code that a GET of the path is answered with, or else what went wrong."""
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {HOST}:{port}\r\n\r\n".encode())
            status_line = connection.makefile("r", encoding="latin-1").readline()
    except OSError as error:
        return str(error)
    return status_line.partition(" ")[2][:3] or "none"


def worker_answer() -> str:
    return "200" if app.control.ping(timeout=1) else "none"


def watch(children: dict[str, subprocess.Popen[bytes]]) -> None:
    while True:
        require_alive(children)
        time.sleep(0.1)


def require_alive(children: dict[str, subprocess.Popen[bytes]]) -> None:
    for name, child in children.items():
        code = child.poll()
        if code is not None:
            raise CommandError(f"The {name} process ended unexpectedly, exit code {code}.")


def announcement(seed: dict[str, Any]) -> str:
    hub, sandbox = (f"http://{HOST}:{port}" for port in (settings.PORT, settings.SANDBOX_PORT))
    addresses = [
        ("Catalog", f"{hub}/integrations"),
        ("Till", f"{hub}/till"),
        ("Admin", f"{hub}/admin/"),
        ("OpenAPI", f"{hub}/docs/integrations/openapi.yaml"),
        ("Partner sandbox", f"{sandbox}/"),
    ]
    logins = [
        (user["email"], user["password"], user["role"], user["merchant"] or "")
        for user in seed["users"]
    ]
    return "\n".join(
        [
            "",
            "Posz Hub is running. Ctrl-C stops it.",
            "",
            *aligned(addresses),
            "",
            "  Demo logins",
            *aligned(logins),
            "",
            "  Tokens and secrets of the demo: .venv/bin/python manage.py seed_demo --json",
            "",
        ]
    )


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "   ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
