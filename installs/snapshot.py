"""What a till needs to know of a merchant, remembered per process and checked by a version stamp.

Reading costs one query for the two stamps; everything else is in memory until a lifecycle verb, a
merchant or location edit, or a catalog edit makes it old.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Subquery

from catalog.models import CatalogStamp, Integration
from installs.models import Install, Location, Merchant
from installs.scope import ScopedInstall

REMEMBERED_MERCHANTS = 10_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One merchant's rows as they were at `stamp`. Treat everything in it as read-only."""

    stamp: tuple[int, int]
    merchant: Merchant
    locations: dict[UUID, Location]
    installs: dict[UUID, Install]
    scoped: tuple[ScopedInstall, ...]

    def integration_of(self, install: ScopedInstall) -> Integration:
        return self.installs[install.id].integration


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


def _stamp(merchant_id: UUID) -> tuple[int, int] | None:
    catalog_version = CatalogStamp.objects.filter(pk=1).values("version")
    row: tuple[Any, Any] | None = (
        Merchant.objects.filter(pk=merchant_id)
        .values_list("snapshot_version", Subquery(catalog_version))
        .first()
    )
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
