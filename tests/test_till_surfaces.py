"""The rules of the till's pages: who may, where, and what is shown when partners fail."""

import json
import time

import pytest
from django.urls import reverse

from catalog.capabilities import CAPABILITIES
from catalog.strict_json import dumps
from dispatch import router
from dispatch.sandbox.behaviour import MODES
from dispatch.signing import standard_headers
from dispatch.till import partner as sandbox_partner
from dispatch.till import shown
from dispatch.till.surfaces import SURFACES, actions_of
from installs.models import Role
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_user,
)
from tests.inbox import order, row_of, tell
from tests.partners import Reply, running_partner
from tests.test_till import text_of
from webhooks.models import Event, InboxRow

pytestmark = pytest.mark.django_db
PAGES = [slug for slug, item in SURFACES.items() if not item.url_name]


@pytest.fixture(autouse=True)
def closed_breakers():
    router.forget_partners()


@pytest.fixture
def merchant():
    return make_merchant(name="Maple & Oat")


@pytest.fixture
def outlet(merchant):
    return make_location(merchant, name="Ubud", city="Bali", timezone="Asia/Makassar")


@pytest.fixture
def owner(client, merchant, outlet):
    client.force_login(make_user(merchant))
    return client


def address(slug):
    return reverse("till:surface", args=[slug])


def press(client, outlet, slug, action, **fields):
    data = {"action": action, "place": "do", "outlet": str(outlet.pk)}
    return client.post(address(slug), data | fields)


def follow(client, slug, response, action, **fields):
    page = response.context["offers"]
    [button] = [item for item in page if item.action.name == action]
    data = {"action": action, "place": "next", "slip": button.slip}
    return client.post(address(slug), data | fields)


def signed(key, request, data):
    body = dumps({"contract": request.json()["contract"], "status": "ok", "data": data})
    return Reply(200, body, standard_headers("msg_1", int(time.time()), body, [key]))


@pytest.fixture
def partner(settings, merchant):
    """A generic partner in `payment_method`; `partner.says` is what it answers to an operation."""
    says = {}
    with running_partner(settings, lambda _request: Reply(500)) as partner:
        integration = make_integration(
            "demo-pay",
            name_en="Demo Pay",
            capabilities={"payment_method": 1},
            api_base_url=f"{partner.url}/demo/demo-pay",
        )
        key = keys_of(integration)["outbound"]
        make_install(merchant, integration)
        partner.says = says

        def answer(request):
            given = says.get(request.path.rsplit("/", 1)[-1])
            return given if isinstance(given, Reply) else signed(key, request, given)

        partner.answer = answer
        yield partner


STARTED = {"provider_ref": "QR-1", "status": "pending", "flow": "qr", "qr_string": "00020101"}


def paid(cents, status="paid"):
    return {
        "provider_ref": "QR-1",
        "status": status,
        "paid_amount_cents": cents,
        "currency": "IDR",
    }


def test_every_capability_has_its_place_at_the_till():
    places = [name for item in SURFACES.values() for name in item.capabilities]

    assert sorted(places) == sorted(CAPABILITIES)


def test_every_place_but_those_with_a_page_of_their_own_can_be_tried():
    empty = [slug for slug in SURFACES if not set(actions_of(slug)) - {"told"}]

    assert empty == ["receipt", "sign-in"]


@pytest.mark.parametrize("slug", PAGES)
def test_page_says_that_nothing_is_installed_and_where_to_find_it(owner, slug):
    html = owner.get(address(slug)).content.decode()

    for capability in SURFACES[slug].capabilities:
        assert f'href="/integrations?q={capability}"' in html


def test_checkout_without_a_payment_method_says_so_and_shows_no_empty_choice(owner, outlet):
    page = owner.get(address("checkout"))
    started = press(owner, outlet, "checkout", "pay", sample="lunch")

    assert "No payment method is switched on at this outlet" in text_of(page)
    assert 'name="tender"' not in page.content.decode()
    link = '<a href="/integrations?q=payment_method">Find one under Integrations</a>'
    assert link in page.content.decode()
    assert started.context["happened"].title == "No payment method is switched on here"


def test_checkout_offers_the_payment_methods_that_are_here(owner, partner):
    html = owner.get(address("checkout")).content.decode()

    assert 'name="tender"' in html
    assert "Demo Pay</option>" in html
    assert "No payment method is switched on" not in html


