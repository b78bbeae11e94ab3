"""The page on which staff compose how a provider's webhooks are proven and read.

It works as a plain form: every button sends all of it and gets it back, changed. Where there is
script, only the form is exchanged.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, timedelta
from typing import Any, cast

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from catalog import strict_json
from catalog.inbound_draft import DEFAULTS, ROWS, Documents, Draft
from catalog.inbound_parts import NAMED, PLAIN
from catalog.inbound_presets import ORDERS, OTHERS, PAYMENTS, PRESETS, Preset
from catalog.inbound_scheme import (
    KEYS,
    PURPOSES,
    Kind,
    Scheme,
)
from catalog.models import Integration
from dispatch import inbound_setup
from dispatch.inbound_explanation import spellings_of
from dispatch.inbound_forms import KeyForm, MappingForm, SampleForm, SchemeForm
from dispatch.inbound_sample import Pasted
from dispatch.inbound_setup import KEYLESS, Trial
from installs.credentials import known_secrets
from installs.models import IntegrationSecret, Purpose


@dataclass
class Composer:
    """One page: what is drafted, what was pasted, and what came of the button that was pressed."""

    integration: Integration
    actor: str
    draft: Draft
    pasted: Pasted
    is_json: bool = False
    json_texts: dict[str, str] = field(default_factory=dict)
    preset: str = ""
    proof: str = ""
    trial: Trial | None = None
    mistakes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_saved: bool = False

    @classmethod
    def opened(cls, integration: Integration, actor: str) -> "Composer":
        documents = inbound_setup.documents_of(integration)
        composer = cls(integration, actor, Draft(DEFAULTS), Pasted.empty(integration))
        composer.json_texts = json_of(documents)
        composer.is_json = True
        try:
            composer.show_form()
        except ValidationError as error:
            composer.mistakes = sentences(error)
        return composer

    @classmethod
    def sent(
        cls, integration: Integration, actor: str, request: HttpRequest, *, is_too_often: bool
    ) -> "Composer":
        upload = request.FILES.get("sample-file")
        composer = cls(
            integration,
            actor,
            Draft.typed_in(request.POST),
            Pasted.typed_in(
                cast("dict[str, str]", request.POST), upload.read() if upload else None
            ),
            is_json="json-verification" in request.POST,
            preset=request.POST.get("preset", ""),
            proof=request.POST.get("proof", ""),
        )
        composer.json_texts = {
            name: request.POST.get(f"json-{name}", "") for name in Documents.__slots__
        }
        if is_too_often:
            composer.mistakes = [_("Too many tries in this minute. Wait a little.")]
        else:
            composer.act(request.POST.get("do", ""), request)
        return composer

    # What a button does

    def act(self, do: str, request: HttpRequest) -> None:
        verb, _dash, rest = do.partition("-")
        acts: dict[str, Callable[[], None]] = {
            "preset": self._take_preset,
            "json": self._show_json,
            "form": self.show_form,
            "key": lambda: self._enter_key(request),
            "try": self._try,
            "save": self._save,
        }
        try:
            if verb in MOVES:
                self._move(verb, rest)
            elif verb in acts:
                acts[verb]()
        except ValidationError as error:
            self.mistakes += sentences(error)

    def _move(self, verb: str, place: str) -> None:
        name, _dash, number = place.partition("-")
        if name not in ROWS or (verb != "add" and not number.isdecimal()):
            return
        rows = MOVES[verb](self.draft.rows[name], int(number or 0), ROWS[name]())
        self.draft = Draft(self.draft.values, {**self.draft.rows, name: rows})

    def _take_preset(self) -> None:
        preset = PRESETS.get(self.preset)
        if preset is None:
            return
        events = self.draft.documents().events
        self._show(Documents(dict(preset.verification), dict(preset.mapping), events))
        self.proof = ""

    def _show(self, documents: Documents) -> None:
        self.draft = Draft.of(documents)
        self.json_texts = json_of(documents)
        self.is_json = False

    def _show_json(self) -> None:
        self.json_texts = json_of(self.draft.documents())
        self.is_json = True

    def show_form(self) -> None:
        documents = self._checked()
        if not Draft.of(documents).is_exact(documents):
            raise ValidationError(_("The form can’t show these documents: edit them as JSON."))
        self._show(documents)

    def _enter_key(self, request: HttpRequest) -> None:
        # Staff enter the key before the sample, so only what the key needs has to be right.
        scheme = inbound_setup.scheme_of(self.integration, self._typed())
        text = request.POST.get("key-text", "").strip()
        until = request.POST.get("key-until", "").strip()
        if not text:
            raise ValidationError(_("Key: paste it first."))
        overlap = _time_left(until) if until else None
        inbound_setup.enter_key(self.integration, scheme, text, self.actor, overlap)
        self.notes.append(_("The key is stored. It is not shown again."))

    def _try(self) -> None:
        documents = self._checked()
        scheme = inbound_setup.scheme_of(self.integration, documents)
        request = self.pasted.request(scheme)
        self.trial = inbound_setup.tried(self.integration, documents, request, self.actor)
        self.proof = self.trial.proof

    def _save(self) -> None:
        documents = self._checked()
        if not inbound_setup.is_proven(self.integration, documents, self.proof):
            self._try()
        if self.trial is not None and not self.trial.is_accepted:
            raise ValidationError(_("Nothing is saved: the sample did not pass."))
        inbound_setup.save(self.integration, documents, self.proof, self.actor)
        self.is_saved = True

    def _typed(self) -> Documents:
        if not self.is_json:
            return self.draft.documents()
        return Documents(**{name: _parsed(name, text) for name, text in self.json_texts.items()})

    def _checked(self) -> Documents:
        documents = self._typed()
        inbound_setup.refuse_mistakes(self.integration, documents)
        return documents

    # What a template draws

    def context(self) -> dict[str, Any]:
        values = self.draft.values
        scheme = self._scheme()
        known = KEYS.get(values["kind"], frozenset())
        is_rsa = scheme is not None and scheme.kind is Kind.RSA
        pasted = self._covered(scheme)
        return {
            "composer": self,
            "integration": self.integration,
            "preset_groups": PRESET_GROUPS,
            "preset_chosen": PRESETS.get(self.preset),
            "scheme_fields": SchemeForm(initial=dict(values)).shown_for(values["kind"]),
            "mapping_fields": MappingForm(initial=dict(values)).shown_for(values["format"]),
            "sample_fields": list(SampleForm(initial=asdict(pasted))),
            "key_fields": list(KeyForm(is_long=is_rsa)) if self._has_key(scheme) else [],
            "has_parts": "signed" in known,
            "has_same": "same" in known,
            "sources": sorted((PLAIN.keys() | NAMED.keys()) - {"item"}),
            "capabilities": [item.name for item in self.integration.declared()],
            "secrets": self._secrets(scheme),
            "events": [(event, self._capability(event.type)) for event in self._events()],
        }

    def _scheme(self) -> Scheme | None:
        try:
            return inbound_setup.scheme_of(self.integration, self._typed())
        except ValidationError:
            return None

    def _covered(self, scheme: Scheme | None) -> Pasted:
        """Without the keys, also those of a scheme that is not right yet."""
        spelled: list[bytes] = []
        for purpose in PURPOSES:
            keys = [item.key for item in known_secrets(self.integration.slug, purpose)]
            spelled += spellings_of(scheme or Scheme(Kind.TOKEN), keys)
        return self.pasted.without(spelled)

    def _has_key(self, scheme: Scheme | None) -> bool:
        return scheme is None or scheme.kind not in KEYLESS

    def _secrets(self, scheme: Scheme | None) -> list[IntegrationSecret]:
        purpose = scheme.purpose if scheme else Purpose.INBOUND
        rows = IntegrationSecret.objects.of(self.integration, purpose).defer("value")
        return list(rows.exclude(state="next").order_by("state"))

    def _events(self) -> list[Any]:
        return list(self.trial.events[:SHOWN_EVENTS]) if self.trial else []

    def _capability(self, event_type: str) -> str | None:
        return self.integration.capability_of_event(event_type)


SHOWN_EVENTS = 20
PRESET_GROUPS: list[tuple[Promise, dict[str, Preset]]] = [
    (gettext_lazy("Payments"), PAYMENTS),
    (gettext_lazy("Orders"), ORDERS),
    (gettext_lazy("Others"), OTHERS),
]


def _added(rows: list[Any], _at: int, new: Any) -> list[Any]:
    return [*rows, new]


def _removed(rows: list[Any], at: int, _new: Any) -> list[Any]:
    return [*rows[:at], *rows[at + 1 :]]


def _swapped(rows: list[Any], at: int, _new: Any) -> list[Any]:
    """The row at this place and the one before change places."""
    if not 0 < at < len(rows):
        return rows
    return [*rows[: at - 1], rows[at], rows[at - 1], *rows[at + 1 :]]


MOVES: dict[str, Callable[[list[Any], int, Any], list[Any]]] = {
    "add": _added,
    "remove": _removed,
    "up": _swapped,
    "down": lambda rows, at, new: _swapped(rows, at + 1, new),
}


def json_of(documents: Documents) -> dict[str, str]:
    return {
        name: json.dumps(value, ensure_ascii=False, indent=2)
        for name, value in asdict(documents).items()
    }


def sentences(error: ValidationError) -> list[str]:
    """One for each mistake, with the name of its column before it where that is known."""
    if not hasattr(error, "error_dict"):
        return error.messages
    return [
        " ".join(texts) if name == NON_FIELD_ERRORS else f"{name}: {' '.join(texts)}"
        for name, texts in error.message_dict.items()
    ]


def _parsed(name: str, text: str) -> Any:
    try:
        return strict_json.loads(text.encode()) if text.strip() else {}
    except strict_json.StrictJSONError as error:
        raise ValidationError(f"{name}: {error}") from None


def _time_left(text: str) -> timedelta:
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise ValidationError(_("Key: write until when the one before is accepted."))
    return moment.replace(tzinfo=moment.tzinfo or UTC) - timezone.now()
