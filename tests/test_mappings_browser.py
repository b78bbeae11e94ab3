"""A manager maps an item that a supplier named, in the drawer, with the keyboard and on a phone."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.stack import Hub
from tests.test_accessibility import problems, sideways
from tests.test_story_browser import sign_in

pytestmark = pytest.mark.browser

# Stock of a supplier whose ids are its own, as it came in.
ARRANGE = """
from uuid import uuid4
from catalog.models import Integration
from installs import lifecycle
from installs.access import Actor
from installs.models import Install, Merchant, Role
from tests.factories import make_inbound, make_integration
from tests.inbox import supply
merchant = Merchant.objects.get(name="Warung Bu Sari")
slug = "supplier-of-rice"
partner = Integration.objects.filter(slug=slug).first() or make_integration(
    slug, capabilities={"inventory_replenish_inbound": 1}, mapped_ids=["sku"],
    inbound_events={"stock.received": "inventory_replenish_inbound"},
)
install = Install.objects.filter(merchant=merchant, integration=partner).first()
install = install or lifecycle.install(Actor(merchant.pk, "test", Role.OWNER), partner)
number = str(uuid4())
event = make_inbound(
    install, type="stock.received", capability="inventory_replenish_inbound",
    data=supply(install, sku=number, external_id=number),
)
print("made", number, event.pk)
"""


def see(page: Page, text: str) -> None:
    """A worker has to come by first, and the page says what was when it was asked for."""
    for _time in range(60):
        if page.get_by_text(text).first.is_visible():
            return
        page.wait_for_timeout(1_000)
        page.reload()
    raise AssertionError(text)


def test_manager_maps_an_item_and_the_pos_takes_over_what_waited(
    live_hub: Hub, page: Page, new_page: Any
):
    printed = live_hub.manage("shell", "-c", ARRANGE)
    [(number, event)] = re.findall(r"^made (\S+) (\S+)$", printed, re.MULTILINE)
    sign_in(page, live_hub, "owner@warungbusari.id")
    page.goto(f"{live_hub.url}/deliveries/inbound/{event}")
    see(page, "Waits for a mapping")
    page.get_by_role("link", name="Say what they are").click()
    expect(page.get_by_label(f"SKU in Posz: {number}")).to_be_visible()
    assert problems(page) == []
    field = page.get_by_label(f"SKU in Posz: {number}")
    field.fill("BERAS")

    field.press("Enter")

    expect(field).to_have_count(0)
    page.goto(f"{live_hub.url}/deliveries/inbound/{event}")
    see(page, "Waits for the POS to take it over")
    [merchant] = [item for item in live_hub.seed["merchants"] if item["name"] == "Warung Bu Sari"]
    token = live_hub.seed["merchant_tokens"][merchant["id"]]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    inbox = f"{live_hub.url}/v1/inbox"
    rows = page.request.get(inbox, headers=headers).json()["data"]
    [mine] = [row for row in rows if row["external_id"] == number]
    assert mine["data"]["lines"][0]["sku"] == "BERAS"
    page.request.post(
        f"{inbox}/acknowledge", headers=headers, data=json.dumps({"ids": [mine["id"]]})
    )
    page.reload()
    expect(page.get_by_text("Taken over by the POS")).to_be_visible()

    phone = new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    sign_in(phone, live_hub, "owner@warungbusari.id")
    phone.goto(f"{live_hub.url}/integrations/supplier-of-rice")
    phone.get_by_role("link", name="Items and employees…").click()
    phone.get_by_role("link", name="Mapped").click()
    expect(phone.get_by_role("heading", name=number)).to_be_visible()
    assert problems(phone) == []
    assert not sideways(phone)
