"""How an operation is written down: types of fields, and what is said of each operation.

The structs of this package are the contract. Reading, JSON Schema, the documentation and the generated
tests all come from them, so none of these can say something else than another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct

from catalog.capabilities import CAPABILITIES, Capability, Direction, Mode
from catalog.models import in_language
from dispatch.contracts import Adapter

MOST_CENTS = 10**15
DECIMAL = r"^-?[0-9]{1,12}(\.[0-9]{1,6})?$"

Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200)]
Prose: TypeAlias = Annotated[str, Meta(max_length=4000)]
Url: TypeAlias = Annotated[str, Meta(pattern=r"^https?://[!-~]+$", max_length=2000)]
Cents: TypeAlias = Annotated[
    int, Meta(ge=0, le=MOST_CENTS, description="Hundredths: Rp50.000 is 5000000.")
]
Balance: TypeAlias = Annotated[
    int,
    Meta(ge=-MOST_CENTS, le=MOST_CENTS, description="Hundredths; below zero where it is owed."),
]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]
AtLeastOne: TypeAlias = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Points: TypeAlias = Annotated[int, Meta(ge=-(10**12), le=10**12)]
Rate: TypeAlias = Annotated[int, Meta(ge=0, le=10_000, description="Hundredths of a per cent.")]
Quantity: TypeAlias = Annotated[str, Meta(pattern=DECIMAL, description="A decimal as a text.")]
Time: TypeAlias = Annotated[datetime, Meta(tz=True)]
Currency: TypeAlias = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
Country: TypeAlias = Annotated[str, Meta(pattern="^[A-Z]{2}$")]
Phone: TypeAlias = Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{6,14}$")]
Email: TypeAlias = Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=254)]
# Loyalty accounts and the like: what names a person elsewhere must not be their number or address.
OpaqueId: TypeAlias = Annotated[str, Meta(pattern=r"^(?!\+?[0-9]{9,15}$)[^@\s]{1,200}$")]


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An object to which fields may be added at any time: unknown ones are ignored."""


