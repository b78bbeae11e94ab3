"""The log of received events keeps itself fresh, and an event is processed again in the drawer."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.stack import Hub
from tests.test_story_browser import sign_in

pytestmark = pytest.mark.browser

# Set aside, as if its adapter had been mended since.
ARRANGE = """
import json
from uuid import uuid4
from catalog.models import Integration
from installs import lifecycle
from installs.access import Actor
from installs.models import Install, Merchant, Role
from webhooks.models import InboundEvent, InboundIncident
merchant = Merchant.objects.get(name="Warung Bu Sari")
partner = Integration.objects.get(slug="spliteasy")
install = Install.objects.filter(merchant=merchant, integration=partner).first()
if install is None:
    install = lifecycle.install(Actor(merchant.pk, "test", Role.OWNER), partner)
number = str(uuid4())
body = {"event_id": number, "type": "bill.settled", "merchant_id": str(merchant.pk)}
row = InboundEvent.objects.create(
    install_id=install.pk, integration=partner, merchant=merchant, provider_event_id=number,
    type="bill.settled", capability="payment_webhook_inbound", status="quarantined", attempts=5,
    problem="TypeError", body=json.dumps(body).encode(), body_digest="0" * 64,
)
InboundIncident.objects.update_or_create(
    install_id=install.pk,
    defaults={"merchant": merchant, "integration": partner, "problem": "TypeError"},
)
print("aside", row.pk)
"""


def test_event_is_processed_again_in_the_drawer_and_the_list_follows(live_hub: Hub, page: Page):
    printed = live_hub.manage("shell", "-c", ARRANGE)
    [pk] = re.findall(r"^aside ([0-9a-f-]{36})$", printed, re.MULTILINE)
    sign_in(page, live_hub, "owner@warungbusari.id")
    page.goto(f"{live_hub.url}/deliveries")
    page.get_by_role("link", name="Received from partners").click()
    expect(page.get_by_role("heading", name="Needs attention")).to_be_visible()
    page.evaluate("window.isSamePage = true")
    page.locator(f"#event-{pk}").click()
    drawer = page.get_by_role("dialog")

    drawer.get_by_role("button", name="Process again").click()

    expect(drawer.get_by_text("Processed", exact=True).first).to_be_visible()
    expect(drawer.get_by_text("A bill was settled with SplitEasy").first).to_be_visible()
    page.keyboard.press("Escape")
    row = page.locator(".delivery", has=page.locator(f"#event-{pk}"))
    expect(row.get_by_text("Processed")).to_be_visible()
    expect(page.get_by_role("heading", name="Needs attention")).to_have_count(0)
    assert page.evaluate("window.isSamePage")
