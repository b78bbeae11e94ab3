from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from installs.models import Install
from tests.factories import make_install, make_integration, make_merchant
from webhooks import metrics
from webhooks.models import (
    BreakerState,
    Delivery,
    DeliveryStatus,
    Endpoint,
    Event,
    InboundEvent,
    InboundStatus,
    InboundTotal,
    Recovery,
)

pytestmark = pytest.mark.django_db
TOKEN = "a-token-for-prometheus"
NOW = timezone.now().replace(microsecond=0)


@pytest.fixture(autouse=True)
def token(settings):
    settings.METRICS_TOKEN = TOKEN


@pytest.fixture
def merchant():
    return make_merchant()


def get(authorization=f"Bearer {TOKEN}"):
    return Client().get("/metrics", headers={"Authorization": authorization})


def scrape():
    """Sample name and labels to value."""
    families = text_string_to_metric_families(get().text)
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def make_deliveries(merchant, integration, count=1, **over):
    event = Event.objects.create(merchant=merchant, type="order.paid", body=b"{}", occurred_at=NOW)
    return Delivery.objects.bulk_create(
        Delivery(
            event=event, merchant=merchant, integration=integration, install_id=uuid4(), **over
        )
        for _ in range(count)
    )


def make_inbound(merchant, integration, **over):
    return InboundEvent.objects.create(
        install_id=uuid4(),
        merchant=merchant,
        integration=integration,
        provider_event_id=str(uuid4()),
        **over,
    )


def test_metrics_are_text_that_prometheus_reads():
    reply = get()

    assert reply.status_code == 200
    assert reply["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert {family.name: family.type for family in text_string_to_metric_families(reply.text)} == {
        "posz_deliveries_due": "gauge",
        "posz_deliveries_pending": "gauge",
        "posz_deliveries_in_flight": "gauge",
        "posz_deliveries_due_age_seconds": "gauge",
        "posz_endpoint_breaker": "gauge",
        "posz_delivery_attempts": "counter",
        "posz_delivery_attempt_seconds": "histogram",
        "posz_inbound_events": "gauge",
        "posz_inbound_age_seconds": "gauge",
        "posz_inbound_due": "gauge",
        "posz_inbound_due_age_seconds": "gauge",
        "posz_inbound_webhooks": "counter",
        "posz_provisioning_due": "gauge",
        "posz_recoveries_running": "gauge",
    }


def test_queue_is_what_the_rows_say(merchant, time_machine):
    time_machine.move_to(NOW, tick=False)
    slow, idle = make_integration("slow"), make_integration("idle")
    make_deliveries(merchant, slow, 2, next_attempt_at=NOW - timedelta(seconds=90))
    make_deliveries(merchant, slow, 1, next_attempt_at=NOW - timedelta(seconds=30))
    make_deliveries(merchant, slow, 4, next_attempt_at=NOW + timedelta(seconds=30))
    make_deliveries(merchant, slow, 5, next_attempt_at=None)
    make_deliveries(merchant, slow, 6, status=DeliveryStatus.DEAD)
    held = {"lease_until": NOW + timedelta(seconds=60)}
    make_deliveries(merchant, slow, 7, next_attempt_at=NOW - timedelta(seconds=900), **held)
    Endpoint.objects.create(integration=slow, in_flight=7)

    found = scrape()

    names = ("due", "due_age_seconds", "pending", "in_flight")
    of = {
        slug: [found[f"posz_deliveries_{name}", slug] for name in names]
        for slug in (slow.slug, idle.slug)
    }
    assert of == {"slow": [3, 90, 19, 7], "idle": [0, 0, 0, 0]}


def test_counting_ends_at_the_cap(merchant, monkeypatch):
    monkeypatch.setattr(metrics, "COUNTED_UP_TO", 3)
    make_deliveries(merchant, make_integration("long"), 5)

    found = scrape()

    assert (found["posz_deliveries_due", "long"], found["posz_deliveries_pending", "long"]) == (
        3,
        3,
    )


def test_attempts_are_what_the_endpoint_says():
    Endpoint.objects.create(
        integration=make_integration("busy"),
        totals={"2xx": 7, "5xx": 2, "none": 1},
        latency_counts=[4, 0, 3, 0, 0, 0, 0, 0, 0, 1, 2],
        latency_ms_total=61_500,
    )
    make_integration("new")

    found = scrape()

    outcomes = ("2xx", "3xx", "4xx", "5xx", "none")
    assert [found["posz_delivery_attempts_total", *sorted([o, "busy"])] for o in outcomes] == [
        *(7, 0, 0, 2, 1)
    ]
    took = "posz_delivery_attempt_seconds"
    steps = ("0.025", "0.05", "0.1", "0.25", "10.0", "15.0", "+Inf")
    assert [found[f"{took}_bucket", step, "busy"] for step in steps] == [4, 4, 7, 7, 7, 8, 10]
    assert (found[f"{took}_count", "busy"], found[f"{took}_sum", "busy"]) == (10, 61.5)
    assert (found[f"{took}_count", "new"], found[f"{took}_sum", "new"]) == (0, 0)


