"""What a till needs to know of a merchant, remembered per process and checked by a version stamp.

Reading costs one query for the two stamps; everything else is in memory until a lifecycle verb, a
merchant or location edit, or a catalog edit makes it old.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from catalog.prepared import fetch_row
from installs import scope
from installs.models import Install, Location, Merchant
from installs.scope import ScopedInstall

REMEMBERED_MERCHANTS = 10_000


@dataclass(frozen=True)
class Snapshot:
    """One merchant's rows as they were at `stamp`. Treat everything in it as read-only."""

    stamp: tuple[int, int]
    merchant: Merchant
    locations: dict[UUID, Location]
    installs: dict[UUID, Install]
    scoped: tuple[ScopedInstall, ...]
    _answering: dict[tuple[str, UUID | None], list[Install]] = field(default_factory=dict)

    def answering(self, capability: str, location_id: UUID) -> list[Install]:
        """The installs to ask here, in install order; thought out once per state."""
        # A location without rows of its own is like any other such one.
        place = location_id if location_id in self._own_places else None
        key = capability, place
        if key not in self._answering:
            found = scope.answering(self.scoped, capability, place)
            self._answering[key] = [self.installs[item.id] for item in found]
        return self._answering[key]

    @cached_property
    def _own_places(self) -> frozenset[UUID]:
        return frozenset(item.location for item in self.scoped if item.location is not None)


_remembered: OrderedDict[UUID, Snapshot] = OrderedDict()
_lock = threading.Lock()


def current(merchant_id: UUID) -> Snapshot | None:
    """The merchant's snapshot as of now, None for an unknown merchant."""
    stamp = _stamp(merchant_id)
    if stamp is None:
        return None
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


STAMP = """
    SELECT snapshot_version, (SELECT version FROM catalog_stamp WHERE id = 1)
    FROM merchant WHERE id = %s
"""


def _stamp(merchant_id: UUID) -> tuple[int, int] | None:
    row = fetch_row(STAMP, [merchant_id])
    return None if row is None else (row[0], row[1] or 0)


def _load(merchant_id: UUID, stamp: tuple[int, int]) -> Snapshot:
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
