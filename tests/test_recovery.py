import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from catalog.envelope import ApiError
from installs import connection as install_connection
from installs import lifecycle
from installs.access import Actor
from installs.models import AuditEntry, Install, Role
from tests.factories import (
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
    owner_of,
)
from webhooks import recovery
from webhooks.models import Delivery, DeliveryStatus, Event, Recovery

pytestmark = pytest.mark.django_db

SINCE = timezone.now() - timedelta(days=2)
DEAD, DELIVERED, PENDING = DeliveryStatus.DEAD, DeliveryStatus.DELIVERED, DeliveryStatus.PENDING


@pytest.fixture
def install():
    integration = make_integration(
        outbound_events=["order.paid"], outbound_url="https://p.example/e"
    )
    return make_install(make_merchant(), integration)


def make_deliveries(install: Install, how_many: int, status: str = DEAD, **over) -> list[Delivery]:
    """All created at the same moment unless `created_at` says otherwise."""
    at = over.pop("created_at", timezone.now() - timedelta(hours=1))
    number = Event.objects.filter(merchant=install.merchant, sequence__isnull=False).count()
    is_example = over.pop("is_example", False)
    events = Event.objects.bulk_create(
        Event(
            merchant_id=install.merchant_id,
            type="order.paid",
            sequence=None if is_example else number + index + 1,
            is_example=is_example,
            body=b"{}",
            occurred_at=at,
        )
        for index in range(how_many)
    )
    finished = {"next_attempt_at": None, "finished_at": at} if status != PENDING else {}
    values = {"status": status, "attempts_made": 5, "created_at": at, **finished, **over}
    return Delivery.objects.bulk_create(
        Delivery(
            event=event,
            merchant_id=install.merchant_id,
            integration=install.integration,
            install_id=install.pk,
            **values,
        )
        for event in events
    )


def start(install: Install, actor: Actor | None = None, **over) -> Recovery:
    actor = actor or owner_of(install.merchant)
    values: dict[str, Any] = {"since": SINCE, "what": "dead"}
    return recovery.start(actor, install.integration, **(values | over))


def numbers(row: Recovery) -> tuple[str, int, int, int]:
    row.refresh_from_db()
    return row.status, row.total, row.done, row.skipped


def test_recovery_sends_what_died_again_from_the_start_of_its_ladder(install):
    [dead] = make_deliveries(install, 1, reason="http_500")
    make_deliveries(install, 1, DELIVERED)

    row = start(install)
    recovery.run_due()

    dead.refresh_from_db()
    assert numbers(row) == ("done", 1, 1, 0)
    assert (dead.status, dead.reason, dead.attempts_before_replay) == (PENDING, "", 5)
    assert (dead.finished_at, dead.next_attempt_at <= timezone.now()) == (None, True)
    assert Delivery.objects.filter(status=PENDING).count() == 1


def test_recovery_of_all_takes_everything_finished_and_nothing_on_its_way(install):
    make_deliveries(install, 2, DELIVERED)
    make_deliveries(install, 1, DEAD)
    [waiting] = make_deliveries(install, 1, PENDING, attempts_made=2)

    row = start(install, what="all")
    recovery.run_due()

    waiting.refresh_from_db()
    assert numbers(row) == ("done", 3, 3, 0)
    assert waiting.attempts_before_replay == 0


def test_recovery_leaves_out_examples_other_times_installs_and_merchants(install):
    at = timezone.now() - timedelta(hours=1)
    other = make_install(make_merchant(), install.integration)
    partner = make_install(install.merchant, make_integration())
    make_deliveries(install, 1, is_example=True)
    make_deliveries(install, 1, created_at=at - timedelta(minutes=1))
    make_deliveries(install, 1, created_at=at + timedelta(minutes=1))
    make_deliveries(other, 1)
    make_deliveries(partner, 1)
    [wanted] = make_deliveries(install, 1, created_at=at)

    row = start(install, since=at, until=at + timedelta(minutes=1), what="all")
    recovery.run_due()

    assert numbers(row) == ("done", 1, 1, 0)
    assert Delivery.objects.get(status=PENDING).pk == wanted.pk


def test_recovery_pages_over_deliveries_of_the_same_moment(install, monkeypatch):
    monkeypatch.setattr(recovery, "STEP", 3)
    make_deliveries(install, 10)

    row = start(install)
    steps = recovery.run_due()

    # Three full pages, a page of one, and a look that finds nothing.
    assert (steps, numbers(row)) == (5, ("done", 10, 10, 0))
    assert not Delivery.objects.filter(status=DEAD).exists()


