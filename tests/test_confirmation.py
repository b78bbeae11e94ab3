"""Webhooks that prove too little: kept as hints, asked about, and only then events."""

import base64
import hashlib
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from catalog.inbound_confirmation import read_confirmation
from catalog.inbound_presets import PRESETS
from catalog.models import AuthShape, Integration
from installs import lifecycle, outlets
from installs.inbound_addresses import make_address
from installs.models import (
    AuditEntry,
    InboundAddress,
    Install,
    IntegrationSecret,
    Purpose,
    Role,
    SecretState,
    UnknownOutlet,
    User,
)
from tests.factories import (
    KEY_SCHEMA,
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_user,
    owner_of,
)
from tests.partners import Partner, Reply, Request, as_json, running_partner
from webhooks import confirming, hints, inbound
from webhooks.models import Hint, HintStatus, InboundEvent, InboundStatus

pytestmark = pytest.mark.django_db
URL = "/v1/integrations/kredivo/webhook"
CAPABILITY = "payment_webhook_inbound"
TRUTH = {
    "status": "OK",
    "transaction_id": "t-1",
    "transaction_status": "settlement",
    "transaction_time": 1790000000,
    "amount": "1500100.00",
}
HINT = {
    "transaction_id": "t-1",
    "transaction_status": "settlement",
    "transaction_time": 1790000000,
    "signature_key": "s/1?&",
    "sub_merchant_id": "K1",
    "amount": "1.00",
}


@pytest.fixture(autouse=True)
def _clean():
    cache.clear()
    confirming._breakers.clear()


def make_kredivo(partner: Partner, slug: str = "kredivo", **over: Any) -> Integration:
    preset = PRESETS["kredivo"]
    defaults = {
        "capabilities": {CAPABILITY: 1},
        "api_base_url": partner.url,
        "inbound_verification": preset.verification,
        "inbound_mapping": preset.mapping,
        "inbound_confirmation": preset.confirmation,
        "inbound_events": {"settlement": CAPABILITY},
    }
    row = make_integration(slug, **(defaults | over))
    row.full_clean()
    return row


def make_kredivo_install(integration: Integration, number: str = "K1") -> Install:
    location = make_location(make_merchant())
    install = make_install(location.merchant, integration)
    outlets.save_numbers(owner_of(location.merchant), integration, {location.pk: number})
    return install


@pytest.fixture
def partner(settings: Any):
    with running_partner(settings, lambda _request: as_json(TRUTH)) as running:
        yield running


@pytest.fixture
def kredivo(partner: Partner) -> Integration:
    return make_kredivo(partner)


@pytest.fixture
def install(kredivo: Integration) -> Install:
    return make_kredivo_install(kredivo)


def post(url: str = URL, headers: dict[str, str] | None = None, **over: Any):
    body = json.dumps(HINT | over)
    return Client().post(url, body, content_type="application/json", headers=headers)


def make_due() -> None:
    """As if the time until the next question had passed."""
    past = timezone.now() - timedelta(seconds=1)
    Hint.objects.filter(status=HintStatus.RECEIVED).update(due_at=past)


def test_a_hint_is_answered_and_nobody_is_asked_in_the_request(partner, install):
    response = post()

    hint = Hint.objects.get()
    assert (response.status_code, response.json()) == (
        200,
        {"status": "accepted", "deduped": False, "id": str(hint.pk)},
    )
    assert hint.status == HintStatus.RECEIVED
    assert partner.requests == []
    assert not InboundEvent.objects.exists()


def test_what_the_provider_answers_becomes_the_event_and_not_what_was_posted(partner, install):
    post()

    confirming.confirm_due()
    inbound.sweep()

    row = InboundEvent.objects.get()
    entry = AuditEntry.objects.get(action="settlement")
    assert partner.paths() == ["/kredivo/v2/update?transaction_id=t-1&signature_key=s%2F1%3F%26"]
    assert (row.provider_event_id, row.install_id, row.status) == (
        "t-1|settlement",
        install.pk,
        InboundStatus.PROCESSED,
    )
    assert row.confirmed_at is not None
    assert entry.data["amount"] == "1500100.00"
    assert Hint.objects.get().status == HintStatus.CONFIRMED


