"""Connecting as a restaurant owner does it, in a real browser against the sandbox's OAuth server."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.stack import Hub
from tests.test_accessibility import DARK_PHONE, LIGHT_DESK, problems
from tests.test_story_browser import sign_in

pytestmark = pytest.mark.browser
OWNER = "owner@mapleandoat.id"


def received(hub: Hub, page: Page, path: str) -> list[dict[str, Any]]:
    requests = page.request.get(f"{hub.sandbox_url}/_received").json()["requests"]
    return [row for row in requests if row["path"] == path]


def wait_for_received(hub: Hub, page: Page, path: str, count: int) -> list[dict[str, Any]]:
    for _quarter in range(80):
        if len(received(hub, page, path)) >= count:
            break
        page.wait_for_timeout(250)
    found = received(hub, page, path)
    assert len(found) >= count
    return found


def open_guest_book(hub: Hub, page: Page, email: str = OWNER) -> None:
    sign_in(page, hub, email)
    page.goto(f"{hub.url}/integrations/demo-oauth")
    clean_up(page)


def clean_up(page: Page) -> None:
    """Tests of one hub share its world: whatever one left behind goes first."""
    while page.get_by_role("link", name="Uninstall…").count():
        page.get_by_role("link", name="Uninstall…").first.click()
        page.get_by_role("button", name="Uninstall", exact=True).click()
        expect(page.get_by_role("heading", name="Guest Book", exact=True)).to_be_visible()


def consent(page: Page, account: str = "Maple Roastery (A)") -> None:
    expect(page.get_by_role("heading", name="Allow Posz to use your account?")).to_be_visible()
    page.get_by_label(account).check()
    page.get_by_role("button", name="Allow").click()


def test_owner_connects_reconnects_to_another_account_and_uninstalls(live_hub, page):
    open_guest_book(live_hub, page)

    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_text("events:write")).to_be_visible()
    consent(page)
    expect(page.get_by_text("Guest Book is connected.")).to_be_visible()
    expect(page.get_by_text("Maple Roastery (A)").first).to_be_visible()

    page.get_by_role("button", name="Reconnect").click()
    consent(page, "Oat Bakery (B)")
    expect(page.get_by_role("heading", name="another account")).to_be_visible()
    page.get_by_role("button", name="Change to Oat Bakery (B)").click()
    expect(page.get_by_text("Account: Oat Bakery (B)")).to_be_visible()

    before = len(received(live_hub, page, "/demo/demo-oauth/revoke"))
    clean_up(page)
    wait_for_received(live_hub, page, "/demo/demo-oauth/revoke", before + 1)
    page.goto(f"{live_hub.url}/activity")
    expect(page.get_by_text("was told to forget the connection").first).to_be_visible()


@pytest.mark.parametrize("look", [LIGHT_DESK, DARK_PHONE], ids=["light-1280", "dark-390"])
def test_pages_of_the_connect_flow_have_no_violation(live_hub, new_page, look):
    page = new_page(**look)
    open_guest_book(live_hub, page)
    found = {"detail": problems(page)}
    page.get_by_role("button", name="Connect", exact=True).click()
    page.get_by_role("button", name="Deny").wait_for()
    found["consent"] = problems(page)
    page.get_by_role("button", name="Deny").click()
    page.get_by_role("link", name="Back to Guest Book").wait_for()
    found["denied"] = problems(page)
    page.get_by_role("link", name="Back to Guest Book").click()
    page.get_by_role("button", name="Connect", exact=True).click()
    consent(page)
    page.get_by_role("button", name="Reconnect").click()
    consent(page, "Oat Bakery (B)")
    page.get_by_role("button", name="Change to Oat Bakery (B)").wait_for()
    found["other account"] = problems(page)

    assert found == {name: [] for name in found}


def test_owner_who_denies_comes_back_to_words_and_no_install(live_hub, page):
    open_guest_book(live_hub, page)

    page.get_by_role("button", name="Connect", exact=True).click()
    page.get_by_role("button", name="Deny").click()

    expect(page.get_by_role("heading", name="Guest Book is not connected")).to_be_visible()
    expect(page.get_by_text("The request was declined at the partner")).to_be_visible()
    page.get_by_role("link", name="Back to Guest Book").click()
    expect(page.get_by_role("button", name="Connect", exact=True)).to_be_visible()


def test_connect_works_without_javascript_and_events_carry_the_token(live_hub, new_page):
    page = new_page(java_script_enabled=False)
    open_guest_book(live_hub, page)

    page.get_by_role("button", name="Connect", exact=True).click()
    consent(page)
    expect(page.get_by_text("Guest Book is connected.")).to_be_visible()

    merchant = next(row for row in live_hub.seed["merchants"] if row["name"] == "Maple & Oat")
    before = len(received(live_hub, page, "/events/demo-oauth"))
    page.request.post(
        f"{live_hub.url}/v1/events",
        headers={"Authorization": f"Bearer {live_hub.seed['pos_token']}"},
        data={"type": "order.paid", "merchant_id": merchant["id"], "data": {}},
    )
    events = wait_for_received(live_hub, page, "/events/demo-oauth", before + 1)
    assert re.match(r"Bearer \S{20,}", events[-1]["headers"]["Authorization"])


def test_connect_from_the_drawer_of_the_catalog(live_hub, page):
    open_guest_book(live_hub, page)
    page.goto(f"{live_hub.url}/integrations")

    page.get_by_role("link", name="Guest Book").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Connect", exact=True).click()
    consent(page)

    expect(page.get_by_text("Guest Book is connected.")).to_be_visible()
    clean_up(page)
