import re
import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.urls import reverse

from installs.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "nasi-goreng-41"

ENTRANCES = ["/accounts/login/", "/accounts/password/reset/", "/accounts/password/reset/done/"]
MANAGED = ["/accounts/logout/", "/accounts/password/change/", "/accounts/email/", "/accounts/2fa/"]


@pytest.fixture(autouse=True)
def _no_attempts_remembered():
    cache.clear()


@pytest.fixture
def person() -> User:
    return User.objects.create_user("ayu@mapleandoat.id", PASSWORD, name="Ayu")


@pytest.fixture
def signed_in(client: Client, person: User) -> Client:
    sign_in(client)
    return client


def sign_in(client: Client, **extra: str) -> Any:
    return client.post(
        "/accounts/login/", {"login": "ayu@mapleandoat.id", "password": PASSWORD} | extra
    )


def totp_code(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))


def confirm_password(client: Client) -> None:
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})


def turn_on_second_step(client: Client) -> str:
    confirm_password(client)
    page = client.get("/accounts/2fa/totp/activate/")
    secret = str(page.context["form"].secret)
    client.post("/accounts/2fa/totp/activate/", {"code": totp_code(secret)})
    return secret


@pytest.mark.parametrize("path", ENTRANCES)
@pytest.mark.parametrize("language", ["en", "id"])
def test_entrance_pages_are_there_in_both_languages(client: Client, path: str, language: str):
    page = client.get(path, headers={"accept-language": language})

    assert page.status_code == 200
    assert f'lang="{language}"' in page.content.decode()


@pytest.mark.parametrize("path", MANAGED)
@pytest.mark.parametrize("language", ["en", "id"])
def test_account_pages_are_there_in_both_languages(signed_in: Client, path: str, language: str):
    page = signed_in.get(path, headers={"accept-language": language})

    assert page.status_code == 200
    assert f'lang="{language}"' in page.content.decode()


def test_login_leads_to_the_integrations(client: Client, person: User):
    answer = sign_in(client)

    assert (answer.status_code, answer["Location"]) == (302, "/integrations")


def test_login_takes_any_case_of_the_email(client: Client, person: User):
    answer = sign_in(client, login="Ayu@MapleAndOat.id")

    assert answer.status_code == 302


def test_login_with_wrong_password_says_so_in_words(client: Client, person: User):
    html = sign_in(client, password="wrong").content.decode()

    assert re.search(r'role="alert"[^>]*autofocus>\s*<p>[^<]*not correct', html)


def test_login_field_error_is_tied_to_its_field(client: Client):
    html = client.post("/accounts/login/", {"login": "ayu", "password": "x"}).content.decode()

    field = re.search(r'<input[^>]*name="login"[^>]*>', html)
    assert field is not None
    assert 'aria-invalid="true"' in field[0]
    assert 'aria-describedby="id_login_error"' in field[0]
    assert "autofocus" in field[0]
    assert 'id="id_login_error"' in html


def test_login_fields_can_be_filled_by_a_password_manager(client: Client):
    html = client.get("/accounts/login/").content.decode()

    assert 'autocomplete="email"' in html
    assert 'autocomplete="current-password"' in html


def test_login_is_refused_for_a_while_after_too_many_attempts(client: Client, person: User):
    for _attempt in range(5):
        sign_in(client, password="wrong")

    assert sign_in(client).status_code != 302


def test_login_goes_to_next_on_the_own_host(client: Client, person: User):
    assert sign_in(client, next="/activity")["Location"] == "/activity"


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_login_never_redirects_to_another_host(client: Client, person: User, address: str):
    assert sign_in(client, next=address)["Location"] == "/integrations"


def test_logout_asks_first(signed_in: Client):
    signed_in.get("/accounts/logout/")

    assert "_auth_user_id" in signed_in.session


def test_logout_ends_the_session(signed_in: Client):
    answer = signed_in.post("/accounts/logout/")

    assert answer["Location"] == "/accounts/login/"
    assert "_auth_user_id" not in signed_in.session


def test_signup_is_closed(client: Client):
    client.post(
        "/accounts/signup/",
        {"email": "new@example.com", "password1": PASSWORD, "password2": PASSWORD},
    )

    assert not User.objects.exists()


def test_signup_says_who_opens_accounts(client: Client):
    assert "posz@uncle-z.com" in client.get("/accounts/signup/").content.decode()


def test_reset_link_changes_the_password(client: Client, person: User):
    client.post("/accounts/password/reset/", {"email": person.email})
    link = re.search(r"/accounts/password/reset/key/\S+", str(mail.outbox[0].body))
    assert link is not None

    form = client.get(link[0], follow=True)
    client.post(
        form.request["PATH_INFO"], {"password1": "soto-ayam-77", "password2": "soto-ayam-77"}
    )

    person.refresh_from_db()
    assert person.check_password("soto-ayam-77")


def test_reset_does_not_tell_who_has_an_account(client: Client, person: User):
    known = client.post("/accounts/password/reset/", {"email": person.email})
    unknown = client.post("/accounts/password/reset/", {"email": "nobody@example.com"})

    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])


def test_worn_reset_link_offers_a_new_one(client: Client):
    page = client.get("/accounts/password/reset/key/1-set-password/", follow=True)

    assert f'href="{reverse("account_reset_password")}"' in page.content.decode()


def test_second_step_is_asked_for_at_sign_in(signed_in: Client):
    secret = turn_on_second_step(signed_in)
    signed_in.logout()
    cache.clear()

    answer = sign_in(signed_in)
    assert answer["Location"] == "/accounts/2fa/authenticate/"
    signed_in.post("/accounts/2fa/authenticate/", {"code": totp_code(secret)})
    assert "_auth_user_id" in signed_in.session


def test_second_step_is_changed_only_after_the_password_again(signed_in: Client):
    answer = signed_in.get("/accounts/2fa/totp/activate/")

    assert answer["Location"].startswith("/accounts/reauthenticate/?next=")


def test_second_step_secret_is_encrypted_at_rest(signed_in: Client):
    secret = turn_on_second_step(signed_in)

    with connection.cursor() as cursor:
        cursor.execute("SELECT data FROM mfa_authenticator")
        stored = str(cursor.fetchall())
    assert Authenticator.objects.filter(type=Authenticator.Type.TOTP).exists()
    assert secret not in stored


def test_second_step_needs_no_verified_email_because_staff_open_accounts(
    signed_in: Client, person: User
):
    # This page is where allauth first notes the address, as one that nobody has verified.
    signed_in.get("/accounts/email/")

    turn_on_second_step(signed_in)

    assert Authenticator.objects.filter(user=person, type=Authenticator.Type.TOTP).exists()


def test_activation_shows_its_qr_code_as_the_policy_allows(signed_in: Client):
    confirm_password(signed_in)

    page = signed_in.get("/accounts/2fa/totp/activate/")

    assert 'src="data:image/svg+xml' in page.content.decode()
    assert "img-src 'self' data:" in page["Content-Security-Policy"]
    assert "style=" not in page.content.decode()
