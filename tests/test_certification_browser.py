"""A partner is tried from its page in the admin, in a real browser, by a real worker."""

import pytest
from playwright.sync_api import Page, expect

from tests.stack import Hub
from tests.test_accessibility import problems, sideways
from tests.test_provider_setup_browser import sign_in_staff

pytestmark = pytest.mark.browser


def test_staff_certifies_a_partner_and_reads_the_report(live_hub: Hub, page: Page) -> None:
    sign_in_staff(page, live_hub)
    page.goto(f"{live_hub.url}/admin/catalog/integration/?q=demo-qr-a")
    page.get_by_role("link", name="demo-qr-a").click()
    page.get_by_role("link", name="Certify").click()

    page.get_by_role("button", name="Certify").click()

    heading = page.get_by_role("heading", name="receipt_qr@1: passed")
    expect(heading).to_be_visible()
    expect(page.locator("#start")).to_be_enabled()
    assert problems(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert not sideways(page)
    page.goto(f"{live_hub.url}/admin/catalog/integration/?q=demo-qr-a")
    expect(page.locator("td.field-certified")).to_contain_text("passed")
