"""What becomes of tokens: refreshed by one at a time, used on deliveries, given back at the end."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core import mail
from django.db import connections
from django.test import Client
from django.utils import timezone

from dispatch import oauth
from dispatch.contracts import AuthError, TemporaryError
from installs import grants, lifecycle
from installs.fields import Sealed
from installs.ladder import ATTEMPTS, LADDER
from installs.models import AuditEntry, Connection, Install, OAuthGrant, Role
from installs.oauth_client import Account, Tokens
from installs.state import state_of
from tests.conftest import ON_POSTGRES
from tests.factories import (
    keys_of,
    make_integration,
    make_merchant,
    make_oauth_integration,
    make_user,
    owner_of,
)
from tests.oauth_partner import OAuthPartner
from tests.partners import Reply, as_json
from webhooks import outbound
from webhooks.models import Delivery, DeliveryStatus

CROWD = 20
ROUNDS = 50 if ON_POSTGRES else 4


@pytest.fixture
def partner(settings):
    with OAuthPartner() as running:
        settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, running.host]
        yield running


def make_connected(partner: OAuthPartner, merchant=None, **over) -> Install:
    """An install whose tokens the partner has issued, with an access token good for an hour."""
    merchant = merchant or make_merchant()
    integration = make_oauth_integration(partner.url, **over)
    keys_of(integration)
    issued = partner.tokens(f"family{integration.slug}", 0)
    grant = grants.keep_new(
        merchant.pk,
        integration,
        Tokens(issued["access_token"], issued["refresh_token"], 3600),
        connected_by="x",
    )
    grants.name_account(grant, Account("acct-1", "Maple Roastery"))
    return lifecycle.install(owner_of(merchant), integration, grant=grant)


def make_expired(install: Install) -> None:
    now = timezone.now()
    OAuthGrant.objects.filter(installs=install).update(
        expires_at=now, refresh_due_at=now, refresh_attempts=0
    )


def grant_of(install: Install) -> OAuthGrant:
    return OAuthGrant.objects.get(installs=install)


# Refresh


@pytest.mark.django_db
def test_good_token_is_given_without_asking_anybody(partner):
    install = make_connected(partner)

    assert oauth.access_token_for(install) == grant_of(install).tokens["access_token"]
    assert not partner.requests


@pytest.mark.django_db
@pytest.mark.parametrize(("life", "margin"), [(3600, 300), (600, 60), (10, 1)])
def test_refresh_is_due_five_minutes_or_a_tenth_of_its_life_ahead(partner, life, margin):
    partner.expires_in = life
    install = make_connected(partner)
    make_expired(install)
    oauth.access_token_for(install)

    grant = grant_of(install)

    assert grant.expires_at - grant.refresh_due_at == timedelta(seconds=margin)


@pytest.mark.django_db
def test_refresh_due_renews_ahead_of_expiry(partner):
    install = make_connected(partner)
    OAuthGrant.objects.update(refresh_due_at=timezone.now())
    before = grant_of(install).tokens

    assert oauth.refresh_due() == 1
    after = grant_of(install)
    assert after.tokens["refresh_token"] != before["refresh_token"]
    assert after.expires_at > timezone.now() + timedelta(minutes=55)


@pytest.mark.django_db
def test_partner_that_does_not_rotate_keeps_the_refresh_token(partner):
    install = make_connected(partner)
    before = grant_of(install).tokens["refresh_token"]
    make_expired(install)
    partner.token_reply = as_json({"access_token": "new", "token_type": "bearer"})

    assert oauth.access_token_for(install) == "new"
    assert grant_of(install).tokens["refresh_token"] == before


@pytest.mark.django_db
@pytest.mark.parametrize("reply", [Reply(503), Reply(200, b"<p>sorry"), Reply(302), Reply(429)])
def test_partner_in_trouble_leaves_the_token_usable_until_it_expires(partner, reply):
    install = make_connected(partner)
    OAuthGrant.objects.update(refresh_due_at=timezone.now())
    partner.token_reply = reply
    before = timezone.now()

    oauth.refresh_due()

    grant = grant_of(install)
    assert grant.refresh_due_at >= before + LADDER[0]
    assert oauth.access_token_for(install) == grant.tokens["access_token"]
    install.refresh_from_db()
    assert install.connection == Connection.CONNECTED


@pytest.mark.django_db
def test_partner_in_trouble_is_not_asked_again_before_its_time(partner):
    install = make_connected(partner)
    make_expired(install)
    partner.token_reply = Reply(503)

    for _time in range(3):
        with pytest.raises(TemporaryError):
            oauth.access_token_for(install)

    assert oauth.refresh_due() == 0
    assert partner.refreshes == 1


@pytest.mark.django_db
def test_partner_down_past_the_ladder_is_shown_and_mends_by_itself(partner):
    install = make_connected(partner)
    partner.token_reply = Reply(503)
    for _time in range(ATTEMPTS):
        OAuthGrant.objects.update(expires_at=timezone.now(), refresh_due_at=timezone.now())
        oauth.refresh_due()
    install.refresh_from_db()
    shown = install.connection, install.connection_problem
    partner.token_reply = None
    OAuthGrant.objects.update(refresh_due_at=timezone.now())

    oauth.refresh_due()

    install.refresh_from_db()
    assert shown == ("failed", "upstream_error")
    assert (install.connection, install.connection_problem) == ("connected", "")


def refuse(partner: OAuthPartner, install: Install) -> None:
    partner.token_reply = as_json({"error": "invalid_grant"}, 400)
    make_expired(install)
    with pytest.raises(AuthError):
        oauth.access_token_for(install)


@pytest.mark.django_db
def test_invalid_grant_asks_the_merchant_to_reconnect(partner):
    install = make_connected(partner)
    owner = make_user(install.merchant)

    refuse(partner, install)

    install.refresh_from_db()
    assert (install.connection, install.connection_problem) == ("failed", "reconnect_needed")
    client = Client()
    client.force_login(owner)
    slug = install.integration.slug
    assert ">Reconnect</span>" in client.get("/integrations").content.decode()
    assert ">Reconnect</button>" in client.get(f"/integrations/{slug}").content.decode()


@pytest.mark.django_db
def test_invalid_grant_is_mailed_to_the_owners_once(partner, django_capture_on_commit_callbacks):
    install = make_connected(partner)
    owner = make_user(install.merchant)
    make_user(install.merchant, Role.MANAGER)

    with django_capture_on_commit_callbacks(execute=True):
        refuse(partner, install)
        with pytest.raises(AuthError):
            oauth.access_token_for(install)
        oauth.refresh_due()

    assert [message.to for message in mail.outbox] == [[owner.email]]
    assert f"/integrations/{install.integration.slug}" in mail.outbox[0].body
    assert partner.refreshes == 1


@pytest.mark.django_db
def test_expired_token_without_a_refresh_token_asks_to_reconnect(partner):
    install = make_connected(partner)
    grant = grant_of(install)
    grant.tokens = {"access_token": "a", "refresh_token": ""}
    grant.save(update_fields=["tokens"])
    make_expired(install)

    with pytest.raises(AuthError):
        oauth.access_token_for(install)

    assert grant_of(install).needs_reconnect
    assert not partner.requests


@pytest.mark.django_db
def test_answer_that_got_lost_after_the_partner_rotated_ends_in_reconnect(partner):
    install = make_connected(partner)
    make_expired(install)
    # The partner has used up the refresh token, and Posz has not heard of the new one.
    partner.used.add(grant_of(install).tokens["refresh_token"])

    with pytest.raises(AuthError):
        oauth.access_token_for(install)

    install.refresh_from_db()
    assert install.connection_problem == "reconnect_needed"


@pytest.mark.django_db
def test_grant_that_does_not_decrypt_keeps_no_other_from_being_refreshed(partner):
    broken, whole = make_connected(partner, slug="broken"), make_connected(partner, slug="whole")
    make_expired(broken)
    make_expired(whole)
    OAuthGrant.objects.filter(installs=broken).update(tokens=Sealed("junk"))

    assert oauth.refresh_due() == 2

    assert OAuthGrant.objects.get(installs=whole).refreshed_at is not None
    assert OAuthGrant.objects.get(installs=broken).needs_reconnect is False


@pytest.mark.django_db
def test_grant_that_does_not_decrypt_keeps_no_other_from_being_revoked(partner):
    broken, whole = make_connected(partner, slug="broken"), make_connected(partner, slug="whole")
    OAuthGrant.objects.filter(installs=broken).update(tokens=Sealed("junk"))
    for install in (broken, whole):
        lifecycle.uninstall(owner_of(install.merchant), install.pk)

    oauth.revoke_due()

    assert OAuthGrant.objects.get().pk == broken.grant_id


@pytest.mark.django_db
def test_rights_taken_away_at_a_refresh_ask_to_reconnect(partner):
    install = make_connected(partner)
    make_expired(install)
    partner.scope = "profile:read"

    with pytest.raises(AuthError):
        oauth.access_token_for(install)

    install.refresh_from_db()
    assert install.connection_problem == "missing_scopes"


@pytest.mark.django_db
def test_late_failure_does_not_undo_what_another_process_has_stored(partner):
    install = make_connected(partner)
    make_expired(install)
    slow = grants.claim_refresh(grant_of(install).pk)
    OAuthGrant.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    oauth.access_token_for(install)

    grants.refresh_failed(slow, "refused", is_final=True)

    assert not grant_of(install).needs_reconnect


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(300)
def test_crowd_with_an_expired_token_makes_exactly_one_refresh_a_round(partner):
    install = make_connected(partner)
    start = threading.Barrier(CROWD + 1)
    stop = threading.Event()

    def run(_number: int) -> list[str]:
        got: list[str] = []
        try:
            while True:
                start.wait(60)
                if stop.is_set():
                    return got
                got.append(oauth.access_token_for(install))
                start.wait(60)
        finally:
            connections.close_all()

    refreshes = []
    with ThreadPoolExecutor(CROWD) as pool:
        crowd = [pool.submit(run, number) for number in range(CROWD)]
        for _round in range(ROUNDS):
            make_expired(install)
            before = partner.refreshes
            start.wait(60)
            start.wait(60)
            refreshes.append(partner.refreshes - before)
        stop.set()
        start.wait(60)
        got = [future.result() for future in crowd]

    assert refreshes == [1] * ROUNDS
    assert [len(set(tokens)) for tokens in zip(*got, strict=True)] == [1] * ROUNDS
    assert not partner.dead
    assert not grant_of(install).needs_reconnect


# Revocation


@pytest.mark.django_db
def test_uninstall_revokes_both_tokens_and_erases_them(partner):
    install = make_connected(partner)
    tokens = grant_of(install).tokens

    lifecycle.uninstall(owner_of(install.merchant), install.pk)
    oauth.revoke_due()

    assert partner.revoked == [tokens["refresh_token"], tokens["access_token"]]
    assert not OAuthGrant.objects.exists()
    entry = AuditEntry.objects.get(action="oauth.revoked")
    assert (entry.merchant_id, entry.data) == (install.merchant_id, {"account": "Maple Roastery"})


@pytest.mark.django_db
def test_revocation_at_a_partner_that_is_down_waits_on_the_ladder(partner):
    install = make_connected(partner)
    partner.revoke_reply = Reply(503)
    lifecycle.uninstall(owner_of(install.merchant), install.pk)
    before = timezone.now()

    oauth.revoke_due()

    assert OAuthGrant.objects.get().revoke_due_at >= before + LADDER[0]
    assert oauth.revoke_due() == 0


@pytest.mark.django_db
def test_revocation_that_never_works_erases_the_tokens_in_the_end(partner):
    install = make_connected(partner)
    partner.revoke_reply = Reply(503)
    lifecycle.uninstall(owner_of(install.merchant), install.pk)

    for _time in range(ATTEMPTS):
        OAuthGrant.objects.update(revoke_due_at=timezone.now())
        oauth.revoke_due()

    assert not OAuthGrant.objects.exists()
    assert AuditEntry.objects.get(action="oauth.revoke_failed").data["problem"] == "upstream_error"


@pytest.mark.django_db
def test_partner_without_a_revocation_address_is_not_asked(partner):
    install = make_connected(partner, oauth={"revoke_url": None})
    lifecycle.uninstall(owner_of(install.merchant), install.pk)

    oauth.revoke_due()

    assert not partner.requests
    assert not OAuthGrant.objects.exists()


@pytest.mark.django_db
def test_grant_that_an_install_uses_is_never_revoked(partner):
    make_connected(partner)
    OAuthGrant.objects.update(revoke_due_at=timezone.now())

    assert oauth.revoke_due() == 0


def swapped_out(partner: OAuthPartner) -> tuple[Install, lifecycle.Swapped]:
    """An OAuth install that another partner has taken the place of."""
    install = make_connected(partner, capabilities={"pay_at_table": 1})
    actor = owner_of(install.merchant)
    other = make_integration(capabilities={"pay_at_table": 1})
    plan = preview_plan(actor, other)
    return install, lifecycle.swap(actor, plan)


def preview_plan(actor, integration):
    from installs import plans

    state = state_of(actor.merchant_id)
    holders = [row.integration.slug for row in state.rows.values()]
    return plans.make_plan(state, integration, None, {}, instead_of=holders, actor=actor.label).pk


@pytest.mark.django_db
def test_swap_keeps_the_grant_until_the_undo_is_over(partner):
    _install, _done = swapped_out(partner)

    assert oauth.revoke_due() == 0
    later = timezone.now() + timedelta(minutes=31)
    assert OAuthGrant.objects.due_for_revocation(later).count() == 1


@pytest.mark.django_db
def test_undo_of_a_swap_brings_the_connection_back(partner):
    install, done = swapped_out(partner)

    lifecycle.swap(owner_of(install.merchant), done.undo.pk)

    row = Install.objects.get()
    assert (row.pk, row.connection, row.grant_id) == (install.pk, "connected", install.grant_id)
    assert row.grant.revoke_due_at is None


@pytest.mark.django_db
def test_undo_after_the_revocation_asks_to_connect_again(partner):
    install, done = swapped_out(partner)
    OAuthGrant.objects.update(revoke_due_at=timezone.now())
    oauth.revoke_due()

    lifecycle.swap(owner_of(install.merchant), done.undo.pk)

    row = Install.objects.get()
    assert (row.connection, row.connection_problem) == ("failed", "not_connected")


# Deliveries


def deliver(install: Install) -> Delivery:
    outbound.accept_event(
        outbound.NewEvent("order.paid", install.merchant_id, None, None, None, {"order_id": "o"})
    )
    outbound.deliver_due()
    return Delivery.objects.get()


def authorizations(partner: OAuthPartner) -> list[str]:
    return [
        request.headers["Authorization"]
        for request in partner.requests
        if request.path == "/events"
    ]


@pytest.mark.django_db
def test_delivery_carries_the_access_token_beside_the_signatures(partner):
    install = make_connected(partner)

    delivery = deliver(install)

    assert delivery.status == DeliveryStatus.DELIVERED
    token = grant_of(install).tokens["access_token"]
    assert authorizations(partner) == [f"Bearer {token}"]
    assert "X-Posz-Signature" in partner.requests[0].headers


@pytest.mark.django_db
def test_delivery_with_an_expired_token_is_sent_with_a_new_one(partner):
    install = make_connected(partner)
    before = grant_of(install).tokens["access_token"]
    make_expired(install)

    deliver(install)

    [sent] = authorizations(partner)
    assert sent == f"Bearer {grant_of(install).tokens['access_token']}" != f"Bearer {before}"


@pytest.mark.django_db
def test_delivery_refused_with_401_is_tried_again_with_one_new_token(partner):
    install = make_connected(partner)
    partner.events_reply = Reply(401)
    deliver(install)
    partner.events_reply = Reply(204)
    Delivery.objects.update(next_attempt_at=timezone.now())

    outbound.deliver_due()

    assert partner.refreshes == 1
    assert len(set(authorizations(partner))) == 2
    assert Delivery.objects.get().status == DeliveryStatus.DELIVERED


@pytest.mark.django_db
def test_delivery_of_an_install_to_reconnect_waits_without_an_attempt(partner):
    install = make_connected(partner)
    refuse(partner, install)

    delivery = deliver(install)

    assert (delivery.status, delivery.attempts_made) == (DeliveryStatus.PENDING, 0)
    assert delivery.next_attempt_at > timezone.now()
    assert not authorizations(partner)


@pytest.mark.django_db
def test_access_token_stands_in_no_attempt_and_no_audit_entry(partner):
    install = make_connected(partner)
    token = grant_of(install).tokens["access_token"]

    delivery = deliver(install)

    stored = str(list(delivery.attempts.values())) + str(list(AuditEntry.objects.values()))
    assert token not in stored
