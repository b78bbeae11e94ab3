"""The test of a merchant's own key: what staff may declare, what is asked, and what becomes of it."""

import logging
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db import connections
from django.test import Client
from django.utils.translation import override

from catalog import verification as declared
from catalog.envelope import ApiError
from catalog.models import AuthShape
from catalog.verification import Outcome, check_request_auth, check_verification_request
from dispatch import verification
from installs import connection, lifecycle
from installs.models import AuditEntry, Connection, Install, Merchant, Role
from tests.factories import (
    KEY_SCHEMA,
    VERIFY,
    make_integration,
    make_key_partner,
    make_location,
    make_merchant,
    make_token,
    make_user,
    owner_of,
)
from tests.partners import Reply, Request, running_partner

pytestmark = pytest.mark.django_db

RIGHT, WRONG = "right-key-1234567890", "wrong-key-1234567890"
API = "https://keys.example"


def check_key(request: Request) -> Reply:
    is_right = request.headers.get("Authorization") == f"Bearer {RIGHT}"
    return Reply(200 if is_right else 401, b"secret words of the partner")


@pytest.fixture
def partner(settings):
    with running_partner(settings, check_key) as running:
        yield running


@pytest.fixture
def integration(partner):
    return make_key_partner(partner.url)


@pytest.fixture
def merchant():
    return make_merchant()


def install(merchant: Merchant, integration: Any, key: str = RIGHT, **config: Any) -> Install:
    given = {"api_key": key, **config}
    return lifecycle.install(owner_of(merchant), integration, config=given)


def seen(row: Install) -> tuple[str, str]:
    row.refresh_from_db()
    return row.connection, row.connection_problem


# What staff may write


@pytest.mark.parametrize(
    "request_",
    [
        {},
        VERIFY,
        {"method": "GET", "path": "https://login.example:8443/me?x={config.greeting}"},
        {"method": "GET", "path": "/v1/{config.greeting}/me", "accept": [200, 204]},
        {
            "method": "POST",
            "path": "/check",
            "headers": {"X-Api-Key": "{config.api_key}"},
            "body": {"a": ["{config.pin}", 1, None, True, {"b": "x"}]},
            "accept": [201],
            "wrong_key": [400, 401],
        },
        {"method": "POST", "path": "/check", "body": None},
    ],
)
def test_verification_request_sound_is_accepted(request_):
    check_verification_request(request_, KEY_SCHEMA, API)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "DELETE"},
        {"method": "get"},
        {"path": None},
        {"path": ""},
        {"path": "verify"},
        {"path": "//other.example/verify"},
        {"path": "/a b"},
        {"path": "/a\\b"},
        {"path": "/a#b"},
        {"path": "/\r\nHost: x"},
        {"path": "/é"},
        {"path": "http://login.example/me"},
        {"path": "https://{config.greeting}.example/me"},
        {"path": "https://login.example:{config.greeting}/me"},
        {"path": "https://login.example{config.greeting}"},
        {"path": "https://x@login.example/me"},
        {"path": "/" + "a" * 3000},
        {"path": "/{config.unknown}"},
        {"path": "/{greeting}"},
        {"path": "/{config.greeting"},
        {"headers": []},
        {"headers": {"Authorization": 1}},
        {"headers": {"Authorization": "a\r\nX: y"}},
        {"headers": {"Authorization": "é"}},
        {"headers": {"Host": "other.example"}},
        {"headers": {"transfer-encoding": "chunked"}},
        {"headers": {"Bad Name": "x"}},
        {"headers": {"X-{config.greeting}": "x"}},
        {"headers": {"X-A": "1", "x-a": "2"}},
        {"headers": {f"X-{number}": "1" for number in range(21)}},
        {"headers": {"X-A": "{config.unknown}"}},
        {"headers": {"X-A": "{config.api_key.__class__}"}},
        {"body": {"a": 1}},
        {"method": "POST", "body": "text"},
        {"method": "POST", "body": {"a": "{config.unknown}"}},
        {"method": "POST", "body": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {}}}}}}}}}},
        {"accept": []},
        {"accept": [True]},
        {"accept": [500]},
        {"accept": "200"},
        {"wrong_key": [199]},
        {"accept": [200, 401]},
        {"extra": 1},
    ],
)
def test_verification_request_unsound_is_refused(change):
    with pytest.raises(ValidationError) as refusal:
        check_verification_request(VERIFY | change, KEY_SCHEMA, API)

    assert all(len(message) > 15 for message in refusal.value.messages)


