"""The numbers of what is on its way, read from the rows at every scrape: they are right however many
processes there are, and a process that dies takes none along.

The number of queries is fixed, and none of them reads more than `COUNTED_UP_TO` index entries per
integration: a gauge of rows stands still there, which is far beyond any reason for an alarm.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import accumulate
from typing import Any

from django.db.models import BigIntegerField, Count, Min, OuterRef, Subquery
from django.utils import timezone
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from catalog.models import Integration
from installs.models import Install
from webhooks.models import (
    BreakerState,
    Delivery,
    DeliveryQuerySet,
    DeliveryStatus,
    InboundEvent,
    InboundStatus,
    InboundTotal,
    Recovery,
)
from webhooks.totals import LATENCY_LADDER, OUTCOMES

COUNTED_UP_TO = 10_000
CAPPED = f"counted up to {COUNTED_UP_TO}"
BUCKETS = [*(str(bound / 1000) for bound in LATENCY_LADDER[:-1]), "+Inf"]


class Counted(Subquery):
    """The number of rows of a queryset that refers to the row outside."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = BigIntegerField()


class HubCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        at = timezone.now()
        rows = integrations(at)
        yield from queue(rows, at)
        yield from attempts(rows)
        yield from inbound(at)
        due = Install.objects.due_for_provisioning(at).count()
        yield gauge("posz_provisioning_due", "Merchants to be introduced to a partner now", due)
        running = Recovery.objects.filter(status=Recovery.Status.RUNNING).count()
        yield gauge("posz_recoveries_running", "Recoveries at work", running)


def integrations(at: datetime) -> list[Any]:
    """Each with its endpoint and its queue.

    Per integration and in the order of the index on pending rows, because a planner that expects to
    find enough of them soon would otherwise read the whole table for an integration that has none.
    """
    own: DeliveryQuerySet = Delivery.objects.filter(integration=OuterRef("pk"))
    due = own.due(at)
    pending = own.filter(status=DeliveryStatus.PENDING)
    return list(
        Integration.objects.order_by("slug").values(
            "slug",
            "endpoint__state",
            "endpoint__in_flight",
            "endpoint__totals",
            "endpoint__latency_counts",
            "endpoint__latency_ms_total",
            due=Counted(due.order_by("next_attempt_at").values("pk")[:COUNTED_UP_TO]),
            due_since=Subquery(due.values("next_attempt_at")[:1]),
            pending=Counted(pending.order_by("next_attempt_at").values("pk")[:COUNTED_UP_TO]),
        )
    )


def queue(rows: list[Any], at: datetime) -> Iterator[Metric]:
    due = per_integration("posz_deliveries_due", f"Deliveries whose time has come, {CAPPED}")
    pending = per_integration("posz_deliveries_pending", f"Unfinished deliveries, {CAPPED}")
    in_flight = per_integration("posz_deliveries_in_flight", "Deliveries held by a worker")
    age = per_integration("posz_deliveries_due_age_seconds", "How late the oldest due delivery is")
    breaker = per_integration("posz_endpoint_breaker", "1 at the state the breaker is in", "state")
    for row in rows:
        slug = row["slug"]
        due.add_metric([slug], row["due"])
        pending.add_metric([slug], row["pending"])
        in_flight.add_metric([slug], row["endpoint__in_flight"] or 0)
        age.add_metric([slug], seconds_since(row["due_since"], at))
        current = row["endpoint__state"] or BreakerState.CLOSED
        for state in BreakerState.values:
            breaker.add_metric([slug, state], state == current)
    yield from (due, pending, in_flight, age, breaker)


def attempts(rows: list[Any]) -> Iterator[Metric]:
    made = CounterMetricFamily(
        "posz_delivery_attempts", "Attempts by outcome", labels=["integration", "outcome"]
    )
    took = HistogramMetricFamily(
        "posz_delivery_attempt_seconds", "How long attempts took", labels=["integration"]
    )
    for row in rows:
        totals = row["endpoint__totals"] or {}
        for outcome in OUTCOMES:
            made.add_metric([row["slug"], outcome], totals.get(outcome, 0))
        counts = row["endpoint__latency_counts"] or [0] * len(LATENCY_LADDER)
        buckets = list(zip(BUCKETS, accumulate(counts), strict=True))
        took.add_metric([row["slug"]], buckets, (row["endpoint__latency_ms_total"] or 0) / 1000)
    yield from (made, took)


def inbound(at: datetime) -> Iterator[Metric]:
    events = GaugeMetricFamily(
        "posz_inbound_events", f"Inbound events without an effect, {CAPPED}", labels=["status"]
    )
    age = GaugeMetricFamily(
        "posz_inbound_age_seconds", "How long ago the oldest of them came", labels=["status"]
    )
    # In the order of an index of those rows alone.
    for status, order in (
        (InboundStatus.RECEIVED, "due_at"),
        (InboundStatus.QUARANTINED, "received_at"),
        (InboundStatus.PARKED, "received_at"),
    ):
        rows = InboundEvent.objects.filter(status=status).order_by(order)[:COUNTED_UP_TO]
        found = rows.aggregate(number=Count("pk"), since=Min("received_at"))
        events.add_metric([status], found["number"])
        age.add_metric([status], seconds_since(found["since"], at))
    yield from (events, age)
    due = InboundEvent.objects.due(at)[:COUNTED_UP_TO]
    found = due.aggregate(number=Count("pk"), since=Min("due_at"))
    text = f"Inbound events whose time to be worked on has come, {CAPPED}"
    yield gauge("posz_inbound_due", text, found["number"])
    late = seconds_since(found["since"], at)
    yield gauge("posz_inbound_due_age_seconds", "How late the oldest due event is", late)
    yield outcomes()


def outcomes() -> CounterMetricFamily:
    ended = CounterMetricFamily(
        "posz_inbound_webhooks",
        "Webhooks since the beginning: processed, set aside, or why they were refused",
        labels=["integration", "outcome"],
    )
    rows = InboundTotal.objects.order_by("slug", "outcome")
    for slug, outcome, count in rows.values_list("slug", "outcome", "count"):
        ended.add_metric([slug, outcome], count)
    return ended


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def per_integration(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["integration", *labels])


def seconds_since(then: datetime | None, at: datetime) -> float:
    return max(0.0, (at - then).total_seconds()) if then else 0.0