def test_only_what_the_question_needs_is_kept_and_forgotten_once_it_is_answered(install):
    post(card="4111 1111 1111 1111")
    kept = Hint.objects.get().values

    confirming.confirm_due()

    assert kept == {"body:/transaction_id": "t-1", "body:/signature_key": "s/1?&"}
    assert Hint.objects.get().values == {}


def test_a_status_that_the_provider_tells_otherwise_is_what_counts(partner, kredivo, install):
    post(transaction_status="deny")

    confirming.confirm_due()

    assert InboundEvent.objects.get().provider_event_id == "t-1|settlement"


@pytest.mark.parametrize(
    "answer",
    [
        as_json({"status": "ERROR"}),
        as_json({**TRUTH, "transaction_id": "t-2"}),
        as_json([]),
        as_json({"error": "no such transaction"}, 404),
    ],
)
def test_what_the_provider_does_not_confirm_is_set_aside(partner, install, answer):
    partner.answer = lambda _request: answer
    post()

    confirming.confirm_due()

    assert Hint.objects.get().status == HintStatus.REFUSED
    assert not InboundEvent.objects.exists()


@pytest.mark.parametrize(
    "answer", [Reply(500), Reply(429), Reply(302), Reply(401), Reply(200, b"<html>")]
)
def test_a_provider_that_can_not_tell_is_asked_again_on_the_ladder(partner, install, answer):
    partner.answer = lambda _request: answer
    post()
    before = timezone.now()

    confirming.confirm_due()

    hint = Hint.objects.get()
    assert (hint.status, hint.attempts) == (HintStatus.RECEIVED, 1)
    assert hint.due_at >= before + timedelta(seconds=59)
    assert hint.due_at < timezone.now() + timedelta(seconds=65)


def test_a_provider_that_never_tells_leaves_the_hint_set_aside(partner, install):
    partner.answer = lambda _request: Reply(401)
    post()

    for _attempt in range(6):
        make_due()
        confirming.confirm_due()

    hint = Hint.objects.get()
    assert (hint.status, hint.attempts, hint.problem) == (
        HintStatus.QUARANTINED,
        5,
        "unauthorized",
    )
    assert len(partner.requests) == 5


# Forgeries


def test_a_forged_hint_that_comes_first_does_not_hide_the_real_one(partner, install):
    partner.answer = lambda _request: Reply(404)
    post()
    confirming.confirm_due()
    assert Hint.objects.get().status == HintStatus.REFUSED

    partner.answer = lambda _request: as_json(TRUTH)
    again = post()
    make_due()
    confirming.confirm_due()

    assert again.json()["status"] == "accepted"
    assert InboundEvent.objects.get().provider_event_id == "t-1|settlement"


@pytest.mark.django_db(transaction=True)
def test_a_post_that_comes_while_the_provider_says_no_is_asked_about_again(partner):
    """The first one was forged a moment before the payment, byte for byte."""

    def answer(_request: Request) -> Reply:
        if len(partner.requests) == 1:
            post()
            connections.close_all()
            return Reply(404)
        return as_json(TRUTH)

    make_kredivo_install(make_kredivo(partner))
    partner.answer = answer
    post()

    confirming.confirm_due()

    assert len(partner.requests) == 2
    assert InboundEvent.objects.count() == 1


def test_another_signature_for_the_same_event_is_another_question(partner, install):
    def answer(request: Request) -> Reply:
        return as_json(TRUTH) if "signature_key=right" in request.path else Reply(404)

    partner.answer = answer
    post(signature_key="forged")
    post(signature_key="right")

    confirming.confirm_due()

    assert sorted(Hint.objects.values_list("status", flat=True)) == ["confirmed", "refused"]
    assert InboundEvent.objects.count() == 1


def test_a_confirmed_event_has_one_effect_however_often_it_is_posted(partner, install):
    for _round in range(3):
        post()
        make_due()
        confirming.confirm_due()
        inbound.sweep()

    assert AuditEntry.objects.filter(action="settlement").count() == 1
    assert InboundEvent.objects.get().mismatched_at is None


def test_a_hint_that_waits_is_one_row_and_is_told_as_duplicate(install):
    first, second = post(), post()

    assert second.json() == {"status": "duplicate", "deduped": True, "id": first.json()["id"]}
    assert Hint.objects.get().posts == 2


