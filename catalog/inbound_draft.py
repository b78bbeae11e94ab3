"""What staff fill in about a provider's webhooks, and the documents of a catalog row that it makes.

A form can't hold line ends, and nobody sees a space at the end of a field: they are typed as `\\n` and
`\\s`. Both directions are exact: what a document says, a draft says, and makes again.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from django.http import QueryDict

from catalog.inbound_mapping import FIELDS, read_mapping
from catalog.inbound_scheme import COMPOSED, KEYS, read_scheme

POSZ = "posz"
ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "s": " "}
SCHEME_FIELDS = (
    *("kind", "purpose", "confirm", "signature", "prefix", "bare", "suffix", "separator"),
    *("encoding", "algorithm", "key", "joiner", "leeway"),
    *("time_at", "time_format", "time_zone", "time_tolerance"),
)
MAPPING_FIELDS = (
    *("format", "is_batch", "each", *FIELDS, "data"),
    *("occurred_at", "occurred_format", "occurred_zone"),
)
DEFAULTS = {
    **dict.fromkeys((*SCHEME_FIELDS, *MAPPING_FIELDS), ""),
    "kind": POSZ,
    "purpose": "inbound",
    "algorithm": "sha256",
    "key": "utf-8",
    "time_format": "unix",
    "time_tolerance": "300",
    "format": POSZ,
    "occurred_format": "rfc3339",
}
# What need not be said in a document, because it is so anyway.
UNSAID: dict[str, Any] = {
    "algorithm": "sha256",
    "key": "utf-8",
    "purpose": "inbound",
    "confirm": False,
    "signed": ["body"],
    "leeway": 0,
}


@dataclass(frozen=True, slots=True)
class Documents:
    """Three columns of a catalog row: how webhooks are proven, where things stand, what they mean."""

    verification: dict[str, Any]
    mapping: dict[str, Any]
    events: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PartRow:
    source: str = "body"
    argument: str = ""
    filters: str = ""

    @classmethod
    def of(cls, text: str) -> Self:
        head, _bar, filters = (text, "", "") if text.startswith("text:") else text.partition(" | ")
        source, _colon, argument = head.partition(":")
        return cls(source, shown(argument), shown(filters))

    @property
    def text(self) -> str:
        is_named = self.argument or self.source == "text"
        head = f"{self.source}:{typed(self.argument)}" if is_named else self.source
        return f"{head} | {typed(self.filters)}" if self.filters else head


@dataclass(frozen=True, slots=True)
class SameRow:
    left: str = ""
    right: str = ""


@dataclass(frozen=True, slots=True)
class TypeRow:
    """What the provider calls an event, what Posz calls it, and the capability it belongs to."""

    theirs: str = ""
    ours: str = ""
    capability: str = ""


ROWS: dict[str, type[PartRow] | type[SameRow] | type[TypeRow]] = {
    "signed": PartRow,
    "same": SameRow,
    "types": TypeRow,
}


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything as texts, right or wrong: mistakes are told by `documents` and what checks them."""

    values: Mapping[str, str]
    rows: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in ROWS})

    @classmethod
    def typed_in(cls, data: QueryDict) -> Self:
        values = {name: data.get(name, value).strip() for name, value in DEFAULTS.items()}
        rows = {name: _rows_typed_in(data, name) for name in ROWS}
        # A scheme that had no parts to draw, until another kind was chosen.
        rows["signed"] = rows["signed"] or [PartRow()]
        return cls(values, rows)

    @classmethod
    def of(cls, documents: Documents) -> Self:
        """Documents must be right; see `is_exact` for what a form can't show."""
        values = DEFAULTS | _scheme_values(documents.verification)
        values |= _mapping_values(documents.mapping)
        signed = documents.verification.get("signed", ["body"])
        same = documents.verification.get("same", {})
        return cls(
            values,
            {
                "signed": [PartRow.of(text) for text in signed],
                "same": [SameRow(_shown_part(key), _shown_part(same[key])) for key in same],
                "types": _type_rows(documents.mapping.get("types", {}), documents.events),
            },
        )

    def documents(self) -> Documents:
        return Documents(self._verification(), self._mapping(), self._events())

    def is_exact(self, documents: Documents) -> bool:
        """Whether the form of these documents makes documents that mean the same."""
        made = self.documents()
        return (
            read_scheme(made.verification, "X") == read_scheme(documents.verification, "X")
            and read_mapping(made.mapping) == read_mapping(documents.mapping)
            and made.events == documents.events
        )

    def _verification(self) -> dict[str, Any]:
        kind = self.values["kind"]
        if kind == POSZ:
            return {}
        prefixes = [typed(line) for line in _lines(self.values["prefix"])]
        prefixes += [""] if self.values["bare"] else []
        is_composed = KEYS.get(kind, frozenset()) >= COMPOSED
        made = {
            "kind": kind,
            "purpose": self.values["purpose"],
            "confirm": bool(self.values["confirm"]),
            "signature": _one_or_many([_typed_part(x) for x in _lines(self.values["signature"])]),
            "prefix": _one_or_many(prefixes),
            **{name: typed(self.values[name]) for name in ("suffix", "separator", "joiner")},
            "encoding": self.values["encoding"] or ("hex" if is_composed else ""),
            "algorithm": self.values["algorithm"],
            "key": self.values["key"],
            "signed": [row.text for row in self.rows["signed"]],
            "time": self._time(),
            "leeway": _number(self.values["leeway"] or "0"),
            "same": {
                _typed_part(row.left): _typed_part(row.right)
                for row in self.rows["same"]
                if row.left or row.right
            },
        }
        known = KEYS.get(kind, frozenset(made))
        return {
            key: value
            for key, value in made.items()
            if key in known and value not in ("", None, {}) and UNSAID.get(key, ...) != value
        }

    def _time(self) -> dict[str, Any] | None:
        if not self.values["time_at"]:
            return None
        return {
            "at": _typed_part(self.values["time_at"]),
            "format": self.values["time_format"],
            **({"zone": self.values["time_zone"]} if self.values["time_zone"] else {}),
            "tolerance": _number(self.values["time_tolerance"]),
        }

    def _mapping(self) -> dict[str, Any]:
        if self.values["format"] == POSZ:
            return {}
        made: dict[str, Any] = {name: _ways(self.values[name]) for name in FIELDS}
        made["format"] = "form" if self.values["format"] == "form" else None
        made["data"] = typed(self.values["data"]) or None
        made["each"] = typed(self.values["each"]) if self.values["is_batch"] else None
        made["occurred_at"] = self._occurred_at()
        made["types"] = {
            row.theirs: row.ours
            for row in self.rows["types"]
            if row.theirs and row.ours and row.ours != row.theirs
        }
        return {key: value for key, value in made.items() if value not in (None, {})}

    def _occurred_at(self) -> Any:
        at = _typed_part(self.values["occurred_at"])
        written, zone = self.values["occurred_format"], self.values["occurred_zone"]
        if not at or (written == "rfc3339" and not zone):
            return at or None
        return {"at": at, "format": written, **({"zone": zone} if zone else {})}

    def _events(self) -> dict[str, Any]:
        named = {(row.ours or row.theirs): row.capability for row in self.rows["types"]}
        return {name: capability for name, capability in named.items() if name and capability}


