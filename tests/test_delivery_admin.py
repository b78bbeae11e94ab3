from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from installs.models import AuditEntry, Install
from tests.factories import (
    make_delivery,
    make_health,
    make_install,
    make_integration,
    make_merchant,
)
from tests.test_admin import act, address, staff
from webhooks.models import Attempt, Delivery, DeliveryHealth, Endpoint, Event, Recovery

__all__ = ["staff"]
pytestmark = pytest.mark.django_db


def make_everything() -> Install:
    install = make_install(make_merchant(), make_integration())
    make_delivery(install)
    make_health(install)
    Endpoint.objects.create(integration=install.integration, state="open", totals={"ok": 3})
    Recovery.objects.create(
        merchant=install.merchant,
        integration=install.integration,
        since=timezone.now(),
        until=timezone.now(),
        asked_by="owner",
    )
    return install


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


@pytest.mark.parametrize("model", [Delivery, Event, Endpoint, DeliveryHealth, Recovery])
def test_lists_ask_as_often_for_three_rows_as_for_one(staff: Client, model: Any):
    make_everything()
    url = address(model, "changelist")
    staff.get(url)
    once = queries(staff, url)
    for _number in range(2):
        make_everything()

    assert queries(staff, url) == once


@pytest.mark.parametrize("model", [Endpoint, DeliveryHealth, Recovery])
def test_rows_can_only_be_looked_at(staff: Client, model: Any):
    make_everything()
    row = model._default_manager.get()

    shown = staff.get(address(model, "change", row.pk))
    answers = [
        staff.get(address(model, "add")),
        staff.post(address(model, "change", row.pk), {}),
        staff.post(address(model, "delete", row.pk), {"post": "yes"}),
    ]

    assert shown.status_code == 200
    assert [answer.status_code for answer in answers] == [403, 403, 403]


def test_list_of_deliveries_has_a_chart_of_what_is_listed(staff: Client):
    install = make_everything()
    make_delivery(install, status="delivered", reason="")
    make_delivery(install, created_at=timezone.now() - timedelta(days=3))
    url = address(Delivery, "changelist")

    day, week, dead = (
        staff.get(url, given).context["chart"].totals
        for given in ({}, {"span": "7d"}, {"status__exact": "dead", "span": "24h"})
    )

    assert [[count for _status, _label, count in found] for found in (day, week, dead)] == [
        [1, 0, 0, 1],
        [1, 0, 0, 2],
        [0, 0, 0, 1],
    ]


@pytest.mark.parametrize("field", ["pk", "event_id", "install_id"])
def test_deliveries_are_found_by_their_ids(staff: Client, field: str):
    make_everything()
    row = make_delivery(make_everything())

    found = staff.get(address(Delivery, "changelist"), {"q": str(getattr(row, field))})

    assert row in found.context["cl"].result_list


def test_delivery_page_shows_answers_without_secrets(staff: Client):
    row = make_delivery(make_everything())
    Attempt.objects.create(
        delivery=row,
        number=1,
        started_at=timezone.now(),
        elapsed_ms=5,
        response_excerpt='<i>{"api_key": "canary-key"}',
    )

    html = staff.get(address(Delivery, "change", row.pk)).content.decode()

    assert "canary" not in html
    assert "&lt;i&gt;" in html


def test_replay_of_deliveries_of_two_merchants_goes_through_the_door(staff: Client):
    rows = [make_delivery(make_everything()) for _number in range(2)]

    act(staff, Delivery, "replay", *rows)

    assert set(Delivery.objects.filter(pk__in=[row.pk for row in rows]).values_list("status")) == {
        ("pending",)
    }
    entries = AuditEntry.objects.filter(action="deliveries.replayed")
    assert {entry.merchant_id for entry in entries} == {row.merchant_id for row in rows}
    assert {entry.actor for entry in entries} == {"staff:staff@posz.id"}
