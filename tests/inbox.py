"""Records of partners for tests of the inbox."""

import copy
from typing import Any

from dispatch.operations import all_operations, channels, inventory, staff
from installs.models import Install
from tests.factories import make_inbound, make_location
from webhooks import inbound, inbox
from webhooks.models import InboundEvent, InboxRow

CAPABILITY_OF = {
    operation.name: contract.capability
    for contract, operation in all_operations()
    if contract.capability in inbox.CAPABILITIES and operation.name
}
EXAMPLES: dict[str, Any] = {
    operation.name: operation.request_example
    for contract, operation in all_operations()
    if contract.capability in inbox.CAPABILITIES and operation.name
}


def tell(install: Install, operation: str, data: Any, **over: Any) -> InboundEvent:
    """One event of a partner, processed."""
    capability = CAPABILITY_OF[operation]
    row = make_inbound(install, type=operation, capability=capability, data=data, **over)
    inbound.process(row.pk)
    row.refresh_from_db()
    return row


def row_of(event: InboundEvent) -> InboxRow:
    return InboxRow.objects.get(event_id=event.pk)


def order(**over: Any) -> dict[str, Any]:
    return copy.deepcopy(channels.CHANNEL_ORDER) | over


def make_order_event(install: Install, **over: Any) -> InboundEvent:
    """Received and not processed."""
    return make_inbound(
        install, type="order.created", capability="order_inbound", data=order(**over)
    )


def supply(install: Install, qty: str = "12", sku: str = "BERAS-5KG", **over: Any) -> Any:
    """Stock at the merchant's first outlet, which is made where there is none."""
    outlet = install.merchant.locations.first() or make_location(install.merchant)
    line = inventory.SUPPLY["lines"][0] | {"qty": qty, "sku": sku}
    return inventory.SUPPLY | {"location_id": str(outlet.pk), "lines": [line]} | over


def shift(install: Install, number: str = "shf-1", **over: Any) -> dict[str, Any]:
    outlet = install.merchant.locations.first() or make_location(install.merchant)
    example = staff.SCHEDULE["shifts"][0]
    return example | {"external_id": number, "outlet_id": str(outlet.pk)} | over


def schedule(*shifts: dict[str, Any], version: str = "1") -> dict[str, Any]:
    return staff.SCHEDULE | {"schedule_version": version, "shifts": list(shifts)}