def test_the_answer_is_the_same_whatever_the_merchants_state_is(kredivo, install):
    def told(number: str) -> tuple[int, str]:
        answer = post(sub_merchant_id=number)
        return answer.status_code, answer.json()["status"]

    lifecycle.disable(owner_of(install.merchant), install.pk)

    assert [told("K1"), told("nobody")] == [(200, "accepted")] * 2


def test_unproved_numbers_are_not_put_on_record(partner, kredivo):
    partner.answer = lambda _request: Reply(404)
    post(sub_merchant_id="K9")

    confirming.confirm_due()

    assert not UnknownOutlet.objects.exists()


def test_values_can_not_lead_to_another_place(settings, partner):
    question = {
        "url": "/payments/{body:/transaction_id}/status",
        "require": {"/transaction_id": "{body:/transaction_id}"},
    }
    make_kredivo(partner, inbound_confirmation=question)

    for text in ("../refund", "..", "a/../../b", "x?y=1#z", "@evil.example"):
        post(transaction_id=text)
    confirming.confirm_due()

    assert sorted(partner.paths()) == [
        "/payments/%40evil.example/status",
        "/payments/..%2Frefund/status",
        "/payments/a%2F..%2F..%2Fb/status",
        "/payments/x%3Fy%3D1%23z/status",
    ]


def test_a_provider_at_a_private_address_is_not_asked(settings, partner, install):
    post()
    settings.OUTBOUND_ALLOW = []

    confirming.confirm_due()

    assert partner.requests == []
    assert Hint.objects.get().problem == "our_side"


# Limits


def test_unsigned_hints_are_limited(settings, install, time_machine):
    # Limits are counted by the minute of the clock, which must not change meanwhile.
    time_machine.move_to(timezone.now(), tick=False)
    settings.HINTS_PER_MINUTE = 3

    answers = [post(transaction_id=f"t-{number}") for number in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1]["Retry-After"]) > 0
    assert Hint.objects.count() == 3


@pytest.mark.parametrize(
    ("over", "status"),
    [
        ({"transaction_id": ""}, 400),
        ({"transaction_id": None}, 400),
        ({"signature_key": "x" * 1001}, 400),
        ({"signature_key": "a\x07b"}, 400),
        ({"filler": "x" * 70_000}, 413),
    ],
)
def test_hints_that_can_not_be_asked_about_are_refused(install, over, status):
    response = post(**over)

    assert response.status_code == status
    assert not Hint.objects.exists()


def test_a_provider_that_is_down_is_left_alone_and_its_hints_wait(partner, install):
    partner.answer = lambda _request: Reply(503)
    for number in range(6):
        post(transaction_id=f"t-{number}")

    confirming.confirm_due()

    assert len(partner.requests) == 3
    assert Hint.objects.filter(attempts=0).count() == 3


def test_old_hints_are_pruned_and_waiting_ones_are_not(partner, install):
    post()
    confirming.confirm_due()
    partner.answer = lambda _request: Reply(404)
    post(transaction_id="t-2")
    confirming.confirm_due()
    post(transaction_id="t-3")
    Hint.objects.update(posted_at=timezone.now() - timedelta(days=4))

    confirming.prune()

    assert set(Hint.objects.values_list("status", flat=True)) == {"confirmed", "received"}


def test_without_a_question_no_hint_is_believed(partner):
    make_kredivo(partner, inbound_confirmation={})

    response = post()

    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_signature")
    assert not Hint.objects.exists()


# Other ways to ask


