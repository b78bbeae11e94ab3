"""Runs a benchmark on a PostgreSQL of its own: `python -m benchmarks.run dispatch`.

`make bench NAME=dispatch` does it. DATABASE_URL_TEST takes a server that is there already.
"""

import os
import signal
import subprocess
import sys

from tests import stack


def main() -> int:
    name = sys.argv[1]
    # Ends the server on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with stack.postgres() as url:
        own = {"DATABASE_URL": url, "DEBUG": "1", "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
        env = os.environ | own
        command = [sys.executable, "-m", f"benchmarks.{name}", *sys.argv[2:]]
        return subprocess.run(command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
