"""What staff see of webhooks that came in, and of those that were refused."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from installs.models import AuditEntry
from tests.factories import make_inbound, make_install, make_integration, make_merchant
from tests.test_admin import act, address, staff
from tests.test_delivery_admin import queries
from webhooks import charted_admin
from webhooks.models import NOBODY, InboundEvent, InboundRefusal
from webhooks.refusals import NEXT

__all__ = ["staff"]
pytestmark = pytest.mark.django_db


def make_event(**over: Any) -> InboundEvent:
    return make_inbound(make_install(make_merchant(), make_integration()), **over)


def make_refusal(**over: Any) -> InboundRefusal:
    now = timezone.now()
    defaults: dict[str, Any] = {
        "slug": make_integration().slug,
        "merchant_id": NOBODY,
        "reason": "mismatch",
        "hour": now.replace(minute=0, second=0, microsecond=0),
        "first_at": now,
        "last_at": now,
        "count": 3,
    }
    return InboundRefusal.objects.create(**(defaults | over))


def make_row(model: Any) -> Any:
    return make_event() if model is InboundEvent else make_refusal(merchant_id=make_merchant().pk)


@pytest.mark.parametrize("model", [InboundEvent, InboundRefusal])
def test_lists_ask_as_often_for_three_rows_as_for_one(staff: Client, model: Any):
    make_row(model)
    url = address(model, "changelist")
    staff.get(url)
    once = queries(staff, url)
    for _number in range(2):
        make_row(model)

    # One of them asks for the names that the filter shows.
    assert queries(staff, url) == once


@pytest.mark.parametrize("model", [InboundEvent, InboundRefusal])
def test_rows_can_only_be_looked_at(staff: Client, model: Any):
    row = make_row(model)

    shown = staff.get(address(model, "change", row.pk))
    answers = [
        staff.get(address(model, "add")),
        staff.post(address(model, "change", row.pk), {}),
        staff.post(address(model, "delete", row.pk), {"post": "yes"}),
    ]

    assert shown.status_code == 200
    assert [answer.status_code for answer in answers] == [403, 403, 403]


def test_events_are_narrowed_to_what_was_set_aside_and_what_differs(staff: Client):
    aside, differs = make_event(status="quarantined"), make_event(mismatched_at=timezone.now())
    make_event()
    url = address(InboundEvent, "changelist")

    found = [
        list(staff.get(url, given).context["cl"].result_list)
        for given in ({"status__exact": "quarantined"}, {"mismatched_at__isempty": "0"})
    ]

    assert found == [[aside], [differs]]


@pytest.mark.parametrize("field", ["pk", "provider_event_id", "install_id"])
def test_events_are_found_by_their_ids(staff: Client, field: str):
    make_event()
    row = make_event()

    found = staff.get(address(InboundEvent, "changelist"), {"q": str(getattr(row, field))})

    assert list(found.context["cl"].result_list) == [row]


def test_event_page_shows_what_came_without_secrets(staff: Client):
    row = make_event(
        data={"api_key": "canary", "note": "<i>"},
        headers=[["X-A-Signature", "canary"]],
        status="quarantined",
        problem="TypeError",
    )

    html = staff.get(address(InboundEvent, "change", row.pk)).content.decode()

    assert "canary" not in html
    assert "&lt;i&gt;" in html
    assert "Posz could not work on the event (TypeError)." in html


def test_replay_of_events_of_two_merchants_goes_through_the_door(staff: Client):
    rows = [make_event(status="quarantined") for _number in range(2)]
    done = make_event(status="processed")

    answer = act(staff, InboundEvent, "replay", *rows, done)

    assert set(InboundEvent.objects.exclude(pk=done.pk).values_list("status")) == {("received",)}
    entries = AuditEntry.objects.filter(action="inbound.replayed")
    assert {entry.merchant_id for entry in entries} == {row.merchant_id for row in rows}
    assert {entry.actor for entry in entries} == {"staff:staff@posz.id"}
    assert "an event has its effect only once" in answer


def test_count_of_a_long_list_ends(staff: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(charted_admin, "COUNTED_UP_TO", 2)
    for _number in range(3):
        make_event()

    shown = staff.get(address(InboundEvent, "changelist")).context["cl"]

    assert shown.result_count == 2


def test_refusals_tell_what_it_means_and_what_to_do(staff: Client):
    partner = make_integration()
    make_refusal(slug=partner.slug, detail="header:X-A")
    make_refusal(slug="", reason="not_found")

    html = staff.get(address(InboundRefusal, "changelist")).content.decode()

    assert "header:X-A: No key makes this signature" in html
    assert partner.name in html
    assert "No such integration" in html
    assert "Compare the secret with the partner" in html


@pytest.mark.parametrize("reason", NEXT)
def test_every_reason_is_told_in_words(staff: Client, reason: str):
    row = make_refusal(reason=reason)

    html = staff.get(address(InboundRefusal, "change", row.pk)).content.decode()

    assert f'<div class="readonly">{reason}</div>' in html
    assert html.count(f">{reason}<") == 1


def test_refusals_have_a_chart_and_are_narrowed_to_an_integration(staff: Client):
    first, second = make_refusal(), make_refusal(reason="rate_limited", count=5)
    make_refusal(slug="", hour=timezone.now() - timedelta(days=3))
    url = address(InboundRefusal, "changelist")

    day, week, one = (
        staff.get(url, given).context for given in ({}, {"span": "7d"}, {"slug": second.slug})
    )

    totals = [[count for *_layer, count in page["chart"].totals] for page in (day, week, one)]
    assert totals == [[5, 0, 0, 3], [5, 0, 0, 6], [5, 0, 0, 0]]
    assert list(one["cl"].result_list) == [second]
    assert first in day["cl"].result_list
