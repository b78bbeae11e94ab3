"""The token endpoint as partners see it, and what its tokens open."""

import base64
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from catalog.envelope import ApiError
from catalog.inbound_presets import PRESETS
from catalog.models import Integration
from installs import issuer
from installs.models import ApiToken, AuditEntry, PartnerClient, PartnerToken, User
from tests.factories import make_install, make_integration, make_merchant, make_user
from webhooks.models import InboundEvent

pytestmark = pytest.mark.django_db
URL = "/v1/oauth/token"
FORM = "application/x-www-form-urlencoded"
CAPABILITY = "payment_webhook_inbound"


@pytest.fixture(autouse=True)
def _forgotten():
    cache.clear()
    issuer._good.clear()


def make_grab(slug: str = "grab", **over: Any) -> Integration:
    defaults = {
        "capabilities": {CAPABILITY: 1},
        "inbound_verification": PRESETS["grabfood"].verification,
        "inbound_mapping": PRESETS["grabfood"].mapping,
        "inbound_events": {"order.DELIVERED": CAPABILITY},
    }
    return make_integration(slug, **(defaults | over))


@pytest.fixture
def grab() -> Integration:
    return make_grab()


@pytest.fixture
def known(grab: Integration) -> issuer.NewClient:
    return issuer.create_client(grab, "staff:s")


def ask(fields: dict[str, Any], kind: str = "application/json", **headers: str):
    if kind == FORM:
        return Client().post(URL, urlencode(fields), content_type=FORM, headers=headers)
    return Client().post(URL, json.dumps(fields), content_type=kind, headers=headers)


def fields_of(known: issuer.NewClient, **over: Any) -> dict[str, Any]:
    given = {
        "grant_type": "client_credentials",
        "client_id": known.row.client_id,
        "client_secret": known.secret,
    } | over
    return {name: value for name, value in given.items() if value is not ...}


def basic(client_id: str, secret: str) -> str:
    return f"Basic {base64.b64encode(f'{client_id}:{secret}'.encode()).decode()}"


def post_event(token: str, slug: str = "grab", order: str = "o-1"):
    body = json.dumps({"orderID": order, "state": "DELIVERED", "merchantID": "m-1"})
    headers = {"Authorization": f"Bearer {token}"}
    url = f"/v1/integrations/{slug}/webhook"
    return Client().post(url, body, content_type="application/json", headers=headers)


@pytest.mark.parametrize("kind", [FORM, "application/json"])
def test_a_token_is_issued_for_a_form_and_for_json(known, kind):
    response = ask(fields_of(known, scope="food.partner_api"), kind)

    answer = response.json()
    assert response.status_code == 200
    assert answer == {
        "access_token": answer["access_token"],
        "token_type": "Bearer",
        "expires_in": 3600,
    }
    assert (response["Cache-Control"], response["Pragma"]) == ("no-store", "no-cache")


def test_credentials_may_stand_in_the_header(known):
    header = basic(known.row.client_id, known.secret)

    response = ask({"grant_type": "client_credentials"}, FORM, Authorization=header)

    assert response.status_code == 200


def test_neither_secret_nor_token_is_stored_readable(known):
    token = ask(fields_of(known)).json()["access_token"]

    row = PartnerToken.objects.get()
    assert row.digest == ApiToken.digest_of(token)
    assert known.row.digest == ApiToken.digest_of(known.secret)
    assert token not in str(PartnerToken.objects.values())


@pytest.mark.parametrize(
    ("over", "status", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"client_secret": ...}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"grant_type": ...}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": 1}, 400, "invalid_request"),
        ({"client_secret": "x" * 501}, 400, "invalid_request"),
        ({"scope": 'a"b'}, 400, "invalid_scope"),
    ],
)
def test_refusals_have_the_shape_of_the_rfc(known, over, status, code):
    response = ask(fields_of(known, **over))

    assert (response.status_code, response.json()["error"]) == (status, code)
    assert response["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in response) is (status == 401)
    assert not PartnerToken.objects.exists()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b"[]", "application/json"),
        (b"\xff", FORM),
        (b"a", FORM),
        (b"grant_type=client_credentials&grant_type=client_credentials", FORM),
        (b"&".join(b"a%d=1" % number for number in range(50)), FORM),
        (b"{}", "text/plain"),
    ],
)
def test_what_can_not_be_read_is_an_invalid_request(known, body, kind):
    response = Client().post(URL, body, content_type=kind)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


