"""Ways in which a document can be wrong, made of the schema that it satisfies."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, TypeAlias

Path: TypeAlias = tuple[Any, ...]
MISSING = object()


def mutations(schema: dict[str, Any], value: Any) -> Iterator[tuple[str, Any]]:
    """(what was done, the wrong document), each wrong in one place."""
    for what, path, wrong in _wrongs(schema, value, schema.get("$defs", {}), ()):
        yield f"{what} at {'.'.join(map(str, path))}", _with(value, path, wrong)


def _wrongs(
    rules: dict[str, Any], value: Any, objects: dict[str, Any], path: Path
) -> Iterator[tuple[str, Path, Any]]:
    rules = _plain(rules, value, objects)
    if path:
        yield "wrong type", path, 1.5
    match rules.get("type"):
        case "object" if "properties" in rules:
            yield from _wrong_objects(rules, value, objects, path)
        case "array":
            yield "wrong type", path, "x"
            yield from _wrong_sizes(rules, value, path)
            for index, item in enumerate(value[:1]):
                yield from _wrongs(rules["items"], item, objects, (*path, index))
        case _:
            yield from _wrong_scalars(rules, path)


def _wrong_scalars(rules: dict[str, Any], path: Path) -> Iterator[tuple[str, Path, Any]]:
    match rules.get("type"):
        case "string":
            yield from _wrong_texts(rules, path)
        case "integer":
            yield "text for a number", path, "12"
            yield "yes for a number", path, True
            if "minimum" in rules:
                yield "too small", path, rules["minimum"] - 1
            if "maximum" in rules:
                yield "too large", path, rules["maximum"] + 1
        case "boolean":
            yield "text for yes", path, "true"
        case None if "enum" in rules:
            yield "no such choice", path, "nonesuch"


def _wrong_objects(
    rules: dict[str, Any], value: dict[str, Any], objects: dict[str, Any], path: Path
) -> Iterator[tuple[str, Path, Any]]:
    if rules.get("additionalProperties") is False:
        yield "unknown field", (*path, "nonesuch"), 1
    for name in rules.get("required", []):
        yield "missing", (*path, name), MISSING
        yield "null", (*path, name), None
    for name, part in rules["properties"].items():
        if name in value:
            yield from _wrongs(part, value[name], objects, (*path, name))


def _wrong_sizes(
    rules: dict[str, Any], value: list[Any], path: Path
) -> Iterator[tuple[str, Path, Any]]:
    if rules.get("minItems"):
        yield "too few", path, value[: rules["minItems"] - 1]
    if "maxItems" in rules and value:
        yield "too many", path, value[:1] * (rules["maxItems"] + 1)


def _wrong_texts(rules: dict[str, Any], path: Path) -> Iterator[tuple[str, Path, Any]]:
    yield "number for a text", path, 7
    if rules.get("minLength"):
        yield "too short", path, ""
    if "maxLength" in rules:
        yield "too long", path, "x" * (rules["maxLength"] + 1)
    if "pattern" in rules or rules.get("format") in {"date", "date-time"}:
        yield "not of the form", path, "\N{SNOWMAN} @ !"
    if rules.get("format") == "date-time":
        yield "without an offset", path, "2026-11-24T05:42:00"


def _plain(rules: dict[str, Any], value: Any, objects: dict[str, Any]) -> dict[str, Any]:
    """The rules that are meant for this value, without references and alternatives."""
    if "$ref" in rules:
        return _plain(objects[rules["$ref"].split("/")[-1]], value, objects)
    for part in rules.get("anyOf", []):
        candidate = _plain(part, value, objects)
        is_list = candidate.get("type") == "array"
        if candidate.get("type") != "null" and is_list == isinstance(value, list):
            return candidate
    return rules


def _with(value: Any, path: Path, wrong: Any) -> Any:
    copy = deepcopy(value)
    place = copy
    for step in path[:-1]:
        place = place[step]
    if wrong is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = wrong
    return copy
