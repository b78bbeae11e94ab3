"""What people see of the inbox: ids to map, what the POS took over, and all of it for staff."""

import re
from typing import Any

import pytest
from django.test import Client

from installs import mappings
from installs.models import IdMapping, Install, Membership
from tests.factories import (
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_user,
    owner_of,
)
from tests.inbox import order, row_of, supply, tell
from tests.test_merchant_pages import HTMX, browser, queries, text
from webhooks.models import InboundEvent, InboxRow

pytestmark = pytest.mark.django_db


@pytest.fixture
def install() -> Install:
    integration = make_integration(
        capabilities={"order_inbound": 1, "inventory_replenish_inbound": 1},
        mapped_ids=["sku"],
        inbound_events={"order.created": "order_inbound"},
    )
    return make_install(make_merchant(timezone="Asia/Jakarta"), integration)


def address(install: Install, mapping: IdMapping | None = None) -> str:
    url = f"/integrations/{install.integration.slug}/installs/{install.pk}/mappings"
    return f"{url}/{mapping.pk}" if mapping else url


def unknown(install: Install, sku: str = "S-1") -> IdMapping:
    """An item that stock was told about, with its event parked."""
    tell(install, "stock.received", supply(install, sku=sku, external_id=sku))
    return IdMapping.objects.get(external_id=sku)


def event_page(install: Install, event: InboundEvent) -> str:
    return text(browser(install.merchant).get(f"/deliveries/inbound/{event.pk}"))


# Ids to map


def test_integration_says_that_something_waits(install: Install):
    unknown(install)

    page = text(browser(install.merchant).get(f"/integrations/{install.integration.slug}"))

    assert "named 1 thing that Posz does not know" in page
    assert address(install) in page


def test_item_is_mapped_and_leaves_the_list(install: Install):
    row = unknown(install)
    client = browser(install.merchant)
    assert "<code>S-1</code>" in text(client.get(address(install)))

    answer = client.post(address(install, row), {"posz_id": "BERAS"}, headers=HTMX)

    row.refresh_from_db()
    assert (row.state, row.posz_id) == ("mapped", "BERAS")
    assert "Nothing waits for you." in text(answer)
    assert "BERAS" in answer.headers["HX-Trigger"]
    assert "<code>S-1</code>" in text(client.get(address(install), {"state": "mapped"}))


def test_item_is_ignored_without_a_script(install: Install):
    row = unknown(install)

    answer = browser(install.merchant).post(address(install, row), {"posz_id": "", "ignore": "1"})

    row.refresh_from_db()
    assert (answer.status_code, answer.headers["Location"]) == (302, address(install))
    assert row.state == "ignored"


def test_empty_id_is_refused_at_its_line(install: Install):
    row = unknown(install)

    answer = browser(install.merchant).post(address(install, row), {"posz_id": " "}, headers=HTMX)

    assert answer.status_code == 422
    assert f'aria-describedby="posz-{row.pk}-error"' in text(answer)


def test_only_those_who_may_configure_map(install: Install):
    row = unknown(install)
    viewer = browser(install.merchant, "viewer")

    assert f'action="{address(install, row)}"' not in text(viewer.get(address(install)))
    assert viewer.post(address(install, row), {"posz_id": "X"}).status_code == 403


def test_mappings_of_another_merchant_are_not_there(install: Install):
    row = unknown(install)
    stranger = browser(make_merchant())

    assert stranger.get(address(install)).status_code == 404
    assert stranger.post(address(install, row), {"posz_id": "X"}).status_code == 404


def test_page_costs_the_same_for_one_id_and_three(install: Install):
    client = browser(install.merchant)
    unknown(install)
    client.get(address(install))
    one = queries(client, address(install))
    unknown(install, "S-2")
    unknown(install, "S-3")

    assert queries(client, address(install)) == one


# The event's own page


def test_event_tells_whether_the_pos_has_taken_it_over(install: Install):
    event = tell(install, "order.created", order())
    waiting = event_page(install, event)

    row = row_of(event)
    InboxRow.objects.filter(pk=row.pk).update(acknowledged_at=row.created_at)

    assert "Waits for the POS to take it over" in waiting
    assert "24 Nov 2026, 12:21 WIB" in waiting
    assert "Taken over by the POS" in event_page(install, event)


def test_event_tells_why_the_pos_is_not_told(install: Install):
    tell(install, "order.created", order(version=2))

    page = event_page(install, tell(install, "order.created", order(version=1)))

    assert "Not handed to the POS" in page
    assert "The POS was told something newer before" in page


def test_parked_event_says_what_it_waits_for_and_where(install: Install):
    unknown(install)

    page = event_page(install, InboundEvent.objects.get())

    assert "Item: <code>S-1</code>" in page
    assert f'href="{address(install)}"' in page


def test_wrong_event_names_the_field(install: Install):
    event = tell(install, "order.created", order(lines=[]))

    assert "data.lines: Expected `array` of length" in event_page(install, event)


# Staff


def test_staff_see_rows_and_change_nothing(install: Install):
    row = row_of(tell(install, "order.created", order()))
    mappings.add(owner_of(install.merchant), install.pk, "sku", "S-9", "X")
    client = Client()
    client.force_login(make_user(is_staff=True, is_superuser=True))

    listed = client.get("/admin/webhooks/inboxrow/")
    detail = client.get(f"/admin/webhooks/inboxrow/{row.pk}/change/")

    assert "GF-2401-778" in text(listed)
    assert "Jl. Hanoman 21, Ubud" in text(detail)
    assert not re.search(r'name="_save"', text(detail))
    assert client.get("/admin/webhooks/scheduleasking/").status_code == 200
    assert "S-9" in text(client.get("/admin/installs/idmapping/"))


def test_list_of_staff_costs_the_same_for_one_row_and_three(install: Install):
    client = Client()
    client.force_login(make_user(is_staff=True, is_superuser=True))
    tell(install, "order.created", order())
    url = "/admin/webhooks/inboxrow/"
    client.get(url)
    one = queries(client, url)
    for number in ("b", "c"):
        tell(install, "order.created", order(external_order_id=number))

    assert queries(client, url) == one


def test_manager_of_one_outlet_does_not_map_for_all(install: Install):
    row = unknown(install)
    outlet = make_location(install.merchant)
    client = browser(install.merchant, "manager", outlet)

    assert client.post(address(install, row), {"posz_id": "X"}).status_code == 403
    assert Membership.objects.filter(locations=outlet).exists()


def test_catalog_row_asks_for_what_it_can_be_asked(install: Install):
    from django.core.exceptions import ValidationError

    row: Any = install.integration
    row.mapped_ids, row.is_asked_for_shifts = ["shoe"], True

    with pytest.raises(ValidationError) as refused:
        row.full_clean()
    assert {"mapped_ids", "is_asked_for_shifts"} <= set(refused.value.message_dict)
