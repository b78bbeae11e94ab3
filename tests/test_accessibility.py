"""axe on every page that people see, in light and dark, wide and narrow."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.stack import Hub
from tests.test_story_browser import sign_in

pytestmark = pytest.mark.browser
RULES = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    }
}
DARK_PHONE = {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}
LIGHT_DESK = {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}}
# One delivery of every kind, and incidents; each run adds to what is there.
DELIVERIES = """
from datetime import timedelta
from django.utils import timezone
from catalog.models import Integration
from installs import lifecycle
from installs.access import Actor
from installs.models import Install, Merchant, Role
from webhooks.models import Attempt, Delivery, DeliveryHealth, Endpoint, Event
merchant = Merchant.objects.get(name="Maple & Oat")
partner = Integration.objects.get(slug="demo-qr-d")
actor = Actor(merchant.pk, "test", Role.OWNER)
mine = Install.objects.filter(merchant=merchant, integration=partner)
install = mine.first() or lifecycle.install(actor, partner)
now = timezone.now()
for hours, (status, reason) in enumerate([
    ("delivered", ""), ("dead", "http_500"), ("pending", "deadline"), ("pending", ""),
    ("cancelled", "uninstalled"),
]):
    event = Event.objects.create(
        merchant=merchant, type="order.paid", body=b"{}", occurred_at=now, is_example=hours == 0
    )
    delivery = Delivery.objects.create(
        event=event, merchant=merchant, integration=partner, install_id=install.pk,
        status=status, reason=reason, created_at=now - timedelta(hours=hours),
        next_attempt_at=now + timedelta(hours=1) if status == "pending" else None,
    )
    Attempt.objects.create(
        delivery=delivery, number=1, started_at=now, elapsed_ms=2400, problem=reason,
        response_status=None if reason else 204, response_excerpt="Bearer abc <b>no</b>",
    )
    if status == "dead":
        print("dead", delivery.pk)
DeliveryHealth.objects.update_or_create(install_id=install.pk, defaults={
    "merchant": merchant, "integration": partner, "attention": "endpoint_failing",
    "attention_at": now, "failing_since": now, "problem": "http_500", "mailed_at": now,
    "last_success_at": now - timedelta(days=1),
})
Endpoint.objects.get_or_create(integration=partner)
print("install", install.pk)
"""
# One received event of every kind, an incident and a refusal.
RECEIVED = """
from datetime import timedelta
from uuid import uuid4
from django.utils import timezone
from catalog.models import Integration
from dispatch.models import ParkedReport, PaymentIntent, TableCheck, TablePayment
from installs import lifecycle
from installs.access import Actor
from installs.models import Install, Merchant, Role
from webhooks.models import InboundEvent, InboundIncident, InboundRefusal
merchant = Merchant.objects.get(name="Maple & Oat")
# The story of SplitEasy begins where it is not installed.
partner = Integration.objects.get(slug="demo-qr-d")
actor = Actor(merchant.pk, "test", Role.OWNER)
mine = Install.objects.filter(merchant=merchant, integration=partner)
install = mine.first() or lifecycle.install(actor, partner)
now = timezone.now()
for status, problem in (
    ("processed", ""), ("received", ""), ("received", "KeyError"), ("quarantined", "TypeError"),
):
    event = InboundEvent.objects.create(
        install_id=install.pk, integration=partner, merchant=merchant, type="bill.settled",
        capability="payment_webhook_inbound", provider_event_id=str(uuid4()), status=status,
        problem=problem, attempts=5 if problem else 0, due_at=now + timedelta(hours=1),
        mismatched_at=now, is_late=status == "processed", body=b'{"a": "<b>"}',
        headers=[["X-Signature", "abc"]],
    )
