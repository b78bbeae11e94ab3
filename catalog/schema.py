"""The rules of an integration's config schema, and of the config that a merchant gives for it.

A config schema is a small, flat part of JSON Schema 2020-12: one object of plain fields, without
references, nesting or combinators, plus our own `x-` keywords. Nothing is ever fetched for it, and
no message ever repeats a value.
"""

import math
import re
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from datetime import date, datetime, time
from graphlib import CycleError, TopologicalSorter
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.validators import URLValidator, validate_email
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema import ValidationError as SchemaError
from jsonschema.validators import extend
from referencing import Registry

from catalog import strict_json
from catalog.patterns import MAX_PATTERN, is_safe

MAX_PROPERTIES = 40
MAX_TEXT = 1_000
MAX_VALUE = 4_096
MAX_OPTIONS = 100
# Larger whole numbers change on their way through a JavaScript partner (RFC 7493, section 2.2).
MAX_NUMBER = 2**53 - 1
LAST4_FROM = 12

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
TOP_KEYWORDS = frozenset({"type", "properties", "required", "additionalProperties"})
FORMATS = ("email", "uri", "date", "time")
SCOPES = ("merchant", "location", "any")
# What a setting of the wrong scope is told, by the scope it has.
MISPLACED: dict[str, str | Promise] = {
    "merchant": gettext_lazy("This is set once for all outlets, in the install for all outlets."),
    "location": gettext_lazy("This is set outlet by outlet, in an install for one outlet."),
}


