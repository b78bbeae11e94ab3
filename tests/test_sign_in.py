"""Signing in through a merchant's own provider, which is a real one in a process of its own."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from catalog.envelope import ApiError
from catalog.models import Integration
from dispatch import door
from installs import lifecycle, sign_in
from installs.access import Actor
from installs.models import (
    AuditEntry,
    Install,
    LinkedAccount,
    Membership,
    Merchant,
    Role,
    SignInTrip,
    User,
)
from poszhub.seeds import OPENID_SCHEMA
from tests.factories import (
    PASSWORD,
    make_integration,
    make_location,
    make_merchant,
    make_user,
    owner_of,
)
from tests.oauth_partner import query_of
from tests.oauth_provider import CLIENT_ID, CLIENT_SECRET, Provider, running_provider
from tests.oauth_provider.tokens import SPOILED

pytestmark = pytest.mark.django_db
DEAD = "127.0.0.1:9"
REFUSALS = {
    "issuer": "wrong_issuer",
    "audience": "wrong_audience",
    "several audiences": "wrong_audience",
    "authorized party": "wrong_audience",
    "nonce": "wrong_nonce",
    "no nonce": "token_refused",
    "no subject": "token_refused",
    "at_hash": "token_refused",
    "expired": "token_expired",
    "from the future": "token_refused",
    "unsigned": "token_unsigned",
    "public key": "token_unsigned",
    "client secret": "token_unsigned",
    "another key": "token_refused",
    "unknown key": "token_refused",
    "wrong kind": "token_unsigned",
}


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("provider")
    with running_provider(folder, "http://127.0.0.1/nowhere") as running:
        yield running


@pytest.fixture(autouse=True)
def _quick_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def provider(process: Provider, settings) -> Provider:
    cache.clear()
    settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, process.host, DEAD]
    process.control(person=person("bima"), spoil="", is_broken=False)
    return process


@pytest.fixture
def merchant() -> Merchant:
    row = make_merchant(name="Maple & Oat")
    make_user(row, Role.OWNER, email="ayu@example.id")
    make_user(row, Role.MANAGER, email="bima@example.id")
    return row


@pytest.fixture
def service(merchant: Merchant, provider: Provider) -> Install:
    return make_service(merchant, provider)


def person(name: str, *groups: str, **over: Any) -> dict[str, Any]:
    claims = {"sub": f"id-of-{name}", "email": f"{name}@example.id", "email_verified": True}
    return claims | {"name": name.title(), "groups": list(groups)} | over


def openid() -> Integration:
    known = Integration.objects.filter(slug="openid-connect").first()
    return known or make_integration(
        "openid-connect",
        capabilities={"auth_provider": 1},
        auth_shape="merchant_key",
        config_schema=OPENID_SCHEMA,
    )


def make_service(merchant: Merchant, provider: Provider, **over: Any) -> Install:
    defaults = {
        "issuer": provider.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    row = lifecycle.install(owner_of(merchant), openid(), config=defaults | over)
    uris = [sign_in.redirect_uri(pk) for pk in Merchant.objects.values_list("pk", flat=True)]
    provider.control(redirect_uris=uris)
    return row


def configure(service: Install, **config: Any) -> None:
    lifecycle.configure(owner_of(service.merchant), service.pk, config)


def url(merchant: Merchant, step: str = "") -> str:
    return f"/accounts/sso/{merchant.pk}/{step}"


def at_provider(client: Client, merchant: Merchant, **query: str) -> str:
    """Where the provider sends the browser back to, with what it says."""
    leaving = client.get(url(merchant, "start"), query)
    assert leaving.status_code == 302, leaving.content.decode()
    consent = door.call("GET", leaving.headers["Location"], timeout_seconds=10)
    return consent.headers["Location"]


def come_in(client: Client, merchant: Merchant, **query: str) -> Any:
    parts = urlsplit(at_provider(client, merchant, **query))
    assert parts.path == url(merchant, "callback")
    return client.get(f"{parts.path}?{parts.query}")


def with_password(client: Client, email: str) -> Any:
    return client.post("/accounts/login/", {"login": email, "password": PASSWORD})


def signed_in(client: Client) -> str | None:
    key = client.session.get("_auth_user_id")
    return User.objects.get(pk=key).email if key else None


def actions() -> list[str]:
    found = AuditEntry.objects.filter(action__startswith="sign_in.").order_by("pk")
    return list(found.values_list("action", flat=True))


def last_problem() -> str:
    return str(AuditEntry.objects.filter(action="sign_in.refused").latest("pk").data["problem"])


# The way there and back


def test_member_comes_in_and_gets_where_they_wanted_to_go(client, merchant, service):
    response = come_in(client, merchant, next="/activity")

    assert response.headers["Location"] == "/activity"
    assert signed_in(client) == "bima@example.id"
    assert client.get("/activity").status_code == 200
    assert actions() == ["sign_in.linked", "sign_in.done"]


def test_trip_has_pkce_state_and_nonce(client, merchant, service):
    asked = query_of(client.get(url(merchant, "start")).headers["Location"])

    assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")
    assert asked["redirect_uri"] == sign_in.redirect_uri(merchant.pk)
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) == 43


@pytest.mark.parametrize("path", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_nobody_is_led_elsewhere(client, merchant, service, path):
    assert come_in(client, merchant, next=path).headers["Location"] == "/integrations"


@pytest.mark.parametrize("spoil", list(REFUSALS))
def test_spoiled_token_signs_nobody_in(client, merchant, service, provider, spoil):
    provider.control(spoil=spoil)

    response = come_in(client, merchant)

    assert (response.status_code, signed_in(client)) == (403, None)
    assert last_problem() == REFUSALS[spoil]
    assert not LinkedAccount.objects.exists()


def test_every_way_to_spoil_a_token_is_tried():
    assert REFUSALS.keys() == SPOILED.keys() - {"elliptic"}


def test_es256_is_taken(client, merchant, service, provider):
    provider.control(spoil="elliptic")

    come_in(client, merchant)

    assert signed_in(client) == "bima@example.id"


def test_rotated_keys_are_fetched_once_a_minute_at_most(client, merchant, service, provider):
    come_in(client, merchant)
    provider.control(rotate=True)
    come_in(again := Client(), merchant)
    provider.control(rotate=True)

    response = come_in(Client(), merchant)

    assert signed_in(again) == "bima@example.id"
    # The second rotation inside the minute has to wait.
    assert (response.status_code, last_problem()) == (403, "token_refused")


def test_answer_is_good_once(client, merchant, service):
    back = at_provider(client, merchant)
    parts = urlsplit(back)
    client.get(f"{parts.path}?{parts.query}")
    client.post("/accounts/logout/")

    response = client.get(f"{parts.path}?{parts.query}")

    assert (response.status_code, signed_in(client)) == (403, None)


def test_answer_of_another_browser_is_refused(client, merchant, service):
    """Somebody gets a victim to open the answer to a trip of their own."""
    parts = urlsplit(at_provider(client, merchant))
    victim = Client()
    victim.get(url(merchant, "start"))

    response = victim.get(f"{parts.path}?{parts.query}")

    assert (response.status_code, signed_in(victim)) == (403, None)
    # The trip is not used up by that: its own browser can still come back.
    client.get(f"{parts.path}?{parts.query}")
    assert signed_in(client) == "bima@example.id"


def test_answer_that_is_too_old_is_refused(client, merchant, service):
    parts = urlsplit(at_provider(client, merchant))
    SignInTrip.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    response = client.get(f"{parts.path}?{parts.query}")

    assert (response.status_code, signed_in(client)) == (403, None)


def test_answer_for_one_merchant_is_nothing_for_another(client, merchant, service, provider):
    other = make_merchant(name="Warung")
    make_user(other, Role.OWNER, email="sari@example.id")
    make_service(other, provider)
    parts = urlsplit(at_provider(client, merchant))
    state = query_of(at_provider(client, other))["state"]
    code = query_of(f"?{parts.query}")["code"]

    there = client.get(f"{url(other, 'callback')}?{parts.query}")
    replayed = client.get(url(other, "callback"), {"state": state, "code": code})

    assert (there.status_code, replayed.status_code, signed_in(client)) == (403, 403, None)
    # The provider itself holds the code to its redirect address and verifier.
    assert last_problem() == "code_refused"


def test_wrong_issuer_of_the_answer_is_refused(client, merchant, service):
    parts = urlsplit(at_provider(client, merchant))

    response = client.get(f"{parts.path}?{parts.query}&iss=https://evil.example")

    assert (response.status_code, signed_in(client)) == (403, None)


def test_declining_at_the_provider_says_what_to_do(client, merchant, service):
    state = query_of(client.get(url(merchant, "start")).headers["Location"])["state"]

    response = client.get(url(merchant, "callback"), {"state": state, "error": "access_denied"})

    assert (response.status_code, last_problem()) == (403, "access_denied")
    assert "Start once more" in response.content.decode()


def test_wrong_client_secret_is_for_the_owner_to_mend(client, merchant, service):
    configure(service, client_secret="not-the-right-one")

    response = come_in(client, merchant)

    assert last_problem() == "client_refused"
    assert "Tell an owner" in response.content.decode()
    assert "not-the-right-one" not in response.content.decode()


def test_issuer_that_calls_itself_something_else_is_refused(client, merchant, service, provider):
    """As Auth0 ends its name with a slash, and people leave it out."""
    with pytest.raises(ApiError) as refused:
        configure(service, issuer=f"{provider.issuer}/")

    assert (refused.value.code, list(refused.value.extra["fields"])) == (
        "config_invalid",
        ["issuer"],
    )


# Who is let in


def test_second_time_the_subject_counts_and_no_address(client, merchant, service, provider):
    come_in(client, merchant)
    provider.control(person=person("bima", email="ayu@example.id", email_verified=False))

    come_in(again := Client(), merchant)

    assert signed_in(again) == "bima@example.id"


@pytest.mark.parametrize("verified", [False, "true", None])
def test_unverified_address_links_nobody(client, merchant, service, provider, verified):
    provider.control(person=person("bima", email_verified=verified))

    come_in(client, merchant)

    assert (last_problem(), signed_in(client)) == ("email_unverified", None)


def test_owner_may_forbid_linking_by_address(client, merchant, service):
    configure(service, link_by_email=False)

    come_in(client, merchant)

    assert last_problem() == "not_a_member"


def test_only_addresses_of_the_given_domains_link(client, merchant, service):
    configure(service, domains="mapleandoat.id, @Oat.id")

    come_in(client, merchant)

    assert last_problem() == "email_not_accepted"


def test_another_subject_with_the_address_of_a_linked_member_is_refused(
    client, merchant, service, provider
):
    """An address that was given to somebody else must not open its former holder's account."""
    come_in(client, merchant)
    provider.control(person=person("bima", sub="somebody-new"))

    come_in(again := Client(), merchant)

    assert (last_problem(), signed_in(again)) == ("linked_already", None)


