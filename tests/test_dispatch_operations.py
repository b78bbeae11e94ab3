"""Operations over the API of tills, and how calls are authenticated."""

import base64
import json
import time
from urllib.parse import parse_qs

import jwt
import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from catalog.envelope import ApiError
from catalog.models import AuthShape
from catalog.verification import check_request_auth
from dispatch import request_auth, router
from dispatch.adapters.generic import Generic
from dispatch.contracts import PartnerEvent, PermanentError
from dispatch.operations.reservations import BOOKING
from dispatch.signing import standard_headers
from installs import grants, lifecycle
from installs.models import OAuthGrant
from installs.oauth_client import Tokens
from tests.factories import (
    KEY_SCHEMA,
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_oauth_integration,
    make_token,
    owner_of,
)
from tests.partners import Reply, as_json, running_partner

pytestmark = pytest.mark.django_db

PAYMENT = {"payment_id": "pay-1", "order_id": "o-1", "amount_cents": 5000000, "currency": "IDR"}
STARTED = {"provider_ref": "p-1", "status": "pending", "flow": "qr", "qr_string": "0002"}
KEY = "merchant-key-of-more-than-32-characters"
CREDENTIALS = {
    "scheme": "client_credentials",
    "token_url": "",
    "scope": "pay",
    "client_id_field": "greeting",
    "client_secret_field": "api_key",
}


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    router.forget_partners()
    monkeypatch.setattr(request_auth, "tokens", request_auth.FetchedTokens())


@pytest.fixture
def location():
    return make_location(make_merchant(currency="IDR"))


def answer_with(data, key=b""):
    def answer(request):
        asked = request.json()
        body = json.dumps({"contract": asked["contract"], "status": "ok", "data": data}).encode()
        headers = standard_headers("m", int(time.time()), body, [key]) if key else {}
        return Reply(200, body, headers)

    return answer


@pytest.fixture
def partner(settings):
    with running_partner(settings, answer_with(STARTED)) as running:
        yield running


def install_signed(location, partner, **over):
    row = make_integration(
        **{"capabilities": {"payment_method": 1}, "api_base_url": partner.url} | over
    )
    partner.key = keys_of(row)["outbound"]
    partner.answer = answer_with(STARTED, partner.key)
    return make_install(location.merchant, row)


def install_key(location, partner, auth):
    row = make_integration(
        auth_shape=AuthShape.MERCHANT_KEY,
        capabilities={"payment_method": 1},
        config_schema=KEY_SCHEMA,
        request_auth=auth,
        api_base_url=partner.url,
    )
    config = {"api_key": KEY, "greeting": "maple"}
    return lifecycle.install(owner_of(location.merchant), row, config=config)


def ask(location, operation="create", data=PAYMENT, capability="payment_method"):
    return router.dispatch(location.merchant_id, location.pk, capability, data, operation=operation)


def only(answer):
    [result] = answer["results"]
    return result


def test_payment_over_the_api(location, partner):
    install = install_signed(location, partner)

    response = Client().post(
        "/v1/dispatch/payment_method",
        {"location_id": str(location.pk), "operation": "create", "data": PAYMENT},
        content_type="application/json",
        headers={"Authorization": f"Bearer {make_token(location.merchant)}"},
    )

    result = response.json()["results"][0]
    assert response.status_code == 200
    assert (result["install_id"], result["output"]) == (str(install.pk), STARTED)
    assert partner.paths() == ["/posz/v1/payment_method/create"]
    assert partner.requests[0].json()["data"] == PAYMENT
    assert partner.requests[0].json()["operation"] == "create"


@pytest.mark.parametrize(
    ("operation", "data", "field"),
    [
        ("create", PAYMENT | {"amount_cents": "50000"}, "data.amount_cents"),
        ("create", PAYMENT | {"amount_cents": 0}, "data.amount_cents"),
        ("create", PAYMENT | {"amount_cent": 1}, "data.amount_cent"),
        ("create", {"payment_id": "pay-1"}, "data.order_id"),
        ("create", PAYMENT | {"currency": "USD"}, "data.currency"),
        ("create", PAYMENT | {"items": [{"id": "1"}]}, "data.items[0].name"),
        ("charge", PAYMENT, "operation"),
        ("", PAYMENT, "operation"),
    ],
)
def test_question_that_is_not_as_agreed_names_the_field(location, partner, operation, data, field):
    install_signed(location, partner)

    with pytest.raises(ApiError) as refusal:
        ask(location, operation, data)

    assert refusal.value.code == "invalid_payload"
    assert list(refusal.value.extra["fields"]) == [field]
    assert partner.requests == []


