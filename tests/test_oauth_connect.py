"""The connect flow over HTTP against a partner that is right, and against one that is not."""

import base64
import hashlib
import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.utils import timezone

from installs import grants, lifecycle, oauth
from installs.models import (
    AuditEntry,
    Connection,
    Install,
    Membership,
    OAuthGrant,
    OAuthState,
    Role,
)
from tests.factories import (
    make_install,
    make_location,
    make_merchant,
    make_oauth_integration,
    make_user,
    owner_of,
)
from tests.oauth_partner import OAuthPartner, query_of
from tests.partners import Reply, as_json

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def partner(settings):
    with OAuthPartner() as running:
        settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, running.host]
        yield running


@pytest.fixture
def merchant():
    return make_merchant(name="Maple & Oat")


@pytest.fixture
def integration(partner):
    return make_oauth_integration(partner.url, slug="event-crm")


@pytest.fixture
def client(merchant):
    return signed_in(make_user(merchant))


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def leave(client: Client, slug: str = "event-crm", **form: Any) -> dict[str, str]:
    """Press Connect; what the partner's consent page would be asked."""
    response = client.post(f"/integrations/{slug}/connect", form)
    assert response.status_code == 303, response.content.decode()
    return query_of(response.headers["Location"])


def come_back(client: Client, slug: str = "event-crm", **answer: str) -> Any:
    return client.get(f"/integrations/{slug}/callback?{urlencode(answer)}")


def connected(client: Client, **form: Any) -> Install:
    response = come_back(client, state=leave(client, **form)["state"], code="code-1")
    assert response.status_code == 302, response.content.decode()
    return Install.objects.latest("installed_at")


def words(response: Any) -> str:
    return " ".join(response.content.decode().split())


def problems() -> list[str]:
    entries = AuditEntry.objects.filter(action="oauth.refused").order_by("id")
    return [entry.data["problem"] for entry in entries]


# On the way out


def test_connect_leads_to_the_partner_with_pkce_and_an_exact_address(client, integration, partner):
    response = client.post("/integrations/event-crm/connect")

    location = response.headers["Location"]
    assert location.startswith(f"{partner.url}/authorize?")
    asked = query_of(location)
    assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")
    assert asked["redirect_uri"].endswith("/integrations/event-crm/callback")
    assert asked["scope"] == "events:write"
    assert not Install.objects.exists()


def test_connect_by_htmx_sends_the_whole_page_there(client, integration, partner):
    response = client.post("/integrations/event-crm/connect", headers=HTMX)

    assert response.headers["HX-Redirect"].startswith(f"{partner.url}/authorize?")


def test_connect_keeps_neither_state_nor_verifier_in_clear(client, integration):
    state = leave(client)["state"]

    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM oauth_state")
        stored = str(cursor.fetchall())
    assert state not in stored
    assert OAuthState.objects.get().payload["verifier"] not in stored


def test_detail_page_offers_connect_and_lets_the_form_lead_to_the_partner(
    client, integration, partner
):
    response = client.get("/integrations/event-crm")

    assert 'action="/integrations/event-crm/connect"' in response.content.decode()
    assert f"form-action 'self' {partner.url}" in response["Content-Security-Policy"]


def test_connect_where_it_is_installed_is_refused_before_leaving(client, integration):
    connected(client)

    response = client.post("/integrations/event-crm/connect")

    assert response.status_code == 409


def test_connect_of_an_integration_without_oauth_answers_404(client):
    from tests.factories import make_integration

    make_integration("plain-partner")

    assert client.post("/integrations/plain-partner/connect").status_code == 404


def test_viewer_can_not_connect(merchant, integration):
    response = signed_in(make_user(merchant, Role.VIEWER)).post("/integrations/event-crm/connect")

    assert response.status_code == 403


def test_manager_of_one_outlet_connects_that_one_only(merchant, integration):
    ubud, senopati = make_location(merchant), make_location(merchant)
    user = make_user(merchant, Role.MANAGER)
    Membership.objects.get(user=user).locations.set([ubud])
    client = signed_in(user)

    refused = client.post("/integrations/event-crm/connect", {"location": senopati.pk})
    install = connected(client, location=ubud.pk)

    assert refused.status_code == 403
    assert install.location == ubud


