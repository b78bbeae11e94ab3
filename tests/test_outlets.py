"""Events that name an outlet by the partner's own number."""

import hashlib
import hmac
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from catalog.envelope import ApiError
from catalog.inbound_presets import PRESETS
from catalog.models import Integration
from installs import lifecycle, outlets
from installs.access import Actor
from installs.models import (
    AuditEntry,
    IntegrationSecret,
    Location,
    Membership,
    Merchant,
    OutletNumber,
    Role,
    UnknownOutlet,
    User,
)
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
    make_user,
    owner_of,
)
from webhooks import inbound
from webhooks.models import InboundEvent

pytestmark = pytest.mark.django_db
URL = "/v1/integrations/gofood/webhook"
CAPABILITY = "payment_webhook_inbound"


def make_gofood(**over: Any) -> Integration:
    defaults = {
        "name_en": "GoFood",
        "capabilities": {CAPABILITY: 1},
        "inbound_verification": PRESETS["gofood"].verification,
        "inbound_mapping": PRESETS["gofood"].mapping,
        "inbound_events": {"order.completed": CAPABILITY},
    }
    row = make_integration("gofood", **(defaults | over))
    keys_of(row)
    return row


@pytest.fixture
def gofood() -> Integration:
    return make_gofood()


@pytest.fixture
def merchant() -> Merchant:
    return make_merchant()


def post(number: str, event_id: str = "go-1"):
    document = {
        "header": {"event_id": event_id, "event_name": "order.completed"},
        "body": {"outlet": {"id": number}},
    }
    body = json.dumps(document).encode()
    key = bytes.fromhex(IntegrationSecret.objects.get(purpose="inbound").value)
    signature = hmac.new(key, body, hashlib.sha256).hexdigest()
    headers = {"X-Go-Signature": signature}
    return Client().post(URL, body, content_type="application/json", headers=headers)


def number(integration: Integration, location: Location, text: str) -> None:
    actor = owner_of(location.merchant)
    outlets.save_numbers(actor, integration, {location.pk: text})


