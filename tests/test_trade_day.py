"""A day of trade over HTTP: five outlets, several partners, one of which fails for a while.

At the end each partner has had every event of its own once, and the books of every outlet agree with
somebody who adds the day up another way. `make tradeday` is the whole day of 1,000 orders.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http.client import HTTPConnection  # noqa: TID251
from threading import Lock, local
from typing import Any

import psycopg
import pytest

from dispatch.signing import hex_signature
from tests import stack, trade_day
from tests.conftest import redis_of_this_worker
from tests.partners import Partner, Reply, Request
from tests.trade_day import DAY, OUTLETS, Ticket
from tests.trade_day_seed import PARTNERS, RAW

pytestmark = [pytest.mark.servers, pytest.mark.alone, pytest.mark.timeout(900)]
ORDERS = int(os.environ.get("TRADE_ORDERS", "200"))
POSTERS = 6
SETTLED_WITHIN_SECONDS = 240
# As many answers of 503 as open the breaker and then some. The clocks are moved, so that nothing but
# this bound keeps one event from using up its five attempts, after which it would be given up.
FAILURES, FAILURES_OF_ONE = 40, 3
# The waits of the ladder and of the breaker are over.
MOVE_CLOCKS = (
    "UPDATE delivery SET next_attempt_at = now() WHERE status = 'pending' AND lease_until IS NULL",
    "UPDATE delivery_endpoint SET probe_at = now() WHERE state = 'open'",
    "UPDATE delivery_endpoint SET changed_at = now() - interval '1 hour' WHERE state = 'recovering'",
)
PENDING = "SELECT count(*) FROM delivery WHERE status = 'pending'"
NOT_DELIVERED = """
    SELECT i.slug, e.type, d.event_id, d.status, d.reason, d.attempts_made
    FROM delivery d JOIN event e ON e.id = d.event_id JOIN integration i ON i.id = d.integration_id
    WHERE d.status <> 'delivered' ORDER BY d.created_at
"""
IN_BOOKS = {"order.paid", "order.voided", "refund.completed", "loyalty.accrued", "loyalty.redeemed"}


class Receiver:
    """Every partner, told apart by path. `books` fails at first, as long as it has failures left,
    but no event so often that it is given up."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.taken: dict[str, list[dict[str, Any]]] = {slug: [] for slug in PARTNERS}
        self.failures, self.forged = FAILURES, 0
        self.failed: Counter[str] = Counter()
        self._lock = Lock()

    def answer(self, request: Request) -> Reply:
        slug = request.path.strip("/")
        with self._lock:
            if request.headers["X-Posz-Signature"] != hex_signature(request.body, self.keys[slug]):
                self.forged += 1
            body = request.json()
            if slug == "books" and self.failures and self.failed[body["id"]] < FAILURES_OF_ONE:
                self.failures -= 1
                self.failed[body["id"]] += 1
                return Reply(503)
            self.taken[slug].append(body)
            return Reply(204)

    def of(self, slug: str, event_type: str) -> list[dict[str, Any]]:
        return [body for body in self.taken[slug] if body["type"] == event_type]