# Back with a code


def test_callback_installs_with_encrypted_tokens_and_the_account(
    client, merchant, integration, partner
):
    install = connected(client)

    assert (install.connection, install.location) == (Connection.CONNECTED, None)
    grant = install.grant
    assert grant is not None
    assert (grant.account_id, grant.account_name) == ("acct-1", "Maple Roastery")
    assert grant.granted_scopes == ["events:write"]
    assert (grant.revoke_due_at, grant.merchant_id) == (None, merchant.pk)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM oauth_grant")
        assert grant.tokens["access_token"] not in str(cursor.fetchall())


def test_callback_proves_the_verifier_and_the_client_at_the_token_endpoint(
    client, integration, partner
):
    asked = leave(client)
    come_back(client, state=asked["state"], code="code-1")

    [form] = partner.asked("/token")
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
    assert (form["redirect_uri"], form["code"]) == (asked["redirect_uri"], "code-1")
    expected = base64.b64encode(b"posz:the-client-secret").decode()
    assert partner.requests[0].headers["Authorization"] == f"Basic {expected}"
    assert "client_secret" not in form


def test_client_proves_itself_in_the_body_where_the_partner_wants_that(client, partner):
    make_oauth_integration(partner.url, slug="event-crm", oauth={"token_auth": "post"})

    connected(client)

    [form] = partner.asked("/token")
    assert (form["client_id"], form["client_secret"]) == ("posz", "the-client-secret")
    assert "Authorization" not in partner.requests[0].headers


def test_account_is_read_from_the_token_answer_where_it_stands_there(client, partner):
    make_oauth_integration(
        partner.url, slug="event-crm", oauth={"account": {"pointer": "/access_token"}}
    )

    install = connected(client)

    assert install.grant is not None
    assert install.grant.account_id.startswith("access-")
    assert "/me" not in partner.paths()


def test_connect_keeps_the_settings_that_were_filled_in(client, partner):
    schema = {"type": "object", "properties": {"list": {"type": "string"}}}
    make_oauth_integration(partner.url, slug="event-crm", config_schema=schema)

    install = connected(client, **{"config-list": "Guests"})

    assert install.config == {"list": "Guests"}


def test_scope_left_out_of_the_answer_means_what_was_asked_for(client, integration, partner):
    partner.scope = None

    assert connected(client).grant.granted_scopes == ["events:write"]


def test_conflict_that_came_meanwhile_is_told_and_the_tokens_go_back(
    client, merchant, integration, partner
):
    state = leave(client)["state"]
    lifecycle.install(owner_of(merchant), integration)

    response = come_back(client, state=state, code="code-1")

    assert response.status_code == 409
    assert OAuthGrant.objects.due_for_revocation(timezone.now()).count() == 1


# Back without one


def test_access_denied_is_told_in_words(client, integration):
    response = come_back(client, state=leave(client)["state"], error="access_denied")

    assert response.status_code == 400
    assert "The request was declined at the partner" in words(response)
    assert problems() == ["access_denied"]


@pytest.mark.parametrize("error", ["server_error", "<script>alert(1)</script>", "x" * 5000])
def test_other_errors_are_told_without_the_partners_own_words(client, integration, error):
    response = come_back(client, state=leave(client)["state"], error=error)

    assert response.status_code == 400
    assert "<script>alert" not in response.content.decode()


def test_callback_without_code_is_refused(client, integration):
    response = come_back(client, state=leave(client)["state"])

    assert (response.status_code, problems()) == (400, ["no_code"])


@pytest.mark.parametrize("state", ["", "made-up", "x" * 100_000, "é", "\x00"])
def test_made_up_state_answers_404(client, integration, state):
    response = come_back(client, state=state, code="code-1")

    assert (response.status_code, problems()) == (404, ["state_unknown"])


def test_state_that_came_twice_in_the_address_answers_404(client, integration):
    state = leave(client)["state"]

    response = client.get(f"/integrations/event-crm/callback?state={state}&state={state}&code=c")

    assert response.status_code == 404


def test_state_is_good_once(client, integration, partner):
    state = leave(client)["state"]
    come_back(client, state=state, code="code-1")

    response = come_back(client, state=state, code="code-2")

    assert (response.status_code, problems()) == (400, ["state_used"])
    assert len(partner.asked("/token")) == 1