def code_of(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# Receiving


def test_a_number_leads_to_the_install_of_its_outlet(gofood, merchant):
    first, second = make_location(merchant), make_location(merchant)
    make_install(merchant, gofood, first.pk)
    wanted = make_install(merchant, gofood, second.pk)
    number(gofood, first, "G1")
    number(gofood, second, "G2")

    response = post("G2")

    assert response.status_code == 200
    assert InboundEvent.objects.get().install_id == wanted.pk


def test_the_effect_names_the_outlet_also_of_a_merchant_wide_install(gofood, merchant):
    make_location(merchant)
    second = make_location(merchant)
    make_install(merchant, gofood)
    number(gofood, second, "G2")
    post("G2")

    inbound.sweep()

    assert AuditEntry.objects.get(action="order.completed").location_name == str(second)


def test_an_install_for_all_outlets_does_not_answer_where_one_is_switched_off(gofood, merchant):
    location = make_location(merchant)
    make_install(merchant, gofood)
    own = make_install(merchant, gofood, location.pk)
    number(gofood, location, "G1")
    lifecycle.disable(owner_of(merchant), own.pk)

    assert code_of(post("G1")) == (403, "integration_disabled")


def test_an_unknown_number_is_refused_and_put_on_record(gofood, merchant):
    make_install(merchant, gofood)

    answers = [post("G9"), post("G9", "go-2")]

    row = UnknownOutlet.objects.get()
    assert [code_of(answer) for answer in answers] == [(404, "integration_not_installed")] * 2
    assert (row.external_id, row.merchant, row.events) == ("G9", None, 2)
    assert not InboundEvent.objects.exists()


def test_nothing_is_put_on_record_before_the_signature_is_right(gofood):
    body = b'{"header": {"event_id": "e", "event_name": "t"}, "body": {"outlet": {"id": "G9"}}}'
    headers = {"X-Go-Signature": "0" * 64}

    response = Client().post(URL, body, content_type="application/json", headers=headers)

    assert response.status_code == 401
    assert not UnknownOutlet.objects.exists()


def test_an_unknown_number_of_a_known_merchant_goes_to_its_install_for_all(gofood, merchant):
    wide = make_install(merchant, gofood, external_merchant_id="G9")

    response = post("G9")

    assert response.status_code == 200
    assert InboundEvent.objects.get().install_id == wide.pk
    assert UnknownOutlet.objects.get().merchant == merchant


def test_an_unknown_number_never_goes_to_some_outlet(gofood, merchant):
    for location in (make_location(merchant), make_location(merchant)):
        make_install(merchant, gofood, location.pk, external_merchant_id="G9")

    assert code_of(post("G9")) == (404, "integration_not_installed")


def test_a_number_that_belongs_to_another_than_the_named_merchant_is_not_believed(gofood, merchant):
    """Somebody typed the number of a restaurant that the partner knows as another's."""
    other = make_merchant()
    location = make_location(merchant)
    make_install(merchant, gofood, location.pk)
    right = make_install(other, gofood, external_merchant_id="G1")
    number(gofood, location, "G1")

    post("G1")

    assert InboundEvent.objects.get().install_id == right.pk


def test_after_an_uninstall_its_numbers_are_gone_and_free(gofood, merchant):
    location, elsewhere = make_location(merchant), make_location(make_merchant())
    install = make_install(merchant, gofood, location.pk)
    make_install(elsewhere.merchant, gofood)
    number(gofood, location, "G1")

    lifecycle.uninstall(owner_of(merchant), install.pk)

    number(gofood, elsewhere, "G1")
    assert OutletNumber.objects.get().location == elsewhere


# Saving


def test_outlets_may_change_places(gofood, merchant):
    first, second = make_location(merchant), make_location(merchant)
    make_install(merchant, gofood)
    outlets.save_numbers(owner_of(merchant), gofood, {first.pk: "1", second.pk: "2"})

    outlets.save_numbers(owner_of(merchant), gofood, {first.pk: "2", second.pk: "1"})

    assert outlets.numbers_of(merchant.pk, gofood) == {first.pk: "2", second.pk: "1"}


def test_saving_a_number_ends_its_being_unknown(gofood, merchant):
    location = make_location(merchant)
    make_install(merchant, gofood)
    post("G1")

    number(gofood, location, " G1 ")

    assert not UnknownOutlet.objects.exists()
    assert post("G1").status_code == 200


@pytest.mark.parametrize("text", ["x" * 256, "a\x00b", "a\nb"])
def test_what_is_no_number_is_refused(gofood, merchant, text):
    location = make_location(merchant)
    make_install(merchant, gofood)

    with pytest.raises(ApiError) as caught:
        number(gofood, location, text)

    assert (caught.value.code, list(caught.value.extra["fields"])) == (
        "config_invalid",
        [str(location.pk)],
    )


def test_two_outlets_can_not_have_one_number(gofood, merchant):
    first, second = make_location(merchant), make_location(merchant)
    make_install(merchant, gofood)

    with pytest.raises(ApiError, match="config_invalid"):
        outlets.save_numbers(owner_of(merchant), gofood, {first.pk: "1", second.pk: "1"})


def test_a_number_of_another_merchant_is_refused_without_naming_it(gofood, merchant):
    location, other = make_location(merchant), make_location(make_merchant(name="Warung Rahasia"))
    make_install(merchant, gofood)
    make_install(other.merchant, gofood)
    number(gofood, other, "G1")

    with pytest.raises(ApiError) as caught:
        number(gofood, location, "G1")

    assert "Rahasia" not in str(caught.value.body())
    assert OutletNumber.objects.get().location == other


def test_an_outlet_of_somebody_else_or_without_the_integration_is_not_found(gofood, merchant):
    here, apart = make_location(merchant), make_location(merchant)
    foreign = make_location(make_merchant())
    make_install(merchant, gofood, here.pk)

    for location in (apart, foreign):
        with pytest.raises(ApiError, match="not_found"):
            outlets.save_numbers(owner_of(merchant), gofood, {location.pk: "G1"})


def test_a_manager_changes_the_numbers_of_own_outlets_only(gofood, merchant):
    own, other = make_location(merchant), make_location(merchant)
    make_install(merchant, gofood)
    manager = Actor(merchant.pk, "m@example.id", Role.MANAGER, frozenset({own.pk}))

    outlets.save_numbers(manager, gofood, {own.pk: "G1"})

    with pytest.raises(ApiError, match="forbidden"):
        outlets.save_numbers(manager, gofood, {other.pk: "G2"})


@pytest.mark.django_db(transaction=True)
def test_of_two_merchants_who_claim_a_number_at_once_one_is_told():
    gofood = make_gofood()
    claims = [make_location(make_merchant()) for _ in range(4)]
    for location in claims:
        make_install(location.merchant, gofood)
    start = threading.Barrier(4)

    def claim(location: Location) -> str:
        try:
            start.wait(10)
            number(gofood, location, "G1")
        except ApiError as error:
            return error.code
        finally:
            connections.close_all()
        return "saved"

    with ThreadPoolExecutor(4) as pool:
        found = sorted(pool.map(claim, claims))

    assert found == ["config_invalid"] * 3 + ["saved"]
    assert OutletNumber.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_posts_of_an_unknown_outlet_at_once_make_one_row():
    make_gofood()
    start = threading.Barrier(8)

    def send(place: int) -> int:
        try:
            start.wait(10)
            return post("G9", f"go-{place}").status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(send, range(8)))

    assert statuses == [404] * 8
    assert UnknownOutlet.objects.get().events == 8


