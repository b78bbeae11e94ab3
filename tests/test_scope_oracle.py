"""The scope rules against an oracle that works the other way round, over every small case there is.

The code walks the rows and asks for each whether it is effective; the oracle lays the merchant-wide
rows out as a table per location, puts the rows of the location on top, and counts.

Slugs and locations are opaque to the rules (only ever compared for equality), so of the states that
differ by renaming them only the one with names in order of appearance is walked. The list of
locations runs against that order, so that the order of results can be told from the order of rows.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from catalog.capabilities import CAPABILITIES
from installs import scope
from installs.scope import Conflict, ScopedInstall

EXCLUSIVE, ONE, THREE, UNLIMITED = (
    "pay_at_table",
    "receipt_pretext",
    "receipt_qr",
    "payment_webhook_inbound",
)
PLACES = {EXCLUSIVE: 1, ONE: 1, THREE: 3, UNLIMITED: 99}
OTHER = "loyalty_provider"
SLUGS = ("a", "b", "c", "d")
NAMES = tuple(UUID(int=number) for number in (1, 2, 3))
LOCATIONS = tuple(reversed(NAMES))
EVERYWHERE: tuple[UUID | None, ...] = (*LOCATIONS, None)
Rows = tuple[ScopedInstall, ...]


@dataclass(frozen=True)
class Kind:
    """What a row is like apart from whose it is and where."""

    capabilities: frozenset[str]
    is_enabled: bool = True


def kinds(capability: str) -> tuple[Kind, ...]:
    holds = frozenset({capability})
    return Kind(holds), Kind(holds, is_enabled=False), Kind(frozenset({OTHER}))


def first_uses(
    length: int, names: Sequence[object], spare: Sequence[object] = ()
) -> Iterator[tuple[Any, ...]]:
    """Every sequence over the names in which new names come up in order; `spare` come up freely."""
    for picked in itertools.product(range(-len(spare), len(names)), repeat=length):
        used = [number for number in dict.fromkeys(picked) if number >= 0]
        if used == list(range(len(used))):
            yield tuple(spare[number] if number < 0 else names[number] for number in picked)


def states(length: int, kinds_of_row: Sequence[Kind]) -> Iterator[Rows]:
    """Every list of that many rows in which no integration is twice in the same scope."""
    for slugs in first_uses(length, SLUGS):
        for scopes in first_uses(length, NAMES, spare=[None]):
            if len(set(zip(slugs, scopes, strict=True))) < length:
                continue
            for like in itertools.product(kinds_of_row, repeat=length):
                yield tuple(
                    ScopedInstall(
                        UUID(int=10 + index),
                        slugs[index],
                        scopes[index],
                        like[index].is_enabled,
                        like[index].capabilities,
                    )
                    for index in range(length)
                )


def up_to_four(kinds_of_row: Sequence[Kind]) -> Iterator[Rows]:
    return itertools.chain.from_iterable(states(length, kinds_of_row) for length in range(5))


def table(rows: Iterable[ScopedInstall], location: UUID | None) -> Rows:
    """The oracle: who is in force at the location, in install order."""
    rows = list(rows)
    by_integration = {row.integration: row for row in rows if row.location is None}
    by_integration |= {row.integration: row for row in rows if row.location == location is not None}
    return tuple(sorted(by_integration.values(), key=rows.index))


def standings(
    rows: Iterable[ScopedInstall], capability: str, location: UUID | None
) -> list[tuple[ScopedInstall, str]]:
    """The oracle: every holder and why it answers or not."""
    free, told = PLACES.get(capability, 1), []
    for row in table(rows, location):
        if capability not in row.capabilities:
            continue
        where = "everywhere" if row.location is None else "here"
        if not row.is_enabled:
            told.append((row, f"disabled_{where}"))
        else:
            told.append((row, f"answers_{where}" if free > 0 else "cap_reached"))
        free -= 1
    return told


def overflows(rows: Rows, candidate: ScopedInstall) -> list[Conflict]:
    """The oracle: put the candidate in and look where more sit than there are places."""
    found: dict[tuple[str, Rows], list[UUID | None]] = {}
    for capability in sorted(candidate.capabilities):
        for location in EVERYWHERE:
            sitting = [
                row for row in table((*rows, candidate), location) if capability in row.capabilities
            ]
            if candidate in sitting and len(sitting) > PLACES.get(capability, 1):
                others = tuple(row for row in sitting if row is not candidate)
                found.setdefault((capability, others), []).append(location)
    return [Conflict(name, tuple(where), others) for (name, others), where in found.items()]


def differences(before: Rows, after: Rows) -> list[tuple[str, UUID | None]]:
    def seen(rows: Rows, capability: str, location: UUID | None) -> list[tuple[str, bool]]:
        return [
            (row.integration, why.startswith("answers"))
            for row, why in standings(rows, capability, location)
        ]

    return [
        (capability, location)
        for capability in CAPABILITIES
        if any(capability in row.capabilities for row in (*before, *after))
        for location in EVERYWHERE
        if seen(before, capability, location) != seen(after, capability, location)
    ]


def test_oracle_walks_what_it_says():
    counts = [sum(1 for _ in states(length, kinds(THREE)[:1])) for length in range(5)]

    # One row: anywhere or at one location. Two rows: 2 x 2 + 1 scopes for two integrations, all but
    # the same scope twice for one.
    assert counts[:3] == [1, 2, 5 + 3]
    assert counts[4] > 400
    assert {name: CAPABILITIES[name].places or PLACES[UNLIMITED] for name in PLACES} == PLACES


@pytest.mark.parametrize("capability", PLACES)
def test_seats_are_those_of_the_oracle(capability):
    for rows in up_to_four(kinds(capability)):
        for location in EVERYWHERE:
            wanted = standings(rows, capability, location)

            seats = scope.seats(rows, capability, location)

            assert [(seat.install, str(seat.reason)) for seat in seats] == wanted, rows
            assert scope.answering(rows, capability, location) == [
                row for row, why in wanted if why.startswith("answers")
            ]
            # Shown for one capability; whom it holds for does not depend on it.
            if capability is THREE:
                assert scope.effective_installs(rows, location) == list(table(rows, location))


@pytest.mark.parametrize("capability", PLACES)
def test_conflicts_are_those_of_the_oracle(capability):
    for rows in up_to_four(kinds(capability)):
        if rows:
            *before, candidate = rows
            wanted = overflows(tuple(before), candidate)

            assert scope.conflicts(before, candidate, LOCATIONS) == wanted, rows


def test_conflicts_of_several_capabilities_are_those_of_the_oracle():
    names = [
        frozenset(held) for n in (1, 2) for held in itertools.combinations((EXCLUSIVE, ONE), n)
    ]
    several = [Kind(held) for held in names]
    for rows in itertools.chain(states(2, several), states(3, several)):
        *before, candidate = rows

        found = scope.conflicts(before, candidate, LOCATIONS)

        assert found == overflows(tuple(before), candidate), rows


def test_no_conflict_means_no_place_is_taken_twice():
    """Installs that were let in one by one never overfill a place, whatever their order."""
    for capability in (EXCLUSIVE, THREE):
        for rows in up_to_four(kinds(capability)[:2]):
            let_in = all(
                not scope.conflicts(rows[:index], rows[index], LOCATIONS)
                for index in range(len(rows))
            )
            if let_in:
                for location in EVERYWHERE:
                    assert len(standings(rows, capability, location)) <= PLACES[capability]


def steps(rows: Rows) -> Iterator[Rows]:
    """The states that one install, uninstall or switch leads to."""
    yield rows[:-1]
    for row in rows:
        yield tuple(scope.without(rows, [row.id]))
        yield tuple(scope.switched(rows, row.id, is_enabled=not row.is_enabled))


@pytest.mark.parametrize("capability", [EXCLUSIVE, THREE])
def test_changes_are_those_of_the_oracle(capability):
    # Four rows of one kind are enough to fill a stack of three; with three rows all kinds meet.
    some = itertools.chain(
        *(states(length, kinds(capability)) for length in (1, 2, 3)),
        states(4, kinds(capability)[:1]),
    )
    for before in some:
        for after in steps(before):
            found = scope.changes(before, after, LOCATIONS)

            wanted = differences(before, after)
            assert [(item.capability, item.location) for item in found] == wanted, (before, after)
            assert all(
                item.before == tuple(scope.seats(before, item.capability, item.location))
                and item.after == tuple(scope.seats(after, item.capability, item.location))
                for item in found
            )


def test_switched_and_without_touch_one_row():
    for rows in states(3, kinds(THREE)):
        for row in rows:
            others = [item for item in rows if item is not row]
            switched = scope.switched(rows, row.id, is_enabled=False)

            assert scope.without(rows, [row.id]) == others
            assert [item for item in switched if item.id != row.id] == others
            assert not next(item for item in switched if item.id == row.id).is_enabled


def fresh_ids() -> Callable[[], UUID]:
    numbers = itertools.count(1000)
    return lambda: UUID(int=next(numbers))


def described(rows: Iterable[ScopedInstall], location: UUID | None) -> list[tuple[object, ...]]:
    """Who is in force at the location, in order, whichever row it comes from."""
    return [(row.integration, row.is_enabled, row.capabilities) for row in table(rows, location)]


LEAVING = [
    frozenset(places) for count in range(5) for places in itertools.combinations(EVERYWHERE, count)
]


def test_evicted_integration_leaves_those_locations_and_no_other():
    some = itertools.chain(
        *(states(length, kinds(THREE)) for length in (1, 2, 3)), states(4, kinds(THREE)[:1])
    )
    for rows in some:
        for slug in sorted({row.integration for row in rows}):
            wide = [row for row in rows if row.integration == slug and row.location is None]
            for leave in LEAVING:
                eviction = scope.evict(rows, slug, leave, LOCATIONS, fresh_ids())
                after = eviction.applied_to(rows)

                gone = leave | {None} if wide and leave else leave
                for location in EVERYWHERE:
                    was = described(rows, location)
                    left = [item for item in was if item[0] != slug]
                    assert described(after, location) == (left if location in gone else was), rows


def test_evicted_rows_are_the_integrations_own_and_new_ones_carry_on_the_wide_one():
    for rows in states(3, kinds(THREE)[:2]):
        for slug in sorted({row.integration for row in rows}):
            own = [row for row in rows if row.integration == slug]
            for leave in LEAVING:
                eviction = scope.evict(rows, slug, leave, LOCATIONS, fresh_ids())

                assert set(eviction.removed) <= set(own)
                after = eviction.applied_to(rows)
                assert len({(row.integration, row.location) for row in after}) == len(after)
                assert len({row.id for row in after}) == len(after)
                assert {row.id for row in eviction.narrowed}.isdisjoint(row.id for row in rows)
                assert not {row.location for row in eviction.narrowed} & {*leave, None}