def test_used_state_keeps_neither_verifier_nor_settings(client, integration):
    connected(client)

    assert OAuthState.objects.get().payload == {}


def test_state_is_good_for_ten_minutes(client, integration, partner):
    state = leave(client)["state"]
    with time_machine.travel(timezone.now() + timedelta(minutes=10, seconds=1), tick=False):
        response = come_back(client, state=state, code="code-1")

    assert (response.status_code, problems()) == (400, ["state_expired"])
    assert not partner.requests


def test_state_of_another_person_of_the_same_merchant_answers_404(
    client, merchant, integration, partner
):
    state = leave(client)["state"]

    response = come_back(signed_in(make_user(merchant)), state=state, code="code-1")

    assert response.status_code == 404
    assert not partner.requests
    assert come_back(client, state=state, code="code-1").status_code == 302


def test_state_of_another_tenant_answers_exactly_like_a_made_up_one(client, integration, partner):
    state = leave(client)["state"]
    stranger = signed_in(make_user(make_merchant()))

    foreign = come_back(stranger, state=state, code="code-1")
    made_up = come_back(stranger, state="made-up", code="code-1")

    assert (foreign.status_code, made_up.status_code) == (404, 404)
    assert without_tokens(foreign) == without_tokens(made_up)
    assert not partner.requests


def without_tokens(response: Any) -> str:
    import re

    text = re.sub(r'csrfmiddlewaretoken" value="\w+"', "", response.content.decode())
    return re.sub(r"X-CSRFToken[^}]+|state=[^&\"]+", "", text)


def test_state_of_another_integration_answers_404(client, integration, partner):
    make_oauth_integration(partner.url, slug="other-crm")
    state = leave(client)["state"]

    response = come_back(client, "other-crm", state=state, code="code-1")

    assert response.status_code == 404


def test_callback_signed_out_asks_to_sign_in_first(client, integration):
    state = leave(client)["state"]

    response = come_back(Client(), state=state, code="code-1")

    assert response.headers["Location"].startswith("/accounts/login/?next=/integrations/event-crm")


def test_callback_of_somebody_who_left_the_merchant_answers_404(client, merchant, integration):
    state = leave(client)["state"]
    user_id = client.session["_auth_user_id"]
    Membership.objects.filter(user_id=user_id).delete()
    Membership.objects.create(user_id=user_id, merchant=make_merchant(), role=Role.OWNER)

    assert come_back(client, state=state, code="code-1").status_code == 404


def test_callback_of_somebody_whose_role_sank_installs_nothing(client, merchant, integration):
    state = leave(client)["state"]
    Membership.objects.update(role=Role.VIEWER)

    response = come_back(client, state=state, code="code-1")

    assert response.status_code == 403
    assert not Install.objects.exists()
    assert OAuthGrant.objects.due_for_revocation(timezone.now()).count() == 1


def test_callback_comes_home_to_the_merchant_it_left_from(client, merchant, integration):
    state = leave(client)["state"]
    other = make_merchant(name="Zaitun")
    user_id = client.session["_auth_user_id"]
    Membership.objects.create(user_id=user_id, merchant=other, role=Role.OWNER)
    client.post("/merchant", {"merchant_id": other.pk})

    come_back(client, state=state, code="code-1")

    assert Install.objects.get().merchant == merchant


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_callback_never_leads_to_another_host(client, integration, target):
    state = leave(client)["state"]

    response = come_back(client, state=state, code="c", next=target, redirect_uri=target)

    assert response.headers["Location"] == "/integrations/event-crm"


@pytest.mark.parametrize("iss", [None, "https://evil.example", "https://crm.example/"])
def test_mix_up_is_refused_where_the_issuer_is_known(client, partner, iss):
    make_oauth_integration(partner.url, slug="event-crm", oauth={"issuer": "https://crm.example"})
    state = leave(client)["state"]

    answer = {"state": state, "code": "code-1"} | ({"iss": iss} if iss else {})
    response = come_back(client, **answer)

    assert (response.status_code, problems()) == (400, ["wrong_issuer"])
    assert not partner.requests


