"""Events that were set aside: their incident, their mail, and processing them again."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.utils import timezone

from installs import lifecycle
from installs.models import AuditEntry, Install, Role
from tests.factories import (
    make_inbound,
    make_install,
    make_merchant,
    make_spliteasy,
    make_token,
    make_user,
    owner_of,
)
from tests.test_merchant_pages import browser, text
from webhooks import inbound, inbound_attention
from webhooks.models import InboundEvent, InboundIncident

pytestmark = pytest.mark.django_db
LIST = "/v1/inbound-events"


@pytest.fixture
def install() -> Install:
    return make_install(make_merchant(locale="en"), make_spliteasy())


def api(token: str, method: str, path: str, body: Any = None) -> Any:
    client = getattr(Client(), method)
    headers = {"Authorization": f"Bearer {token}"}
    if body is None:
        return client(path, headers=headers)
    return client(path, body, content_type="application/json", headers=headers)


def break_for_good(install: Install, **over: Any) -> InboundEvent:
    """An event that no adapter takes, five times."""
    row = make_inbound(install, capability="receipt_qr_of_old", **over)
    for _attempt in range(5):
        InboundEvent.objects.filter(pk=row.pk).update(due_at=timezone.now())
        inbound.sweep()
    row.refresh_from_db()
    assert row.status == "quarantined"
    return row


def mend(*rows: InboundEvent) -> None:
    ids = [row.pk for row in rows]
    InboundEvent.objects.filter(pk__in=ids).update(capability="payment_webhook_inbound")


# Incidents


def test_poison_event_is_set_aside_and_the_others_go_on(install: Install):
    poison = make_inbound(install, capability="receipt_qr_of_old")
    good = make_inbound(install)

    inbound.sweep()

    poison.refresh_from_db()
    good.refresh_from_db()
    assert (poison.status, poison.attempts, good.status) == ("received", 1, "processed")


def test_events_that_were_set_aside_open_one_incident_and_one_mail(install: Install):
    make_user(install.merchant, email="owner@example.id")
    break_for_good(install)
    break_for_good(install)

    sent = [inbound_attention.mail_about_incidents() for _tick in range(3)]

    assert (sent, InboundIncident.objects.count()) == ([1, 0, 0], 1)
    [letter] = mail.outbox
    assert letter.bcc == ["owner@example.id"]
    assert f"An event of {install.integration.name} was set aside" in letter.subject
    assert "Whose turn it is: Posz" in letter.body
    assert "/deliveries/inbound?integration=spliteasy&status=quarantined" in letter.body
    assert AuditEntry.objects.filter(action="inbound.set_aside").count() == 1


def test_mail_that_can_not_leave_is_tried_again(install: Install, settings: Any):
    make_user(install.merchant)
    break_for_good(install)
    settings.EMAIL_BACKEND = "nowhere.Backend"
    inbound_attention.mail_about_incidents()

    assert InboundIncident.objects.get().mailed_at is None


def test_incident_is_told_with_its_turn_and_goes_by_itself(install: Install):
    first, second = break_for_good(install), break_for_good(install)
    client = browser(install.merchant)
    open_page = text(client.get("/deliveries/inbound"))
    mend(first, second)

    for row in (first, second):
        client.post(f"/deliveries/inbound/{row.pk}/replay")
        inbound.process(row.pk)

    assert "2 events were set aside" in open_page
    assert "Whose turn it is: <strong>Posz</strong>." in open_page
    assert "Needs attention" not in text(client.get("/deliveries/inbound"))
    assert not InboundIncident.objects.exists()


def test_tile_and_page_of_the_integration_say_it_until_it_is_mended(install: Install):
    row = break_for_good(install)
    client = browser(install.merchant)

    tiles = client.get("/integrations").context["listing"].rows
    page = client.get(f"/integrations/{install.integration.slug}")

    assert [tile.state for tile in tiles] == ["attention"]
    assert "1 event was set aside." in text(page)
    assert "/deliveries/inbound?integration=spliteasy&amp;status=quarantined" in page.text
    mend(row)
    inbound.start_anew(InboundEvent.objects.filter(pk=row.pk))
    inbound.sweep()
    tiles = client.get("/integrations").context["listing"].rows
    page = client.get(f"/integrations/{install.integration.slug}")
    assert [tile.state for tile in tiles] == ["connecting"]
    assert "set aside" not in text(page)


def test_incident_stays_while_one_is_left(install: Install):
    first, _second = break_for_good(install), break_for_good(install)
    mend(first)

    browser(install.merchant).post(f"/deliveries/inbound/{first.pk}/replay")
    inbound.process(first.pk)

    assert InboundIncident.objects.exists()


def test_incident_of_an_install_that_is_off_or_gone_is_not_told(install: Install):
    make_user(install.merchant)
    break_for_good(install)
    lifecycle.disable(owner_of(install.merchant), install.pk)

    told = browser(install.merchant).get("/deliveries/inbound").context["items"]

    assert (told, inbound_attention.mail_about_incidents()) == ([], 0)


# Processing again


def test_replay_has_one_effect_and_starts_its_ladder_anew(install: Install):
    row = break_for_good(install)
    token = make_token(install.merchant)

    answer = api(token, "post", f"{LIST}/{row.pk}/replay").json()
    inbound.process(row.pk)
    once_more = InboundEvent.objects.get()
    mend(row)
    inbound.process(row.pk)

    row.refresh_from_db()
    assert (answer["status"], answer["attempts"]) == ("received", 0)
    assert (once_more.status, once_more.attempts) == ("received", 1)
    assert (row.status, row.problem, len(row.effects or [])) == ("processed", "", 1)
    assert AuditEntry.objects.filter(action="bill.settled").count() == 1


@pytest.mark.parametrize("status", ["processed", "received"])
def test_replay_of_any_other_is_refused(install: Install, status: str):
    row = make_inbound(install, status=status)

    answer = api(make_token(install.merchant), "post", f"{LIST}/{row.pk}/replay")

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_replayable")


@pytest.mark.django_db(transaction=True)
def test_replay_by_many_at_once_has_one_effect(install: Install):
    row = break_for_good(install)
    mend(row)
    token = make_token(install.merchant)

    def replay_and_process(_number: int) -> int:
        try:
            status: int = api(token, "post", f"{LIST}/{row.pk}/replay").status_code
            inbound.process(row.pk)
            return status
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(replay_and_process, range(8)))

    assert (answers.count(202), answers.count(409)) == (1, 7)
    assert AuditEntry.objects.filter(action="bill.settled").count() == 1


def test_selection_answers_for_each(install: Install):
    aside, done = break_for_good(install), make_inbound(install, status="processed")
    foreign = make_inbound(make_install(make_merchant(), install.integration), status="quarantined")
    ids = [str(pk) for pk in (aside.pk, done.pk, foreign.pk, uuid4())]

    answer = api(make_token(install.merchant), "post", f"{LIST}/replay", {"ids": ids})

    results = [item["result"] for item in answer.json()["data"]]
    assert results == ["processing", "processed", "not_found", "not_found"]


def test_recover_takes_what_was_set_aside_since(install: Install):
    now = timezone.now()
    old, new = (
        make_inbound(install, status="quarantined", received_at=now - timedelta(hours=hours))
        for hours in (3, 1)
    )
    wish = {"integration": "spliteasy", "since": (now - timedelta(hours=2)).isoformat()}
    token = make_token(install.merchant)

    counted = api(token, "post", f"{LIST}/recover", wish | {"dry_run": True})
    done = api(token, "post", f"{LIST}/recover", wish)

    old.refresh_from_db()
    new.refresh_from_db()
    assert (counted.status_code, counted.json()) == (200, {"count": 1})
    assert (done.status_code, done.json()) == (202, {"count": 1})
    assert (old.status, new.status) == ("quarantined", "received")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/{pk}/replay", None),
        ("/replay", {"ids": ["{pk}"]}),
        ("/recover", {"integration": "spliteasy", "since": "2026-01-01T00:00:00Z"}),
    ],
)
def test_viewers_token_may_not(install: Install, path: str, body: Any):
    row = make_inbound(install, status="quarantined")
    if body and "ids" in body:
        body = {"ids": [str(row.pk)]}

    token = make_token(install.merchant, Role.VIEWER)
    answer = api(token, "post", LIST + path.format(pk=row.pk), body)

    assert answer.status_code == 403


# Looking


def test_list_is_of_the_merchant_and_narrowed(install: Install):
    rows = [make_inbound(install, type=kind) for kind in ("bill.settled", "bill.expired")]
    make_inbound(make_install(make_merchant(), install.integration))
    token = make_token(install.merchant)

    found = [
        [item["id"] for item in api(token, "get", f"{LIST}?{query}").json()["data"]]
        for query in ("", "type=bill.expired", f"event_id={rows[0].provider_event_id}&limit=1")
    ]

    first, second = (str(row.pk) for row in rows)
    assert found == [[second, first], [second], [first]]


def test_detail_shows_what_came_without_secrets(install: Install):
    row = make_inbound(install, data={"api_key": "canary"}, headers=[["X-A-Token", "canary"]])

    answer = api(make_token(install.merchant), "get", f"{LIST}/{row.pk}").json()

    assert "canary" not in str(answer)
    assert answer["headers"] == [{"name": "X-A-Token", "value": "[redacted]"}]
    assert row.provider_event_id in answer["body"]


@pytest.mark.parametrize(("method", "path"), [("get", ""), ("post", "/replay")])
def test_event_of_another_merchant_is_as_none(install: Install, method: str, path: str):
    row, token = make_inbound(install, status="quarantined"), make_token(make_merchant())

    theirs = api(token, method, f"{LIST}/{row.pk}{path}")
    none = api(token, method, f"{LIST}/{uuid4()}{path}")

    assert (theirs.status_code, theirs.content) == (404, none.content)