@pytest.mark.parametrize("is_staff", [True, False])
def test_staff_and_people_of_others_are_never_let_in(client, merchant, service, provider, is_staff):
    configure(service, create_people=True, viewer_groups="all")
    if is_staff:
        user = make_user(merchant, Role.OWNER, email="cleo@example.id")
        User.objects.filter(pk=user.pk).update(is_staff=True)
    else:
        make_user(make_merchant(), Role.OWNER, email="cleo@example.id")
    provider.control(person=person("cleo", "all"))

    come_in(client, merchant)

    assert (last_problem(), signed_in(client)) == ("not_a_member", None)


def test_new_person_joins_with_the_role_of_their_group(client, merchant, service, provider):
    configure(service, create_people=True, manager_groups="Managers", viewer_groups="All staff")
    provider.control(person=person("dewi", "All staff"))

    come_in(client, merchant)

    row = Membership.objects.get(user__email="dewi@example.id")
    assert (row.merchant, row.role) == (merchant, Role.VIEWER)
    assert not row.user.has_usable_password()
    assert actions() == ["sign_in.joined", "sign_in.linked", "sign_in.done"]


@pytest.mark.parametrize(
    "config", [{"create_people": False, "viewer_groups": "all"}, {"create_people": True}]
)
def test_nobody_joins_unasked_or_without_a_role(client, merchant, service, provider, config):
    configure(service, **config)
    provider.control(person=person("dewi", "all"))

    come_in(client, merchant)

    assert last_problem() == "not_a_member"
    assert not User.objects.filter(email="dewi@example.id").exists()


