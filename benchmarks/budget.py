"""Whether tills have their answer in time, whatever partners do: `python -m benchmarks.budget`.

Every operation that tills ask, of a partner that is dead (its port is closed), that hangs (accepts and
never answers) and that trickles (a byte each 50 ms), ROUNDS times each (100) at a running hub. 20 begin
each second, so that nearly all of the 40 or so that are under way only wait. The breaker never opens, so
that no question is spared its budget. Prints how many were answered within their budget and 100 ms more,
and the slowest; beside it what the hub takes at an outlet where there is nobody to ask, for that is the
machine.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.test.utils import setup_databases, teardown_databases  # noqa: E402

from catalog.capabilities import CAPABILITIES, Direction  # noqa: E402
from dispatch.operations import all_operations  # noqa: E402
from dispatch.operations.notation import Contract, Operation  # noqa: E402
from installs.credentials import ensure_secrets  # noqa: E402
from installs.models import ApiToken, Install, Location, Merchant  # noqa: E402
from tests import stack  # noqa: E402
from tests.factories import (  # noqa: E402
    make_integration,
    make_location,
    make_merchant,
    make_payment,
)
from tests.stack import Program  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "100"))
PER_SECOND = 20
AT_ONCE = 64
WARM_UP = 100
GRACE_MS = 100
TRICKLE_SECONDS = 0.05
NOBODY = "nobody"
KINDS = ("dead", "hanging", "trickling")
ASKED = [
    (contract, operation)
    for contract, operation in all_operations()
    if operation.is_asked
    and contract.place.direction is Direction.SYNC
    and contract.version == max(contract.place.versions)
]


# Nothing is asked about a payment that was never begun.
ABOUT_A_PAYMENT = {"status": {}, "cancel": {}, "refund": {"state": "paid"}}


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    contract: Contract
    operation: Operation
    outlet: Location
    data: dict[str, Any]

    @property
    def allowed_ms(self) -> float:
        budget = 0 if self.kind == NOBODY else CAPABILITIES[self.contract.capability].budget_ms
        return (budget or 0) + GRACE_MS

    def body(self) -> dict[str, Any]:
        name = {"operation": self.operation.name} if self.operation.name else {}
        return {
            "merchant_id": str(self.outlet.merchant_id),
            "location_id": str(self.outlet.pk),
            "data": self.data,
            **name,
        }


@dataclass(slots=True)
class Tally:
    in_time: int = 0
    slowest_ms: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, ms: float, allowed_ms: float, outcome: str) -> None:
        self.in_time += ms <= allowed_ms
        self.slowest_ms = max(self.slowest_ms, ms)
        self.outcomes[outcome] += 1


def fresh(operation: Operation) -> dict[str, Any]:
    """The example under a key of its own: what was asked before would be answered from memory."""
    data = dict(operation.request_example)
    for path in operation.key:
        *above, name = path.split(".")
        place = data
        for step in above:
            place[step] = dict(place[step])
            place = place[step]
        if isinstance(place[name], str) and name.endswith("id"):
            place[name] = f"{place[name]}-{uuid.uuid4().hex[:12]}"
    return data


def case_of(kind: str, contract: Contract, operation: Operation, outlet: Location) -> Case:
    data = fresh(operation)
    state = ABOUT_A_PAYMENT.get(operation.name)
    install = Install.objects.filter(merchant_id=outlet.merchant_id).first()
    if contract.capability == "payment_method" and state is not None and install is not None:
        data["payment_id"] = f"pay-{uuid.uuid4().hex}"
        paid = {**state, "paid_amount_cents": 5000000} if state else {}
        make_payment(install, outlet, payment_id=data["payment_id"], **paid)
    return Case(kind, contract, operation, outlet, data)


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(65536):
            pass
    writer.close()


async def trickle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n\r\n"
    with contextlib.suppress(OSError, asyncio.CancelledError):
        for byte in answer + b" " * 2000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(TRICKLE_SECONDS)
    writer.close()


@contextlib.asynccontextmanager
async def partners(ports: dict[str, int]) -> AsyncIterator[None]:
    """Nobody listens for the dead one."""
    async with (
        await asyncio.start_server(hang, "127.0.0.1", ports["hanging"], backlog=512),
        await asyncio.start_server(trickle, "127.0.0.1", ports["trickling"], backlog=512),
    ):
        yield


def make_outlets(ports: dict[str, int]) -> dict[str, Location]:
    """A merchant for each kind of partner, which has everything that tills can ask."""
    capabilities = {contract.capability: contract.version for contract, _operation in ASKED}
    outlets = {NOBODY: make_location(make_merchant(currency="IDR"))}
    for kind, port in ports.items():
        row = make_integration(
            f"budget-{kind}", capabilities=capabilities, api_base_url=f"http://127.0.0.1:{port}"
        )
        ensure_secrets(row)
        outlets[kind] = make_location(make_merchant(currency="IDR"))
        # Not through the front door, where the partner's sign-in would be tried.
        Install.objects.create(
            merchant=outlets[kind].merchant, integration=row, capability_versions=capabilities
        )
        Merchant.touch(outlets[kind].merchant_id)
    return outlets


@contextlib.contextmanager
def hub(ports: dict[str, int]) -> Iterator[str]:
    with stack.redis() as redis_url, tempfile.TemporaryDirectory(prefix="posz-bench-") as folder:
        [port] = stack.free_ports(1)
        name = settings.DATABASES["default"]["NAME"]
        url = urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))
        own = {
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
            "OUTBOUND_ALLOW": ",".join(f"127.0.0.1:{item}" for item in ports.values()),
            "DJANGO_SETTINGS_MODULE": "benchmarks.budget_settings",
            "LOG_LEVEL": "CRITICAL",
            "PYTHONWARNINGS": "ignore",
        }
        # One process may come to serve them all: none of them shall wait for a thread.
        web_command = [*stack.web_command(port), "--threads", str(AT_ONCE)]
        with Program(web_command, os.environ | own, Path(folder) / "web.log") as web:
            assert web.process is not None
            stack.wait_for_port(port, web.process, 30)
            yield f"http://127.0.0.1:{port}"


async def ask_all(hub_url: str, token: str, cases: list[Case]) -> dict[tuple[str, str], Tally]:
    tallies: dict[tuple[str, str], Tally] = {}
    places = asyncio.Semaphore(AT_ONCE)
    headers = {"Authorization": f"Bearer {token}"}
    connector = aiohttp.TCPConnector(limit=AT_ONCE, force_close=True)
    async with aiohttp.ClientSession(hub_url, headers=headers, connector=connector) as session:

        async def ask(case: Case) -> None:
            async with places:
                body, started = case.body(), time.perf_counter()
                path = f"/v1/dispatch/{case.contract.capability}"
                async with session.post(path, json=body) as reply:
                    answer = await reply.json(content_type=None)
                ms = (time.perf_counter() - started) * 1000
            key = case.kind, case.contract.path(case.operation)
            results = answer.get("results")
            outcome = str(reply.status) if results is None else _outcome(results)
            tallies.setdefault(key, Tally()).add(ms, case.allowed_ms, outcome)

        async def ask_in_turn(chosen: list[Case]) -> None:
            async with asyncio.TaskGroup() as tasks:
                for case in chosen:
                    tasks.create_task(ask(case))
                    await asyncio.sleep(1 / PER_SECOND)

        # Every process meets its database and its code before anything counts.
        await ask_in_turn(random.choices(cases, k=WARM_UP))  # noqa: S311
        tallies.clear()
        await ask_in_turn(cases)
    return tallies


def _outcome(results: list[dict[str, Any]]) -> str:
    return results[0]["status"] if results else "built_in"


async def measure(ports: dict[str, int], hub_url: str, token: str, cases: list[Case]) -> bool:
    async with partners(ports):
        tallies = await ask_all(hub_url, token, cases)
    in_time = 0
    for kind in (*KINDS, NOBODY):
        print(kind)
        for contract, operation in ASKED:
            path = contract.path(operation)
            tally = tallies[kind, path]
            budget = contract.place.budget_ms or 0
            told = ", ".join(f"{name} {count}" for name, count in sorted(tally.outcomes.items()))
            print(
                f"  {path:34} {tally.in_time:4} of {ROUNDS}   budget {budget:5} ms   "
                f"slowest {tally.slowest_ms:7.0f} ms   {told}"
            )
            in_time += tally.in_time * (kind != NOBODY)
    wanted = len(KINDS) * len(ASKED) * ROUNDS
    print(f"{in_time} of {wanted} within their budget and {GRACE_MS} ms")
    return in_time == wanted


def main() -> int:
    ports = dict(zip(KINDS, stack.free_ports(len(KINDS)), strict=True))
    outlets = make_outlets(ports)
    token = ApiToken.issue("bench", merchant=None)
    cases = [
        case_of(kind, contract, operation, outlet)
        for _round in range(ROUNDS)
        for kind, outlet in outlets.items()
        for contract, operation in ASKED
    ]
    # Long and short ones side by side, so that no kind has the machine for itself.
    random.Random(21).shuffle(cases)  # noqa: S311
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    connection.close()
    with hub(ports) as hub_url:
        return 0 if asyncio.run(measure(ports, hub_url, token, cases)) else 1


if __name__ == "__main__":
    # Ends what was started on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    config = setup_databases(verbosity=0, interactive=False)
    try:
        code = main()
    finally:
        teardown_databases(config, verbosity=0)
    sys.exit(code)
