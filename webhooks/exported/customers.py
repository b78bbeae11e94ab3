"""Customers, and the gate: what of them may leave, by the settings of an install and their consent.

An install declares for which `purposes` it gets customers and which `fields` of them. A customer goes
out where a consent to one of these purposes stands, with the declared fields that such a purpose is
about. `unsubscribe` and `erase` always go out, with nothing but the customer's number.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from dispatch.operations import as_document
from dispatch.operations.common import Consent
from dispatch.operations.customers import CONTACTS, FIELDS, Profile
from installs.models import Install
from webhooks.exported.notation import Happening, Part, settings_of, some

ABROAD = "transfer_abroad"
BEHAVIOUR_USEFUL_FOR = timedelta(hours=24)
BEHAVIOUR = {
    "order.paid": "Placed Order",
    "refund.completed": "Refunded Order",
    "reservation.created": "Reserved Table",
    "loyalty.accrued": "Earned Points",
    "loyalty.redeemed": "Redeemed Points",
}
ERASURES = ("customer.erasure_requested", "customer.merged")
# Where in the event the fields of a profile and of a batch came from.
OWN = {".customer_id": ".customer.id", "": ".customer"}
WHOSE = {".customers[0].customer_id": ".customer.id", ".customers[0]": ".customer"}
# Where in the data of events customers stand.
PERSONAL = ("customer", "guest")


@dataclass(frozen=True, slots=True)
class Gate:
    """What an install may get of customers. Without a purpose that is nothing."""

    purposes: frozenset[str]
    fields: frozenset[str]

    def granted(self, consents: Iterable[Consent]) -> frozenset[str]:
        """The purposes of this install that a customer consents to, by the newest word on each."""
        last: dict[str, Consent] = {}
        for item in sorted(consents, key=lambda item: item.at):
            last[item.purpose] = item
        said_yes = {purpose for purpose, item in last.items() if item.granted}
        if ABROAD in self.purposes and ABROAD not in said_yes:
            return frozenset()
        return frozenset(said_yes & self.purposes - {ABROAD})

    def lets_out(self, field: str, granted: frozenset[str]) -> bool:
        return field in self.fields and not granted.isdisjoint(CONTACTS.get(field, granted))


def gate_of(install: Install, *, default: str = "") -> Gate:
    config = settings_of(install)
    purposes = _names(config.get("purposes")) or _names([config.get("purpose") or default])
    return Gate(frozenset(purposes), frozenset(_names(config.get("fields"))))


def _names(value: object) -> set[str]:
    return (
        {item for item in value if isinstance(item, str) and item}
        if isinstance(value, list)
        else set()
    )


def profiles(event: Happening, install: Install) -> Part | None:
    """What a list of customers is told. Nothing where no consent stands and none was withdrawn."""
    found: list[dict[str, Any]] = []
    if event.type == "customer.erasure_requested":
        found = [_only_named(event, "erase", event.data.get("customer_id"))]
        return _batch(event, found, {".customers[0]": ""})
    gate, profile = gate_of(install), _profile(event)
    granted = gate.granted(profile.consents)
    if granted:
        found.append(_let_out(profile, gate, granted))
    elif event.type == "customer.consent_changed" and _was_withdrawn(profile, gate):
        found.append(_only_named(event, "unsubscribe", profile.customer_id))
    gone = event.data.get("merged_customer_ids") if event.type == "customer.merged" else None
    found += [
        _only_named(event, "erase", item)
        for item in (gone if isinstance(gone, list) else [])
        if item != profile.customer_id
    ]
    return _batch(event, found, WHOSE) if found else None


def _batch(event: Happening, found: list[dict[str, Any]], places: Mapping[str, str]) -> Part:
    return Part({"batch_id": str(event.id), "customers": found}, "", places)


def _profile(event: Happening) -> Profile:
    """All that the event says of the customer; what of it is wrong is refused, whoever gets it."""
    raw = event.object("customer") or {}
    known = {name: raw[name] for name in FIELDS if raw.get(name) is not None}
    return msgspec.convert(
        some(
            op="upsert",
            customer_id=raw.get("id"),
            updated_at=raw.get("updated_at") or event.occurred_at.isoformat(),
            consents=raw.get("consents") or [],
            **known,
        ),
        Profile,
    )


def _let_out(profile: Profile, gate: Gate, granted: frozenset[str]) -> dict[str, Any]:
    document = as_document(profile)
    asked = [item for item in document.get("consents", []) if item["purpose"] in gate.purposes]
    named = {name: document[name] for name in ("op", "customer_id", "updated_at")}
    let_out = {
        name: document[name] for name in FIELDS if name in document and gate.lets_out(name, granted)
    }
    return {"op": "upsert", **named, **let_out, "consents": asked}


def _only_named(event: Happening, op: str, customer_id: object) -> dict[str, Any]:
    return some(op=op, customer_id=customer_id, updated_at=event.occurred_at.isoformat())


def _was_withdrawn(profile: Profile, gate: Gate) -> bool:
    """Whether a consent that this install lived on, or may have lived on, does not stand."""
    return any(
        not item.granted and (not gate.purposes or item.purpose in gate.purposes)
        for item in profile.consents
    )


def behaviour(event: Happening, install: Install) -> Part | None:
    """What a customer did, where one is named and consents."""
    whose = _whose(event)
    if whose is None:
        return None
    person = _person(whose)
    gate = gate_of(install, default="profiling")
    granted = gate.granted(person.consents)
    if not granted:
        return None
    seen = {
        "email": whose.get("email") if gate.lets_out("email", granted) else None,
        "phone": whose.get("phone_e164") if gate.lets_out("phone_e164", granted) else None,
    }
    request = some(
        event_id=str(event.id),
        name=BEHAVIOUR[event.type],
        customer_ref=some(id=whose.get("id"), **seen),
        occurred_at=event.occurred_at.isoformat(),
        value_cents=_value(event),
        currency=event.data.get("currency") or event.known.merchant.currency,
        properties=_properties(event),
    )
    until = event.occurred_at + BEHAVIOUR_USEFUL_FOR
    return Part(request, "", {".customer_ref": ".customer", ".properties": ".order"}, until)


def _whose(event: Happening) -> Mapping[str, Any] | None:
    for name, inner in (("reservation", "guest"), ("order", "customer")):
        outer = event.object(name)
        found = outer.get(inner) if outer else None
        if isinstance(found, dict):
            return event.object("customer") or found
    return event.object("customer")


def _person(raw: Mapping[str, Any]) -> Profile:
    consents = raw.get("consents") or []
    own = some(op="upsert", customer_id=raw.get("id"), updated_at="2000-01-01T00:00:00Z")
    return msgspec.convert(own | {"consents": consents}, Profile)


def _value(event: Happening) -> Any:
    if event.type == "order.paid":
        return (event.object("order") or {}).get("total_cents", 0)
    return event.data.get("amount_cents", 0) if event.type == "refund.completed" else 0


def _properties(event: Happening) -> dict[str, Any]:
    order = event.object("order") or {}
    lines = order.get("lines")
    items = [
        some(
            sku=line.get("sku") or line.get("id"),
            name=line.get("name"),
            qty=line.get("qty"),
            total_cents=line.get("total_cents"),
        )
        for line in (lines if isinstance(lines, list) else [])
        if isinstance(line, dict)
    ]
    return some(order_number=order.get("number"), channel=order.get("channel"), items=items or None)


def without_customers(data: Any) -> Any:
    """The same without whoever bought, wherever in it they stand."""
    if isinstance(data, dict):
        return {
            name: without_customers(value) for name, value in data.items() if name not in PERSONAL
        }
    return [without_customers(item) for item in data] if isinstance(data, list) else data
