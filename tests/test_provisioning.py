from datetime import timedelta

import pytest
from django.utils import timezone

from dispatch import provisioning
from installs import connection, lifecycle
from installs.models import AuditEntry, Connection, Install, Merchant
from tests.factories import (
    keys_of,
    make_install,
    make_location,
    make_merchant,
    make_spliteasy,
    owner_of,
)
from tests.partners import Reply, running_partner, spliteasy_answer

pytestmark = pytest.mark.django_db


@pytest.fixture
def partner(settings):
    with running_partner(settings, spliteasy_answer) as running:
        yield running


def make_connecting(partner, **over) -> Install:
    integration = make_spliteasy(partner.url)
    keys_of(integration)
    return make_install(make_merchant(), integration, **over)


def test_provision_due_keeps_the_partners_id(partner):
    row = make_connecting(partner)

    provisioning.provision_due()
    row.refresh_from_db()

    assert row.external_merchant_id == f"se-{str(row.merchant_id)[:8]}"
    assert (row.connection, row.provision_due_at) == (Connection.CONNECTED, None)


def test_provision_sends_the_merchant_as_the_partner_expects_it(partner):
    merchant = make_merchant(name="Maple", phone="", city="Jakarta")
    ubud = make_location(merchant, name="Ubud", city="Bali", timezone="Asia/Makassar")
    integration = make_spliteasy(partner.url)
    keys_of(integration)
    make_install(merchant, integration, ubud.pk)

    provisioning.provision_due()

    assert partner.requests[0].json() == {
        "merchant_id": str(merchant.pk),
        "name": "Maple",
        "location": "Ubud",
        "city": "Bali",
        "email": merchant.email,
        "phone": None,
        "currency": "IDR",
        "locale": "id",
        "timezone": "Asia/Makassar",
        "logo_url": None,
    }


def test_provision_at_a_partner_that_is_down_stays_connecting_and_is_due_in_a_minute(partner):
    partner.answer = lambda _request: Reply(503)
    row = make_connecting(partner)
    before = timezone.now()

    provisioning.provision_due()
    row.refresh_from_db()

    assert (row.connection, row.connection_problem) == (Connection.CONNECTING, "unreachable")
    assert row.provision_due_at >= before + timedelta(minutes=1)


def test_provision_with_a_used_up_ladder_needs_a_person(partner):
    partner.answer = lambda _request: Reply(503)
    row = make_connecting(partner)

    for _ in range(5):
        Install.objects.filter(pk=row.pk).update(provision_due_at=timezone.now())
        provisioning.provision_due()
    row.refresh_from_db()

    assert (row.connection, row.provision_due_at) == (Connection.FAILED, None)
    assert AuditEntry.objects.filter(action="install.connect_failed").count() == 5


def test_reconnect_after_failure_asks_again(partner):
    row = make_connecting(partner, connection=Connection.FAILED, provision_due_at=None)

    connection.reconnect(owner_of(row.merchant), row.pk)
    provisioning.provision_due()
    row.refresh_from_db()

    assert row.connection == Connection.CONNECTED


def test_provision_of_a_disabled_install_waits(partner):
    row = make_connecting(partner)
    lifecycle.disable(owner_of(row.merchant), row.pk)

    provisioning.provision_due()

    assert partner.requests == []


def test_provision_of_an_install_that_was_removed_meanwhile_is_forgotten(partner):
    row = make_connecting(partner)
    lifecycle.uninstall(owner_of(row.merchant), row.pk)

    connection.provisioned(row.pk, "se-late")

    assert not Install.objects.exists()


def test_provision_a_wish_that_came_in_meanwhile_is_kept(partner):
    row = make_connecting(partner)
    lease = connection.claim_provisioning(row.pk, row.provision_due_at)
    connection.schedule_provisioning(Install.objects.with_names().filter(pk=row.pk))

    connection.provisioned(row.pk, "se-1", lease=lease)
    row.refresh_from_db()

    assert row.connection == Connection.CONNECTED
    assert row.provision_due_at is not None


def test_claim_is_given_once():
    row = make_install(make_merchant(), make_spliteasy())

    first = connection.claim_provisioning(row.pk, row.provision_due_at)
    second = connection.claim_provisioning(row.pk, row.provision_due_at)

    assert first is not None
    assert second is None


@pytest.mark.parametrize("status", [401, 422])
def test_provision_refused_by_the_partner_is_tried_again(partner, status):
    partner.answer = lambda _request: Reply(status)
    row = make_connecting(partner)

    provisioning.provision_due()
    row.refresh_from_db()

    assert row.connection == Connection.CONNECTING
    assert row.provision_due_at is not None


def test_settings_changed_tells_the_partner_the_new_name(partner):
    from webhooks import outbound

    row = make_connecting(partner)
    provisioning.provision_due()

    outbound.accept_event(
        outbound.NewEvent(
            "settings.changed", row.merchant_id, None, None, None, {"after": {"name": "Baru"}}
        )
    )
    provisioning.provision_due()

    assert [request.json()["name"] for request in partner.requests][-1] == "Baru"
    assert Merchant.objects.get(pk=row.merchant_id).name == "Baru"
