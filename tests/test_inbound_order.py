"""Events that come in another order than they happened in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from installs.models import AuditEntry
from tests.factories import make_inbound, make_install, make_merchant, make_spliteasy
from webhooks import inbound
from webhooks.models import InboundEvent, InboundSubject

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def install() -> Any:
    return make_install(make_merchant(), make_spliteasy())


def process(row: InboundEvent) -> InboundEvent:
    inbound.process(row.pk)
    row.refresh_from_db()
    return row


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_older_event_that_comes_later_is_late_and_still_noted(install: Any):
    settled = process(make_inbound(install, occurred_at=at(5)))
    expired = process(make_inbound(install, occurred_at=at(1), type="bill.expired"))

    [entry] = AuditEntry.objects.filter(pk__in=expired.effects or [])
    assert (settled.is_late, expired.is_late) == (False, True)
    assert (entry.action, entry.data["late"]) == ("bill.expired", True)
    assert InboundSubject.objects.get().occurred_at == at(5)


def test_events_in_their_order_and_at_once_are_not_late(install: Any):
    rows = [process(make_inbound(install, occurred_at=at(minute))) for minute in (1, 2, 2)]

    assert [row.is_late for row in rows] == [False, False, False]


def test_bills_and_installs_have_an_order_of_their_own(install: Any):
    other = make_install(make_merchant(), install.integration)
    process(make_inbound(install, occurred_at=at(5)))

    rows = [
        process(make_inbound(install, occurred_at=at(1), data={"bill_token": "another"})),
        process(make_inbound(other, occurred_at=at(1))),
        process(make_inbound(install, occurred_at=at(1), data={})),
    ]

    assert [row.is_late for row in rows] == [False, False, False]


def test_time_without_an_event_time_is_when_it_was_received(install: Any):
    process(make_inbound(install, received_at=at(5)))

    assert process(make_inbound(install, received_at=at(9), occurred_at=at(4))).is_late


def test_partners_clock_that_is_ahead_does_not_make_all_others_late(install: Any):
    process(make_inbound(install, occurred_at=timezone.now() + timedelta(days=365)))

    assert not process(make_inbound(install, occurred_at=timezone.now())).is_late


def test_subject_of_any_length_is_one(install: Any):
    data = {"bill_token": "x" * 1000}
    process(make_inbound(install, occurred_at=at(5), data=data))

    assert process(make_inbound(install, occurred_at=at(1), data=data)).is_late


def test_event_that_failed_leaves_no_trace_of_its_time(install: Any):
    broken = make_inbound(install, occurred_at=at(5), capability="receipt_qr", type="odd")
    InboundEvent.objects.filter(pk=broken.pk).update(body=b"[]")

    process(broken)

    assert not InboundSubject.objects.exists()
