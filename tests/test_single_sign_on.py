"""Sign-in through an OpenID Connect provider, which is a server of our own on a real socket."""

import json
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from installs.models import User
from poszhub.settings import oidc_providers
from tests.oauth_partner import form_of, query_of
from tests.partners import Partner, Reply, Request, as_json

pytestmark = pytest.mark.django_db
LOGIN = "/accounts/oidc/sso/login/"


class Issuer(Partner):
    def __init__(self) -> None:
        super().__init__(self._answer)
        self.claims: dict[str, Any] = {"email": "Ayu@mapleandoat.id", "email_verified": True}
        self.info: dict[str, Any] = {}
        self.issuer = self.url

    def _answer(self, request: Request) -> Reply:
        match urlsplit(request.path).path:
            case "/.well-known/openid-configuration":
                return as_json(
                    {
                        "issuer": self.issuer,
                        "authorization_endpoint": f"{self.url}/authorize",
                        "token_endpoint": f"{self.url}/token",
                        "userinfo_endpoint": f"{self.url}/userinfo",
                        "jwks_uri": f"{self.url}/jwks",
                    }
                )
            case "/token":
                now = int(time.time())
                claims = {"iss": self.issuer, "aud": "posz", "sub": "42", "iat": now}
                token = jwt.encode(claims | {"exp": now + 60} | self.claims, "k" * 32)
                return as_json({"access_token": "a", "token_type": "Bearer", "id_token": token})
            case "/userinfo":
                return as_json({"sub": "42"} | self.claims | self.info)
        return Reply(404)


@pytest.fixture
def issuer(settings, monkeypatch):
    with Issuer() as running:
        settings.OUTBOUND_ALLOW = [running.host]
        settings.OIDC_ISSUER = running.url
        monkeypatch.setenv("OIDC_CLIENT_ID", "posz")
        monkeypatch.setenv("OIDC_CLIENT_SECRET", "secret")
        settings.SOCIALACCOUNT_PROVIDERS = oidc_providers(running.url)
        yield running


@pytest.fixture
def ayu() -> User:
    return User.objects.create_user("ayu@mapleandoat.id", "nasi-goreng-41")


def come_back(client: Client, **over: str) -> Any:
    asked = query_of(client.get(LOGIN).headers["Location"])
    return client.get(
        f"{LOGIN}callback/?{urlencode({'state': asked['state'], 'code': 'c'} | over)}"
    )


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_button_is_there_only_where_a_provider_is_configured(client):
    assert "Sign in with" not in client.get("/accounts/login/").content.decode()
    assert client.get(LOGIN).status_code == 404


def test_button_leads_to_the_provider_with_pkce(client, issuer):
    page = client.get("/accounts/login/?next=/activity").content.decode()
    assert f'href="{LOGIN}?process=login&amp;next=%2Factivity"' in page

    asked = query_of(client.get(LOGIN).headers["Location"])

    assert (asked["code_challenge_method"], asked["client_id"]) == ("S256", "posz")


def test_known_verified_person_is_signed_in_and_keeps_the_password(client, issuer, ayu):
    response = come_back(client)

    assert response.headers["Location"] == "/integrations"
    assert client.session["_auth_user_id"] == str(ayu.pk)
    ayu.refresh_from_db()
    assert ayu.check_password("nasi-goreng-41")
    form = next(form_of(row) for row in issuer.requests if row.path == "/token")
    assert len(form["code_verifier"]) >= 43


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "nobody@example.com", "email_verified": True},
        {"email": "ayu@mapleandoat.id", "email_verified": False},
        {"email": "ayu@mapleandoat.id", "email_verified": "true"},
        {"email": "ayu@mapleandoat.id"},
        {"email_verified": True},
    ],
)
def test_unknown_or_unverified_address_gets_no_account(client, issuer, ayu, claims):
    issuer.claims = claims

    response = come_back(client)

    assert response.status_code == 403
    assert not is_signed_in(client)
    assert User.objects.count() == 1


def test_user_info_of_another_subject_is_refused(client, issuer, ayu):
    issuer.info = {"sub": "43"}

    assert come_back(client).status_code == 403


def test_token_of_another_issuer_is_refused(client, issuer, ayu):
    issuer.issuer = "https://evil.example"

    come_back(client)

    assert not is_signed_in(client)


def test_made_up_state_signs_nobody_in(client, issuer, ayu):
    come_back(client, state="made-up")

    assert not is_signed_in(client)


def test_provider_that_is_down_is_told_in_words(client, issuer, ayu):
    issuer.answer = lambda _request: Reply(500, json.dumps({"error": "x"}).encode())

    response = client.get(LOGIN)

    assert response.status_code == 502
    assert "could not be reached" in response.content.decode()


def test_inactive_person_is_not_signed_in(client, issuer, ayu):
    User.objects.update(is_active=False)

    come_back(client)

    assert not is_signed_in(client)


def test_half_a_configuration_stops_the_start():
    with pytest.raises(ImproperlyConfigured):
        oidc_providers("https://sso.example")