class ConfigError(Exception):
    """A config that does not fit its schema: translated messages by field, without any value."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        super().__init__(", ".join(sorted(fields)))
        self.fields = fields


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    title_en: str
    title_id: str
    help_en: str
    help_id: str
    placeholder_en: str
    placeholder_id: str
    secret: bool
    required: bool
    choices: tuple[Any, ...]
    labels_en: dict[str, str]
    labels_id: dict[str, str]
    default: Any
    minimum: int | float | None
    maximum: int | float | None
    min_length: int | None
    max_length: int | None
    pattern: str | None
    format: str | None
    visible_when: dict[str, tuple[Any, ...]]
    scope: str

    def title(self) -> str:
        return _in_language(self.title_en, self.title_id)

    def help(self) -> str:
        return _in_language(self.help_en, self.help_id)

    def placeholder(self) -> str:
        return _in_language(self.placeholder_en, self.placeholder_id)

    def label(self, choice: str) -> str:
        """What a choice is called; as it is where nobody said so."""
        english, indonesian = self.labels_en.get(choice, ""), self.labels_id.get(choice, "")
        return _in_language(english, indonesian) or choice


def _in_language(english: str, indonesian: str) -> str:
    is_indonesian = (get_language() or "").startswith("id")
    return (indonesian or english) if is_indonesian else (english or indonesian)


# Reading a schema that has passed check_schema


def fields(schema: dict[str, Any]) -> list[Field]:
    required = schema.get("required", [])
    properties = schema.get("properties", {}).items()
    ordered = sorted(properties, key=lambda item: (item[1].get("x-order", math.inf), item[0]))
    return [_field(name, rules, is_required=name in required) for name, rules in ordered]


def _field(name: str, rules: dict[str, Any], *, is_required: bool) -> Field:
    return Field(
        name=name,
        type=rules["type"],
        title_en=rules.get("title") or name.replace("_", " ").capitalize(),
        title_id=rules.get("x-title-id", ""),
        help_en=rules.get("x-help-en") or rules.get("description", ""),
        help_id=rules.get("x-help-id", ""),
        placeholder_en=rules.get("x-placeholder-en", ""),
        placeholder_id=rules.get("x-placeholder-id", ""),
        secret=rules.get("x-secret", False),
        required=is_required,
        choices=tuple(rules.get("items", rules).get("enum", ())),
        labels_en=rules.get("x-labels-en", {}),
        labels_id=rules.get("x-labels-id", {}),
        default=rules.get("default"),
        minimum=rules.get("minimum"),
        maximum=rules.get("maximum"),
        min_length=rules.get("minLength"),
        max_length=rules.get("maxLength", MAX_VALUE) if rules["type"] == "string" else None,
        pattern=rules.get("pattern"),
        format=rules.get("format"),
        visible_when=_conditions(rules),
        scope=rules.get("x-scope", "any"),
    )


def _conditions(rules: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {
        other: tuple(wanted) if isinstance(wanted, list) else (wanted,)
        for other, wanted in rules.get("x-visible-when", {}).items()
    }


def secret_names(schema: dict[str, Any]) -> frozenset[str]:
    properties = schema.get("properties", {})
    return frozenset(name for name, rules in properties.items() if rules.get("x-secret"))


def masked(
    schema: dict[str, Any], config: dict[str, Any], changed_at: datetime | None
) -> dict[str, Any]:
    """The config as it may be shown. A key that the schema no longer knows is left out: it may
    have been a secret."""
    secrets = secret_names(schema)
    shown = {name: value for name, value in config.items() if name in schema.get("properties", {})}
    return shown | {name: _masked_secret(config.get(name), changed_at) for name in secrets}


def _masked_secret(value: str | None, changed_at: datetime | None) -> dict[str, Any]:
    if not value:
        return {"set": False}
    last4 = value[-4:] if len(value) >= LAST4_FROM else None
    return {"set": True, "last4": last4, "changed_at": changed_at}


# Validating a config


def fits(scope: str, place: str | None) -> bool:
    """Whether a setting of this `x-scope` may be set on an install of this place, `merchant` or
    `location`. None asks for no place in particular."""
    return place is None or scope in {"any", place}


def check_place(schema: dict[str, Any], given: Any, place: str) -> None:
    """ConfigError where somebody sets what belongs to the other kind of install. Null only
    removes, which is always allowed."""
    properties = schema.get("properties", {})
    scopes = {name: rules.get("x-scope", "any") for name, rules in properties.items()}
    names = given if isinstance(given, dict) else {}
    misplaced = {
        name: [str(MISPLACED[scopes[name]])]
        for name, value in names.items()
        if name in scopes and value is not None and not fits(scopes[name], place)
    }
    if misplaced:
        raise ConfigError(misplaced)


def validate_config(
    schema: dict[str, Any], config: Any, place: str | None = None
) -> dict[str, Any]:
    """The config with defaults, without the fields that its own answers hide; or ConfigError.

    With a place, settings of the other scope are neither required nor given their default.
    """
    try:
        config = strict_json.loads(strict_json.dumps(config))
    except (TypeError, ValueError, RecursionError):
        message = _("The settings hold something that JSON cannot carry.")
        raise ConfigError({NON_FIELD_ERRORS: [message]}) from None
    if not isinstance(config, dict):
        raise ConfigError({NON_FIELD_ERRORS: [_("Give the settings as a JSON object.")]})
    properties = schema.get("properties", {})
    problems = {name: [_("This setting is not known.")] for name in config.keys() - properties}
    cleaned, visible = _visible_values(properties, config, place)
    required = [name for name in schema.get("required", []) if name in visible]
    for name, message in _value_problems(properties, required, cleaned):
        messages = problems.setdefault(name, [])
        if message not in messages:
            messages.append(message)
    if problems:
        raise ConfigError(problems)
    return cleaned


def _visible_values(
    properties: dict[str, Any], config: dict[str, Any], place: str | None
) -> tuple[dict[str, Any], set[str]]:
    """Fields are settled after those they depend on, so that a hidden one hides its followers."""
    values: dict[str, Any] = {}
    visible = set()
    for name in _dependency_order(properties):
        rules = properties[name]
        conditions = _conditions(rules).items()
        if not all(other in values and values[other] in wanted for other, wanted in conditions):
            continue
        is_here = fits(rules.get("x-scope", "any"), place)
        if is_here:
            visible.add(name)
        if name in config:
            values[name] = config[name]
        elif is_here and "default" in rules:
            values[name] = copy(rules["default"])
    return {name: values[name] for name in properties if name in values}, visible


def _dependency_order(properties: dict[str, Any]) -> list[str]:
    graph = {name: _conditions(rules).keys() for name, rules in properties.items()}
    return list(TopologicalSorter(graph).static_order())


def _value_problems(
    properties: dict[str, Any], required: list[str], config: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    effective = {
        "type": "object",
        "properties": {
            name: _effective(rules, is_required=name in required)
            for name, rules in properties.items()
        },
        "required": required,
    }
    validator = _Validator(effective, registry=Registry(), format_checker=_FORMAT_CHECKER)
    for error in validator.iter_errors(config):
        if error.validator == "required":
            for name in required:
                if name not in config:
                    yield name, _("Fill this in.")
        else:
            yield str(error.absolute_path[0]), _explain(error)


def _effective(rules: dict[str, Any], *, is_required: bool) -> dict[str, Any]:
    if rules["type"] != "string":
        return rules
    # A required text that is empty is as missing as one that was not sent.
    return {"minLength": 1 if is_required else 0, "maxLength": MAX_VALUE} | rules


def _explain(error: SchemaError) -> str:
    limit: Any = error.validator_value
    if error.validator == "enum":
        options = ", ".join(str(option) for option in limit)
        return _("Choose one of: %(options)s.") % {"options": options}
    if error.validator == "minLength" and limit == 1:
        return _("Fill this in.")
    if error.validator in {"type", "format"}:
        return str(_KIND_MESSAGES[str(limit)])
    message = _LIMIT_MESSAGES.get(str(error.validator), gettext_lazy("Correct this value."))
    return str(message) % {"limit": limit}


_KIND_MESSAGES: dict[str, str | Promise] = {
    "string": gettext_lazy("Enter a text."),
    "integer": gettext_lazy("Enter a whole number."),
    "number": gettext_lazy("Enter a number."),
    "boolean": gettext_lazy("Answer yes or no (true or false)."),
    "array": gettext_lazy("Give a list of choices."),
    "email": gettext_lazy("Enter an email address, like name@example.com."),
    "uri": gettext_lazy("Enter a full web address, like https://example.com/."),
    "date": gettext_lazy("Enter a date as YYYY-MM-DD."),
    "time": gettext_lazy("Enter a time as HH:MM."),
}
_LIMIT_MESSAGES: dict[str, str | Promise] = {
    "minimum": gettext_lazy("Enter %(limit)s or more."),
    "maximum": gettext_lazy("Enter %(limit)s or less."),
    "minLength": gettext_lazy("Enter at least %(limit)s characters."),
    "maxLength": gettext_lazy("Enter at most %(limit)s characters."),
    "pattern": gettext_lazy("This does not have the expected form."),
    "uniqueItems": gettext_lazy("Choose each option only once."),
}

_FORMAT_CHECKER = FormatChecker(formats=())
_is_web_address = URLValidator(schemes=["http", "https"])


@_FORMAT_CHECKER.checks("email", raises=ValidationError)
def _is_email(value: object) -> bool:
    if isinstance(value, str):
        validate_email(value)
    return True


@_FORMAT_CHECKER.checks("uri", raises=ValidationError)
def _is_uri(value: object) -> bool:
    if isinstance(value, str):
        _is_web_address(value)
    return True


@_FORMAT_CHECKER.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    # fromisoformat alone would also take 20260131 and 2026-W05-6.
    return not isinstance(value, str) or date.fromisoformat(value).isoformat() == value


@_FORMAT_CHECKER.checks("time", raises=ValueError)
def _is_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    return time.fromisoformat(value).isoformat("minutes" if len(value) == 5 else "seconds") == value


def _is_number(value: object) -> bool:
    # bool is an int for Python, but not for JSON.
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER
    )


def _check_pattern(
    _validator: Any, pattern: str, value: Any, rules: dict[str, Any]
) -> Iterator[SchemaError]:
    """Only on a value of allowed length. A `$` before a last line break is Python's own idea, not
    JSON Schema's, so a value with line breaks never fits."""
    if not isinstance(value, str) or len(value) > rules["maxLength"]:
        return
    if "\n" in value or not re.search(pattern, value):
        yield SchemaError("pattern")


