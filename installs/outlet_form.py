"""What a partner calls the outlets of a merchant, as a form."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from catalog.envelope import ApiError
from catalog.models import Integration
from installs import outlets
from installs.access import Actor, Verb
from installs.models import Location, UnknownOutlet

NUMBER, UNKNOWN = "number-", "unknown-"


@dataclass(frozen=True, slots=True)
class OutletInput:
    location: Location
    value: str
    errors: list[str]
    is_allowed: bool

    @property
    def name(self) -> str:
        return f"{NUMBER}{self.location.pk}"


@dataclass(frozen=True, slots=True)
class OutletForm:
    """`unknown` are numbers that events have named, for somebody to say which outlet each one is."""

    inputs: list[OutletInput]
    unknown: list[UnknownOutlet]
    error: ApiError | None = None

    @property
    def may_save(self) -> bool:
        return any(item.is_allowed for item in self.inputs)

    @property
    def status(self) -> int:
        return self.error.status if self.error else 200

    @property
    def has_other_error(self) -> bool:
        return self.error is not None and not any(item.errors for item in self.inputs)


def form_of(
    actor: Actor,
    integration: Integration,
    *,
    posted: Mapping[UUID, str] | None = None,
    error: ApiError | None = None,
) -> OutletForm | None:
    """None where the partner names no outlets, or the integration is installed at none."""
    covered = _covered(actor, integration)
    if not covered:
        return None
    values = outlets.numbers_of(actor.merchant_id, integration) | dict(posted or {})
    fields = error.extra.get("fields", {}) if error else {}
    return OutletForm(
        inputs=[
            OutletInput(
                location=row,
                value=values.get(row.pk, ""),
                errors=fields.get(str(row.pk), []),
                is_allowed=actor.may(Verb.CONFIGURE, row.pk),
            )
            for row in covered
        ],
        unknown=list(outlets.unknown_of(actor.merchant_id, integration)),
        error=error,
    )


def read(actor: Actor, integration: Integration, posted: Mapping[str, str]) -> dict[UUID, str]:
    """What was typed; a number that was chosen for an outlet goes before what stood there."""
    covered = {str(row.pk): row.pk for row in _covered(actor, integration)}
    numbers = {
        covered[name.removeprefix(NUMBER)]: str(value)
        for name, value in posted.items()
        if name.startswith(NUMBER) and name.removeprefix(NUMBER) in covered
    }
    for row in outlets.unknown_of(actor.merchant_id, integration):
        chosen = covered.get(posted.get(f"{UNKNOWN}{row.pk}", ""))
        if chosen is not None:
            numbers[chosen] = row.external_id
    return numbers


def _covered(actor: Actor, integration: Integration) -> list[Location]:
    if not integration.has_outlet_numbers:
        return []
    return outlets.covered_outlets(actor.merchant_id, integration)