def test_groups_decide_the_role_at_every_sign_in(client, merchant, service, provider):
    configure(service, owner_groups="chiefs", manager_groups="leads", viewer_groups="all")
    own = Membership.objects.get(user__email="bima@example.id")
    roles = []
    for groups in (["all"], ["all", "chiefs", "leads"], ["leads"]):
        provider.control(person=person("bima", *groups))
        come_in(Client(), merchant)
        own.refresh_from_db()
        roles.append(own.role)

    assert roles == [Role.VIEWER, Role.OWNER, Role.MANAGER]
    assert actions().count("sign_in.role_changed") == 3


def test_whoever_left_all_groups_is_refused(client, merchant, service, provider):
    configure(service, viewer_groups="all")

    response = come_in(client, merchant)

    assert (last_problem(), signed_in(client)) == ("no_role", None)
    assert "group" in response.content.decode()


def test_last_owner_stays_owner(client, merchant, service, provider):
    configure(service, viewer_groups="all")
    provider.control(person=person("ayu", "all"))

    come_in(client, merchant)

    assert Membership.objects.get(user__email="ayu@example.id").role == Role.OWNER
    assert "sign_in.last_owner_kept" in actions()


def test_inactive_member_is_refused(client, merchant, service):
    come_in(client, merchant)
    User.objects.filter(email="bima@example.id").update(is_active=False)

    come_in(again := Client(), merchant)

    assert (last_problem(), signed_in(again)) == ("not_a_member", None)