def test_recovery_has_no_cap(install):
    make_deliveries(install, 2 * recovery.STEP + 1)

    row = start(install)
    recovery.run_due()

    total = 2 * recovery.STEP + 1
    assert numbers(row) == ("done", total, total, 0)


def test_recovery_ends_although_new_events_come_meanwhile(install):
    make_deliveries(install, 1)
    row = start(install, until=timezone.now() + timedelta(days=1))
    make_deliveries(install, 1, created_at=timezone.now())

    recovery.run_due()

    assert numbers(row) == ("done", 1, 1, 0)


def test_count_is_what_start_finds_and_changes_nothing(install):
    make_deliveries(install, 2)
    make_deliveries(install, 1, DELIVERED)
    actor = owner_of(install.merchant)

    counts = [
        recovery.count(actor, install.integration, since=SINCE, until=None, what=what)
        for what in ("dead", "all")
    ]

    assert counts == [2, 3]
    assert not Recovery.objects.exists()
    assert not Delivery.objects.filter(status=PENDING).exists()


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        (lifecycle.disable, "integration_disabled"),
        (lifecycle.uninstall, "integration_not_installed"),
        (lambda _actor, pk: install_connection.turn_outbound_off(pk), "integration_disabled"),
    ],
    ids=["disabled", "uninstalled", "closed by the partner"],
)
def test_recovery_for_an_install_that_is_off_is_refused(install, verb, code):
    make_deliveries(install, 1)
    verb(owner_of(install.merchant), install.pk)

    with pytest.raises(ApiError) as caught:
        start(install)

    assert (caught.value.code, Recovery.objects.count()) == (code, 0)


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        (lifecycle.disable, "integration_disabled"),
        (lifecycle.uninstall, "integration_not_installed"),
        (lambda _actor, pk: install_connection.turn_outbound_off(pk), "integration_disabled"),
    ],
    ids=["disabled", "uninstalled", "closed by the partner"],
)
def test_recovery_stops_where_its_only_install_goes_off_meanwhile(install, monkeypatch, verb, code):
    monkeypatch.setattr(recovery, "STEP", 2)
    make_deliveries(install, 5)
    row = start(install)
    recovery._step(row.pk)
    verb(owner_of(install.merchant), install.pk)

    recovery.run_due()

    assert numbers(row) == ("stopped", 5, 2, 3)
    assert row.reason == code


def test_recovery_skips_an_install_that_is_disabled_meanwhile_and_goes_on_with_others(install):
    ubud = make_install(install.merchant, install.integration, make_location(install.merchant).pk)
    make_deliveries(install, 2)
    make_deliveries(ubud, 3)
    row = start(install)
    lifecycle.disable(owner_of(install.merchant), ubud.pk)

    recovery.run_due()

    assert numbers(row) == ("done", 5, 2, 3)
    assert set(Delivery.objects.filter(install_id=ubud.pk).values_list("status", flat=True)) == {
        DEAD
    }


def test_manager_of_some_outlets_recovers_only_theirs(install):
    here = make_location(install.merchant)
    mine = make_install(install.merchant, install.integration, here.pk)
    make_deliveries(install, 2)
    [wanted] = make_deliveries(mine, 1)
    manager = Actor(install.merchant_id, "m@example.id", Role.MANAGER, frozenset({here.pk}))

    row = start(install, manager)
    recovery.run_due()

    assert numbers(row) == ("done", 1, 1, 0)
    assert Delivery.objects.get(status=PENDING).pk == wanted.pk


@pytest.mark.parametrize(
    ("role", "locations"), [(Role.VIEWER, None), (Role.MANAGER, frozenset({uuid4()}))]
)
def test_recovery_is_refused_to_who_may_not_send_there(install, role, locations):
    make_deliveries(install, 1)

    with pytest.raises(ApiError) as caught:
        start(install, Actor(install.merchant_id, "x@example.id", role, locations))

    assert caught.value.code == "forbidden"


def test_recovery_is_on_record_from_start_to_end(install):
    make_deliveries(install, 1)

    row = start(install)
    recovery.run_due()

    entries = AuditEntry.objects.filter(action__startswith="recovery.").order_by("pk")
    assert [(item.action, item.actor) for item in entries] == [
        ("recovery.started", "owner@example.id"),
        ("recovery.done", "posz"),
    ]
    assert {item.data["recovery_id"] for item in entries} == {str(row.pk)}