def test_midtrans_is_asked_with_its_key_although_some_fields_are_signed(settings):
    key = "server-key"
    truth = {
        "transaction_id": "t-1",
        "order_id": "o-1",
        "status_code": "200",
        "transaction_status": "settlement",
        "merchant_id": "m-1",
        "gross_amount": "100000.00",
    }
    with running_partner(settings, lambda _request: as_json(truth)) as partner:
        preset = PRESETS["midtrans"]
        row = make_kredivo(
            partner,
            "midtrans",
            inbound_verification=preset.verification,
            inbound_mapping=preset.mapping,
            inbound_confirmation=preset.confirmation,
        )
        keys_of(row)
        secret = IntegrationSecret.objects.get(integration=row, purpose=Purpose.INBOUND)
        secret.value = key.encode().hex()
        secret.save(update_fields=["value"])
        make_install(make_merchant(), row, external_merchant_id="m-1")
        signature = hashlib.sha512(f"o-1200100000.00{key}".encode()).hexdigest()
        body = json.dumps({**truth, "transaction_status": "deny", "signature_key": signature})
        url = "/v1/integrations/midtrans/webhook"

        accepted = Client().post(url, body, content_type="application/json")
        forged = Client().post(
            url, body.replace("100000.00", "1.00"), content_type="application/json"
        )
        confirming.confirm_due()

        asked = partner.requests[0]
    assert (accepted.status_code, forged.status_code) == (200, 401)
    assert asked.path == "/v2/t-1/status"
    assert (
        asked.headers["Authorization"] == f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"
    )
    assert InboundEvent.objects.get().type == "settlement"


def make_key_provider(partner: Partner) -> Integration:
    """Asked with the key of the merchant; its answer names nobody."""
    return make_kredivo(
        partner,
        auth_shape=AuthShape.MERCHANT_KEY,
        config_schema=KEY_SCHEMA,
        request_auth={"scheme": "bearer", "field": "api_key"},
        inbound_mapping={
            "event_id": ["body:/transaction_id", "body:/transaction_status"],
            "type": "body:/transaction_status",
            "external_merchant_id": "body:/sub_merchant_id",
        },
        inbound_confirmation={
            "method": "POST",
            "url": "/status",
            "body": {"id": "{body:/transaction_id}"},
            "auth": {"as": "merchant"},
            "require": {"/transaction_id": "{body:/transaction_id}"},
            "mapping": {
                "event_id": ["body:/transaction_id", "body:/transaction_status"],
                "type": "body:/transaction_status",
            },
        },
    )


def test_a_merchants_own_key_asks_and_says_whose_the_event_is(partner):
    row = make_key_provider(partner)
    merchant = make_merchant()
    install = lifecycle.install(owner_of(merchant), row, config={"api_key": "k-1"})
    Install.objects.filter(pk=install.pk).update(external_merchant_id="m-1")
    post(sub_merchant_id="m-1")

    confirming.confirm_due()

    asked = partner.requests[0]
    assert asked.headers["Authorization"] == "Bearer k-1"
    assert (asked.method, asked.json()) == ("POST", {"id": "t-1"})
    assert InboundEvent.objects.get().install_id == install.pk


def test_an_install_that_is_switched_off_lends_nobody_its_key(partner):
    row = make_key_provider(partner)
    merchant = make_merchant()
    install = lifecycle.install(owner_of(merchant), row, config={"api_key": "k-1"})
    Install.objects.filter(pk=install.pk).update(external_merchant_id="m-1", is_enabled=False)
    post(sub_merchant_id="m-1")

    confirming.confirm_due()

    assert partner.requests == []
    assert Hint.objects.get().problem == "integration_disabled"


# Addresses of single installs


def address_of(install: Install) -> str:
    url = make_address(owner_of(install.merchant), install.pk)
    return url.partition("/v1/")[1] + url.partition("/v1/")[2]


def make_mekari(partner: Partner, auth: dict[str, str] | None = None) -> Integration:
    """Names no merchant in its webhooks, and none in its answers."""
    mapping = {
        "event_id": ["body:/transaction_id", "body:/transaction_status"],
        "type": "body:/transaction_status",
    }
    question = {
        "url": "/check/{body:/transaction_id}",
        "auth": auth or {"as": "none"},
        "require": {"/transaction_id": "{body:/transaction_id}"},
    }
    return make_kredivo(partner, inbound_mapping=mapping, inbound_confirmation=question)


def test_an_address_says_which_install_a_hint_is_about(partner):
    row = make_mekari(partner)
    make_install(make_merchant(), row)
    wanted = make_install(make_merchant(), row)

    response = post(address_of(wanted))
    confirming.confirm_due()

    assert response.status_code == 200
    assert InboundEvent.objects.get().install_id == wanted.pk


def test_without_an_address_an_event_that_names_nobody_is_nobodys(partner):
    row = make_mekari(partner)
    make_install(make_merchant(), row)
    post()

    confirming.confirm_due()

    assert Hint.objects.get().problem == "other_merchant"
    assert not InboundEvent.objects.exists()


