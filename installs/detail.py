"""What the page of one integration shows: its installs, where else it may go, and what was refused."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import QueryDict
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from catalog.models import Integration
from catalog.schema import fields
from installs import config_form, history, matrix, outcome, verification
from installs.access import Actor, Verb, needed
from installs.event_notes import DeliveryNote, SetAsideNote
from installs.models import Install, Location
from installs.state import State


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the person asked for and why it did not happen, to be shown where they asked."""

    error: ApiError
    verb: str = "install"
    install_id: UUID | None = None
    location_id: UUID | None = None
    posted: QueryDict | None = None

    @property
    def fields(self) -> dict[str, list[str]]:
        fields: dict[str, list[str]] = self.error.extra.get("fields", {})
        return fields

    @property
    def form_errors(self) -> list[str]:
        return config_form.form_errors(self.fields)


@dataclass(frozen=True, slots=True)
class Scope:
    location: Location | None
    is_taken: bool
    is_allowed: bool
    is_chosen: bool = False

    @property
    def location_id(self) -> UUID | None:
        return self.location.pk if self.location else None


@dataclass(frozen=True, slots=True)
class Block:
    """One install with what this person may do to it.

    `differences` are its settings that are not those of the install for all outlets, None where
    there is nothing to compare.
    """

    install: Install
    may: dict[str, bool]
    problem: str
    is_ours: bool
    is_yours: bool
    has_test: bool
    inputs: list[config_form.Input]
    refusal: Refusal | None
    obstacles: list[outcome.Obstacle]
    differences: list[str] | None
    enabling: list[matrix.Shift]
    upgrade: outcome.Upgrade | None
    note: DeliveryNote | None
    set_aside: SetAsideNote | None
    open_mappings: int = 0

    @property
    def is_failing(self) -> bool:
        """Whether its partner does not take the events that are sent to it."""
        is_failing = self.install.is_enabled and self.note is not None and bool(self.note.problem)
        return is_failing or self.install.outbound_off_at is not None

    @property
    def needs_attention(self) -> bool:
        return self.is_failing or self.set_aside is not None


def own_installs(state: State, integration: Integration) -> list[Install]:
    return [row for row in state.rows.values() if row.integration_id == integration.pk]


def block_for(
    actor: Actor,
    state: State,
    install: Install,
    refusal: Refusal | None,
    wide: Install | None,
    note: DeliveryNote | None,
    set_aside: SetAsideNote | None,
    open_mappings: int = 0,
) -> Block:
    mine = refusal if refusal and refusal.install_id == install.pk else None
    # A refusal of another button must not empty the settings form.
    is_config = mine is not None and mine.error.code == "config_invalid"
    held = {*install.capability_versions, *install.integration.capabilities}
    return Block(
        install=install,
        may={verb.value: actor.may(needed(verb, held), install.location_id) for verb in Verb},
        problem=history.problem_text(install.connection_problem),
        is_ours=install.connection_problem in history.OURS,
        is_yours=install.connection_problem in history.YOURS,
        has_test=verification.has_test(install.integration),
        inputs=config_form.inputs(
            install.integration,
            install,
            posted=mine.posted if mine and is_config else None,
            errors=mine.fields if mine else None,
        ),
        refusal=mine,
        obstacles=outcome.obstacles_of(mine.error) if mine else [],
        differences=differences(wide, install),
        enabling=[]
        if install.is_enabled
        else outcome.switching(state, install, is_enabled=True).shifts,
        upgrade=outcome.upgrade_of(state, install) if install.is_behind else None,
        note=note,
        set_aside=set_aside,
        open_mappings=open_mappings,
    )


def differences(wide: Install | None, install: Install) -> list[str] | None:
    """In which settings an outlet's install is not like the one for all. Secrets are not shown."""
    asked = fields(install.integration.config_schema)
    if wide is None or install.location_id is None or not asked:
        return None
    return [
        _difference(item.title(), item.secret, wide.config.get(item.name), own)
        for item in asked
        if not _same(wide.config.get(item.name), own := install.config.get(item.name))
    ]


def _same(one: Any, other: Any) -> bool:
    empty: tuple[Any, ...] = (None, "", [])
    return bool(one == other) or (one in empty and other in empty)


def _difference(title: str, is_secret: bool, wide: Any, own: Any) -> str:
    if not is_secret:
        return title
    if not own:
        return _("%(field)s (not set here)") % {"field": title}
    if not wide:
        return _("%(field)s (set only here)") % {"field": title}
    return _("%(field)s (another one is set here)") % {"field": title}


def scopes_for(
    actor: Actor,
    integration: Integration,
    installs: list[Install],
    locations: Iterable[Location],
    refusal: Refusal | None,
) -> list[Scope]:
    """Where it may be installed; the first free place is chosen beforehand."""
    if not integration.is_installable:
        return []
    taken = {row.location_id for row in installs}
    asked = refusal.posted.get("location") if refusal and refusal.posted else None
    scopes = []
    is_chosen = False
    verb = needed(Verb.INSTALL, integration.capabilities)
    for location in [None, *([] if integration.is_merchant_wide else locations)]:
        key = location.pk if location else None
        scope = Scope(location, key in taken, actor.may(verb, key))
        is_free = scope.is_allowed and not scope.is_taken
        wanted = is_free and (str(key or "") == asked if asked is not None else not is_chosen)
        is_chosen = is_chosen or wanted
        scopes.append(Scope(location, scope.is_taken, scope.is_allowed, is_chosen=wanted))
    return scopes
