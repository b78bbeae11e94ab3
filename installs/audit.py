"""The one way into the audit log."""

from typing import Any
from uuid import UUID

from installs.models import AuditEntry, Install, Location

SYSTEM = "posz"


def record(
    action: str,
    *,
    actor: str,
    install: Install | None = None,
    merchant_id: UUID | None = None,
    integration_slug: str = "",
    location: Location | None = None,
    data: dict[str, Any] | None = None,
) -> AuditEntry:
    """Append an entry. `data` must hold no secret: it is shown to merchants and kept for good.

    An install fills in merchant, integration and location, which stay readable after it is gone;
    `location` says more than a merchant-wide install can.
    """
    if install is not None:
        merchant_id = install.merchant_id
        integration_slug = install.integration.slug
        location = location or install.location
    return AuditEntry.objects.create(
        action=action,
        actor=actor,
        merchant_id=merchant_id,
        integration_slug=integration_slug,
        install_id=install.pk if install else None,
        location_name=str(location) if location else "",
        data=data or {},
    )
