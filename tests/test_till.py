import re
from html.parser import HTMLParser
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from catalog.models import Integration
from dispatch import router
from installs.models import Role
from tests.factories import (
    keys_of,
    make_install,
    make_location,
    make_merchant,
    make_spliteasy,
    make_user,
)
from tests.partners import Reply, running_partner, spliteasy_answer

pytestmark = pytest.mark.django_db

TILL = reverse("till:till")


@pytest.fixture(autouse=True)
def closed_breakers():
    router.forget_partners()


@pytest.fixture
def merchant():
    return make_merchant(name="Maple & Oat")


@pytest.fixture
def outlet(merchant):
    return make_location(
        merchant, name="Ubud", city="Bali", address="Jl. Raya Ubud 8", timezone="Asia/Makassar"
    )


@pytest.fixture
def owner(client, merchant):
    client.force_login(make_user(merchant))
    return client


@pytest.fixture
def partner(settings, merchant, patient_till):
    with running_partner(settings, spliteasy_answer) as partner:
        integration = make_spliteasy(partner.url)
        keys_of(integration)
        make_install(merchant, integration)
        yield partner


def press_print(client, outlet, **over):
    data = {"outlet": str(outlet.pk), "sample": "lunch", "paper": "58"}
    return client.post(TILL, data | over)


def press_reprint(client, response):
    return client.post(TILL, {"reprint": response.context["ticket"].signed()})


def bills(partner):
    return [request.json() for request in partner.requests if request.path.endswith("/bills")]


class Words(HTMLParser):
    """The text of a page, with one space where there are many."""

    def __init__(self, html):
        super().__init__()
        self.parts = []
        self.feed(html)
        self.text = " ".join(" ".join(self.parts).split())

    def handle_data(self, data):
        self.parts.append(data)


def text_of(response):
    return Words(response.content.decode()).text


def payloads_of(response):
    return re.findall(r'<a href="(https://s\.example/b/[^"]+)"', response.content.decode())


def test_till_asks_strangers_to_sign_in(client):
    response = client.get(TILL)

    assert response.url == f"/accounts/login/?next={TILL}"


def test_print_shows_the_receipt_in_the_outlets_zone(owner, outlet, time_machine):
    time_machine.move_to("2026-11-23T12:00:00Z", tick=False)

    receipt = text_of(press_print(owner, outlet))

    assert (
        "Maple & Oat Ubud, Bali Jl. Raya Ubud 8 Order T-001 Dine-in Table 7 "
        "Date 23 Nov 2026 20:00 WITA" in receipt
    )
    assert (
        "Subtotal Rp100.000 Service charge 5% Rp5.000 Restaurant tax (PB1) 10% Rp10.500 "
        "Total Rp115.500" in receipt
    )


def test_print_bills_what_the_receipt_shows(owner, outlet, partner):
    press_print(owner, outlet)

    amounts = ("order_number", "table", "subtotal", "service_charge", "tax", "total")
    assert [[bill[name] for name in amounts] for bill in bills(partner)] == [
        ["T-001", "7", 100000, 5000, 10500, 115500]
    ]


def test_print_shows_each_code_with_label_and_link(owner, outlet, partner):
    response = press_print(owner, outlet)

    order_id = response.context["ticket"].order["id"]
    html = response.content.decode()
    assert payloads_of(response) == [f"https://s.example/b/bill-{order_id}"]
    assert html.count('role="img" aria-label="QR code: Scan to split the bill"') == 1


def test_print_again_is_a_new_order(owner, outlet, partner):
    first, second = press_print(owner, outlet), press_print(owner, outlet)

    assert [bill["order_number"] for bill in bills(partner)] == ["T-001", "T-002"]
    assert payloads_of(first) != payloads_of(second)


def test_reprint_shows_the_same_code_and_makes_no_second_bill(owner, outlet, partner):
    printed = press_print(owner, outlet)

    reprinted = press_reprint(owner, printed)

    assert payloads_of(reprinted) == payloads_of(printed) != []
    assert len(bills(partner)) == 1
    assert "it was not asked again" in text_of(reprinted)


def test_reprint_after_an_outage_gets_the_code(owner, outlet, partner):
    partner.answer = lambda _request: Reply(500)
    printed = press_print(owner, outlet)
    partner.answer = spliteasy_answer

    reprinted = press_reprint(owner, printed)

    assert (payloads_of(printed), len(payloads_of(reprinted))) == ([], 1)


def test_dead_partner_still_prints(owner, outlet, partner):
    partner.answer = lambda _request: Reply(500)

    response = press_print(owner, outlet)

    assert response.status_code == 200
    assert "Total Rp115.500" in text_of(response)
    assert [(row.status_name, row.reason, row.detail) for row in response.context["outcomes"]] == [
        (
            "Failed",
            "It could not be reached or gave no usable answer.",
            "/v1/external/merchants answered 500",
        )
    ]


def test_slow_partner_still_prints(owner, outlet, partner):
    partner.answer = partner.hang

    response = press_print(owner, outlet)

    assert "Total Rp115.500" in text_of(response)
    assert [row.status_name for row in response.context["outcomes"]] == ["Too slow"]