@pytest.mark.parametrize("document", [[], None, "x", 1, True])
def test_verification_request_that_is_no_object_is_refused(document):
    with pytest.raises(ValidationError):
        check_verification_request(document, KEY_SCHEMA, API)


def test_verification_path_without_an_api_address_is_refused():
    with override("en"), pytest.raises(ValidationError) as refusal:
        check_verification_request(VERIFY, KEY_SCHEMA, "")

    assert refusal.value.messages == ["A path needs the API address that it is joined to."]


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"scheme": "bearer", "field": "api_key"},
        {"scheme": "header", "name": "X-Api-Key", "field": "api_key"},
        {"scheme": "basic", "user_field": "greeting", "password_field": "api_key"},
    ],
)
def test_request_auth_sound_is_accepted(auth):
    check_request_auth(auth, KEY_SCHEMA)


@pytest.mark.parametrize(
    "auth",
    [
        [],
        None,
        {"scheme": "digest"},
        {"scheme": ["bearer"]},
        {"scheme": "bearer"},
        {"scheme": "bearer", "field": "unknown"},
        {"scheme": "bearer", "field": ["api_key"]},
        {"scheme": "bearer", "field": "api_key", "name": "X"},
        {"scheme": "header", "name": "Host", "field": "api_key"},
        {"scheme": "header", "name": "a b", "field": "api_key"},
        {"scheme": "basic", "user_field": "greeting"},
    ],
)
def test_request_auth_unsound_is_refused(auth):
    with pytest.raises(ValidationError):
        check_request_auth(auth, KEY_SCHEMA)


def test_both_documents_are_for_keys_of_merchants_only():
    row = make_key_partner(auth_shape=AuthShape.PLATFORM_SHARED)

    with pytest.raises(ValidationError) as refusal:
        row.full_clean()

    assert set(refusal.value.message_dict) == {"request_auth", "verification_request"}


# What is asked, and what the answer means


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.OK),
        (401, Outcome.WRONG_KEY),
        (403, Outcome.WRONG_KEY),
        (204, Outcome.OUR_SIDE),
        (302, Outcome.OUR_SIDE),
        (404, Outcome.OUR_SIDE),
        (429, Outcome.PARTNER_DOWN),
        (500, Outcome.PARTNER_DOWN),
        (503, Outcome.PARTNER_DOWN),
    ],
)
def test_verdict_follows_the_status(partner, integration, status, outcome):
    partner.answer = lambda _request: Reply(status)

    assert verification.verify(integration, {"api_key": "k"}).outcome is outcome


def test_verdict_for_a_closed_port_is_partner_down(partner, integration, settings):
    settings.OUTBOUND_ALLOW = ["127.0.0.1:9"]
    integration.api_base_url = "http://127.0.0.1:9"

    assert verification.verify(integration, {}).outcome is Outcome.PARTNER_DOWN


def test_verdict_for_a_partner_that_hangs_is_partner_down(partner, integration, monkeypatch):
    partner.answer = partner.hang
    monkeypatch.setattr(verification, "TIMEOUT_SECONDS", 0.2)

    assert verification.verify(integration, {}).outcome is Outcome.PARTNER_DOWN


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://10.0.0.1", "https://localhost"])
def test_verdict_for_a_private_address_is_our_side(integration, url):
    integration.api_base_url = url

    assert verification.verify(integration, {}).outcome is Outcome.OUR_SIDE


@pytest.mark.parametrize("document", [{"method": "GET"}, {"path": 1}, [], {"x": 1}])
def test_verdict_for_a_broken_document_is_our_side(partner, integration, document):
    integration.verification_request = document

    assert verification.verify(integration, {}).outcome is Outcome.OUR_SIDE
    assert partner.requests == []