def test_a_body_that_is_too_large_and_a_wrong_method_are_refused(known):
    large = Client().post(URL, b"x" * 300_000, content_type=FORM)
    read = Client().get(URL)

    assert (large.status_code, large.json()["error"]) == (413, "payload_too_large")
    assert (read.status_code, read.json()["error"], read["Allow"]) == (
        405,
        "invalid_request",
        "POST",
    )


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Bearer x", "Basic YQ==", "é"])
def test_a_header_that_is_no_basic_one_is_an_invalid_client(known, header):
    response = ask({"grant_type": "client_credentials"}, Authorization=header)

    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


def test_credentials_in_two_places_are_refused(known):
    header = basic(known.row.client_id, known.secret)

    response = ask(fields_of(known), Authorization=header)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


def test_guesses_are_limited_per_client_and_address(known, time_machine):
    time_machine.move_to("2026-11-23T12:00:20Z", tick=False)
    wrong = fields_of(known, client_secret="wrong")
    answers = [ask(wrong).status_code for _attempt in range(31)]

    refused = ask(fields_of(known))
    elsewhere = Client(REMOTE_ADDR="203.0.113.9").post(
        URL, json.dumps(fields_of(known)), content_type="application/json"
    )
    time_machine.move_to("2026-11-23T12:01:00Z", tick=False)
    later = ask(fields_of(known))

    assert answers == [401] * 30 + [429]
    assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
    assert refused["Retry-After"] == "40"
    assert (elsewhere.status_code, later.status_code) == (200, 200)


# What the token opens


def test_a_post_with_an_issued_token_is_accepted(grab, known):
    make_install(make_merchant(), grab, external_merchant_id="m-1")
    token = ask(fields_of(known)).json()["access_token"]

    response = post_event(token)

    assert (response.status_code, response.json()["status"]) == (200, "accepted")
    assert InboundEvent.objects.get().provider_event_id == "o-1|DELIVERED"


@pytest.mark.parametrize("spoil", [str.upper, lambda token: token + "x", lambda _token: "x"])
def test_any_other_token_is_refused(grab, known, spoil):
    make_install(make_merchant(), grab, external_merchant_id="m-1")
    token = ask(fields_of(known)).json()["access_token"]

    response = post_event(spoil(token))

    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_signature")


def test_a_token_of_one_integration_opens_no_other(grab, known):
    other = make_grab("other")
    make_install(make_merchant(), other, external_merchant_id="m-1")
    token = ask(fields_of(known)).json()["access_token"]

    assert post_event(token, "other").status_code == 401


def test_a_token_of_a_till_opens_no_webhook(grab, known):
    make_install(make_merchant(), grab, external_merchant_id="m-1")
    token = ApiToken.issue("till", merchant=None)

    assert post_event(token).status_code == 401


