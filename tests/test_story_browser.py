"""The main job as a restaurant owner does it, in a real browser against the real sandbox process."""

import io
import re

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.stack import Hub

pytestmark = pytest.mark.browser


def sign_in(page: Page, hub: Hub, email: str) -> None:
    password = next(user["password"] for user in hub.seed["users"] if user["email"] == email)
    page.goto(f"{hub.url}/accounts/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Integrations")).to_be_visible()


def test_owner_installs_spliteasy_prints_and_sees_the_bill_settled(live_hub, page):
    sign_in(page, live_hub, "owner@mapleandoat.id")

    page.get_by_role("searchbox").fill("bagi tagihan")
    expect(page.get_by_role("link", name="Lucky Draw")).to_have_count(0)
    page.get_by_role("link", name="SplitEasy").first.click()
    drawer = page.get_by_role("dialog")
    drawer.get_by_label("Ubud").check()
    drawer.get_by_role("button", name="Install", exact=True).click()
    expect(drawer.get_by_text("SplitEasy is connected").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()

    page.get_by_role("link", name="Till").click()
    page.get_by_label("Outlet").select_option(label="Ubud, Bali")
    page.get_by_role("button", name="Print", exact=True).click()
    code = page.get_by_role("img", name=re.compile("Scan to split")).first
    expect(code).to_be_visible()
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    # Another test of this hub may have installed a partner that prints a code of its own.
    codes = [code.text for code in zxingcpp.read_barcodes(picture)]
    [bill] = [text for text in codes if text.startswith(f"{live_hub.sandbox_url}/b/")]

    page.goto(bill)
    expect(page.get_by_text("Maple & Oat").first).to_be_visible()
    page.get_by_role("button", name="Settle").click()
    expect(page.get_by_text("Settled").first).to_be_visible()

    page.goto(f"{live_hub.url}/activity")
    row = page.get_by_text(re.compile("settled", re.IGNORECASE)).first
    expect(row).to_be_visible()


def test_what_is_typed_before_the_scripts_have_come_is_searched(live_hub, page):
    sign_in(page, live_hub, "owner@mapleandoat.id")
    held: list[Route] = []
    page.route("**/*.js", lambda route: route.continue_() if has_typed else held.append(route))
    has_typed = False
    page.goto(f"{live_hub.url}/integrations", wait_until="commit")

    page.get_by_role("searchbox").fill("bagi tagihan")
    expect(page.get_by_role("link", name="Lucky Draw").first).to_be_visible()
    has_typed = True
    for route in held:
        route.continue_()

    expect(page.get_by_role("link", name="Lucky Draw")).to_have_count(0)
    expect(page.get_by_role("link", name="SplitEasy").first).to_be_visible()


def test_whole_story_in_indonesian_without_javascript(live_hub, new_page):
    page = new_page(
        java_script_enabled=False, locale="id-ID", viewport={"width": 390, "height": 844}
    )
    email = "owner@warungbusari.id"
    password = next(user["password"] for user in live_hub.seed["users"] if user["email"] == email)
    page.goto(f"{live_hub.url}/accounts/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Kata Sandi").or_(page.get_by_label("Kata sandi")).first.fill(password)
    page.get_by_role("button", name="Masuk").click()

    page.get_by_role("link", name="Undian Meja").click()
    page.get_by_role("button", name="Pasang", exact=True).click()
    # Without script what will happen is shown on a page of its own.
    page.get_by_role("button", name="Pasang", exact=True).click()
    expect(page.get_by_text("Terpasang").first).to_be_visible()

    page.goto(f"{live_hub.url}/till")
    page.get_by_role("button", name="Cetak", exact=True).click()
    expect(page.get_by_text("Pajak restoran (PB1)").first).to_be_visible()
    expect(page.locator("svg[role=img]").first).to_be_visible()
