"""The fields of the page on which staff set up a provider's webhooks. They are only drawn here: what is
typed is read by `Draft` and `Pasted` and checked by what uses it.
"""

from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from catalog.inbound_draft import POSZ
from catalog.inbound_scheme import ALGORITHMS, ENCODINGS, KEY_ENCODINGS, KEYS, PURPOSES
from catalog.inbound_times import FORMATS

KINDS: dict[str, Promise] = {
    POSZ: gettext_lazy("The way of Posz: HMAC-SHA256 of the body, hex, in a header of its own"),
    "hmac": gettext_lazy("HMAC with a key that both know"),
    "digest": gettext_lazy("Plain SHA digest with the key at its end"),
    "rsa": gettext_lazy("RSA-SHA256 with the provider’s public key"),
    "jwt": gettext_lazy("JWT (HS256, HS384 or HS512)"),
    "token": gettext_lazy("A fixed token"),
    "basic": gettext_lazy("Basic: user and password"),
    "issued": gettext_lazy("A bearer token that Posz issued"),
    "none": gettext_lazy("Nothing: Posz asks the provider back"),
}
BODIES: dict[str, Promise] = {
    POSZ: gettext_lazy("The standard body of Posz"),
    "json": gettext_lazy("JSON of the provider"),
    "form": gettext_lazy("Form fields"),
}
WRITINGS: dict[str, Promise | str] = {
    "text": gettext_lazy("text"),
    "text-crlf": gettext_lazy("text with CRLF line ends"),
    "hex": "hex",
    "base64": "base64",
}
CLOCKS: dict[str, Promise] = {
    "now": gettext_lazy("now"),
    "sample": gettext_lazy("when the sample says it was sent"),
    "at": gettext_lazy("at the time beside"),
}
# Which key of a document a field of the form belongs to, where it has another name.
DOCUMENT_KEYS = {
    "bare": "prefix",
    **dict.fromkeys(("time_at", "time_format", "time_zone", "time_tolerance"), "time"),
}
PART_HELP = gettext_lazy("One part a line, such as header:X-Signature or body:/signature.")
WAYS_HELP = gettext_lazy("Such as body:/id; joined: body:/id + body:/status; else: the next line.")


def _same(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, name) for name in names]


def _text(label: Any, help_text: Any = "", **attrs: Any) -> forms.CharField:
    widget = forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", **attrs})
    return forms.CharField(label=label, required=False, help_text=help_text, widget=widget)


def _lines(label: Any, help_text: Any = "") -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": 2, "spellcheck": "false"})
    return forms.CharField(label=label, required=False, help_text=help_text, widget=widget)


def _choice(label: Any, choices: Any, **more: Any) -> forms.ChoiceField:
    pairs = list(choices.items()) if isinstance(choices, dict) else choices
    return forms.ChoiceField(label=label, choices=pairs, required=False, **more)


def _box(label: Any) -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False)


class SchemeForm(forms.Form):
    use_required_attribute = False

    kind = _choice(gettext_lazy("The provider proves itself by"), KINDS)
    signature = _lines(gettext_lazy("Where the signature stands"), PART_HELP)
    prefix = _lines(  # type: ignore[assignment]
        gettext_lazy("Prefix that is cut off"), gettext_lazy("Such as sha256=, one a line.")
    )
    bare = _box(gettext_lazy("The prefix may be missing"))
    suffix = _text(gettext_lazy("Suffix that is cut off"))
    separator = _text(
        gettext_lazy("Separator of several signatures"),
        gettext_lazy(r"Write \s for a space. Empty: there is one signature."),
    )
    algorithm = _choice(gettext_lazy("Algorithm"), _same(ALGORITHMS))
    encoding = _choice(
        gettext_lazy("The signature is written as"),
        [("", gettext_lazy("the text itself")), *_same(ENCODINGS)],
    )
    key = _choice(gettext_lazy("The key is written as"), _same(KEY_ENCODINGS))
    purpose = _choice(gettext_lazy("Which key"), _same(PURPOSES))
    joiner = _text(
        gettext_lazy("Between the signed parts stands"),
        gettext_lazy(r"Write \n for a line end, \s for a space."),
    )
    time_at = _text(
        gettext_lazy("Where the time stands"),
        gettext_lazy("A part that is signed. Empty: the time is not checked."),
    )
    time_format = _choice(gettext_lazy("The time is written as"), _same(tuple(FORMATS)))
    time_zone = _text(gettext_lazy("Offset of a time without one"), gettext_lazy("Such as +07:00."))
    time_tolerance = _text(
        gettext_lazy("Tolerance in seconds, before and after"), inputmode="numeric"
    )
    leeway = _text(gettext_lazy("Grace in seconds for exp and nbf"), inputmode="numeric")
    confirm = _box(gettext_lazy("Posz asks the provider back before anything is done"))

    def shown_for(self, kind: str) -> list[forms.BoundField]:
        known = KEYS.get(kind, frozenset()) | {"kind"}
        names = [name for name in self.fields if DOCUMENT_KEYS.get(name, name) in known]
        if "signed" not in known:
            names = [name for name in names if name != "joiner"]
        return [self[name] for name in names]


