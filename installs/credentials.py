"""Keys of integrations: which are valid now, decided by the database's clock at each use."""

import secrets
from collections.abc import Iterable

from django.db.models import Q
from django.db.models.functions import Now

from catalog.models import Integration
from installs.models import IntegrationSecret, Purpose, SecretState

KEY_BYTES = 32


def active_secrets(slug: str, purpose: str) -> list[bytes]:
    """Key bytes that are valid at this moment, the current one first.

    The next one is not valid yet; the previous one is until its `expires_at`.
    """
    rows = IntegrationSecret.objects.filter(
        Q(state=SecretState.CURRENT) | Q(state=SecretState.PREVIOUS, expires_at__gt=Now()),
        integration__slug=slug,
        purpose=purpose,
    )
    return [bytes.fromhex(row.value) for row in sorted(rows, key=lambda row: str(row.state))]


def current_keys(slugs: Iterable[str]) -> dict[str, dict[str, bytes]]:
    """Slug to purpose to the key to sign with now, in one query."""
    keys: dict[str, dict[str, bytes]] = {}
    rows = IntegrationSecret.objects.filter(
        integration__slug__in=list(slugs), state=SecretState.CURRENT
    ).select_related("integration")
    for row in rows:
        keys.setdefault(row.integration.slug, {})[row.purpose] = bytes.fromhex(row.value)
    return keys


# Keys that Posz makes; the others are given by the partner.
OWN_PURPOSES = (Purpose.JWT, Purpose.INBOUND, Purpose.OUTBOUND)


def ensure_secrets(integration: Integration) -> dict[str, str]:
    """Make the current key of every purpose of our own where it is missing; return them as hex."""
    return {str(purpose): _current(integration, purpose).value for purpose in OWN_PURPOSES}


def client_secret(slug: str) -> str:
    """What the partner knows Posz by at its OAuth server; empty where staff have not set it."""
    keys = active_secrets(slug, Purpose.OAUTH_CLIENT)
    return keys[0].decode() if keys else ""


def set_client_secret(integration: Integration, text: str) -> None:
    """Kept as hex of the text, like every other key."""
    IntegrationSecret.objects.update_or_create(
        integration=integration,
        purpose=Purpose.OAUTH_CLIENT,
        state=SecretState.CURRENT,
        defaults={"value": text.encode().hex(), "activated_at": Now()},
    )


def _current(integration: Integration, purpose: str) -> IntegrationSecret:
    row, _ = IntegrationSecret.objects.get_or_create(
        integration=integration,
        purpose=purpose,
        state=SecretState.CURRENT,
        defaults={"value": secrets.token_hex(KEY_BYTES), "activated_at": Now()},
    )
    return row
