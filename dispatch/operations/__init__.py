"""What Posz and partners ask of each other: one contract per capability and version, all of them here.

The API, the OpenAPI document, the pages under `/docs/integrations/capabilities`, the generic adapter,
the sandbox and the generated tests read this registry, so a capability that is added here is in all of
them.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar

import msgspec
from django.utils.translation import gettext as _

from catalog.capabilities import CAPABILITIES, Direction
from dispatch.contracts import PermanentError
from dispatch.operations import (
    channels,
    customers,
    exports,
    identity,
    inventory,
    loyalty,
    messages,
    payments,
    receipts,
    reservations,
    staff,
    taxes,
)
from dispatch.operations.notation import Contract, Operation, Record

FAMILIES = (
    receipts,
    payments,
    taxes,
    reservations,
    channels,
    loyalty,
    customers,
    messages,
    inventory,
    staff,
    exports,
    identity,
)
_known = {(item.capability, item.version): item for family in FAMILIES for item in family.CONTRACTS}
# In the order of the capabilities.
CONTRACTS: dict[tuple[str, int], Contract] = {
    (name, version): _known[name, version]
    for name, place in CAPABILITIES.items()
    for version in place.versions
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFERENCE = "#/$defs/{name}"
UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.{1,100})`")
MISSING_FIELD = re.compile(r"Object missing required field `(.{1,100})`")

R = TypeVar("R", bound=Record)


def contract_of(capability: str, version: int) -> Contract:
    return CONTRACTS[capability, version]


def all_operations() -> Iterator[tuple[Contract, Operation]]:
    for contract in CONTRACTS.values():
        for operation in contract.operations:
            yield contract, operation


def inbound_operations() -> Iterator[tuple[Contract, Operation]]:
    return (pair for pair in all_operations() if pair[1].direction is Direction.INBOUND)


def told_operations() -> Iterator[tuple[Contract, Operation]]:
    """Events that partners post: nobody waits for more than that they are kept."""
    return (pair for pair in inbound_operations() if pair[1].answer is None)


@cache
def _by_method() -> dict[Callable[..., Any], tuple[Contract, Operation]]:
    return {pair[1].method: pair for pair in all_operations() if pair[1].method}


def operation_of(method: Callable[..., Any]) -> tuple[Contract, Operation]:
    """What an adapter's method carries out."""
    return _by_method()[method]


def newest(capability: str) -> Contract:
    """In the words of which tills ask."""
    return CONTRACTS[capability, max(CAPABILITIES[capability].versions)]


def as_document(record: Record) -> dict[str, Any]:
    """As it goes over the wire: what was left out stays out."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    return document


class WrongRecordError(PermanentError):
    """Names the field and what was expected there, and repeats no value."""

    code = "invalid_payload"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"the answer is wrong at data{field}: {problem}")
        self.where = f"data{field}: {problem}"


def read_from_partner(data: Any, kind: type[R]) -> R:
    """A partner's own words, read strictly."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        field, problem = where_and_what(error)
        raise WrongRecordError(field, problem) from None


def where_and_what(error: msgspec.ValidationError) -> tuple[str, str]:
    """Such as ".lines[0].qty" and what was expected there, without the value that came."""
    problem, _at, place = str(error).partition(" - at `$")
    unknown = UNKNOWN_FIELD.fullmatch(problem)
    if unknown:
        return f"{place.rstrip('`')}.{unknown[1]}", _("There is no such field.")
    missing = MISSING_FIELD.fullmatch(problem)
    if missing:
        return f"{place.rstrip('`')}.{missing[1]}", _("This field is missing.")
    if problem.startswith("Invalid enum value"):
        problem = "Invalid enum value"
    return place.rstrip("`"), problem


@cache
def schema_of(kind: type[Record]) -> dict[str, Any]:
    """JSON Schema 2020-12 of a request or an answer, complete in itself."""
    (reference,), objects = msgspec.json.schema_components([kind], ref_template=REFERENCE)
    own = objects.pop(reference["$ref"].removeprefix("#/$defs/"))
    return {"$schema": DIALECT, **own, "$defs": objects} if objects else {"$schema": DIALECT, **own}


@cache
def all_objects(ref_template: str) -> dict[str, dict[str, Any]]:
    """Every request, answer and object in them by name."""
    kinds = {
        kind
        for _contract, operation in all_operations()
        for kind in (operation.request, operation.answer)
        if kind is not None
    }
    by_name = sorted(kinds, key=lambda kind: kind.__name__)
    _references, objects = msgspec.json.schema_components(by_name, ref_template=ref_template)
    return objects