def test_receipt_keeps_its_page(owner):
    assert owner.get(address("receipt")).url == reverse("till:till")


def test_unknown_place_and_action_are_404(owner, outlet):
    assert owner.get(address("bar")).status_code == 404
    assert press(owner, outlet, "checkout", "steal").status_code == 404


def test_strangers_sign_in_first(client):
    assert client.get(address("checkout")).url.startswith("/accounts/login/")


def test_viewer_may_look_but_not_try(client, merchant, outlet, partner):
    client.force_login(make_user(merchant, Role.VIEWER))

    page = text_of(client.get(address("checkout")))
    response = press(client, outlet, "checkout", "pay", sample="lunch")

    assert "You can look, but not try." in page
    assert (response.status_code, partner.requests) == (403, [])


def test_outlet_of_another_merchant_is_404(owner, partner):
    theirs = make_location(make_merchant())

    assert press(owner, theirs, "checkout", "pay", sample="lunch").status_code == 404
    assert owner.get(address("checkout"), {"outlet": str(theirs.pk)}).status_code == 404
    assert partner.requests == []


def test_limited_manager_stands_only_at_their_outlets(client, merchant, outlet):
    user = make_user(merchant, Role.MANAGER)
    user.memberships.get().locations.add(outlet)
    client.force_login(user)
    other = make_location(merchant, name="Senopati")

    assert client.get(address("menu")).context["outlets"] == [outlet]
    assert press(client, other, "menu", "item", available="no").status_code == 404


def test_slip_of_another_merchant_is_404(client, owner, outlet, partner):
    partner.says["create"] = STARTED
    started = press(owner, outlet, "checkout", "pay", sample="lunch")
    other = make_merchant()
    make_location(other)
    client.force_login(make_user(other))

    assert follow(client, "checkout", started, "status").status_code == 404


@pytest.mark.parametrize("slip", ["", "forged", "e30:1:forged"])
def test_forged_slip_is_refused(owner, partner, slip):
    data = {"action": "status", "place": "next", "slip": slip}

    assert owner.post(address("checkout"), data).status_code == 400
    assert partner.requests == []


def test_slip_of_another_place_is_404(owner, outlet, partner):
    partner.says["create"] = STARTED
    started = press(owner, outlet, "checkout", "pay", sample="lunch")
    data = {"action": "told", "slip": started.context["slip"]}

    assert owner.post(address("menu"), data).status_code == 404


def test_payment_is_received_when_the_status_confirms_the_amount(owner, outlet, partner):
    partner.says |= {"create": STARTED, "status": paid(11_550_000)}

    started = press(owner, outlet, "checkout", "pay", sample="lunch")
    confirmed = follow(owner, "checkout", started, "status")

    titles = [item.context["happened"].title for item in (started, confirmed)]
    assert titles == ["Waiting for the guest to pay", "Received"]


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (paid(11_549_900), "Held: the amount differs"),
        (paid(0, "failed"), "The payment failed"),
        (Reply(500), "Outcome unknown: pending_verification"),
    ],
    ids=["short", "failed", "dead"],
)
def test_payment_without_proof_is_never_received(owner, outlet, partner, status, title):
    partner.says |= {"create": STARTED, "status": status}

    started = press(owner, outlet, "checkout", "pay", sample="lunch")
    response = follow(owner, "checkout", started, "status")

    assert response.context["happened"].title == title
    assert "Received" not in text_of(response)


def test_answer_to_create_proves_no_payment(owner, outlet, partner):
    partner.says["create"] = STARTED | {"status": "paid"}

    response = press(owner, outlet, "checkout", "pay", sample="lunch")

    assert "Received" not in text_of(response)
    assert response.context["happened"].asks_again == "status"


def test_page_that_asks_again_gets_nothing_while_nothing_changes(owner, outlet, partner):
    partner.says |= {"create": STARTED, "status": paid(0, "pending")}
    started = press(owner, outlet, "checkout", "pay", sample="lunch")
    first = follow(owner, "checkout", started, "status")
    data = {
        "action": "status",
        "slip": started.context["slip"],
        "again": first.context["digest"],
    }

    again = owner.post(address("checkout"), data, headers={"HX-Request": "true"})
    partner.says["status"] = paid(11_550_000)
    changed = owner.post(address("checkout"), data, headers={"HX-Request": "true"})

    assert (again.status_code, changed.status_code) == (204, 200)
    assert 'hx-swap-oob="innerHTML:#till-said"' in changed.content.decode()