class Command(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for. A field that nobody knows is refused: it may be a misspelt amount."""


class Done(Record, frozen=True):
    """Nothing to say but that it is done. Partners may add a reference of their own."""

    external_ref: Text | None = None


@dataclass(frozen=True, slots=True)
class Words:
    en: str
    id: str

    def __str__(self) -> str:
        return in_language(self.en, self.id)


class Wire(Enum):
    """How an operation travels."""

    POSZ = "posz"
    OPENID_CONNECT = "openid_connect"


class Failure(Enum):
    """What becomes of the matter when the other side is slow, dead or talks nonsense."""

    SKIP = "skip"
    BUILT_IN = "built_in"
    NOT_DONE = "not_done"
    PENDING = "pending_verification"
    RETRY = "retry"
    SEND_AGAIN = "send_again"

    @property
    def words(self) -> Words:
        return FAILURES[self]


FAILURES = {
    Failure.SKIP: Words(
        "Posz goes on without the answer.",
        "Posz melanjutkan tanpa jawaban.",
    ),
    Failure.BUILT_IN: Words(
        "Posz does it itself, as if no integration were installed.",
        "Posz mengerjakannya sendiri, seolah tidak ada integrasi yang dipasang.",
    ),
    Failure.NOT_DONE: Words(
        "It counts as not done, and the person at the till is told. Nothing is assumed.",
        "Dianggap belum terjadi, dan kasir diberi tahu. Tidak ada yang diandaikan.",
    ),
    Failure.PENDING: Words(
        "The outcome is unknown: `pending_verification`, never “paid”. The status is asked until it "
        "is known.",
        "Hasilnya belum diketahui: `pending_verification`, tidak pernah “lunas”. Status terus "
        "ditanyakan sampai diketahui.",
    ),
    Failure.RETRY: Words(
        "Posz keeps it and sends it again later, with the same key.",
        "Posz menyimpannya dan mengirim ulang nanti dengan kunci yang sama.",
    ),
    Failure.SEND_AGAIN: Words(
        "Posz answers no 2xx. Send it again with the same id; it has one effect only.",
        "Posz tidak menjawab 2xx. Kirim ulang dengan id yang sama; akibatnya hanya satu kali.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that one side may ask of the other.

    `key` names the fields of the request that make two askings the same; without any, a question is
    a reading and is put anew each time. `method` is the adapter's method that carries it out; where
    there is none, the hub itself answers a partner. `events` are the domain events that cause it.
    """

    name: str = ""
    direction: Direction = Direction.SYNC
    words: Words
    request: type[Record]
    answer: type[Record] | None = None
    request_example: Mapping[str, Any]
    answer_example: Mapping[str, Any] | None = None
    failure: Failure
    method: Callable[..., Any] | None = None
    key: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    wire: Wire = Wire.POSZ
    budget_ms: int | None = None

    @property
    def is_asked(self) -> bool:
        """Whether Posz waits for a partner's answer to it."""
        return self.direction is Direction.SYNC and self.wire is Wire.POSZ

    @property
    def is_reading(self) -> bool:
        return self.direction is Direction.SYNC and not self.key

    def key_of(self, data: Mapping[str, Any]) -> str:
        return ":".join(str(value_at(data, path)) for path in self.key)


def value_at(data: Any, path: str) -> Any:
    for step in path.split("."):
        data = data.get(step) if isinstance(data, Mapping) else None
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """All that is agreed about one version of a capability. `config` is where a schema starts from."""

    capability: str
    version: int = 1
    adapter: type[Adapter]
    words: Words
    failure: Words
    operations: tuple[Operation, ...]
    config: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        return f"{self.capability}@{self.version}"

    @property
    def place(self) -> Capability:
        return CAPABILITIES[self.capability]

    @property
    def mode(self) -> Mode:
        return self.place.mode

    def operation(self, name: str) -> Operation | None:
        return next((item for item in self.operations if item.name == name), None)

    def path(self, operation: Operation) -> str:
        return f"{self.capability}/{operation.name}" if operation.name else self.capability

    def budget_of(self, operation: Operation) -> int | None:
        """Milliseconds that somebody waits; None where nobody does."""
        waits = operation.budget_ms or self.place.budget_ms
        return waits if operation.direction is Direction.SYNC else operation.budget_ms

    def config_schema(self) -> dict[str, Any]:
        properties = {
            name: {"x-order": order, **rules}
            for order, (name, rules) in enumerate(self.config.items(), 1)
        }
        return {"type": "object", "properties": properties}


def text(en: str, indonesian: str, **rules: Any) -> dict[str, Any]:
    """A setting that a merchant fills in."""
    return {"type": "string", "title": en, "x-title-id": indonesian, "maxLength": 200, **rules}


def secret(en: str, indonesian: str) -> dict[str, Any]:
    return text(en, indonesian, **{"x-secret": True})


def some(words: Mapping[str, Words], *names: str) -> dict[str, Words]:
    """Those options of a larger set that a setting offers."""
    return {name: words[name] for name in names}


def choice(en: str, indonesian: str, options: Mapping[str, Words]) -> dict[str, Any]:
    """A setting of which one may be chosen, with what each option is called."""
    title = {"title": en, "x-title-id": indonesian}
    return {"type": "string", **title, "enum": list(options), **_labels(options)}


def choices(en: str, indonesian: str, options: Mapping[str, Words]) -> dict[str, Any]:
    """A setting of which any number may be ticked."""
    items = {"type": "string", "enum": list(options)}
    title = {"title": en, "x-title-id": indonesian}
    return {"type": "array", **title, "items": items, "uniqueItems": True, **_labels(options)}


def _labels(options: Mapping[str, Words]) -> dict[str, Any]:
    return {
        "x-labels-en": {name: words.en for name, words in options.items()},
        "x-labels-id": {name: words.id for name, words in options.items()},
    }


def number(en: str, indonesian: str, low: int = 0, high: int = 10**12) -> dict[str, Any]:
    return {
        "type": "integer",
        "title": en,
        "x-title-id": indonesian,
        "minimum": low,
        "maximum": high,
    }


def flag(en: str, indonesian: str) -> dict[str, Any]:
    return {"type": "boolean", "title": en, "x-title-id": indonesian}


def per_outlet(setting: dict[str, Any]) -> dict[str, Any]:
    return setting | {"x-scope": "location"}
