"""A short way of writing what an event holds; `catalogue` makes JSON Schema of it.

A shape maps field names to schemas; a name that ends in `?` may be missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from catalog.models import in_language

Schema: TypeAlias = dict[str, Any]
Shape: TypeAlias = Mapping[str, Schema]

TEXT: Schema = {"type": "string", "minLength": 1}
NUMBER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
CENTS: Schema = {"type": "integer", "description": "Hundredths: Rp50.000 is 5000000."}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
DATE: Schema = {"type": "string", "format": "date"}
UUID: Schema = {"type": "string", "format": "uuid"}
DECIMAL: Schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
RATE: Schema = {"type": "integer", "minimum": 0, "description": "Hundredths of a per cent."}
CURRENCY: Schema = {"type": "string", "pattern": "^[A-Z]{3}$"}
BILINGUAL: Schema = {
    "type": "object",
    "properties": {"en": TEXT, "id": TEXT},
    "required": ["en", "id"],
}
ANYTHING: Schema = {"type": "object"}


def one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def many(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def common(name: str) -> Schema:
    """One of the objects that many events share."""
    return {"$ref": f"#/$defs/{name}"}


def record(shape: Shape) -> Schema:
    """Fields that are not named may come: consumers ignore what they do not know."""
    return {
        "type": "object",
        "properties": {name.removesuffix("?"): schema for name, schema in shape.items()},
        "required": [name for name in shape if not name.endswith("?")],
    }


@dataclass(frozen=True, slots=True)
class EventType:
    """A domain event: for which capabilities it is, in words, as a shape and by example."""

    type: str
    capabilities: tuple[str, ...]
    en: str
    id: str
    shape: Shape
    example: Mapping[str, Any]

    @property
    def summary(self) -> str:
        return in_language(self.en, self.id)