def test_misfilled_form_comes_back_in_its_place(owner, outlet):
    data = {"action": "request", "place": "do", "outlet": str(outlet.pk), "npwp": "12"}

    response = owner.post(address("invoice"), data, headers={"HX-Request": "true"})

    assert (response.status_code, response["HX-Retarget"]) == (422, "#do-request")
    assert "Sixteen digits are needed." in text_of(response)


def test_place_on_the_page_can_not_be_made_up(owner, outlet):
    data = {"action": "request", "place": "x, body", "outlet": str(outlet.pk), "npwp": "12"}

    response = owner.post(address("invoice"), data, headers={"HX-Request": "true"})

    assert response["HX-Retarget"] == "#do-request"


def test_event_is_kept_also_where_nobody_wants_it(owner, outlet):
    response = press(owner, outlet, "menu", "item", available="no")

    event = Event.objects.get()
    body = json.loads(bytes(event.body))
    assert (event.type, event.location) == ("item.availability_changed", outlet)
    assert body["data"] == {"items": [{"id": "NASI-CAMPUR", "available": False, "max_stock": 0}]}
    assert "No integration here asked to be told of this." in text_of(response)


def test_partner_that_may_not_know_a_customer_is_named_with_the_way_out(owner, merchant, outlet):
    partner = make_integration(
        "crm",
        is_demo=True,
        capabilities={"customer_export": 1},
        outbound_url="https://crm.example/",
    )
    make_install(merchant, partner)

    response = press(
        owner, outlet, "customers", "consent", purpose="marketing_email", granted="yes"
    )

    happened = response.context["happened"]
    [party] = happened.exchange.parties
    assert (party.status_name, party.url) == ("Not told", "/integrations/crm")
    assert happened.exchange.failure == ""
    assert "Choose its purposes" in text_of(response)


def test_what_happened_is_said_in_the_words_of_the_till(owner, outlet):
    response = press(owner, outlet, "stock", "move", kind="inventory.counted", qty="2.5")

    happened = response.context["happened"]
    assert (happened.title, happened.facts) == ("Counted", (("Beras premium", "2.5 kg"),))


@pytest.mark.parametrize(
    ("channel", "to"), [("email", "+6281237004512"), ("whatsapp", "ayu@kopi.example")]
)
def test_message_needs_an_address_of_its_channel(owner, outlet, channel, to):
    response = press(owner, outlet, "messages", "send", channel=channel, to=to, kind="receipt")

    assert response.status_code == 422
    assert list(response.context["wrong"].form.errors) == ["to"]


def test_code_stays_on_the_screen_while_the_guests_have_not_paid(owner, merchant, outlet, settings):
    with running_partner(settings, lambda _request: Reply(500)) as partner:
        row = make_integration(
            "demo-tables", capabilities={"pay_at_table": 1}, api_base_url=f"{partner.url}/demo"
        )
        make_install(merchant, row)
        link = {
            "qr_payload": "https://pay.example/7",
            "label": {"en": "pay here", "id": "bayar di sini"},
            "external_ref": "r-1",
        }
        key = keys_of(row)["outbound"]
        partner.answer = lambda request: signed(key, request, link)
        opened = press(owner, outlet, "table", "code", sample="lunch")

        looked = follow(owner, "table", opened, "look")

    assert opened.context["happened"].code.url == "https://pay.example/7"
    assert looked.context["happened"].code == opened.context["happened"].code


def test_nobody_waits_for_money_where_no_code_came(owner, merchant, outlet, settings):
    with running_partner(settings, lambda _request: Reply(500)) as partner:
        row = make_integration(
            "demo-tables", capabilities={"pay_at_table": 1}, api_base_url=f"{partner.url}/demo"
        )
        make_install(merchant, row)

        happened = press(owner, outlet, "table", "code", sample="lunch").context["happened"]

    assert (happened.asks_again, happened.offers) == ("", ("close",))


def test_nothing_made_up_is_told_to_a_real_partner_in_production(owner, merchant, outlet):
    make_install(merchant, make_integration("books", outbound_url="https://books.example/events"))

    response = press(owner, outlet, "day", "close", date="2026-11-24")

    assert response.context["happened"].title == "Not sent: real partners listen here"
    assert not Event.objects.exists()