def test_an_address_that_is_wrong_old_or_of_another_integration_is_refused(partner):
    row = make_mekari(partner)
    install = make_install(make_merchant(), row)
    other = make_install(make_merchant(), make_integration("other"))
    old = address_of(install)
    address_of(install)
    foreign = address_of(other).replace("/other/", "/kredivo/")

    answers = [post(url) for url in (f"{URL}/guessed", old, foreign)]

    assert [answer.status_code for answer in answers] == [401] * 3
    assert not Hint.objects.exists()


def test_an_address_does_not_bring_another_merchants_event(partner, kredivo, install):
    """Somebody posts the payment of a neighbour to an address of their own."""
    thief = make_kredivo_install(kredivo, "K2")
    post(address_of(thief), sub_merchant_id="K1")

    confirming.confirm_due()

    assert Hint.objects.get().problem == "other_merchant"
    assert not InboundEvent.objects.exists()


def test_a_key_of_posz_at_an_address_does_not_say_whose_an_event_is(partner):
    row = make_mekari(partner, {"as": "bearer"})
    IntegrationSecret.objects.create(
        integration=row,
        purpose=Purpose.OAUTH_CLIENT,
        state=SecretState.CURRENT,
        value=b"key-of-posz".hex(),
        activated_at=timezone.now(),
    )
    post(address_of(make_install(make_merchant(), row)))

    confirming.confirm_due()

    assert partner.requests[0].headers["Authorization"] == "Bearer key-of-posz"
    assert Hint.objects.get().problem == "other_merchant"


def test_posts_without_an_address_use_up_nobodys_share(settings, partner, time_machine):
    time_machine.move_to(timezone.now(), tick=False)
    settings.HINTS_PER_MINUTE = 1
    row = make_mekari(partner)
    url = address_of(make_install(make_merchant(), row))

    anybody = [post(transaction_id=f"x-{number}").status_code for number in range(3)]

    assert anybody == [200, 429, 429]
    assert post(url).status_code == 200


# Races


@pytest.mark.django_db(transaction=True)
def test_the_same_hint_from_many_at_once_is_one_row_and_one_event(partner):
    kredivo = make_kredivo(partner)
    make_kredivo_install(kredivo)
    start = threading.Barrier(10)

    def send(_number: int) -> int:
        try:
            start.wait(10)
            return post().status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(send, range(10)))
    assert statuses == [200] * 10
    assert Hint.objects.get().posts == 10

    def confirm(_number: int) -> int:
        try:
            return confirming.confirm_due()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        asked = list(pool.map(confirm, range(4)))

    assert sum(asked) == len(partner.requests) == 1
    assert InboundEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_real_post_beside_the_question_about_a_forged_one_is_never_lost(partner):
    """The provider says no until the moment of the real post, and yes from then on."""
    kredivo = make_kredivo(partner)
    make_kredivo_install(kredivo)
    is_paid = threading.Event()

    def answer(_request: Request) -> Reply:
        truth = is_paid.is_set()
        time.sleep(0.02)
        return as_json(TRUTH) if truth else Reply(404)

    partner.answer = answer
    for number in range(10):
        is_paid.clear()
        TRUTH["transaction_id"] = f"r-{number}"
        post(transaction_id=f"r-{number}")

        def ask() -> None:
            try:
                confirming.confirm_due()
            finally:
                connections.close_all()

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.005 * (number % 6))
        is_paid.set()
        post(transaction_id=f"r-{number}")
        asking.join()
        make_due()
        confirming.confirm_due()
    TRUTH["transaction_id"] = "t-1"

    assert InboundEvent.objects.count() == 10


def test_staff_ask_again(partner, install):
    partner.answer = lambda _request: Reply(404)
    post()
    confirming.confirm_due()
    partner.answer = lambda _request: as_json(TRUTH)

    hints.ask_again([Hint.objects.get().pk])
    confirming.confirm_due()

    assert InboundEvent.objects.count() == 1


# The pages


def browser_of(client: Client, install: Install, role: str = Role.OWNER) -> Client:
    person = make_user(install.merchant, role)
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page_of(install: Install) -> str:
    return f"/integrations/kredivo/installs/{install.pk}/address"