# Instead of the password


def test_member_with_a_password_is_sent_to_the_service(client, merchant, service):
    response = with_password(client, "bima@example.id")

    assert (response.status_code, signed_in(client)) == (403, None)
    assert f'href="{url(merchant)}"' in response.content.decode()
    assert actions() == ["sign_in.password_refused"]


def test_wrong_password_tells_nothing_of_the_service(client, merchant, service):
    response = client.post("/accounts/login/", {"login": "bima@example.id", "password": "x"})

    assert response.status_code == 200
    assert str(merchant.pk) not in response.content.decode()


def test_session_with_a_password_ends_for_the_merchant_when_the_service_comes(
    client, merchant, provider
):
    with_password(client, "bima@example.id")
    make_service(merchant, provider)

    response = client.get("/integrations")

    assert response.status_code == 403
    assert f'href="{url(merchant)}"' in response.content.decode()


def test_owner_gets_in_with_the_password_and_all_owners_are_told(client, merchant, service):
    make_user(merchant, Role.OWNER, email="eka@example.id")

    with_password(client, "ayu@example.id")
    pages = [client.get(path).status_code for path in ("/integrations", "/activity")]

    assert pages == [200, 200]
    assert actions() == ["sign_in.emergency"]
    assert sorted(item.to[0] for item in mail.outbox) == ["ayu@example.id", "eka@example.id"]


def test_owner_who_installs_the_service_goes_on_and_nobody_is_alarmed(client, merchant, provider):
    with_password(client, "ayu@example.id")
    make_service(merchant, provider)

    assert client.get("/integrations").status_code == 200
    assert (actions(), mail.outbox) == ([], [])


def test_member_of_two_reaches_with_a_password_the_one_without_service(client, merchant, service):
    bima = User.objects.get(email="bima@example.id")
    other = make_merchant(name="Warung")
    Membership.objects.create(user=bima, merchant=other, role=Role.VIEWER)

    with_password(client, "bima@example.id")

    page = client.get("/integrations")
    assert [item.merchant for item in page.context["memberships"]] == [other]
    assert f'href="{url(merchant)}"' in page.content.decode()
    assert client.post("/merchant", {"merchant_id": str(merchant.pk)}).status_code == 404


def test_owner_of_two_is_not_in_an_emergency_before_they_choose_it(client, merchant, service):
    ayu = User.objects.get(email="ayu@example.id")
    other = make_merchant(name="Zero")
    Membership.objects.create(user=ayu, merchant=other, role=Role.OWNER)

    with_password(client, "ayu@example.id")
    client.get("/integrations")
    before = actions()
    client.post("/merchant", {"merchant_id": str(merchant.pk)})
    client.get("/integrations")

    assert (before, actions()) == ([], ["sign_in.emergency"])


