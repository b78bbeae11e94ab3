"""Where things stand in a provider's webhooks: the document `inbound_mapping` of a catalog row as
dataclasses. {} is the standard body of Posz. `catalog.inbound_events` reads bodies with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as defaulted
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from catalog.inbound_parts import Part, parse_part, parse_pointer
from catalog.inbound_times import Moment, parse_moment

EVENT_ID_LENGTH = 255
TYPE_LENGTH = 100
MAX_PARTS = 10
READ_FROM = frozenset({"header", "body", "item", "form", "text"})
FORMATS = ("json", "form")
FIELDS = (
    "event_id",
    "type",
    "merchant_id",
    "external_merchant_id",
    "location_id",
    "external_location_id",
)
KEYS = frozenset({*FIELDS, "occurred_at", "data", "each", "types", "format"})

# Ways to find a value: the first one that is whole is taken, and its parts are joined.
Ways = tuple[tuple[Part, ...], ...]


@dataclass(frozen=True, slots=True)
class EventMapping:
    """Where things are. `each` points at the list of events of a body, None where it is one event."""

    fields: Mapping[str, Ways]
    occurred_at: Moment | None = None
    data: tuple[str, ...] = ()
    each: tuple[str, ...] | None = None
    types: Mapping[str, str] = defaulted(default_factory=dict)
    is_form: bool = False

    @property
    def header_names(self) -> frozenset[str]:
        """The headers that are needed to read the events again, in lower case."""
        parts = [part for ways in self.fields.values() for way in ways for part in way]
        parts += [self.occurred_at.at] if self.occurred_at else []
        return frozenset(part.argument for part in parts if part.source == "header")


def read_mapping(document: Any) -> EventMapping | None:
    """None for the standard body. Raises ValidationError with a sentence for staff."""
    if document == {}:
        return None
    if not isinstance(document, dict):
        raise ValidationError(_("Write an object; {} is the standard body of Posz."))
    for key in document:
        if key not in KEYS:
            known = ", ".join(sorted(KEYS))
            raise _document_problem(key, _("Known ones are %(known)s.") % {"known": known})
    for key in ("event_id", "type"):
        if key not in document:
            raise _document_problem(key, _("Say where it stands."))
    if document.get("format", "json") not in FORMATS:
        raise _document_problem("format", _("Write one of %(known)s.") % {"known": "json, form"})
    return EventMapping(
        fields={key: _ways(key, document[key]) for key in FIELDS if key in document},
        occurred_at=_moment(document.get("occurred_at")),
        data=_pointer("data", document.get("data", "")),
        each=_pointer("each", document["each"]) if "each" in document else None,
        types=_types(document.get("types", {})),
        is_form=document.get("format") == "form",
    )


def _ways(key: str, value: Any) -> Ways:
    """A text is one part, a list is joined, a list of lists says several ways."""
    if not isinstance(value, list):
        value = [value]
    ways = value if value and all(isinstance(way, list) for way in value) else [value]
    if not all(0 < len(way) <= MAX_PARTS for way in ways) or len(ways) > MAX_PARTS:
        raise _document_problem(key, _("Write a part, or a list of parts that are joined."))
    try:
        return tuple(tuple(parse_part(text, READ_FROM) for text in way) for way in ways)
    except ValidationError as error:
        raise _document_problem(key, " ".join(error.messages)) from None


def _moment(value: Any) -> Moment | None:
    if value is None:
        return None
    document = {"at": value} if isinstance(value, str) else value
    if not isinstance(document, dict) or document.keys() - {"at", "format", "zone"}:
        raise _document_problem("occurred_at", _("Write a part, or “at”, “format” and “zone”."))
    try:
        return parse_moment(document, READ_FROM)
    except ValidationError as error:
        raise _document_problem("occurred_at", " ".join(error.messages)) from None


def _pointer(key: str, value: Any) -> tuple[str, ...]:
    steps = parse_pointer(value) if isinstance(value, str) else None
    if steps is None:
        raise _document_problem(key, _("Write a JSON pointer, such as /events."))
    return steps


def _types(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(
        is_text(key, TYPE_LENGTH) and is_text(item, TYPE_LENGTH) for key, item in value.items()
    ):
        raise _document_problem("types", _("Write an object of the provider’s type to our type."))
    return value


def _document_problem(key: str, message: str) -> ValidationError:
    return ValidationError(f"“{key}”: {message}")


def is_text(value: Any, length: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= length
