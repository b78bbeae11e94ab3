"""Customers who asked to be erased are followed, and shown, until the partner has confirmed it."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from installs import lifecycle
from tests.factories import (
    keys_of,
    make_inbound,
    make_install,
    make_integration,
    make_merchant,
    owner_of,
)
from tests.partners import Reply, as_json, running_partner
from tests.test_exports import accept
from webhooks import inbound, outbound
from webhooks.models import Delivery, Erasure, InboundEvent

pytestmark = pytest.mark.django_db
REQUESTED = "customer.erasure_requested"
DATA = {"customer_id": "cus-1", "erase_before": "2026-11-27T02:10:00Z"}


@pytest.fixture
def partner(settings):
    with running_partner(settings, lambda _request: Reply(204)) as running:
        yield running


@pytest.fixture
def install(partner):
    row = make_integration(
        capabilities={"customer_export": 1},
        outbound_url=partner.url,
        inbound_events={"erasure.confirmed": "customer_export"},
    )
    keys_of(row)
    return make_install(make_merchant(), row)


def request(install):
    accept(install, REQUESTED, DATA)
    outbound.deliver_due()
    return Erasure.objects.get()


def test_erasure_goes_out_with_the_number_alone_and_is_followed(install, partner):
    row = request(install)

    [sent] = json.loads(partner.requests[0].body)["data"]["customers"]
    assert (sent["op"], sent["customer_id"], len(sent)) == ("erase", "cus-1", 3)
    assert (row.customer_id, row.sent_at is None, row.confirmed_at) == ("cus-1", False, None)


def test_answer_that_names_the_customer_confirms(install, partner):
    partner.answer = lambda _request: as_json({"taken": 1, "erased": ["cus-1"]})

    assert request(install).confirmed_at is not None


@pytest.mark.parametrize("answer", [{"taken": 1}, {"erased": ["cus-2"]}, {"erased": 1}, [], "x"])
def test_any_other_answer_does_not(install, partner, answer):
    partner.answer = lambda _request: as_json(answer)

    row = request(install)

    assert (row.sent_at is not None, row.confirmed_at) == (True, None)


def test_failure_leaves_it_unsent(install, partner):
    partner.answer = lambda _request: as_json({"erased": ["cus-1"]}, 500)

    row = request(install)

    assert (row.sent_at, row.confirmed_at) == (None, None)


def confirm(install, **data):
    values = {"customer_id": "cus-1", "erased_at": timezone.now().isoformat()} | data
    event = make_inbound(
        install, type="erasure.confirmed", capability="customer_export", data=values
    )
    inbound.process(event.pk)
    return InboundEvent.objects.get(pk=event.pk)


def test_word_of_the_partner_confirms(install):
    row = request(install)

    assert confirm(install).status == "processed"

    row.refresh_from_db()
    assert row.confirmed_at is not None


def test_word_about_somebody_else_or_an_older_wish_does_not(install):
    row = request(install)

    confirm(install, customer_id="cus-2")
    confirm(install, erased_at="2020-01-01T00:00:00Z")

    row.refresh_from_db()
    assert row.confirmed_at is None


def test_word_that_names_nobody_is_set_aside_and_not_lost(install):
    request(install)

    assert confirm(install, customer_id=7).status == "quarantined"


def test_customer_who_asks_again_is_followed_anew(install, partner):
    partner.answer = lambda _request: as_json({"taken": 1, "erased": ["cus-1"]})
    request(install)
    partner.answer = lambda _request: Reply(204)

    assert request(install).confirmed_at is None


def test_partner_that_is_switched_off_is_told_when_it_is_on_again(install, partner):
    lifecycle.disable(owner_of(install.merchant), install.pk)
    row = request(install)
    assert (row.sent_at, partner.requests) == (None, [])

    lifecycle.enable(owner_of(install.merchant), install.pk)
    outbound.resume_install(install.pk)
    outbound.deliver_due()

    row.refresh_from_db()
    assert row.sent_at is not None


def test_merged_customers_are_erased_too(install):
    customer = {"id": "cus-1", "consents": []}
    accept(
        install,
        "customer.merged",
        {"customer": customer, "merged_customer_ids": ["cus-9", "cus-1"]},
    )

    assert Erasure.objects.get().customer_id == "cus-9"
    assert Delivery.objects.count() == 1


@pytest.fixture
def as_owner(client, install):
    from installs.models import Membership, Role, User

    user = User.objects.create_user(email="o@example.id", password="x")
    Membership.objects.create(user=user, merchant=install.merchant, role=Role.OWNER)
    client.force_login(user)
    return client


def page(client, path="/deliveries/erasures"):
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def test_page_shows_what_is_overdue_and_so_does_the_log(install, as_owner):
    request(install)
    assert "Not confirmed" in page(as_owner)
    assert "within 72 hours</strong>" not in page(as_owner, "/deliveries")

    Erasure.objects.update(requested_at=timezone.now() - timedelta(hours=73))

    assert "Overdue" in page(as_owner)
    assert "1 customer was not confirmed erased within 72 hours" in page(as_owner, "/deliveries")


def test_confirmed_ones_are_shown_on_demand(install, as_owner):
    request(install)
    Erasure.objects.update(confirmed_at=timezone.now())

    assert "cus-1" not in page(as_owner)
    assert "cus-1" in page(as_owner, "/deliveries/erasures?show=all")


def test_another_merchant_sees_nothing(install, as_owner):
    other = make_install(make_merchant(), install.integration)
    accept(other, REQUESTED, {**DATA, "customer_id": "somebody-else"})

    assert "somebody-else" not in page(as_owner, "/deliveries/erasures?show=all")


def test_page_asks_the_same_for_one_and_for_many(install, as_owner, django_assert_num_queries):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    accept(install, REQUESTED, DATA)
    with CaptureQueriesContext(connection) as one:
        page(as_owner)
    for number in range(3):
        accept(install, REQUESTED, {**DATA, "customer_id": f"cus-{number}"})
    with CaptureQueriesContext(connection) as many:
        page(as_owner)

    assert len(many) == len(one)
