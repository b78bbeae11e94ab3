"""The menu as a partner fetches it: signed, of the right outlet, and current."""

import time
from uuid import uuid4

import pytest

from dispatch.signing import standard_headers
from installs import lifecycle
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    owner_of,
)
from tests.test_exports import accept, told
from webhooks.event_types.stock import EVENTS
from webhooks.models import KeptMenu

pytestmark = pytest.mark.django_db
MENU = next(item.example for item in EVENTS if item.type == "menu.published")
NOBODY = "00000000-0000-4000-8000-000000000000"
SOLD_OUT = {"items": [{"id": "NASI-CAMPUR", "available": False, "max_stock": 0}]}


@pytest.fixture
def install():
    row = make_integration(
        capabilities={"menu_sync_outbound": 1}, outbound_url="http://127.0.0.1:9/"
    )
    return make_install(make_merchant(), row)


@pytest.fixture
def outlet(install):
    return make_location(install.merchant)


@pytest.fixture
def pull(client, install):
    key = keys_of(install.integration)["inbound"]

    def get(query=None, *, signed=True, **headers):
        query = f"merchant_id={install.merchant_id}" if query is None else query
        target = f"/v1/integrations/{install.integration.slug}/menu?{query}"
        keys = [key if signed else b"x" * 32]
        signature = standard_headers(str(uuid4()), int(time.time()), target.encode(), keys)
        return client.get(target, headers=signature | headers)

    return get


def item(response):
    return response.json()["categories"][0]["items"][0]


def test_published_menu_is_fetched_in_two_languages(install, pull):
    accept(install, "menu.published", MENU)

    response = pull()

    assert (response.status_code, response.json()["menu_version"]) == (200, "2026-11-24.2")
    assert item(response)["name"] == {"en": "Nasi campur Bali", "id": "Nasi campur Bali"}


def test_changes_are_in_what_is_fetched(install, pull):
    accept(install, "menu.published", MENU)
    accept(install, "item.availability_changed", SOLD_OUT)
    accept(install, "price.changed", {"items": [{"id": "NASI-CAMPUR", "price_cents": 6000000}]})

    found = item(pull())

    assert (found["available"], found["price_cents"], found["max_stock"]) == (False, 6000000, 0)


def test_patch_of_a_price_says_whether_the_item_can_be_had(install):
    accept(install, "menu.published", MENU)
    accept(install, "item.availability_changed", SOLD_OUT)

    sent = told(install, "price.changed", {"items": [{"id": "NASI-CAMPUR", "price_cents": 1}]})

    assert sent["items"] == [{"id": "NASI-CAMPUR", "available": False, "price_cents": 1}]


def test_new_hours_send_the_whole_menu(install):
    accept(install, "menu.published", MENU)
    hours = [{"day": "sat", "from": "08:00", "to": "23:00"}]

    sent = told(install, "store.hours_changed", {"hours": hours, "special": []})

    assert sent["menu_version"] == "2026-11-24.2"
    assert sent["hours"] == [{"id": "hours-1", "day": "sat", "opens": "08:00", "closes": "23:00"}]


def test_what_was_seen_is_not_sent_again_until_it_changes(install, pull):
    accept(install, "menu.published", MENU)
    etag = pull()["ETag"]

    same = pull(**{"If-None-Match": etag})
    accept(install, "item.availability_changed", SOLD_OUT)

    assert (same.status_code, same.content, same["ETag"]) == (304, b"", etag)
    assert pull(**{"If-None-Match": etag}).status_code == 200


def test_outlet_has_its_own_where_it_differs(install, outlet, pull):
    accept(install, "menu.published", MENU)
    accept(install, "item.availability_changed", SOLD_OUT, location_id=outlet.pk)
    whose = f"merchant_id={install.merchant_id}"

    assert item(pull(f"{whose}&location_id={outlet.pk}"))["available"] is False
    assert item(pull(whose))["available"] is True

    accept(install, "menu.published", MENU | {"menu_version": "3"})
    assert pull(f"{whose}&location_id={outlet.pk}").json()["menu_version"] == "3"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("menu_version=1", 400, "invalid_payload"),
        ("merchant_id=x", 400, "invalid_payload"),
        (f"merchant_id={NOBODY}", 404, "not_found"),
        ("external_merchant_id=x", 404, "integration_not_installed"),
        ("merchant_id={merchant}&menu_version=1", 404, "not_found"),
        (f"merchant_id={{merchant}}&location_id={NOBODY}", 404, "not_found"),
        ("merchant_id={merchant}&external_location_id=x", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_said(install, pull, query, status, code):
    accept(install, "menu.published", MENU)

    response = pull(query.format(merchant=install.merchant_id))

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_signature_is_needed(install, pull):
    accept(install, "menu.published", MENU)

    assert pull(signed=False).status_code == 401


def test_switched_off_is_said(install, pull):
    lifecycle.disable(owner_of(install.merchant), install.pk)

    assert pull().status_code == 403


def test_partner_without_the_capability_gets_no_menu(client, install):
    other = make_integration(capabilities={"receipt_qr": 1})
    key = keys_of(other)["inbound"]
    target = f"/v1/integrations/{other.slug}/menu?merchant_id={install.merchant_id}"
    headers = standard_headers("r", int(time.time()), target.encode(), [key])

    assert client.get(target, headers=headers).status_code == 422


def test_menu_that_nobody_can_read_changes_nothing():
    nobody = make_install(make_merchant(), make_integration())
    accept(nobody, "menu.published", MENU)

    accept(nobody, "menu.published", {"menu_version": 1})
    accept(nobody, "item.availability_changed", {"items": "all"})
    accept(nobody, "store.hours_changed", {"hours": [1]})

    assert KeptMenu.objects.get().menu_version == "2026-11-24.2"