@pytest.mark.parametrize("operation", ["check.opened", "payment.start", "receipt"])
def test_operation_that_is_not_for_tills_is_refused(location, operation):
    with pytest.raises(ApiError) as refusal:
        ask(location, operation, {}, "pay_at_table")

    assert refusal.value.code == "invalid_payload"


def test_sign_in_is_not_asked_by_tills(location):
    with pytest.raises(ApiError) as refusal:
        ask(location, "login", {}, "auth_provider")

    assert refusal.value.code == "invalid_payload"


def test_wrong_answer_is_logged_with_its_field_and_without_its_value(location, partner, caplog):
    install_signed(location, partner)
    partner.answer = answer_with(STARTED | {"status": "hunter2"}, partner.key)

    result = only(ask(location))

    assert result["status"] == "error"
    assert result["output"] == {"payment_id": "pay-1", "status": "pending_verification"}
    assert "data.status" in caplog.text
    assert "hunter2" not in caplog.text + result["error"]["message"]


def test_unsigned_answer_is_never_a_payment(location, partner):
    install_signed(location, partner)
    partner.answer = answer_with(STARTED | {"status": "paid"}, b"x" * 32)

    result = only(ask(location))

    assert (result["status"], result["output"]["status"]) == ("error", "pending_verification")


def test_payment_that_was_refused_at_the_door_is_not_pending(location, partner):
    install_signed(location, partner)
    partner.answer = lambda _request: Reply(401)

    assert (only(ask(location))["status"], only(ask(location))["output"]) == ("error", {})


def test_fields_that_a_partner_adds_are_not_passed_on(location, partner):
    install_signed(location, partner)
    partner.answer = answer_with(STARTED | {"internal_note": "x"}, partner.key)

    assert only(ask(location))["output"] == STARTED


# How a call is authenticated


def sent(partner, index=-1):
    return partner.requests[index].headers.get("Authorization")


def test_basic(location, partner):
    install_key(
        location,
        partner,
        {"scheme": "basic", "user_field": "greeting", "password_field": "api_key"},
    )

    assert only(ask(location))["status"] == "ok"
    assert sent(partner) == f"Basic {base64.b64encode(f'maple:{KEY}'.encode()).decode()}"


def test_jwt_of_a_merchants_key(location, partner):
    auth = {"scheme": "jwt", "field": "api_key", "issuer": "posz", "audience": "partner"}
    install = install_key(location, partner, auth)

    assert only(ask(location))["status"] == "ok"
    token = sent(partner).removeprefix("Bearer ")
    claims = jwt.decode(token, KEY, algorithms=["HS256"], audience="partner", issuer="posz")
    assert (claims["sub"], claims["merchant_id"]) == (str(install.pk), str(location.merchant_id))
    assert claims["exp"] - claims["iat"] == 300


def test_jwt_of_the_platform_goes_along_with_the_signature(location, partner):
    auth = {"scheme": "platform_jwt", "issuer": "posz", "audience": "partner"}
    install = install_signed(location, partner, request_auth=auth)
    install.integration.full_clean()

    assert only(ask(location))["status"] == "ok"
    key = keys_of(install.integration)["jwt"]
    token = sent(partner).removeprefix("Bearer ")
    assert jwt.decode(token, key, algorithms=["HS256"], audience="partner")["iss"] == "posz"
    assert "webhook-signature" in {name.lower() for name in partner.requests[0].headers}


def with_tokens(partner, *issued, expires_in=3600):
    """A partner that gives these tokens one after the other and takes only the last one given."""
    waiting = list(issued)
    given = []

    def answer(request):
        if request.path == "/token":
            given.append(waiting.pop(0))
            return as_json({"access_token": given[-1], "expires_in": expires_in})
        if request.headers.get("Authorization") != f"Bearer {given[-1]}":
            return Reply(401)
        return answer_with(STARTED)(request)

    partner.answer = answer
    return given


def credentials(partner):
    return CREDENTIALS | {"token_url": f"{partner.url}/token"}


def test_client_credentials_are_changed_into_a_token_that_is_kept(location, partner):
    install_key(location, partner, credentials(partner))
    with_tokens(partner, "t-1")

    statuses = [only(ask(location, data=PAYMENT | {"payment_id": name}))["status"] for name in "ab"]

    assert statuses == ["ok", "ok"]
    assert partner.paths() == ["/token"] + ["/posz/v1/payment_method/create"] * 2
    assert sent(partner, 0) == f"Basic {base64.b64encode(f'maple:{KEY}'.encode()).decode()}"
    assert parse_qs(partner.requests[0].body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["pay"],
    }


