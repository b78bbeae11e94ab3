"""Shifts that partners publish, or are asked for."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from dispatch.signing import standard_headers
from installs import lifecycle
from installs.models import Install
from tests.factories import keys_of, make_install, make_integration, make_merchant, owner_of
from tests.inbox import row_of, schedule, shift, tell
from tests.partners import Reply, Request, running_partner
from webhooks import inbound, schedule_asking
from webhooks.models import InboundEvent, InboxRow, ScheduleAsking

pytestmark = pytest.mark.django_db


@pytest.fixture
def install() -> Install:
    integration = make_integration(capabilities={"staff_schedule_import": 1})
    return make_install(make_merchant(), integration)


def publish(install: Install, *shifts: dict[str, Any]) -> InboxRow:
    return row_of(tell(install, "schedule.published", schedule(*shifts)))


def seen(row: InboxRow) -> list[tuple[str, str]]:
    return [(item["external_id"], item["status"]) for item in row.data["shifts"]]


def at(hour: int) -> str:
    return f"2026-11-20T{hour:02}:00:00Z"


def test_only_published_shifts_reach_the_pos(install: Install):
    row = publish(
        install,
        shift(install, "a"),
        shift(install, "b", status="draft"),
        shift(install, "c", status="deleted"),
    )

    assert seen(row) == [("a", "published")]
    assert row.location is not None
    assert row.data["shifts"][0]["staff_id"] == "EMP-0093"


def test_older_version_of_a_shift_never_overwrites(install: Install):
    publish(install, shift(install, "a", updated_at=at(5)))

    older = publish(install, shift(install, "a", updated_at=at(4), role_code="cook"))
    same = publish(install, shift(install, "a", updated_at=at(5)))
    newer = publish(
        install,
        shift(install, "a", updated_at=at(6), role_code="cook"),
        shift(install, "b", updated_at=at(1)),
    )

    assert (older.withheld, same.withheld) == ("nothing_new", "nothing_new")
    assert seen(newer) == [("a", "published"), ("b", "published")]


@pytest.mark.parametrize("status", ["deleted", "draft"])
def test_shift_that_was_taken_back_is_told(install: Install, status: str):
    publish(install, shift(install, "a", updated_at=at(5)))

    row = publish(install, shift(install, "a", updated_at=at(6), status=status))

    assert seen(row) == [("a", "deleted")]


# Asking


class Staffing:
    """A partner that is asked for shifts. `shifts` is what it answers with."""

    def __init__(self) -> None:
        self.key, self.shifts, self.status = b"", list[Any](), 200

    def __call__(self, request: Request) -> Reply:
        asked = request.json()
        body = json.dumps(
            {"contract": asked["contract"], "status": "ok", "data": schedule(*self.shifts)}
        ).encode()
        signature = standard_headers(asked["request_id"], int(time.time()), body, [self.key])
        return Reply(self.status, body, {"Content-Type": "application/json", **signature})


@pytest.fixture
def asked(settings: Any) -> Any:
    """A partner, an install of it that is asked, and the server's record of requests."""
    staffing = Staffing()
    with running_partner(settings, staffing) as server:
        integration = make_integration(
            capabilities={"staff_schedule_import": 1},
            is_asked_for_shifts=True,
            api_base_url=server.url,
        )
        staffing.key = keys_of(integration)["outbound"]
        install = make_install(make_merchant(), integration)
        staffing.shifts = [shift(install, "a")]
        yield staffing, install, server


def make_due() -> None:
    ScheduleAsking.objects.update(due_at=timezone.now())


def test_answer_is_handed_over_and_asked_for_again_after_15_minutes(asked: Any):
    _staffing, _install, server = asked

    assert schedule_asking.ask_due() == 1
    inbound.sweep()

    row = ScheduleAsking.objects.get()
    [request] = server.requests
    assert request.path == "/posz/v1/staff_schedule_import/pull"
    assert row.asked_at is not None
    assert row.due_at - row.asked_at == timedelta(minutes=15)
    assert (row.schedule_version, row.problem) == ("1", "")
    assert seen(InboxRow.objects.get()) == [("a", "published")]
    assert schedule_asking.ask_due() == 0


def test_same_answer_twice_is_one_event(asked: Any):
    for _time in range(2):
        schedule_asking.ask_due()
        make_due()

    assert InboundEvent.objects.count() == 1


def test_partner_that_fails_costs_nothing_but_time(asked: Any):
    staffing, install, _server = asked
    schedule_asking.ask_due()
    make_due()
    staffing.status = 500

    schedule_asking.ask_due()

    row = ScheduleAsking.objects.get()
    assert row.problem.startswith("unreachable")
    assert row.answered_at is not None
    assert row.schedule_version == "1"
    assert InboundEvent.objects.filter(install_id=install.pk).count() == 1


def test_wrong_answer_names_its_field(asked: Any):
    staffing, _install, _server = asked
    staffing.shifts = [{"external_id": "a"}]

    schedule_asking.ask_due()

    assert "data.shifts[0].staff_external_id" in ScheduleAsking.objects.get().problem


def test_worker_that_dies_while_asking_gives_it_back(asked: Any):
    """It has claimed the asking and is gone: when the claim is over another one asks."""
    schedule_asking.begin()
    schedule_asking.claim(ScheduleAsking.objects.get())
    assert schedule_asking.ask_due() == 0
    make_due()

    assert schedule_asking.ask_due() == 1
    assert InboundEvent.objects.count() == 1


def test_asking_is_claimed_by_one_worker(asked: Any):
    schedule_asking.begin()
    row = ScheduleAsking.objects.get()
    again = ScheduleAsking.objects.get()

    assert [schedule_asking.claim(row), schedule_asking.claim(again)] == [True, False]
    assert row.due_at > timezone.now() + timedelta(minutes=1)


def test_install_that_is_off_is_not_asked(asked: Any):
    _staffing, install, server = asked
    lifecycle.disable(owner_of(install.merchant), install.pk)

    assert schedule_asking.ask_due() == 0
    assert server.requests == []
