"""The door of a grant's rows: tokens come, are refreshed by one process at a time, and go.

Nothing here touches the network. Workers claim a row by conditional update, commit, do the call, and
report here. A grant that no install uses waits for its revocation and is erased after it.
"""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import F
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from catalog.models import Integration
from installs import audit
from installs.ladder import LADDER, next_attempt_at
from installs.models import Connection, Install, Merchant, OAuthGrant, Role, User
from installs.oauth_client import Account, Tokens
from installs.wake import wake

RECONNECT = "reconnect_needed"
NOT_CONNECTED = "not_connected"
# Tokens that nobody has taken over by then are given back.
ORPHAN_LIFETIME = timedelta(minutes=15)
# Longer than one call can take: who holds it still holds it when the answer comes.
LEASE = timedelta(seconds=60)
MOST_MARGIN = timedelta(minutes=5)
ACCOUNT_LENGTH = 255
REFRESHED = [
    "tokens",
    "expires_at",
    "granted_scopes",
    "refreshed_at",
    "refresh_due_at",
    "refresh_attempts",
    "problem",
    "needs_reconnect",
    "lease_until",
]

logger = logging.getLogger(__name__)


def keep_new(
    merchant_id: UUID, integration: Integration, tokens: Tokens, *, connected_by: str
) -> OAuthGrant:
    """Store fresh tokens before anything else can fail. Unless adopted they are revoked soon."""
    now = timezone.now()
    grant = OAuthGrant(
        merchant_id=merchant_id,
        integration=integration,
        granted_scopes=list(scopes_of(integration, tokens)),
        connected_by=connected_by,
        revoke_due_at=now + ORPHAN_LIFETIME,
    )
    _put_tokens(grant, tokens, now, refresh_before="")
    grant.save(force_insert=True)
    return grant


def name_account(grant: OAuthGrant, account: Account) -> None:
    grant.account_id = account.id[:ACCOUNT_LENGTH]
    grant.account_name = account.name[:ACCOUNT_LENGTH]
    grant.save(update_fields=["account_id", "account_name"])


def scopes_of(integration: Integration, tokens: Tokens) -> tuple[str, ...]:
    return integration.oauth.scopes if tokens.scopes is None else tokens.scopes


def missing_scopes(integration: Integration, grant: OAuthGrant) -> list[str]:
    return [name for name in integration.oauth.scopes if name not in grant.granted_scopes]


def adopt(grant_id: UUID) -> OAuthGrant | None:
    """Take a grant into use inside the caller's transaction; None where its revocation has begun."""
    is_free = OAuthGrant.objects.filter(pk=grant_id, revoke_attempts=0).update(revoke_due_at=None)
    return OAuthGrant.objects.get(pk=grant_id) if is_free else None


def release(grant_id: UUID, *, due_at: datetime | None = None) -> None:
    """Have it revoked after the commit, or later where an undo may still want it back. One that
    another install uses is passed over."""
    if Install.objects.filter(grant_id=grant_id).exists():
        return
    OAuthGrant.objects.filter(pk=grant_id, revoke_due_at=None).update(
        revoke_due_at=due_at or timezone.now()
    )
    transaction.on_commit(wake_revocation, robust=True)


def give_up(grant: OAuthGrant) -> None:
    """Fresh tokens that nobody may use: back to the partner now."""
    OAuthGrant.objects.filter(pk=grant.pk).update(revoke_due_at=timezone.now())
    transaction.on_commit(wake_revocation, robust=True)


def retire(grant: OAuthGrant, *, is_same_account: bool) -> None:
    """A grant that another one has replaced.

    Of the same account it is erased only: many partners take the revocation of one token for that
    of the whole account, the new tokens included.
    """
    if is_same_account:
        OAuthGrant.objects.filter(pk=grant.pk).delete()
    else:
        release(grant.pk)


