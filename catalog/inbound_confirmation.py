"""How a provider is asked whether a webhook is true: the document `inbound_confirmation` of a catalog
row as dataclasses. {} means that nobody can be asked, and then no such webhook is let in.

The question is made of parts of the webhook, which nobody has proved; what the provider answers is
what counts, and is read with a mapping like a webhook.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from catalog.addresses import check_url
from catalog.envelope import ApiError
from catalog.inbound_mapping import FIELDS, READ_FROM, EventMapping, read_mapping
from catalog.inbound_parts import Part, Reading, parse_part, parse_pointer

PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
# Everything up to the path belongs to staff: a webhook must not choose the host.
FULL_URL = re.compile(r"https?://[^/?#{}]+[/?][!-~]*", re.IGNORECASE)
HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,99}")
KEYS = frozenset({"method", "url", "body", "auth", "require", "refused", "mapping", "from_hint"})
ASKED = READ_FROM | {"query"}
METHODS = ("GET", "POST")
REFUSED = (400, 404, 410, 422)
MOST_FIELDS = 20
LONGEST_VALUE = 1_000
LONGEST_VALUES = 4_000
# Who is known to the provider by what: nobody, the merchant's settings, the merchant's connected
# account, or a key of Posz.
AUTH: dict[str, frozenset[str]] = {
    "none": frozenset(),
    "merchant": frozenset(),
    "account": frozenset(),
    "bearer": frozenset({"purpose"}),
    "basic": frozenset({"purpose"}),
    "header": frozenset({"purpose", "name"}),
}
OF_MERCHANT = frozenset({"merchant", "account"})
PURPOSES = ("oauth_client", "inbound")


@dataclass(frozen=True, slots=True)
class Template:
    """A text with parts in it. Values are looked up by how the part is written."""

    text: str
    parts: tuple[Part, ...]

    def filled(self, values: Mapping[str, str]) -> str:
        return PLACEHOLDER.sub(lambda match: values[match[1]], self.text)

    def filled_url(self, values: Mapping[str, str]) -> str | None:
        """With values encoded, so that none adds a step or a field; None where one would be `.` or
        `..` of the path, which no encoding hides."""
        url = PLACEHOLDER.sub(lambda match: quote(values[match[1]], safe=""), self.text)
        written = urlsplit(self.text).path.split("/")
        steps = urlsplit(url).path.split("/")
        if any(step in {".", "..", ""} and step not in written for step in steps):
            return None
        return url


@dataclass(frozen=True, slots=True)
class Confirmation:
    """`require` are places of the answer with the texts of which each must be one. `mapping` reads
    the answer; None: as a webhook is read. `from_hint` are fields that the provider does not answer
    and that are therefore taken from the webhook."""

    method: str
    url: Template
    body: Mapping[str, Template]
    auth: Mapping[str, str]
    require: tuple[tuple[tuple[str, ...], tuple[Template, ...]], ...]
    refused: frozenset[int]
    mapping: EventMapping | None
    from_hint: frozenset[str]

    @property
    def parts(self) -> Iterator[Part]:
        yield from self.url.parts
        for template in self.body.values():
            yield from template.parts
        for _steps, templates in self.require:
            for template in templates:
                yield from template.parts

    @property
    def is_asked_for_merchant(self) -> bool:
        return self.auth["as"] in OF_MERCHANT

    def values(self, reading: Reading) -> dict[str, str]:
        """What the question needs of a webhook, and nothing else of it."""
        found = {}
        for part in self.parts:
            value = part.read(reading)
            text = "" if value is None else value.decode("utf-8", "replace")
            if not 0 < len(text) <= LONGEST_VALUE or not text.isprintable():
                message = _("A text of 1 to %(length)s characters is needed.") % {
                    "length": LONGEST_VALUE
                }
                raise ApiError("invalid_payload", f"{part.text}: {message}")
            found[part.text] = text
        if sum(map(len, found.values())) > LONGEST_VALUES:
            raise ApiError("payload_too_large")
        return found


def read_confirmation(
    document: Any, mapping: EventMapping | None, api_base_url: str
) -> Confirmation | None:
    """None for {}. `mapping` is that of the row's webhooks. Raises ValidationError for staff."""
    if document == {}:
        return None
    if not isinstance(document, dict):
        raise ValidationError(_("Write an object; {} means that nobody can be asked."))
    for key in document:
        if key not in KEYS:
            known = ", ".join(sorted(KEYS))
            raise _problem(str(key)[:50], _("Known ones are %(known)s.") % {"known": known})
    method = document.get("method", "GET")
    if method not in METHODS:
        raise _problem("method", _("Write one of %(known)s.") % {"known": "GET, POST"})
    return Confirmation(
        method=method,
        url=_url(document.get("url"), api_base_url),
        body=_body(document.get("body", {}), method),
        auth=_auth(document.get("auth", {"as": "none"})),
        require=_require(document.get("require")),
        refused=_statuses(document.get("refused", list(REFUSED))),
        mapping=read_mapping(document["mapping"]) if "mapping" in document else mapping,
        from_hint=_from_hint(document.get("from_hint", [])),
    )


