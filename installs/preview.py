"""What would happen: the same pure functions that decide at run time, asked about a state to come.

Nothing here changes an install.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.utils.translation import gettext as _

from catalog.capabilities import CAPABILITIES, Mode
from catalog.envelope import ApiError
from catalog.models import Integration
from installs import plans, scope
from installs.access import Actor
from installs.scope import ScopedInstall
from installs.state import State, state_of


def candidate_of(integration: Integration, location_id: UUID | None) -> ScopedInstall:
    return ScopedInstall(
        uuid4(), integration.slug, location_id, True, frozenset(integration.capabilities)
    )


def refuse_twice(state: State, integration: Integration, location_id: UUID | None) -> None:
    if any(
        row.integration_id == integration.pk and row.location_id == location_id
        for row in state.rows.values()
    ):
        raise ApiError("already_installed")


def conflicts_without(state: State, install_id: UUID | None) -> list[scope.Conflict]:
    """Where the merchant-wide row would find no place if it took over from this row of one location.

    The two rows may speak different contract versions, and so hold different capabilities.
    """
    rest = scope.without(state.scoped, [install_id] if install_id else [])
    leaving = next((item for item in state.scoped if item.id == install_id), None)
    if leaving is None or leaving.location is None:
        return []
    own = (item for item in rest if item.integration == leaving.integration)
    wide = next((item for item in own if item.location is None), None)
    if wide is None:
        return []
    return scope.conflicts(scope.without(rest, [wide.id]), wide, [leaving.location])


def changes_as_json(state: State, changes: Iterable[scope.Change]) -> list[dict[str, Any]]:
    return [
        {
            "capability": change.capability,
            "mode": str(CAPABILITIES[change.capability].mode),
            "location": {
                "id": str(change.location) if change.location else None,
                "name": state.place(change.location),
            },
            "before": [_seat(seat) for seat in change.before],
            "after": [_seat(seat) for seat in change.after],
        }
        for change in changes
    ]


def _seat(seat: scope.Seat) -> dict[str, Any]:
    return {
        "integration": seat.install.integration,
        "install_id": str(seat.install.id),
        "answers": seat.answers,
        "reason": str(seat.reason),
    }


def conflicts_as_json(state: State, conflicts: Sequence[scope.Conflict]) -> list[dict[str, Any]]:
    return [
        {
            "capability": conflict.capability,
            "mode": str(CAPABILITIES[conflict.capability].mode),
            "places": CAPABILITIES[conflict.capability].places,
            "locations": [
                {"id": str(item) if item else None, "name": state.place(item)}
                for item in conflict.locations
            ],
            "holders": [
                {
                    "install_id": str(holder.id),
                    "integration": holder.integration,
                    "location_id": str(holder.location) if holder.location else None,
                    "enabled": holder.is_enabled,
                }
                for holder in conflict.holders
            ],
        }
        for conflict in conflicts
    ]


def after_swap(
    state: State, candidate: ScopedInstall, instead_of: Iterable[str]
) -> tuple[list[ScopedInstall], list[scope.Eviction]]:
    """The state in which the candidate is in and the named holders have left where they conflict."""
    found = scope.conflicts(state.scoped, candidate, list(state.locations))
    after, evictions = list(state.scoped), []
    for integration in instead_of:
        leave = {
            location
            for conflict in found
            for location in conflict.locations
            if any(holder.integration == integration for holder in conflict.holders)
        }
        eviction = scope.evict(after, integration, leave, state.locations, uuid4)
        after = eviction.applied_to(after)
        evictions.append(eviction)
    return [*after, candidate], evictions


def plain_conflict_error(state: State, conflicts: Sequence[scope.Conflict]) -> ApiError:
    first = conflicts[0]
    names = dict.fromkeys(state.name_of(holder.integration) for holder in first.holders)
    return ApiError(
        "capability_conflict",
        _("%(holders)s already answers “%(capability)s” at %(locations)s.")
        % {
            "holders": ", ".join(names),
            "capability": first.capability,
            "locations": ", ".join(state.place(item) for item in first.locations),
        },
        conflicts=conflicts_as_json(state, conflicts),
    )


def conflict_error(
    state: State,
    conflicts: Sequence[scope.Conflict],
    candidate: ScopedInstall,
    integration: Integration,
    config: dict[str, Any],
    actor: str,
) -> ApiError:
    """The 409 with its ways out: switch (a plan each), keep, or use it only where there is room."""
    error = plain_conflict_error(state, conflicts)
    places = list(dict.fromkeys(item for conflict in conflicts for item in conflict.locations))
    where = ", ".join(state.place(item) for item in places)
    ways: list[dict[str, Any]] = []
    for instead_of in ways_to_switch(state, conflicts, candidate):
        plan = plans.make_plan(
            state, integration, candidate.location, config, instead_of=instead_of, actor=actor
        )
        text = _("Switch %(places)s from %(old)s to %(new)s") % {
            "places": where,
            "old": ", ".join(state.name_of(name) for name in instead_of),
            "new": integration.name,
        }
        ways.append({"way": "switch", "plan": str(plan.pk), "instead_of": instead_of, "text": text})
    keep = _("Keep %(old)s") % {
        "old": ", ".join(
            dict.fromkeys(
                state.name_of(holder.integration)
                for conflict in conflicts
                for holder in conflict.holders
            )
        )
    }
    ways.append({"way": "keep", "text": keep})
    own = {row.location_id for row in state.rows.values() if row.integration_id == integration.pk}
    free = [item for item in state.locations if item not in places and item not in own]
    if candidate.location is None and free:
        text = _("Use %(new)s only at %(places)s") % {
            "new": integration.name,
            "places": ", ".join(state.place(item) for item in free),
        }
        locations = [{"id": str(item), "name": state.place(item)} for item in free]
        ways.append({"way": "only_at", "locations": locations, "text": text})
    error.extra["ways_out"] = ways
    error.extra["plan"] = next((way["plan"] for way in ways if way["way"] == "switch"), None)
    return error


def ways_to_switch(
    state: State, conflicts: Sequence[scope.Conflict], candidate: ScopedInstall
) -> list[list[str]]:
    """Who could leave so that the candidate fits: all exclusive holders, and one of each stack."""
    exclusive = [
        holder.integration
        for conflict in conflicts
        if CAPABILITIES[conflict.capability].mode is Mode.REPLACE
        for holder in conflict.holders
    ]
    stacked = [
        holder.integration
        for conflict in conflicts
        if CAPABILITIES[conflict.capability].mode is Mode.ADD
        for holder in conflict.holders
    ]
    ways = []
    for chosen in dict.fromkeys(stacked) or [""]:
        instead_of = list(dict.fromkeys([*exclusive, *([chosen] if chosen else [])]))
        after, _evictions = after_swap(state, candidate, instead_of)
        rest = scope.without(after, [candidate.id])
        if not scope.conflicts(rest, candidate, list(state.locations)):
            ways.append(instead_of)
    return ways


def what_would_happen(
    actor: Actor,
    action: str,
    *,
    integration: Integration | None = None,
    location_id: UUID | None = None,
    install_id: UUID | None = None,
    config: dict[str, Any] | None = None,
    instead_of: Sequence[str] = (),
) -> dict[str, Any]:
    """The change an action would make: location by capability, before and after, with conflicts.

    `action` is install, enable, disable or uninstall. For an install that is possible, or becomes
    so when the integrations `instead_of` leave, `plan` is the id to carry out with `swap`.
    """
    state = state_of(actor.merchant_id)
    if action != "install":
        after = _after_switch(state, action, install_id)
        exposed = conflicts_without(state, install_id) if action == "uninstall" else []
        return _preview(state, after, exposed, None, [])
    if integration is None:
        raise ApiError("not_found")
    if location_id is not None and location_id not in state.locations:
        raise ApiError("not_found", _("This merchant has no such outlet."))
    refuse_twice(state, integration, location_id)
    candidate = candidate_of(integration, location_id)
    found = scope.conflicts(state.scoped, candidate, list(state.locations))
    known = {holder.integration for conflict in found for holder in conflict.holders}
    after, _evictions = after_swap(state, candidate, [name for name in instead_of if name in known])
    rest = scope.without(after, [candidate.id])
    still = scope.conflicts(rest, candidate, list(state.locations))
    if still:
        # The ways out start from today, where those of `instead_of` are still in their places.
        error = conflict_error(state, found, candidate, integration, config or {}, actor.label)
        return _preview(state, after, still, error.extra["plan"], error.extra["ways_out"])
    plan = plans.make_plan(
        state,
        integration,
        location_id,
        config or {},
        instead_of=[name for name in instead_of if name in known],
        actor=actor.label,
    )
    return _preview(state, after, [], str(plan.pk), [])


def _after_switch(state: State, action: str, install_id: UUID | None) -> list[ScopedInstall]:
    if install_id not in state.rows:
        raise ApiError("not_found")
    if action == "uninstall":
        return scope.without(state.scoped, [install_id])
    return scope.switched(state.scoped, install_id, is_enabled=action == "enable")


def _preview(
    state: State,
    after: Sequence[ScopedInstall],
    conflicts: Sequence[scope.Conflict],
    plan: str | None,
    ways_out: list[dict[str, Any]],
) -> dict[str, Any]:
    changes = scope.changes(state.scoped, after, state.locations)
    return {
        "plan": plan,
        "changes": changes_as_json(state, changes),
        "conflicts": conflicts_as_json(state, conflicts),
        "ways_out": ways_out,
    }
