"""What a till needs to know of a merchant, remembered per process and checked by a version stamp.

Reading costs one query for the two stamps; everything else is in memory until a lifecycle verb, a
merchant or location edit, or a catalog edit makes it old.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from catalog.capabilities import NEED_CONSENT, caused_by, causes_of
from catalog.prepared import fetch_row
from installs import scope
from installs.models import Install, Location, Merchant
from installs.scope import ScopedInstall

REMEMBERED_MERCHANTS = 10_000

Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Subscriber:
    """An install that is told when something happens, and why.

    `is_listed`: the catalog row names the event. `capabilities`: of which an operation is caused by it.
    """

    install: Install
    is_listed: bool
    capabilities: tuple[str, ...]

    @property
    def needs_consent(self) -> bool:
        """Whether it gets of customers only what they consented to."""
        return not NEED_CONSENT.isdisjoint(self.install.capability_versions)

    @property
    def is_plain(self) -> bool:
        """Whether it gets the event as it is."""
        return self.is_listed and not self.capabilities and not self.needs_consent


@dataclass(frozen=True)
class Snapshot:
    """One merchant's rows as they were at `stamp`. Treat everything in it as read-only."""

    stamp: Stamp
    merchant: Merchant
    locations: dict[UUID, Location]
    installs: dict[UUID, Install]
    scoped: tuple[ScopedInstall, ...]
    _answering: dict[tuple[str, UUID | None], list[Install]] = field(default_factory=dict)
    _told: dict[tuple[str, UUID | None], tuple[Subscriber, ...]] = field(default_factory=dict)

    def answering(self, capability: str, location_id: UUID) -> list[Install]:
        """The installs to ask here, in install order; thought out once per state."""
        place = self._place(location_id)
        key = capability, place
        if key not in self._answering:
            found = scope.answering(self.scoped, capability, place)
            self._answering[key] = [self.installs[item.id] for item in found]
        return self._answering[key]

    def effective(self, location_id: UUID | None) -> list[Install]:
        """The installs that count at the location, in install order; None gives all of them."""
        if location_id is None:
            return list(self.installs.values())
        found = scope.effective_installs(self.scoped, location_id)
        return [self.installs[item.id] for item in found]

    def subscribers(self, location_id: UUID | None, event_type: str) -> tuple[Subscriber, ...]:
        """Enabled installs that are effective here and are told of the event; thought out once.

        An event of no location goes to every one of them, once per partner.
        """
        if event_type not in self._heard:
            return ()
        if location_id is None:
            return _once_per_partner(self._subscribers(event_type, self.installs.values()))
        place = self._place(location_id)
        key = event_type, place
        if key not in self._told:
            here = scope.effective_installs(self.scoped, place)
            rows = (self.installs[item.id] for item in here)
            self._told[key] = tuple(self._subscribers(event_type, rows))
        return self._told[key]

    def _subscribers(self, event_type: str, rows: Iterable[Install]) -> Iterator[Subscriber]:
        for row in rows:
            if not row.is_enabled or row.outbound_off_at is not None:
                continue
            is_listed = event_type in row.integration.outbound_events
            has_url = row.integration.outbound_url != ""
            caused = caused_by(event_type, row.capability_versions) if has_url else ()
            if is_listed or caused:
                yield Subscriber(row, is_listed, caused)

    def _place(self, location_id: UUID) -> UUID | None:
        """A location without rows of its own is like any other such one."""
        return location_id if location_id in self._own_places else None

    @cached_property
    def _heard(self) -> frozenset[str]:
        """Every event that anybody here is told of. What tills call their events is no bound."""
        rows = self.installs.values()
        listed = (row.integration.outbound_events for row in rows)
        caused = (causes_of(row.capability_versions) for row in rows)
        return frozenset().union(*listed, *caused)

    @cached_property
    def _own_places(self) -> frozenset[UUID]:
        return frozenset(item.location for item in self.scoped if item.location is not None)


def _once_per_partner(subscribers: Iterable[Subscriber]) -> tuple[Subscriber, ...]:
    first_of: dict[UUID, Subscriber] = {}
    for item in subscribers:
        first_of.setdefault(item.install.integration_id, item)
    return tuple(first_of.values())


STAMP_COLUMNS = "snapshot_version, (SELECT version FROM catalog_stamp WHERE id = 1)"
STAMP = f"SELECT {STAMP_COLUMNS} FROM merchant WHERE id = %s"  # noqa: S608


def stamp_of(row: Sequence[Any]) -> Stamp:
    return row[0], row[1] or 0


_remembered: OrderedDict[UUID, Snapshot] = OrderedDict()
_lock = threading.Lock()


def remembered(merchant_id: UUID) -> Snapshot | None:
    """The snapshot that was looked at last, for whoever checks its stamp in a statement of their own."""
    with _lock:
        known = _remembered.get(merchant_id)
        if known is not None:
            _remembered.move_to_end(merchant_id)
        return known


def current(merchant_id: UUID) -> Snapshot | None:
    """The merchant's snapshot as of now, None for an unknown merchant."""
    row = fetch_row(STAMP, [merchant_id])
    return None if row is None else at(merchant_id, stamp_of(row))


def at(merchant_id: UUID, stamp: Stamp) -> Snapshot:
    """The merchant's snapshot for a stamp that was read just now, or in this transaction."""
    with _lock:
        known = _remembered.get(merchant_id)
        if known is not None and known.stamp == stamp:
            _remembered.move_to_end(merchant_id)
            return known
    # The stamp was read before the rows, so rows that are newer only mean one more reload.
    fresh = _load(merchant_id, stamp)
    with _lock:
        _remembered[merchant_id] = fresh
        if len(_remembered) > REMEMBERED_MERCHANTS:
            _remembered.popitem(last=False)
    return fresh


def _load(merchant_id: UUID, stamp: Stamp) -> Snapshot:
    rows = [
        row
        for row in Install.objects.for_merchant(merchant_id).with_names().in_order()
        if row.integration.is_running
    ]
    return Snapshot(
        stamp=stamp,
        merchant=Merchant.objects.get(pk=merchant_id),
        locations={item.pk: item for item in Location.objects.filter(merchant_id=merchant_id)},
        installs={row.pk: row for row in rows},
        scoped=tuple(row.scoped() for row in rows),
    )