def test_unspoken_version_is_not_called_broken(owner, outlet, merchant, settings):
    with running_partner(settings, spliteasy_answer) as partner:
        integration = make_spliteasy(partner.url, capabilities={"receipt_qr": 7})
        make_install(merchant, integration)

        response = press_print(owner, outlet)

    assert "Posz does not speak its version of the receipt code yet." in text_of(response)


def test_nothing_installed_points_to_the_catalog(owner, outlet):
    response = press_print(owner, outlet)

    assert "Nothing that prints on receipts is switched on at this outlet." in text_of(response)
    assert f'class="button" href="{reverse("installs:catalog")}"' in response.content.decode()


def test_print_by_htmx_gets_only_the_receipt(owner, outlet):
    data = {"outlet": str(outlet.pk), "sample": "lunch", "paper": "80"}

    response = owner.post(TILL, data, headers={"HX-Request": "true"})

    html = response.content.decode()
    assert ("<html" in html, "receipt--80" in html) == (False, True)


def test_choices_are_remembered(owner, merchant, outlet):
    second = make_location(merchant, name="Senopati")
    press_print(owner, second, sample="takeaway", paper="80")

    desk = owner.get(TILL).context["desk"]

    assert (desk.outlet, desk.sample.slug, desk.paper_mm) == (second, "takeaway", 80)


def test_choices_of_another_merchant_are_forgotten(client, merchant, outlet):
    user = make_user(merchant)
    client.force_login(user)
    press_print(client, outlet)
    user.memberships.all().delete()
    other = make_merchant()
    elsewhere = make_location(other)
    user.memberships.create(merchant=other, role=Role.OWNER)

    assert client.get(TILL).context["desk"].outlet == elsewhere


def test_viewer_sees_why_there_is_no_button(client, merchant, outlet):
    client.force_login(make_user(merchant, Role.VIEWER))

    response = client.get(TILL)

    assert "Only owners and managers may do that." in text_of(response)
    assert 'name="sample"' not in response.content.decode()


def test_viewer_can_not_print(client, merchant, outlet, partner):
    client.force_login(make_user(merchant, Role.VIEWER))

    response = press_print(client, outlet)

    assert (response.status_code, partner.requests) == (403, [])


def test_viewer_can_not_reprint(client, merchant, outlet, partner):
    client.force_login(make_user(merchant))
    printed = press_print(client, outlet)
    client.force_login(make_user(merchant, Role.VIEWER))

    assert press_reprint(client, printed).status_code == 403


@pytest.fixture
def limited_manager(client, merchant, outlet):
    user = make_user(merchant, Role.MANAGER)
    user.memberships.get().locations.add(outlet)
    client.force_login(user)
    return client


def test_limited_manager_sees_only_their_outlets(limited_manager, merchant, outlet):
    make_location(merchant, name="Senopati")

    response = limited_manager.get(TILL)

    assert response.context["desk"].outlets == [outlet]
    assert press_print(limited_manager, outlet).status_code == 200


def test_limited_manager_gets_404_for_another_outlet(limited_manager, merchant):
    assert press_print(limited_manager, make_location(merchant)).status_code == 404


def test_outlet_of_another_merchant_is_404_as_an_unknown_one(owner, outlet):
    theirs = make_location(make_merchant())

    foreign = press_print(owner, theirs)
    unknown = owner.post(TILL, {"outlet": str(uuid4()), "sample": "lunch", "paper": "58"})

    assert (foreign.status_code, unknown.status_code) == (404, 404)


@pytest.mark.parametrize("wrong", [{"sample": "steak"}, {"paper": "57"}, {"outlet": "x"}])
def test_unknown_choice_is_404(owner, outlet, wrong):
    choice = {"outlet": str(outlet.pk), "sample": "lunch", "paper": "58"} | wrong

    assert owner.post(TILL, choice).status_code == 404
    assert owner.get(TILL, choice).status_code == 404


def test_reprint_of_another_merchants_receipt_is_404(client, merchant, outlet):
    client.force_login(make_user(merchant))
    printed = press_print(client, outlet)
    other = make_merchant()
    make_location(other)
    client.force_login(make_user(other))

    assert press_reprint(client, printed).status_code == 404


def test_forged_reprint_is_refused(owner, outlet, partner):
    assert owner.post(TILL, {"reprint": "e30:1:forged"}).status_code == 400
    assert partner.requests == []


def test_merchant_without_outlets_gets_a_note(owner):
    response = owner.get(TILL)

    assert "There is no outlet to print at yet." in text_of(response)


def test_merchant_without_outlets_can_not_print(owner):
    assert owner.post(TILL, {"sample": "lunch", "paper": "58"}).status_code == 404


def test_receipt_speaks_indonesian_names(owner, outlet, partner):
    Integration.objects.filter(slug="spliteasy").update(name_id="Bagi Tagihan")

    response = owner.post(
        f"{TILL}?lang=id", {"outlet": str(outlet.pk), "sample": "lunch", "paper": "58"}
    )

    assert [row.name for row in response.context["outcomes"]] == ["Bagi Tagihan"]
    assert "Pindai untuk bagi tagihan" in text_of(response)


def test_till_page_takes_the_same_queries_for_any_number_of_outlets(owner, merchant, outlet):
    owner.get(TILL)
    with CaptureQueriesContext(connection) as one:
        owner.get(TILL)
    make_location(merchant)
    make_location(merchant)

    with CaptureQueriesContext(connection) as three:
        owner.get(TILL)

    assert len(three) == len(one)
