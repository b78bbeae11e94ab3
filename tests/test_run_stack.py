import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from poszhub.management.commands.run_stack import answer
from tests import stack
from tests.stack import Hub


@pytest.fixture
def processes(fresh_hub: Hub) -> Iterator[list[psutil.Process]]:
    """All processes of a running hub, read while they run: later nobody can tell whose they are."""
    tree: list[psutil.Process] = psutil.Process(fresh_hub.process.pid).children(recursive=True)
    yield tree
    for left in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()


def child(processes: list[psutil.Process], word: str) -> psutil.Process:
    return next(process for process in processes if word in process.cmdline())


def survivors(processes: list[psutil.Process]) -> list[psutil.Process]:
    alive: list[psutil.Process] = psutil.wait_procs(processes, timeout=12)[1]
    return alive


def refused_start(env: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "manage.py", "run_stack"],
        cwd=stack.BASE_DIR,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def test_announcement_holds_addresses_and_logins(live_hub: Hub) -> None:
    expected = [
        f"{live_hub.url}/integrations",
        f"{live_hub.url}/admin/",
        live_hub.sandbox_url,
        *(user["email"] for user in live_hub.seed["users"]),
    ]

    printed = live_hub.log.read_text()

    assert [text for text in expected if text not in printed] == []


def test_announced_hub_answers(live_hub: Hub) -> None:
    ports = {"/healthz": live_hub.env["PORT"], "/_received": live_hub.env["SANDBOX_PORT"]}

    answers = {path: answer(int(port), path) for path, port in ports.items()}

    assert answers == {"/healthz": "200", "/_received": "200"}


@pytest.mark.servers
def test_with_redis_worker_and_beat_are_processes(live_hub: Hub) -> None:
    running = psutil.Process(live_hub.process.pid).children()

    names = {word for word in ("worker", "beat") for one in running if word in one.cmdline()}

    assert names == {"worker", "beat"}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_whole_tree(
    fresh_hub: Hub, processes: list[psutil.Process], signum: signal.Signals
) -> None:
    fresh_hub.process.send_signal(signum)

    code = fresh_hub.process.wait(30)

    assert (code, survivors(processes)) == (0, [])
    assert "Traceback" not in fresh_hub.log.read_text()


def test_child_that_ignores_the_end_is_killed(
    fresh_hub: Hub, processes: list[psutil.Process]
) -> None:
    child(processes, "partner_sandbox").suspend()
    fresh_hub.process.send_signal(signal.SIGINT)

    code = fresh_hub.process.wait(30)

    assert (code, survivors(processes)) == (0, [])


def test_dead_child_ends_the_rest_and_is_named(
    fresh_hub: Hub, processes: list[psutil.Process]
) -> None:
    child(processes, "partner_sandbox").kill()

    code = fresh_hub.process.wait(30)

    assert (code, survivors(processes)) == (1, [])
    assert "The partner sandbox process ended unexpectedly, exit code -9." in (
        fresh_hub.log.read_text()
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_killed_parent_leaves_no_orphan(fresh_hub: Hub, processes: list[psutil.Process]) -> None:
    fresh_hub.process.kill()

    assert survivors(processes) == []


@pytest.mark.parametrize("variable", ["PORT", "SANDBOX_PORT"])
def test_busy_port_is_refused_with_its_variable(tmp_path: Path, variable: str) -> None:
    env = stack.hub_env(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(env[variable])))
        other.listen()

        code, printed = refused_start(env)

    assert code == 1
    assert printed.startswith(f"CommandError: Port {env[variable]} on 127.0.0.1 can not be used")
    assert f"make run {variable}=" in printed


def test_same_port_twice_is_refused(tmp_path: Path) -> None:
    env = stack.hub_env(tmp_path)

    code, printed = refused_start(env | {"SANDBOX_PORT": env["PORT"]})

    assert (code, printed) == (
        1,
        f"CommandError: PORT and SANDBOX_PORT are both {env['PORT']}: set one to another.\n",
    )
