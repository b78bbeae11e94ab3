"""What the certification of partners needs of events: examples to send, and the latest received."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

from catalog.envelope import ApiError
from dispatch.certification.ledger import Ledger, Received
from dispatch.signing import SignedEvent
from webhooks.catalogue import EVENT_TYPES
from webhooks.event_rows import NewEvent, draft
from webhooks.models import InboundEvent
from webhooks.processing import read_again


def example(
    event_type: str, merchant_id: UUID, location_id: UUID, data: Mapping[str, Any] | None
) -> SignedEvent | None:
    """An example as merchants send them, but of no merchant: nothing of it is kept."""
    known = EVENT_TYPES.get(event_type)
    if known is None:
        return None
    new = NewEvent(event_type, merchant_id, location_id, None, None, data or known.example)
    item = draft(new, is_example=True)
    body = b"%b0%b" % (item.head, item.tail)
    return SignedEvent(event_type, str(item.id), str(uuid4()), 1, body)


def latest(integration_id: UUID, capability: str, event_type: str) -> Received | None:
    rows = InboundEvent.objects.filter(
        integration_id=integration_id, capability=capability, type=event_type
    )
    row = rows.select_related("integration").order_by("-received_at", "-pk").first()
    if row is None:
        return None
    data = None
    if row.erased_at is None:
        with suppress(ApiError):
            data = read_again(row).data
    return Received(row.type, row.received_at, data)


LEDGER = Ledger(example, latest)
