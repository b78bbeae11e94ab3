from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError
from django.utils.translation import override

from catalog.patterns import is_safe
from catalog.schema import (
    ConfigError,
    check_schema,
    fields,
    masked,
    secret_names,
    validate_config,
)

FULL = {
    "type": "object",
    "properties": {
        "api_key": {
            "type": "string",
            "title": "API key",
            "x-title-id": "Kunci API",
            "description": "From your dashboard.",
            "x-help-id": "Dari dasbor Anda.",
            "x-placeholder-en": "sk_...",
            "x-secret": True,
            "minLength": 8,
            "pattern": "^sk_[a-z0-9-]+$",
            "x-order": 1,
        },
        "mode": {"type": "string", "enum": ["live", "test"], "default": "test", "x-order": 2},
        "webhook": {
            "type": "string",
            "format": "uri",
            "x-visible-when": {"mode": "live"},
            "x-scope": "location",
        },
        "tables": {"type": "integer", "minimum": 1, "maximum": 99},
        "rate": {"type": "number", "maximum": 0.5},
        "active": {"type": "boolean", "default": False},
        "days": {
            "type": "array",
            "items": {"type": "string", "enum": ["mon", "tue"]},
            "uniqueItems": True,
            "x-visible-when": {"active": True, "mode": ["live", "test"]},
        },
    },
    "required": ["api_key", "webhook"],
    "additionalProperties": False,
}
CONFIG = {"api_key": "sk_0123456789-4f2a"}


def make_schema(rules, name="field", **top):
    return {"type": "object", "properties": {name: rules}} | top


def make_conditional(condition, other=None):
    properties = {
        "other": other or {"type": "boolean"},
        "field": {"type": "string", "x-visible-when": condition},
    }
    return {"type": "object", "properties": properties}


def problems_of(schema):
    with pytest.raises(ValidationError) as caught:
        check_schema(schema)
    return caught.value.messages


def errors_of(schema, config):
    with pytest.raises(ConfigError) as caught:
        validate_config(schema, config)
    return caught.value.fields


# Checking a schema


@pytest.mark.parametrize("schema", [{}, FULL, {"type": "object", "properties": {}}])
def test_check_schema_accepts(schema):
    check_schema(schema)