# Into a form


def shown(text: str) -> str:
    text = text.replace("\\", "\\\\")
    for letter, char in ESCAPED.items():
        text = text.replace(char, f"\\{letter}") if char != " " else text
    return re.sub(r"^ +| +$", lambda spaces: "\\s" * len(spaces[0]), text)


def _shown_part(text: str) -> str:
    return shown(text).replace(" + ", " \\+ ")


def _scheme_values(document: Mapping[str, Any]) -> dict[str, str]:
    if not document:
        return {}
    prefixes = _many(document.get("prefix", []))
    time = document.get("time") or {}
    plain = ("kind", "purpose", "algorithm", "key", "encoding", "leeway")
    return {
        **{name: str(document[name]) for name in plain if name in document},
        **{name: shown(document.get(name, "")) for name in ("suffix", "separator", "joiner")},
        "confirm": "on" if document.get("confirm") else "",
        "signature": "\n".join(map(_shown_part, _many(document.get("signature", [])))),
        "prefix": "\n".join(shown(text) for text in prefixes if text),
        "bare": "on" if "" in prefixes and len(prefixes) > 1 else "",
        "time_at": _shown_part(time.get("at", "")),
        "time_format": time.get("format", "rfc3339" if time else "unix"),
        "time_zone": time.get("zone") or "",
        "time_tolerance": str(time.get("tolerance", 300)),
    }


def _mapping_values(document: Mapping[str, Any]) -> dict[str, str]:
    if not document:
        return {}
    occurred = document.get("occurred_at") or {}
    occurred = {"at": occurred} if isinstance(occurred, str) else occurred
    return {
        **{name: _shown_ways(document[name]) for name in FIELDS if name in document},
        "format": document.get("format", "json"),
        "is_batch": "on" if "each" in document else "",
        "each": shown(document.get("each", "")),
        "data": shown(document.get("data", "")),
        "occurred_at": _shown_part(occurred.get("at", "")),
        "occurred_format": occurred.get("format", "rfc3339"),
        "occurred_zone": occurred.get("zone") or "",
    }


def _shown_ways(value: Any) -> str:
    ways = value if isinstance(value, list) and isinstance(value[0], list) else [_many(value)]
    return "\n".join(" + ".join(map(_shown_part, way)) for way in ways)


def _type_rows(types: Mapping[str, str], events: Mapping[str, str]) -> list[TypeRow]:
    renamed = [TypeRow(key, ours, events.get(ours, "")) for key, ours in types.items()]
    covered = set(types.values())
    kept = [TypeRow(key, "", name) for key, name in events.items() if key not in covered]
    return renamed + kept


# Out of a form


def typed(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: ESCAPED.get(match[1], match[1]), text)


def _typed_part(text: str) -> str:
    return typed(text.strip())


def _ways(text: str) -> Any:
    ways = [[_typed_part(part) for part in line.split(" + ")] for line in _lines(text)]
    if len(ways) == 1:
        return _one_or_many(ways[0])
    return ways or None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _number(text: str) -> Any:
    """What is no number is left to the check of the document, which has a sentence for it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _one_or_many(values: Sequence[str]) -> Any:
    return list(values) if len(values) > 1 else "".join(values)


def _many(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _rows_typed_in(data: QueryDict, name: str) -> list[Any]:
    """Cells of a column come as a list; a row of which a cell is missing was not drawn by us."""
    make = ROWS[name]
    columns = [data.getlist(f"{name}-{column}") for column in make.__slots__]
    return [make(*(cell.strip() for cell in cells)) for cells in zip(*columns, strict=False)]