def test_right_issuer_is_accepted(client, partner):
    make_oauth_integration(partner.url, slug="event-crm", oauth={"issuer": "https://crm.example"})

    response = come_back(
        client, state=leave(client)["state"], code="code-1", iss="https://crm.example"
    )

    assert response.status_code == 302


# A token endpoint that misbehaves

GOOD = {"access_token": "a", "token_type": "Bearer", "expires_in": 60}


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(200, b"<!doctype html><p>access_token", {"Content-Type": "text/html"}), "nonsense"),
        (Reply(500, b"oops"), "upstream_error"),
        (Reply(503, b'{"error": "invalid_grant"}'), "upstream_error"),
        (Reply(302, b"", {"Location": "https://evil.example/token"}), "nonsense"),
        (Reply(200, b" " * 70_000), "too_large"),
        (Reply(200, b"[]"), "nonsense"),
        (as_json({**GOOD, "access_token": None}), "nonsense"),
        (as_json({**GOOD, "access_token": "a\r\nX-Evil: 1"}), "nonsense"),
        (as_json({**GOOD, "token_type": "mac"}), "nonsense"),
        (as_json({**GOOD, "refresh_token": 7}), "nonsense"),
        (as_json({"error": "invalid_grant"}, 400), "code_refused"),
        (as_json({"error": "invalid_client"}, 401), "unauthorized"),
        (as_json({"error": "temporarily_unavailable"}, 200), "nonsense"),
        (as_json({"error": {"code": "invalid_grant"}}, 400), "refused"),
        (as_json({"error": ["invalid_client"]}, 401), "refused"),
    ],
)
def test_wrong_token_answer_is_told_in_words(client, integration, partner, reply, problem):
    partner.token_reply = reply
    state = leave(client)["state"]

    response = come_back(client, state=state, code="code-1")

    assert (response.status_code, problems()) == (400, [problem])
    assert "event-crm" in response.content.decode() or "Partner" in response.content.decode()
    assert not OAuthGrant.objects.exists()
    assert not Install.objects.exists()


@pytest.mark.parametrize("expires_in", ["3600", 3600, None, -5, "soon", 1e300, True])
def test_any_lifetime_a_partner_may_write_is_understood(client, integration, partner, expires_in):
    partner.token_reply = Reply(200, json.dumps({**GOOD, "expires_in": expires_in}).encode())

    assert connected(client).connection == Connection.CONNECTED


def test_token_endpoint_that_is_down_is_told_in_words(client, integration, settings):
    settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, "127.0.0.1:9"]
    integration.oauth_settings |= {"token_url": "http://127.0.0.1:9/token"}
    integration.save()

    response = come_back(client, state=leave(client)["state"], code="code-1")

    assert "could not be reached" in words(response)


def test_missing_scope_is_named_and_the_tokens_go_back(client, partner):
    make_oauth_integration(
        partner.url, slug="event-crm", oauth={"scopes": ["events:write", "events:read"]}
    )

    response = come_back(client, state=leave(client)["state"], code="code-1")

    assert response.status_code == 400
    assert "events:read" in words(response)
    assert not Install.objects.exists()
    assert OAuthGrant.objects.due_for_revocation(timezone.now()).count() == 1


@pytest.mark.parametrize(
    "reply",
    [Reply(500), as_json({}), as_json({"id": ""}), Reply(200, b"<p>"), as_json({"id": [1]})],
)
def test_account_that_is_not_told_ends_it_and_the_tokens_go_back(
    client, integration, partner, reply
):
    partner.me_reply = reply

    response = come_back(client, state=leave(client)["state"], code="code-1")

    assert response.status_code == 400
    assert OAuthGrant.objects.due_for_revocation(timezone.now()).count() == 1


def test_tokens_of_a_process_that_died_before_installing_are_given_back(merchant, integration):
    from installs.oauth_client import Tokens

    grants.keep_new(merchant.pk, integration, Tokens("a"), connected_by="x")

    later = timezone.now() + timedelta(minutes=16)
    assert OAuthGrant.objects.due_for_revocation(later).count() == 1


# Again


def reconnect(client: Client, install: Install) -> Any:
    leaving = client.post(f"/integrations/event-crm/installs/{install.pk}/reconnect")
    state = query_of(leaving.headers["Location"])["state"]
    return come_back(client, state=state, code="code-2")


