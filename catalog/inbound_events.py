"""The events that a webhook brings, read with the mapping of its catalog row. One body may hold
several. Every refusal is `invalid_payload` and names the field.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from catalog.envelope import ApiError, json_object, json_value
from catalog.inbound_mapping import (
    EVENT_ID_LENGTH,
    TYPE_LENGTH,
    EventMapping,
    Ways,
    is_text,
)
from catalog.inbound_parts import Reading, SignedRequest, value_at
from catalog.inbound_times import as_datetime, in_utc
from catalog.strict_json import dumps

MAX_EVENTS = 500


class ParsedEvent(NamedTuple):
    """The fields of an event that decide where it goes.

    `type` is our name for what the provider calls `provider_type`. Merchant and outlet are named
    by Posz's own ids or by the partner's. `item` are the event's own bytes where the body holds
    several, written anew.
    """

    event_id: str
    type: str
    provider_type: str
    merchant_id: UUID | None = None
    external_merchant_id: str | None = None
    location_id: UUID | None = None
    external_location_id: str | None = None
    occurred_at: datetime | None = None
    data: Mapping[str, Any] = MappingProxyType({})
    item: bytes | None = None


@dataclass(frozen=True, slots=True)
class KeptEvent:
    location_id: UUID | None
    external_location_id: str | None
    data: Mapping[str, Any]


def read_events(
    mapping: EventMapping | None, headers: Sequence[tuple[str, str]], body: bytes
) -> list[ParsedEvent | ApiError]:
    """The events of a verified body in their order; an empty list of events is no event.

    Headers are pairs with lower-case names. Each event is deduplicated by its own id. One of several
    that can't be read is its refusal, so that the others are not lost with it.
    """
    if mapping is None:
        return [read_envelope(json_object(body))]
    reading = _reading(mapping, headers, body)
    if mapping.each is None:
        return [_event(mapping, reading, _whole(mapping, reading))]
    items = value_at(reading.document, mapping.each)
    if not isinstance(items, list) or len(items) > MAX_EVENTS:
        raise _field_error(
            "each", _("A list of at most %(limit)s events is needed.") % {"limit": MAX_EVENTS}
        )
    return [_event_or_refusal(mapping, reading, item) for item in items]


def _event_or_refusal(mapping: EventMapping, reading: Reading, item: Any) -> ParsedEvent | ApiError:
    try:
        return _event(mapping, reading, item)._replace(item=dumps(item))
    except ApiError as refusal:
        return refusal


def read_kept(mapping: EventMapping, kept: bytes) -> KeptEvent:
    """What is read again, without headers, of a body or of the item of a batch."""
    reading = _reading(mapping, (), kept)
    reading.item = _whole(mapping, reading)
    found = {
        key: _found(mapping, reading, key)
        for key in ("location_id", "external_location_id")
        if key in mapping.fields
    }
    return KeptEvent(
        location_id=_uuid(found, "location_id"),
        external_location_id=found.get("external_location_id"),
        data=_data(mapping, reading.item),
    )


def _reading(mapping: EventMapping, headers: Sequence[tuple[str, str]], body: bytes) -> Reading:
    request = SignedRequest("", "", "", "", headers, body, 0.0)
    reading = Reading(request, None if mapping.is_form else json_value(body))
    if mapping.is_form and reading.form is None:
        raise ApiError("invalid_payload", _("The body must be a form."))
    return reading


def _whole(mapping: EventMapping, reading: Reading) -> Any:
    return dict(reading.form or ()) if mapping.is_form else reading.document


def _event(mapping: EventMapping, reading: Reading, item: Any) -> ParsedEvent:
    reading.item = item
    data = _data(mapping, item)
    provider_type = _required(mapping, reading, "type", TYPE_LENGTH)
    found = {key: _found(mapping, reading, key) for key in mapping.fields}
    if {"merchant_id", "external_merchant_id"} & mapping.fields.keys():
        _require_merchant(found)
    for key in ("external_merchant_id", "external_location_id"):
        _check_text(key, found.get(key), EVENT_ID_LENGTH)
    return ParsedEvent(
        event_id=_event_id(mapping, reading),
        type=mapping.types.get(provider_type, provider_type),
        provider_type=provider_type,
        merchant_id=_uuid(found, "merchant_id"),
        external_merchant_id=found.get("external_merchant_id"),
        location_id=_uuid(found, "location_id"),
        external_location_id=found.get("external_location_id"),
        occurred_at=_occurred_at(mapping, reading),
        data=data,
    )


def _data(mapping: EventMapping, item: Any) -> dict[str, Any]:
    data = value_at(item, mapping.data)
    if not isinstance(data, dict):
        raise _field_error("data", _("An object is needed."))
    return data


def _event_id(mapping: EventMapping, reading: Reading) -> str:
    """A composite id that is too long is kept as its digest; a single one is refused."""
    values = _values(mapping.fields["event_id"], reading)
    if len(values) > 1:
        # Escaped, so that no two lists of values make one id.
        joined = "|".join(value.replace("%", "%25").replace("|", "%7C") for value in values)
        if len(joined) > EVENT_ID_LENGTH:
            return f"sha256:{hashlib.sha256(joined.encode()).hexdigest()}"
        return joined
    return _required(mapping, reading, "event_id", EVENT_ID_LENGTH)


def _required(mapping: EventMapping, reading: Reading, key: str, length: int) -> str:
    value = _found(mapping, reading, key)
    _check_text(key, value or "", length)
    return value or ""


def _found(mapping: EventMapping, reading: Reading, key: str) -> str | None:
    values = _values(mapping.fields[key], reading)
    return ".".join(values) or None


def _values(ways: Ways, reading: Reading) -> list[str]:
    for way in ways:
        values = [part.read(reading) for part in way]
        if all(value is not None for value in values) and any(values):
            return [_as_text(value or b"") for value in values]
    return []


def _as_text(value: bytes) -> str:
    """Headers are bytes; what no database can hold is written out."""
    return value.decode("utf-8", "backslashreplace").replace("\x00", "\\x00")


def _occurred_at(mapping: EventMapping, reading: Reading) -> datetime | None:
    if mapping.occurred_at is None or not mapping.occurred_at.at.read(reading):
        return None
    seconds = mapping.occurred_at.read(reading)
    moment = None if seconds is None else as_datetime(seconds)
    if moment is None:
        raise _field_error(
            "occurred_at",
            _("A time in the format %(format)s is needed.")
            % {"format": mapping.occurred_at.format},
        )
    return moment


# The standard body


def read_envelope(payload: Mapping[str, Any]) -> ParsedEvent:
    data = payload.get("data", {})
    if not isinstance(data, dict):
        raise _field_error("data", _("An object is needed."))
    _require_merchant(payload)
    external_id = payload.get("external_merchant_id")
    _check_text("external_merchant_id", external_id, EVENT_ID_LENGTH)
    kind = _text(payload, ("type", "event"), TYPE_LENGTH)
    return ParsedEvent(
        event_id=_text(payload, ("event_id", "id"), EVENT_ID_LENGTH),
        type=kind,
        provider_type=kind,
        merchant_id=_uuid(payload, "merchant_id"),
        external_merchant_id=external_id,
        location_id=_uuid(payload, "location_id"),
        occurred_at=_time(payload, "occurred_at"),
        data=data,
    )


def _require_merchant(found: Mapping[str, Any]) -> None:
    if found.get("merchant_id") is None and found.get("external_merchant_id") is None:
        raise _field_error(
            "merchant_id", _("Say which merchant: merchant_id or external_merchant_id.")
        )


def _field_error(name: str, message: str) -> ApiError:
    return ApiError("invalid_payload", f"{name}: {message}", fields={name: [message]})


def _check_text(name: str, value: Any, length: int) -> None:
    if value is not None and not is_text(value, length):
        raise _field_error(
            name, _("A text of 1 to %(length)s characters is needed.") % {"length": length}
        )


def _text(payload: Mapping[str, Any], names: tuple[str, str], length: int) -> str:
    first, second = names
    value = payload[first] if first in payload else payload.get(second)
    _check_text(first, "" if value is None else value, length)
    return str(value)


def _uuid(payload: Mapping[str, Any], name: str) -> UUID | None:
    value = payload.get(name)
    if value is None:
        return None
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise _field_error(name, _("A UUID is needed.")) from None


def _time(payload: Mapping[str, Any], name: str) -> datetime | None:
    value = payload.get(name)
    if value is None:
        return None
    try:
        parsed = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        parsed = None
    moment = in_utc(parsed) if parsed is not None and parsed.tzinfo is not None else None
    if moment is None:
        raise _field_error(name, _("A time with its offset is needed (RFC 3339)."))
    return moment