_Validator = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {"pattern": _check_pattern},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "number": lambda _checker, value: _is_number(value),
            "integer": lambda _checker, value: _is_integer(value),
        }
    ),
)


# Checking a schema


def check_schema(schema: Any) -> None:
    try:
        strict_json.loads(strict_json.dumps(schema))
    except (TypeError, ValueError, RecursionError):
        raise ValidationError([_("The schema holds something that JSON cannot carry.")]) from None
    problems = list(_schema_problems(schema))
    if problems:
        raise ValidationError(problems)


def _schema_problems(schema: Any) -> Iterator[str]:
    if schema == {}:
        return
    if not isinstance(schema, dict) or schema.get("type") != "object":
        yield _('Start the schema with "type": "object", or leave it as {} for no settings.')
        return
    properties = schema.get("properties")
    if not isinstance(properties, dict) or len(properties) > MAX_PROPERTIES:
        yield _('List the fields under "properties", at most %(limit)s of them.') % {
            "limit": MAX_PROPERTIES
        }
        return
    yield from _top_problems(schema, properties)
    problems = [
        f"{name}: {problem}"
        for name, rules in properties.items()
        for problem in _property_problems(name, rules)
    ]
    # What one field says of another can only be read where each is sound by itself.
    yield from problems or _visibility_problems(properties)