def test_reconnect_keeps_the_install_and_its_settings(client, partner):
    schema = {"type": "object", "properties": {"list": {"type": "string"}}}
    make_oauth_integration(partner.url, slug="event-crm", config_schema=schema)
    install = connected(client, **{"config-list": "Guests"})
    before = install.grant

    response = reconnect(client, install)

    assert response.status_code == 302
    after = Install.objects.get()
    assert (after.pk, after.config) == (install.pk, {"list": "Guests"})
    assert after.grant != before
    assert OAuthGrant.objects.count() == 1


def test_reconnect_that_is_declined_says_that_the_connection_stays(client, integration):
    install = connected(client)
    leaving = client.post(f"/integrations/event-crm/installs/{install.pk}/reconnect")
    state = query_of(leaving.headers["Location"])["state"]

    response = come_back(client, state=state, error="access_denied")

    assert "stays connected as before" in words(response)
    assert "Nothing was installed" not in words(response)
    assert "is not connected" not in words(response)


def test_reconnect_of_a_lost_connection_that_is_declined_says_so(client, integration):
    install = connected(client)
    Install.objects.update(connection="failed")
    leaving = client.post(f"/integrations/event-crm/installs/{install.pk}/reconnect")
    state = query_of(leaving.headers["Location"])["state"]

    response = come_back(client, state=state, error="access_denied")

    assert "is not connected" in words(response)


def test_partner_that_comes_back_twice_does_not_deny_the_connection(client, integration):
    state = leave(client)["state"]
    come_back(client, state=state, code="code-1")

    again = come_back(client, state=state, code="code-1")

    assert "stays connected as before" in words(again)


def test_reconnect_to_another_account_asks_first(client, integration, partner):
    install = connected(client)
    partner.account = {"id": "acct-2", "name": "Oat Bakery"}

    response = reconnect(client, install)

    assert "Maple Roastery" in words(response)
    assert "Oat Bakery" in words(response)
    assert Install.objects.get().grant == install.grant


def test_reconnect_to_another_account_is_done_once_confirmed(client, integration, partner):
    install = connected(client)
    partner.account = {"id": "acct-2", "name": "Oat Bakery"}
    state = reconnect(client, install).context["change"].state
    address = f"/integrations/event-crm/confirm/{state.pk}"

    confirmed, again = client.post(address), client.post(address)

    assert (confirmed.status_code, again.status_code) == (302, 404)
    row = Install.objects.get()
    assert (row.pk, row.grant.account_id) == (install.pk, "acct-2")
    due = OAuthGrant.objects.due_for_revocation(timezone.now())
    assert [grant.account_id for grant in due] == ["acct-1"]


def test_confirm_by_another_person_answers_404(client, merchant, integration, partner):
    install = connected(client)
    partner.account = {"id": "acct-2"}
    state = reconnect(client, install).context["change"].state

    response = signed_in(make_user(merchant)).post(f"/integrations/event-crm/confirm/{state.pk}")

    assert response.status_code == 404


def test_other_account_that_nobody_confirms_is_given_back(client, integration, partner):
    install = connected(client)
    partner.account = {"id": "acct-2"}
    reconnect(client, install)

    later = timezone.now() + timedelta(minutes=16)
    due = OAuthGrant.objects.due_for_revocation(later)
    assert [grant.account_id for grant in due] == ["acct-2"]


def test_reconnect_of_another_merchants_install_answers_404(client, integration):
    install = connected(client)
    stranger = signed_in(make_user(make_merchant()))

    response = stranger.post(f"/integrations/event-crm/installs/{install.pk}/reconnect")

    assert response.status_code == 404


def test_install_by_the_api_waits_for_somebody_to_connect_it(client, merchant, integration):
    install = make_install(merchant, integration)

    assert (install.connection, install.connection_problem) == ("failed", "not_connected")
    assert reconnect(client, install).status_code == 302
    install.refresh_from_db()
    assert install.connection == Connection.CONNECTED


def test_old_states_are_pruned(client, integration):
    leave(client)
    OAuthState.objects.update(expires_at=timezone.now() - timedelta(days=2))
    leave(client)

    assert oauth.prune_states() == 1
    assert OAuthState.objects.count() == 1
