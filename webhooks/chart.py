"""Deliveries by hour and outcome: counted by one query, drawn as bars by the server.

A delivery stands in the hour in which it was made, with the outcome that it has by now.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Count
from django.db.models.functions import TruncHour
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from webhooks.models import DeliveryQuerySet, DeliveryStatus

HEIGHT = 100
GAP = 0.2
# From the ground up; what needs a look stands on top.
STACK = (
    DeliveryStatus.DELIVERED,
    DeliveryStatus.CANCELLED,
    DeliveryStatus.PENDING,
    DeliveryStatus.DEAD,
)
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Span:
    """What a chart covers: so many bars of so many hours, with a mark under every few of them."""

    code: str
    label: Promise
    bars: int
    hours: int
    marks: int

    @property
    def length(self) -> timedelta:
        return HOUR * self.bars * self.hours


DAY = Span("24h", gettext_lazy("Last 24 hours"), bars=24, hours=1, marks=4)
WEEK = Span("7d", gettext_lazy("Last 7 days"), bars=28, hours=6, marks=7)
SPANS = {span.code: span for span in (DAY, WEEK)}


@dataclass(frozen=True, slots=True)
class Box:
    status: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    counts: Counter[str]
    boxes: list[Box]

    @property
    def cells(self) -> list[int]:
        return [self.counts[status] for status in STACK]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Chart:
    span: Span
    bars: list[Bar]
    marks: list[str]
    highest: int

    @property
    def totals(self) -> list[tuple[str, str, int]]:
        """Status, its name and how many, for the legend."""
        counts: Counter[str] = Counter()
        for bar in self.bars:
            counts.update(bar.counts)
        return [(status.value, str(status.label), counts[status]) for status in STACK]

    @property
    def filled(self) -> list[Bar]:
        return [bar for bar in self.bars if bar.total]

    @property
    def columns(self) -> list[str]:
        return [str(status.label) for status in STACK]

    @property
    def summary(self) -> str:
        said = ", ".join(f"{count} {label}" for _status, label, count in self.totals)
        return f"{self.span.label}: {said}"


def chart_of(rows: DeliveryQuerySet, span: Span, now: datetime, zone: ZoneInfo) -> Chart:
    """Of the span that ends with the hour of `now`, in the zone's own hours."""
    end = now.astimezone(zone).replace(minute=0, second=0, microsecond=0) + HOUR
    start = end - span.length
    counts = _counts(rows, start, zone)
    edges = [start + HOUR * span.hours * number for number in range(span.bars)]
    per_bar: list[Counter[str]] = [Counter() for _edge in edges]
    for (hour, status), count in counts.items():
        number = int((hour - start) / (HOUR * span.hours))
        if 0 <= number < span.bars:
            per_bar[number][status] += count
    highest = max((sum(item.values()) for item in per_bar), default=0)
    bars = [
        Bar(_label(edge, span), found, list(_boxes(number, found, highest, span.bars)))
        for number, (edge, found) in enumerate(zip(edges, per_bar, strict=True))
    ]
    every = span.bars // span.marks
    return Chart(span, bars, [_mark(edge, span) for edge in edges[::every]], highest)


def _counts(
    rows: DeliveryQuerySet, start: datetime, zone: ZoneInfo
) -> dict[tuple[datetime, str], int]:
    found = (
        rows.filter(created_at__gte=start)
        .annotate(hour=TruncHour("created_at", tzinfo=zone))
        .order_by()
        .values_list("hour", "status")
        .annotate(count=Count("pk"))
    )
    return {(hour, status): count for hour, status, count in found}


def _boxes(number: int, counts: Counter[str], highest: int, bars: int) -> Iterator[Box]:
    step = 100 / bars
    top = float(HEIGHT)
    for status in STACK:
        if counts[status]:
            height = counts[status] / highest * HEIGHT
            top -= height
            x, width = number * step + step * GAP / 2, step * (1 - GAP)
            yield Box(status.value, round(x, 3), round(top, 2), round(width, 3), round(height, 2))


def _label(edge: datetime, span: Span) -> str:
    until = edge + HOUR * span.hours
    return f"{date_format(edge, 'j M')}, {edge:%H:%M}-{until:%H:%M}"


def _mark(edge: datetime, span: Span) -> str:
    return f"{edge:%H:%M}" if span is DAY else date_format(edge, "D j")