def test_a_merchant_sees_a_new_address_once_and_it_works(client, install):
    browser = browser_of(client, install)

    shown = browser.post(page_of(install))
    found = re.search(r"readonly[^>]*>[^<]*(/v1/integrations/[^<]+)<", shown.content.decode())

    assert found is not None
    assert "no-store" in shown["Cache-Control"]
    assert post(found[1]).status_code == 200
    assert found[1] not in browser.get(page_of(install)).content.decode()
    assert AuditEntry.objects.filter(action="install.address_made").count() == 1


def test_looking_at_the_page_makes_no_address(client, install):
    response = browser_of(client, install).get(page_of(install))

    assert response.status_code == 200
    assert not InboundAddress.objects.exists()


def test_an_address_is_not_for_viewers_nor_for_other_merchants(client, kredivo, install):
    viewer = browser_of(client, install, Role.VIEWER).post(page_of(install))
    stranger = make_install(make_merchant(), kredivo)
    other = browser_of(Client(), stranger).post(page_of(install))

    assert (viewer.status_code, other.status_code) == (403, 404)
    assert not InboundAddress.objects.exists()


def test_staff_see_no_values_of_a_hint_and_can_ask_again(client, partner, install):
    partner.answer = lambda _request: Reply(404)
    post(signature_key="canary-5c1e")
    confirming.confirm_due()
    hint = Hint.objects.get()
    client.force_login(
        User.objects.create_superuser("staff@posz.id"),
        backend="django.contrib.auth.backends.ModelBackend",
    )

    page = client.get(reverse("admin:webhooks_hint_change", args=[hint.pk]))
    client.post(
        reverse("admin:webhooks_hint_changelist"),
        {"action": "ask_again", "_selected_action": [str(hint.pk)]},
    )

    hint.refresh_from_db()
    assert "canary-5c1e" not in page.content.decode()
    assert hint.status == HintStatus.RECEIVED


# The document


GOOD: dict[str, Any] = {
    "url": "https://api.example/pay/{body:/id}",
    "require": {"/id": "{body:/id}", "/status": ["PAID", "SETTLED"]},
}


def problem_of(document: Any) -> str:
    try:
        read_confirmation(document, None, "https://api.example")
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


@pytest.mark.parametrize(
    "document",
    [
        {},
        GOOD,
        {**GOOD, "url": "/pay/{body:/id}?k={header:X-Key | optional}"},
        {**GOOD, "method": "POST", "body": {"id": "{body:/id}"}, "refused": [404]},
        {**GOOD, "auth": {"as": "header", "name": "X-Api-Key", "purpose": "inbound"}},
        {**GOOD, "mapping": {"event_id": "body:/id", "type": "body:/status"}},
    ],
)
def test_documents_that_can_be_asked(document):
    assert problem_of(document) == ""


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ([], "object"),
        ({**GOOD, "x": 1}, "“x”"),
        ({**GOOD, "method": "PUT"}, "“method”"),
        ({**GOOD, "url": "https://{body:/host}/pay"}, "“url”"),
        ({**GOOD, "url": "https://api.example:{body:/port}/"}, "“url”"),
        ({**GOOD, "url": "https://10.0.0.1/{body:/id}"}, "“url”"),
        ({**GOOD, "url": "https://api.example/{nothing}"}, "“url”"),
        ({**GOOD, "url": "https://api.example/{body:/id"}, "“url”"),
        ({**GOOD, "url": 1}, "“url”"),
        ({**GOOD, "body": {"a": "b"}}, "“body”"),
        ({**GOOD, "auth": {"as": "magic"}}, "“auth”"),
        ({**GOOD, "auth": {"as": "bearer", "purpose": "outbound"}}, "“auth”"),
        ({**GOOD, "auth": {"as": "header"}}, "“auth”"),
        ({"url": GOOD["url"]}, "“require”"),
        ({**GOOD, "require": {"/status": "PAID"}}, "“require”"),
        ({**GOOD, "require": {"status": "{body:/id}"}}, "“require”"),
        ({**GOOD, "refused": [500]}, "“refused”"),
        ({**GOOD, "from_hint": ["type"]}, "“from_hint”"),
        ({**GOOD, "mapping": {"event_id": "body:/id"}}, "“type”"),
    ],
)
def test_documents_that_are_refused_name_their_part(document, key):
    assert key in problem_of(document)
