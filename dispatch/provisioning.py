"""Tells partners about merchants, now and again until they know."""

import logging
from datetime import datetime

from django.utils import timezone

from dispatch.adapters import provisioner_for
from dispatch.contracts import AdapterError, AuthError, Call, PermanentError
from installs import connection
from installs.credentials import current_keys
from installs.models import Install

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10
MOST_PER_RUN = 100


def provision_due() -> int:
    """Try every install that is due once; return how many were tried.

    Safe to run in many workers at once: each row is claimed for one attempt, and a worker that dies
    gives it back when its lease is over.
    """
    due = Install.objects.due_for_provisioning(timezone.now()).select_related(
        "integration", "merchant", "location"
    )[:MOST_PER_RUN]
    tried = 0
    for row in due:
        lease = row.provision_due_at and connection.claim_provisioning(row.pk, row.provision_due_at)
        if lease:
            provision(row, lease)
            tried += 1
    return tried


def provision(row: Install, lease: datetime) -> None:
    slug = row.integration.slug
    adapter = provisioner_for(slug)
    if adapter is None:
        connection.provisioning_failed(row.pk, "no_adapter", is_final=True)
        return
    call = Call(
        merchant=row.merchant,
        location=row.location,
        install=row,
        keys=current_keys([slug]).get(slug, {}),
        timeout_seconds=TIMEOUT_SECONDS,
    )
    ids = {"integration": slug, "merchant_id": str(row.merchant_id)}
    try:
        external_id = adapter.provision(call)
    except (AuthError, PermanentError) as error:
        # Also a wrong answer is tried again: a partner mends such things without telling us.
        logger.warning("Provisioning %s at %s failed: %s", row.pk, slug, error, extra=ids)
        connection.provisioning_failed(row.pk, error.code)
    except AdapterError as error:
        logger.info("Provisioning %s at %s failed: %s", row.pk, slug, error, extra=ids)
        connection.provisioning_failed(row.pk, error.code)
    else:
        connection.provisioned(row.pk, external_id, lease=lease)