def _url(text: Any, api_base_url: str) -> Template:
    if isinstance(text, str) and text.startswith("/") and not text.startswith("//"):
        text = f"{api_base_url.rstrip('/')}{text}"
    template = _template("url", text)
    sample = PLACEHOLDER.sub("x", template.text)
    try:
        check_url(sample)
    except ValidationError as error:
        raise _problem("url", " ".join(error.messages)) from None
    if not FULL_URL.fullmatch(PLACEHOLDER.sub("{}", template.text)) or "#" in sample:
        raise _problem("url", _("Parts may stand in the path and the query, never in the host."))
    return template


def _template(key: str, text: Any) -> Template:
    if not isinstance(text, str) or not 0 < len(text) <= 2_000:
        raise _problem(key, _("Write a text, such as /payments/{body:/id}."))
    if re.search(r"[{}]", PLACEHOLDER.sub("", text)):
        raise _problem(key, _("Write a part of the webhook as {body:/id}."))
    try:
        parts = tuple(parse_part(name, ASKED) for name in PLACEHOLDER.findall(text))
    except ValidationError as error:
        raise _problem(key, " ".join(error.messages)) from None
    return Template(text, parts)


def _body(value: Any, method: str) -> dict[str, Template]:
    if not isinstance(value, dict) or len(value) > MOST_FIELDS or (value and method == "GET"):
        raise _problem("body", _("Write a flat object of texts, with POST only."))
    return {name: _template("body", text) for name, text in value.items()}


def _auth(value: Any) -> dict[str, str]:
    name = value.get("as") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in AUTH:
        raise _problem("auth", _("“as” is one of %(known)s.") % {"known": ", ".join(AUTH)})
    if value.keys() - {"as"} - AUTH[name]:
        known = ", ".join(sorted(AUTH[name])) or "-"
        raise _problem("auth", _("Known ones are %(known)s.") % {"known": known})
    if name == "header" and not HEADER_NAME.fullmatch(str(value.get("name", ""))):
        raise _problem("auth", _('Let "name" be the name of a header, such as X-Api-Key.'))
    if value.get("purpose", PURPOSES[0]) not in PURPOSES:
        raise _problem("auth", _("Write one of %(known)s.") % {"known": ", ".join(PURPOSES)})
    return {"purpose": PURPOSES[0], **value}


def _require(value: Any) -> tuple[tuple[tuple[str, ...], tuple[Template, ...]], ...]:
    """At least one: an answer of any kind would else confirm anything."""
    if not isinstance(value, dict) or not 0 < len(value) <= MOST_FIELDS:
        raise _problem("require", _('Write what makes it true: {"/status": "OK"}.'))
    rules = []
    for pointer, texts in value.items():
        steps = parse_pointer(pointer)
        listed = texts if isinstance(texts, list) else [texts]
        if not steps or not 0 < len(listed) <= MOST_FIELDS:
            raise _problem("require", _("Write a JSON pointer, such as /events."))
        rules.append((steps, tuple(_template("require", text) for text in listed)))
    if not any(template.parts for _steps, texts in rules for template in texts):
        raise _problem(
            "require",
            _("One of them must be a part of the webhook, so that the answer is about it."),
        )
    return tuple(rules)


def _statuses(value: Any) -> frozenset[int]:
    if not isinstance(value, list) or any(
        type(item) is not int or not 400 <= item <= 499 for item in value
    ):
        raise _problem("refused", _("Write a list of HTTP status codes from 400 to 499."))
    return frozenset(value)


def _from_hint(value: Any) -> frozenset[str]:
    known = FIELDS[2:]
    if not isinstance(value, list) or any(item not in known for item in value):
        raise _problem("from_hint", _("Known ones are %(known)s.") % {"known": ", ".join(known)})
    return frozenset(value)


def _problem(key: str, message: str) -> ValidationError:
    return ValidationError(f"“{key}”: {message}")


def is_one_of(
    value: bytes | None, templates: Sequence[Template], values: Mapping[str, str]
) -> bool:
    return value is not None and value in {item.filled(values).encode() for item in templates}
