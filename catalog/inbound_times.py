"""Where a request says when it was made, and in which of the ways that providers write a time."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta, timezone
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from catalog.inbound_parts import Part, Reading, parse_part

SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)
MILLISECONDS = re.compile(r"[0-9]{1,15}", re.ASCII)
TICKS = re.compile(r"[0-9]{15,19}", re.ASCII)
# https://www.rfc-editor.org/rfc/rfc3339; the T may be a space and the offset may be missing.
WRITTEN = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})?",
    re.ASCII,
)
OFFSET = re.compile(r"([+-])(0[0-9]|1[0-4]):([0-5][0-9])")
# Ticks of .NET count 100 ns since the year 1.
TICKS_AT_EPOCH = 621_355_968_000_000_000


def _unix(text: str, _zone: timezone | None) -> float | None:
    return float(text) if SECONDS.fullmatch(text) else None


def _unix_ms(text: str, _zone: timezone | None) -> float | None:
    return int(text) / 1000 if MILLISECONDS.fullmatch(text) else None


def _ticks(text: str, _zone: timezone | None) -> float | None:
    return (int(text) - TICKS_AT_EPOCH) / 10_000_000 if TICKS.fullmatch(text) else None


def _rfc3339(text: str, zone: timezone | None) -> float | None:
    if not WRITTEN.fullmatch(text):
        return None
    try:
        moment = parse_datetime(text.upper())
        if moment is None or (moment.tzinfo is None and zone is None):
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return None


FORMATS: dict[str, Callable[[str, timezone | None], float | None]] = {
    "unix": _unix,
    "unix-ms": _unix_ms,
    "rfc3339": _rfc3339,
    "ticks": _ticks,
}


@dataclass(frozen=True, slots=True)
class Moment:
    """`zone` is that of times which are written without an offset."""

    at: Part
    format: str
    zone: timezone | None = None

    def read(self, reading: Reading) -> float | None:
        """Seconds since 1970; None where there is no such time."""
        value = self.at.read(reading)
        if value is None or not value.isascii():
            return None
        return FORMATS[self.format](value.decode(), self.zone)


def parse_moment(document: dict[str, Any], allowed: frozenset[str]) -> Moment:
    """From `at`, `format` and `zone`; raises ValidationError."""
    written = document.get("format", "rfc3339")
    if written not in FORMATS:
        raise ValidationError(
            _("“format” of a time is one of %(known)s.") % {"known": ", ".join(FORMATS)}
        )
    return Moment(parse_part(document.get("at"), allowed), written, _zone(document.get("zone")))


def _zone(text: Any) -> timezone | None:
    if text is None:
        return None
    match = OFFSET.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValidationError(_("“zone” is an offset such as +07:00."))
    sign = -1 if match[1] == "-" else 1
    return timezone(sign * timedelta(hours=int(match[2]), minutes=int(match[3])))


def as_datetime(seconds: float) -> datetime | None:
    try:
        return in_utc(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        return None


def in_utc(moment: datetime) -> datetime | None:
    """None in the first and the last year there is, out of which a zone could lead."""
    if not MINYEAR < moment.year < MAXYEAR:
        return None
    return moment.astimezone(UTC)