def test_demo_partner_is_told_in_production_too(owner, merchant, outlet):
    partner = make_integration(
        "demo-books",
        is_demo=True,
        outbound_url="https://books.example/events",
        outbound_events=["business_day.closed"],
    )
    make_install(merchant, partner)

    response = press(owner, outlet, "day", "close", date="2026-11-24")

    happened = response.context["happened"]
    assert [item.status_name for item in happened.exchange.parties] == ["On its way"]
    assert happened.asks_again == "told"


@pytest.fixture
def incoming(merchant):
    """An order of a channel in the inbox, at no outlet in particular."""
    channel = make_integration("food", capabilities={"order_inbound": 1})
    return row_of(tell(make_install(merchant, channel), "order.created", order()))


def answer_order(client, outlet, action, **fields):
    shown = press(client, outlet, "orders", "look")
    [(_cells, buttons)] = shown.context["lines"]
    [button] = [item for item in buttons if item.action.name == action]
    data = {"action": action, "place": "row0", "slip": button.slip} | fields
    return data, client.post(address("orders"), data)


@pytest.mark.parametrize(
    ("action", "fields", "told"),
    [
        ("accept", {}, "channel_order.accepted"),
        ("reject", {"reason": "busy"}, "channel_order.rejected"),
    ],
)
def test_order_that_is_answered_leaves_the_inbox(owner, outlet, incoming, action, fields, told):
    data, _response = answer_order(owner, outlet, action, **fields)

    assert Event.objects.get().type == told
    incoming.refresh_from_db()
    taken_at = incoming.acknowledged_at
    assert taken_at is not None
    assert "@" in incoming.acknowledged_by
    assert press(owner, outlet, "orders", "look").context["lines"] == []

    assert owner.post(address("orders"), data).status_code == 200
    incoming.refresh_from_db()
    assert incoming.acknowledged_at == taken_at


def test_manager_of_the_outlet_alone_takes_an_order_over(client, merchant, outlet, incoming):
    manager = make_user(merchant, Role.MANAGER)
    manager.memberships.get().locations.add(outlet)
    client.force_login(manager)

    answer_order(client, outlet, "accept")

    assert not InboxRow.objects.waiting().exists()


def test_order_stays_in_the_inbox_where_the_channel_was_not_told(owner, merchant, outlet, incoming):
    make_install(merchant, make_integration("books", outbound_url="https://books.example/events"))

    answer_order(owner, outlet, "accept")

    assert not Event.objects.exists()
    assert InboxRow.objects.waiting().get() == incoming


def test_delivery_of_another_merchant_is_not_shown(client, owner, outlet):
    told = press(owner, outlet, "menu", "item", available="no")
    other = make_merchant()
    make_location(other)
    client.force_login(make_user(other))
    data = {"action": "told", "slip": told.context["slip"]}

    assert client.post(address("menu"), data).status_code == 404


def test_what_the_sandbox_posts_is_not_offered_in_production(owner, outlet):
    names = [item.action.name for item in owner.get(address("orders")).context["buttons"]]

    assert names == ["look"]
    assert press(owner, outlet, "orders", "arrive").status_code == 404


def test_switch_of_the_partner_is_not_there_in_production(owner, outlet, partner, settings):
    settings.DEBUG = False
    data = {"mode": "hang", "outlet": str(outlet.pk)}

    page = owner.get(address("checkout"))
    response = owner.post(reverse("till:turn-partner", args=["demo-pay"]), data)

    assert (page.context["switches"], response.status_code) == ([], 404)


def test_switch_needs_the_right_to_try(client, merchant, outlet, partner, settings):
    settings.DEBUG = True
    settings.SANDBOX_PORT = int(partner.url.rsplit(":", 1)[1])
    client.force_login(make_user(merchant, Role.VIEWER))
    data = {"mode": "hang", "outlet": str(outlet.pk)}

    response = client.post(reverse("till:turn-partner", args=["demo-pay"]), data)

    assert (response.status_code, partner.requests) == (403, [])


def test_switch_offers_what_the_sandbox_can_do():
    assert set(sandbox_partner.MODES) <= set(MODES)


def test_keys_are_hidden_in_what_is_shown():
    text = shown.as_text({"config": {"api_key": "abc", "name": "x"}, "auth": "Bearer abc.def"})

    assert (text.count(shown.HIDDEN), "abc" in text) == (2, False)
