"""The one door to the bearer tokens that Posz issues to partners, and to the clients that ask for them.

A secret or a token is returned once, by the call that makes it; the database has hashes. Both hold 256
random bits, so that a plain hash can't be reversed by guessing. The database's clock decides what has
ended. Every act of staff locks the integration's row and is one transaction; the audit log says who did
what, never a value.
"""

import hmac
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, DateTimeField, ExpressionWrapper, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from catalog.models import Integration
from installs import audit
from installs.models import ApiToken, PartnerClient, PartnerToken

logger = logging.getLogger(__name__)

digest_of = ApiToken.digest_of
NOBODY = digest_of("nobody")
# Ended tokens stay for a while: they tell when a partner came for them.
KEPT_AFTER_END = timedelta(days=7)
# For how long a token that was good a moment ago is not looked up again.
REMEMBERED_SECONDS = 1.0
MOST_REMEMBERED = 1_000

IsIssued = Callable[[str], bool]
# Which tokens of which integration were good, and until when this process believes it.
_good: dict[tuple[UUID, str], float] = {}


@dataclass(frozen=True, slots=True)
class NewClient:
    """The only moment at which the secret can be read."""

    row: PartnerClient
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewToken:
    token: str = field(repr=False)
    seconds: int


def client_of(integration: Integration) -> PartnerClient | None:
    """The client that may ask for tokens now; there is at most one."""
    return PartnerClient.objects.filter(integration=integration, revoked_at=None).first()


def create_client(integration: Integration, actor: str) -> NewClient:
    """Refused with `already_installed` where there is one at work: it would be cut off unseen."""
    with transaction.atomic():
        _lock(integration)
        if client_of(integration) is not None:
            raise ApiError("already_installed", _("There is a client already. Rotate its secret."))
        secret = _new_secret()
        row = PartnerClient.objects.create(
            integration=integration,
            client_id=f"{integration.slug[:40]}-{secrets.token_hex(8)}",
            digest=digest_of(secret),
        )
        _record("partner_client.created", row, actor)
    return NewClient(row, secret)


def rotate_client(integration: Integration, actor: str) -> NewClient:
    """A new secret for the same id. The one before is accepted for the integration's overlap, and
    the one before that no longer. Tokens stay good. Refused with `not_found` without a client."""
    with transaction.atomic():
        overlap = _lock(integration)
        row = _at_work(integration)
        secret = _new_secret()
        PartnerClient.objects.filter(pk=row.pk).update(
            digest=digest_of(secret),
            previous_digest=row.digest,
            previous_until=_from_now(overlap),
            rotated_at=Now(),
        )
        row.refresh_from_db()
        _record("partner_client.rotated", row, actor)
    return NewClient(row, secret)


def revoke_client(integration: Integration, actor: str) -> None:
    """End the client and all of its tokens, for every process within a second."""
    with transaction.atomic():
        _lock(integration)
        row = _at_work(integration)
        PartnerClient.objects.filter(pk=row.pk).update(revoked_at=Now())
        _end_tokens(integration)
        _record("partner_client.revoked", row, actor)
    _good.clear()


def revoke_tokens(integration: Integration, actor: str) -> None:
    """End every token of the integration; its client may ask for new ones."""
    with transaction.atomic():
        _lock(integration)
        row = _at_work(integration)
        _end_tokens(integration)
        _record("partner_client.tokens_revoked", row, actor)
    _good.clear()


def issue_token(client_id: str, secret: str) -> NewToken | None:
    """A token for whoever has the secret; None for anybody else, and nothing tells why.

    The client's row is locked, so that no token is born beside a revocation that would miss it.
    """
    with transaction.atomic():
        # Rows that refer to the client may be written meanwhile.
        rows = PartnerClient.objects.select_for_update(no_key=True, of=("self",))
        has_overlap = ExpressionWrapper(Q(previous_until__gt=Now()), output_field=BooleanField())
        working = rows.filter(client_id=client_id, revoked_at=None)
        row = working.annotate(has_overlap=has_overlap).first()
        if not _is_secret(row, digest_of(secret)) or row is None:
            return None
        token = f"posz_at_{secrets.token_urlsafe(32)}"
        seconds = settings.PARTNER_TOKEN_SECONDS
        PartnerToken.objects.create(
            digest=digest_of(token),
            client=row,
            integration_id=row.integration_id,
            expires_at=_from_now(timedelta(seconds=seconds)),
        )
        PartnerClient.objects.filter(pk=row.pk).update(used_at=Now())
    logger.info("A token was issued to %s", row.client_id)
    return NewToken(token, seconds)


def checker_for(integration_id: UUID) -> IsIssued:
    """For the verifier of a post: whether a bearer token is one of this integration's, by one look
    at a unique index. A good one is remembered for a second; a bad one never."""

    def is_issued(token: str) -> bool:
        digest = digest_of(token)
        key = (integration_id, digest)
        now = time.monotonic()
        if _good.get(key, 0.0) > now:
            return True
        is_good = PartnerToken.objects.filter(
            digest=digest, integration=integration_id, revoked_at=None, expires_at__gt=Now()
        ).exists()
        if is_good:
            if len(_good) >= MOST_REMEMBERED:
                _good.clear()
            _good[key] = now + REMEMBERED_SECONDS
        return is_good

    return is_issued


def prune_tokens() -> int:
    """Erase tokens that ended a week ago; return how many."""
    return PartnerToken.objects.filter(expires_at__lt=_from_now(-KEPT_AFTER_END)).delete()[0]


def _is_secret(row: PartnerClient | None, digest: str) -> bool:
    """Compares both secrets in every case, so that the time taken tells nothing."""
    current = hmac.compare_digest(digest, row.digest if row else NOBODY)
    previous = hmac.compare_digest(digest, (row and row.previous_digest) or NOBODY)
    has_overlap = bool(getattr(row, "has_overlap", False))
    return row is not None and (current or (previous and has_overlap))


def _new_secret() -> str:
    return f"posz_cs_{secrets.token_urlsafe(32)}"


def _at_work(integration: Integration) -> PartnerClient:
    row = (
        PartnerClient.objects.select_for_update(of=("self",))
        .select_related("integration")
        .filter(integration=integration, revoked_at=None)
        .first()
    )
    if row is None:
        raise ApiError("not_found", _("There is no client. Somebody may have revoked it."))
    return row


def _end_tokens(integration: Integration) -> None:
    tokens = PartnerToken.objects.filter(client__integration=integration, revoked_at=None)
    tokens.update(revoked_at=Now())


def _lock(integration: Integration) -> timedelta:
    """Wait for whoever is changing the clients of this integration; return its overlap."""
    row = Integration.objects.select_for_update(no_key=True).get(pk=integration.pk)
    return timedelta(seconds=row.previous_secret_seconds)


def _from_now(span: timedelta) -> Combinable:
    return ExpressionWrapper(Now() + span, output_field=DateTimeField())


def _record(action: str, row: PartnerClient, actor: str) -> None:
    audit.record(
        action,
        actor=actor,
        integration_slug=row.integration.slug,
        data={"client_id": row.client_id},
    )
