"""A merchant's installs and outlets as they are now, as plain data to think about."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from installs.models import Install, Location
from installs.scope import ScopedInstall


@dataclass(frozen=True, slots=True)
class State:
    """A merchant's installs and outlets as they are, for thinking about others."""

    merchant_id: UUID
    rows: dict[UUID, Install]
    locations: dict[UUID, Location]
    scoped: tuple[ScopedInstall, ...]

    def fingerprint(self) -> str:
        """Changes whenever anything changes that a plan relies on."""
        facts: list[Any] = [
            [
                row.pk,
                row.location_id,
                row.is_enabled,
                sorted(row.capability_versions.items()),
                row.config_changed_at,
            ]
            for row in self.rows.values()
        ]
        facts.append(sorted(str(item) for item in self.locations))
        return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()

    def name_of(self, integration: str) -> str:
        for row in self.rows.values():
            if row.integration.slug == integration:
                return row.integration.name
        return integration

    def place(self, location: UUID | None) -> str:
        return str(self.locations[location]) if location else _("Outlets that open later")


def state_of(merchant_id: UUID) -> State:
    present = Install.objects.for_merchant(merchant_id).with_names().select_related("grant")
    rows = {row.pk: row for row in present.in_order()}
    return State(
        merchant_id=merchant_id,
        rows=rows,
        locations={item.pk: item for item in Location.objects.filter(merchant_id=merchant_id)},
        scoped=tuple(row.scoped() for row in rows.values()),
    )
