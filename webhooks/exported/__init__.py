"""What each install is told of an event: the event itself, or what its capabilities say of it.

Where the catalog row names the event, the partner gets it as it is. Where an operation of a capability
is caused by it, `data` is the request of that operation, checked before the event is accepted; where
both are so, or several operations are caused, they are laid over each other. Of customers only what
they consented to goes to those that need consent. The outcome is stored with the delivery, so that
every attempt sends the same bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from catalog.capabilities import Direction
from dispatch.operations import CONTRACTS, as_document, contract_of, where_and_what
from dispatch.orders import field_error
from installs.models import Install
from installs.snapshot import Subscriber
from webhooks.exported import books, customers, orders, supplies
from webhooks.exported.notation import Happening as Happening
from webhooks.exported.notation import Part

Teller = Callable[[Happening, Install], Part | None]
TELLERS: dict[str, Teller] = {
    "pay_at_table": orders.check,
    "reservation_status_outbound": orders.reservation_status,
    "order_status_outbound": orders.order_status,
    "menu_sync_outbound": supplies.menu,
    "customer_export": customers.profiles,
    "customer_event_export": customers.behaviour,
    "inventory_event_export": supplies.stock,
    "staff_event_export": supplies.staff,
    "data_export_destination": books.data_export,
}


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one install gets. `data` is None where that is the event as it is."""

    install: Install
    data: Mapping[str, Any] | None = None
    useful_until: datetime | None = None


def causes() -> Iterator[tuple[str, int, list[str]]]:
    """Which events cause operations of which contracts."""
    for (capability, version), contract in CONTRACTS.items():
        if capability in TELLERS:
            outbound = [it for it in contract.operations if it.direction is Direction.OUTBOUND]
            yield capability, version, [name for it in outbound for name in it.events]


def parcels(subscribers: Iterable[Subscriber], event: Happening) -> list[Parcel]:
    """What goes out. Refused with 400 and the field where an operation can't be made of the event."""
    found = [Parcel(it.install) if it.is_plain else _parcel(it, event) for it in subscribers]
    return [item for item in found if item is not None]


def _parcel(subscriber: Subscriber, event: Happening) -> Parcel | None:
    told = [
        (name, part) for name in subscriber.capabilities if (part := _part(name, subscriber, event))
    ]
    is_about_customers = event.type.startswith("customer.")
    parts = [(name, part.data) for name, part in told]
    if subscriber.is_listed and not (subscriber.needs_consent and is_about_customers):
        own = customers.without_customers(event.data) if subscriber.needs_consent else event.data
        parts.insert(0, ("", own))
    if not parts:
        return None
    data = _laid_together(parts)
    limits = [part.useful_until for _name, part in told]
    until = max((it for it in limits if it is not None), default=None)
    is_limited = not subscriber.is_listed and None not in limits
    return Parcel(
        subscriber.install, None if data == event.data else data, until if is_limited else None
    )


def _laid_together(parts: list[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """All of them in one; what would cover something else stands whole under its capability's name."""
    together: dict[str, Any] = {}
    for capability, part in parts:
        if any(name in together and together[name] != value for name, value in part.items()):
            together[capability] = part
        else:
            together |= part
    return together


def _part(capability: str, subscriber: Subscriber, event: Happening) -> Part | None:
    """Refused with the field of the event from which the wrong one of the request came."""
    places: Mapping[str, str] = customers.OWN
    try:
        part = TELLERS[capability](event, subscriber.install)
        if part is None or part.operation is None:
            return part
        places = part.places
        version = subscriber.install.capability_versions[capability]
        operation = contract_of(capability, version).operation(part.operation)
        assert operation is not None  # noqa: S101 - the tellers name those of the registry
        data = as_document(msgspec.convert(part.data, operation.request))
    except msgspec.ValidationError as error:
        place, problem = where_and_what(error)
        raise field_error(f"data{_in_event(place, places)}", problem) from None
    return Part(data, part.operation, useful_until=part.useful_until)


def _in_event(place: str, places: Mapping[str, str]) -> str:
    for found, own in places.items():
        if place.startswith(found):
            return own + place.removeprefix(found)
    return place