class Till:
    """Posts events, and knows by their types and what is in them who has to get each."""

    def __init__(self, hub: stack.Hub, seeded: dict[str, Any]) -> None:
        self.hub, self.seeded = hub, seeded
        self.expected: dict[str, set[str]] = {slug: set() for slug in PARTNERS}
        self.events: set[str] = set()
        self._own, self._connections, self._lock = local(), list[HTTPConnection](), Lock()

    def close_connections(self) -> None:
        for connection in self._connections:
            connection.close()

    def post(self, outlet: int, kind: str, key: str, data: dict[str, Any]) -> str:
        body = json.dumps(
            {
                "type": kind,
                "location_id": self.seeded["outlets"][outlet],
                "idempotency_key": key,
                "data": data,
            }
        )
        headers = {
            "Authorization": f"Bearer {self.seeded['token']}",
            "Content-Type": "application/json",
        }
        connection = self._connection()
        connection.request("POST", "/v1/events", body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 202, answer
        who = set(wanted(kind, data))
        assert answer["deliveries"] == len(who), (kind, who, answer)
        with self._lock:
            self.events.add(answer["id"])
            for slug in who:
                self.expected[slug].add(answer["id"])
        return str(answer["id"])

    def _connection(self) -> HTTPConnection:
        if not hasattr(self._own, "connection"):
            host = self.hub.url.removeprefix("http://")
            self._own.connection = HTTPConnection(host, timeout=30)
            self._connections.append(self._own.connection)
        return self._own.connection

    def ring_up(self, ticket: Ticket) -> None:
        for kind, key, data in trade_day.events_of(ticket):
            first = self.post(ticket.outlet, kind, key, data)
            if ticket.number % 20 == 0:
                # The till did not hear the answer, and asks once more.
                assert self.post(ticket.outlet, kind, key, data) == first

    def refund_late(self, ticket: Ticket) -> None:
        self.post(ticket.outlet, *trade_day.refund_of(ticket))

    def close(self, outlet: int, revision: int) -> None:
        key = f"closed-{outlet}-{revision}"
        self.post(outlet, "business_day.closed", key, {"business_date": DAY})


def wanted(kind: str, data: dict[str, Any]) -> Iterable[str]:
    if kind == "business_day.closed":
        yield from ("books", "ledger")
    if kind in IN_BOOKS:
        yield "books"
    if kind in RAW:
        yield "listener"
    consents = data.get("customer", {}).get("consents", [])
    if kind == "order.paid" and any(consent["granted"] for consent in consents):
        yield "crm"
    if kind in {"order.paid", "refund.completed"}:
        yield "pantry"


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def till(receiver, tmp_path):
    [port] = stack.free_ports(1)
    with (
        Partner(receiver.answer) as partner,
        stack.fresh_database(os.environ["DATABASE_URL"]) as database,
        stack.running_hub(
            tmp_path,
            DATABASE_URL=database,
            REDIS_URL=redis_of_this_worker(2),
            SANDBOX_PORT=str(port),
            OUTBOUND_ALLOW=f"127.0.0.1:{port},localhost:{port},{partner.host}",
            LOG_LEVEL="WARNING",
        ) as hub,
    ):
        command = [sys.executable, "-m", "tests.trade_day_seed", partner.url]
        seeded = json.loads(subprocess.check_output(command, env=hub.env, text=True))
        receiver.keys = {slug: bytes.fromhex(key) for slug, key in seeded["keys"].items()}
        till = Till(hub, seeded)
        yield till
        till.close_connections()


def settle(till: Till) -> None:
    """Until nothing is on its way any more."""
    deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
    with psycopg.connect(till.hub.env["DATABASE_URL"], autocommit=True) as database:
        while database.execute(PENDING).fetchone() != (0,):
            assert time.monotonic() < deadline, "deliveries are left"
            for statement in MOVE_CLOCKS:
                database.execute(statement)
            time.sleep(0.5)
        # What was given up would be missed below, where nothing says why.
        assert database.execute(NOT_DELIVERED).fetchall() == []


def run(till: Till, tickets: list[Ticket]) -> None:
    with ThreadPoolExecutor(POSTERS) as posters:
        list(posters.map(till.ring_up, tickets))
        list(posters.map(lambda outlet: till.close(outlet, 1), range(len(OUTLETS))))
        # Some refunds come in after the day was closed: it is closed again.
        late = [it for it in tickets if it.refunded and it.is_late_refund]
        list(posters.map(till.refund_late, late))
        list(posters.map(lambda outlet: till.close(outlet, 2), range(len(OUTLETS))))
    settle(till)


def summaries(receiver: Receiver, slug: str) -> dict[tuple[str, int], dict[str, Any]]:
    found = [body["data"] for body in receiver.of(slug, "business_day.closed")]
    return {(data["outlet"]["name"], data["revision"]): data for data in found}


def test_day_of_trade_reaches_everybody_once_and_balances(till, receiver):
    tickets, started = trade_day.tickets_of(ORDERS), time.monotonic()

    run(till, tickets)

    took = time.monotonic() - started
    assert (receiver.forged, receiver.failures) == (0, 0)
    for slug, bodies in receiver.taken.items():
        counts = Counter(body["id"] for body in bodies)
        assert counts.keys() == till.expected[slug], slug
        assert set(counts.values()) == {1}, slug
    books, differing = summaries(receiver, "books"), 0
    for number, outlet in enumerate(OUTLETS):
        own = [ticket for ticket in tickets if ticket.outlet == number]
        for revision in (1, 2):
            summary = books[outlet.name, revision]
            oracle = trade_day.books_of(own, with_late_refunds=revision == 2)
            differing += trade_day.in_rupiah(summary) != oracle
            assert trade_day.in_rupiah(summary) == oracle, (outlet.name, revision)
            assert_balanced(summary)
    assert summaries(receiver, "ledger") == books
    report(till, receiver, books, took)


def assert_balanced(summary: dict[str, Any]) -> None:
    lines = summary["journal"]
    debit, credit = (sum(line[f"{side}_cents"] for line in lines) for side in ("debit", "credit"))
    assert debit == credit > 0
    assert "suspense" not in {line["account_code"] for line in lines}


def report(
    till: Till, receiver: Receiver, books: dict[tuple[str, int], dict[str, Any]], took: float
) -> None:
    deliveries = {slug: len(bodies) for slug, bodies in receiver.taken.items()}
    net = sum(Decimal(books[outlet.name, 2]["net_cents"]) for outlet in OUTLETS) / 100
    print(  # noqa: T201
        f"\n{ORDERS} orders, {len(till.events)} events, {sum(deliveries.values())} deliveries"
        f" {deliveries}, {FAILURES - receiver.failures} failed first; net Rp{net:,.0f} at"
        f" {len(OUTLETS)} outlets, all balanced, in {took:.0f} s"
    )
