"""What of the log of received events somebody may see and asked to see."""

from dataclasses import dataclass
from typing import ClassVar

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from catalog.models import Integration
from installs.access import Actor
from installs.models import Install, Merchant
from webhooks.filters import TROUBLE, Choices, Filters, Rows, by_name, locations_of
from webhooks.models import InboundEvent, InboundQuerySet, InboundStatus

DIFFERS = "differs"
STATUSES: list[tuple[str, str | Promise]] = [
    (TROUBLE, gettext_lazy("With a problem")),
    *InboundStatus.choices,
    (DIFFERS, gettext_lazy("Came again differently")),
]


@dataclass(frozen=True, slots=True)
class InboundFilters(Filters):
    MADE_AT: ClassVar[str] = "received_at"
    LOCATION: ClassVar[str] = "location"
    TYPE: ClassVar[str] = "type"

    def with_status(self, rows: Rows) -> Rows:
        if self.status == DIFFERS:
            return rows.filter(mismatched_at__isnull=False)
        return Filters.with_status(self, rows)


@dataclass(frozen=True, slots=True)
class InboundChoices(Choices):
    @property
    def unfiltered(self) -> Filters:
        return InboundFilters()

    @property
    def types(self) -> list[str]:
        return sorted({name for item in self.integrations for name in item.inbound_events})

    @property
    def statuses(self) -> list[tuple[str, str | Promise]]:
        return STATUSES


def choices_for(actor: Actor, merchant: Merchant) -> InboundChoices:
    """Partners that are installed and send something."""
    rows = Integration.objects.filter(installs__merchant=merchant).exclude(inbound_events={})
    return InboundChoices(merchant, by_name(rows.distinct()), locations_of(actor, merchant))


def visible_to(actor: Actor) -> InboundQuerySet:
    """What came for the merchant; for somebody limited to outlets, for theirs and for none.

    Which outlet an event is about is found out when it is processed. Until then one for an install
    of all outlets is seen only by those who may see them all.
    """
    rows = InboundEvent.objects.for_merchant(actor.merchant_id)
    if actor.locations is None:
        return rows
    installs = Install.objects.for_merchant(actor.merchant_id)
    waiting = Q(install_id__in=installs.filter(location__in=actor.locations).values("pk"))
    of_none = Q(
        status=InboundStatus.PROCESSED,
        install_id__in=installs.filter(location=None).values("pk"),
    )
    return rows.filter(Q(location__in=actor.locations) | Q(Q(location=None), waiting | of_none))
