"""The seam to what was sent and received: the code that knows announces itself at start-up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dispatch.signing import SignedEvent


@dataclass(frozen=True, slots=True)
class Received:
    """The latest event of a kind that was accepted from a partner. `data` None: no longer kept."""

    type: str
    received_at: datetime
    data: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """`example` gives an event of this type in the name of a merchant and an outlet, with the data
    given or that of the catalogue; None for a type that is not known. `latest` gives what came for an
    integration's capability with this type."""

    example: Callable[[str, UUID, UUID, Mapping[str, Any] | None], SignedEvent | None]
    latest: Callable[[UUID, str, str], Received | None]


_announced: list[Ledger] = []


def announce_ledger(ledger: Ledger) -> None:
    _announced[:] = [ledger]


def example(
    event_type: str, merchant_id: UUID, location_id: UUID, data: Mapping[str, Any] | None
) -> SignedEvent | None:
    if not _announced:
        return None
    return _announced[0].example(event_type, merchant_id, location_id, data)


def latest(integration_id: UUID, capability: str, event_type: str) -> Received | None:
    return _announced[0].latest(integration_id, capability, event_type) if _announced else None