TEXT = {"type": "string"}
START = 'Start the schema with "type": "object", or leave it as {} for no settings.'
LIST = 'List the fields under "properties", at most 40 of them.'
NAME = "use a name of a-z, 0-9 and _ that starts with a letter, at most 64 characters."
TYPE = 'field: give it a "type": string, integer, number, boolean or array.'
JSON = "The schema holds something that JSON cannot carry."
PATTERN = (
    'field: simplify "pattern": start it with ^, repeat single characters only, '
    'use few repeats, or set a smaller "maxLength".'
)
CIRCLE = 'Let no fields wait for each other in "x-visible-when".'
VISIBLE = (
    'field: let "x-visible-when" name another field that is boolean or has "enum", '
    "with values of that field."
)
REFUSED = {
    "list": ([], START),
    "none": (None, START),
    "other type": ({"type": "string"}, START),
    "true": (True, START),
    "no properties": ({"type": "object"}, LIST),
    "41 properties": (
        {"type": "object", "properties": {f"a{number}": TEXT for number in range(41)}},
        LIST,
    ),
    "top ref": (make_schema(TEXT, **{"$ref": "#"}), 'Remove "$ref": it cannot be used here.'),
    "top allOf": (make_schema(TEXT, allOf=[]), 'Remove "allOf": it cannot be used here.'),
    "open object": (
        make_schema(TEXT, additionalProperties=True),
        'Set "additionalProperties" to false or remove it.',
    ),
    "required unknown": (
        make_schema(TEXT, required=["nope"]),
        'Let "required" be a list of field names, each once.',
    ),
    "required not a list": (
        make_schema(TEXT, required="field"),
        'Let "required" be a list of field names, each once.',
    ),
    "capital name": (make_schema(TEXT, name="Key"), f"Key: {NAME}"),
    "name with line break": (make_schema(TEXT, name="key\n"), f"key\n: {NAME}"),
    "long name": (make_schema(TEXT, name="a" * 65), f"{'a' * 65}: {NAME}"),
    "ref": (make_schema({"$ref": "http://127.0.0.1/x.json"}), TYPE),
    "several types": (make_schema({"type": ["string", "null"]}), TYPE),
    "nested": (make_schema({"type": "object", "properties": {}}), TYPE),
    "true as rules": (make_schema(True), TYPE),
    "ref beside type": (
        make_schema(TEXT | {"$ref": "#"}),
        'field: remove "$ref": it cannot be used with type string.',
    ),
    "minimum on string": (
        make_schema(TEXT | {"minimum": 1}),
        'field: remove "minimum": it cannot be used with type string.',
    ),
    "secret number": (
        make_schema({"type": "integer", "x-secret": True}),
        'field: remove "x-secret": it cannot be used with type integer.',
    ),
    "secret default": (
        make_schema(TEXT | {"x-secret": True, "default": "hunter2"}),
        'field: remove "default": a secret has none.',
    ),
    "title not text": (
        make_schema(TEXT | {"title": 5}),
        'field: let "title" be a text of at most 1,000 characters.',
    ),
    "empty enum": (
        make_schema(TEXT | {"enum": []}),
        'field: let "enum" be a list of 1 to 100 different values.',
    ),
    "enum of other type": (
        make_schema(TEXT | {"enum": ["a", 1]}),
        'field: let each "enum" value be of type string.',
    ),
    "negative length": (
        make_schema(TEXT | {"minLength": -1}),
        'field: let "minLength" be a whole number from 0 to 4,096.',
    ),
    "length true": (
        make_schema(TEXT | {"maxLength": True}),
        'field: let "maxLength" be a whole number from 0 to 4,096.',
    ),
    "bounds crossed": (
        make_schema({"type": "number", "minimum": 2, "maximum": 1}),
        'field: let "minimum" be no more than "maximum".',
    ),
    "lengths crossed": (
        make_schema(TEXT | {"minLength": 2, "maxLength": 1}),
        'field: let "minLength" be no more than "maxLength".',
    ),
    "unknown format": (
        make_schema(TEXT | {"format": "hostname"}),
        'field: let "format" be email, uri, date or time.',
    ),
    "unknown scope": (
        make_schema(TEXT | {"x-scope": "tenant"}),
        'field: let "x-scope" be merchant, location or any.',
    ),
    "order not whole": (
        make_schema(TEXT | {"x-order": 1.5}),
        'field: let "x-order" be a whole number.',
    ),
    "default of other type": (
        make_schema({"type": "integer", "default": "1"}),
        'field: let "default" be a value that this field accepts.',
    ),
    "default outside enum": (
        make_schema(TEXT | {"enum": ["a"], "default": "b"}),
        'field: let "default" be a value that this field accepts.',
    ),
    "array without items": (
        make_schema({"type": "array"}),
        'field: add "items" with the "enum" of texts to choose from.',
    ),
    "array of anything": (
        make_schema({"type": "array", "items": {"type": "string"}}),
        'field: let "items" be an object with only "enum", a list of different texts.',
    ),
    "array of ref": (
        make_schema({"type": "array", "items": {"enum": ["a"], "$ref": "#"}}),
        'field: let "items" be an object with only "enum", a list of different texts.',
    ),
    "long pattern": (
        make_schema(TEXT | {"pattern": "a" * 201}),
        'field: let "pattern" be a regular expression of at most 200 characters.',
    ),
    "broken pattern": (make_schema(TEXT | {"pattern": "("}), PATTERN),
    "catastrophic pattern": (make_schema(TEXT | {"pattern": "^(a+)+$"}), PATTERN),
    "visible when unknown": (make_conditional({"nope": True}), VISIBLE),
    "visible when itself": (
        make_schema(TEXT | {"enum": ["x"], "x-visible-when": {"field": "x"}}),
        CIRCLE,
    ),
    "visible when text": (make_conditional({"other": "x"}, TEXT), VISIBLE),
    "visible when not a value of it": (
        make_conditional({"other": ["a", "c"]}, TEXT | {"enum": ["a", "b"]}),
        VISIBLE,
    ),
    "visible when one for true": (make_conditional({"other": 1}), VISIBLE),
    "visible when not an object": (
        make_conditional("other"),
        'field: let "x-visible-when" be an object of field name to value or list of values.',
    ),
    "visible in a circle": (
        {
            "type": "object",
            "properties": {
                "a": {"type": "boolean", "x-visible-when": {"b": True}},
                "b": {"type": "boolean", "x-visible-when": {"a": True}},
            },
        },
        CIRCLE,
    ),
    "label of no choice": (
        make_schema({"type": "string", "enum": ["a"], "x-labels-en": {"b": "B"}}),
        'field: let "x-labels-en" name only values of "enum".',
    ),
    "label that is no text": (
        make_schema({"type": "array", "items": {"enum": ["a"]}, "x-labels-id": {"a": 1}}),
        'field: let "x-labels-id" be an object of choice to text.',
    ),
    "label without choices": (
        make_schema({"type": "boolean", "x-labels-en": {"true": "Yes"}}),
        'field: remove "x-labels-en": it cannot be used with type boolean.',
    ),
    "nul": (make_schema(TEXT | {"title": "\x00"}), JSON),
    "lone surrogate": (make_schema(TEXT | {"title": "\ud83d"}), JSON),
    "nan": (make_schema({"type": "number", "minimum": float("nan")}), JSON),
}


