"""What differs between two versions of a contract, field by field, as the schemas have it."""

from collections.abc import Iterator, Mapping
from typing import Any

from catalog.contract_changes import ContractChange
from dispatch.field_list import named
from dispatch.operations import CONTRACTS, schema_of
from dispatch.operations.notation import Contract


def compare(capability: str, old: int, new: int) -> ContractChange:
    """A field that is left out or added as a whole is named without its parts."""
    before, after = CONTRACTS.get((capability, old)), CONTRACTS.get((capability, new))
    if before is None or after is None:
        return ContractChange(old, new)
    asked = [_fields(contract, "request") for contract in (before, after)]
    told = [_fields(contract, "answer") for contract in (before, after)]
    return ContractChange(
        old,
        new,
        shared_too=_more(asked[1], asked[0]),
        shared_no_more=_more(asked[0], asked[1]),
        answered_too=_more(told[1], told[0]),
        answered_no_more=_more(told[0], told[1]),
    )


def _more(fields: set[str], than: set[str]) -> list[str]:
    extra = fields - than
    return sorted(path for path in extra if path.rpartition(".")[0] not in extra)


def _fields(contract: Contract, side: str) -> set[str]:
    fields: set[str] = set()
    for operation in contract.operations:
        kind = getattr(operation, side)
        if kind is not None:
            schema = schema_of(kind)
            fields |= set(_paths(schema, schema.get("$defs", {}), ""))
    return fields


def _paths(
    schema: Mapping[str, Any], objects: Mapping[str, Mapping[str, Any]], above: str
) -> Iterator[str]:
    if "$ref" in schema:
        yield from _paths(objects[named(schema)], objects, above)
    for part in schema.get("anyOf", []):
        yield from _paths(part, objects, above)
    if "items" in schema:
        yield from _paths(schema["items"], objects, above)
    for name, rules in schema.get("properties", {}).items():
        path = f"{above}.{name}".lstrip(".")
        yield path
        yield from _paths(rules, objects, path)