print("aside", event.pk)
InboundIncident.objects.update_or_create(install_id=install.pk, defaults={
    "merchant": merchant, "integration": partner, "problem": "TypeError", "mailed_at": now,
})
place = {"merchant": merchant, "integration": partner, "install_id": install.pk}
outlet = merchant.locations.first()
for state, problem in (("pending_verification", ""), ("pending_verification", "amount_mismatch")):
    PaymentIntent.objects.create(
        **place, location=outlet, payment_id=str(uuid4()), order_id="o-1", amount_cents=5000000,
        currency="IDR", state=state, problem=problem, expires_at=now, provider_ref="p-1",
    )
ParkedReport.objects.create(
    **place, event_id=str(uuid4()), provider_ref="p-2", kind="payment", status="paid",
    amount_cents=5000000, currency="IDR",
)
check, _is_new = TableCheck.objects.get_or_create(
    merchant=merchant, check_id="chk-1", defaults={
        "location": outlet, "version": 1, "table": "12", "total_cents": 1, "paid_cents": 0,
    },
)
TablePayment.objects.create(
    **place, location=outlet, check_row=check, payment_id=str(uuid4()), lock_until=now,
    asked_cents=1, state="applied", amount_cents=2000000, overpaid_cents=2000000, applied_at=now,
)
InboundRefusal.objects.get_or_create(
    slug="demo-qr-d", merchant_id=merchant.pk, reason="integration_disabled",
    hour=now.replace(minute=0, second=0, microsecond=0),
    defaults={"first_at": now, "last_at": now, "count": 2},
)
"""
PUBLIC = [
    "/accounts/login/",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
    "/accounts/signup/",
    "/accounts/sso/00000000-0000-0000-0000-000000000000/",
    "/accounts/inactive/",
    "/docs/integrations",
    "/docs/integrations/events",
    "/docs/integrations/capabilities/payment_method",
    "/docs/integrations/webhooks",
    "/nothing-here",
]
SIGNED_IN = [
    "/integrations",
    "/integrations?q=zzz",
    "/integrations/spliteasy",
    "/integrations/demo-qr-a",
    "/integrations/openid-connect",
    "/activity",
    "/deliveries",
    "/deliveries?status=trouble&since=soon",
    "/deliveries?span=7d&live=off",
    "/deliveries?type=refund.created",
    "/deliveries/recover?since=soon",
    "/deliveries/erasures",
    "/deliveries/erasures?show=all",
    "/deliveries/inbound",
    "/deliveries/inbound?status=processed&since=soon",
    "/deliveries/inbound?type=bill.expired",
    "/deliveries/payments",
    "/answers",
    "/answers?at=2020-01-01T12:00",
    "/answers?at=soon",
    "/till",
    "/till/checkout",
    "/till/orders",
    "/till/sign-in",
    "/accounts/logout/",
    "/accounts/password/change/",
    "/accounts/2fa/",
    "/accounts/reauthenticate/",
]


def problems(page: Page) -> list[Any]:
    """What axe finds on the page once its styles are there too."""
    page.wait_for_load_state("load")
    found = Axe().run(page, options=RULES).response["violations"]
    return [(item["id"], [node["html"][:120] for node in item["nodes"]]) for item in found]


def sideways(page: Page) -> bool:
    script = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    return bool(page.evaluate(script))


@pytest.mark.parametrize("look", [LIGHT_DESK, DARK_PHONE], ids=["light-1280", "dark-390"])
def test_pages_before_sign_in_have_no_violation(
    live_hub: Hub, new_page: Callable[..., Page], look: dict[str, Any]
) -> None:
    page = new_page(**look)
    found = {}
    for path in PUBLIC:
        page.goto(f"{live_hub.url}{path}")
        found[path] = problems(page) + (["scrolls sideways"] if sideways(page) else [])

    assert found == {path: [] for path in PUBLIC}


@pytest.mark.parametrize("look", [LIGHT_DESK, DARK_PHONE], ids=["light-1280", "dark-390"])
@pytest.mark.parametrize("lang", ["en", "id"])
def test_merchant_pages_have_no_violation(
    live_hub: Hub, new_page: Callable[..., Page], look: dict[str, Any], lang: str
) -> None:
    printed = live_hub.manage("shell", "-c", DELIVERIES)
    delivery, install = (printed.split(f"{name} ")[1].split()[0] for name in ("dead", "install"))
    event = live_hub.manage("shell", "-c", RECEIVED).split("aside ")[1].split()[0]
    page = new_page(**look)
    sign_in(page, live_hub, "owner@mapleandoat.id")
    found = {}
    paths = [
        *SIGNED_IN,
        "/integrations/demo-qr-d",
        f"/integrations/demo-qr-d/installs/{install}/example",
        f"/deliveries/{delivery}",
        f"/deliveries/inbound/{event}",
    ]
    for path in paths:
        page.goto(f"{live_hub.url}{path}{'&' if '?' in path else '?'}lang={lang}")
        page.evaluate(
            "document.querySelectorAll('.disclosure').forEach((item) => (item.open = true))"
        )
        found[path] = problems(page) + (["scrolls sideways"] if sideways(page) else [])

    assert found == {path: [] for path in paths}


@pytest.mark.parametrize("look", [LIGHT_DESK, DARK_PHONE], ids=["light-1280", "dark-390"])
def test_drawer_and_receipt_have_no_violation(
    live_hub: Hub, new_page: Callable[..., Page], look: dict[str, Any]
) -> None:
    page = new_page(**look)
    sign_in(page, live_hub, "owner@mapleandoat.id")
    page.get_by_role("link", name="Review Corner").first.click()
    page.get_by_role("dialog").get_by_role("heading", name="What it does").wait_for()
    drawer = problems(page)
    page.goto(f"{live_hub.url}/till")
    page.get_by_role("button", name="Print", exact=True).click()
    page.get_by_role("button", name="Reprint").wait_for()

    assert (drawer, problems(page)) == ([], [])


@pytest.mark.parametrize("look", [LIGHT_DESK, DARK_PHONE], ids=["light-1280", "dark-390"])
def test_sandbox_pages_have_no_violation(
    live_hub: Hub, new_page: Callable[..., Page], look: dict[str, Any]
) -> None:
    page = new_page(**look)
    found = {}
    for path in ("/", "/b/unknown"):
        page.goto(f"{live_hub.sandbox_url}{path}")
        found[path] = problems(page)

    assert found == {"/": [], "/b/unknown": []}


OLD_SECRET = """
from datetime import timedelta
from django.utils import timezone
from installs.models import IntegrationSecret
IntegrationSecret.objects.filter(integration__slug="demo-qr-d", purpose="jwt").update(
    activated_at=timezone.now() - timedelta(days=100)
)
"""
STAFF = [
    "/admin/",
    "/admin/catalog/integration/",
    "/admin/catalog/integration/add/",
    "/admin/catalog/category/",
    "/admin/installs/install/",
    "/admin/installs/auditentry/",
    "/admin/webhooks/delivery/",
    "/admin/webhooks/event/",
    "/admin/webhooks/endpoint/",
    "/admin/webhooks/deliveryhealth/",
    "/admin/webhooks/recovery/",
    "/admin/webhooks/inboundevent/",
    "/admin/webhooks/inboundrefusal/",
]


@pytest.mark.parametrize("look", [LIGHT_DESK, DARK_PHONE], ids=["light-1280", "dark-390"])
def test_staff_pages_have_no_violation(
    live_hub: Hub, new_page: Callable[..., Page], look: dict[str, Any]
) -> None:
    live_hub.manage("shell", "-c", DELIVERIES)
    live_hub.manage("shell", "-c", OLD_SECRET)  # fills the panel of secrets to look at
    page = new_page(**look)
    staff = next(user for user in live_hub.seed["users"] if user["role"] == "staff")
    page.goto(f"{live_hub.url}/accounts/login/?next=/admin/")
    page.get_by_label("Email").fill(staff["email"])
    page.get_by_label("Password", exact=True).fill(staff["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/admin/")
    found = {}
    for path in STAFF:
        page.goto(f"{live_hub.url}{path}")
        found[path] = problems(page)

    assert found == {path: [] for path in STAFF}
