"""A merchant pastes a key, in a real browser, at a partner played by the sandbox process."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen  # noqa: TID251 - the sandbox's own switches

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.stack import Hub
from tests.test_story_browser import sign_in

pytestmark = pytest.mark.browser

OPTIONAL_SECRET = """
from catalog.models import Integration
row = Integration.objects.get(slug="demo-key")
row.config_schema["properties"]["pin"] = {"type": "string", "x-secret": True, "title": "Pin"}
row.full_clean()
row.save(update_fields=["config_schema"])
"""
WITHOUT_IT = """
from catalog.models import Integration
from installs import lifecycle
from installs.access import Actor
from installs.models import Install
for row in Install.objects.filter(integration__slug="demo-key"):
    lifecycle.uninstall(Actor(row.merchant_id, "test", "owner"), row.pk)
row = Integration.objects.get(slug="demo-key")
row.config_schema["properties"].pop("pin", None)
row.save(update_fields=["config_schema"])
"""


@pytest.fixture
def hub(live_hub: Hub) -> Iterator[Hub]:
    """With a second, optional secret at the demo partner, and without traces afterwards."""
    live_hub.manage("shell", "-c", OPTIONAL_SECRET)
    yield live_hub
    behave(live_hub, None)
    live_hub.manage("shell", "-c", WITHOUT_IT)


def behave(hub: Hub, mode: str | None) -> None:
    switch: dict[str, Any] = {"path_prefix": "/demo/demo-key/posz/v1/verify", "mode": mode}
    request = Request(
        f"{hub.sandbox_url}/_behave",
        json.dumps(switch).encode() if mode else None,
        method="PUT" if mode else "DELETE",
    )
    urlopen(request, timeout=60).close()


def opened_drawer(page: Page, hub: Hub) -> Locator:
    page.goto(f"{hub.url}/integrations")
    page.get_by_role("link", name="Warm Words").first.click()
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_role("heading", name="Warm Words")).to_be_visible()
    return drawer


def save(drawer: Locator) -> None:
    drawer.get_by_role("button", name="Save changes").click()


def test_key_is_pasted_tested_replaced_and_removed(hub, page):
    sign_in(page, hub, "owner@mapleandoat.id")
    drawer = opened_drawer(page, hub)

    drawer.get_by_label("API key").fill("wrong-key-0000")
    drawer.get_by_label("Greeting").fill("Sampai jumpa")
    drawer.get_by_role("button", name="Install", exact=True).click()
    expect(drawer.get_by_text("does not accept this key")).to_be_visible()
    expect(drawer.get_by_label("API key")).to_have_value("")
    expect(drawer.get_by_label("Greeting")).to_have_value("Sampai jumpa")

    behave(hub, "fail")
    drawer.get_by_label("API key").fill("demo-valid-key")
    drawer.get_by_role("button", name="Install", exact=True).click()
    expect(drawer.get_by_text("Not connected")).to_be_visible()
    expect(drawer.get_by_text(re.compile("It is Warm Words’s turn"))).to_be_visible()

    behave(hub, None)
    drawer.get_by_role("button", name="Test connection").click()
    expect(drawer.get_by_text("Working", exact=True)).to_be_visible()
    expect(
        drawer.get_by_text("The connection works: Warm Words accepted your key.")
    ).to_be_visible()

    drawer.locator("summary", has_text=re.compile("^Settings$")).click()
    expect(drawer.get_by_text(re.compile("Set, ends -key, changed"))).to_be_visible()
    drawer.locator("summary", has_text="Replace API key").click()
    drawer.get_by_label("New value of “API key”").fill("another-wrong-key")
    save(drawer)
    expect(drawer.get_by_text("does not accept this key")).to_be_visible()
    drawer.get_by_label("New value of “API key”").fill("demo-valid-key")
    drawer.locator("[id^=settings-]").get_by_label("Pin (optional)").fill("pin-1234567890-9F2A")
    save(drawer)
    expect(drawer.get_by_text("The settings of Warm Words are saved.")).to_be_visible()

    drawer.locator("summary", has_text=re.compile("^Settings$")).click()
    expect(drawer.get_by_text(re.compile("Set, ends 9F2A, changed"))).to_be_visible()
    remove = drawer.get_by_role("checkbox", name="Remove Pin")
    remove.check()
    save(drawer)
    # The saved drawer comes with its settings closed.
    expect(remove).to_have_count(0)
    drawer.locator("summary", has_text=re.compile("^Settings$")).click()
    expect(drawer.get_by_text(re.compile("ends 9F2A"))).to_have_count(0)
    expect(drawer.get_by_text(re.compile("Set, ends -key, changed"))).to_be_visible()

    page.goto(f"{hub.url}/till")
    page.get_by_role("button", name="Print", exact=True).click()
    expect(page.locator(".receipt__text", has_text="Sampai jumpa")).to_be_visible()


def test_key_is_pasted_and_replaced_without_script(hub, new_page):
    page = new_page(java_script_enabled=False, viewport={"width": 390, "height": 844})
    sign_in(page, hub, "owner@mapleandoat.id")
    page.get_by_role("link", name="Warm Words").first.click()

    page.get_by_label("API key").fill("wrong-key-0000")
    page.get_by_role("button", name="Install", exact=True).click()
    expect(page.get_by_text("does not accept this key")).to_be_visible()

    page.get_by_label("API key").fill("demo-valid-key")
    page.get_by_role("button", name="Install", exact=True).click()
    # What will happen is shown first.
    page.get_by_role("button", name="Install", exact=True).click()
    expect(page.get_by_text("Warm Words is installed.")).to_be_visible()

    page.locator("summary", has_text=re.compile("^Settings$")).click()
    page.locator("summary", has_text="Replace API key").click()
    page.get_by_label("New value of “API key”").fill("wrong-key-0000")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_text("does not accept this key")).to_be_visible()

    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("The connection works: Warm Words accepted your key.")).to_be_visible()