def test_token_that_is_refused_is_fetched_anew_once(location, partner):
    install_key(location, partner, credentials(partner))
    given = with_tokens(partner, "t-1", "t-2")
    ask(location)
    given.append("revoked")

    assert only(ask(location, data=PAYMENT | {"payment_id": "b"}))["status"] == "ok"
    assert sent(partner) == "Bearer t-2"


def test_token_that_ends_at_once_is_not_kept(location, partner):
    install_key(location, partner, credentials(partner))
    with_tokens(partner, "t-1", "t-2", expires_in=5)

    ask(location)
    ask(location, data=PAYMENT | {"payment_id": "b"})

    assert partner.paths().count("/token") == 2


@pytest.mark.parametrize(
    ("reply", "output"),
    [
        (Reply(401), {}),
        (Reply(200, b"[]"), {"payment_id": "pay-1", "status": "pending_verification"}),
        (
            as_json({"access_token": "a b"}),
            {"payment_id": "pay-1", "status": "pending_verification"},
        ),
    ],
)
def test_no_token_is_no_payment(location, partner, reply, output):
    install_key(location, partner, credentials(partner))
    partner.answer = lambda _request: reply

    result = only(ask(location))

    assert (result["status"], result["output"]) == ("error", output)
    assert KEY not in result["error"]["message"]


def connected(location, partner):
    """An account at the partner, connected by OAuth, with a token good for an hour."""
    row = make_oauth_integration(
        partner.url, capabilities={"payment_method": 1}, api_base_url=partner.url
    )
    partner.answer = answer_with(STARTED, keys_of(row)["outbound"])
    tokens = Tokens("account-token", "refresh-token", 3600)
    grant = grants.keep_new(location.merchant_id, row, tokens, connected_by="x")
    return lifecycle.install(owner_of(location.merchant), row, grant=grant)


def test_token_of_a_connected_account_goes_along(location, partner):
    connected(location, partner)

    assert only(ask(location))["status"] == "ok"
    assert sent(partner) == "Bearer account-token"


def test_token_that_has_ended_costs_the_till_no_refresh(location, partner):
    install = connected(location, partner)
    OAuthGrant.objects.filter(installs=install).update(expires_at=timezone.now())

    result = only(ask(location))

    assert (result["status"], result["output"]) == ("error", {})
    assert partner.requests == []


@pytest.mark.parametrize(
    "auth",
    [
        {"scheme": "jwt", "field": "api_key", "issuer": "posz", "audience": "p"},
        CREDENTIALS | {"token_url": "https://partner.example/token"},
        CREDENTIALS | {"token_url": "https://partner.example/token", "scope": ""},
    ],
)
def test_request_auth_that_is_sound_is_accepted(auth):
    check_request_auth(auth, KEY_SCHEMA)


@pytest.mark.parametrize(
    "auth",
    [
        {"scheme": "jwt", "field": "api_key", "issuer": "posz"},
        {"scheme": "jwt", "field": "unknown", "issuer": "posz", "audience": "p"},
        {"scheme": "jwt", "field": "api_key", "issuer": "", "audience": "p"},
        {"scheme": "platform_jwt", "issuer": "posz", "audience": 7},
        CREDENTIALS | {"token_url": "https://10.0.0.1/token"},
        CREDENTIALS | {"token_url": "ftp://partner.example"},
        CREDENTIALS | {"token_url": "https://partner.example/t", "client_id_field": "nope"},
    ],
)
def test_request_auth_that_is_unsound_is_refused(auth):
    with pytest.raises(ValidationError):
        check_request_auth(auth, KEY_SCHEMA)


def test_platform_jwt_is_for_partners_that_posz_has_a_key_with():
    row = make_integration(
        auth_shape=AuthShape.MERCHANT_KEY,
        config_schema=KEY_SCHEMA,
        request_auth={"scheme": "jwt", "field": "api_key", "issuer": "p", "audience": "p"},
    )
    row.auth_shape = AuthShape.PLATFORM_SHARED

    with pytest.raises(ValidationError) as refusal:
        row.full_clean()

    assert set(refusal.value.message_dict) == {"request_auth"}


# What partners post


def event(data):
    return PartnerEvent("e-1", "reservation.upserted", "reservation_provider", None, data, None)


def test_partners_event_is_read_as_the_contract_says():
    assert Generic().reservation_change(event(BOOKING)).external_id == "G-90a1"


def test_partners_event_that_is_wrong_names_the_field():
    with pytest.raises(PermanentError, match="external_id"):
        Generic().reservation_change(event({"party_size": 4}))