def _top_problems(schema: dict[str, Any], properties: dict[str, Any]) -> Iterator[str]:
    for keyword in sorted(schema.keys() - TOP_KEYWORDS):
        yield _('Remove "%(keyword)s": it cannot be used here.') % {"keyword": keyword}
    if schema.get("additionalProperties", False) is not False:
        yield _('Set "additionalProperties" to false or remove it.')
    required = schema.get("required", [])
    if not _is_unique_texts(required) or any(name not in properties for name in required):
        yield _('Let "required" be a list of field names, each once.')


def _property_problems(name: str, rules: Any) -> Iterator[str]:
    if not NAME.fullmatch(name):
        yield _("use a name of a-z, 0-9 and _ that starts with a letter, at most 64 characters.")
    if not isinstance(rules, dict) or rules.get("type") not in list(_TYPE_KEYWORDS):
        yield _('give it a "type": string, integer, number, boolean or array.')
        return
    allowed = _TYPE_KEYWORDS[rules["type"]] | _ANY_TYPE_KEYWORDS
    for keyword in sorted(rules.keys() - allowed):
        yield _('remove "%(keyword)s": it cannot be used with type %(type)s.') % {
            "keyword": keyword,
            "type": rules["type"],
        }
    checkable = sorted(rules.keys() & allowed & _KEYWORDS.keys())
    wrong = [keyword for keyword in checkable if not _KEYWORDS[keyword][0](rules[keyword])]
    for keyword in wrong:
        yield _('let "%(keyword)s" be %(rule)s.') % {
            "keyword": keyword,
            "rule": _KEYWORDS[keyword][1],
        }
    if not wrong:
        yield from _combination_problems(rules)


def _combination_problems(rules: dict[str, Any]) -> Iterator[str]:
    kind = rules["type"]
    if kind == "array" and "items" not in rules:
        yield _('add "items" with the "enum" of texts to choose from.')
    for low, high in (("minimum", "maximum"), ("minLength", "maxLength")):
        if low in rules and high in rules and rules[low] > rules[high]:
            yield _('let "%(low)s" be no more than "%(high)s".') % {"low": low, "high": high}
    if rules.get("x-secret") and "default" in rules:
        yield _('remove "default": a secret has none.')
    if any(not _accepts({"type": kind}, option) for option in rules.get("enum", [])):
        yield _('let each "enum" value be of type %(type)s.') % {"type": kind}
    offered = {str(option) for option in rules.get("items", rules).get("enum", [])}
    for keyword in _LABEL_KEYWORDS:
        if keyword in _TYPE_KEYWORDS[kind] and rules.get(keyword, {}).keys() - offered:
            yield _('let "%(keyword)s" name only values of "enum".') % {"keyword": keyword}
    if not is_safe(rules.get("pattern", ""), rules.get("maxLength", MAX_VALUE)):
        yield _(
            'simplify "pattern": start it with ^, repeat single characters only, '
            'use few repeats, or set a smaller "maxLength".'
        )
    elif "default" in rules and not _accepts(rules, rules["default"]):
        yield _('let "default" be a value that this field accepts.')


def _accepts(rules: dict[str, Any], value: Any) -> bool:
    return not any(_value_problems({"field": rules}, [], {"field": value}))