def test_recoveries_take_turns(install, monkeypatch):
    monkeypatch.setattr(recovery, "STEP", 1)
    monkeypatch.setattr(recovery, "RUN_SECONDS", 0.0)
    other = make_install(make_merchant(), install.integration)
    make_deliveries(install, 3)
    make_deliveries(other, 3)
    rows = [start(install), start(other)]

    recovery.run_due()

    assert [numbers(row)[2] for row in rows] == [1, 1]


def test_step_asks_as_many_queries_for_one_delivery_as_for_many(install):
    counts = []
    for how_many in (1, 30):
        make_deliveries(install, how_many)
        row = start(install)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            recovery._step(row.pk)
        counts.append(len(queries))
        recovery.run_due()

    assert counts[0] == counts[1]


KILLED = """
import os, signal, sys
import django
django.setup()
from django.conf import settings
from django.db import connections
connections["default"].settings_dict["NAME"] = sys.argv[1]
from webhooks import outbound, recovery
steps, start_anew = [], outbound.start_anew
def killed_in_the_third(ids):
    sent = start_anew(ids)
    steps.append(sent)
    if len(steps) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return sent
outbound.start_anew = killed_in_the_third
recovery.STEP = 10
recovery.run_due()
"""


@pytest.mark.django_db(transaction=True)
def test_recovery_whose_worker_is_killed_goes_on_where_it_was(install):
    make_deliveries(install, 50)
    row = start(install)

    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(connection.settings_dict["NAME"])],
        cwd=settings.BASE_DIR,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "poszhub.settings"},
        timeout=60,
        check=False,
    )
    after_kill = numbers(row)
    recovery.run_due()

    assert killed.returncode == -signal.SIGKILL
    assert after_kill == ("running", 50, 20, 0)
    assert numbers(row) == ("done", 50, 50, 0)
    assert set(Delivery.objects.values_list("status", "attempts_before_replay")) == {(PENDING, 5)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("jobs", [1, 2])
def test_recovery_by_many_workers_at_once_sends_each_delivery_once(install, monkeypatch, jobs):
    monkeypatch.setattr(recovery, "STEP", 7)
    make_deliveries(install, 100)
    rows = [start(install) for _ in range(jobs)]
    together = Barrier(4)

    def work(_number: int) -> None:
        try:
            together.wait(30)
            recovery.run_due()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(work, range(4)))

    found = [numbers(row) for row in rows]
    assert {item[0] for item in found} == {"done"}
    assert sum(item[2] for item in found) == 100
    assert Delivery.objects.filter(status=PENDING).count() == 100