def test_session_of_a_service_reaches_its_merchant_alone(client, merchant, service):
    bima = User.objects.get(email="bima@example.id")
    other = make_merchant(name="A first one")
    Membership.objects.create(user=bima, merchant=other, role=Role.OWNER)

    come_in(client, merchant)

    page = client.get("/integrations")
    assert [item.merchant for item in page.context["memberships"]] == [merchant]
    assert client.post("/merchant", {"merchant_id": str(other.pk)}).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/password/change/",
        "/accounts/email/",
        "/accounts/2fa/",
        "/accounts/2fa/totp/activate/",
        "/accounts/reauthenticate/",
    ],
)
def test_session_of_a_service_cannot_touch_the_persons_own_account(client, merchant, service, path):
    come_in(client, merchant)

    assert [client.get(path).status_code, client.post(path, {}).status_code] == [403, 403]


def test_becoming_staff_ends_the_session_of_a_service(client, merchant, service):
    come_in(client, merchant)
    User.objects.filter(email="bima@example.id").update(is_staff=True, is_superuser=True)

    assert client.get("/admin/").status_code == 302
    assert client.get("/integrations").status_code == 302


def test_whoever_was_signed_in_before_is_signed_out(client, merchant, service):
    client.force_login(make_user(merchant, Role.OWNER, email="eka@example.id"))

    come_in(client, merchant)

    assert signed_in(client) == "bima@example.id"


def test_staff_sign_in_with_their_password_as_always(client, merchant, service):
    user = make_user(merchant, Role.VIEWER, email="staff@example.id")
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)

    with_password(client, "staff@example.id")

    assert client.get("/admin/").status_code == 200
    assert client.get("/integrations").status_code == 403


# Going again


@pytest.mark.parametrize("verb", ["disable", "uninstall"])
def test_without_the_service_its_sessions_end_and_passwords_work(client, merchant, service, verb):
    come_in(client, merchant)
    getattr(lifecycle, verb)(owner_of(merchant), service.pk)

    assert client.get("/integrations").status_code == 302
    with_password(client, "bima@example.id")
    assert client.get("/integrations").status_code == 200


def test_session_does_not_rise_again_when_the_service_comes_back(client, merchant, service):
    come_in(client, merchant)
    lifecycle.disable(owner_of(merchant), service.pk)
    lifecycle.enable(owner_of(merchant), service.pk)

    assert client.get("/integrations").status_code == 302


def test_session_ends_after_eight_hours(client, merchant, service):
    come_in(client, merchant)
    session = client.session
    session["linked_account"] = session["linked_account"] | {
        "at": (timezone.now() - timedelta(hours=8, seconds=1)).timestamp()
    }
    session.save()

    assert client.get("/integrations").status_code == 302


def test_unlinked_person_is_signed_out(client, merchant, service):
    come_in(client, merchant)
    account = LinkedAccount.objects.get()
    owner = Client()
    owner.force_login(User.objects.get(email="ayu@example.id"))

    owner.post(f"/integrations/openid-connect/linked/{account.pk}/unlink")

    assert client.get("/integrations").status_code == 302
    assert "sign_in.unlinked" in actions()


def test_unlinking_is_for_owners_of_that_merchant(client, merchant, service):
    come_in(client, merchant)
    path = f"/integrations/openid-connect/linked/{LinkedAccount.objects.get().pk}/unlink"
    stranger = Client()
    stranger.force_login(make_user(make_merchant(), Role.OWNER))

    assert client.post(path).status_code == 403
    assert stranger.post(path).status_code == 404
    assert LinkedAccount.objects.count() == 1


# When the provider is down


def test_member_gets_in_with_the_password_while_the_provider_is_dead(client, merchant, service):
    configure(service, issuer=f"http://{DEAD}/o")

    response = with_password(client, "bima@example.id")

    assert response.status_code == 302
    assert client.get("/integrations").status_code == 200
    assert actions() == ["sign_in.fallback"]


