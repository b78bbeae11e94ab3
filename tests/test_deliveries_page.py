"""The merchant's delivery log: what is shown to whom, and what can be done with it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from installs import lifecycle
from installs.models import Install, Merchant, Role
from tests.factories import (
    make_delivery,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    owner_of,
)
from tests.test_merchant_pages import HTMX, browser, queries, text
from webhooks.models import Attempt, BreakerState, Delivery, Endpoint, Recovery

pytestmark = pytest.mark.django_db


@pytest.fixture
def merchant() -> Merchant:
    return make_merchant(timezone="Asia/Jakarta")


@pytest.fixture
def install(merchant: Merchant) -> Install:
    partner = make_integration(
        outbound_events=["order.paid", "refund.created"], outbound_url="https://p.example/e"
    )
    return make_install(merchant, partner)


def listed(client: Client, **filters: Any) -> list[Delivery]:
    return [line.delivery for line in client.get("/deliveries", filters).context["page"].lines]


def make_attempt(row: Delivery, **over: Any) -> Attempt:
    defaults: dict[str, Any] = {"number": 1, "started_at": timezone.now(), "elapsed_ms": 210}
    return Attempt.objects.create(delivery=row, **(defaults | over))


# Who sees what


def test_log_signed_out_leads_to_sign_in():
    assert Client().get("/deliveries").headers["Location"].startswith("/accounts/login/")


def test_log_shows_the_newest_first_and_nothing_of_others(merchant: Merchant, install: Install):
    first, second = make_delivery(install), make_delivery(install)
    make_delivery(make_install(make_merchant(), install.integration))

    assert listed(browser(merchant)) == [second, first]


@pytest.mark.parametrize("method", ["get", "post"])
def test_delivery_of_another_merchant_is_the_same_as_none(install: Install, method: str):
    client = browser(make_merchant())
    row, path = make_delivery(install), "/replay" if method == "post" else ""

    theirs = getattr(client, method)(f"/deliveries/{row.pk}{path}")
    none = getattr(client, method)(f"/deliveries/{uuid4()}{path}")

    assert (theirs.status_code, none.status_code) == (404, 404)
    assert re.sub(rb'"\w{64}"', b"", theirs.content).replace(str(row.pk).encode(), b"") == re.sub(
        rb"[0-9a-f-]{36}", b"", re.sub(rb'"\w{64}"', b"", none.content)
    )


def test_manager_of_one_outlet_sees_its_deliveries_and_those_of_none(merchant: Merchant):
    ubud, kuta = make_location(merchant), make_location(merchant)
    install = make_install(merchant, make_integration())
    at_ubud, at_kuta, nowhere = (
        make_delivery(install, location_id=place.pk if place else None)
        for place in (ubud, kuta, None)
    )
    client = browser(merchant, Role.MANAGER, ubud)

    assert listed(client) == [nowhere, at_ubud]
    assert client.get(f"/deliveries/{at_kuta.pk}").status_code == 404
    assert client.post(f"/deliveries/{at_kuta.pk}/replay").status_code == 404


# Filters and pages


def test_filters_narrow_the_list(merchant: Merchant, install: Install):
    ubud = make_location(merchant)
    other = make_install(merchant, make_integration(outbound_events=["order.paid"]))
    plain = make_delivery(install, status="delivered", reason="")
    trying = make_delivery(install, status="pending", reason="deadline", type="refund.created")
    at_ubud = make_delivery(other, location_id=ubud.pk)
    client = browser(merchant)

    found = {
        "integration": listed(client, integration=other.integration.slug),
        "location": listed(client, location=ubud.pk),
        "status": listed(client, status="delivered"),
        "trouble": listed(client, status="trouble"),
        "type": listed(client, type="refund.created"),
        "unknown": listed(client, status="odd", type="x", integration="y", location="z"),
    }

    assert found == {
        "integration": [at_ubud],
        "location": [at_ubud],
        "status": [plain],
        "trouble": [at_ubud, trying],
        "type": [trying],
        "unknown": [at_ubud, trying, plain],
    }


def test_days_are_those_of_the_outlet_or_the_merchant(merchant: Merchant, install: Install):
    ubud = make_location(merchant, timezone="Asia/Makassar")
    # 16:30 UTC is still the 10th in Jakarta and already the 11th in Ubud.
    late = make_delivery(
        install, location_id=ubud.pk, created_at=datetime(2026, 11, 10, 16, 30, tzinfo=UTC)
    )
    client = browser(merchant)

    assert listed(client, since="2026-11-10", until="2026-11-10") == [late]
    assert listed(client, since="2026-11-11") == []
    assert listed(client, since="2026-11-11", location=ubud.pk) == [late]
    assert listed(client, until="2026-11-10", location=ubud.pk) == []


@pytest.mark.parametrize("day", ["soon", "2026-02-30", "0001-01-01", "9999-12-31"])
def test_day_that_is_none_is_said_so(merchant: Merchant, day: str):
    response = browser(merchant).get("/deliveries", {"since": day})

    assert "That is not a day" in text(response)


def test_pages_show_every_delivery_once(merchant: Merchant, install: Install):
    at = timezone.now()
    rows = {make_delivery(install, created_at=at).pk for _number in range(53)}
    client, seen, before = browser(merchant), [], ""
    while True:
        page = client.get("/deliveries", {"before": before}).context["page"]
        seen += [line.delivery.pk for line in page.lines]
        if not (before := page.older):
            break

    assert (len(seen), set(seen)) == (53, rows)


@pytest.mark.parametrize("before", ["x", "_", "20261124T000000.000000_x", "9" * 400])
def test_page_that_is_none_begins_with_the_newest(
    merchant: Merchant, install: Install, before: str
):
    row = make_delivery(install)

    assert listed(browser(merchant), before=before) == [row]


def test_log_asks_as_often_for_three_as_for_one(merchant: Merchant, install: Install):
    client = browser(merchant)
    make_attempt(make_delivery(install))
    client.get("/deliveries")
    once = queries(client, "/deliveries")
    for _number in range(2):
        other = make_install(merchant, make_integration(), make_location(merchant).pk)
        make_attempt(make_delivery(other))

    assert queries(client, "/deliveries") == once


def test_detail_asks_as_often_for_three_attempts_as_for_one(merchant: Merchant, install: Install):
    client, row = browser(merchant), make_delivery(install)
    make_attempt(row)
    client.get(f"/deliveries/{row.pk}")
    once = queries(client, f"/deliveries/{row.pk}")
    for number in (2, 3):
        make_attempt(row, number=number)

    assert queries(client, f"/deliveries/{row.pk}") == once


# In words


def test_next_try_is_told_in_the_outlets_own_time(merchant: Merchant, install: Install):
    ubud = make_location(merchant, timezone="Asia/Makassar")
    due = timezone.now() + timedelta(minutes=4, seconds=20)
    make_delivery(
        install, location_id=ubud.pk, status="pending", reason="deadline", next_attempt_at=due
    )

    html = text(browser(merchant).get("/deliveries"))

    assert "The partner took longer than 15 seconds." in html
    assert "Next try in 4 minutes, at " in html
    assert "WITA." in html


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"next_attempt_at": None}, "Waits until the integration is enabled again"),
        ({"next_attempt_at": timezone.now() - timedelta(hours=1)}, "Next in line"),
        (
            {
                "next_attempt_at": timezone.now() - timedelta(hours=1),
                "lease_until": timezone.now() + timedelta(hours=1),
            },
            "Being sent now",
        ),
    ],
)
def test_what_waits_says_for_what(merchant: Merchant, install: Install, over: Any, words: str):
    make_delivery(install, status="pending", reason="", **over)

    assert words in text(browser(merchant).get("/deliveries"))


def test_open_breaker_is_told(merchant: Merchant, install: Install):
    Endpoint.objects.create(integration=install.integration, state=BreakerState.OPEN)
    make_delivery(install, status="pending")

    assert "Waits until the partner is well again" in text(browser(merchant).get("/deliveries"))


@pytest.mark.parametrize(
    "code",
    [
        *("http_302", "http_400", "http_401", "http_404", "http_410", "http_429", "http_503"),
        *("deadline", "unreachable", "address_refused", "endpoint_gone", "unknown", "door"),
    ],
)
def test_problem_is_told_in_words_with_what_to_do(merchant: Merchant, install: Install, code: str):
    make_delivery(install, reason=code)

    [line] = browser(merchant).get("/deliveries").context["page"].lines

    assert line.problem.what.startswith(("The partner", "Posz"))
    assert line.problem.next_step
    assert "tries again by itself" not in line.problem.next_step


def test_detail_shows_attempts_without_secrets_and_without_markup(
    merchant: Merchant, install: Install
):
    row = make_delivery(install, body=b'{"id":"e","data":{"n":1}}')
    excerpt = '<b>no</b> {"token": "canary-token"} Bearer canary-bearer'
    make_attempt(row, problem="http_500", response_status=500, response_excerpt=excerpt)

    response = browser(merchant).get(f"/deliveries/{row.pk}")

    html = response.content.decode()
    assert "canary" not in html
    assert "&lt;b&gt;no&lt;/b&gt;" in html
    assert "&quot;data&quot;: {\n    &quot;n&quot;: 1" in html
    assert "webhook-signature" in html
    assert "210 ms" in html


# Sending again


def test_replay_makes_it_due_and_stays_on_its_page(merchant: Merchant, install: Install):
    row = make_delivery(install)

    response = browser(merchant).post(f"/deliveries/{row.pk}/replay")

    row.refresh_from_db()
    assert (row.status, response.headers["Location"]) == ("pending", f"/deliveries/{row.pk}")


def test_replay_in_the_drawer_answers_with_its_part(merchant: Merchant, install: Install):
    row = make_delivery(install)

    response = browser(merchant).post(f"/deliveries/{row.pk}/replay", headers=HTMX)

    assert "posz:changed" in response.headers["HX-Trigger"]
    assert b"<html" not in response.content


def test_viewer_sees_no_way_to_send_again_and_has_none(merchant: Merchant, install: Install):
    row, client = make_delivery(install), browser(merchant, Role.VIEWER)

    html = text(client.get("/deliveries")) + text(client.get(f"/deliveries/{row.pk}"))
    answers = [
        client.post(f"/deliveries/{row.pk}/replay"),
        client.post("/deliveries/replay", {"delivery": row.pk}),
    ]

    row.refresh_from_db()
    assert row.status == "dead"
    assert ("Send again" in html, "ticked" in html) == (False, False)
    assert [answer.status_code for answer in answers] == [403, 403]


def test_replay_of_what_is_switched_off_is_refused_in_words(merchant: Merchant, install: Install):
    row = make_delivery(install)
    lifecycle.disable(owner_of(merchant), install.pk)

    response = browser(merchant).post(f"/deliveries/{row.pk}/replay")

    assert response.status_code == 403
    assert "installed but switched off" in text(response)


def test_replay_of_what_is_uninstalled_is_refused_in_words(merchant: Merchant, install: Install):
    row = make_delivery(install)
    lifecycle.uninstall(owner_of(merchant), install.pk)

    response = browser(merchant).post(f"/deliveries/{row.pk}/replay")

    assert response.status_code == 404
    assert "has not installed the integration" in text(response)


def test_replay_of_a_selection_says_what_became_of_each(merchant: Merchant, install: Install):
    dead, trying = make_delivery(install), make_delivery(install, status="pending")
    foreign = make_delivery(make_install(make_merchant(), install.integration))
    chosen = [dead.pk, trying.pk, foreign.pk, "no-uuid"]

    response = browser(merchant).post("/deliveries/replay", {"delivery": chosen}, follow=True)

    assert [str(item) for item in response.context["messages"]] == [
        "1 event is sent again.",
        "1 was left out: It is still on its way, so there is nothing to send again.",
    ]
    assert Delivery.objects.get(pk=foreign.pk).status == "dead"


def test_replay_of_nothing_says_so_and_keeps_the_filters(merchant: Merchant, install: Install):
    slug = install.integration.slug
    client = browser(merchant)

    response = client.post(f"/deliveries/replay?integration={slug}&next=//evil.example")

    assert response.headers["Location"] == f"/deliveries?integration={slug}"


def test_recover_counts_first_and_sends_when_told_to(merchant: Merchant, install: Install):
    hour_ago = timezone.now() - timedelta(hours=1)
    for status in ("dead", "dead", "delivered"):
        make_delivery(install, status=status, created_at=hour_ago)
    client = browser(merchant)
    since = (timezone.now() - timedelta(hours=2)).isoformat()
    asked = {"integration": install.integration.slug, "since": since, "what": "dead"}

    response = client.get("/deliveries/recover", asked)

    assert (response.context["count"], Recovery.objects.count()) == (2, 0)
    client.post(f"/deliveries/recover?{response.context['wish'].query}")
    assert Recovery.objects.get().total == 2


@pytest.mark.parametrize(
    "over",
    [
        {"since": ""},
        {"since": "soon"},
        {"since": "2999-01-01T00:00"},
        {"since": "0001-01-01T00:00"},
        {"what": "odd"},
        {"integration": "odd"},
    ],
)
def test_recover_of_nonsense_is_refused_in_words(merchant: Merchant, install: Install, over: Any):
    asked = {"integration": install.integration.slug, "since": "2026-11-01T00:00", "what": "dead"}

    response = browser(merchant).get("/deliveries/recover", asked | over)

    assert response.status_code == 400
    assert 'role="alert"' in text(response)


def test_recover_is_not_for_viewers(merchant: Merchant, install: Install):
    asked = f"integration={install.integration.slug}&since=2026-11-01T00:00&what=dead"

    response = browser(merchant, Role.VIEWER).post(f"/deliveries/recover?{asked}")

    assert (response.status_code, Recovery.objects.count()) == (403, 0)


# Keeping itself fresh


def test_part_that_has_not_changed_is_not_sent_again(merchant: Merchant, install: Install):
    row, client = make_delivery(install), browser(merchant)
    seen = client.get("/deliveries").context["digest"]

    same = client.get("/deliveries", {"seen": seen}, headers=HTMX)
    Delivery.objects.filter(pk=row.pk).update(status="delivered", reason="")
    changed = client.get("/deliveries", {"seen": seen}, headers=HTMX)

    assert (same.status_code, changed.status_code) == (204, 200)
    assert "List changed: 0 on their way, 0 failed." in text(changed)
    assert b"<html" not in changed.content


def test_paused_log_does_not_ask_again(merchant: Merchant, install: Install):
    make_delivery(install)

    html = text(browser(merchant).get("/deliveries", {"live": "off"}))

    assert "every 5s" not in html
    assert "Go on" in html