def call(method: str, path: str, token: str, body: Any = None):
    return Client(raise_request_exception=False).generic(
        method,
        f"/v1/deliveries{path}",
        json.dumps(body or {}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )


def code_of(response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_api_counts_starts_and_tells_how_far_a_recovery_has_come(install):
    make_deliveries(install, 2)
    token = make_token(install.merchant)
    body = {"integration": install.integration.slug, "since": SINCE.isoformat()}

    dry = call("POST", "/recover", token, body | {"dry_run": True})
    begun = call("POST", "/recover", token, body)
    recovery.run_due()
    done = call("GET", f"/recover/{begun.json()['id']}", token)

    assert (dry.status_code, dry.json()) == (200, {"count": 2})
    assert begun.status_code == 202
    assert {name: begun.json()[name] for name in ("what", "status", "count", "done")} == {
        "what": "dead",
        "status": "running",
        "count": 2,
        "done": 0,
    }
    assert [done.json()[name] for name in ("status", "done", "skipped")] == ["done", 2, 0]


@pytest.mark.parametrize(
    "change",
    [
        *({"since": None}, {"since": "soon"}, {"what": "most"}, {"until": "x"}),
        *({"dry_run": "maybe"}, {"integration": None}, {"merchant_id": "x"}),
    ],
)
def test_api_refuses_a_recovery_it_does_not_understand(install, change):
    body = {"integration": install.integration.slug, "since": SINCE.isoformat()} | change

    response = call("POST", "/recover", make_token(install.merchant), body)

    assert code_of(response) == (400, "invalid_payload")


def test_api_knows_no_recovery_of_another_merchant(install):
    row, token = start(install), make_token(make_merchant())

    responses = [call("GET", f"/recover/{pk}", token) for pk in (row.pk, uuid4())]

    assert [code_of(item) for item in responses] == [(404, "not_found")] * 2
    assert responses[0].content == responses[1].content


def test_api_recovers_for_a_merchant_of_its_own_only(install):
    body = {"integration": install.integration.slug, "since": SINCE.isoformat()}
    token, viewer = make_token(make_merchant()), make_token(install.merchant, Role.VIEWER)

    other = call("POST", "/recover", token, body | {"merchant_id": str(install.merchant_id)})
    none = call("POST", "/recover", token, body)
    unknown = call("POST", "/recover", token, body | {"integration": "nobody"})
    low = call("POST", "/recover", viewer, body)

    assert code_of(other) == (404, "not_found")
    assert code_of(none) == (404, "integration_not_installed")
    assert code_of(unknown) == (404, "not_found")
    assert code_of(low) == (403, "forbidden")


def test_api_sends_a_selection_again_and_says_what_became_of_each(install):
    off = make_install(install.merchant, make_integration())
    gone = make_install(install.merchant, make_integration())
    rows = {
        "sent_again": make_deliveries(install, 1)[0],
        "pending": make_deliveries(install, 1, PENDING)[0],
        "integration_disabled": make_deliveries(off, 1)[0],
        "integration_not_installed": make_deliveries(gone, 1)[0],
        "not_found": make_deliveries(make_install(make_merchant(), off.integration), 1)[0],
    }
    lifecycle.disable(owner_of(install.merchant), off.pk)
    lifecycle.uninstall(owner_of(install.merchant), gone.pk)
    ids = [str(row.pk) for row in rows.values()]

    response = call("POST", "/replay", make_token(install.merchant), {"ids": [*ids, ids[0]]})

    assert response.status_code == 202
    assert {item["id"]: item["result"] for item in response.json()["data"]} == {
        str(row.pk): result for result, row in rows.items()
    }
    rows["sent_again"].refresh_from_db()
    assert rows["sent_again"].status == PENDING
    assert AuditEntry.objects.get(action="deliveries.replayed").data == {"deliveries": 1}


def test_selection_of_a_manager_of_some_outlets_is_sent_again_only_there(install):
    here = make_location(install.merchant)
    mine = make_install(install.merchant, install.integration, here.pk)
    [wide], [own] = make_deliveries(install, 1), make_deliveries(mine, 1)
    manager = Actor(install.merchant_id, "m@example.id", Role.MANAGER, frozenset({here.pk}))

    results = recovery.replay_chosen(manager, [wide.pk, own.pk])

    assert results == {wide.pk: "forbidden", own.pk: "sent_again"}


@pytest.mark.parametrize("ids", [None, [], ["x"], [str(UUID(int=n)) for n in range(501)]])
def test_api_refuses_a_selection_it_does_not_understand(install, ids):
    response = call("POST", "/replay", make_token(install.merchant), {"ids": ids})

    assert code_of(response) == (400, "invalid_payload")


def test_api_refuses_a_selection_of_a_viewer(install):
    [row] = make_deliveries(install, 1)

    response = call(
        "POST", "/replay", make_token(install.merchant, Role.VIEWER), {"ids": [str(row.pk)]}
    )

    assert code_of(response) == (403, "forbidden")


def test_selection_asks_as_many_queries_for_one_as_for_many(install):
    counts = []
    for how_many in (1, 20):
        ids = [row.pk for row in make_deliveries(install, how_many)]
        with CaptureQueriesContext(connection) as queries:
            recovery.replay_chosen(owner_of(install.merchant), ids)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_list_of_deliveries_is_narrowed(install):
    at = timezone.now() - timedelta(hours=5)
    other = make_install(install.merchant, make_integration())
    make_deliveries(other, 1, DELIVERED)
    [row] = make_deliveries(install, 1, DEAD, created_at=at)
    token = make_token(install.merchant)

    answers = {
        query: [item["id"] for item in call("GET", f"?{query}", token).json()["data"]]
        for query in (
            f"integration={install.integration.slug}",
            f"install={install.pk}",
            "status=dead",
            f"until={(at + timedelta(minutes=1)).strftime('%Y-%m-%dT%H:%M:%SZ')}",
            "status=dead&event_type=order.paid",
        )
    }
    none = [
        call("GET", f"?{query}", token).json()["data"]
        for query in ("status=dead&since=2099-01-01T00:00:00Z", "event_type=refund.created")
    ]

    assert set(map(tuple, answers.values())) == {(str(row.pk),)}
    assert none == [[], []]


@pytest.mark.parametrize("query", ["status=lost", "install=x", "since=x", "integration=%00"])
def test_list_of_deliveries_refuses_a_filter_it_does_not_understand(install, query):
    response = call("GET", f"?{query}", make_token(install.merchant))

    assert code_of(response) == (400, "invalid_payload")
