"""Each place of the till as a restaurant owner tries it, against the real sandbox process."""

import re
from dataclasses import dataclass

import pytest
from playwright.sync_api import Locator, Page, expect

from dispatch.till.surfaces import SURFACES
from tests.conftest import SEEN_WITHIN_MS
from tests.stack import Hub
from tests.test_accessibility import problems, sideways
from tests.till_partner import MERCHANT

pytestmark = pytest.mark.browser
NAME = "Test Partner"
LOOKS = {
    "light-1280": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark-390": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
}


@dataclass(frozen=True)
class Place:
    """The outlet where the partner is installed, on the running hub."""

    hub: Hub
    outlet: str

    def till(self, slug: str, lang: str = "en") -> str:
        return f"{self.hub.url}/till/{slug}?outlet={self.outlet}&lang={lang}"


@pytest.fixture(scope="module")
def place(live_hub: Hub) -> Place:
    printed = live_hub.manage("shell", "-c", MERCHANT)
    return Place(live_hub, printed.split("outlet ")[1].split()[0])


@pytest.fixture(scope="module")
def owner(place, chromium):
    """Signed in once for all stories."""
    context = chromium.new_context(locale="en-GB", viewport={"width": 1280, "height": 800})
    context.set_default_timeout(SEEN_WITHIN_MS)
    sign_in(context.new_page(), place.hub, "owner@kopicoba.id")
    yield context
    context.close()


@pytest.fixture
def desk(owner):
    page = owner.new_page()
    yield page
    page.close()


def sign_in(page: Page, hub: Hub, email: str) -> None:
    page.goto(f"{hub.url}/accounts/login/?lang=en")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill("maple-oat-demo-2026")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/integrations"))


def press(page: Page, name: str, title: str | re.Pattern[str]) -> Locator:
    """Press the button; the screen then says the title, and that is where the focus is."""
    page.get_by_role("button", name=name, exact=True).first.click()
    heading = page.locator("#happened-title")
    expect(heading).to_have_text(title)
    return page.locator("#happened")


def answered_by(happened: Locator, status: str = "Answered") -> None:
    party = happened.locator(".till__parties li").filter(has_text=NAME)
    expect(party.locator(".badge")).to_have_text(status)


def try_receipt(page: Page) -> None:
    page.get_by_role("button", name="Print", exact=True).click()
    expect(page.get_by_role("row", name=re.compile(NAME)).first).to_contain_text("Answered")


def try_checkout(page: Page) -> None:
    happened = press(page, "Start the payment", "Waiting for the guest to pay")
    expect(happened.get_by_role("img", name="QR code: Scan to pay")).to_be_visible()
    answered_by(happened)
    expect(page.locator("#happened-title")).to_have_text("Received")
    expect(page.locator("#till-said")).to_contain_text("Received")
    expect(happened).to_contain_text("GoPay")
    happened.get_by_label("Amount in rupiah").fill("5000")
    press(page, "Give money back", re.compile("refund|given back"))
    press(page, "Show instalments", "Instalments for Rp1.200.000")
    answered_by(happened)
    press(page, "Start the payment", "Waiting for the guest to pay")
    press(page, "Let the provider report it", "The partner posted it")
    press(page, "Ask for the status", "Received")


def try_table(page: Page) -> None:
    happened = press(page, "Put the code on the table", re.compile("pay here"))
    answered_by(happened)
    with page.expect_popup() as opened:
        happened.get_by_role("link", name="Open it as the guest").click()
    guest = opened.value
    guest.get_by_role("button", name="Pay the bill").click()
    expect(guest.get_by_text("The restaurant has been told.")).to_be_visible()
    guest.close()
    expect(page.locator("#happened-title")).to_have_text("Paid at the table")
    closed = press(page, "Close the check", "The bill of a table was settled and closed.")
    answered_by(closed, "Delivered")


