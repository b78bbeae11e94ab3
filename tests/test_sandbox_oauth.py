"""The sandbox as the OAuth server of `demo-oauth`, asked without a hub."""

import base64
import hashlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.utils import timezone

from dispatch.sandbox.messages import Answer, Request
from dispatch.sandbox.oauth import CODE_SECONDS, DemoOAuth
from tests.oauth_partner import query_of

VERIFIER = "v" * 64
HUB = "http://127.0.0.1:8000"
ASKED = {
    "client_id": "posz-demo",
    "redirect_uri": f"{HUB}/integrations/demo-oauth/callback",
    "response_type": "code",
    "scope": "events:write",
    "state": "s-1",
    "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest())
    .rstrip(b"=")
    .decode(),
    "code_challenge_method": "S256",
}
BASIC = {"Authorization": "Basic " + base64.b64encode(b"posz-demo:top").decode()}


@pytest.fixture
def provider() -> DemoOAuth:
    return DemoOAuth(lambda: [b"top"], HUB)


def post(form: dict[str, str], headers: dict[str, str] | None = None) -> Request:
    return Request("POST", "/", "", headers or {}, urlencode(form).encode())


def allowed(provider: DemoOAuth, account: str = "a") -> str:
    answer = provider.decide(post(ASKED | {"act": "allow", "account": account}))
    back = query_of(answer.headers["Location"])
    assert back["state"] == "s-1"
    return back["code"]


def ask(provider: DemoOAuth, headers: Any = BASIC, **form: str) -> Answer:
    return provider.token(post(form, headers))


def exchange(provider: DemoOAuth, given: str, **over: str) -> Answer:
    form = {
        "grant_type": "authorization_code",
        "code": given,
        "code_verifier": VERIFIER,
        "redirect_uri": ASKED["redirect_uri"],
    }
    return ask(provider, **(form | over))


def renew(provider: DemoOAuth, token: str) -> Answer:
    return ask(provider, grant_type="refresh_token", refresh_token=token)


def body(answer: Answer) -> Any:
    return json.loads(answer.body)


def me(provider: DemoOAuth, token: str) -> Answer:
    return provider.me(Request("GET", "/", "", {"Authorization": f"Bearer {token}"}, b""))


def test_consent_page_shows_rights_and_accounts_and_may_lead_back_to_the_hub(provider):
    page = provider.show_consent(Request("GET", "/", urlencode(ASKED), {}, b""))

    html = page.body.decode()
    assert "events:write" in html
    assert html.count('type="radio"') == 2
    assert f"form-action 'self' {HUB};" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "over",
    [
        {"client_id": "other"},
        {"redirect_uri": f"{HUB}/integrations/demo-oauth/callback/x"},
        {"redirect_uri": "https://evil.example/"},
        {"code_challenge_method": "plain"},
        {"code_challenge": ""},
        {"scope": "everything"},
        {"response_type": "token"},
    ],
)
def test_wrong_request_is_shown_and_sends_nobody_anywhere(provider, over):
    page = provider.show_consent(Request("GET", "/", urlencode(ASKED | over), {}, b""))
    decided = provider.decide(post(ASKED | over | {"act": "allow", "account": "a"}))

    assert (page.status, decided.status) == (400, 400)
    assert "Location" not in decided.headers


def test_deny_goes_back_with_an_error(provider):
    answer = provider.decide(post(ASKED | {"act": "deny", "account": "a"}))

    assert query_of(answer.headers["Location"]) == {"state": "s-1", "error": "access_denied"}


def test_code_is_exchanged_for_tokens_of_the_chosen_account(provider):
    tokens = body(exchange(provider, allowed(provider, "b")))

    assert (tokens["token_type"], tokens["scope"]) == ("Bearer", "events:write")
    assert body(me(provider, tokens["access_token"]))["id"] == "demo-account-b"


def test_code_is_good_once(provider):
    code = allowed(provider)
    exchange(provider, code)

    assert body(exchange(provider, code)) == {"error": "invalid_grant"}


def test_code_is_good_for_a_minute(provider):
    code = allowed(provider)

    with time_machine.travel(timezone.now().timestamp() + CODE_SECONDS + 1, tick=False):
        assert exchange(provider, code).status == 400


@pytest.mark.parametrize(
    "over", [{"code_verifier": "w" * 64}, {"redirect_uri": f"{HUB}/x"}, {"code": "made-up"}]
)
def test_code_with_wrong_proof_gives_nothing(provider, over):
    assert body(exchange(provider, allowed(provider), **over)) == {"error": "invalid_grant"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic !!!"}, {"Authorization": "x"}])
def test_client_has_to_prove_itself(provider, headers):
    assert ask(provider, headers, grant_type="refresh_token").status == 401


def test_refresh_rotates_and_reuse_ends_the_family(provider):
    first = body(exchange(provider, allowed(provider)))
    second = body(renew(provider, first["refresh_token"]))

    replayed = renew(provider, first["refresh_token"])

    assert body(replayed) == {"error": "invalid_grant"}
    assert renew(provider, second["refresh_token"]).status == 400
    assert me(provider, second["access_token"]).status == 401


def test_revocation_ends_the_family_and_says_yes_to_unknown_tokens(provider):
    tokens = body(exchange(provider, allowed(provider)))

    known = provider.revoke(post({"token": tokens["refresh_token"]}, BASIC))
    unknown = provider.revoke(post({"token": "made-up"}, BASIC))

    assert (known.status, unknown.status) == (200, 200)
    assert me(provider, tokens["access_token"]).status == 401
