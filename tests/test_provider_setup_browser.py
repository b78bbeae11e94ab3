"""Setting up a provider as its guide for staff says, word by word, in a real browser."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.inbound_samples import mac
from tests.stack import Hub
from tests.test_accessibility import DARK_PHONE, LIGHT_DESK, problems, sideways
from tests.test_story_browser import sign_in

pytestmark = pytest.mark.browser
GUIDE = "/docs/integrations/webhooks"


class Guide:
    """What the page says, read from the page."""

    def __init__(self, hub: Hub, page: Page) -> None:
        page.goto(f"{hub.url}{GUIDE}")
        self.steps = {
            number: page.locator(f"#step-{number} code").all_inner_texts() for number in range(1, 9)
        }
        self.tables = {
            name: [
                row.locator("th, td").all_inner_texts()
                for row in page.locator(f"#{name} tbody tr").all()
            ]
            for name in ("scheme", "parts", "mapping", "types", "sample")
        }

    @property
    def key(self) -> str:
        return self.steps[5][0]

    @property
    def number(self) -> str:
        return self.steps[8][0]


def sign_in_staff(page: Page, hub: Hub) -> None:
    staff = next(user for user in hub.seed["users"] if user["role"] == "staff")
    page.goto(f"{hub.url}/accounts/login/?next=/admin/")
    page.get_by_label("Email").fill(staff["email"])
    page.get_by_label("Password", exact=True).fill(staff["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/admin/")


def add_integration(page: Page, hub: Hub, slug: str, capability: str) -> None:
    page.goto(f"{hub.url}/admin/catalog/integration/add/")
    page.locator("#id_slug").fill(slug)
    page.locator("#id_category").select_option(index=1)
    for name in ("name", "tagline", "description"):
        for lang in ("en", "id"):
            page.locator(f"#id_{name}_{lang}").fill("Warung Pay")
    page.locator("#id_auth_shape").select_option("platform_shared")
    page.locator("#id_data_residency").fill("id")
    page.locator(f"[name='capabilities-{capability}']").check()
    page.locator("#id_status").select_option("available")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.get_by_text("was added successfully")).to_be_visible()


def fill(field: Locator, value: str) -> None:
    if field.evaluate("field => field.tagName") == "SELECT":
        field.select_option(label=value)
    else:
        field.fill(value)


@contextmanager
def answered(page: Page) -> Iterator[None]:
    """Until the answer has taken the form's place: what is typed before that is lost."""
    page.locator("#composer").evaluate("form => form.dataset.answered = 'no'")
    yield
    expect(page.locator("#composer:not([data-answered])")).to_be_visible()


def press(page: Page, place: Locator | Page, name: str) -> None:
    with answered(page):
        place.get_by_role("button", name=name, exact=True).click()


def fill_table(page: Page, box: Locator, rows: list[list[str]]) -> None:
    """The first value decides which fields there are."""
    (label, value), *rest = rows
    fill(box.get_by_label(label, exact=True), value)
    press(page, box, "Show the fields of this choice")
    for label, value in rest:
        fill(box.get_by_label(label, exact=True), value)


def fill_parts(page: Page, box: Locator, parts: list[list[str]]) -> None:
    press(page, box, "Add a part")
    press(page, box, "Move row 2 up")
    for number, (source, argument) in enumerate(parts):
        box.get_by_label("Part", exact=True).nth(number).select_option(label=source)
        box.get_by_label("Name, pointer or text").nth(number).fill(argument)


def box(page: Page, title: str) -> Locator:
    return page.locator("fieldset").filter(has=page.get_by_role("heading", name=title))


def compose(page: Page, guide: Guide) -> None:
    scheme, mapping = box(page, "2. Signature"), box(page, "3. Fields")
    fill_table(page, scheme, guide.tables["scheme"])
    fill_parts(page, scheme, guide.tables["parts"])
    fill_table(page, mapping, guide.tables["mapping"])
    press(page, mapping, "Add a type")
    [[theirs, ours, capability]] = guide.tables["types"]
    mapping.get_by_label("Type of the provider").fill(theirs)
    mapping.get_by_label("Type at Posz").fill(ours)
    mapping.get_by_label("Capability").select_option(capability)
    page.get_by_label("Key of the provider").fill(guide.key)
    press(page, page, "Store the key")
    expect(page.get_by_text("The key is stored.")).to_be_visible()
    for label, value in guide.tables["sample"]:
        fill(box(page, "5. Sample").get_by_label(label, exact=True), value)
    press(page, page, "Try the sample")
    expect(page.get_by_role("heading", name="The sample passed.")).to_be_visible()
    assert guide.key not in page.content()