def test_verdict_without_a_verifier_is_our_side(monkeypatch, integration):
    monkeypatch.setattr(declared, "_verifiers", [])

    assert declared.verify(integration, {}).outcome is Outcome.OUR_SIDE


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "a\x00b", "kunci-\u0394"])
def test_verdict_for_a_key_that_no_header_can_carry_is_wrong_key(partner, integration, key):
    assert verification.verify(integration, {"api_key": key}).outcome is Outcome.WRONG_KEY
    assert partner.requests == []


def test_settings_are_filled_in_where_they_are_written(partner, integration):
    integration.verification_request = {
        "method": "POST",
        "path": "/v1/{config.greeting}/check?pin={config.pin}",
        "headers": {"X-Api-Key": "key={config.api_key}"},
        "body": {"deep": ["{config.greeting}!", {"kept": 1}], "none": None},
    }

    verification.verify(
        integration, {"api_key": RIGHT, "greeting": "a/b?c#d&e=f ü", "pin": "&admin=1"}
    )

    (asked,) = partner.requests
    assert asked.method == "POST"
    assert asked.path == "/v1/a%2Fb%3Fc%23d%26e%3Df%20%C3%BC/check?pin=%26admin%3D1"
    assert asked.headers["X-Api-Key"] == f"key={RIGHT}"
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.json() == {"deep": ["a/b?c#d&e=f ü!", {"kept": 1}], "none": None}


def test_filled_in_text_is_not_read_again(partner, integration):
    config = {"api_key": "{config.pin}", "pin": "hidden"}

    verification.verify(integration, config)

    assert partner.requests[0].headers["Authorization"] == "Bearer {config.pin}"


@pytest.mark.parametrize("step", ["..", "."])
def test_setting_that_climbs_out_of_the_path_sends_nothing(partner, integration, step):
    integration.verification_request = VERIFY | {"path": "/v1/{config.greeting}/check"}

    verdict = verification.verify(integration, {"api_key": RIGHT, "greeting": step})

    assert (verdict.outcome, partner.requests) == (Outcome.WRONG_KEY, [])


@pytest.mark.parametrize("status", [200, 401, 500])
def test_test_leaves_no_word_of_key_or_answer_in_the_log(partner, integration, caplog, status):
    partner.answer = lambda _request: Reply(status, b"secret words of the partner")
    integration.verification_request = VERIFY | {"path": "/check/{config.api_key}"}
    caplog.set_level(logging.DEBUG)

    verdict = verification.verify(integration, {"api_key": RIGHT})

    assert "Verification at" in caplog.text
    assert RIGHT not in caplog.text + repr(verdict) + verdict.message
    assert "secret words" not in caplog.text + repr(verdict) + verdict.message


@pytest.mark.parametrize("outcome", list(Outcome))
def test_verdict_is_told_without_jargon(outcome):
    message = declared.Verdict(outcome, "Warm Words").message

    assert message.endswith(".")
    assert not any(word in message for word in ("HTTP", "401", "500", "Error", "{", "%"))


# Install and configure


def test_install_with_the_right_key_is_connected(merchant, integration, partner):
    row = install(merchant, integration)

    assert seen(row) == (Connection.CONNECTED, "")
    assert partner.paths() == ["/posz/v1/verify"]


def test_install_with_a_wrong_key_is_refused_at_the_key(merchant, integration):
    with override("en"), pytest.raises(ApiError) as refusal:
        install(merchant, integration, WRONG)

    assert refusal.value.code == "config_invalid"
    assert list(refusal.value.extra["fields"]) == ["api_key"]
    assert WRONG not in str(refusal.value.body())
    assert not Install.objects.exists()


def test_install_without_a_key_asks_nobody(merchant, integration, partner):
    with pytest.raises(ApiError) as refusal:
        lifecycle.install(owner_of(merchant), integration, config={})

    assert list(refusal.value.extra["fields"]) == ["api_key"]
    assert partner.requests == []