# The page, the API and the admin


@pytest.fixture
def browser(client: Client, merchant: Merchant) -> Client:
    return signed_in(client, make_user(merchant))


def signed_in(client: Client, person: User) -> Client:
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_the_page_shows_one_input_per_outlet_and_saves(browser, gofood, merchant):
    location = make_location(merchant, name="Senopati")
    make_install(merchant, gofood)

    page = browser.get("/integrations/gofood").content.decode()
    response = browser.post("/integrations/gofood/outlets", {f"number-{location.pk}": "G1"})

    assert "Outlet numbers at GoFood" in page
    assert f'name="number-{location.pk}"' in page
    assert response.status_code == 302
    assert outlets.numbers_of(merchant.pk, gofood) == {location.pk: "G1"}


def test_an_unknown_number_is_assigned_by_choosing_its_outlet(browser, gofood, merchant):
    location = make_location(merchant)
    make_install(merchant, gofood, external_merchant_id="G9")
    post("G9")
    row = UnknownOutlet.objects.get()

    page = browser.get("/integrations/gofood").content.decode()
    browser.post(
        "/integrations/gofood/outlets",
        {f"number-{location.pk}": "", f"unknown-{row.pk}": str(location.pk)},
    )

    assert f'name="unknown-{row.pk}"' in page
    assert outlets.numbers_of(merchant.pk, gofood) == {location.pk: "G9"}


def test_a_wrong_number_stays_in_its_input_with_the_reason(browser, gofood, merchant):
    location, other = make_location(merchant), make_location(make_merchant())
    make_install(merchant, gofood)
    make_install(other.merchant, gofood)
    number(gofood, other, "G1")

    response = browser.post("/integrations/gofood/outlets", {f"number-{location.pk}": "G1"})

    html = response.content.decode()
    assert response.status_code == 422
    assert 'value="G1"' in html
    assert "in use elsewhere" in html


def test_an_unknown_outlet_of_another_merchant_is_neither_shown_nor_taken(
    browser, gofood, merchant
):
    location = make_location(merchant)
    make_install(merchant, gofood)
    make_install(make_merchant(), gofood, external_merchant_id="G9")
    post("G9")
    row = UnknownOutlet.objects.get()

    page = browser.get("/integrations/gofood").content.decode()
    browser.post("/integrations/gofood/outlets", {f"unknown-{row.pk}": str(location.pk)})

    assert "G9" not in page
    assert not OutletNumber.objects.exists()


