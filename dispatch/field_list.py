"""The fields of a JSON Schema in short, as documentation shows them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]


def rows_of(schema: Schema, objects: Mapping[str, Schema]) -> Iterator[dict[str, Any]]:
    """The fields of an object, each with its kind in short; those of its parts where it has some."""
    for part in schema.get("allOf", []):
        yield from rows_of(objects[named(part)] if "$ref" in part else part, objects)
    required = schema.get("required", [])
    for name, rules in schema.get("properties", {}).items():
        yield {"name": name, "kind": kind_of(rules), "is_required": name in required}


def named(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def kind_of(rules: Schema) -> str:
    """Such as `string`, `Order`, `Line[]`, `open | locked | closed`."""
    if "$ref" in rules:
        return named(rules)
    if "enum" in rules:
        return " | ".join(map(str, rules["enum"]))
    if "anyOf" in rules:
        return " | ".join(kind_of(part) for part in rules["anyOf"] if part.get("type") != "null")
    if "type" not in rules:
        return "any"
    if rules["type"] == "array":
        return f"{kind_of(rules['items'])}[]"
    if rules.get("properties"):
        return "{" + ", ".join(rules["properties"]) + "}"
    return str(rules.get("format", rules["type"]))


def pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
