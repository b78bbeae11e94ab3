"""The same event many times at once, over two web processes of the server of production, on PostgreSQL
and Redis: one row, one effect, and everybody is told 200. `make dedupe` runs more rounds."""

import asyncio
import json
import os
import time
from collections import Counter
from typing import NamedTuple

import psutil
import psycopg
import pytest

from tests.wire import Partner, ask_at_once, install_everywhere, make_event

pytestmark = pytest.mark.servers
ROUNDS = int(os.environ.get("DEDUPE_ROUNDS", "15"))
AT_ONCE = 50
SETTLED_WITHIN_SECONDS = 60


class Row(NamedTuple):
    body: bytes
    is_flagged: bool
    install_id: str


class World:
    """The hub with SplitEasy installed by both merchants of the demo."""

    def __init__(self, hub):
        self.hub, self.partner = hub, Partner(hub)
        self.merchants = list(hub.seed["merchant_tokens"])
        install_everywhere(hub)

    def post_at_once(self, bodies):
        posts = [self.partner.post(body) for body in bodies]
        return asyncio.run(ask_at_once(self.hub, posts))

    def query(self, sql, *params):
        with psycopg.connect(self.hub.env["DATABASE_URL"], autocommit=True) as database:
            return database.execute(sql, params).fetchall()

    def rows(self, prefix):
        found = self.query(
            "SELECT provider_event_id, body, mismatched_at IS NOT NULL, install_id::text"
            " FROM inbound_event WHERE provider_event_id LIKE %s",
            f"{prefix}-%",
        )
        return [(event_id, Row(bytes(body), *rest)) for event_id, body, *rest in found]

    def effects(self, prefix):
        """Event id to the number of its effects, once nothing is left to be done."""
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        left = "SELECT 1 FROM inbound_event WHERE status = 'received' LIMIT 1"
        while self.query(left) and time.monotonic() < deadline:
            time.sleep(0.2)
        # Nobody may be half-way through a second one.
        time.sleep(1)
        found = self.query(
            "SELECT data->>'event_id', count(*) FROM audit_entry"
            " WHERE action = 'bill.settled' AND data->>'event_id' LIKE %s GROUP BY 1",
            f"{prefix}-%",
        )
        return Counter(dict(found))

    def busy_processes(self):
        """Processor seconds of each process of the web server but the one that minds the others."""
        children = psutil.Process(self.hub.process.pid).children(recursive=True)
        return {child.pid: sum(child.cpu_times()[:2]) for child in children}


@pytest.fixture(scope="module")
def world(production):
    return World(production)


def told(answers):
    """How often each status was answered."""
    return Counter(json.loads(answer.body)["status"] for answer in answers)


def test_identical_posts_at_once_are_one_row_and_one_effect(world):
    before = world.busy_processes()
    ids = [f"same-{number}" for number in range(ROUNDS)]

    rounds = [
        world.post_at_once([make_event(event_id, world.merchants[0])] * AT_ONCE) for event_id in ids
    ]

    answers = [answer for one in rounds for answer in one]
    assert Counter(answer.status for answer in answers) == {200: ROUNDS * AT_ONCE}
    assert [told(one) for one in rounds] == [{"accepted": 1, "duplicate": AT_ONCE - 1}] * ROUNDS
    assert [len({json.loads(answer.body)["id"] for answer in one}) for one in rounds] == [
        1
    ] * ROUNDS
    rows = world.rows("same")
    assert sorted(event_id for event_id, _row in rows) == sorted(ids)
    assert not any(row.is_flagged for _event_id, row in rows)
    assert world.effects("same") == dict.fromkeys(ids, 1)
    after = world.busy_processes()
    assert sum(after[pid] > before[pid] for pid in before) >= 2
    print(f"{len(answers)} times 200, {len(rows)} rows, {len(rows)} effects")  # noqa: T201


def test_two_bodies_of_one_event_at_once_are_one_row_that_is_flagged(world):
    rounds = [f"other-{number}" for number in range(ROUNDS)]
    amounts = {"data": {"amount": 1}}, {"data": {"amount": 2}}

    answers = {}
    for event_id in rounds:
        bodies = [make_event(event_id, world.merchants[0], **over) for over in amounts]
        answers[event_id] = list(zip(bodies * 10, world.post_at_once(bodies * 10), strict=True))

    rows = dict(world.rows("other"))
    assert sorted(rows) == sorted(rounds)
    assert len(world.rows("other")) == ROUNDS
    for event_id, row in rows.items():
        [first] = [body for body, answer in answers[event_id] if told([answer])["accepted"]]
        assert row.body == first
        assert row.is_flagged
    assert world.effects("other") == dict.fromkeys(rounds, 1)


def test_one_event_id_of_two_merchants_at_once_is_a_row_for_each(world):
    rounds = [f"shared-{number}" for number in range(ROUNDS)]

    for event_id in rounds:
        bodies = [make_event(event_id, merchant) for merchant in world.merchants[:2]]
        assert told(world.post_at_once(bodies * 10)) == {"accepted": 2, "duplicate": 18}

    rows = world.rows("shared")
    assert Counter(event_id for event_id, _row in rows) == dict.fromkeys(rounds, 2)
    assert len({row.install_id for _event_id, row in rows}) == 2
    assert not any(row.is_flagged for _event_id, row in rows)
    assert world.effects("shared") == dict.fromkeys(rounds, 2)
