"""What is asked of a long ledger is read from an index: PostgreSQL says so itself."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from installs.models import Install
from tests.factories import make_install, make_integration, make_merchant, owner_of
from webhooks import inbound_filters, retention
from webhooks.log import PAGE_SIZE
from webhooks.models import InboundEvent

pytestmark = [pytest.mark.django_db, pytest.mark.servers]
NUMBER = 20_000
NOW = timezone.now()


@pytest.fixture
def installs() -> list[Install]:
    """Two merchants of one partner: nearly all rows are the first one's, and processed."""
    partner = make_integration(inbound_events={"bill.settled": "receipt_qr"})
    found = [make_install(make_merchant(), partner) for _number in range(2)]
    InboundEvent.objects.bulk_create(
        InboundEvent(
            install_id=found[number % 100 == 0].pk,
            merchant_id=found[number % 100 == 0].merchant_id,
            integration=partner,
            provider_event_id=str(uuid4()),
            type="bill.settled",
            capability="receipt_qr",
            status="quarantined" if number % 500 == 0 else "processed",
            mismatched_at=NOW if number % 700 == 0 else None,
            received_at=NOW - timedelta(minutes=number),
            body=b"{}",
        )
        for number in range(NUMBER)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE inbound_event")
    return found


def plan_of(rows: QuerySet[Any]) -> str:
    with connection.cursor() as cursor, CaptureQueriesContext(connection) as captured:
        list(rows)
        cursor.execute(f"EXPLAIN {captured[0]['sql']}")
        return "\n".join(line for (line,) in cursor.fetchall())


def newest(rows: Any) -> Any:
    return rows.defer("body").order_by("-received_at", "-id")[: PAGE_SIZE + 1]


def test_merchants_page_is_read_from_the_index(installs: list[Install]):
    rows = inbound_filters.visible_to(owner_of(installs[1].merchant))

    plans = [
        plan_of(newest(rows)),
        plan_of(newest(rows.filter(received_at__lt=NOW - timedelta(minutes=NUMBER // 2)))),
    ]

    assert ["Index Scan using inbound_of_merchant" in plan for plan in plans] == [True, True]
    assert "Seq Scan" not in "".join(plans)


def test_staffs_lists_are_read_from_indexes(installs: list[Install]):
    rows = InboundEvent.objects.all()

    plans = {
        "all": plan_of(newest(rows)),
        "aside": plan_of(newest(rows.set_aside())),
        "differs": plan_of(newest(rows.filter(mismatched_at__isnull=False))),
        "integration": plan_of(newest(rows.filter(integration=installs[0].integration_id))),
        "count": plan_of(rows.order_by().values("pk")[:10_000]),
    }

    assert "inbound_newest" in plans["all"]
    assert "inbound_set_aside" in plans["aside"]
    assert "inbound_mismatched" in plans["differs"]
    assert "Seq Scan" not in plans["integration"]


def test_retention_is_read_from_indexes(installs: list[Install]):
    old = NOW - timedelta(minutes=NUMBER - 100)

    with CaptureQueriesContext(connection) as captured:
        next(retention.erase_bodies(old))
        InboundEvent.objects.filter(received_at__lt=old).update(erased_at=NOW)
        integration = installs[0].integration
        list(
            InboundEvent.objects.filter(
                integration=integration,
                status="processed",
                erased_at__isnull=False,
                received_at__lt=old,
            )
            .order_by("received_at")
            .values_list("pk", flat=True)[: retention.BATCH]
        )
    with connection.cursor() as cursor:
        plans = []
        for asked in (captured[0], captured[-1]):
            cursor.execute(f"EXPLAIN {asked['sql']}")
            plans.append("\n".join(line for (line,) in cursor.fetchall()))

    assert "inbound_to_erase" in plans[0]
    assert "Seq Scan" not in plans[1]
