import json
from datetime import timedelta
from uuid import uuid4

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from installs import connection, lifecycle
from installs.models import AuditEntry, Install, Role
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
    make_user,
    owner_of,
)
from tests.partners import Reply, running_partner
from webhooks import examples, outbound
from webhooks.models import Delivery, DeliveryStatus, Event

pytestmark = pytest.mark.django_db


@pytest.fixture
def partner(settings):
    with running_partner(settings, lambda _request: Reply(204)) as running:
        yield running


@pytest.fixture
def integration(partner):
    row = make_integration(outbound_events=["order.paid"], outbound_url=f"{partner.url}/events")
    keys_of(row)
    return row


@pytest.fixture
def install(integration):
    return make_install(make_merchant(), integration)


def send(install: Install, event_type: str = "order.paid", token: str | None = None):
    token = token or make_token(install.merchant)
    return Client(raise_request_exception=False).post(
        f"/v1/installs/{install.pk}/send-example",
        {"type": event_type},
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )


def code_of(response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_example_reaches_the_one_install_although_it_does_not_subscribe(install, partner):
    outlet = make_location(install.merchant)
    other = make_install(install.merchant, install.integration, outlet.pk)

    response = send(other, "reservation.created")
    outbound.deliver_due()

    delivery = Delivery.objects.get()
    body = json.loads(partner.requests[0].body)
    assert (response.status_code, response.json()) == (
        202,
        {"delivery_id": str(delivery.pk), "event_id": str(delivery.event_id)},
    )
    assert (delivery.install_id, delivery.status) == (other.pk, DeliveryStatus.DELIVERED)
    assert {name: body[name] for name in ("id", "type", "example", "sequence", "location_id")} == {
        "id": str(delivery.event_id),
        "type": "reservation.created",
        "example": True,
        "sequence": 0,
        "location_id": str(outlet.pk),
    }
    assert body["data"]["reservation"]["party_size"] == 4


def test_example_is_no_event_of_the_merchant(install):
    send(install)
    new = outbound.NewEvent("order.paid", install.merchant_id, None, None, None, {})
    event, _ = outbound.accept_event(new)

    assert event.sequence == 1
    assert Event.objects.get(is_example=True).sequence is None
    token = make_token(install.merchant)
    feed = Client().get("/v1/events", headers={"Authorization": f"Bearer {token}"}).json()
    assert [item["id"] for item in feed["data"]] == [str(event.pk)]


def test_example_is_on_record(install):
    send(install)

    entry = AuditEntry.objects.get(action="example.sent")
    assert (entry.install_id, entry.data) == (install.pk, {"type": "order.paid"})


def test_examples_are_ten_a_minute_for_an_install(install):
    other = make_install(make_merchant(), install.integration)
    start = timezone.now()
    with time_machine.travel(start, tick=False):
        codes = [send(install).status_code for _ in range(10)]

    with time_machine.travel(start + timedelta(seconds=20), tick=False):
        refused = send(install)
        elsewhere = send(other)
    with time_machine.travel(start + timedelta(seconds=65), tick=False):
        later = send(install)

    assert codes == [202] * 10
    assert code_of(refused) == (429, "rate_limited")
    assert 40 <= int(refused["Retry-After"]) <= 41
    assert (elsewhere.status_code, later.status_code) == (202, 202)


@pytest.mark.parametrize("event_type", ["order.lost", "", None, "x" * 101, "order.paid\u0000"])
def test_example_of_an_unknown_type_is_refused(install, event_type):
    assert code_of(send(install, event_type)) == (400, "invalid_payload")
    assert not Event.objects.exists()


def test_example_for_an_install_that_takes_nothing_is_refused(install):
    silent = make_install(install.merchant, make_integration())
    gone = make_install(install.merchant, make_integration(outbound_url="https://p.example/e"))
    connection.turn_outbound_off(gone.pk)
    lifecycle.disable(owner_of(install.merchant), install.pk)

    assert code_of(send(silent)) == (422, "capability_unsupported")
    assert code_of(send(gone)) == (403, "integration_disabled")
    assert code_of(send(install)) == (403, "integration_disabled")
    assert not Delivery.objects.exists()


def test_example_for_another_merchants_install_is_not_found(install):
    token = make_token(make_merchant())
    unknown = Install(pk=uuid4(), merchant=install.merchant)

    responses = [send(row, token=token) for row in (install, unknown)]

    assert [code_of(item) for item in responses] == [(404, "not_found")] * 2
    assert responses[0].content == responses[1].content


def test_example_is_refused_to_a_viewer(install):
    response = send(install, token=make_token(install.merchant, Role.VIEWER))

    assert code_of(response) == (403, "forbidden")


@pytest.fixture
def browser(install):
    client = Client(raise_request_exception=False, headers={"Accept-Language": "en"})
    client.force_login(make_user(install.merchant))
    return client


def address(install: Install) -> str:
    return f"/integrations/{install.integration.slug}/installs/{install.pk}/example"


def test_page_of_the_install_leads_to_the_form(browser, install):
    page = browser.get(f"/integrations/{install.integration.slug}").content.decode()
    form = browser.get(address(install)).content.decode()

    assert f'href="{address(install)}"' in page
    assert form.index('value="order.paid"') < form.index('value="order.opened"')
    assert form.count('value="order.paid"') == 1


def test_form_sends_an_example_and_goes_back_to_the_install(browser, install):
    response = browser.post(address(install), {"type": "order.paid"}, follow=True)

    assert response.redirect_chain == [(f"/integrations/{install.integration.slug}", 302)]
    assert "An example of order.paid is on its way" in response.content.decode()
    assert Delivery.objects.get().event.is_example


def test_form_in_the_drawer_is_answered_by_a_part_of_the_page(browser, install):
    headers = {"HX-Request": "true"}
    form = browser.get(address(install), headers=headers)
    sent = browser.post(address(install), {"type": "order.paid"}, headers=headers)

    assert form.content.lstrip().startswith(b"<article")
    assert sent.content.lstrip().startswith(b"<article")
    assert "posz:toast" in sent["HX-Trigger"]


def test_form_says_why_nothing_was_sent(browser, install):
    for _ in range(examples.PER_MINUTE):
        examples.send(owner_of(install.merchant), install.pk, "order.paid")

    response = browser.post(address(install), {"type": "refund.created"})

    text = response.content.decode()
    assert response.status_code == 429
    assert "Ten examples a minute are the most." in text
    assert '<option value="refund.created" selected>' in text


def test_form_is_for_those_who_may_and_for_installs_that_can(install):
    viewer, other = Client(raise_request_exception=False), Client(raise_request_exception=False)
    viewer.force_login(make_user(install.merchant, Role.VIEWER))
    other.force_login(make_user(make_merchant()))
    page = viewer.get(f"/integrations/{install.integration.slug}").content.decode()

    assert address(install) not in page
    assert [client.get(address(install)).status_code for client in (viewer, other)] == [403, 404]