def claim_refresh(grant_id: UUID) -> OAuthGrant | None:
    """Take the row for one refresh; None where somebody else has it or it is not due."""
    now = timezone.now()
    due = OAuthGrant.objects.due_for_refresh(now).filter(pk=grant_id)
    if not due.update(lease_until=now + LEASE, fencing_token=F("fencing_token") + 1):
        return None
    return OAuthGrant.objects.select_related("integration").get(pk=grant_id)


def refreshed(claimed: OAuthGrant, tokens: Tokens) -> None:
    """Store what the partner gave. Also late, as long as nobody has stored something newer."""
    with transaction.atomic():
        grant = _locked(claimed)
        if grant is None or grant.tokens != claimed.tokens:
            return
        had_problem = grant.problem
        now = timezone.now()
        _put_tokens(grant, tokens, now, refresh_before=grant.tokens["refresh_token"])
        if tokens.scopes is not None:
            grant.granted_scopes = list(tokens.scopes)
        grant.refreshed_at, grant.refresh_attempts = now, 0
        grant.problem, grant.needs_reconnect, grant.lease_until = "", False, None
        grant.save(update_fields=REFRESHED)
        if had_problem:
            _mend_installs(grant)
        if missing_scopes(grant.integration, grant):
            _needs_reconnect(grant, "missing_scopes")


def refresh_failed(claimed: OAuthGrant, problem: str, *, is_final: bool) -> None:
    """A final failure is for the merchant to mend; any other is tried again on the ladder, and on
    its last step for ever, because the access token may be good and the partner may come back."""
    with transaction.atomic():
        grant = _locked(claimed)
        if grant is None or grant.fencing_token != claimed.fencing_token:
            return
        now = timezone.now()
        grant.lease_until, grant.problem = None, problem
        grant.refresh_attempts = min(grant.refresh_attempts + 1, 1000)
        grant.refresh_due_at = next_attempt_at(grant.refresh_attempts, now) or now + LADDER[-1]
        grant.save(update_fields=["lease_until", "problem", "refresh_attempts", "refresh_due_at"])
        if is_final:
            _needs_reconnect(grant, RECONNECT)
        elif grant.refresh_attempts > len(LADDER) and grant.is_expired(now):
            _mark_installs(grant, problem)


def doubt(grant_id: UUID, access_token: str) -> None:
    """The partner refused this access token: have it refreshed before it is used again."""
    with transaction.atomic():
        grant = OAuthGrant.objects.select_for_update().filter(pk=grant_id).first()
        if grant is None or grant.tokens["access_token"] != access_token or grant.problem:
            return
        grant.expires_at = grant.refresh_due_at = timezone.now()
        grant.save(update_fields=["expires_at", "refresh_due_at"])


def claim_revocation(grant_id: UUID) -> OAuthGrant | None:
    now = timezone.now()
    is_mine = (
        OAuthGrant.objects.due_for_revocation(now)
        .filter(pk=grant_id)
        .update(
            lease_until=now + LEASE,
            fencing_token=F("fencing_token") + 1,
            revoke_attempts=F("revoke_attempts") + 1,
        )
    )
    if not is_mine:
        return None
    return OAuthGrant.objects.select_related("integration").get(pk=grant_id)


def revoked(claimed: OAuthGrant) -> None:
    _erase(claimed, "oauth.revoked", {})


def revoke_failed(claimed: OAuthGrant, problem: str) -> None:
    """Try again on the ladder; when that is used up the tokens are erased here all the same."""
    due_at = next_attempt_at(claimed.revoke_attempts, timezone.now())
    if due_at is None:
        _erase(claimed, "oauth.revoke_failed", {"problem": problem})
        return
    OAuthGrant.objects.filter(pk=claimed.pk, fencing_token=claimed.fencing_token).update(
        lease_until=None, revoke_due_at=due_at, problem=problem
    )


def wake_revocation() -> None:
    wake("dispatch.tasks.revoke_due")


