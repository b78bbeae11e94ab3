"""The delivery log keeps itself fresh under the eyes and the hands of whoever looks at it."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.stack import Hub
from tests.test_story_browser import sign_in

pytestmark = pytest.mark.browser

# Due in an hour, so that no worker takes it before the test says so; and one to tick beside it.
ARRANGE = """
from datetime import timedelta
from django.utils import timezone
from catalog.models import Integration
from installs import lifecycle
from installs.access import Actor
from installs.models import Install, Merchant, Role
from webhooks.models import Delivery, Endpoint, Event
merchant = Merchant.objects.get(name="Warung Bu Sari")
partner = Integration.objects.get(slug="demo-qr-a")
install = Install.objects.filter(merchant=merchant, integration=partner).first()
if install is None:
    actor = Actor(merchant.pk, "test", Role.OWNER)
    install = lifecycle.install(actor, partner)
Endpoint.objects.get_or_create(integration=partner)
for status, wait in (("dead", None), ("pending", timedelta(hours=1))):
    event = Event.objects.create(
        merchant=merchant, type="order.paid", body=b"{}", occurred_at=timezone.now()
    )
    row = Delivery.objects.create(
        event=event, merchant=merchant, integration=partner, install_id=install.pk, status=status,
        reason="http_500" if status == "dead" else "",
        next_attempt_at=timezone.now() + wait if wait else None,
    )
    print(status, row.pk)
"""
DELIVER = """
from django.utils import timezone
from webhooks import outbound
from webhooks.models import Delivery
Delivery.objects.filter(pk="{pk}").update(next_attempt_at=timezone.now())
outbound.wake_delivery()
"""


def arrange(hub: Hub) -> dict[str, str]:
    printed = hub.manage("shell", "-c", ARRANGE)
    return dict(re.findall(r"^(dead|pending) ([0-9a-f-]{36})$", printed, re.MULTILINE))


def row_of(page: Page, pk: str) -> Locator:
    return page.locator(".delivery", has=page.locator(f"#delivery-{pk}"))


def test_row_turns_from_pending_to_delivered_without_a_reload(live_hub: Hub, page: Page):
    rows = arrange(live_hub)
    sign_in(page, live_hub, "owner@warungbusari.id")
    page.goto(f"{live_hub.url}/deliveries")
    page.evaluate("window.isSamePage = true")
    row = row_of(page, rows["pending"])
    expect(row.get_by_text("Pending")).to_be_visible()
    tick = page.locator(f"#pick-{rows['dead']}")
    tick.check()
    tick.focus()

    live_hub.manage("shell", "-c", DELIVER.format(pk=rows["pending"]))

    expect(row.get_by_text("Delivered")).to_be_visible()
    expect(page.locator("#live-status")).to_contain_text("List changed")
    expect(tick).to_be_checked()
    expect(tick).to_be_focused()
    assert page.evaluate("window.isSamePage")


def test_pause_stops_the_list_and_go_on_starts_it(live_hub: Hub, page: Page):
    arrange(live_hub)
    sign_in(page, live_hub, "owner@warungbusari.id")
    page.goto(f"{live_hub.url}/deliveries")

    page.get_by_role("link", name="Pause").click()

    go_on = page.get_by_role("link", name="Go on")
    expect(go_on).to_be_focused()
    expect(page.locator("#live[hx-trigger]")).to_have_count(0)
    go_on.click()
    expect(page.locator("#live[hx-trigger]")).to_have_count(1)


def test_delivery_opens_in_the_drawer_and_is_sent_again_there(live_hub: Hub, page: Page):
    rows = arrange(live_hub)
    sign_in(page, live_hub, "owner@warungbusari.id")
    page.goto(f"{live_hub.url}/deliveries")
    page.locator(f"#delivery-{rows['dead']}").click()
    drawer = page.get_by_role("dialog")

    drawer.get_by_role("button", name="Send again").click()

    expect(drawer.get_by_text("Delivered", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    row = row_of(page, rows["dead"])
    expect(row.get_by_text("Delivered")).to_be_visible()


def test_example_is_sent_from_the_drawer_and_arrives(live_hub: Hub, page: Page):
    arrange(live_hub)
    sign_in(page, live_hub, "owner@warungbusari.id")
    page.goto(f"{live_hub.url}/integrations")
    page.get_by_role("link", name="Review Corner").click()
    drawer = page.get_by_role("dialog")

    drawer.get_by_role("link", name="Send an example").press("Enter")
    expect(drawer.get_by_role("heading", name="Send Review Corner an example")).to_be_focused()
    drawer.get_by_label("Event").select_option("order.paid")
    drawer.get_by_role("button", name="Send the example").press("Enter")

    expect(page.get_by_text("An example of order.paid is on its way")).to_be_visible()
    page.goto(f"{live_hub.url}/deliveries")
    sent = page.locator(".delivery", has_text="Example").first
    expect(sent.get_by_text("Delivered")).to_be_visible()
