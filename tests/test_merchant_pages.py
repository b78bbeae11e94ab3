"""What a merchant sees and does in the browser, with and without script."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from catalog.models import Integration, IntegrationStatus
from installs import audit, connection, lifecycle
from installs.models import AuditEntry, Install, Location, Membership, Merchant, Role
from tests.factories import (
    PASSWORD,
    make_category,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_spliteasy,
    make_user,
    owner_of,
)

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["api_key", "greeting"],
    "properties": {
        "api_key": {"type": "string", "x-secret": True},
        "greeting": {"type": "string", "maxLength": 20},
        "guests": {"type": "integer", "minimum": 1},
        "is_formal": {"type": "boolean"},
        "tone": {"type": "string", "enum": ["warm", "cool"]},
        "days": {"type": "array", "items": {"enum": ["Friday", "Sunday"]}},
    },
}


@pytest.fixture
def merchant() -> Merchant:
    return make_merchant(name="Maple & Oat")


@pytest.fixture
def ubud(merchant: Merchant) -> Location:
    return make_location(merchant, name="Ubud", city="Bali", timezone="Asia/Makassar")


def browser(merchant: Merchant | None = None, role: str = Role.OWNER, *only: Location) -> Client:
    user = make_user(merchant, role)
    if only:
        Membership.objects.get(user=user).locations.set(only)
    client = Client()
    client.force_login(user)
    return client


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def cards(response: Any) -> list[str]:
    return [row.integration.slug for row in response.context["listing"].rows]


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connections["default"]) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


def act(install: Install, verb: str) -> str:
    return f"/integrations/{install.integration.slug}/installs/{install.pk}/{verb}"


# Who gets in


def test_pages_signed_out_lead_to_sign_in():
    response = Client().get("/integrations")

    assert response.headers["Location"] == "/accounts/login/?next=/integrations"


def test_signing_in_leads_to_the_catalog_without_a_message(merchant: Merchant):
    user = make_user(merchant)
    answers = {"login": user.email, "password": PASSWORD}

    response = Client().post("/accounts/login/", answers, follow=True)

    assert response.redirect_chain[-1][0] == "/integrations"
    assert list(response.context["messages"]) == []


def test_catalog_without_a_merchant_says_what_to_do():
    response = browser().get("/integrations")

    assert response.status_code == 403
    assert "belongs to no restaurant" in text(response)


def test_switch_merchant_changes_whose_installs_are_shown(merchant: Merchant):
    other = make_merchant(name="Zaitun")
    client = browser(merchant)
    Membership.objects.create(
        user_id=client.session["_auth_user_id"], merchant=other, role=Role.VIEWER
    )

    response = client.post("/merchant", {"merchant_id": other.pk}, follow=True)

    assert response.redirect_chain == [("/integrations", 302)]
    assert response.context["membership"].merchant == other


@pytest.mark.parametrize("merchant_id", ["", "no-uuid", "00000000-0000-4000-8000-000000000000"])
def test_switch_merchant_to_a_foreign_one_answers_404(merchant: Merchant, merchant_id: str):
    assert browser(merchant).post("/merchant", {"merchant_id": merchant_id}).status_code == 404


# The catalog


@pytest.mark.parametrize("language", ["en", "id"])
@pytest.mark.parametrize("query", ["Review", "ulasan", "STRUK", "receipt qr", "printed digital"])
def test_search_finds_in_both_languages_whichever_is_shown(
    merchant: Merchant, language: str, query: str
):
    make_category("crm")
    make_integration("reviews", name_en="Review Corner", name_id="Pojok Ulasan")
    make_integration("other", category_id="crm", capabilities={"customer_export": 1})

    response = browser(merchant).get("/integrations", {"q": query, "lang": language})

    assert cards(response) == ["reviews"]


@pytest.mark.parametrize("language", ["en", "id"])
@pytest.mark.parametrize("query", ["NPWP counter", "penomoran npwp"])
def test_search_finds_what_an_integration_does_in_both_languages(
    merchant: Merchant, language: str, query: str
):
    make_integration("faktur", capabilities={"tax_invoice_provider": 1})
    make_integration("other")

    response = browser(merchant).get("/integrations", {"q": query, "lang": language})

    assert cards(response) == ["faktur"]


def test_search_without_result_offers_to_clear_it(merchant: Merchant):
    make_integration()

    response = browser(merchant).get("/integrations", {"q": "<b>nothing"})

    assert cards(response) == []
    assert "Nothing fits “&lt;b&gt;nothing”" in text(response)
    assert "Clear search and filters" in text(response)


def test_search_as_you_type_answers_the_list_alone(merchant: Merchant):
    make_integration("reviews")

    response = browser(merchant).get("/integrations", {"q": "reviews"}, headers=HTMX)

    assert "<html" not in text(response)
    assert cards(response) == ["reviews"]
    assert "HX-Request" in response.headers["Vary"]


def test_facets_count_and_narrow(merchant: Merchant):
    make_category("crm")
    make_integration("one")
    make_integration("two", category_id="crm", capabilities={"customer_export": 1})
    make_integration("three", category_id="crm", capabilities={"customer_export": 1})

    response = browser(merchant).get("/integrations", {"category": "crm"})

    facets = response.context["listing"].facets
    assert {item.category.slug: (item.count, item.is_current) for item in facets} == {
        "receipt": (1, False),
        "crm": (2, True),
    }
    assert sorted(cards(response)) == ["three", "two"]


def test_catalog_shows_what_is_offered_and_what_is_installed(merchant: Merchant):
    make_integration("draft", status=IntegrationStatus.DRAFT)
    make_integration("a-offered", name_en="A")
    old = make_integration("old", name_en="Z")
    make_install(merchant, old)
    Integration.objects.filter(pk=old.pk).update(status=IntegrationStatus.DEPRECATED)

    response = browser(merchant).get("/integrations")

    assert cards(response) == ["old", "a-offered"]
    assert "No longer offered" in text(response)


def test_installed_filter_leaves_out_the_rest(merchant: Merchant):
    make_install(merchant, make_integration("mine"))
    make_integration("other")

    assert cards(browser(merchant).get("/integrations?installed=1")) == ["mine"]


def test_catalog_names_the_outlets_of_an_install(merchant: Merchant, ubud: Location):
    make_install(merchant, make_integration("mine"), ubud.pk, is_enabled=False)

    response = browser(merchant).get("/integrations")

    assert "Ubud" in text(response)
    assert response.context["listing"].rows[0].state == "disabled"


def test_catalog_takes_as_many_queries_for_thirty_rows_as_for_one(
    merchant: Merchant, ubud: Location
):
    make_install(merchant, make_integration(), ubud.pk)
    client = browser(merchant)
    with_one = queries(client, "/integrations")
    for _ in range(29):
        make_integration(capabilities={"customer_export": 1})
    for row in Integration.objects.filter(capabilities__has_key="customer_export")[:9]:
        make_install(merchant, row, ubud.pk)

    with_thirty = queries(client, "/integrations")

    assert with_thirty == with_one


# The page of one integration


def test_detail_is_a_page_and_for_the_drawer_a_part(merchant: Merchant):
    make_integration("reviews", data_residency="sg", is_demo=True)
    client = browser(merchant)

    page = text(client.get("/integrations/reviews"))
    part = text(client.get("/integrations/reviews", headers=HTMX))

    assert page.startswith("<!doctype html>")
    assert part.startswith("<article")
    for words in ("More about it.", "QR/text appended", "Singapore", "The order: items", "erased"):
        assert words in page
        assert words in part


@pytest.mark.parametrize(
    "status", [IntegrationStatus.DRAFT, IntegrationStatus.DEPRECATED, IntegrationStatus.DISABLED]
)
def test_detail_of_what_is_not_offered_answers_404(merchant: Merchant, status: str):
    make_integration("hidden", status=status)

    response = browser(merchant).get("/integrations/hidden")

    assert response.status_code == 404
    assert "There is nothing here" in text(response)


def test_detail_offers_only_free_scopes_that_are_the_managers(merchant: Merchant, ubud: Location):
    mine = make_location(merchant, name="Senopati")
    make_integration("reviews")

    response = browser(merchant, Role.MANAGER, mine).get("/integrations/reviews")

    assert f'value="{mine.pk}"' in text(response)
    assert f'value="{ubud.pk}"' not in text(response)
    assert "also those that open later" not in text(response)


def test_detail_does_not_offer_a_taken_scope_again(merchant: Merchant, ubud: Location):
    make_install(merchant, make_integration("reviews"), ubud.pk)

    response = browser(merchant).get("/integrations/reviews")

    assert f'value="{ubud.pk}"' not in text(response)


def test_detail_chooses_the_first_free_scope(merchant: Merchant, ubud: Location):
    make_install(merchant, make_integration("reviews"))

    response = browser(merchant).get("/integrations/reviews")

    chosen = [item.location for item in response.context["scopes"] if item.is_chosen]
    assert chosen == [ubud]


def test_detail_tells_a_viewer_why_there_is_no_button(merchant: Merchant):
    make_install(merchant, make_integration("reviews"))

    shown = text(browser(merchant, Role.VIEWER).get("/integrations/reviews"))

    assert "Installing is for owners and managers" in shown
    assert "/disable" not in shown
    assert "/uninstall" not in shown


def test_detail_of_a_connecting_install_asks_again_until_it_settles(merchant: Merchant):
    row = make_install(merchant, make_spliteasy())
    client = browser(merchant)

    before = text(client.get("/integrations/spliteasy"))
    connection.provisioned(row.pk, "ext-1")
    after = text(client.get("/integrations/spliteasy"))

    assert 'hx-trigger="every 2s"' in before
    assert 'hx-trigger="every 2s"' not in after


def test_detail_of_a_failed_connection_says_whose_turn_it_is(merchant: Merchant):
    row = make_install(merchant, make_spliteasy())
    connection.provisioning_failed(row.pk, "refused", is_final=True)

    shown = text(browser(merchant).get("/integrations/spliteasy"))

    assert "The partner refused the request." in shown
    assert "’s turn" in shown
    assert act(row, "retry") in shown


# Installing


def test_install_without_script_leads_back_to_the_page(merchant: Merchant, ubud: Location):
    make_integration("reviews", name_en="Review Corner")

    client = browser(merchant)

    question = client.post("/integrations/reviews/install", {"location": ubud.pk}, follow=True)
    response = client.post(question.redirect_chain[0][0], follow=True)

    assert response.redirect_chain == [("/integrations/reviews", 302)]
    assert "Review Corner is installed." in text(response)
    assert Install.objects.get().location == ubud


def test_install_in_the_drawer_answers_the_new_state_and_a_toast(merchant: Merchant):
    make_integration("reviews", name_en="Review Corner")

    response = browser(merchant).post("/integrations/reviews/install", headers=HTMX)

    row = Install.objects.get()
    assert (response.status_code, row.location) == (200, None)
    assert act(row, "disable") in text(response)
    assert "Review Corner is installed." in response.headers["HX-Trigger"]


def test_install_that_conflicts_names_holder_and_outlet(merchant: Merchant, ubud: Location):
    holder = make_integration("pay-a", name_en="Table Pay", capabilities={"pay_at_table": 1})
    make_integration("pay-b", capabilities={"pay_at_table": 1})
    make_install(merchant, holder, ubud.pk)

    response = browser(merchant).post(
        "/integrations/pay-b/install", {"location": ubud.pk}, headers=HTMX
    )

    assert response.status_code == 409
    assert "Ubud, Bali: <a" in text(response)
    assert ">Table Pay</a>" in text(response)


def test_install_twice_is_refused_in_words(merchant: Merchant):
    make_install(merchant, make_integration("reviews"))

    response = browser(merchant).post("/integrations/reviews/install")

    assert response.status_code == 409
    assert text(response).startswith("<!doctype html>")
    assert "already installed" in text(response)


def test_install_with_wrong_settings_shows_errors_beside_their_fields(merchant: Merchant):
    make_integration("reviews", config_schema=SCHEMA)
    answers = {"config-greeting": "Halo", "config-guests": "many", "config-api_key": "top-secret"}

    response = browser(merchant).post("/integrations/reviews/install", answers, headers=HTMX)

    shown = {item.field.name: (item.value, item.errors) for item in response.context["inputs"]}
    assert response.status_code == 422
    assert shown["guests"] == ("many", ["Enter a whole number."])
    assert shown["greeting"] == ("Halo", [])
    assert "top-secret" not in text(response)


def test_install_reads_every_kind_of_setting(merchant: Merchant):
    make_integration("reviews", config_schema=SCHEMA)
    answers = {
        "config-api_key": "key",
        "config-greeting": " Halo ",
        "config-guests": "4",
        "config-is_formal": "true",
        "config-tone": "cool",
        "config-days": ["Friday", "Sunday"],
    }

    browser(merchant).post("/integrations/reviews/install", answers, headers=HTMX)

    assert Install.objects.get().config == {
        "api_key": "key",
        "greeting": "Halo",
        "guests": 4,
        "is_formal": True,
        "tone": "cool",
        "days": ["Friday", "Sunday"],
    }


@pytest.mark.parametrize("location", ["no-uuid", "00000000-0000-4000-8000-000000000000"])
def test_install_at_an_unknown_outlet_is_refused_in_words(merchant: Merchant, location: str):
    make_integration("reviews")

    response = browser(merchant).post("/integrations/reviews/install", {"location": location})

    assert response.status_code == 404
    assert "no such outlet" in text(response)


def test_install_by_a_viewer_answers_403_in_words(merchant: Merchant):
    make_integration("reviews")

    response = browser(merchant, Role.VIEWER).post("/integrations/reviews/install", headers=HTMX)

    assert response.status_code == 403
    assert "Your role does not allow this" in text(response)


def test_install_by_get_changes_nothing(merchant: Merchant):
    make_integration("reviews")

    response = browser(merchant).get("/integrations/reviews/install")

    assert response.headers["Location"] == "/integrations/reviews"
    assert not Install.objects.exists()


# Acting on an install


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "drawer"])
def test_disable_and_enable_switch_it(merchant: Merchant, headers: dict[str, str]):
    row = make_install(merchant, make_integration("reviews"))
    client = browser(merchant)

    client.post(act(row, "disable"), headers=headers)
    is_off = not Install.objects.get().is_enabled
    response = client.post(act(row, "enable"), headers=headers)

    assert is_off
    assert Install.objects.get().is_enabled
    assert response.status_code == (200 if headers else 302)


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "drawer"])
def test_uninstall_asks_first_and_then_erases(merchant: Merchant, headers: dict[str, str]):
    row = make_install(merchant, make_integration("reviews"))
    client = browser(merchant)

    question = client.get(act(row, "uninstall"), headers=headers)
    is_kept = Install.objects.exists()
    client.post(act(row, "uninstall"), headers=headers)

    assert is_kept
    assert "What is erased" in text(question)
    assert "Bills already printed keep working" in text(question)
    assert not Install.objects.exists()


def test_uninstall_of_what_is_no_longer_offered_leads_to_the_catalog(merchant: Merchant):
    row = make_install(merchant, make_integration("old"))
    Integration.objects.update(status=IntegrationStatus.DEPRECATED)

    response = browser(merchant).post(act(row, "uninstall"), headers=HTMX)

    assert response.headers["HX-Redirect"] == "/integrations"


@pytest.mark.parametrize("method", ["get", "post"])
def test_uninstall_by_a_manager_answers_403_in_words(merchant: Merchant, method: str):
    row = make_install(merchant, make_integration("reviews"))

    response = getattr(browser(merchant, Role.MANAGER), method)(act(row, "uninstall"))

    assert response.status_code == 403
    assert "Your role does not allow this" in text(response)
    assert Install.objects.exists()


def test_retry_asks_the_partner_again(merchant: Merchant):
    row = make_install(merchant, make_spliteasy())
    connection.provisioning_failed(row.pk, "refused", is_final=True)

    browser(merchant).post(act(row, "retry"))

    assert Install.objects.get().connection == "connecting"


def test_configure_keeps_a_secret_that_is_left_empty(merchant: Merchant):
    integration = make_integration("reviews", config_schema=SCHEMA)
    config = {"api_key": "secret-1234567890", "greeting": "Halo", "guests": 4}
    row = lifecycle.install(owner_of(merchant), integration, config=config)
    client = browser(merchant)

    shown = text(client.get("/integrations/reviews"))
    client.post(act(row, "configure"), {"config-greeting": "Hai", "config-guests": ""})

    assert "secret-1234567890" not in shown
    assert "Set, ends 7890, changed" in shown
    assert Install.objects.get().config == {
        "api_key": "secret-1234567890",
        "greeting": "Hai",
        "is_formal": False,
        "days": [],
    }


def test_configure_with_a_wrong_value_answers_422_at_that_install(merchant: Merchant):
    integration = make_integration("reviews", config_schema=SCHEMA)
    row = lifecycle.install(
        owner_of(merchant), integration, config={"api_key": "key", "greeting": "Halo"}
    )

    response = browser(merchant).post(act(row, "configure"), {"config-greeting": "x" * 21})

    (block,) = response.context["blocks"]
    errors = {item.field.name: item.errors for item in block.inputs if item.errors}
    assert response.status_code == 422
    assert errors == {"greeting": ["Enter at most 20 characters."]}


def test_act_with_an_unknown_verb_answers_404(merchant: Merchant):
    row = make_install(merchant, make_integration("reviews"))

    assert browser(merchant).post(act(row, "explode")).status_code == 404


@pytest.mark.parametrize("verb", ["enable", "disable", "configure", "retry", "uninstall"])
def test_act_on_another_merchants_install_is_like_on_none(merchant: Merchant, verb: str):
    row = make_install(make_merchant(), make_integration("reviews"))
    client = browser(merchant)

    foreign = client.post(act(row, verb), headers=HTMX)
    row.pk = uuid4()
    missing = client.post(act(row, verb), headers=HTMX)

    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.content == missing.content
    assert Install.objects.get().is_enabled


def test_act_under_the_name_of_another_integration_answers_404(merchant: Merchant):
    row = make_install(merchant, make_integration("reviews"))
    make_integration("other")

    url = act(row, "disable").replace("/reviews/", "/other/")

    assert browser(merchant).post(url).status_code == 404


# The activity log


def test_activity_tells_in_the_outlets_own_time(merchant: Merchant, ubud: Location):
    make_install(merchant, make_integration("reviews", name_en="Review Corner"), ubud.pk)

    shown = text(browser(merchant).get("/activity"))

    assert "owner@example.id installed Review Corner" in shown
    assert "WITA" in shown


def test_activity_shows_a_bill_in_whole_rupiah(merchant: Merchant):
    row = make_install(merchant, make_spliteasy())
    audit.record("bill.settled", actor="spliteasy", install=row, data={"amount": 347500})

    assert "Rp347.500" in text(browser(merchant).get("/activity"))


def test_activity_shows_an_unknown_action_as_its_code(merchant: Merchant):
    audit.record("partner.waved", actor="posz", merchant_id=merchant.pk)

    assert "partner.waved" in text(browser(merchant).get("/activity"))


def test_activity_of_another_merchant_is_not_shown(merchant: Merchant):
    audit.record("partner.waved", actor="posz", merchant_id=make_merchant().pk)

    assert "Nothing has happened yet" in text(browser(merchant).get("/activity"))


def test_activity_filters_by_integration(merchant: Merchant):
    make_install(merchant, make_integration("one", name_en="One"))
    make_install(merchant, make_integration("two", name_en="Two"))

    response = browser(merchant).get("/activity?integration=two")

    assert [line.sentence for line in response.context["lines"]] == [
        "owner@example.id installed Two"
    ]


def test_activity_pages_by_key_without_gap_or_repeat(merchant: Merchant):
    for _ in range(30):
        audit.record("partner.waved", actor="posz", merchant_id=merchant.pk)
    client = browser(merchant)

    first = client.get("/activity")
    audit.record("partner.waved", actor="posz", merchant_id=merchant.pk)
    second = client.get("/activity", {"before": first.context["older"]})

    seen = [line.id for page in (first, second) for line in page.context["lines"]]
    known = AuditEntry.objects.order_by("-id").values_list("id", flat=True)
    assert seen == list(known)[1:]
    assert second.context["older"] is None


@pytest.mark.parametrize("before", ["x", "-1", "²", "9" * 40])
def test_activity_ignores_a_page_that_makes_no_sense(merchant: Merchant, before: str):
    assert browser(merchant).get("/activity", {"before": before}).status_code == 200


def test_activity_takes_as_many_queries_for_many_lines_as_for_one(merchant: Merchant):
    row = make_install(merchant, make_integration("one"))
    client = browser(merchant)
    with_one = queries(client, "/activity")
    for _ in range(20):
        audit.record("bill.settled", actor="one", install=row)

    with_many = queries(client, "/activity")

    assert with_many == with_one


# Every page


def test_language_links_keep_the_search(merchant: Merchant):
    response = browser(merchant).get("/integrations?q=tip&category=receipt")

    assert "/integrations?q=tip&amp;category=receipt&amp;lang=id" in text(response)


def test_page_names_its_language(merchant: Merchant):
    assert '<html lang="id">' in text(browser(merchant).get("/integrations?lang=id"))


def test_pages_hold_no_inline_style_or_script(merchant: Merchant):
    make_install(merchant, make_integration("reviews", config_schema={}))

    shown = text(browser(merchant).get("/integrations/reviews"))

    assert " style=" not in shown
    assert "<script>" not in shown
    assert " onclick=" not in shown


def test_all_link_leaves_every_filter_behind(merchant: Merchant):
    make_integration()

    response = browser(merchant).get("/integrations?category=receipt")

    assert '<a class="facet" href="?">All' in text(response)