@pytest.mark.parametrize(("schema", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_check_schema_refuses(schema, message):
    assert problems_of(schema) == [message]


def test_check_schema_tells_every_problem():
    schema = {"type": "object", "properties": {"A": TEXT, "b": {"type": "null"}}, "x": 1}

    assert len(problems_of(schema)) == 3


SAFE_PATTERNS = [
    "^sk_[A-Za-z0-9_-]+$",
    "[a-z]+",
    r"^\+?[0-9]{8,15}$",
    "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    "^(live|test)_[a-z0-9]{24}$",
    r"^(?:[0-9]{3}\.){3}[0-9]+$",
    "",
]
UNSAFE_PATTERNS = [
    "^(a+)+$",
    "^(a|a)*$",
    "^(a|aa)+$",
    r"^(\s*\w+)*$",
    "^" + "a?" * 60 + "a{60}$",
    "^a*a*a*a*$",
    "a*a*",
    r"^(a*)\1$",
    "^(?=a+)a$",
    "^(?:){4000000000}$",
    "^(?:a?){4000}$",
    "(?m)^a*a*$",
    "^a*a*a{1000}$",
    "(" * 100 + ")" * 100 + "(",
    "[[a]",
    "^(?:(?:a{1,9}){1,9}){1,9}$",
]


@pytest.mark.parametrize("pattern", SAFE_PATTERNS)
def test_pattern_is_safe(pattern):
    assert is_safe(pattern, 4096)


@pytest.mark.parametrize("pattern", UNSAFE_PATTERNS)
def test_pattern_is_not_safe(pattern):
    assert not is_safe(pattern, 4096)


def test_pattern_is_safe_on_short_values():
    assert is_safe(r"^[^@]+@[^@]+\.[a-z]+$", 254)


# Validating a config


def test_config_gets_defaults_and_loses_hidden_fields():
    config = CONFIG | {"webhook": "not even an address", "days": ["sun"]}

    assert validate_config(FULL, config) == CONFIG | {"mode": "test", "active": False}


def test_config_keeps_what_is_visible():
    config = CONFIG | {
        "mode": "live",
        "webhook": "https://example.com/hook",
        "tables": 12,
        "rate": 0.25,
        "active": True,
        "days": ["tue", "mon"],
    }

    assert validate_config(FULL, config) == config


def test_config_requires_a_hidden_field_once_it_shows():
    assert errors_of(FULL, CONFIG | {"mode": "live"}) == {"webhook": ["Fill this in."]}


def test_config_field_hides_those_that_follow_it():
    schema = {
        "type": "object",
        "properties": {
            "c": {"type": "string", "default": "x", "x-visible-when": {"b": True}},
            "b": {"type": "boolean", "x-visible-when": {"a": True}},
            "a": {"type": "boolean"},
        },
    }
    check_schema(schema)

    assert validate_config(schema, {"a": False, "b": True}) == {"a": False}


def test_config_default_list_is_not_shared_with_the_schema():
    rules = {"type": "array", "items": {"enum": ["a", "b"]}, "default": ["a"]}

    validate_config(make_schema(rules), {})["field"].append("b")

    assert rules["default"] == ["a"]


def test_config_without_schema_is_empty():
    assert validate_config({}, {}) == {}


def test_config_without_schema_takes_no_setting():
    assert errors_of({}, {"a": 1}) == {"a": ["This setting is not known."]}


WRONG = {
    "missing": (TEXT, ..., "Fill this in."),
    "empty": (TEXT, "", "Fill this in."),
    "not text": (TEXT, 5, "Enter a text."),
    "null": (TEXT, None, "Enter a text."),
    "too short": (TEXT | {"minLength": 3}, "ab", "Enter at least 3 characters."),
    "too long": (TEXT | {"maxLength": 3}, "abcd", "Enter at most 3 characters."),
    "too long for any": (TEXT, "a" * 4_097, "Enter at most 4096 characters."),
    "too long for its pattern": (
        TEXT | {"pattern": "^b+$"},
        "a" * 4_097,
        "Enter at most 4096 characters.",
    ),
    "pattern": (TEXT | {"pattern": "^a+$"}, "b", "This does not have the expected form."),
    "pattern and line break": (
        TEXT | {"pattern": "^a+$"},
        "a\n",
        "This does not have the expected form.",
    ),
    "enum": (TEXT | {"enum": ["a", "b"]}, "c", "Choose one of: a, b."),
    "whole number": ({"type": "integer"}, 1.5, "Enter a whole number."),
    "true as number": ({"type": "integer"}, True, "Enter a whole number."),
    "huge number": ({"type": "integer"}, 2**53, "Enter a whole number."),
    "number": ({"type": "number"}, "1", "Enter a number."),
    "minimum": ({"type": "number", "minimum": 2}, 1, "Enter 2 or more."),
    "maximum": ({"type": "number", "maximum": 2}, 3, "Enter 2 or less."),
    "boolean": ({"type": "boolean"}, 1, "Answer yes or no (true or false)."),
    "array": ({"type": "array", "items": {"enum": ["a"]}}, "a", "Give a list of choices."),
    "array option": (
        {"type": "array", "items": {"enum": ["a", "b"]}},
        ["c", "d"],
        "Choose one of: a, b.",
    ),
    "array twice": (
        {"type": "array", "items": {"enum": ["a"]}, "uniqueItems": True},
        ["a", "a"],
        "Choose each option only once.",
    ),
    "email": (
        TEXT | {"format": "email"},
        "a@",
        "Enter an email address, like name@example.com.",
    ),
    "uri": (
        TEXT | {"format": "uri"},
        "javascript:alert(1)",
        "Enter a full web address, like https://example.com/.",
    ),
    "date": (TEXT | {"format": "date"}, "20260131", "Enter a date as YYYY-MM-DD."),
    "time": (TEXT | {"format": "time"}, "25:00", "Enter a time as HH:MM."),
}


@pytest.mark.parametrize(("rules", "value", "message"), WRONG.values(), ids=WRONG.keys())
def test_config_value_is_refused(rules, value, message):
    schema = make_schema(rules, required=["field"])
    check_schema(schema)

    errors = errors_of(schema, {} if value is ... else {"field": value})

    assert errors == {"field": [message]}


RIGHT = {
    "optional": (TEXT, ""),
    "email": (TEXT | {"format": "email"}, "name@example.com"),
    "uri": (TEXT | {"format": "uri"}, "https://example.com/a?b=c"),
    "date": (TEXT | {"format": "date"}, "2026-01-31"),
    "short time": (TEXT | {"format": "time"}, "23:59"),
    "long time": (TEXT | {"format": "time"}, "23:59:59"),
    "whole number": ({"type": "number"}, 3),
    "number enum": ({"type": "integer", "enum": [1, 2]}, 2),
}


@pytest.mark.parametrize(("rules", "value"), RIGHT.values(), ids=RIGHT.keys())
def test_config_value_is_accepted(rules, value):
    schema = make_schema(rules)
    check_schema(schema)

    assert validate_config(schema, {"field": value}) == {"field": value}


@pytest.mark.parametrize("config", [None, [], "x", 5])
def test_config_must_be_an_object(config):
    assert errors_of(FULL, config) == {"__all__": ["Give the settings as a JSON object."]}


@pytest.mark.parametrize("value", [float("nan"), "\x00", "\ud83d", object()])
def test_config_must_be_json(value):
    errors = errors_of(FULL, {"api_key": value})

    assert errors == {"__all__": ["The settings hold something that JSON cannot carry."]}


def test_config_errors_never_repeat_a_secret():
    with pytest.raises(ConfigError) as caught:
        validate_config(FULL, {"api_key": "hunter2", "mode": "hunter2", "x": "hunter2"})

    assert "hunter2" not in f"{caught.value}{caught.value.fields}"


def test_config_errors_name_every_field():
    errors = errors_of(FULL, {"api_key": "sk", "tables": 0, "nope": 1})

    assert errors == {
        "api_key": ["Enter at least 8 characters.", "This does not have the expected form."],
        "tables": ["Enter 1 or more."],
        "nope": ["This setting is not known."],
    }


# Showing a config


def test_fields_follow_order_then_name():
    names = [field.name for field in fields(FULL)]

    assert names == ["api_key", "mode", "active", "days", "rate", "tables", "webhook"]


def test_fields_of_empty_schema():
    assert fields({}) == []


def test_field_speaks_the_language_of_the_reader():
    field = fields(FULL)[0]

    with override("id"):
        indonesian = (field.title(), field.help(), field.placeholder())
    with override("en"):
        english = (field.title(), field.help(), field.placeholder())

    assert (indonesian, english) == (
        ("Kunci API", "Dari dasbor Anda.", "sk_..."),
        ("API key", "From your dashboard.", "sk_..."),
    )


def test_choice_is_called_by_its_label_in_the_language_of_the_reader():
    labels = {"x-labels-en": {"a": "First"}, "x-labels-id": {"a": "Pertama"}}
    rules = {"type": "array", "items": {"enum": ["a", "b"]}, **labels}
    check_schema({"type": "object", "properties": {"some": rules}})
    [field] = fields({"properties": {"some": rules}})

    with override("id"):
        assert (field.label("a"), field.label("b")) == ("Pertama", "b")
    with override("en"):
        assert field.label("a") == "First"


def test_field_without_title_is_called_by_its_name():
    assert fields(make_schema(TEXT, name="store_code"))[0].title() == "Store code"


def test_field_knows_its_rules():
    by_name = {field.name: field for field in fields(FULL)}

    days, webhook = by_name["days"], by_name["webhook"]
    assert (days.choices, days.visible_when, webhook.required, webhook.scope) == (
        ("mon", "tue"),
        {"active": (True,), "mode": ("live", "test")},
        True,
        "location",
    )


def test_secret_names():
    assert (secret_names(FULL), secret_names({})) == (frozenset({"api_key"}), frozenset())


CHANGED_AT = datetime(2026, 11, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ({}, {"set": False}),
        ({"api_key": ""}, {"set": False}),
        ({"api_key": "sk_45678901"}, {"set": True, "last4": None, "changed_at": CHANGED_AT}),
        ({"api_key": "sk_456784F2A"}, {"set": True, "last4": "4F2A", "changed_at": CHANGED_AT}),
    ],
)
def test_masked_secret(config, shown):
    assert masked(FULL, config, CHANGED_AT) == {"api_key": shown}


def test_masked_shows_the_rest_and_leaves_out_what_the_schema_forgot():
    config = {"mode": "test", "old_api_key": "hunter2"}

    assert masked(FULL, config, CHANGED_AT) == {"mode": "test", "api_key": {"set": False}}
