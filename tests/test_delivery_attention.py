from datetime import timedelta

import pytest
from django.utils import timezone

from catalog.envelope import ApiError
from installs import connection, lifecycle
from installs.access import Actor
from installs.models import AuditEntry, Install, Role
from tests.factories import (
    make_delivery,
    make_health,
    make_install,
    make_integration,
    make_merchant,
    make_user,
    owner_of,
)
from tests.test_merchant_pages import browser, queries, text
from webhooks import attention
from webhooks.models import Attention, DeliveryHealth, Turn
from webhooks.tasks import mail_attention

pytestmark = pytest.mark.django_db


@pytest.fixture
def install():
    partner = make_integration(
        name_en="Review Corner", outbound_events=["order.paid"], outbound_url="https://p.example/e"
    )
    return make_install(make_merchant(locale="en"), partner)


def closed(install: Install) -> DeliveryHealth:
    connection.turn_outbound_off(install.pk)
    return make_health(install, attention=Attention.GONE, problem="http_410")


# Whose turn it is


@pytest.mark.parametrize(
    ("incident", "problem", "turn"),
    [
        (Attention.GONE, "http_410", Turn.YOU),
        (Attention.FAILING, "http_500", Turn.PARTNER),
        (Attention.FAILING, "address_refused", Turn.POSZ),
    ],
)
def test_turn_follows_from_what_is_wrong(install, incident, problem, turn):
    assert make_health(install, attention=incident, problem=problem).turn == turn


def test_failing_partner_stands_on_top_of_the_log_with_one_way_on(install):
    make_health(install)

    html = text(browser(install.merchant).get("/deliveries"))

    assert "Review Corner: The partner does not take events" in html
    assert f"?integration={install.integration.slug}&amp;status=trouble" in html


def test_what_is_well_or_switched_off_needs_no_attention(install):
    make_health(install, attention="", attention_at=None)
    other = make_install(install.merchant, make_integration())
    make_health(other)
    lifecycle.disable(owner_of(install.merchant), other.pk)

    response = browser(install.merchant).get("/deliveries")

    assert response.context["items"] == []


def test_incident_of_another_merchant_is_not_shown(install):
    make_health(install)

    assert browser(make_merchant()).get("/deliveries").context["items"] == []


def test_tile_and_page_of_the_integration_say_it(install):
    make_health(install, last_success_at=timezone.now())
    client = browser(install.merchant)

    tiles = client.get("/integrations").context["listing"].rows
    html = text(client.get(f"/integrations/{install.integration.slug}"))

    assert [row.state for row in tiles] == ["attention"]
    assert "Whose turn it is: The partner" in html
    assert "Last event delivered:" in html


def test_catalog_asks_as_often_for_three_incidents_as_for_one(install):
    make_health(install)
    client = browser(install.merchant)
    client.get("/integrations")
    once = queries(client, "/integrations"), queries(client, "/deliveries")
    for _number in range(2):
        make_health(make_install(install.merchant, make_integration()))

    assert (queries(client, "/integrations"), queries(client, "/deliveries")) == once


# Taking events again


def test_take_events_again_opens_the_endpoint_and_closes_the_incident(install):
    closed(install)

    browser(install.merchant).post(f"/deliveries/endpoints/{install.pk}/open")

    install.refresh_from_db()
    assert install.outbound_off_at is None
    assert DeliveryHealth.objects.get().attention == ""
    assert AuditEntry.objects.filter(action="install.endpoint_opened").count() == 1


def test_what_can_not_arrive_is_not_offered_to_be_sent(install):
    make_delivery(install, reason="endpoint_gone")
    closed(install)
    client = browser(install.merchant)

    before = client.get("/deliveries").context["page"].lines[0].can_replay
    attention.take_events_again(owner_of(install.merchant), install.pk)
    after = client.get("/deliveries").context["page"].lines[0].can_replay

    assert (before, after) == (False, True)


def test_take_events_again_twice_is_on_record_once(install):
    closed(install)
    actor = owner_of(install.merchant)

    for _number in range(2):
        attention.take_events_again(actor, install.pk)

    assert AuditEntry.objects.filter(action="install.endpoint_opened").count() == 1


def test_viewer_may_not_take_events_again(install):
    closed(install)
    url = f"/deliveries/endpoints/{install.pk}/open"

    assert browser(install.merchant, Role.VIEWER).post(url).status_code == 403
    assert DeliveryHealth.objects.get().attention == Attention.GONE


def test_take_events_again_for_another_merchant_is_not_found(install):
    closed(install)
    stranger = make_merchant()

    answer = browser(stranger).post(f"/deliveries/endpoints/{install.pk}/open")

    assert answer.status_code == 404
    with pytest.raises(ApiError, match="not_found"):
        connection.turn_outbound_on(Actor(stranger.pk, "x", Role.OWNER), install.pk)


# The mail


def test_owners_are_mailed_once_for_an_incident(install, mailoutbox):
    owners = {make_user(install.merchant).email, make_user(install.merchant).email}
    make_user(install.merchant, Role.MANAGER)
    make_health(install)

    for _number in range(2):
        mail_attention()

    [mail] = mailoutbox
    assert set(mail.bcc) == owners
    assert mail.subject == "Review Corner does not take events"
    assert "Whose turn it is: The partner" in mail.body


def test_next_incident_is_mailed_again(install, mailoutbox):
    make_user(install.merchant)
    row = make_health(install)
    mail_attention()
    later = timezone.now() + timedelta(minutes=1)
    DeliveryHealth.objects.filter(pk=row.pk).update(attention_at=later)

    mail_attention()

    assert len(mailoutbox) == 2


def test_incident_that_is_over_is_not_mailed(install, mailoutbox):
    make_user(install.merchant)
    make_health(install, attention="")

    mail_attention()

    assert mailoutbox == []


def test_mail_that_can_not_leave_is_tried_again(install, settings, mailoutbox):
    make_user(install.merchant)
    make_health(install)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    mail_attention()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"

    mail_attention()

    assert len(mailoutbox) == 1


def test_mail_speaks_the_language_of_the_merchant(install, mailoutbox):
    make_user(install.merchant)
    install.merchant.locale = "id"
    install.merchant.save()
    make_health(install, attention=Attention.GONE, problem="http_410")

    mail_attention()

    assert "Giliran Anda" in mailoutbox[0].body


def test_delivery_of_an_uninstalled_partner_stays_in_the_log(install):
    row = make_delivery(install)
    lifecycle.uninstall(owner_of(install.merchant), install.pk)

    response = browser(install.merchant).get("/deliveries")

    [line] = response.context["page"].lines
    assert (line.delivery, line.can_replay) == (row, False)
