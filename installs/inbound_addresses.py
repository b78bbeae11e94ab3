"""Webhook addresses of single installs, for providers that sign nothing: whoever knows one was told it.

An address is shown once, by the call that makes it. It says which install a webhook is about, and not
that the webhook is true.
"""

import secrets
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from catalog.models import Integration
from installs import audit
from installs.access import Actor, Verb
from installs.lifecycle import locked_install
from installs.models import ApiToken, InboundAddress, Install


def make_address(actor: Actor, install_id: UUID) -> str:
    """A new address in place of the one before, which ends at once."""
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        row = locked_install(actor, install_id, Verb.CONFIGURE)
        InboundAddress.objects.update_or_create(
            install=row,
            defaults={"digest": ApiToken.digest_of(token), "made_at": timezone.now()},
        )
        audit.record("install.address_made", actor=actor.label, install=row)
    base = settings.PUBLIC_URL.rstrip("/")
    return f"{base}/v1/integrations/{row.integration.slug}/webhook/{token}"


def install_at(integration: Integration, token: str) -> Install | None:
    """The install of an address, by the hash of its last part."""
    rows = Install.objects.filter(integration=integration)
    return rows.filter(inbound_address__digest=ApiToken.digest_of(token)).first()
