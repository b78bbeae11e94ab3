"""The one way into the audit log."""

from typing import Any
from uuid import UUID

from installs.models import AuditEntry, Install

SYSTEM = "posz"


def record(
    action: str,
    *,
    actor: str,
    install: Install | None = None,
    merchant_id: UUID | None = None,
    integration_slug: str = "",
    data: dict[str, Any] | None = None,
) -> AuditEntry:
    """Append an entry. `data` must hold no secret: it is shown to merchants and kept for good.

    An install fills in merchant, integration and location, which stay readable after it is gone.
    """
    if install is not None:
        merchant_id = install.merchant_id
        integration_slug = install.integration.slug
    return AuditEntry.objects.create(
        action=action,
        actor=actor,
        merchant_id=merchant_id,
        integration_slug=integration_slug,
        install_id=install.pk if install else None,
        location_name=str(install.location) if install and install.location else "",
        data=data or {},
    )
