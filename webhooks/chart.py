"""Rows by hour and outcome: counted by one query, drawn as bars by the server.

A row stands in the hour in which it was made, with the outcome that it has by now.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Count
from django.db.models.functions import TruncHour
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webhooks.models import DeliveryQuerySet, DeliveryStatus, InboundQuerySet, InboundStatus

HEIGHT = 100
GAP = 0.2
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Layer:
    """One outcome. `look` is the colour: `delivered`, `cancelled`, `pending` or `dead`."""

    code: str
    label: str | Promise
    look: str


# From the ground up; what needs a look stands on top.
DELIVERIES = tuple(
    Layer(status.value, status.label, status.value)
    for status in (
        DeliveryStatus.DELIVERED,
        DeliveryStatus.CANCELLED,
        DeliveryStatus.PENDING,
        DeliveryStatus.DEAD,
    )
)
INBOUND = (
    Layer(InboundStatus.PROCESSED.value, InboundStatus.PROCESSED.label, "delivered"),
    Layer(InboundStatus.RECEIVED.value, InboundStatus.RECEIVED.label, "pending"),
    Layer(InboundStatus.PARKED.value, InboundStatus.PARKED.label, "cancelled"),
    Layer(InboundStatus.QUARANTINED.value, InboundStatus.QUARANTINED.label, "dead"),
)
Counts = Mapping[tuple[datetime, str], int]


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

    def start(self, now: datetime, zone: ZoneInfo) -> datetime:
        """It ends with the hour of `now`, in the zone's own hours."""
        end = now.astimezone(zone).replace(minute=0, second=0, microsecond=0) + HOUR
        return end - self.length


DAY = Span("24h", gettext_lazy("Last 24 hours"), bars=24, hours=1, marks=4)
WEEK = Span("7d", gettext_lazy("Last 7 days"), bars=28, hours=6, marks=7)
SPANS = {span.code: span for span in (DAY, WEEK)}


@dataclass(frozen=True, slots=True)
class Box:
    look: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    counts: Counter[str]
    cells: list[int]
    boxes: list[Box]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    span: Span
    layers: tuple[Layer, ...]
    bars: list[Bar]
    marks: list[str]
    highest: int

    @property
    def totals(self) -> list[tuple[str, str, int]]:
        """Colour, name of the outcome and how many, for the legend."""
        counts: Counter[str] = Counter()
        for bar in self.bars:
            counts.update(bar.counts)
        return [(layer.look, str(layer.label), counts[layer.code]) for layer in self.layers]

    @property
    def filled(self) -> list[Bar]:
        return [bar for bar in self.bars if bar.total]

    @property
    def columns(self) -> list[str]:
        return [str(layer.label) for layer in self.layers]

    @property
    def summary(self) -> str:
        said = ", ".join(f"{count} {label}" for _look, label, count in self.totals)
        return f"{self.span.label}: {said}"


def chart_of(rows: DeliveryQuerySet, span: Span, now: datetime, zone: ZoneInfo) -> Chart:
    counts = _counts(rows, "created_at", span.start(now, zone), zone)
    title = _("Deliveries by hour and outcome")
    return drawn(title, counts, DELIVERIES, span, span.start(now, zone))


def chart_of_inbound(rows: InboundQuerySet, span: Span, now: datetime, zone: ZoneInfo) -> Chart:
    counts = _counts(rows, "received_at", span.start(now, zone), zone)
    title = _("Received events by hour and status")
    return drawn(title, counts, INBOUND, span, span.start(now, zone))


def drawn(
    title: str, counts: Counts, layers: tuple[Layer, ...], span: Span, start: datetime
) -> Chart:
    """Of hours, and of codes of the layers, that were counted from the start of the span on."""
    edges = [start + HOUR * span.hours * number for number in range(span.bars)]
    per_bar: list[Counter[str]] = [Counter() for _edge in edges]
    for (hour, code), count in counts.items():
        number = int((hour - start) / (HOUR * span.hours))
        if 0 <= number < span.bars:
            per_bar[number][code] += count
    highest = max((sum(item.values()) for item in per_bar), default=0)
    bars = [
        Bar(
            _label(edge, span),
            found,
            [found[layer.code] for layer in layers],
            list(_boxes(number, found, layers, highest, span.bars)),
        )
        for number, (edge, found) in enumerate(zip(edges, per_bar, strict=True))
    ]
    every = span.bars // span.marks
    marks = [_mark(edge, span) for edge in edges[::every]]
    return Chart(title, span, layers, bars, marks, highest)


def _counts(
    rows: DeliveryQuerySet | InboundQuerySet, column: str, start: datetime, zone: ZoneInfo
) -> Counts:
    found = (
        rows.filter(**{f"{column}__gte": start})
        .annotate(hour=TruncHour(column, tzinfo=zone))
        .order_by()
        .values_list("hour", "status")
        .annotate(count=Count("pk"))
    )
    return {(hour, status): count for hour, status, count in found}


def _boxes(
    number: int, counts: Counter[str], layers: tuple[Layer, ...], highest: int, bars: int
) -> Iterator[Box]:
    step = 100 / bars
    top = float(HEIGHT)
    for layer in layers:
        if counts[layer.code]:
            height = counts[layer.code] / highest * HEIGHT
            top -= height
            x, width = number * step + step * GAP / 2, step * (1 - GAP)
            yield Box(layer.look, round(x, 3), round(top, 2), round(width, 3), round(height, 2))


def _label(edge: datetime, span: Span) -> str:
    until = edge + HOUR * span.hours
    return f"{date_format(edge, 'j M')}, {edge:%H:%M}-{until:%H:%M}"


def _mark(edge: datetime, span: Span) -> str:
    return f"{edge:%H:%M}" if span is DAY else date_format(edge, "D j")