def give_number(page: Page, hub: Hub, slug: str, number: str) -> None:
    page.goto(f"{hub.url}/admin/installs/install/?q={slug}")
    page.locator("#result_list tbody th a").first.click()
    page.get_by_role("link", name="Number at the partner").click()
    page.get_by_label("Number at the partner").fill(number)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The number is noted.")).to_be_visible()


def send(page: Page, guide: Guide, body: bytes, signed: bytes) -> Any:
    now = int(time.time())
    signature = mac(f"{now}.".encode() + signed, guide.key).hex()
    headers = {
        "X-Warung-Signature": f"t={now},v1={signature}",
        "Content-Type": "application/json",
    }
    return page.request.post(guide.steps[7][0], headers=headers, data=body)


@pytest.mark.parametrize("has_script", [True, False], ids=["script", "no-script"])
def test_provider_is_set_up_as_the_guide_says_and_its_webhook_is_accepted(
    fresh_hub, new_page, has_script
):
    page = new_page(viewport={"width": 1280, "height": 800}, java_script_enabled=has_script)
    guide = Guide(fresh_hub, page)
    slug, capability = guide.steps[1]
    sign_in_staff(page, fresh_hub)
    add_integration(page, fresh_hub, slug, capability)
    page.get_by_role("link", name="Inbound signature").click()
    compose(page, guide)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text(f"{slug}: its webhooks are set up.")).to_be_visible()

    owner = new_page()
    sign_in(owner, fresh_hub, "owner@mapleandoat.id")
    owner.goto(f"{fresh_hub.url}/integrations/{slug}")
    owner.get_by_role("button", name="Install", exact=True).click()
    expect(owner.get_by_text(re.compile("installed", re.IGNORECASE)).first).to_be_visible()
    give_number(page, fresh_hub, slug, guide.number)

    body = json.dumps(
        {"id": "evt_2", "event": "PAID", "shop": {"number": guide.number}, "time": 1795500000}
    ).encode()
    accepted = send(page, guide, body, body)
    mutated = send(page, guide, body.replace(b"evt_2", b"evt_3"), body)
    assert (accepted.status, accepted.json()["status"]) == (200, "accepted")
    assert (mutated.status, mutated.json()["error"]["code"]) == (401, "invalid_signature")


@pytest.mark.parametrize("look", [LIGHT_DESK, DARK_PHONE], ids=["light-1280", "dark-390"])
@pytest.mark.parametrize("lang", ["en", "id"])
def test_pages_of_the_setup_have_no_violation(live_hub, new_page, look, lang):
    page = new_page(**look)
    sign_in_staff(page, live_hub)
    found = {}

    def look_at(name: str) -> None:
        found[name] = problems(page) + (["scrolls sideways"] if sideways(page) else [])

    page.goto(f"{live_hub.url}{GUIDE}?lang={lang}")
    look_at("guide")
    page.goto(f"{live_hub.url}/admin/catalog/integration/?q=spliteasy")
    page.locator("#result_list tbody th a").first.click()
    composer = page.locator(".object-tools a[href$='inbound/']")
    composer.wait_for()
    look_at("integration")
    composer.click()
    page.locator("#composer").wait_for()
    look_at("composer")
    for preset in ("doku", "messagebird", "xero"):
        page.locator("#preset").select_option(preset)
        with answered(page):
            page.locator("#take-preset").click()
        look_at(preset)
    page.locator("#id_sample-headers").fill("Signature: HMACSHA256=AAAA")
    page.locator("#try").click()
    page.locator("#result").wait_for()
    look_at("result")
    page.locator("#as-json").click()
    page.locator("#json-mapping").wait_for()
    look_at("json")

    assert found == {name: [] for name in found}


def test_composer_is_used_with_the_keyboard_alone(live_hub, page):
    sign_in_staff(page, live_hub)
    page.goto(f"{live_hub.url}/admin/catalog/integration/?q=spliteasy")
    page.locator("#result_list tbody th a").first.click()
    page.get_by_role("link", name="Inbound signature").click()
    page.locator("#preset").focus()
    page.keyboard.type("doku")
    enter(page, "#take-preset")
    expect(page.locator("#signed-argument-1")).to_have_value("Client-Id:")

    enter(page, "#down-signed-0")
    expect(page.locator("#signed-source-1")).to_have_value("header")
    expect(page.locator("#signed-argument-2")).to_have_value("Client-Id:")
    expect(page.locator("#down-signed-0")).to_be_focused()
    enter(page, "#id_joiner")
    expect(page.locator("#id_joiner")).to_be_focused()
    enter(page, "#try")
    expect(page.locator("#result")).to_be_focused()


def enter(page: Page, place: str) -> None:
    with answered(page):
        page.locator(place).press("Enter")
