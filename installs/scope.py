"""Who answers which capability at which location, and why: the only place that decides.

Pure functions over plain data. The dispatcher, the conflict check, previews and pages all ask here.
A location is its UUID; `None` stands for a location that has no row of its own (also one that opens
tomorrow), so that a merchant without locations has one to reason about.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from catalog.capabilities import CAPABILITIES


@dataclass(frozen=True, slots=True)
class ScopedInstall:
    """The part of an install row that decides. Sequences of them are in install order."""

    id: UUID
    integration: str
    location: UUID | None
    is_enabled: bool
    capabilities: frozenset[str]


class Reason(StrEnum):
    ANSWERS_HERE = "answers_here"
    ANSWERS_EVERYWHERE = "answers_everywhere"
    DISABLED_HERE = "disabled_here"
    DISABLED_EVERYWHERE = "disabled_everywhere"
    CAP_REACHED = "cap_reached"


@dataclass(frozen=True, slots=True)
class Seat:
    """One install's standing for a capability at a location."""

    install: ScopedInstall
    reason: Reason

    @property
    def answers(self) -> bool:
        return self.reason in {Reason.ANSWERS_HERE, Reason.ANSWERS_EVERYWHERE}


@dataclass(frozen=True, slots=True)
class Conflict:
    capability: str
    locations: tuple[UUID | None, ...]
    holders: tuple[ScopedInstall, ...]


def effective_installs(
    installs: Sequence[ScopedInstall], location: UUID | None
) -> list[ScopedInstall]:
    """Per integration its row for the location, else its merchant-wide row; in install order.

    A disabled row is still the effective one: disabled there means off there.
    """
    own = {item.integration for item in installs if item.location == location}
    return [
        item
        for item in installs
        if item.location == location or (item.location is None and item.integration not in own)
    ]


def seats(installs: Sequence[ScopedInstall], capability: str, location: UUID | None) -> list[Seat]:
    """Every effective install that holds the capability here, with the reason it answers or not.

    Disabled ones keep their place and so count towards the cap.
    """
    places = CAPABILITIES[capability].places
    holders = [
        item for item in effective_installs(installs, location) if capability in item.capabilities
    ]
    return [
        Seat(item, _reason(item, is_within_cap=places is None or index < places))
        for index, item in enumerate(holders)
    ]


def _reason(install: ScopedInstall, *, is_within_cap: bool) -> Reason:
    is_here = install.location is not None
    if not install.is_enabled:
        return Reason.DISABLED_HERE if is_here else Reason.DISABLED_EVERYWHERE
    if not is_within_cap:
        return Reason.CAP_REACHED
    return Reason.ANSWERS_HERE if is_here else Reason.ANSWERS_EVERYWHERE


def answering(
    installs: Sequence[ScopedInstall], capability: str, location: UUID | None
) -> list[ScopedInstall]:
    """The installs to ask, in install order."""
    return [seat.install for seat in seats(installs, capability, location) if seat.answers]


def conflicts(
    installs: Sequence[ScopedInstall],
    candidate: ScopedInstall,
    locations: Iterable[UUID],
) -> list[Conflict]:
    """Where adding the candidate would seat more integrations than a capability has places.

    `locations` are all of the merchant's. One Conflict per capability and set of holders, with all
    its locations. A candidate that only replaces its own integration's wider row takes no new place.
    """
    after = [*installs, candidate]
    affected: list[UUID | None] = [candidate.location] if candidate.location else [*locations, None]
    found: dict[tuple[str, tuple[ScopedInstall, ...]], list[UUID | None]] = {}
    for capability in sorted(candidate.capabilities):
        places = CAPABILITIES[capability].places
        if places is None:
            continue
        for location in affected:
            holders = tuple(
                item
                for item in effective_installs(after, location)
                if capability in item.capabilities and item.integration != candidate.integration
            )
            is_effective = candidate in effective_installs(after, location)
            if is_effective and len(holders) >= places:
                found.setdefault((capability, holders), []).append(location)
    return [
        Conflict(capability, tuple(places_of), holders)
        for (capability, holders), places_of in found.items()
    ]


@dataclass(frozen=True, slots=True)
class Change:
    """What would be different for one capability at one location."""

    capability: str
    location: UUID | None
    before: tuple[Seat, ...]
    after: tuple[Seat, ...]


def changes(
    before: Sequence[ScopedInstall], after: Sequence[ScopedInstall], locations: Iterable[UUID]
) -> list[Change]:
    """The difference between two states, in the order of the registry, then of the locations.

    `None` at the end stands for locations that open later. A seat counts as changed when another
    integration holds it or when it answers or falls silent, not when a wider row gives way to an
    equal one of its own integration.
    """
    held = {name for item in (*before, *after) for name in item.capabilities}
    found = []
    for capability in (name for name in CAPABILITIES if name in held):
        for location in (*locations, None):
            was, then = (tuple(seats(state, capability, location)) for state in (before, after))
            if _standings(was) != _standings(then):
                found.append(Change(capability, location, was, then))
    return found


def _standings(row: Iterable[Seat]) -> list[tuple[str, bool]]:
    return [(seat.install.integration, seat.answers) for seat in row]


def switched(
    installs: Sequence[ScopedInstall], install_id: UUID, *, is_enabled: bool
) -> list[ScopedInstall]:
    """The state after one install was switched on or off."""
    return [
        replace(item, is_enabled=is_enabled) if item.id == install_id else item for item in installs
    ]


def without(installs: Sequence[ScopedInstall], removed: Iterable[UUID]) -> list[ScopedInstall]:
    gone = set(removed)
    return [item for item in installs if item.id not in gone]


@dataclass(frozen=True, slots=True)
class Eviction:
    """How an integration leaves some locations and stays at all others as it was there.

    `narrowed` are new rows that carry on the merchant-wide one (`source`) at single locations.
    """

    removed: tuple[ScopedInstall, ...]
    narrowed: tuple[ScopedInstall, ...]

    def applied_to(self, installs: Iterable[ScopedInstall]) -> list[ScopedInstall]:
        """The state after it. New rows keep the merchant-wide one's place in the install order."""
        gone = {item.id for item in self.removed}
        after: list[ScopedInstall] = []
        for item in installs:
            if item.id not in gone:
                after.append(item)
            elif item.location is None:
                after.extend(self.narrowed)
        return after


def evict(
    installs: Sequence[ScopedInstall],
    integration: str,
    from_locations: Iterable[UUID | None],
    locations: Iterable[UUID],
    new_id: Callable[[], UUID],
) -> Eviction:
    """Take the integration out of some locations.

    Its row for such a location goes. Its merchant-wide row goes too, because it would take over
    there, and comes back as a row for every other location that it was effective at; locations that
    open later are then no longer covered.
    """
    leave = set(from_locations)
    own = [item for item in installs if item.integration == integration]
    local = {item.location: item for item in own if item.location is not None}
    removed = [item for location, item in local.items() if location in leave]
    wide = next((item for item in own if item.location is None), None)
    if wide is None or not leave:
        return Eviction(tuple(removed), ())
    narrowed = [
        replace(wide, id=new_id(), location=location)
        for location in locations
        if location not in leave and location not in local
    ]
    return Eviction((*removed, wide), tuple(narrowed))