def test_fallback_lasts_an_hour(client, merchant, service, settings):
    configure(service, issuer=f"http://{DEAD}/o")
    with_password(client, "bima@example.id")
    session = client.session
    session["sign_in_fallback"] = session["sign_in_fallback"] | {"until": 1}
    session.save()

    assert client.get("/integrations").status_code == 403


def test_owner_may_forbid_the_fallback(client, merchant, service):
    configure(service, issuer=f"http://{DEAD}/o", password_fallback=False)

    assert with_password(client, "bima@example.id").status_code == 403


def test_provider_that_breaks_down_lets_members_use_the_password(
    client, merchant, service, provider
):
    provider.control(is_broken=True)

    with_password(client, "bima@example.id")

    assert signed_in(client) == "bima@example.id"


def test_broken_token_answers_alone_open_no_password(client, merchant, service, provider):
    """A stranger can send a provider any code, and some break over it."""
    parts = urlsplit(at_provider(client, merchant))
    provider.control(is_broken=True)
    client.get(f"{parts.path}?{parts.query}")
    provider.control(is_broken=False)

    assert with_password(Client(), "bima@example.id").status_code == 403


def test_connection_with_a_dead_provider_is_told_and_saved(client, merchant, service):
    configure(service, issuer=f"http://{DEAD}/o")
    service.refresh_from_db()

    assert (service.connection, service.connection_problem) == ("failed", "partner_down")


def test_dead_provider_is_told_in_words(client, merchant, service):
    configure(service, issuer=f"http://{DEAD}/o")

    response = client.get(url(merchant, "start"))

    assert response.status_code == 502
    assert "sign in with your password" in response.content.decode()


# Who may set it up, and what strangers see


@pytest.mark.parametrize("verb", ["install", "configure", "enable", "disable"])
def test_manager_cannot_decide_how_people_sign_in(client, merchant, provider, verb):
    manager = Actor(merchant.pk, "bima@example.id", Role.MANAGER)
    if verb == "install":
        with pytest.raises(ApiError, match="forbidden"):
            lifecycle.install(manager, openid(), config={})
        return
    row = make_service(merchant, provider)
    config = [{}] if verb == "configure" else []

    with pytest.raises(ApiError) as refused:
        getattr(lifecycle, verb)(manager, row.pk, *config)

    assert refused.value.code == "forbidden"


def test_service_is_for_all_outlets_at_once(merchant):
    outlet = make_location(merchant)

    with pytest.raises(ApiError) as refused:
        lifecycle.install(owner_of(merchant), openid(), location_id=outlet.pk, config={})

    assert refused.value.code == "capability_unsupported"


def test_address_not_in_use_tells_nothing(client, merchant):
    paths = [url(merchant), f"/accounts/sso/{uuid4()}/"]

    answers = [client.get(path) for path in paths]

    # The links to the other language repeat the address.
    said = {
        answer.content.decode().replace(path, "")
        for path, answer in zip(paths, answers, strict=True)
    }
    assert [answer.status_code for answer in answers] == [404, 404]
    assert len(said) == 1


def test_browser_that_came_in_before_is_offered_the_way_again(client, merchant, service):
    come_in(client, merchant)
    client.post("/accounts/logout/")

    page = client.get("/accounts/login/").content.decode()

    assert f'href="{url(merchant, "start")}"' in page
    assert url(merchant, "start") not in Client().get("/accounts/login/").content.decode()


def test_page_of_the_integration_shows_addresses_and_linked_people(client, merchant, service):
    come_in(Client(), merchant)
    client.force_login(User.objects.get(email="ayu@example.id"))

    page = client.get("/integrations/openid-connect").content.decode()

    assert sign_in.address_of(merchant.pk) in page
    assert sign_in.redirect_uri(merchant.pk) in page
    assert "bima@example.id" in page
    assert CLIENT_SECRET not in page


def test_nothing_of_tokens_and_secrets_is_in_the_log_or_the_audit(
    client, merchant, service, caplog
):
    caplog.set_level("DEBUG")
    back = query_of(at_provider(client, merchant))
    client.get(url(merchant, "callback"), back)

    said = caplog.text + str(list(AuditEntry.objects.values_list("data", flat=True)))
    assert CLIENT_SECRET not in said
    assert back["code"] not in said.replace("code=", "")