@pytest.mark.parametrize(("status", "problem"), [(503, "partner_down"), (404, "our_side")])
def test_install_that_can_not_be_tested_is_kept_and_says_so(
    merchant, integration, partner, status, problem
):
    partner.answer = lambda _request: Reply(status)

    row = install(merchant, integration)

    assert seen(row) == (Connection.FAILED, problem)


def test_install_by_a_viewer_asks_nobody(merchant, integration, partner):
    viewer = owner_of(merchant).__class__(merchant.pk, "viewer", Role.VIEWER)

    with pytest.raises(ApiError):
        lifecycle.install(viewer, integration, config={"api_key": RIGHT})

    assert partner.requests == []


def test_configure_with_a_wrong_key_keeps_the_old_one(merchant, integration):
    row = install(merchant, integration)

    with pytest.raises(ApiError) as refusal:
        lifecycle.configure(owner_of(merchant), row.pk, {"api_key": WRONG})

    row.refresh_from_db()
    assert (refusal.value.code, row.config["api_key"]) == ("config_invalid", RIGHT)
    assert seen(row) == (Connection.CONNECTED, "")


def test_configure_tests_the_kept_key_too(merchant, integration, partner):
    row = install(merchant, integration)
    partner.requests.clear()

    lifecycle.configure(owner_of(merchant), row.pk, {"greeting": "Hai"})

    assert partner.requests[0].headers["Authorization"] == f"Bearer {RIGHT}"


def test_configure_mends_what_could_not_be_tested(merchant, integration, partner):
    partner.answer = lambda _request: Reply(503)
    row = install(merchant, integration)
    partner.answer = check_key

    lifecycle.configure(owner_of(merchant), row.pk, {"greeting": "Hai"})

    assert seen(row) == (Connection.CONNECTED, "")


@pytest.mark.django_db(transaction=True)
def test_nothing_is_locked_while_the_partner_is_asked(merchant, integration, partner):
    def answer(request: Request) -> Reply:
        # In another thread: waits for ever, or breaks, where the asker holds a lock.
        Merchant.touch(merchant.pk)
        return close_after(check_key(request))

    partner.answer = answer

    row = install(merchant, integration)
    lifecycle.configure(owner_of(merchant), row.pk, {"greeting": "Hai"})
    verdict = connection.test(owner_of(merchant), row.pk)

    assert verdict.is_ok
    assert seen(row) == (Connection.CONNECTED, "")


def close_after(reply: Reply) -> Reply:
    connections["default"].close()
    return reply


@pytest.mark.django_db(transaction=True)
def test_configure_tests_again_what_somebody_saved_meanwhile(merchant, integration, partner):
    row = install(merchant, integration, greeting="old")
    partner.requests.clear()

    def answer(request: Request) -> Reply:
        if len(partner.requests) == 1:
            changed = Install.objects.get(pk=row.pk)
            changed.config = {**changed.config, "pin": "set-meanwhile"}
            changed.save(update_fields=["config"])
        return close_after(check_key(request))

    partner.answer = answer

    lifecycle.configure(owner_of(merchant), row.pk, {"greeting": "new"})

    row.refresh_from_db()
    assert row.config == {"api_key": RIGHT, "pin": "set-meanwhile", "greeting": "new"}
    assert len(partner.requests) == 2


def test_swap_tests_the_key_of_the_plan(merchant, integration, partner):
    make_location(merchant)
    holder = make_integration(capabilities={"receipt_pretext": 1})
    lifecycle.install(owner_of(merchant), holder)
    with pytest.raises(ApiError) as refusal:
        install(merchant, integration)
    partner.answer = lambda _request: Reply(401)

    with pytest.raises(ApiError) as second:
        lifecycle.swap(owner_of(merchant), refusal.value.extra["plan"])

    assert second.value.code == "config_invalid"
    assert Install.objects.get().integration == holder


# On demand