def test_a_partner_token_opens_no_merchant_api(known):
    token = ask(fields_of(known)).json()["access_token"]

    response = Client().get("/v1/installs", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 401


def test_an_expired_token_is_refused(grab, known):
    make_install(make_merchant(), grab, external_merchant_id="m-1")
    token = ask(fields_of(known)).json()["access_token"]
    PartnerToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    assert post_event(token).status_code == 401


def test_revoked_tokens_are_refused_and_new_ones_can_be_had(grab, known):
    make_install(make_merchant(), grab, external_merchant_id="m-1")
    token = ask(fields_of(known)).json()["access_token"]
    assert post_event(token).status_code == 200

    issuer.revoke_tokens(grab, "staff:s")

    again = ask(fields_of(known)).json()["access_token"]
    assert (post_event(token).status_code, post_event(again).status_code) == (401, 200)


def test_a_revoked_client_gets_no_token_and_its_tokens_end(grab, known):
    make_install(make_merchant(), grab, external_merchant_id="m-1")
    token = ask(fields_of(known)).json()["access_token"]

    issuer.revoke_client(grab, "staff:s")

    assert ask(fields_of(known)).status_code == 401
    assert post_event(token).status_code == 401


# Clients


def test_after_a_rotation_both_secrets_are_good_for_the_overlap(grab, known):
    fresh = issuer.rotate_client(grab, "staff:s")

    assert fresh.row.client_id == known.row.client_id
    assert ask(fields_of(known)).status_code == 200
    assert ask(fields_of(fresh)).status_code == 200


def test_the_secret_before_ends_with_the_overlap(known, grab):
    fresh = issuer.rotate_client(grab, "staff:s")
    PartnerClient.objects.update(previous_until=timezone.now() - timedelta(seconds=1))

    assert ask(fields_of(known)).status_code == 401
    assert ask(fields_of(fresh)).status_code == 200


def test_the_secret_before_the_one_before_is_refused(known, grab):
    issuer.rotate_client(grab, "staff:s")
    issuer.rotate_client(grab, "staff:s")

    assert ask(fields_of(known)).status_code == 401


def test_acts_of_staff_are_on_record_without_a_secret(grab, known):
    issuer.rotate_client(grab, "staff:s")
    issuer.revoke_tokens(grab, "staff:s")
    issuer.revoke_client(grab, "staff:s")

    entries = list(AuditEntry.objects.order_by("id"))
    assert [(entry.action, entry.actor) for entry in entries] == [
        ("partner_client.created", "staff:s"),
        ("partner_client.rotated", "staff:s"),
        ("partner_client.tokens_revoked", "staff:s"),
        ("partner_client.revoked", "staff:s"),
    ]
    assert known.secret not in str([entry.data for entry in entries])


def test_tokens_that_ended_long_ago_are_pruned(known):
    ask(fields_of(known))
    ask(fields_of(known))
    old = PartnerToken.objects.first()
    PartnerToken.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(days=8))

    assert issuer.prune_tokens() == 1
    assert PartnerToken.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_people_who_create_at_once_make_one_client():
    grab = make_grab()
    start = threading.Barrier(2)

    def create(_number: int) -> str:
        try:
            start.wait(10)
            issuer.create_client(grab, "staff:s")
        except ApiError as error:
            return error.code
        finally:
            connections.close_all()
        return "created"

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(create, range(2)))

    assert outcomes == ["already_installed", "created"]
    assert PartnerClient.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_no_token_outlives_a_revocation_that_happens_beside_it():
    grab = make_grab()
    known = issuer.create_client(grab, "staff:s")
    start = threading.Barrier(5)

    def act(number: int) -> None:
        try:
            start.wait(10)
            if number:
                issuer.issue_token(known.row.client_id, known.secret)
            else:
                issuer.revoke_client(grab, "staff:s")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(act, range(5)))

    assert not PartnerToken.objects.filter(revoked_at=None).exists()


# The pages of staff


@pytest.fixture
def staff(client: Client) -> Client:
    return signed_in(client, User.objects.create_superuser("staff@posz.id"))


def signed_in(client: Client, person: User) -> Client:
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def address(integration: Integration, verb: str) -> str:
    return reverse("admin:installs_partnerclient_act", args=[integration.pk, verb])


def test_staff_see_a_secret_once_and_it_works(staff, grab):
    response = staff.post(address(grab, "create"))

    html = response.content.decode()
    found = re.search(r'<pre id="secret">([^<]+)</pre>', html)
    client_id = PartnerClient.objects.get().client_id
    fields = {"grant_type": "client_credentials", "client_id": client_id}
    assert found is not None
    assert "no-store" in response["Cache-Control"]
    assert ask(fields | {"client_secret": found[1]}).status_code == 200
    later = staff.get(reverse("admin:catalog_integration_change", args=[grab.pk]))
    assert client_id in later.content.decode()
    assert found[1] not in later.content.decode()


@pytest.mark.parametrize("verb", ["create", "rotate", "revoke", "revoke-tokens"])
def test_a_question_is_asked_before_anything_happens(staff, grab, verb):
    response = staff.get(address(grab, verb))

    assert response.status_code == 200
    assert not PartnerClient.objects.exists()


@pytest.mark.parametrize("verb", ["rotate", "revoke", "revoke-tokens"])
def test_where_there_is_no_client_staff_are_told(staff, grab, verb):
    response = staff.post(address(grab, verb), follow=True)

    assert "There is no client" in response.content.decode()


def test_staff_revoke_all_tokens(staff, grab, known):
    make_install(make_merchant(), grab, external_merchant_id="m-1")
    token = ask(fields_of(known)).json()["access_token"]

    staff.post(address(grab, "revoke-tokens"))

    assert post_event(token).status_code == 401
    assert AuditEntry.objects.latest("id").actor == "staff:staff@posz.id"


@pytest.mark.parametrize("permission", ["view_partnerclient", "change_integration"])
def test_staff_without_the_right_are_refused(client, grab, permission):
    person = make_user(is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename=permission))

    response = signed_in(client, person).post(address(grab, "create"))

    assert response.status_code == 403
    assert not PartnerClient.objects.exists()
