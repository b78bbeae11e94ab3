"""In whose name a partner is tried, and about what: a stand-in and examples with fresh ids.

The stand-in's ids are always the same, so that a partner can know it. None of its rows is ever stored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4, uuid5

from catalog.models import Integration
from catalog.schema import secret_names
from dispatch.contracts import Call
from dispatch.operations.notation import Contract, Operation, value_at
from installs.models import Install, Location, Merchant

NAME = "Posz certification"
MERCHANT_ID = UUID("c0de0000-0000-4000-8000-000000000001")
OUTLET_ID = UUID("c0de0000-0000-4000-8000-000000000002")
# Of an account that was connected for the run, where the integration uses OAuth.
ACCESS_TOKEN = "access_token"  # noqa: S105 - the name of a setting
# As long as a key must be that signs a token.
WRONG = "posz-certification-signs-with-no-right-key"
UNKNOWN_VERSION = 99

# What a question is about must be there: these come before it, with the same ids.
BEFORE: dict[str, tuple[str, ...]] = {
    "payment_method/status": ("create",),
    "payment_method/cancel": ("create",),
    "payment_method/refund": ("create", "status"),
    "reservation_provider/create": ("hold",),
    "reservation_provider/update": ("hold", "create"),
    "reservation_provider/cancel": ("hold", "create"),
    "loyalty_provider/inquire": ("enroll",),
    "loyalty_provider/accrue": ("enroll",),
    "loyalty_provider/redeem": ("enroll", "accrue"),
    "loyalty_provider/reverse": ("enroll", "accrue"),
    "loyalty_provider/transfer": ("enroll", "accrue"),
}
# Where a partner has to say no: this field then names something that nobody knows.
UNKNOWN: dict[str, str] = {
    "payment_method/cancel": "payment_id",
    "payment_method/refund": "payment_id",
    "reservation_provider/update": "external_id",
    "reservation_provider/cancel": "external_id",
    "loyalty_provider/inquire": "account_id",
    "loyalty_provider/redeem": "account_id",
    "loyalty_provider/accrue": "account_id",
    "loyalty_provider/transfer": "account_id",
}
# Ids in a key that the partner makes.
PARTNERS_OWN = frozenset({"external_id", "account_id"})


@dataclass(frozen=True, slots=True)
class StandIn:
    """The integration as a merchant with these settings would have it."""

    integration: Integration
    keys: Mapping[str, bytes]
    settings: Mapping[str, Any]

    def call(self, contract: Contract, timeout_seconds: float) -> Call:
        merchant = Merchant(pk=MERCHANT_ID, name=NAME, email="posz@uncle-z.com", city="Jakarta")
        outlet = Location(pk=OUTLET_ID, merchant=merchant, name=NAME, city="Jakarta")
        install = Install(
            pk=uuid5(MERCHANT_ID, self.integration.slug),
            merchant=merchant,
            integration=self.integration,
            config={name: value for name, value in self.settings.items() if name != ACCESS_TOKEN},
            capability_versions={contract.capability: contract.version},
        )
        return Call(
            merchant=merchant,
            location=outlet,
            install=install,
            keys=self.keys,
            timeout_seconds=timeout_seconds,
            access_token=self.access_token,
        )

    @property
    def access_token(self) -> str:
        return str(self.settings.get(ACCESS_TOKEN) or "")

    @property
    def is_connected(self) -> bool:
        """Whether what proves a merchant is there, where the integration wants it."""
        return bool(self.access_token) or not self.integration.is_oauth

    def secrets(self) -> list[str]:
        """What must not appear in a report."""
        named = secret_names(self.integration.config_schema)
        texts = [str(self.settings[name]) for name in named if self.settings.get(name)]
        return [*texts, self.access_token, *(key.hex() for key in self.keys.values())]


def wrongly_keyed(call: Call) -> Call:
    """The same call by somebody who has none of the keys."""
    config = dict.fromkeys(secret_names(call.integration.config_schema), WRONG)
    install = Install(
        pk=call.install.pk,
        merchant=call.merchant,
        integration=call.integration,
        config={**call.install.config, **config},
        capability_versions=call.install.capability_versions,
    )
    return replace(
        call,
        install=install,
        keys={purpose: WRONG.encode() for purpose in call.keys},
        access_token=WRONG if call.access_token else "",
    )


def of_unknown_version(call: Call, capability: str) -> Call:
    install = Install(
        pk=call.install.pk,
        merchant=call.merchant,
        integration=call.integration,
        config=call.install.config,
        capability_versions={capability: UNKNOWN_VERSION},
    )
    return replace(call, install=install)


def leads_to(contract: Contract, operation: Operation) -> list[Operation]:
    """The operation with those that have to come before it."""
    names = BEFORE.get(contract.path(operation), ())
    return [item for item in contract.operations if item.name in names] + [operation]


class Thread:
    """One story with ids of its own: what an answer names is what the next question is about."""

    def __init__(self, steps: Iterable[Operation]) -> None:
        self.suffix = uuid4().hex[:12]
        self._old = {text for step in steps for text in _own_ids(step)}
        self._known: dict[str, Any] = {}

    def question(self, operation: Operation) -> dict[str, Any]:
        data: dict[str, Any] = self._fresh(dict(operation.request_example))
        return data | {name: self._known[name] for name in data if name in self._known}

    def unknown(self, operation: Operation, name: str) -> dict[str, Any]:
        return self.question(operation) | {name: f"unknown-{self.suffix}"}

    def heard(self, answer: Mapping[str, Any]) -> None:
        """Ids that the partner gave take the place of those of the examples."""
        named = {name: value for name, value in answer.items() if name.endswith(("_id", "_ref"))}
        self._known |= {name: value for name, value in named.items() if isinstance(value, str)}

    def _fresh(self, value: Any) -> Any:
        match value:
            case str():
                return f"{value}-{self.suffix}" if value in self._old else value
            case dict():
                return {name: self._fresh(item) for name, item in value.items()}
            case list() | tuple():
                return [self._fresh(item) for item in value]
        return value


def _own_ids(operation: Operation) -> list[str]:
    """Ids that Posz makes: those of the key that are no field of a partner's own."""
    found = [
        value_at(operation.request_example, path)
        for path in operation.key
        if path.endswith("id") and path not in PARTNERS_OWN
    ]
    return [item for item in found if isinstance(item, str)]
