"""The merchant's log of received events: what is shown to whom, and what can be done with it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from installs.models import AuditEntry, Install, Merchant, Role
from tests.factories import (
    make_inbound,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_spliteasy,
)
from tests.test_merchant_pages import HTMX, browser, queries, text
from webhooks import inbound
from webhooks.models import InboundEvent, InboundIncident, InboundRefusal

pytestmark = pytest.mark.django_db
LOG = "/deliveries/inbound"


@pytest.fixture
def merchant() -> Merchant:
    return make_merchant(timezone="Asia/Jakarta")


@pytest.fixture
def install(merchant: Merchant) -> Install:
    return make_install(merchant, make_spliteasy())


def listed(client: Client, **filters: Any) -> list[InboundEvent]:
    return [line.event for line in client.get(LOG, filters).context["page"].lines]


def make_aside(install: Install, **over: Any) -> InboundEvent:
    defaults = {"status": "quarantined", "attempts": 5, "problem": "TypeError"}
    return make_inbound(install, **(defaults | over))


# Who sees what


def test_log_signed_out_leads_to_sign_in():
    assert Client().get(LOG).headers["Location"].startswith("/accounts/login/")


def test_log_shows_the_newest_first_and_nothing_of_others(merchant: Merchant, install: Install):
    first, second = make_inbound(install), make_inbound(install)
    make_inbound(make_install(make_merchant(), install.integration))

    assert listed(browser(merchant)) == [second, first]


@pytest.mark.parametrize("method", ["get", "post"])
def test_event_of_another_merchant_is_the_same_as_none(install: Install, method: str):
    client = browser(make_merchant())
    row, path = make_aside(install), "/replay" if method == "post" else ""

    theirs = getattr(client, method)(f"{LOG}/{row.pk}{path}")
    none = getattr(client, method)(f"{LOG}/{uuid4()}{path}")

    assert (theirs.status_code, none.status_code) == (404, 404)
    assert re.sub(rb'"\w{64}"', b"", theirs.content).replace(str(row.pk).encode(), b"") == re.sub(
        rb"[0-9a-f-]{36}", b"", re.sub(rb'"\w{64}"', b"", none.content)
    )


def test_manager_of_one_outlet_sees_its_events_and_those_of_none(merchant: Merchant):
    ubud, kuta = make_location(merchant), make_location(merchant)
    everywhere = make_install(merchant, make_spliteasy())
    at_kuta = make_install(merchant, make_integration(), kuta.pk)
    at_ubud = make_install(merchant, at_kuta.integration, ubud.pk)
    client = browser(merchant, Role.MANAGER, ubud)
    hidden = [
        make_inbound(everywhere, status="processed", location=kuta),
        make_inbound(everywhere),
        make_inbound(at_kuta),
        make_inbound(at_kuta, status="processed"),
    ]
    seen = [
        make_inbound(everywhere, status="processed", location=ubud),
        make_inbound(everywhere, status="processed"),
        make_inbound(at_ubud),
    ]

    assert listed(client) == seen[::-1]
    assert {client.get(f"{LOG}/{row.pk}").status_code for row in hidden} == {404}
    assert {client.post(f"{LOG}/{row.pk}/replay").status_code for row in hidden} == {404}


def test_tabs_lead_from_one_log_to_the_other(merchant: Merchant):
    client = browser(merchant)

    pages = [text(client.get(path)) for path in ("/deliveries", LOG)]

    assert f'<a href="{LOG}">Received from partners</a>' in pages[0]
    assert f'<a href="{LOG}" aria-current="page">Received from partners</a>' in pages[1]


# Filters and pages


def test_filters_narrow_the_list(merchant: Merchant, install: Install):
    ubud = make_location(merchant)
    other = make_install(merchant, make_integration(inbound_events={"a.b": "receipt_qr"}))
    plain = make_inbound(install, status="processed")
    trying = make_inbound(install, attempts=1, problem="TypeError", type="bill.expired")
    aside = make_aside(other, location=ubud)
    differs = make_inbound(install, status="processed", mismatched_at=timezone.now())
    client = browser(merchant)

    found = {
        "integration": listed(client, integration=other.integration.slug),
        "location": listed(client, location=ubud.pk),
        "status": listed(client, status="quarantined"),
        "trouble": listed(client, status="trouble"),
        "differs": listed(client, status="differs"),
        "type": listed(client, type="bill.expired"),
        "unknown": listed(client, status="odd", type="x", integration="y", location="z"),
    }

    assert found == {
        "integration": [aside],
        "location": [aside],
        "status": [aside],
        "trouble": [aside, trying],
        "differs": [differs],
        "type": [trying],
        "unknown": [differs, aside, trying, plain],
    }


def test_days_are_those_of_the_outlet_or_the_merchant(merchant: Merchant, install: Install):
    ubud = make_location(merchant, timezone="Asia/Makassar")
    # 16:30 UTC is still the 10th in Jakarta and already the 11th in Ubud.
    late = make_inbound(
        install, location=ubud, received_at=datetime(2026, 11, 10, 16, 30, tzinfo=UTC)
    )
    client = browser(merchant)

    assert listed(client, since="2026-11-10", until="2026-11-10") == [late]
    assert listed(client, since="2026-11-11") == []
    assert listed(client, since="2026-11-11", location=ubud.pk) == [late]
    assert "That is not a day" in text(client.get(LOG, {"since": "soon"}))


def test_pages_show_every_event_once(merchant: Merchant, install: Install):
    at = timezone.now()
    rows = {make_inbound(install, received_at=at).pk for _number in range(53)}
    client, seen, before = browser(merchant), [], ""
    while True:
        page = client.get(LOG, {"before": before}).context["page"]
        seen += [line.event.pk for line in page.lines]
        if not (before := page.older):
            break

    assert (len(seen), set(seen)) == (53, rows)


@pytest.mark.parametrize("before", ["x", "_", "20261124T000000.000000_x", "9" * 400])
def test_page_that_is_none_begins_with_the_newest(install: Install, before: str):
    row = make_inbound(install)

    assert listed(browser(install.merchant), before=before) == [row]


def test_log_asks_as_often_for_three_as_for_one(merchant: Merchant, install: Install):
    client = browser(merchant)
    make_aside(install)
    InboundIncident.objects.create(
        install_id=install.pk, merchant=merchant, integration=install.integration, problem="x"
    )
    client.get(LOG)
    once = queries(client, LOG)
    for _number in range(2):
        other = make_install(merchant, make_integration(), make_location(merchant).pk)
        make_aside(other)
        InboundIncident.objects.create(
            install_id=other.pk, merchant=merchant, integration=other.integration, problem="x"
        )

    assert queries(client, LOG) == once


# In words


def test_event_that_waits_says_when_in_the_outlets_own_time(merchant: Merchant, install: Install):
    ubud = make_location(merchant, timezone="Asia/Makassar")
    due = timezone.now() + timedelta(minutes=4, seconds=20)
    make_inbound(install, location=ubud, attempts=2, problem="KeyError", due_at=due)

    html = text(browser(merchant).get(LOG))

    assert "Posz could not work on the event (KeyError)." in html
    assert "Next try in 4 minutes, at " in html
    assert "WITA." in html
    assert "2 failed attempts" in html


def test_event_page_tells_what_is_wrong_and_whose_turn_it_is(merchant: Merchant, install: Install):
    aside = make_aside(install)
    odd = make_inbound(
        install, status="processed", mismatched_at=timezone.now(), is_late=True, effects=[]
    )
    client = browser(merchant)

    first, second = (text(client.get(f"{LOG}/{row.pk}")) for row in (aside, odd))

    assert "Whose turn it is: <strong>Posz</strong>." in first
    assert "5 failed attempts" in first
    assert "came again with another body" in second
    assert "something newer about the same had been processed before" in second
    assert "Posz has no use for events of this type." in second


def test_event_page_shows_body_and_headers_without_secrets_and_without_markup(install: Install):
    row = make_inbound(
        install,
        data={"note": "<b>no</b>", "api_key": "canary-key"},
        headers=[["X-Partner-Signature", "canary-signature"], ["X-Event", "settled"]],
    )

    html = browser(install.merchant).get(f"{LOG}/{row.pk}").content.decode()

    assert "canary" not in html
    assert "&lt;b&gt;no&lt;/b&gt;" in html
    assert "<code>settled</code>" in html
    assert "&quot;data&quot;: {\n    &quot;note&quot;" in html


def test_event_page_shows_its_effects(install: Install):
    row = make_inbound(install, data={"bill_token": "tok", "amount": 115500})
    inbound.process(row.pk)

    html = text(browser(install.merchant).get(f"{LOG}/{row.pk}"))

    assert f"A bill was settled with {install.integration.name}" in html
    assert "Rp115.500" in html


def test_body_that_was_erased_is_told(install: Install):
    row = make_inbound(install, status="processed", body=b"", erased_at=timezone.now())

    html = text(browser(install.merchant).get(f"{LOG}/{row.pk}"))

    assert "Body and headers were erased" in html


def test_body_that_is_no_text_is_shown_all_the_same(install: Install):
    row = make_inbound(install, body=b"\xff\xfe<x>")

    assert browser(install.merchant).get(f"{LOG}/{row.pk}").status_code == 200


def test_refusals_of_the_merchant_are_told_and_no_others(merchant: Merchant, install: Install):
    now = timezone.now()
    for slug, owner, age in (
        ("spliteasy", merchant.pk, 0),
        ("spliteasy", merchant.pk, 1),
        ("spliteasy", merchant.pk, 24 * 8),
        ("spliteasy", make_merchant().pk, 0),
    ):
        at = now - timedelta(hours=age)
        InboundRefusal.objects.create(
            slug=slug,
            merchant_id=owner,
            reason="integration_disabled",
            hour=at,
            first_at=at,
            last_at=at,
            count=2,
        )

    [item] = browser(merchant).get(LOG).context["refusals"]

    assert (item.count, item.what) == (4, "The integration is switched off.")
    assert item.next_step.startswith("Enable it")


# Live


def test_part_that_is_unchanged_is_not_sent_again(install: Install):
    make_inbound(install)
    client = browser(install.merchant)
    digest = client.get(LOG).context["digest"]

    same = client.get(LOG, {"seen": digest}, headers=HTMX)
    InboundEvent.objects.update(status="processed")
    changed = client.get(LOG, {"seen": digest}, headers=HTMX)

    assert (same.status_code, changed.status_code) == (204, 200)
    assert "List changed: 0 waiting, 0 set aside." in text(changed)
    assert b"<html" not in changed.content


# Processing again


def test_replay_starts_anew_and_stays_on_its_page(install: Install):
    row = make_aside(install)

    response = browser(install.merchant).post(f"{LOG}/{row.pk}/replay")

    row.refresh_from_db()
    assert (row.status, row.attempts, row.problem) == ("received", 0, "")
    assert response.headers["Location"] == f"{LOG}/{row.pk}"
    entry = AuditEntry.objects.get(action="inbound.replayed")
    assert (entry.merchant_id, entry.data) == (install.merchant_id, {"events": 1})


def test_replay_in_the_drawer_answers_with_its_part(install: Install):
    row = make_aside(install)

    response = browser(install.merchant).post(f"{LOG}/{row.pk}/replay", headers=HTMX)

    assert "posz:changed" in response.headers["HX-Trigger"]
    assert b"<html" not in response.content


def test_replay_of_what_was_processed_is_refused_with_the_reason(install: Install):
    row = make_inbound(install, status="processed")

    response = browser(install.merchant).post(f"{LOG}/{row.pk}/replay")

    row.refresh_from_db()
    assert (response.status_code, row.status) == (409, "processed")
    assert "an event has its effect only once" in text(response)


def test_viewer_sees_no_way_to_process_again_and_has_none(merchant: Merchant, install: Install):
    row, client = make_aside(install), browser(merchant, Role.VIEWER)

    html = text(client.get(LOG)) + text(client.get(f"{LOG}/{row.pk}"))
    answers = [
        client.post(f"{LOG}/{row.pk}/replay"),
        client.post(f"{LOG}/replay", {"event": row.pk}),
        client.post(f"{LOG}/recover", {"integration": "spliteasy", "since": "2026-01-01T00:00"}),
    ]

    row.refresh_from_db()
    assert row.status == "quarantined"
    assert "rocess again" not in html
    assert [answer.status_code for answer in answers] == [403, 403, 403]


def test_ticked_ones_are_processed_again_and_foreign_ones_are_not(
    merchant: Merchant, install: Install
):
    mine = make_aside(install)
    theirs = make_aside(make_install(make_merchant(), install.integration))

    response = browser(merchant).post(
        f"{LOG}/replay", {"event": [str(mine.pk), str(theirs.pk), "x"]}, follow=True
    )

    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert (mine.status, theirs.status) == ("received", "quarantined")
    assert "1 event is processed again." in text(response)


def test_everything_set_aside_since_a_moment_is_processed_again(
    merchant: Merchant, install: Install
):
    # 18:00 in Jakarta.
    before, after = (
        make_aside(install, received_at=datetime(2026, 11, 10, hour, 30, tzinfo=UTC))
        for hour in (10, 11)
    )

    response = browser(merchant).post(
        f"{LOG}/recover", {"integration": "spliteasy", "since": "2026-11-10T18:00"}, follow=True
    )

    before.refresh_from_db()
    after.refresh_from_db()
    assert (before.status, after.status) == ("quarantined", "received")
    assert "1 event is processed again." in text(response)


@pytest.mark.parametrize("since", ["soon", "0001-01-01T00:00", "9999-12-31T23:59"])
def test_moment_that_is_none_is_said_so(merchant: Merchant, install: Install, since: str):
    response = browser(merchant).post(
        f"{LOG}/recover", {"integration": "spliteasy", "since": since}, follow=True
    )

    assert "That is not a date and a time." in text(response)
