"""What the page of one integration shows: its installs, where else it may go, and what was refused."""

from dataclasses import dataclass
from uuid import UUID

from django.http import QueryDict
from django.utils.functional import Promise

from catalog.capabilities import CAPABILITIES
from catalog.envelope import ApiError
from catalog.models import Integration
from installs import config_form, history, verification
from installs.access import Actor, Verb
from installs.models import Install, Location


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the person asked for and why it did not happen, to be shown where they asked."""

    error: ApiError
    install_id: UUID | None = None
    posted: QueryDict | None = None

    @property
    def fields(self) -> dict[str, list[str]]:
        fields: dict[str, list[str]] = self.error.extra.get("fields", {})
        return fields

    @property
    def form_errors(self) -> list[str]:
        return config_form.form_errors(self.fields)


@dataclass(frozen=True, slots=True)
class Held:
    places: list[str]
    holders: list[Integration]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A capability without room, and who holds its places where."""

    surface: Promise
    is_exclusive: bool
    cap: int | None
    held: list[Held]


@dataclass(frozen=True, slots=True)
class Scope:
    location: Location | None
    is_taken: bool
    is_allowed: bool
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One install with what this person may do to it."""

    install: Install
    may: dict[str, bool]
    problem: str
    is_ours: bool
    is_yours: bool
    has_test: bool
    inputs: list[config_form.Input]
    refusal: Refusal | None = None


def block_for(
    actor: Actor, integration: Integration, install: Install, refusal: Refusal | None
) -> Block:
    mine = refusal if refusal and refusal.install_id == install.pk else None
    # A refusal of another button must not empty the settings form.
    is_config = mine is not None and mine.error.code == "config_invalid"
    return Block(
        install=install,
        may={verb.value: actor.may(verb, install.location_id) for verb in Verb},
        problem=history.problem_text(install.connection_problem),
        is_ours=install.connection_problem in history.OURS,
        is_yours=install.connection_problem in history.YOURS,
        has_test=verification.has_test(integration),
        inputs=config_form.inputs(
            integration,
            install,
            posted=mine.posted if mine and is_config else None,
            errors=mine.fields if mine else None,
        ),
        refusal=mine,
    )


def scopes_for(
    actor: Actor,
    integration: Integration,
    installs: list[Install],
    locations: list[Location],
    refusal: Refusal | None,
) -> list[Scope]:
    """Where it may be installed; the first free place is chosen beforehand."""
    if not integration.is_installable:
        return []
    taken = {row.location_id for row in installs}
    asked = refusal.posted.get("location") if refusal and refusal.posted else None
    scopes = []
    is_chosen = False
    for location in [None, *locations]:
        key = location.pk if location else None
        scope = Scope(location, key in taken, actor.may(Verb.INSTALL, key))
        is_free = scope.is_allowed and not scope.is_taken
        wanted = is_free and (str(key or "") == asked if asked is not None else not is_chosen)
        is_chosen = is_chosen or wanted
        scopes.append(Scope(location, scope.is_taken, scope.is_allowed, is_chosen=wanted))
    return scopes


def obstacles_of(refusal: Refusal | None) -> list[Obstacle]:
    conflicts = refusal.error.extra.get("conflicts", []) if refusal else []
    slugs = {holder["integration"] for item in conflicts for holder in item["holders"]}
    by_slug = Integration.objects.in_bulk(slugs, field_name="slug") if slugs else {}
    held: dict[str, list[Held]] = {}
    for item in conflicts:
        places = [location["name"] for location in item["locations"]]
        holders = [by_slug[holder["integration"]] for holder in item["holders"]]
        held.setdefault(item["capability"], []).append(Held(places, holders))
    return [
        Obstacle(
            surface=CAPABILITIES[name].surface,
            is_exclusive=CAPABILITIES[name].places == 1,
            cap=CAPABILITIES[name].places,
            held=rows,
        )
        for name, rows in held.items()
    ]
