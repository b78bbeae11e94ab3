"""The hub through everything that can go wrong; `make chaos` runs it longer."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import stack


@pytest.mark.servers
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_nothing_is_lost_through_kills_and_misbehaving_partners(tmp_path: Path):
    try:
        stack.redis_command(0, str(tmp_path))
    except stack.MissingError as missing:
        pytest.skip(str(missing))

    run = subprocess.run(
        [sys.executable, "-m", "chaos", "--events", "2000", "--seconds", "180"],
        cwd=stack.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )

    print(run.stdout, run.stderr)  # noqa: T201
    assert run.returncode == 0
