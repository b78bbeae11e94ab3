"""One process that delivers: `python -m benchmarks.senders bare|product|claims`.

For each line on its input it works until nothing is due and prints, as JSON, what came of it.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402

from benchmarks.bare_loop import BareLoop, Route  # noqa: E402
from catalog.models import Integration  # noqa: E402
from installs.credentials import active_secrets  # noqa: E402
from webhooks import claims  # noqa: E402
from webhooks.engine import Engine  # noqa: E402
from webhooks.models import Endpoint  # noqa: E402

CLAIMS, CLAIM_SIZE = 20, 100


def bare() -> int:
    routes = {
        row.pk: Route(row.outbound_url, active_secrets(row.slug, "outbound")[0])
        for row in Integration.objects.all()
    }
    url, timeout = os.environ["DATABASE_URL"], settings.DELIVERY_TIMEOUT_SECONDS

    async def run() -> int:
        return await BareLoop(url, routes, timeout).run()

    return asyncio.run(run())


def claim_times() -> list[float]:
    """Milliseconds of claims that each find enough. What was claimed stays leased."""
    times = []
    for _ in range(CLAIMS):
        started = time.perf_counter()
        found = claims.claim(CLAIM_SIZE, claims.now())
        times.append((time.perf_counter() - started) * 1000)
        assert len(found.items) == CLAIM_SIZE, len(found.items)
        Endpoint.objects.update(in_flight=0)
    return times


ENGINE = Engine()
WORK: dict[str, Callable[[], Any]] = {
    "bare": bare,
    "product": ENGINE.run_until_idle,
    "claims": claim_times,
}


def main(work: Callable[[], Any]) -> None:
    print("ready", flush=True)
    for _line in sys.stdin:
        started_at, cpu = time.monotonic(), time.process_time()
        came_of_it = work()
        ended_at = time.monotonic()
        done = {
            "result": came_of_it,
            "seconds": ended_at - started_at,
            "cpu_seconds": time.process_time() - cpu,
        }
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main(WORK[sys.argv[1]])