def try_invoice(page: Page) -> None:
    page.get_by_label("NPWP").fill("12")
    page.get_by_role("button", name="Ask for the invoice").click()
    expect(page.get_by_text("Sixteen digits are needed.")).to_be_visible()
    expect(page.get_by_label("NPWP")).to_be_focused()
    page.get_by_label("NPWP").fill("0298765432101000")
    answered_by(press(page, "Ask for the invoice", "Handed in: the number follows"))


def try_reservations(page: Page) -> None:
    answered_by(press(page, "Look for a time", "There is room"))
    answered_by(press(page, "Open the book", re.compile("The book of")))
    answered_by(press(page, "Book", "Confirmed"))
    changed = press(page, "Change the guests", "Confirmed")
    expect(changed.get_by_role("definition").filter(has_text=re.compile("^5$"))).to_be_visible()
    seated = press(page, "Seat them", "Seated")
    answered_by(seated, "Delivered")
    press(page, "Book", "Confirmed")
    answered_by(press(page, "Cancel the booking", re.compile("Cancelled|Confirmed")))


def posted(page: Page, name: str) -> Locator:
    """The partner posts; the inbox of the POS shows it as soon as it is processed."""
    happened = press(page, name, "The partner posted it")
    answered_by(happened, "Accepted")
    expect(page.locator("#happened-title")).to_have_text("In the inbox of the POS")
    return happened


def try_orders(page: Page) -> None:
    posted(page, "Let the channel send an order")
    press(page, "Reject", "The restaurant rejected an order of a channel.")
    press(page, "Look for orders", "Nothing in the inbox yet")
    posted(page, "Let the channel send an order")
    accepted = press(page, "Accept", "The restaurant accepted an order of a channel.")
    answered_by(accepted, "Delivered")
    press(page, "It is ready", re.compile("picked up or served"))


def try_menu(page: Page) -> None:
    published = press(page, "Publish the menu", "The menu is published")
    answered_by(published, "Delivered")
    answered_by(press(page, "Tell the channels", "Nasi campur Bali is sold out"), "Delivered")


def try_loyalty(page: Page) -> None:
    answered_by(press(page, "Find the member", "Found"))
    answered_by(press(page, "Ring up for the member", "What the member has"))
    answered_by(press(page, "Use it", "Used"))
    answered_by(press(page, "Give the points", re.compile("points given")))
    answered_by(press(page, "Take it back", "Taken back"))


def try_messages(page: Page) -> None:
    answered_by(press(page, "Send", "Taken to be sent"))


def try_stock(page: Page) -> None:
    for kind, title in (
        ("Used up by sales", "Used up by sales"),
        ("Counted", "Counted"),
        ("Received", "Received"),
    ):
        page.get_by_label("What happened").select_option(label=kind)
        happened = press(page, "Write it down", title)
    answered_by(happened, "Delivered")
    expect(posted(page, "Let the supplier deliver")).to_contain_text("12 sak BERAS-5KG")


def try_staff(page: Page) -> None:
    answered_by(press(page, "Clock in", "I Made Suardana has clocked in"), "Delivered")
    answered_by(press(page, "Clock out", "I Made Suardana has clocked out"), "Delivered")
    expect(posted(page, "Let HR publish a schedule")).to_contain_text("08:00-16:00")
    press(page, "See the schedule", "In the inbox of the POS")


def try_customers(page: Page) -> None:
    for name, title in (
        ("Save the consent", "The consent is given"),
        ("Hand the profile over", "The customer’s details changed"),
        ("Sell to the customer", "Sold and paid"),
        ("Erase the customer", "The customer asks to be erased"),
    ):
        happened = press(page, name, title)
    answered_by(happened, "Delivered")


def try_day(page: Page) -> None:
    answered_by(press(page, "Ring up a sale", "Sold and paid"), "Delivered")
    answered_by(press(page, "Close the day", "The day is closed"), "Delivered")


def try_sign_in(page: Page) -> None:
    page.get_by_role("link", name="Set up your own sign-in").click()
    expect(page.get_by_role("link", name="Your own sign-in")).to_be_visible()