def _erase(claimed: OAuthGrant, action: str, data: dict[str, str]) -> None:
    with transaction.atomic():
        mine = OAuthGrant.objects.filter(pk=claimed.pk, fencing_token=claimed.fencing_token)
        if mine.exists():
            mine.delete()
            audit.record(
                action,
                actor=audit.SYSTEM,
                merchant_id=claimed.merchant_id,
                integration_slug=claimed.integration.slug,
                data={**data, "account": claimed.account} if claimed.account else data,
            )


def _put_tokens(grant: OAuthGrant, tokens: Tokens, now: datetime, *, refresh_before: str) -> None:
    grant.tokens = {
        "access_token": tokens.access_token,
        # A partner that does not rotate answers without one: the old one goes on.
        "refresh_token": tokens.refresh_token or refresh_before,
    }
    life = None if tokens.expires_in is None else timedelta(seconds=tokens.expires_in)
    grant.expires_at = None if life is None else now + life
    grant.refresh_due_at = None if life is None else now + life - min(MOST_MARGIN, life / 10)


def _locked(claimed: OAuthGrant) -> OAuthGrant | None:
    """The row under its merchant's lock and its own, in the order that every change takes them."""
    Merchant.objects.select_for_update().get(pk=claimed.merchant_id)
    grants = OAuthGrant.objects.select_for_update(of=("self",)).select_related("integration")
    return grants.filter(pk=claimed.pk).first()


def _needs_reconnect(grant: OAuthGrant, problem: str) -> None:
    """Tell the merchant, once: by the card, the drawer, the activity log and a mail to the owners."""
    grant.needs_reconnect, grant.problem, grant.refresh_due_at = True, problem, None
    grant.save(update_fields=["needs_reconnect", "problem", "refresh_due_at"])
    if _mark_installs(grant, problem):
        transaction.on_commit(lambda: _mail_owners(grant), robust=True)


def _mark_installs(grant: OAuthGrant, problem: str) -> bool:
    rows = grant.installs.select_related("integration", "location").exclude(
        connection=Connection.FAILED, connection_problem=problem
    )
    marked = list(rows)
    for row in marked:
        row.connection, row.connection_problem = Connection.FAILED, problem
        row.save(update_fields=["connection", "connection_problem"])
        audit.record(
            "install.connect_failed",
            actor=row.integration.slug,
            install=row,
            data={"problem": problem},
        )
    Merchant.touch(grant.merchant_id)
    return bool(marked)


def _mend_installs(grant: OAuthGrant) -> None:
    rows = grant.installs.select_related("integration", "location")
    for row in rows.filter(connection=Connection.FAILED):
        connect(row)
        audit.record("install.connected", actor=row.integration.slug, install=row)
    Merchant.touch(grant.merchant_id)


def connect(row: Install) -> None:
    row.connection, row.connection_problem = Connection.CONNECTED, ""
    row.save(update_fields=["connection", "connection_problem"])


def _mail_owners(grant: OAuthGrant) -> None:
    merchant = grant.merchant
    owners = User.objects.filter(
        memberships__merchant=merchant, memberships__role=Role.OWNER, is_active=True
    )
    page = f"{settings.PUBLIC_URL}/integrations/{grant.integration.slug}"
    with translation.override(merchant.locale):
        facts = {"name": grant.integration.name, "merchant": merchant.name, "page": page}
        subject = _("%(name)s needs to be connected again") % facts
        body = (
            _(
                "%(name)s no longer accepts the connection of %(merchant)s. Nothing more is sent to it "
                "until somebody connects it again, which takes a minute:\n\n%(page)s\n\n"
                "Your settings are kept, and receipts print as usual."
            )
            % facts
        )
    for email in owners.values_list("email", flat=True):
        try:
            send_mail(subject, body, None, [email])
        except OSError:
            # The page says the same, and the grant must be marked whatever becomes of the mail.
            logger.exception("An owner could not be told to connect %s again", grant.integration_id)
