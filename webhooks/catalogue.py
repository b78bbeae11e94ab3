"""The domain events that Posz knows: what they mean, what they hold, and one of each.

Documentation and promise, not a gate: `POST /v1/events` takes every well-formed type, and nothing is
checked against these schemas on its way. What capabilities need of an event is checked (`exported`).
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from catalog.capabilities import CAPABILITIES
from webhooks.event_types import business, guests, orders, people, stock
from webhooks.event_types.common import DEFS, OUTLET_ID
from webhooks.event_types.notation import COUNT, FLAG, TIME, UUID, EventType, Schema, record

GROUPS: tuple[tuple[Promise, tuple[EventType, ...]], ...] = (
    (_("Orders and payments"), orders.EVENTS),
    (_("Guests"), guests.EVENTS),
    (_("Menu and stock"), stock.EVENTS),
    (_("Staff"), people.EVENTS),
    (_("The business"), business.EVENTS),
)
EVENT_TYPES: dict[str, EventType] = {
    item.type: item for _title, events in GROUPS for item in events
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


@cache
def schema_of(event_type: str) -> Schema:
    """JSON Schema 2020-12 of the body as it is delivered, complete in itself."""
    known = EVENT_TYPES[event_type]
    data = record(known.shape)
    body = record(
        {
            "id": UUID,
            "type": {"const": known.type},
            "version": {"const": 1},
            "occurred_at": TIME,
            "merchant_id": UUID,
            "location_id": {"type": ["string", "null"], "format": "uuid"},
            "sequence": COUNT,
            "example?": FLAG,
            "data": data,
        }
    )
    return {
        "$schema": DIALECT,
        "$id": f"urn:posz:event:{known.type}:1",
        "title": known.type,
        "description": known.en,
        **body,
        "$defs": {name: DEFS[name] for name in DEFS if name in set(_used_in(data))},
    }


def example_of(event_type: str) -> dict[str, Any]:
    """The body of one such event, as a partner would get it."""
    return {
        "id": "b7a1f0c2-5f0b-4d8e-9a53-2f4c1e7d9a01",
        "type": event_type,
        "version": 1,
        "occurred_at": "2026-11-24T05:42:00+00:00",
        "merchant_id": "3f0b8f4e-9d7e-4a43-8b6a-1c2d3e4f5a6b",
        "location_id": OUTLET_ID,
        "sequence": 4127,
        "data": EVENT_TYPES[event_type].example,
    }


def capabilities_of(event_type: str) -> list[str]:
    """In the order of the registry."""
    return [name for name in CAPABILITIES if name in EVENT_TYPES[event_type].capabilities]


def _used_in(schema: Any) -> Iterator[str]:
    """The names of the common objects that a schema needs, with those that these need."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/$defs/")
            yield name
            yield from _used_in(DEFS[name])
        for part in schema.values():
            yield from _used_in(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _used_in(part)
