"""The one door to the secrets of integrations: which are valid now, and how they are rotated.

The database's clock decides at each use, so that every process agrees on the moment at which a
secret ends; nothing is remembered between two questions. Every verb locks the integration's row and
is one transaction: two people who cut over at once are served one after the other, and the second
one finds nothing to cut over to. Refusals are `ApiError`; the audit log says who did what to which
secret, never its value.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import BooleanField, DateTimeField, ExpressionWrapper, F
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from catalog.models import Integration
from installs import audit
from installs.models import ACCEPTED_NOW, IntegrationSecret, Purpose, SecretState

KEY_BYTES = 32
# For how long after its end the use of a secret is still noticed.
KEPT_AFTER_END = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class KnownSecret:
    """A key that was given to a partner. Only those that are accepted open a door."""

    id: UUID
    key: bytes
    is_accepted: bool


def known_secrets(slug: str, purpose: str) -> list[KnownSecret]:
    """The current key, then the previous one, whether or not that has ended."""
    rows: Any = IntegrationSecret.objects.filter(
        integration__slug=slug,
        purpose=purpose,
        state__in=[SecretState.CURRENT, SecretState.PREVIOUS],
    ).annotate(is_accepted=ExpressionWrapper(ACCEPTED_NOW, output_field=BooleanField()))
    return [
        KnownSecret(row.pk, bytes.fromhex(row.value), row.is_accepted)
        for row in sorted(rows, key=lambda row: str(row.state))
    ]


def active_secrets(slug: str, purpose: str) -> list[bytes]:
    """Key bytes that are valid at this moment, the current one first.

    The next one is not valid yet; the previous one is until its `expires_at`.
    """
    return [item.key for item in known_secrets(slug, purpose) if item.is_accepted]


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


def set_client_secret(integration: Integration, text: str, actor: str = audit.SYSTEM) -> None:
    """Kept as hex of the text, like every other key. Its age begins anew."""
    with transaction.atomic():
        row, _created = IntegrationSecret.objects.update_or_create(
            integration=integration,
            purpose=Purpose.OAUTH_CLIENT,
            state=SecretState.CURRENT,
            defaults={"value": text.encode().hex(), "activated_at": Now(), "reminders": 0},
        )
        _record("secret.set", row, actor)


def stage(integration: Integration, purpose: str, actor: str) -> str:
    """Make the next secret, in place of one that was staged before; return it as hex.

    That is the only moment at which it can be read. It is not valid before the cut-over.
    """
    with transaction.atomic():
        _lock(integration)
        return _stage(integration, purpose, actor, secrets.token_hex(KEY_BYTES))


def cut_over(integration: Integration, purpose: str, actor: str) -> IntegrationSecret:
    """Make the next secret current; the one before is accepted for the integration's overlap.

    The one before that, if it was still accepted, ends at once. Refused with `not_found` where
    nothing is staged.
    """
    with transaction.atomic():
        overlap = _lock(integration)
        return _cut_over(integration, purpose, actor, overlap)


def rotate(integration: Integration, purpose: str, actor: str) -> str:
    """Stage and cut over at once; return the new current secret as hex, this once."""
    with transaction.atomic():
        overlap = _lock(integration)
        value = _stage(integration, purpose, actor, secrets.token_hex(KEY_BYTES))
        _cut_over(integration, purpose, actor, overlap)
    return value


def take_over(
    integration: Integration, purpose: str, text: str, actor: str, *, overlap: timedelta | None
) -> IntegrationSecret:
    """Make a key that the partner gave us current, kept as hex of its text like every other key.

    The one before is accepted for `overlap`, or for the integration's own where that is None. A key
    of ours that was staged is forgotten: what the partner signs with is the partner's to say.
    """
    with transaction.atomic():
        usual = _lock(integration)
        _stage(integration, purpose, actor, text.encode().hex())
        return _cut_over(integration, purpose, actor, usual if overlap is None else overlap)


def revoke_previous(integration: Integration, purpose: str, actor: str) -> IntegrationSecret:
    """End the previous secret now, for every process.

    Refused with `not_found` where no previous secret is accepted any more.
    """
    with transaction.atomic():
        _lock(integration)
        rows = IntegrationSecret.objects.of(integration, purpose)
        row = rows.filter(ACCEPTED_NOW, state=SecretState.PREVIOUS).first()
        if row is None:
            raise ApiError("not_found", _("No previous secret is accepted any more."))
        rows.filter(pk=row.pk).update(expires_at=Now())
        _record("secret.revoked", row, actor)
        return rows.get(pk=row.pk)


def count_late_use(secret_ids: Iterable[UUID]) -> None:
    """Somebody still signs with a secret that has ended."""
    IntegrationSecret.objects.filter(pk__in=list(secret_ids)).update(
        late_uses=F("late_uses") + 1, late_used_at=Now()
    )


def forget_ended() -> int:
    """Erase previous secrets that ended 30 days ago; return how many."""
    ended = IntegrationSecret.objects.filter(
        state=SecretState.PREVIOUS, expires_at__lt=_from_now(-KEPT_AFTER_END)
    )
    return ended.delete()[0]


def _lock(integration: Integration) -> timedelta:
    """Wait for whoever is changing the secrets of this integration; return its overlap."""
    # Rows that refer to the integration may still be written meanwhile.
    row = Integration.objects.select_for_update(no_key=True).get(pk=integration.pk)
    return timedelta(seconds=row.previous_secret_seconds)


def _stage(integration: Integration, purpose: str, actor: str, value: str) -> str:
    rows = IntegrationSecret.objects.of(integration, purpose)
    rows.filter(state=SecretState.NEXT).delete()
    row = rows.create(integration=integration, purpose=purpose, state=SecretState.NEXT, value=value)
    _record("secret.staged", row, actor)
    return value


def _cut_over(
    integration: Integration, purpose: str, actor: str, overlap: timedelta
) -> IntegrationSecret:
    rows = IntegrationSecret.objects.of(integration, purpose)
    row = rows.filter(state=SecretState.NEXT).first()
    if row is None:
        raise ApiError("not_found", _("No next secret is staged: somebody may have cut over."))
    rows.filter(state=SecretState.PREVIOUS).delete()
    rows.filter(state=SecretState.CURRENT).update(
        state=SecretState.PREVIOUS, expires_at=_from_now(overlap)
    )
    rows.filter(pk=row.pk).update(state=SecretState.CURRENT, activated_at=Now())
    _record("secret.cut_over", row, actor, overlap_seconds=int(overlap.total_seconds()))
    return rows.get(pk=row.pk)


def _from_now(span: timedelta) -> Combinable:
    return ExpressionWrapper(Now() + span, output_field=DateTimeField())


def _record(action: str, row: IntegrationSecret, actor: str, **data: int) -> None:
    audit.record(
        action,
        actor=actor,
        integration_slug=row.integration.slug,
        data={"purpose": row.purpose, "secret": str(row.pk), **data},
    )


def _current(integration: Integration, purpose: str) -> IntegrationSecret:
    row, _created = IntegrationSecret.objects.get_or_create(
        integration=integration,
        purpose=purpose,
        state=SecretState.CURRENT,
        defaults={"value": secrets.token_hex(KEY_BYTES), "activated_at": Now()},
    )
    return row
