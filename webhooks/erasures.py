"""Customers whom partners have to erase, followed until each partner has confirmed it.

A partner confirms with its 2xx where that names the customer in `erased`, or later by a webhook
(`erasure.confirmed`). A 2xx alone says that it knows of it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from dispatch.operations import read_from_partner
from dispatch.operations.customers import Erasure as Confirmation
from installs.snapshot import Snapshot, Subscriber
from webhooks.exported import Parcel
from webhooks.exported.customers import ERASURES
from webhooks.models import Erasure, Event

if TYPE_CHECKING:
    from webhooks.outcomes import Result

CLOCKS_DIFFER = timedelta(minutes=5)
CAPABILITY, CONFIRMED, REQUESTED = (
    "customer_export",
    "erasure.confirmed",
    "customer.erasure_requested",
)


def holders(known: Snapshot, told: Sequence[Subscriber]) -> list[Subscriber]:
    """Everybody who may hold customers, also where they are switched off or at another outlet.

    What waits for an install that is off is sent when it is on again.
    """
    reached = {item.install.pk for item in told}
    return [
        *told,
        *(
            Subscriber(row, is_listed=False, capabilities=(CAPABILITY,))
            for row in known.installs.values()
            if row.pk not in reached
            and CAPABILITY in row.capability_versions
            and row.integration.outbound_url
        ),
    ]


def begin(event: Event, parcels: Iterable[Parcel]) -> None:
    """Follow what was asked of these partners. A customer who asks again is followed anew."""
    for parcel in parcels:
        customers = (parcel.data or {}).get("customers")
        for customer in customers if isinstance(customers, list) else []:
            if customer.get("op") == "erase":
                Erasure.objects.update_or_create(
                    install_id=parcel.install.pk,
                    customer_id=customer["customer_id"],
                    defaults={
                        "merchant_id": event.merchant_id,
                        "integration_id": parcel.install.integration_id,
                        "event_id": event.pk,
                        "requested_at": event.occurred_at,
                        "sent_at": None,
                        "confirmed_at": None,
                    },
                )


def note(results: Iterable["Result"], at: datetime) -> None:
    """What partners said when they were told."""
    for result in results:
        if result.item.event_type in ERASURES and result.outcome.is_success:
            rows = Erasure.objects.filter(
                install_id=result.item.install_id, event_id=result.item.event_id
            )
            rows.filter(sent_at=None).update(sent_at=at)
            erased = _erased_in(result.outcome.answer)
            rows.open().filter(customer_id__in=erased).update(confirmed_at=at)


def _erased_in(answer: bytes) -> list[str]:
    try:
        said = json.loads(answer)
    except ValueError:
        return []
    data = said.get("data", said) if isinstance(said, dict) else None
    erased = data.get("erased") if isinstance(data, dict) else None
    return [item for item in erased if isinstance(item, str)] if isinstance(erased, list) else []


def confirm(install_id: UUID, data: Mapping[str, Any], at: datetime) -> None:
    """A partner's own word. Refused (PermanentError) where it does not name the customer.

    One that is older than the customer's last wish says nothing about that.
    """
    said = read_from_partner(dict(data), Confirmation)
    rows = Erasure.objects.open().filter(install_id=install_id, customer_id=said.customer_id)
    rows.filter(requested_at__lte=said.erased_at + CLOCKS_DIFFER).update(confirmed_at=at)
