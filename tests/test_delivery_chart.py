from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import make_delivery, make_install, make_integration, make_merchant
from webhooks import chart
from webhooks.models import Delivery, DeliveryStatus

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 7, 30, tzinfo=UTC)
JAKARTA = ZoneInfo("Asia/Jakarta")


@pytest.fixture
def install():
    return make_install(make_merchant(), make_integration())


def drawn(span: chart.Span, zone: ZoneInfo = JAKARTA) -> chart.Chart:
    return chart.chart_of(Delivery.objects.all(), span, NOW, zone)


def test_chart_counts_by_hour_and_outcome(install):
    for minutes, status in ((5, "dead"), (10, "delivered"), (29, "delivered"), (31, "pending")):
        make_delivery(install, status=status, created_at=NOW - timedelta(minutes=minutes))
    make_delivery(install, created_at=NOW - timedelta(hours=25))

    found = drawn(chart.DAY)

    assert {bar.label: dict(bar.counts) for bar in found.filled} == {
        "24 Nov, 13:00-14:00": {"pending": 1},
        "24 Nov, 14:00-15:00": {"dead": 1, "delivered": 2},
    }
    assert (found.highest, len(found.bars)) == (3, 24)


def test_chart_of_a_week_has_bars_of_six_hours(install):
    make_delivery(install, created_at=NOW - timedelta(days=6))
    make_delivery(install, created_at=NOW - timedelta(days=8))

    found = drawn(chart.WEEK)

    assert [bar.label for bar in found.filled] == ["18 Nov, 09:00-15:00"]
    assert sum(count for _status, _label, count in found.totals) == 1


def test_chart_in_a_zone_of_half_hours_finds_the_hour(install):
    make_delivery(install, created_at=NOW - timedelta(minutes=1))

    assert drawn(chart.DAY, ZoneInfo("Asia/Kathmandu")).highest == 1


def test_bars_stand_on_each_other_up_to_the_highest(install):
    for status in ("delivered", "delivered", "delivered", "dead"):
        make_delivery(install, status=status, created_at=NOW)

    [bar] = drawn(chart.DAY).filled

    assert [(box.look, box.y, box.height) for box in bar.boxes] == [
        (DeliveryStatus.DELIVERED, 25, 75),
        (DeliveryStatus.DEAD, 0, 25),
    ]


def test_chart_asks_once_however_many_there_are(install):
    for minutes in range(5):
        make_delivery(install, created_at=NOW - timedelta(hours=minutes))

    with CaptureQueriesContext(connection) as captured:
        drawn(chart.WEEK)

    assert len(captured) == 1