def test_breaker_is_at_one_state():
    Endpoint.objects.create(integration=make_integration("broken"), state=BreakerState.OPEN)
    make_integration("unused")

    found = scrape()

    assert [found["posz_endpoint_breaker", "broken", state] for state in ("closed", "open")] == [
        *(0, 1)
    ]
    assert found["posz_endpoint_breaker", "recovering", "unused"] == 0
    assert found["posz_endpoint_breaker", "closed", "unused"] == 1


def test_inbound_counts_what_has_no_effect_yet(merchant, time_machine):
    time_machine.move_to(NOW, tick=False)
    partner = make_integration()
    for seconds in (10, 20):
        make_inbound(merchant, partner, received_at=NOW - timedelta(seconds=seconds))
    make_inbound(merchant, partner, status=InboundStatus.PROCESSED)
    aside = {"status": InboundStatus.QUARANTINED, "received_at": NOW - timedelta(hours=1)}
    make_inbound(merchant, partner, **aside)

    found = scrape()

    assert [found["posz_inbound_events", s] for s in ("received", "quarantined")] == [2, 1]
    assert [found["posz_inbound_age_seconds", s] for s in ("received", "quarantined")] == [20, 3600]


def test_inbound_tells_how_much_is_due_and_how_late(merchant, time_machine):
    time_machine.move_to(NOW, tick=False)
    partner = make_integration()
    for seconds in (30, 5, -60):
        make_inbound(merchant, partner, due_at=NOW - timedelta(seconds=seconds))

    found = scrape()

    assert (found["posz_inbound_due",], found["posz_inbound_due_age_seconds",]) == (2, 30)


def test_webhooks_are_counted_by_what_became_of_them():
    InboundTotal.objects.create(slug="partner", outcome="processed", count=7)
    InboundTotal.objects.create(slug="", outcome="not_found", count=2)

    found = scrape()

    assert found["posz_inbound_webhooks_total", "partner", "processed"] == 7
    assert found["posz_inbound_webhooks_total", "", "not_found"] == 2


def test_provisioning_and_recoveries_are_counted(merchant):
    partner = make_integration()
    row = make_install(merchant, partner)
    Install.objects.filter(pk=row.pk).update(provision_due_at=NOW - timedelta(minutes=1))
    span = {"since": NOW - timedelta(days=1), "until": NOW}
    for status in Recovery.Status.values:
        Recovery.objects.create(merchant=merchant, integration=partner, status=status, **span)

    found = scrape()

    assert (found["posz_provisioning_due",], found["posz_recoveries_running",]) == (1, 1)


def test_number_of_queries_does_not_grow(merchant):
    with CaptureQueriesContext(
        connection,
    ) as few:
        scrape()
    for _ in range(3):
        partner = make_integration()
        make_deliveries(merchant, partner, 3)
        make_inbound(merchant, partner)
        Endpoint.objects.create(integration=partner)

    with CaptureQueriesContext(connection) as many:
        scrape()

    assert len(few) == len(many) == 8


@pytest.mark.servers
def test_due_and_pending_are_read_from_the_index(merchant, monkeypatch):
    monkeypatch.setattr(metrics, "COUNTED_UP_TO", 100)
    future = timezone.now() + timedelta(days=1)
    make_deliveries(merchant, make_integration(), 5_000, next_attempt_at=future)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE delivery")
        with CaptureQueriesContext(connection) as captured:
            metrics.integrations(timezone.now())
        cursor.execute("EXPLAIN " + captured[-1]["sql"])
        plan = "\n".join(line for (line,) in cursor.fetchall())

    # Not of `delivery_endpoint`, which has a row per partner.
    assert "Seq Scan on delivery " not in plan
    assert plan.count("using delivery_due_at_endpoint") == 3


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer é"])
def test_without_the_token_nothing_is_told(authorization):
    reply = get(authorization)

    assert (reply.status_code, reply.content) == (401, b"")
    assert reply["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("debug", "status"), [(True, 200), (False, 404)])
def test_where_no_token_is_set_only_development_is_told(settings, debug, status):
    settings.METRICS_TOKEN, settings.DEBUG = "", debug

    assert get("").status_code == status


def test_metrics_are_only_read():
    reply = Client().post("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})

    assert reply.status_code == 405