class MappingForm(forms.Form):
    use_required_attribute = False

    format = _choice(gettext_lazy("The body is"), BODIES)
    event_id = _lines(gettext_lazy("Id of the event"), WAYS_HELP)
    type = _lines(gettext_lazy("Type of the event"), WAYS_HELP)
    external_merchant_id = _lines(gettext_lazy("Merchant, by the provider’s number"))
    merchant_id = _lines(gettext_lazy("Merchant, by the id at Posz"))
    external_location_id = _lines(gettext_lazy("Outlet, by the provider’s number"))
    location_id = _lines(gettext_lazy("Outlet, by the id at Posz"))
    occurred_at = _text(gettext_lazy("When it happened"), gettext_lazy("Such as body:/created_at."))
    occurred_format = _choice(gettext_lazy("That time is written as"), _same(tuple(FORMATS)))
    occurred_zone = _text(
        gettext_lazy("Its offset where it has none"), gettext_lazy("Such as +07:00.")
    )
    data = _text(  # type: ignore[assignment]
        gettext_lazy("What the adapter gets"), gettext_lazy("A JSON pointer; empty: all of it.")
    )
    is_batch = _box(gettext_lazy("One body holds several events"))
    each = _text(
        gettext_lazy("Where the list of events stands"),
        gettext_lazy("A JSON pointer; empty: the body is the list. Its parts are item:/…"),
    )

    def shown_for(self, written: str) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if written != POSZ or name == "format"]


class SampleForm(forms.Form):
    use_required_attribute = False
    prefix = "sample"

    method = _text(gettext_lazy("Method"))
    address = _text(gettext_lazy("Address, as it was registered with the provider"))
    headers = _lines(gettext_lazy("Headers"), gettext_lazy("One “Name: value” a line."))
    body = _lines(gettext_lazy("Body"))
    written = _choice(
        gettext_lazy("The body above is"),
        WRITINGS,
        help_text=gettext_lazy("Browsers change line ends of texts: for exact bytes use a file."),
    )
    file = forms.FileField(label=gettext_lazy("Or a file with the body"), required=False)
    clock = _choice(gettext_lazy("Check it as if it were"), CLOCKS)
    at = forms.CharField(
        label=gettext_lazy("Time (UTC)"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}),
    )


class KeyForm(forms.Form):
    use_required_attribute = False
    prefix = "key"

    text = forms.CharField(
        label=gettext_lazy("Key of the provider"),
        required=False,
        help_text=gettext_lazy("It is stored encrypted and never shown again."),
    )
    until = forms.CharField(
        label=gettext_lazy("The key before is accepted until (UTC)"),
        required=False,
        help_text=gettext_lazy("Empty: for the overlap of this integration."),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )

    def __init__(self, *, is_long: bool) -> None:
        """A public key has several lines, and nobody need not see it."""
        super().__init__()
        attrs: dict[str, Any] = {"autocomplete": "off", "spellcheck": "false"}
        self.fields["text"].widget = (
            forms.Textarea(attrs | {"rows": 4}) if is_long else forms.PasswordInput(attrs)
        )
