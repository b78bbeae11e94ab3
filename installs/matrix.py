"""Who answers where, in words: now, once a change is made, and at an earlier moment.

Decides nothing: what stands in a cell are the seats of `scope`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from catalog.capabilities import CAPABILITIES, Capability, Mode
from catalog.models import Integration
from installs import listing, past, scope
from installs.models import AuditEntry, Connection, Install, Location
from installs.scope import Reason, ScopedInstall, Seat
from installs.state import State

REASONS: dict[Reason, Promise] = {
    Reason.ANSWERS_HERE: gettext_lazy("installed here"),
    Reason.ANSWERS_EVERYWHERE: gettext_lazy("installed for all outlets"),
    Reason.DISABLED_HERE: gettext_lazy("switched off here"),
    Reason.DISABLED_EVERYWHERE: gettext_lazy("switched off for all outlets"),
    Reason.CAP_REACHED: gettext_lazy("no place left here"),
}
FALLBACK: dict[Mode, Promise] = {
    Mode.REPLACE: gettext_lazy("Posz’s own"),
    Mode.ADD: gettext_lazy("Nobody"),
}
NOTES: dict[str, Promise] = {
    Connection.CONNECTING: gettext_lazy("still connecting"),
    Connection.FAILED: gettext_lazy("not connected"),
}


@dataclass(frozen=True, slots=True)
class Names:
    """How the integrations and outlets of one merchant are called. `places` are the outlets in
    their order, then `None` for those that open later."""

    integrations: Mapping[str, str]
    places: Mapping[UUID | None, str]
    with_page: frozenset[str]
    stopped: frozenset[str] = frozenset()
    notes: Mapping[UUID, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """One integration in a cell. `mark` says in a word what is different from the cell beside it."""

    slug: str
    name: str
    answers: bool
    reason: str
    mark: str
    note: str
    has_page: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """Who answers one capability at one place, and who else holds it."""

    is_exclusive: bool
    fallback: str
    standings: tuple[Standing, ...]

    @property
    def answering(self) -> list[Standing]:
        return [item for item in self.standings if item.answers]

    @property
    def silent(self) -> list[Standing]:
        return [item for item in self.standings if not item.answers]


@dataclass(frozen=True, slots=True)
class Row:
    capability: Capability
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Idle:
    """A capability that nobody plugs into."""

    capability: Capability
    fallback: str


@dataclass(frozen=True, slots=True)
class Matrix:
    places: list[str]
    rows: list[Row]
    idle: list[Idle]

    def by_place(self) -> list[tuple[str, list[tuple[Capability, Cell]]]]:
        return [
            (place, [(row.capability, row.cells[index]) for row in self.rows])
            for index, place in enumerate(self.places)
        ]


@dataclass(frozen=True, slots=True)
class Step:
    """The places at which one capability changes in the same way."""

    places: list[str]
    before: Cell
    after: Cell


@dataclass(frozen=True, slots=True)
class Shift:
    capability: Capability
    steps: list[Step]

    @property
    def summary(self) -> str:
        """Who answers then, in a line; and who does now, where somebody leaves or is joined."""
        now, then = ({_who(cell) for cell in side} for side in self._sides())
        if len(now) > 1 or len(then) > 1:
            return _("Not the same at every outlet")
        words = {"now": now.pop(), "then": then.pop()}
        is_anybody_there = any(step.before.answering for step in self.steps)
        text = _("Now: %(now)s. Then: %(then)s") if is_anybody_there else _("Then: %(then)s")
        return text % words

    def _sides(self) -> tuple[list[Cell], list[Cell]]:
        return [step.before for step in self.steps], [step.after for step in self.steps]


def _who(cell: Cell) -> str:
    return ", ".join(item.name for item in cell.answering) or cell.fallback


def names_now(state: State, *others: Integration) -> Names:
    """As of the state, and of integrations that are not installed yet."""
    known = {row.integration.slug: row.integration for row in state.rows.values()}
    known |= {item.slug: item for item in others}
    return Names(
        integrations={slug: item.name for slug, item in known.items()},
        places={key: state.place(key) for key in (*state.locations, None)},
        with_page=frozenset(known),
        stopped=frozenset(slug for slug, item in known.items() if not item.is_running),
        notes={key: str(NOTES[row.connection]) for key, row in _unconnected(state).items()},
    )


def _unconnected(state: State) -> dict[UUID, Install]:
    return {key: row for key, row in state.rows.items() if row.connection in NOTES}


def names_then(merchant_id: UUID, scoped: Sequence[ScopedInstall], moment: datetime) -> Names:
    """As of an earlier moment: its outlets, also those that are gone, and what has left the
    catalog since by its slug."""
    slugs = {item.integration for item in scoped}
    found = Integration.objects.filter(slug__in=slugs)
    visible = listing.visible_to(merchant_id).filter(slug__in=slugs)
    locations = Location.objects.filter(merchant_id=merchant_id)
    known = {item.pk: item for item in locations}
    places = {key: str(item) for key, item in known.items() if item.created_at <= moment}
    gone = {
        item.location: item.id
        for item in scoped
        if item.location is not None and item.location not in places
    }
    labels = _labels_on_record(gone.values()) if gone else {}
    places |= {key: labels.get(row) or str(key) for key, row in gone.items()}
    return Names(
        integrations={slug: slug for slug in slugs} | {item.slug: item.name for item in found},
        places=dict(places) | {None: _("Outlets that open later")},
        with_page=frozenset(visible.values_list("slug", flat=True)),
    )


def _labels_on_record(install_ids: Iterable[UUID]) -> dict[UUID | None, str]:
    entries = AuditEntry.objects.filter(install_id__in=install_ids).exclude(location_name="")
    return dict(entries.values_list("install_id", "location_name"))


def now(state: State) -> Matrix:
    return _matrix(names_now(state), state.scoped)


def then(merchant_id: UUID, moment: datetime) -> Matrix:
    scoped = past.state_at(merchant_id, moment)
    return _matrix(names_then(merchant_id, scoped, moment), scoped)


def _matrix(names: Names, scoped: Sequence[ScopedInstall]) -> Matrix:
    """Capabilities that anybody holds, in the order of the registry, then all others."""
    running = _as_run(names, scoped)
    held = {name for item in scoped for name in item.capabilities}
    return Matrix(
        places=list(names.places.values()),
        rows=[
            Row(
                item,
                [_cell(names, item, scope.seats(running, name, place)) for place in names.places],
            )
            for name, item in CAPABILITIES.items()
            if name in held
        ],
        idle=[
            Idle(item, str(FALLBACK[item.mode]))
            for name, item in CAPABILITIES.items()
            if name not in held
        ],
    )


def shifts(
    names: Names, before: Sequence[ScopedInstall], after: Sequence[ScopedInstall]
) -> list[Shift]:
    """What would be different; places with the same difference stand together."""
    outlets = [place for place in names.places if place is not None]
    found: dict[str, dict[tuple[Cell, Cell], list[str]]] = {}
    for change in scope.changes(_as_run(names, before), _as_run(names, after), outlets):
        capability = CAPABILITIES[change.capability]
        pair = (
            _cell(names, capability, change.before, (change.after, _("leaves"), _("falls silent"))),
            _cell(names, capability, change.after, (change.before, _("new"), _("answers again"))),
        )
        steps = found.setdefault(change.capability, {})
        steps.setdefault(pair, []).append(names.places[change.location])
    return [
        Shift(CAPABILITIES[name], [Step(places, *pair) for pair, places in steps.items()])
        for name, steps in found.items()
    ]


def _as_run(names: Names, scoped: Iterable[ScopedInstall]) -> list[ScopedInstall]:
    """What Posz has switched off for everybody answers nowhere, whatever the row says."""
    return [
        replace(item, is_enabled=False) if item.integration in names.stopped else item
        for item in scoped
    ]


# The cell beside it, then the words for an integration that it lacks and for one silent in it.
Beside = tuple[Sequence[Seat], str, str]


def _cell(
    names: Names, capability: Capability, seats: Sequence[Seat], beside: Beside | None = None
) -> Cell:
    return Cell(
        is_exclusive=capability.mode is Mode.REPLACE,
        fallback=str(FALLBACK[capability.mode]),
        standings=tuple(_standing(names, seat, beside) for seat in seats),
    )


def _standing(names: Names, seat: Seat, beside: Beside | None) -> Standing:
    slug = seat.install.integration
    reason = _("switched off by Posz") if slug in names.stopped else str(REASONS[seat.reason])
    return Standing(
        slug=slug,
        name=names.integrations[slug],
        answers=seat.answers,
        # Beside another cell the reason of who answers would only keep equal steps apart.
        reason="" if beside and seat.answers else reason,
        mark=_mark(seat, *beside) if beside and seat.answers else "",
        note="" if beside else names.notes.get(seat.install.id, ""),
        has_page=slug in names.with_page,
    )


def _mark(seat: Seat, others: Sequence[Seat], absent: str, silent: str) -> str:
    slug = seat.install.integration
    other = next((item for item in others if item.install.integration == slug), None)
    if other is None:
        return absent
    return "" if other.answers else silent
