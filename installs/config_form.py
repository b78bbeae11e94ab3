"""The settings of an install as form fields: drawn from the catalog's schema, read back from a POST.

A secret is never sent back to the browser: a field that is left empty keeps the one that is set, and
a box of its own removes it.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS
from django.http import QueryDict

from catalog.models import Integration
from catalog.schema import MISPLACED, Field, fields, fits, masked
from installs.models import Install

PREFIX = "config-"
REMOVE = "-remove"
INPUT_TYPES = {"email": "email", "uri": "url", "date": "date", "time": "time"}


@dataclass(frozen=True, slots=True)
class Option:
    """`value` is what is stored and what the API knows, `label` what people read."""

    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Input:
    """One field as a template needs it."""

    field: Field
    name: str
    id: str
    value: str
    options: list[Option]
    errors: list[str]
    secret: Mapping[str, Any]
    is_place_open: bool

    @property
    def kind(self) -> str:
        """`checkbox`, `checkboxes`, `select`, or the type of an input element."""
        if self.field.type == "boolean":
            return "checkbox"
        if self.field.choices:
            return "checkboxes" if self.field.type == "array" else "select"
        if self.field.secret:
            return "password"
        if self.field.type in {"integer", "number"}:
            return "number"
        return INPUT_TYPES.get(self.field.format or "", "text")

    @property
    def is_checked(self) -> bool:
        return self.value == "true"

    @property
    def is_required(self) -> bool:
        is_always_here = not self.field.visible_when and not self.place_note
        return self.field.required and not self.secret.get("set") and is_always_here

    @property
    def can_remove(self) -> bool:
        return bool(self.secret.get("set")) and not self.field.required

    @property
    def remove_name(self) -> str:
        return f"{self.name}{REMOVE}"

    @property
    def place_note(self) -> str:
        """Where it may be set, for a form in which the place is still open."""
        return str(MISPLACED.get(self.field.scope, "")) if self.is_place_open else ""

    @property
    def visible_when(self) -> str:
        """Names and texts of the answers that show this field, for the script."""
        return json.dumps(
            {
                f"{PREFIX}{name}": [_as_text(value) for value in wanted]
                for name, wanted in self.field.visible_when.items()
            }
        )


def inputs(
    integration: Integration,
    install: Install | None = None,
    posted: QueryDict | None = None,
    errors: Mapping[str, list[str]] | None = None,
) -> list[Input]:
    """Fields with what was posted, else what is stored, else the defaults. Of an install only
    those that may be set at its place."""
    place = place_of(install) if install else None
    schema = integration.config_schema
    stored = masked(schema, install.config, install.config_changed_at) if install else {}
    owner = str(install.pk) if install else "new"
    return [
        _input(field, owner, stored, posted, errors or {})
        for field in fields(schema)
        if fits(field.scope, place) or field.name in (errors or {})
    ]


def _input(
    field: Field,
    owner: str,
    stored: dict[str, Any],
    posted: QueryDict | None,
    errors: Mapping[str, list[str]],
) -> Input:
    name = f"{PREFIX}{field.name}"
    if field.secret:
        texts = []
    elif posted is not None:
        texts = ["true"] if field.type == "boolean" and name in posted else posted.getlist(name)
    else:
        value = stored.get(field.name, field.default)
        texts = [_as_text(item) for item in (value if isinstance(value, list) else [value])]
    return Input(
        field=field,
        name=name,
        id=f"{name}-{owner}",
        value=texts[0] if texts else "",
        options=[
            Option(text, field.label(text), is_chosen=text in texts)
            for text in map(_as_text, field.choices)
        ],
        errors=list(errors.get(field.name, ())),
        secret=stored.get(field.name, {}) if field.secret else {},
        is_place_open=owner == "new",
    )


def place_of(install: Install) -> str:
    return "location" if install.location_id else "merchant"


def form_errors(errors: Mapping[str, list[str]]) -> list[str]:
    """Problems that belong to no field."""
    return list(errors.get(NON_FIELD_ERRORS, ()))


def read(integration: Integration, posted: QueryDict, place: str) -> dict[str, Any]:
    """The config a person filled in. None stands for a field that was emptied, or a secret that is
    to be removed. What belongs to the other kind of install counts only where somebody filled it
    in."""
    config = {}
    for field in fields(integration.config_schema):
        value = _read_field(field, posted)
        if not fits(field.scope, place) and value in (None, False, [], field.default):
            continue
        is_kept = field.secret and value is None and not _is_removed(field, posted)
        if not is_kept:
            config[field.name] = value
    return config


def _is_removed(field: Field, posted: QueryDict) -> bool:
    return f"{PREFIX}{field.name}{REMOVE}" in posted


def _read_field(field: Field, posted: QueryDict) -> Any:
    texts = posted.getlist(f"{PREFIX}{field.name}")
    if field.type == "boolean":
        return bool(texts)
    if field.type == "array":
        return texts
    text = texts[0].strip() if texts else ""
    if not text:
        return None
    by_text = {_as_text(choice): choice for choice in field.choices}
    if text in by_text:
        return by_text[text]
    return _number(text) if field.type in {"integer", "number"} else text


def _number(text: str) -> int | float | str:
    """What is not a number stays a text, so that the schema's own words refuse it."""
    for kind in (int, float):
        with suppress(ValueError):
            number = kind(text)
            # JSON has no infinity and no NaN, and so could not say at which field they stand.
            return number if isfinite(number) else text
    return text


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
