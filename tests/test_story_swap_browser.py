"""Jakarta and Bali: two partners that can't share an outlet, a switch between them, and its undo."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.stack import Hub
from tests.test_accessibility import DARK_PHONE, LIGHT_DESK, problems, sideways
from tests.test_story_browser import sign_in

pytestmark = pytest.mark.browser


def drawer_of(page: Page, hub: Hub, name: str) -> Locator:
    page.goto(f"{hub.url}/integrations")
    page.get_by_role("link", name=name).first.click()
    return page.get_by_role("dialog")


def install(page: Page, hub: Hub, name: str, place: str) -> Locator:
    drawer = drawer_of(page, hub, name)
    drawer.get_by_label(place).check()
    drawer.get_by_role("button", name="Install", exact=True).click()
    return drawer


def answers(page: Page, hub: Hub) -> list[str]:
    """Who pays at the table at Senopati, Ubud, Bandung and later ones, read from the page."""
    page.goto(f"{hub.url}/answers")
    row = page.get_by_role("row").filter(has_text="Replaces Posz’s diner-side")
    return [" ".join(text.split()) for text in row.get_by_role("cell").all_inner_texts()]


def test_jakarta_and_bali_are_switched_and_switched_back(fresh_hub: Hub, page: Page) -> None:
    sign_in(page, fresh_hub, "owner@mapleandoat.id")
    drawer = drawer_of(page, fresh_hub, "Table Pay")
    drawer.get_by_label("Senopati").check()
    preview = drawer.get_by_role("table", name="What will happen")
    expect(preview.get_by_role("row", name="Senopati, Jakarta")).to_contain_text(
        "Table Pay answers"
    )
    expect(preview).not_to_contain_text("Bandung")
    drawer.get_by_role("button", name="Install", exact=True).click()
    expect(drawer.get_by_role("link", name="Disable")).to_be_visible()
    drawer = install(page, fresh_hub, "Quick Check", "Ubud")
    expect(drawer.get_by_role("link", name="Disable")).to_be_visible()
    apart = answers(page, fresh_hub)

    drawer = install(page, fresh_hub, "Quick Check", "All outlets")
    switch = drawer.get_by_role("button", name="Switch Senopati, Jakarta from Table Pay")
    expect(switch).to_be_visible()
    expect(drawer.get_by_role("table").first).to_contain_text("Quick Check answers")
    switch.click()
    expect(drawer.get_by_text("Quick Check took over from Table Pay.")).to_be_visible()
    other = page.context.new_page()
    switched = answers(other, fresh_hub)
    drawer.get_by_role("button", name="Undo").click()
    expect(drawer.get_by_text("Everything is as it was before the switch.")).to_be_visible()
    undone = answers(other, fresh_hub)

    here, everywhere, own = "installed here", "installed for all outlets", "Posz’s own"
    assert apart == [f"Table Pay {here}", f"Quick Check {here}", own, own]
    assert switched == [
        f"Quick Check {everywhere}",
        f"Quick Check {here}",
        f"Quick Check {everywhere}",
        f"Quick Check {everywhere}",
    ]
    assert undone == apart


def test_keep_closes_the_drawer_and_changes_nothing(fresh_hub: Hub, page: Page) -> None:
    sign_in(page, fresh_hub, "owner@mapleandoat.id")
    drawer = install(page, fresh_hub, "Table Pay", "Senopati")
    expect(drawer.get_by_role("link", name="Disable")).to_be_visible()
    drawer = install(page, fresh_hub, "Quick Check", "All outlets")

    drawer.get_by_role("link", name="Keep Table Pay").click()

    expect(drawer).to_be_hidden()
    assert answers(page, fresh_hub)[0] == "Table Pay installed here"


@pytest.mark.parametrize("look", [LIGHT_DESK, DARK_PHONE], ids=["light-1280", "dark-390"])
def test_conflict_switch_and_answers_have_no_violation(
    fresh_hub: Hub, new_page: Callable[..., Page], look: dict[str, Any]
) -> None:
    page = new_page(**look, reduced_motion="reduce")
    sign_in(page, fresh_hub, "owner@mapleandoat.id")
    found = {}

    def look_at(name: str) -> None:
        found[name] = problems(page) + (["scrolls sideways"] if sideways(page) else [])

    drawer = install(page, fresh_hub, "Table Pay", "Senopati")
    drawer.get_by_role("link", name="Disable").click()
    drawer.get_by_role("heading", name="Disable Table Pay?").wait_for()
    look_at("disable")
    drawer = install(page, fresh_hub, "Quick Check", "All outlets")
    drawer.get_by_role("heading", name="What do you want to do?").wait_for()
    look_at("conflict")
    drawer.get_by_role("button", name="Switch Senopati").click()
    drawer.get_by_role("button", name="Undo").wait_for()
    look_at("switched")
    drawer.get_by_role("link", name="Uninstall").click()
    drawer.get_by_role("heading", name="Uninstall Quick Check?").wait_for()
    look_at("uninstall")
    page.goto(f"{fresh_hub.url}/answers")
    page.get_by_text("Nobody plugs in here").click()
    look_at("answers")

    assert found == {name: [] for name in found}