def _visibility_problems(properties: dict[str, Any]) -> Iterator[str]:
    for name, rules in properties.items():
        for other, wanted in _conditions(rules).items():
            options = _options(properties.get(other, {}))
            if any(not _is_among(value, options) for value in wanted):
                yield _(
                    '%(name)s: let "x-visible-when" name another field that is boolean or has '
                    '"enum", with values of that field.'
                ) % {"name": name}
    try:
        TopologicalSorter(
            {name: _conditions(rules) for name, rules in properties.items()}
        ).prepare()
    except CycleError:
        yield _('Let no fields wait for each other in "x-visible-when".')


def _options(rules: dict[str, Any]) -> list[Any]:
    return [True, False] if rules.get("type") == "boolean" else rules.get("enum", [])


def _is_among(value: Any, options: list[Any]) -> bool:
    # For Python 1 == True, for JSON not.
    return any(value == option and type(value) is type(option) for option in options)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int)


def _is_length(value: Any) -> bool:
    return _is_integer(value) and 0 <= value <= MAX_VALUE


def _is_options(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= MAX_OPTIONS
        and all(isinstance(option, str) or _is_number(option) for option in value)
        and len(set(value)) == len(value)
    )


def _is_unique_texts(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(_is_text(item) for item in value)
        and len(set(value)) == len(value)
    )


def _is_items(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= {"type", "enum"}
        and value.get("type", "string") == "string"
        and _is_options(value.get("enum"))
        and _is_unique_texts(value["enum"])
    )


def _is_labels(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(label) for label in value.values())


def _is_condition(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(
            isinstance(item, str | bool | int | float)
            for wanted in value.values()
            for item in (wanted or [None] if isinstance(wanted, list) else [wanted])
        )
    )


_SHORT_TEXT = (_is_text, gettext_lazy("a text of at most 1,000 characters"))
_FLAG = (_is_flag, gettext_lazy("true or false"))
_LENGTH = (_is_length, gettext_lazy("a whole number from 0 to 4,096"))
_NUMBER = (_is_number, gettext_lazy("a number"))
_LABELS = (_is_labels, gettext_lazy("an object of choice to text"))

# What each keyword may hold; `default` is judged against the field's own rules.
_KEYWORDS: dict[str, tuple[Callable[[Any], bool], str | Promise]] = {
    "title": _SHORT_TEXT,
    "description": _SHORT_TEXT,
    "x-title-id": _SHORT_TEXT,
    "x-help-en": _SHORT_TEXT,
    "x-help-id": _SHORT_TEXT,
    "x-placeholder-en": _SHORT_TEXT,
    "x-placeholder-id": _SHORT_TEXT,
    "x-labels-en": _LABELS,
    "x-labels-id": _LABELS,
    "enum": (_is_options, gettext_lazy("a list of 1 to 100 different values")),
    "items": (_is_items, gettext_lazy('an object with only "enum", a list of different texts')),
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "minLength": _LENGTH,
    "maxLength": _LENGTH,
    "pattern": (
        lambda value: isinstance(value, str) and len(value) <= MAX_PATTERN,
        gettext_lazy("a regular expression of at most 200 characters"),
    ),
    "format": (lambda value: value in FORMATS, gettext_lazy("email, uri, date or time")),
    "uniqueItems": _FLAG,
    "x-secret": _FLAG,
    "x-order": (_is_integer, gettext_lazy("a whole number")),
    "x-visible-when": (
        _is_condition,
        gettext_lazy("an object of field name to value or list of values"),
    ),
    "x-scope": (lambda value: value in SCOPES, gettext_lazy("merchant, location or any")),
}
_LABEL_KEYWORDS = ("x-labels-en", "x-labels-id")
_TYPE_KEYWORDS = {
    "string": {"enum", *_LABEL_KEYWORDS, "minLength", "maxLength", "pattern", "format", "x-secret"},
    "integer": {"enum", *_LABEL_KEYWORDS, "minimum", "maximum"},
    "number": {"enum", *_LABEL_KEYWORDS, "minimum", "maximum"},
    "boolean": set[str](),
    "array": {"items", *_LABEL_KEYWORDS, "uniqueItems"},
}
_ANY_TYPE_KEYWORDS = {"type", "default", *_KEYWORDS} - set[str]().union(*_TYPE_KEYWORDS.values())