STORIES = {
    "receipt": try_receipt,
    "checkout": try_checkout,
    "table": try_table,
    "invoice": try_invoice,
    "reservations": try_reservations,
    "orders": try_orders,
    "menu": try_menu,
    "loyalty": try_loyalty,
    "messages": try_messages,
    "stock": try_stock,
    "staff": try_staff,
    "customers": try_customers,
    "day": try_day,
    "sign-in": try_sign_in,
}


@pytest.mark.parametrize("slug", SURFACES)
def test_story_of(slug: str, place: Place, desk: Page) -> None:
    item = SURFACES[slug]
    desk.goto(f"{place.hub.url}/till" if item.url_name else place.till(slug))
    expect(desk.get_by_role("link", name=str(item.name), exact=True)).to_have_attribute(
        "aria-current", "page"
    )

    STORIES[slug](desk)


def turn(page: Page, mode: str) -> None:
    page.get_by_label(f"{NAME} in the sandbox").select_option(label=mode)
    page.get_by_role("button", name="Switch").click()
    expect(page.locator("#till-said")).to_have_text(f"{NAME} now: {mode}")


def test_story_of_a_dead_partner(place: Place, desk: Page) -> None:
    desk.goto(place.till("checkout"))
    turn(desk, "Dead: hangs up")
    try:
        happened = press(desk, "Start the payment", "Outcome unknown: pending_verification")
        answered_by(happened, "Failed")
        expect(happened).to_contain_text("nothing counts as received")

        turn(desk, "Slow: two seconds")
        answered_by(press(desk, "Show instalments", re.compile("Instalments for")))

        turn(desk, "Declines")
        declined = press(desk, "Start the payment", re.compile("declined|failed"))
        answered_by(declined, "Declined")

        desk.goto(place.till("menu"))
        turn(desk, "Broken: answers 503")
        told = press(desk, "Tell the channels", "Nasi campur Bali is sold out")
        answered_by(told, "Trying again")
    finally:
        turn(desk, "Normal")

    desk.goto(place.till("checkout"))
    answered_by(press(desk, "Start the payment", "Waiting for the guest to pay"))


def test_story_of_an_outlet_without_integrations(place: Place, desk: Page) -> None:
    desk.goto(place.till("messages"))
    desk.get_by_label("Outlet").select_option(label="Amed, Bali")
    expect(desk.locator(f"#place:not([data-outlet='{place.outlet}'])")).to_be_visible()

    happened = press(desk, "Send", "Posz sends it by e-mail, or prints it")
    expect(happened).to_contain_text("Posz itself")
    desk.get_by_role("link", name="Install one for notification_provider").click()
    expect(desk.get_by_role("link", name=NAME)).to_be_visible()


def test_story_without_script(place: Place, owner, new_page) -> None:
    page = new_page(java_script_enabled=False, storage_state=owner.storage_state())
    page.goto(f"{place.hub.url}/till/checkout")
    page.get_by_label("Outlet").select_option(label="Sanur, Bali")
    page.get_by_role("button", name="Go there").click()

    press(page, "Start the payment", "Waiting for the guest to pay")
    press(page, "Ask for the status", "Received")


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_places_have_no_violation(place: Place, owner, new_page, look) -> None:
    page = new_page(storage_state=owner.storage_state(), **look)
    found = {}
    for slug, lang in (("checkout", "en"), ("orders", "id"), ("loyalty", "en"), ("menu", "id")):
        page.goto(place.till(slug, lang))
        page.locator(".till__actions button").first.click()
        page.locator("#happened-title").wait_for()
        page.evaluate(
            "document.querySelectorAll('.disclosure').forEach((item) => (item.open = true))"
        )
        found[slug] = problems(page) + (["scrolls sideways"] if sideways(page) else [])

    assert found == {"checkout": [], "orders": [], "loyalty": [], "menu": []}
