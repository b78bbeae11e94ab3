"""Runs the whole suite on SQLite, then again on PostgreSQL and Redis: what `make test` does.

Arguments that are not its own go to pytest. What the machine can not provide is skipped, and said
in a line of its own when it happens and again at the end.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from pytest import ExitCode as pytest_codes  # noqa: N813, PT013

from tests import stack


@dataclass
class Results:
    closing_lines: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: bool = False

    def skip(self, what: str, why: Exception, remedy: str) -> None:
        line = f"!! SKIPPED: {what}, because {why}; to run: {remedy}"
        self.skipped.append(line)
        print(line, flush=True)  # noqa: T201


def main() -> int:
    options, pytest_args = arguments()
    # Ends the servers on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = Results()
    try:
        os.environ["CHROMIUM_PATH"] = stack.chromium()
    except stack.MissingError as missing:
        results.skip("browser tests", missing, "apt install chromium, or set CHROMIUM_PATH")
    if options.only != "servers":
        run_pytest("SQLite", {}, pytest_args, results)
    if options.only != "sqlite":
        run_on_servers(options.browser == "both", pytest_args, results)
    print("", *results.closing_lines, *results.skipped, sep="\n", flush=True)  # noqa: T201
    return 1 if results.failed else 0


def arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python -m tests.run", description=__doc__)
    parser.add_argument("--only", choices=["sqlite", "servers"], help="one of the two runs")
    parser.add_argument(
        "--browser",
        choices=["sqlite", "both"],
        default="both",
        help="where the browser tests run (default: both)",
    )
    return parser.parse_known_args()


def run_on_servers(with_browser: bool, pytest_args: list[str], results: Results) -> None:
    env = {}
    with ExitStack() as servers:
        try:
            env["DATABASE_URL"] = servers.enter_context(stack.postgres())
        except stack.MissingError as missing:
            results.skip("all tests on PostgreSQL and Redis", missing, "set DATABASE_URL_TEST")
            return
        try:
            env["REDIS_URL"] = servers.enter_context(stack.redis())
        except stack.MissingError as missing:
            results.skip("all tests on Redis", missing, "apt install redis-server")
        name = " and ".join(["PostgreSQL", "Redis"][: len(env)])
        most = "not alone" if with_browser else "not alone and not browser"
        run_pytest(name, env, ["-m", most, *pytest_args], results)
        if "REDIS_URL" in env:
            # What watches the clock of others must not share the machine with other tests.
            run_pytest(f"{name}, alone", env, ["-n", "0", "-m", "alone", *pytest_args], results)


def run_pytest(name: str, env: dict[str, str], pytest_args: list[str], results: Results) -> None:
    """Passes pytest's output on as it comes, and keeps its closing line for the summary."""
    print(f"\n=== The tests on {name} ===", flush=True)  # noqa: T201
    colour = ["--color=yes"] if sys.stdout.isatty() else []
    inherited = {key: value for key, value in os.environ.items() if key not in stack.HUB_SETTINGS}
    started_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="posz-test-") as folder:
        pytest = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-n", "2", *colour, *pytest_args],
            cwd=stack.BASE_DIR,
            env=inherited | env | {"VAR_DIR": folder, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        closing_line = passed_on(pytest)
    seconds = time.monotonic() - started_at
    is_good = pytest.returncode in {pytest_codes.OK, pytest_codes.NO_TESTS_COLLECTED}
    results.failed = results.failed or not is_good
    results.closing_lines.append(
        f"{name}: {closing_line} (exit code {pytest.returncode}, {seconds:.0f} s)"
    )


def passed_on(process: subprocess.Popen[str]) -> str:
    last = ""
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                last = line.strip() or last
        except BaseException:
            process.terminate()
            raise
    return last


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
