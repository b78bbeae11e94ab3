"""The hub through everything that can go wrong; `make chaos` runs it longer."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import stack

pytestmark = [pytest.mark.servers, pytest.mark.alone, pytest.mark.timeout(300)]


def assert_chaos_breaks_nothing(folder: Path, *arguments: str):
    try:
        stack.redis_command(0, str(folder))
    except stack.MissingError as missing:
        pytest.skip(str(missing))
    run = subprocess.run(
        [sys.executable, "-m", "chaos", *arguments, "--seconds", "180"],
        cwd=stack.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    print(run.stdout, run.stderr)  # noqa: T201
    assert run.returncode == 0


def test_nothing_is_lost_through_kills_and_misbehaving_partners(tmp_path: Path):
    assert_chaos_breaks_nothing(tmp_path, "--events", "2000")


def test_what_partners_tell_is_taken_once_through_kills(tmp_path: Path):
    assert_chaos_breaks_nothing(tmp_path, "inbound", "--events", "800")