def test_test_of_a_key_that_was_withdrawn_is_noted(merchant, integration, partner):
    row = install(merchant, integration)
    partner.answer = lambda _request: Reply(401)

    verdict = connection.test(owner_of(merchant), row.pk)

    assert verdict.outcome is Outcome.WRONG_KEY
    assert seen(row) == (Connection.FAILED, "wrong_key")
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.data) == ("install.tested", {"problem": "wrong_key"})


def test_test_that_works_again_is_noted(merchant, integration, partner):
    partner.answer = lambda _request: Reply(503)
    row = install(merchant, integration)
    partner.answer = check_key

    connection.test(owner_of(merchant), row.pk)

    assert seen(row) == (Connection.CONNECTED, "")


def api(merchant: Merchant, row_id: Any, role: str = Role.OWNER) -> Any:
    headers = {"Authorization": f"Bearer {make_token(merchant, role)}"}
    return Client().post(f"/v1/installs/{row_id}/test", headers=headers)


def test_api_answers_the_outcome_in_words(merchant, integration):
    row = install(merchant, integration)

    response = api(merchant, row.pk)

    assert response.status_code == 200
    assert response.json() == {
        "outcome": "ok",
        "message": f"The connection works: {integration.name_en} accepted your key.",
    }


def test_api_test_by_a_viewer_is_forbidden(merchant, integration, partner):
    row = install(merchant, integration)
    partner.requests.clear()

    assert api(merchant, row.pk, Role.VIEWER).status_code == 403
    assert partner.requests == []


def test_api_test_of_another_merchant_does_not_exist(merchant, integration):
    row = install(merchant, integration)
    stranger = make_merchant()

    ours, unknown = api(stranger, row.pk), api(stranger, uuid4())

    assert (ours.status_code, ours.content) == (404, unknown.content)


def test_api_test_without_a_declared_test_is_unsupported(merchant):
    row = lifecycle.install(owner_of(merchant), make_integration())

    response = api(merchant, row.pk)

    assert (response.status_code, response.json()["error"]["code"]) == (
        422,
        "capability_unsupported",
    )


# On the page


@pytest.fixture
def owner(merchant):
    client = Client()
    client.force_login(make_user(merchant))
    return client


def page_of(integration: Any, row: Install, verb: str) -> str:
    return f"/integrations/{integration.slug}/installs/{row.pk}/{verb}"


def test_page_of_a_tested_partner_has_the_button(owner, merchant, integration):
    install(merchant, integration)

    shown = owner.get(f"/integrations/{integration.slug}").content.decode()

    assert "Test connection" in shown


def test_page_of_a_partner_without_test_has_no_button(owner, merchant):
    row = lifecycle.install(owner_of(merchant), make_integration())

    shown = owner.get(f"/integrations/{row.integration.slug}").content.decode()

    assert "Test connection" not in shown


@pytest.mark.parametrize(
    ("status", "turn"),
    [(401, "It is your turn"), (503, "Your settings are saved"), (404, "It is Posz’s turn")],
)
def test_page_says_whose_turn_it_is(owner, merchant, integration, partner, status, turn):
    row = install(merchant, integration)
    partner.answer = lambda _request: Reply(status, b"secret words of the partner")

    shown = owner.post(page_of(integration, row, "test"), follow=True).content.decode()

    assert turn in shown
    assert "secret words" not in shown


def test_page_refuses_a_wrong_key_and_keeps_the_rest(owner, integration):
    form = {"config-api_key": WRONG, "config-greeting": "Selamat datang"}

    response = owner.post(f"/integrations/{integration.slug}/install", form)

    shown = response.content.decode()
    assert response.status_code == 422
    assert "does not accept this key" in shown
    assert 'value="Selamat datang"' in shown
    assert WRONG not in shown


def test_page_install_with_the_partner_down_says_what_is_missing(owner, integration, partner):
    partner.answer = lambda _request: Reply(503)
    form = {"config-api_key": RIGHT}

    confirmed = owner.post(f"/integrations/{integration.slug}/install", form)
    shown = owner.post(confirmed["Location"], follow=True)

    assert "is installed. The partner can’t be reached" in shown.content.decode()
