"""A run of the hub through everything that can go wrong: `python -m chaos`, or `make chaos`.

Real processes (PostgreSQL, Redis, two web workers, two Celery workers, beat, partners), killed with
SIGKILL while events are posted over HTTP: out to partners, or with `inbound` in from them. Production
code knows nothing of it. Prints the counts; the exit code is 1 where a promise was broken.
"""

import argparse
import os
import signal
import sys
import time

from chaos import inbound, outbound
from chaos.rig import rig

WAYS = {"outbound": outbound, "inbound": inbound}
DISTURBANCES = sorted({*outbound.DISTURBANCES, *inbound.DISTURBANCES})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("way", nargs="?", choices=WAYS, default="outbound")
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=180, help="give up after as many")
    parser.add_argument("--seed", type=int, default=1, help="decides what partners answer")
    parser.add_argument("--only", choices=DISTURBANCES, action="append", help="may be repeated")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    # Ends the servers on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with rig(options.seed) as it:
        started = time.monotonic()
        accounts = WAYS[options.way].carry_out(
            it, options.events, options.seconds, options.only or []
        )
        print(f"Chaos run of {time.monotonic() - started:.0f} s, seed {options.seed}")
        print(accounts, flush=True)
        if accounts.broken or os.environ.get("CHAOS_LOGS"):
            it.print_logs()
    return 1 if accounts.broken else 0


if __name__ == "__main__":
    sys.exit(main())
