"""What staff set up for a partner's OAuth server, and what they never see again."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from catalog.models import AuthShape, Integration
from catalog.oauth import check_oauth_settings
from installs.credentials import client_secret, ensure_secrets
from installs.models import AuditEntry, IntegrationSecret, User
from poszhub import seeds
from tests.factories import make_oauth_integration

SETTINGS: dict[str, Any] = {
    "authorize_url": "https://crm.example.com/authorize",
    "token_url": "https://crm.example.com/token",
    "account": {"pointer": "/account_id"},
    "client_id": "posz",
}


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"authorize_url": ""}, "authorize_url"),
        ({"client_id": 7}, "client_id"),
        ({"token_url": "https://10.0.0.1/token"}, "private or reserved"),
        ({"revoke_url": "http://localhost/revoke"}, "private"),
        ({"scopes": "events"}, "list of names"),
        ({"scopes": ["a b"]}, "list of names"),
        ({"token_auth": "none"}, "token_auth"),
        ({"account": None}, "account id stands"),
        ({"account": {"pointer": "id"}}, "account id stands"),
        ({"account": {"pointer": "/id", "url": "https://127.0.0.1/me"}}, "private or reserved"),
        ({"client_secret": "oops"}, "no “client_secret”"),
        ({"issuer": ["x"]}, "must be a text"),
    ],
)
def test_wrong_oauth_settings_are_told_in_words(over, words):
    with pytest.raises(ValidationError, match=words):
        check_oauth_settings(SETTINGS | over)


def test_right_oauth_settings_are_taken():
    check_oauth_settings(SETTINGS | {"scopes": ["events:write"], "issuer": "https://crm.example"})


@pytest.fixture
def staff(db) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("staff@posz.id", "x"))
    return client


def form_of(row: Integration, **over: str) -> dict[str, str]:
    names = [
        *("slug", "category_id", "name_en", "name_id", "tagline_en", "tagline_id"),
        *("description_en", "description_id", "auth_shape", "outbound_url", "data_residency"),
        "status",
    ]
    form = {
        name.removesuffix("_id") if name == "category_id" else name: getattr(row, name)
        for name in names
    }
    return {
        **form,
        "capabilities-customer_event_export": "on",
        "capabilities-customer_event_export-version": "1",
        "oauth_settings": json.dumps(row.oauth_settings),
        "config_schema": "{}",
        "inbound_events": "{}",
        "inbound_verification": "{}",
        "previous_secret_seconds": "300",
        "outbound_concurrency": "256",
        "secrets-TOTAL_FORMS": "0",
        "secrets-INITIAL_FORMS": "0",
        **over,
    }


def change(staff: Client, row: Integration, **over: str) -> Any:
    address = f"/admin/catalog/integration/{row.pk}/change/"
    response = staff.post(address, form_of(row, **over))
    assert response.status_code == 302, response.context["adminform"].form.errors
    return staff.get(address)


def test_staff_set_the_client_secret_and_never_see_it(staff, settings):
    settings.OUTBOUND_ALLOW = ["127.0.0.1:9"]
    row = make_oauth_integration("http://127.0.0.1:9")

    page = change(staff, row, client_secret="a-new-client-secret")

    assert client_secret(row.slug) == "a-new-client-secret"
    assert "a-new-client-secret" not in page.content.decode()
    assert "a-new-client-secret" not in str(list(LogEntry.objects.values()))


def test_setting_the_client_secret_is_in_the_audit_log_and_begins_its_age_anew(staff, settings):
    settings.OUTBOUND_ALLOW = ["127.0.0.1:9"]
    row = make_oauth_integration("http://127.0.0.1:9")
    IntegrationSecret.objects.update(activated_at=timezone.now() - timedelta(days=100), reminders=1)

    change(staff, row, client_secret="a-new-client-secret")

    secret = IntegrationSecret.objects.get(purpose="oauth_client")
    entry = AuditEntry.objects.latest("id")
    assert (secret.reminders, secret.quarters(timezone.now())) == (0, 0)
    assert (entry.action, entry.actor) == ("secret.set", "staff:staff@posz.id")
    assert entry.data == {"purpose": "oauth_client", "secret": str(secret.pk)}


def test_client_secret_left_empty_stays(staff, settings):
    settings.OUTBOUND_ALLOW = ["127.0.0.1:9"]
    row = make_oauth_integration("http://127.0.0.1:9")

    change(staff, row, client_secret="")

    assert client_secret(row.slug) == "the-client-secret"


@pytest.mark.django_db
def test_client_secret_is_not_one_that_posz_makes_up(settings):
    row = make_oauth_integration("http://127.0.0.1:9")

    assert sorted(ensure_secrets(row)) == ["inbound", "jwt", "outbound"]


@pytest.mark.django_db
def test_demo_oauth_is_seeded_once_and_moves_with_the_sandbox(settings):
    settings.OUTBOUND_ALLOW = ["127.0.0.1:8001", "127.0.0.1:9001"]
    settings.SANDBOX_PORT = 8001
    seeds.seed_demo({})
    secret = client_secret("demo-oauth")
    settings.SANDBOX_PORT = 9001

    seeds.seed_demo({})

    row = Integration.objects.get(slug="demo-oauth")
    assert (row.auth_shape, row.status, row.is_demo) == (AuthShape.OAUTH, "available", True)
    assert row.outbound_events == ["order.paid"]
    assert row.oauth.token_url == "http://127.0.0.1:9001/demo/demo-oauth/token"
    assert (client_secret("demo-oauth"), len(secret) > 30) == (secret, True)
