"""The whole life of a connection at a real OAuth server in a process of its own."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from dispatch import door, oauth
from dispatch.contracts import AuthError
from installs import lifecycle
from installs.models import Connection, Install, OAuthGrant
from installs.oauth import redirect_uri
from tests.factories import make_merchant, make_oauth_integration, make_user, owner_of
from tests.oauth_provider import CLIENT_SECRET, Provider, running_provider

pytestmark = pytest.mark.django_db
SLUG = "annas-crm"


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    with running_provider(tmp_path_factory.mktemp("provider"), redirect_uri(SLUG)) as running:
        yield running


@pytest.fixture
def install(provider, settings) -> Install:
    """Connected through the pages, with the consent that the provider gives by itself."""
    settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, provider.host]
    make_oauth_integration(provider.url, slug=SLUG)
    client = Client()
    client.force_login(make_user(make_merchant()))
    response = back(client, provider)
    assert response.status_code == 302, response.content.decode()
    return Install.objects.get()


def back(client: Client, provider: Provider) -> Any:
    leaving = client.post(f"/integrations/{SLUG}/connect")
    consent = door.call("GET", leaving.headers["Location"], timeout_seconds=10)
    location = urlsplit(consent.headers["Location"])
    assert location.path == f"/integrations/{SLUG}/callback"
    return client.get(f"{location.path}?{location.query}")


def token_of(install: Install) -> dict[str, str]:
    tokens: dict[str, str] = OAuthGrant.objects.get(installs=install).tokens
    return tokens


def me_status(provider: Provider, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return door.call("GET", f"{provider.url}/me", headers=headers, timeout_seconds=10).status


def make_expired(install: Install) -> None:
    now = timezone.now()
    OAuthGrant.objects.filter(installs=install).update(expires_at=now, refresh_due_at=now)


def test_connect_stores_tokens_that_work_and_whose_account_it_is(install, provider):
    assert install.connection == Connection.CONNECTED
    assert (install.grant.account_id, install.grant.account_name) == ("1", "Anna’s Deli")
    assert install.grant.granted_scopes == ["events:write"]
    assert me_status(provider, oauth.access_token_for(install)) == 200


def test_refresh_gives_another_token_that_works(install, provider):
    before = token_of(install)
    make_expired(install)

    after = oauth.access_token_for(install)

    assert after != before["access_token"]
    assert token_of(install)["refresh_token"] != before["refresh_token"]
    assert me_status(provider, after) == 200


def test_replayed_refresh_token_ends_in_reconnect(install, provider):
    """Somebody else, or an answer that got lost, has used the refresh token already."""
    grant = OAuthGrant.objects.select_related("integration").get(installs=install)
    oauth.Client().refresh(grant.integration, grant.tokens["refresh_token"])
    make_expired(install)

    with pytest.raises(AuthError):
        oauth.access_token_for(install)

    install.refresh_from_db()
    assert install.connection_problem == "reconnect_needed"


def test_uninstall_ends_both_tokens_at_the_provider(install, provider):
    tokens = token_of(install)
    integration = install.integration

    lifecycle.uninstall(owner_of(install.merchant), install.pk)
    oauth.revoke_due()

    assert me_status(provider, tokens["access_token"]) in {401, 403}
    with pytest.raises(oauth.OAuthError, match="refused"):
        oauth.Client().refresh(integration, tokens["refresh_token"])
    assert not OAuthGrant.objects.exists()


def test_code_is_good_once_at_the_provider(install, provider):
    """The same answer of the consent page, brought back by another trip of the same person."""
    client = Client()
    client.force_login(make_user(make_merchant()))
    first = client.post(f"/integrations/{SLUG}/connect").headers["Location"]
    second = client.post(f"/integrations/{SLUG}/connect").headers["Location"]
    answers = [
        urlsplit(door.call("GET", address, timeout_seconds=10).headers["Location"]).query
        for address in (first, second)
    ]
    code = dict(part.split("=", 1) for part in answers[0].split("&"))["code"]
    state = dict(part.split("=", 1) for part in answers[1].split("&"))["state"]

    response = client.get(f"/integrations/{SLUG}/callback?state={state}&code={code}")

    # The code belongs to the other trip's verifier, which the provider checks.
    assert response.status_code == 400
    assert Install.objects.count() == 1


def test_wrong_client_secret_is_our_side(install, provider):
    from installs.credentials import set_client_secret

    set_client_secret(install.integration, CLIENT_SECRET + "x")
    make_expired(install)

    with pytest.raises(oauth.TemporaryError):
        oauth.access_token_for(install)

    grant = OAuthGrant.objects.get(installs=install)
    assert (grant.problem, grant.needs_reconnect) == ("unauthorized", False)
