"""An owner connects the restaurant's own provider, and the team signs in there: in a real browser."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import stack
from tests.oauth_provider import CLIENT_ID, CLIENT_SECRET, Provider, running_provider
from tests.stack import Hub
from tests.test_accessibility import DARK_PHONE, LIGHT_DESK, problems, sideways
from tests.test_story_browser import sign_in

pytestmark = pytest.mark.browser
OWNER, MANAGER = "owner@mapleandoat.id", "manager@mapleandoat.id"
LINK = "/integrations/openid-connect"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with running_provider(tmp_path_factory.mktemp("provider"), "http://127.0.0.1/") as running:
        person = {"sub": "bima", "email": MANAGER, "email_verified": True, "groups": ["leads"]}
        running.control(person=person)
        yield running


@pytest.fixture(scope="module")
def hub(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    sandbox = str(stack.free_ports(1)[0])
    allowed = f"{provider.host},127.0.0.1:{sandbox}"
    with stack.running_hub(folder, SANDBOX_PORT=sandbox, OUTBOUND_ALLOW=allowed) as running:
        yield running


def install(page: Page, hub: Hub, provider: Provider) -> str:
    """Through the form; the sign-in address that the page shows afterwards."""
    sign_in(page, hub, OWNER)
    page.goto(f"{hub.url}{LINK}")
    redirect = page.locator("#redirect-address").text_content() or ""
    provider.control(redirect_uris=[redirect])
    page.get_by_label("Issuer").fill(provider.issuer)
    page.get_by_label("Client ID").fill(CLIENT_ID)
    page.get_by_label("Client secret").fill(CLIENT_SECRET)
    page.get_by_label("Groups of managers").fill("leads")
    page.get_by_role("button", name="Install", exact=True).click()
    expect(page.get_by_text("Your own sign-in is installed.")).to_be_visible()
    return page.locator("#sign-in-address").text_content() or ""


# Two servers are started for it.
@pytest.mark.timeout(300)
def test_team_signs_in_through_the_restaurants_own_provider(
    hub: Hub, provider: Provider, new_page: Callable[..., Page]
) -> None:
    owner = new_page(**LIGHT_DESK)
    owner.context.grant_permissions(["clipboard-read", "clipboard-write"])
    address = install(owner, hub, provider)
    owner.get_by_role("button", name="Copy Sign-in address").click()
    copied = owner.evaluate("navigator.clipboard.readText()")

    manager = new_page(**DARK_PHONE)
    found: dict[str, Any] = {}

    def look(page: Page, name: str) -> None:
        wide = ["scrolls sideways"] if sideways(page) else []
        found[name] = problems(page) + wide

    look(owner, "detail")
    manager.goto(f"{hub.url}/accounts/login/")
    manager.get_by_label("Email").fill(MANAGER)
    manager.get_by_label("Password", exact=True).fill(hub.seed["users"][0]["password"])
    manager.get_by_role("button", name="Sign in").click()
    expect(manager.get_by_text("so a password is not enough")).to_be_visible()
    look(manager, "elsewhere")
    manager.get_by_role("link", name="Sign in to Maple & Oat").click()
    expect(manager).to_have_url(copied)
    look(manager, "service")
    manager.get_by_role("link", name="Go on to sign in").click()
    expect(manager).to_have_url(f"{hub.url}/integrations")
    manager.goto(f"{hub.url}/accounts/2fa/")
    look(manager, "not your account")
    manager.goto(f"{hub.url}/accounts/sso/{address.split('/')[-2]}/callback?state=made-up")
    look(manager, "refused")
    owner.reload()
    expect(owner.get_by_role("button", name="Unlink Bima Putra")).to_be_visible()
    look(owner, "linked")

    owner.get_by_role("link", name="Disable…").click()
    owner.get_by_role("button", name="Disable").click()
    expect(owner.get_by_text("Your own sign-in is disabled.")).to_be_visible()
    manager.goto(f"{hub.url}/integrations")
    signed_out = manager.url
    sign_in(manager, hub, MANAGER)

    assert signed_out == f"{hub.url}/accounts/login/?next=/integrations"
    assert copied == address
    assert found == {name: [] for name in found}