def test_a_viewer_sees_numbers_and_can_not_change_them(client, gofood, merchant):
    location = make_location(merchant)
    make_install(merchant, gofood)
    number(gofood, location, "G1")
    viewer = make_user()
    Membership.objects.create(user=viewer, merchant=merchant, role=Role.VIEWER)
    signed_in(client, viewer)

    page = client.get("/integrations/gofood").content.decode()
    response = client.post("/integrations/gofood/outlets", {f"number-{location.pk}": "G2"})

    assert "G1" in page
    assert "number-" not in page
    assert response.status_code == 403


def test_partners_that_name_no_outlets_have_no_such_form(browser, merchant):
    make_install(merchant, make_integration("plain"))

    assert "outlets-title" not in browser.get("/integrations/plain").content.decode()


def api(method: str, install: Any, token: str, body: Any = None):
    path = f"/v1/installs/{install.pk}/outlets"
    headers = {"Authorization": f"Bearer {token}"}
    return Client().generic(
        method, path, json.dumps(body), content_type="application/json", headers=headers
    )


def test_numbers_over_the_api(gofood, merchant):
    location = make_location(merchant)
    install = make_install(merchant, gofood)
    token = make_token(merchant)

    saved = api("PATCH", install, token, {"numbers": {str(location.pk): "G1"}})
    removed = api("PATCH", install, token, {"numbers": {str(location.pk): None}})

    assert saved.json() == {"numbers": {str(location.pk): "G1"}, "unknown": []}
    assert removed.json() == {"numbers": {}, "unknown": []}
    assert api("GET", install, make_token(make_merchant())).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"numbers": []}, 400),
        ({"numbers": {"x": "1"}}, 404),
        ({"numbers": {"00000000-0000-0000-0000-000000000000": "1"}}, 404),
    ],
)
def test_wrong_bodies_are_answered_in_the_envelope(gofood, merchant, body, status):
    install = make_install(merchant, gofood)

    response = api("PATCH", install, make_token(merchant), body)

    assert response.status_code == status
    assert "code" in response.json()["error"]


def test_staff_say_which_outlet_an_unknown_number_is(client, gofood, merchant):
    location = make_location(merchant)
    make_install(merchant, gofood)
    post("G9")
    signed_in(client, User.objects.create_superuser("staff@posz.id"))

    listed = client.get(reverse("admin:installs_unknownoutlet_changelist")).content.decode()
    client.post(
        reverse("admin:installs_outletnumber_add"),
        {"integration": gofood.pk, "location": location.pk, "external_id": "G9"},
    )

    entry = AuditEntry.objects.get(action="outlet.numbered")
    assert "external_id=G9" in listed
    assert outlets.numbers_of(merchant.pk, gofood) == {location.pk: "G9"}
    assert (entry.actor, entry.merchant) == ("staff:staff@posz.id", merchant)
    assert not UnknownOutlet.objects.exists()


def test_staff_replace_the_number_of_an_outlet(client, gofood, merchant):
    location = make_location(merchant)
    make_install(merchant, gofood)
    number(gofood, location, "G1")
    signed_in(client, User.objects.create_superuser("staff@posz.id"))

    client.post(
        reverse("admin:installs_outletnumber_add"),
        {"integration": gofood.pk, "location": location.pk, "external_id": "G2"},
    )

    assert outlets.numbers_of(merchant.pk, gofood) == {location.pk: "G2"}


def test_staff_are_refused_in_words_where_a_number_is_taken(client, gofood, merchant):
    location, other = make_location(merchant), make_location(make_merchant())
    make_install(merchant, gofood)
    make_install(other.merchant, gofood)
    number(gofood, other, "G1")
    signed_in(client, User.objects.create_superuser("staff@posz.id"))

    response = client.post(
        reverse("admin:installs_outletnumber_add"),
        {"integration": gofood.pk, "location": location.pk, "external_id": "G1"},
    )

    assert "in use elsewhere" in response.content.decode()
    assert OutletNumber.objects.get().location == other
