"""What of a log somebody asked to see, read from an address and written back into one.

The log of deliveries itself; the one of what partners send changes the names of the columns and says
what it can be narrowed to.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from catalog.capabilities import causes_of
from catalog.models import Integration
from installs.access import Actor
from installs.models import Location, Merchant
from webhooks.models import Delivery, DeliveryQuerySet, DeliveryStatus

# The rows of either log.
Rows = Any
# Failed for good, or failed and tried again: what somebody who looks for a fault wants to see.
TROUBLE = "trouble"
STATUSES: list[tuple[str, str | Promise]] = [
    (TROUBLE, gettext_lazy("With a problem")),
    *DeliveryStatus.choices,
]


@dataclass(frozen=True, slots=True)
class Choices:
    """What this person can choose from. `locations` are only those that are theirs to see."""

    merchant: Merchant
    integrations: list[Integration]
    locations: list[Location]

    @property
    def unfiltered(self) -> "Filters":
        return Filters()

    @property
    def types(self) -> list[str]:
        told = (
            causes_of(item.capabilities) | {*item.outbound_events} for item in self.integrations
        )
        return sorted(frozenset().union(*told))

    @property
    def statuses(self) -> list[tuple[str, str | Promise]]:
        return STATUSES


@dataclass(frozen=True, slots=True)
class Filters:
    MADE_AT: ClassVar[str] = "created_at"
    LOCATION: ClassVar[str] = "event__location"
    TYPE: ClassVar[str] = "event__type"

    integration: Integration | None = None
    location: Location | None = None
    status: str = ""
    type: str = ""
    since: date | None = None
    until: date | None = None
    problem: str = field(default="", compare=False)

    @property
    def is_narrowed(self) -> bool:
        return self != type(self)()

    @property
    def query(self) -> str:
        """The filters as part of an address, empty where nothing is filtered."""
        given = {
            "integration": self.integration.slug if self.integration else "",
            "location": self.location.pk if self.location else "",
            "status": self.status,
            "type": self.type,
            "since": self.since or "",
            "until": self.until or "",
        }
        return urlencode({key: value for key, value in given.items() if value})

    def applied(self, rows: Rows, zone: ZoneInfo) -> Rows:
        rows = self.with_status(self.placed(rows))
        if self.since:
            rows = rows.filter(**{f"{self.MADE_AT}__gte": midnight(self.since, zone)})
        if self.until:
            after = midnight(self.until + timedelta(days=1), zone)
            rows = rows.filter(**{f"{self.MADE_AT}__lt": after})
        return rows

    def with_status(self, rows: Rows) -> Rows:
        if self.status == TROUBLE:
            return rows.with_trouble()
        return rows.filter(status=self.status) if self.status else rows

    def placed(self, rows: Rows) -> Rows:
        """Narrowed to a partner, an outlet and a type, whatever the status and the day."""
        if self.integration:
            rows = rows.filter(integration=self.integration)
        if self.location:
            rows = rows.filter(**{self.LOCATION: self.location})
        return rows.filter(**{self.TYPE: self.type}) if self.type else rows

    def zone(self, merchant: Merchant) -> ZoneInfo:
        """Whose midnight a day begins with: the outlet's that was chosen, else the merchant's."""
        return self.location.zone if self.location else ZoneInfo(merchant.timezone)


def visible_to(actor: Actor) -> DeliveryQuerySet:
    """The merchant's deliveries; for somebody limited to outlets, theirs and those of no outlet."""
    rows = Delivery.objects.for_merchant(actor.merchant_id)
    if actor.locations is None:
        return rows
    return rows.filter(Q(event__location=None) | Q(event__location__in=actor.locations))


def choices_for(actor: Actor, merchant: Merchant) -> Choices:
    """Partners that are told something, or were: also those that are uninstalled by now."""
    own = Q(installs__merchant=merchant) | Q(delivery_health__merchant=merchant)
    integrations = (
        Integration.objects.filter(own).exclude(outbound_events=[], outbound_url="").distinct()
    )
    return Choices(merchant, by_name(integrations), locations_of(actor, merchant))


def by_name(integrations: Iterable[Integration]) -> list[Integration]:
    return sorted(integrations, key=lambda item: item.name.casefold())


def locations_of(actor: Actor, merchant: Merchant) -> list[Location]:
    return [
        item
        for item in merchant.locations.all()
        if actor.locations is None or item.pk in actor.locations
    ]


def read(given: QueryDict, choices: Choices) -> Filters:
    """What is unknown is left out; of a day that is none, the filters say so."""
    filters = replace(
        choices.unfiltered,
        integration=_one_of(choices.integrations, given.get("integration"), "slug"),
        location=_one_of(choices.locations, given.get("location"), "pk"),
        status=_known(given.get("status", ""), [code for code, _label in choices.statuses]),
        type=_known(given.get("type", ""), choices.types),
    )
    days: dict[str, Any] = {}
    for name in ("since", "until"):
        try:
            days[name] = _day(given.get(name, ""))
        except ValueError:
            filters = replace(filters, problem=_("That is not a day, such as 2026-11-24."))
    return replace(filters, **days)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def _one_of(rows: list[Any], asked: str | UUID | None, name: str) -> Any:
    return next((row for row in rows if str(getattr(row, name)) == asked), None)


def _known(asked: str, known: list[str]) -> str:
    return asked if asked in known else ""


def _day(text: str) -> date | None:
    day = date.fromisoformat(text) if text else None
    # Midnight in any zone must still be a moment that a database can hold.
    if day and not 2000 <= day.year < 3000:
        raise ValueError(text)
    return day
