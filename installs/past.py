"""Who had what at an earlier moment, read back from the audit log.

The log is never edited, so the answer for a moment never changes.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from installs.models import AuditEntry
from installs.scope import ScopedInstall

CHANGES = (
    "install.created",
    "install.enabled",
    "install.disabled",
    "install.upgraded",
    "install.removed",
)


def state_at(merchant_id: UUID, moment: datetime) -> list[ScopedInstall]:
    """The merchant's installs as they were at the moment, in install order."""
    entries = AuditEntry.objects.filter(
        merchant_id=merchant_id, action__in=CHANGES, at__lte=moment
    ).order_by("id")
    state: dict[UUID, ScopedInstall] = {}
    order: dict[UUID, datetime] = {}
    for entry in entries:
        if entry.install_id is not None:
            _apply(entry.install_id, entry, state, order)
    return sorted(state.values(), key=lambda item: (order[item.id], str(item.id)))


def _apply(
    install_id: UUID,
    entry: AuditEntry,
    state: dict[UUID, ScopedInstall],
    order: dict[UUID, datetime],
) -> None:
    data: dict[str, Any] = entry.data
    if entry.action == "install.created":
        location = data.get("location_id")
        order[install_id] = datetime.fromisoformat(data["installed_at"])
        state[install_id] = ScopedInstall(
            id=install_id,
            integration=entry.integration_slug,
            location=UUID(location) if location else None,
            is_enabled=data["enabled"],
            capabilities=frozenset(data["capabilities"]),
        )
    elif entry.action == "install.removed":
        state.pop(install_id, None)
    elif install_id in state and entry.action == "install.upgraded":
        capabilities = frozenset(data["capabilities"])
        state[install_id] = replace(state[install_id], capabilities=capabilities)
    elif install_id in state:
        is_enabled = entry.action == "install.enabled"
        state[install_id] = replace(state[install_id], is_enabled=is_enabled)
