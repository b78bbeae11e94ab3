"""What a change would bring, and the ways on from a change that was refused: in words, for the
person who is about to make it.

Everything is asked of `scope` and `preview`; nothing is decided and nothing is written here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.functional import Promise

from catalog.capabilities import CAPABILITIES, Capability
from catalog.contract_changes import ContractChange, change_of
from catalog.envelope import ApiError
from catalog.models import Integration
from installs import matrix, preview, scope
from installs.access import ALLOWED, Actor, Verb
from installs.models import Install, InstallPlan, Membership, Role
from installs.scope import ScopedInstall
from installs.state import State


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
class Outcome:
    """What a change would bring: who answers instead, or why there is no room for it."""

    shifts: list[matrix.Shift]
    obstacles: list[Obstacle] = field(default_factory=list)
    # Whether the same integration answers there already, by its install for all outlets.
    is_override: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """One way out of a conflict: `switch`, `keep` or `only_at`."""

    kind: str
    text: str
    shifts: list[matrix.Shift]
    plan: str | None
    departing: list[str]
    location_ids: list[str]
    is_allowed: bool


@dataclass(frozen=True, slots=True)
class Renewal:
    """A place that is served under another version of its contract."""

    surface: Promise
    change: ContractChange

    def __str__(self) -> str:
        return str(self.surface)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What accepting the catalog's versions of today would change."""

    gained: list[Capability]
    lost: list[Capability]
    renewed: list[Renewal]
    shifts: list[matrix.Shift]


@dataclass(frozen=True, slots=True)
class Undo:
    """The offer to take back a switch; it holds until anything else changes."""

    plan: InstallPlan
    arrived: str
    departed: list[str]
    is_fresh: bool
    is_allowed: bool


def installing(state: State, integration: Integration, location_id: UUID | None) -> Outcome:
    candidate = preview.candidate_of(integration, location_id)
    found = scope.conflicts(state.scoped, candidate, list(state.locations))
    if found:
        return Outcome([], obstacles=_obstacles(preview.conflicts_as_json(state, found)))
    wide = (None, integration.slug)
    has_wide = any((item.location, item.integration) == wide for item in state.scoped)
    return Outcome(
        matrix.shifts(
            matrix.names_now(state, integration), state.scoped, [*state.scoped, candidate]
        ),
        is_override=has_wide and location_id is not None,
    )


def switching(state: State, install: Install, *, is_enabled: bool) -> Outcome:
    after = scope.switched(state.scoped, install.pk, is_enabled=is_enabled)
    return Outcome(matrix.shifts(matrix.names_now(state), state.scoped, after))


def removing(state: State, install: Install) -> Outcome:
    found = preview.conflicts_without(state, install.pk)
    after = scope.without(state.scoped, [install.pk])
    return Outcome(
        matrix.shifts(matrix.names_now(state), state.scoped, after),
        obstacles=_obstacles(preview.conflicts_as_json(state, found)) if found else [],
        is_override=install.location_id is not None
        and any(
            row.location_id is None and row.integration_id == install.integration_id
            for row in state.rows.values()
        ),
    )


def upgrade_of(state: State, install: Install) -> Upgrade:
    old, new = install.capability_versions, install.integration.capabilities
    after = [install.scoped(new) if item.id == install.pk else item for item in state.scoped]
    return Upgrade(
        gained=[item for name, item in CAPABILITIES.items() if name in new.keys() - old],
        lost=[item for name, item in CAPABILITIES.items() if name in old.keys() - new],
        renewed=[
            Renewal(item.surface, change_of(name, old[name], new[name]))
            for name, item in CAPABILITIES.items()
            if name in old.keys() & new and old[name] != new[name]
        ],
        shifts=matrix.shifts(matrix.names_now(state), state.scoped, after),
    )


def carrying_out(state: State, plan: InstallPlan) -> Outcome:
    """What an open plan to install would bring."""
    candidate = preview.candidate_of(plan.integration, plan.location_id)
    after, _evictions = preview.after_swap(state, candidate, plan.instead_of)
    names = matrix.names_now(state, plan.integration)
    return Outcome(matrix.shifts(names, state.scoped, after))


def obstacles_of(error: ApiError) -> list[Obstacle]:
    return _obstacles(error.extra.get("conflicts", []))


def _obstacles(conflicts: Sequence[dict[str, Any]]) -> list[Obstacle]:
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


def ways_of(
    actor: Actor,
    state: State,
    integration: Integration,
    location_id: UUID | None,
    error: ApiError,
) -> list[Way]:
    """The ways out that a conflict names, each with what it would bring."""
    candidate = preview.candidate_of(integration, location_id)
    names = matrix.names_now(state, integration)
    offered = error.extra.get("ways_out", [])
    return [_way(actor, state, names, candidate, way) for way in offered]


def _way(
    actor: Actor,
    state: State,
    names: matrix.Names,
    candidate: ScopedInstall,
    way: dict[str, Any],
) -> Way:
    location_ids = [item["id"] for item in way.get("locations", [])]
    after, is_allowed = list(state.scoped), True
    if way["way"] == "switch":
        after, evictions = preview.after_swap(state, candidate, way["instead_of"])
        removed = [item for eviction in evictions for item in eviction.removed]
        is_allowed = all(actor.may(Verb.UNINSTALL, item.location) for item in removed)
    elif way["way"] == "only_at":
        after += [replace(candidate, location=UUID(item)) for item in location_ids]
        is_allowed = all(actor.may(Verb.INSTALL, UUID(item)) for item in location_ids)
    return Way(
        kind=way["way"],
        text=way["text"],
        shifts=matrix.shifts(names, state.scoped, after),
        plan=way.get("plan"),
        departing=[names.integrations[slug] for slug in way.get("instead_of", [])],
        location_ids=location_ids,
        is_allowed=is_allowed,
    )


def owners_of(merchant_id: UUID) -> list[str]:
    """Whom to ask where a role is too low."""
    owners = Membership.objects.filter(merchant_id=merchant_id, role=Role.OWNER)
    return [item.user.get_full_name() for item in owners.select_related("user").order_by("pk")]


def undo_of(actor: Actor, state: State, plan: InstallPlan) -> Undo | None:
    """None once it has been carried out."""
    if plan.used_at is not None:
        return None
    gone = {UUID(item["integration_id"]) for item in plan.payload["restore"]}
    departed = [item.name for item in Integration.objects.filter(pk__in=gone)]
    is_open = plan.expires_at > timezone.now() and plan.fingerprint == state.fingerprint()
    return Undo(
        plan=plan,
        arrived=plan.integration.name,
        departed=departed,
        is_fresh=is_open,
        is_allowed=Verb.UNINSTALL in ALLOWED[actor.role],
    )
