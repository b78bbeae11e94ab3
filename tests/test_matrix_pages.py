"""What a merchant is shown before a change, when it is refused, after it, and of who answers where."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from catalog.capabilities import CAPABILITIES
from catalog.models import Integration, IntegrationStatus
from installs import lifecycle
from installs.models import (
    AuditEntry,
    Install,
    InstallPlan,
    Location,
    Membership,
    Merchant,
    Role,
)
from tests.factories import (
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
TABLE = {"pay_at_table": 1}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["api_key"],
    "properties": {
        "api_key": {"type": "string", "x-secret": True, "title": "API key"},
        "greeting": {"type": "string", "title": "Greeting"},
    },
}


@pytest.fixture
def merchant() -> Merchant:
    return make_merchant(name="Maple & Oat", timezone="Asia/Jakarta")


@pytest.fixture
def senopati(merchant: Merchant) -> Location:
    return make_location(merchant, name="Senopati", city="Jakarta")


@pytest.fixture
def ubud(merchant: Merchant, senopati: Location) -> Location:
    return make_location(merchant, name="Ubud", city="Bali", timezone="Asia/Makassar")


@pytest.fixture
def table_pay() -> Integration:
    return make_integration("table-pay", name_en="Table Pay", capabilities=TABLE)


@pytest.fixture
def quick_check() -> Integration:
    return make_integration("quick-check", name_en="Quick Check", capabilities=TABLE)


@pytest.fixture
def owner(merchant: Merchant) -> Client:
    return browser(merchant)


def browser(merchant: Merchant, role: str = Role.OWNER, **over: Any) -> Client:
    client = Client()
    client.force_login(make_user(merchant, role, **over))
    return client


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def act(install: Install, verb: str) -> str:
    return f"/integrations/{install.integration.slug}/installs/{install.pk}/{verb}"


def plan_url(plan: InstallPlan) -> str:
    return f"/integrations/{plan.integration.slug}/plans/{plan.pk}"


def said(cell: Any) -> list[tuple[str, str]]:
    """Who answers in a cell, with the mark."""
    if not cell.answering:
        return [(cell.fallback, "")]
    return [(item.name, item.mark) for item in cell.answering]


def told(shifts: Any) -> list[Any]:
    return [
        (shift.capability.name, step.places, said(step.before), said(step.after))
        for shift in shifts
        for step in shift.steps
    ]


def cells(response: Any) -> dict[str, list[Any]]:
    rows = response.context["matrix"].rows
    return {
        row.capability.name: [
            [(item.name, item.answers, item.reason) for item in cell.standings]
            for cell in row.cells
        ]
        for row in rows
    }


def queries(client: Client, url: str, **headers: Any) -> int:
    with CaptureQueriesContext(connections["default"]) as captured:
        assert client.get(url, **headers).status_code == 200
    return len(captured)


# What will happen


def test_effect_shows_who_answers_instead_of_posz(
    owner: Client, senopati: Location, ubud: Location, quick_check: Integration
):
    response = owner.get(
        "/integrations/quick-check/effect", {"location": str(ubud.pk)}, headers=HTMX
    )

    assert told(response.context["outcome"].shifts) == [
        ("pay_at_table", ["Ubud, Bali"], [("Posz’s own", "")], [("Quick Check", "new")])
    ]
    assert "Quick Check answers" in text(response)
    assert "Nothing changes elsewhere." in text(response)


def test_effect_of_a_stack_lists_all_in_order_and_marks_what_is_new(
    owner: Client, merchant: Merchant, ubud: Location
):
    make_install(merchant, make_integration("one", name_en="One"))
    make_integration("two", name_en="Two")

    response = owner.get("/integrations/two/effect", {"location": str(ubud.pk)}, headers=HTMX)

    assert told(response.context["outcome"].shifts) == [
        ("receipt_qr", ["Ubud, Bali"], [("One", "")], [("One", ""), ("Two", "new")])
    ]
    assert 'Two <span class="badge">new</span>' in text(response)


def test_effect_puts_places_with_the_same_difference_together(
    owner: Client, senopati: Location, ubud: Location
):
    make_integration("one", name_en="One")

    response = owner.get("/integrations/one/effect", headers=HTMX)

    places = ["Senopati, Jakarta", "Ubud, Bali", "Outlets that open later"]
    assert told(response.context["outcome"].shifts) == [
        ("receipt_qr", places, [("Nobody", "")], [("One", "new")])
    ]


ADDING = dict.fromkeys(("receipt_qr", "order_status_outbound", "customer_export"), 1)


def test_effect_on_many_capabilities_is_folded_with_who_answers(
    owner: Client, merchant: Merchant, senopati: Location, ubud: Location
):
    make_install(merchant, make_integration("one", name_en="One"))
    make_install(
        merchant,
        make_integration("three", name_en="Three", capabilities={"customer_export": 1}),
        ubud.pk,
    )
    make_integration("two", name_en="Two", capabilities=ADDING)

    response = owner.get("/integrations/two/effect", headers=HTMX)

    assert [item.summary for item in response.context["outcome"].shifts] == [
        "Now: One. Then: One, Two",
        "Then: Two",
        "Not the same at every outlet",
    ]
    assert text(response).count('<details class="disclosure fold">') == len(ADDING)
    assert "Now: One. Then: One, Two" in text(response)


def test_effect_on_two_capabilities_is_shown_at_once(owner: Client, ubud: Location):
    two = dict(list(ADDING.items())[:2])
    make_integration("two", name_en="Two", capabilities=two)

    response = owner.get("/integrations/two/effect", headers=HTMX)

    assert len(response.context["outcome"].shifts) == len(two)
    assert "<details" not in text(response)


def test_places_and_data_of_a_large_integration_are_folded(owner: Client, ubud: Location):
    many = {name: 1 for name in CAPABILITIES if name != "auth_provider"}
    make_integration("two", name_en="Two", capabilities=many)
    make_integration("one", name_en="One", capabilities=ADDING)

    large, small = (text(owner.get(f"/integrations/{slug}")) for slug in ("two", "one"))

    assert f"<summary>{len(many)} places of the point of sale</summary>" in large
    assert "kinds of data</summary>" in large
    assert "<summary>" not in small[small.index("Where it shows up") :]


def test_another_install_of_a_large_integration_waits_folded(
    owner: Client, merchant: Merchant, senopati: Location, ubud: Location
):
    make_install(merchant, make_integration("two", name_en="Two", capabilities=ADDING), ubud.pk)
    make_install(merchant, make_integration("one", name_en="One"), ubud.pk)

    large, small = (text(owner.get(f"/integrations/{slug}")) for slug in ("two", "one"))

    folded = '<summary><h2 id="install-title">Install for another outlet</h2></summary>'
    assert (folded in large, folded in small) == (True, False)
    assert "Install for another outlet" in small


def test_effect_where_there_is_no_room_says_who_is_there(
    owner: Client,
    merchant: Merchant,
    ubud: Location,
    table_pay: Integration,
    quick_check: Integration,
):
    make_install(merchant, table_pay, ubud.pk)

    response = owner.get("/integrations/quick-check/effect", headers=HTMX)

    assert "There is no room for it." in text(response)
    assert "Ubud, Bali: <a" in text(response)


def test_effect_of_an_override_says_that_nothing_changes(
    owner: Client, merchant: Merchant, ubud: Location, table_pay: Integration
):
    make_install(merchant, table_pay)

    response = owner.get("/integrations/table-pay/effect", {"location": str(ubud.pk)}, headers=HTMX)

    assert "Nothing changes in who answers." in text(response)
    assert "instead of the one for all outlets" in text(response)


def test_effect_at_a_foreign_outlet_is_like_at_none(owner: Client, quick_check: Integration):
    foreign = make_location(make_merchant())
    url = "/integrations/quick-check/effect"

    answers = [
        owner.get(url, {"location": str(key)}, headers=HTMX) for key in (foreign.pk, uuid4())
    ]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content


def test_detail_shows_the_effect_of_the_choice_made_beforehand(
    owner: Client, ubud: Location, quick_check: Integration
):
    response = owner.get("/integrations/quick-check")

    assert [shift.capability.name for shift in response.context["outcome"].shifts] == [
        "pay_at_table"
    ]
    assert "What will happen" in text(response)


@pytest.mark.parametrize(
    ("verb", "after"), [("disable", "Posz’s own"), ("uninstall", "Posz’s own")]
)
def test_question_shows_who_answers_then(
    owner: Client,
    merchant: Merchant,
    ubud: Location,
    table_pay: Integration,
    verb: str,
    after: str,
):
    row = make_install(merchant, table_pay, ubud.pk)

    response = owner.get(act(row, verb), headers=HTMX)

    assert [(item[2], item[3]) for item in told(response.context["outcome"].shifts)] == [
        ([("Table Pay", "leaves" if verb == "uninstall" else "falls silent")], [(after, "")])
    ]
    assert Install.objects.filter(is_enabled=True).exists()


def test_question_about_what_is_disabled_already_says_so(
    owner: Client, merchant: Merchant, table_pay: Integration
):
    row = make_install(merchant, table_pay, is_enabled=False)

    shown = text(owner.get(act(row, "disable")))

    assert "It is disabled already." in shown
    assert "Nothing changes in who answers." in shown


def test_question_to_a_viewer_answers_403_in_words(merchant: Merchant, table_pay: Integration):
    row = make_install(merchant, table_pay)

    response = browser(merchant, Role.VIEWER).get(act(row, "disable"))

    assert response.status_code == 403
    assert "Your role does not allow this" in text(response)


def test_uninstall_says_that_the_install_for_all_takes_over(
    owner: Client, merchant: Merchant, ubud: Location, table_pay: Integration
):
    make_install(merchant, table_pay)
    row = make_install(merchant, table_pay, ubud.pk)

    assert "The install for all outlets takes over here." in text(owner.get(act(row, "uninstall")))


def test_disabled_install_shows_what_enabling_changes(
    owner: Client, merchant: Merchant, table_pay: Integration
):
    make_install(merchant, table_pay, is_enabled=False)

    (block,) = owner.get("/integrations/table-pay").context["blocks"]

    assert [item[2:] for item in told(block.enabling)] == [
        ([("Posz’s own", "")], [("Table Pay", "answers again")])
    ]


def test_effect_leaves_out_what_posz_switched_off(
    owner: Client, merchant: Merchant, ubud: Location
):
    one = make_integration("one", name_en="One")
    make_install(merchant, one)
    Integration.objects.filter(pk=one.pk).update(status=IntegrationStatus.DISABLED)
    make_integration("two", name_en="Two")

    response = owner.get("/integrations/two/effect", {"location": str(ubud.pk)}, headers=HTMX)

    assert [item[2:] for item in told(response.context["outcome"].shifts)] == [
        ([("Nobody", "")], [("Two", "new")])
    ]


def test_pages_read_by_get_make_no_plans(
    owner: Client,
    merchant: Merchant,
    ubud: Location,
    table_pay: Integration,
    quick_check: Integration,
):
    row = make_install(merchant, table_pay, ubud.pk)
    for url in (
        "/integrations/quick-check",
        "/integrations/quick-check/effect",
        f"/integrations/quick-check/effect?location={ubud.pk}",
        act(row, "disable"),
        act(row, "uninstall"),
        "/answers",
    ):
        assert owner.get(url, headers=HTMX).status_code == 200

    assert not InstallPlan.objects.exists()


# Without script


def test_install_without_script_shows_first_what_will_happen(
    owner: Client, ubud: Location, quick_check: Integration
):
    question = owner.post(
        "/integrations/quick-check/install", {"location": str(ubud.pk)}, follow=True
    )
    is_kept = not Install.objects.exists()
    response = owner.post(question.redirect_chain[0][0], follow=True)

    assert is_kept
    assert "Install Quick Check?" in text(question)
    assert "Quick Check answers" in text(question)
    assert response.redirect_chain == [("/integrations/quick-check", 302)]
    assert Install.objects.get().location == ubud


def test_install_without_script_keeps_settings_out_of_the_page(owner: Client):
    make_integration("keyed", config_schema=SCHEMA)
    answers = {"config-api_key": "very-secret", "config-greeting": "Halo"}

    question = owner.post("/integrations/keyed/install", answers, follow=True)
    owner.post(question.redirect_chain[0][0])

    assert "very-secret" not in text(question)
    assert Install.objects.get().config == {"api_key": "very-secret", "greeting": "Halo"}


def test_install_without_script_refuses_wrong_settings_before_it_asks(owner: Client):
    make_integration("keyed", config_schema=SCHEMA)

    response = owner.post("/integrations/keyed/install")

    assert response.status_code == 422
    assert not InstallPlan.objects.exists()


def test_install_without_script_that_conflicts_shows_the_ways_out(
    owner: Client,
    merchant: Merchant,
    ubud: Location,
    table_pay: Integration,
    quick_check: Integration,
):
    make_install(merchant, table_pay, ubud.pk)

    response = owner.post("/integrations/quick-check/install", {"location": str(ubud.pk)})

    assert response.status_code == 409
    assert "Switch Ubud, Bali from Table Pay to Quick Check" in text(response)


# The conflict as a resolver


@pytest.fixture
def refused(
    owner: Client,
    merchant: Merchant,
    senopati: Location,
    ubud: Location,
    table_pay: Integration,
    quick_check: Integration,
) -> Any:
    """Quick Check wants all outlets where Table Pay has Ubud."""
    make_install(merchant, table_pay, ubud.pk)
    return owner.post("/integrations/quick-check/install", headers=HTMX)


def test_conflict_offers_every_way_in_words(refused: Any):
    ways = refused.context["ways"]

    assert refused.status_code == 409
    assert [(way.kind, way.text, way.is_allowed) for way in ways] == [
        ("switch", "Switch Ubud, Bali from Table Pay to Quick Check", True),
        ("keep", "Keep Table Pay", True),
        ("only_at", "Use Quick Check only at Senopati, Jakarta", True),
    ]
    assert all(way.text in text(refused) for way in ways)


def test_conflict_shows_what_the_switch_would_bring(refused: Any):
    switch = refused.context["ways"][0]

    assert told(switch.shifts) == [
        (
            "pay_at_table",
            ["Senopati, Jakarta", "Outlets that open later"],
            [("Posz’s own", "")],
            [("Quick Check", "new")],
        ),
        ("pay_at_table", ["Ubud, Bali"], [("Table Pay", "leaves")], [("Quick Check", "new")]),
    ]


def test_conflict_in_a_full_stack_offers_a_switch_with_each(owner: Client, merchant: Merchant):
    for name in ("One", "Two", "Three"):
        make_install(merchant, make_integration(name.lower(), name_en=name))
    make_integration("four", name_en="Four")

    response = owner.post("/integrations/four/install", headers=HTMX)

    switches = [way.departing for way in response.context["ways"] if way.kind == "switch"]
    assert switches == [["One"], ["Two"], ["Three"]]


def test_conflict_shows_a_manager_whom_to_ask(
    merchant: Merchant, ubud: Location, table_pay: Integration, quick_check: Integration
):
    make_user(merchant, Role.OWNER, name="Ayu Lestari")
    make_install(merchant, table_pay, ubud.pk)

    response = browser(merchant, Role.MANAGER).post(
        "/integrations/quick-check/install", {"location": str(ubud.pk)}, headers=HTMX
    )

    switch = response.context["ways"][0]
    assert not switch.is_allowed
    assert "Ask Ayu Lestari." in text(response)
    assert f"/plans/{switch.plan}" not in text(response)


def test_only_at_installs_where_there_is_room(
    owner: Client, refused: Any, senopati: Location, quick_check: Integration
):
    way = refused.context["ways"][2]

    owner.post(
        "/integrations/quick-check/install",
        {"way": "only_at", "location": way.location_ids, "plan": refused.context["plan_id"]},
    )

    rows = Install.objects.filter(integration=quick_check)
    assert [row.location for row in rows] == [senopati]


def test_only_at_leaves_out_where_it_is_already(
    owner: Client,
    merchant: Merchant,
    senopati: Location,
    ubud: Location,
    table_pay: Integration,
    quick_check: Integration,
):
    make_install(merchant, table_pay, senopati.pk)
    make_install(merchant, quick_check, ubud.pk)

    response = owner.post("/integrations/quick-check/install", headers=HTMX)

    assert [way.kind for way in response.context["ways"]] == ["switch", "keep"]


def test_only_at_uses_the_settings_that_were_asked_for(
    owner: Client, merchant: Merchant, senopati: Location, ubud: Location, table_pay: Integration
):
    make_install(merchant, table_pay, ubud.pk)
    make_integration("keyed", capabilities=TABLE, config_schema=SCHEMA)
    answers = {"config-api_key": "very-secret"}
    refused = owner.post("/integrations/keyed/install", answers, headers=HTMX)

    owner.post(
        "/integrations/keyed/install",
        {"way": "only_at", "location": [str(senopati.pk)], "plan": refused.context["plan_id"]},
        headers=HTMX,
    )

    assert "very-secret" not in text(refused)
    assert Install.objects.get(integration__slug="keyed").config == {"api_key": "very-secret"}


# Switch and undo


def switch(refused: Any) -> InstallPlan:
    return InstallPlan.objects.get(pk=refused.context["ways"][0].plan)


def scopes_of(merchant: Merchant) -> set[tuple[str, str | None]]:
    rows = Install.objects.for_merchant(merchant.pk).with_names()
    return {(row.integration.slug, row.location.name if row.location else None) for row in rows}


def test_switch_in_the_drawer_offers_to_undo_it(owner: Client, merchant: Merchant, refused: Any):
    response = owner.post(plan_url(switch(refused)), headers=HTMX)
    after_switch = scopes_of(merchant)
    undo = response.context["undo"]
    undone = owner.post(plan_url(undo.plan), headers=HTMX)

    assert after_switch == {("quick-check", None)}
    assert "Quick Check took over from Table Pay." in text(response)
    assert "Everything is as it was before the switch." in undone.headers["HX-Trigger"]
    assert scopes_of(merchant) == {("table-pay", "Ubud")}


def test_switch_without_script_leads_to_a_page_with_undo(
    owner: Client, merchant: Merchant, refused: Any
):
    question = owner.get(plan_url(switch(refused)))
    response = owner.post(plan_url(switch(refused)), follow=True)
    undone = owner.post(plan_url(response.context["undo"].plan), follow=True)

    assert "Switch to Quick Check?" in text(question)
    assert "Table Pay leaves these outlets." in text(question)
    assert response.redirect_chain[0][0].startswith("/integrations/quick-check?undo=")
    assert undone.redirect_chain == [("/integrations/quick-check", 302)]
    assert scopes_of(merchant) == {("table-pay", "Ubud")}


@pytest.mark.parametrize("method", ["get", "post"])
def test_switch_that_is_stale_says_so_and_offers_to_look_again(
    owner: Client, merchant: Merchant, refused: Any, method: str
):
    make_install(merchant, make_integration())

    response = getattr(owner, method)(plan_url(switch(refused)), headers=HTMX)

    assert response.status_code == 412
    assert "Things have changed since you looked." in text(response)
    assert "Look again" in text(response)
    assert ("table-pay", "Ubud") in scopes_of(merchant)


def test_undo_that_is_stale_says_so_kindly(owner: Client, merchant: Merchant, refused: Any):
    response = owner.post(plan_url(switch(refused)), headers=HTMX)
    undo = response.context["undo"].plan
    make_install(merchant, make_integration())

    page = owner.get(f"/integrations/quick-check?undo={undo.pk}")
    answer = owner.post(plan_url(undo), headers=HTMX)

    assert not page.context["undo"].is_fresh
    assert "so it can’t be undone in one step any more" in text(page)
    assert answer.status_code == 412
    assert "This can’t be undone in one step any more." in text(answer)


def test_undo_asked_for_by_get_leads_to_the_page_that_offers_it(owner: Client, refused: Any):
    undo = owner.post(plan_url(switch(refused)), headers=HTMX).context["undo"].plan

    response = owner.get(plan_url(undo))

    assert response.headers["Location"] == f"/integrations/quick-check?undo={undo.pk}"


def test_switch_by_a_manager_answers_403_in_words(merchant: Merchant, refused: Any):
    response = browser(merchant, Role.MANAGER).post(plan_url(switch(refused)), headers=HTMX)

    assert response.status_code == 403
    assert scopes_of(merchant) == {("table-pay", "Ubud")}


@pytest.mark.parametrize("method", ["get", "post"])
def test_plan_of_another_merchant_is_like_none(refused: Any, method: str):
    stranger = browser(make_merchant())
    plan = switch(refused)

    foreign = getattr(stranger, method)(plan_url(plan), headers=HTMX)
    plan.pk = uuid4()
    missing = getattr(stranger, method)(plan_url(plan), headers=HTMX)

    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.content == missing.content


def test_plan_under_the_name_of_another_integration_answers_404(owner: Client, refused: Any):
    url = plan_url(switch(refused)).replace("quick-check", "table-pay")

    assert owner.post(url).status_code == 404


# Who answers


def test_answers_tell_who_why_and_in_which_order(
    owner: Client, merchant: Merchant, senopati: Location, ubud: Location, table_pay: Integration
):
    make_install(merchant, table_pay, senopati.pk)
    make_install(merchant, table_pay, is_enabled=False)
    for name in ("One", "Two"):
        make_install(merchant, make_integration(name.lower(), name_en=name))

    response = owner.get("/answers")

    everywhere = "installed for all outlets"
    stack = [("One", True, everywhere), ("Two", True, everywhere)]
    off = [("Table Pay", False, "switched off for all outlets")]
    assert response.context["matrix"].places == [
        "Senopati, Jakarta",
        "Ubud, Bali",
        "Outlets that open later",
    ]
    assert cells(response) == {
        "receipt_qr": [stack, stack, stack],
        "pay_at_table": [[("Table Pay", True, "installed here")], off, off],
    }
    assert len(response.context["matrix"].idle) == 19


def test_answers_name_what_posz_switched_off_and_what_is_not_connected(
    owner: Client, merchant: Merchant, table_pay: Integration
):
    make_install(merchant, table_pay)
    Integration.objects.filter(pk=table_pay.pk).update(status=IntegrationStatus.DISABLED)
    make_install(merchant, make_spliteasy())

    response = owner.get("/answers")

    assert cells(response)["pay_at_table"] == [[("Table Pay", False, "switched off by Posz")]]
    assert "still connecting" in text(response)


def test_answers_are_those_of_the_merchant_alone(owner: Client, table_pay: Integration):
    make_install(make_merchant(), table_pay)

    response = owner.get("/answers")

    assert cells(response) == {}
    assert "Nothing is installed yet" in text(response)


def test_answers_of_an_earlier_moment_are_as_they_were(
    owner: Client, merchant: Merchant, table_pay: Integration
):
    row = make_install(merchant, table_pay)
    then = timezone.now()
    lifecycle.uninstall(owner_of(merchant), row.pk)

    response = owner.get("/answers", {"at": then.isoformat()})

    assert cells(response) == {"pay_at_table": [[("Table Pay", True, "installed for all outlets")]]}
    assert "This is how it was on" in text(response)
    assert cells(owner.get("/answers")) == {}


def test_answers_name_what_left_the_catalog_by_its_slug(
    owner: Client, merchant: Merchant, table_pay: Integration
):
    row = make_install(merchant, table_pay)
    then = timezone.now()
    lifecycle.uninstall(owner_of(merchant), row.pk)
    table_pay.delete()

    response = owner.get("/answers", {"at": then.isoformat()})

    assert cells(response)["pay_at_table"] == [[("table-pay", True, "installed for all outlets")]]
    assert "/integrations/table-pay" not in text(response)


def test_answers_of_an_earlier_moment_know_outlets_that_are_gone(
    owner: Client, merchant: Merchant, senopati: Location, ubud: Location, table_pay: Integration
):
    row = make_install(merchant, table_pay, ubud.pk)
    then = timezone.now()
    lifecycle.uninstall(owner_of(merchant), row.pk)
    ubud.delete()

    response = owner.get("/answers", {"at": then.isoformat()})

    assert response.context["matrix"].places == [
        "Senopati, Jakarta",
        "Ubud, Bali",
        "Outlets that open later",
    ]


def test_answers_take_a_time_as_the_merchants_own(owner: Client):
    response = owner.get("/answers", {"at": "2026-01-02T12:00"})

    assert response.context["moment"].astimezone(UTC) == datetime(2026, 1, 2, 5, tzinfo=UTC)
    assert "2 Jan 2026, 12:00 WIB" in text(response)


def test_answers_of_the_future_are_refused_in_words(owner: Client):
    later = timezone.now() + timedelta(hours=1)

    response = owner.get("/answers", {"at": later.isoformat()})

    assert response.status_code == 400
    assert "nobody knows what will be then" in text(response)


@pytest.mark.parametrize("at", ["soon", "0001-01-01T00:00", "9999-12-31T23:59-12:00", "²"])
def test_answers_at_no_time_at_all_are_refused_in_words(owner: Client, at: str):
    response = owner.get("/answers", {"at": at})

    assert response.status_code == 400
    assert "That is not a date and a time." in text(response)


def test_activity_links_to_how_it_was_then(owner: Client, merchant: Merchant, ubud: Location):
    make_install(merchant, make_integration("one", name_en="One"))
    entry = AuditEntry.objects.latest("id")
    AuditEntry.objects.filter(pk=entry.pk).update(at=datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC))

    activity = owner.get("/activity")
    (line,) = activity.context["lines"]
    response = owner.get("/answers", {"at": line.moment})

    assert line.moment == "2026-01-02T03:04:06Z"
    assert "/answers?at=2026-01-02T03%3A04%3A06Z" in text(activity)
    assert "receipt_qr" in cells(response)


@pytest.mark.parametrize(
    "url",
    [
        "/answers",
        "/answers?at=2999",
        "/integrations/quick-check",
        "/integrations/quick-check/effect",
    ],
)
def test_pages_take_as_many_queries_for_three_outlets_as_for_one(
    owner: Client,
    merchant: Merchant,
    senopati: Location,
    table_pay: Integration,
    quick_check: Integration,
    url: str,
):
    make_install(merchant, table_pay, senopati.pk)
    moment = {"at": timezone.now().isoformat()} if "2999" in url else {}
    with_one = queries(owner, url.split("?")[0], data=moment)
    for _ in range(2):
        make_install(merchant, table_pay, make_location(merchant).pk)
    moment = {"at": timezone.now().isoformat()} if "2999" in url else {}

    assert queries(owner, url.split("?")[0], data=moment) == with_one


# Scopes beside each other, newer versions


def differences(client: Client) -> list[list[str] | None]:
    blocks = client.get("/integrations/keyed").context["blocks"]
    return [block.differences for block in blocks]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"api_key": "key-for-all", "greeting": "Halo"}, []),
        ({"api_key": "key-for-all", "greeting": "Hai"}, ["Greeting"]),
        ({"api_key": "key-of-ubud"}, ["API key (another one is set here)", "Greeting"]),
    ],
)
def test_outlets_settings_are_compared_with_those_of_all(
    owner: Client, merchant: Merchant, ubud: Location, config: Any, expected: list[str]
):
    keyed = make_integration("keyed", config_schema=SCHEMA)
    actor = owner_of(merchant)
    lifecycle.install(actor, keyed, config={"api_key": "key-for-all", "greeting": "Halo"})
    lifecycle.install(actor, keyed, location_id=ubud.pk, config=config)

    shown = text(owner.get("/integrations/keyed"))

    assert differences(owner) == [None, expected]
    assert "key-for-all" not in shown
    assert "key-of-ubud" not in shown
    assert ("Same settings as all outlets" in shown) == (expected == [])


def test_newer_version_is_offered_with_what_it_changes(owner: Client, merchant: Merchant):
    one = make_integration("one", name_en="One")
    row = make_install(merchant, one)
    one.capabilities = {"payment_webhook_inbound": 1, "receipt_qr": 2}
    one.save()

    (block,) = owner.get("/integrations/one").context["blocks"]
    response = owner.post(act(row, "upgrade"), follow=True)

    row.refresh_from_db()
    assert [str(item.surface) for item in block.upgrade.gained] == [
        "Provider posts back when a charge captures"
    ]
    assert len(block.upgrade.renewed) == 1
    assert row.capability_versions == one.capabilities
    assert "One runs its latest version." in text(response)
    assert "A newer version is available." not in text(response)


def test_newer_version_without_room_is_refused_in_words(
    owner: Client, merchant: Merchant, table_pay: Integration
):
    one = make_integration("one", name_en="One")
    row = make_install(merchant, one)
    make_install(merchant, table_pay)
    one.capabilities = {"receipt_qr": 1, "pay_at_table": 1}
    one.save()

    response = owner.post(act(row, "upgrade"), headers=HTMX)

    assert response.status_code == 409
    assert ">Table Pay</a>" in text(response)
    assert "The newer version needs that place." in text(response)


def test_newer_version_is_not_a_viewers_to_take(merchant: Merchant):
    one = make_integration("one")
    row = make_install(merchant, one)
    one.capabilities = {"receipt_qr": 2}
    one.save()
    viewer = browser(merchant, Role.VIEWER)

    shown = text(viewer.get("/integrations/one"))

    assert "A newer version is available." in shown
    assert act(row, "upgrade") not in shown
    assert viewer.post(act(row, "upgrade")).status_code == 403


def test_uninstall_that_would_let_another_row_in_without_room_is_refused_beforehand(
    owner: Client, merchant: Merchant, ubud: Location, table_pay: Integration
):
    one = make_integration("one", name_en="One", capabilities={"receipt_qr": 1, "pay_at_table": 1})
    make_install(merchant, one)
    one.capabilities = {"receipt_qr": 1}
    one.save()
    row = make_install(merchant, one, ubud.pk)
    Install.objects.filter(pk=row.pk).update(capability_versions={"receipt_qr": 1})
    make_install(merchant, table_pay, ubud.pk)

    question = text(owner.get(act(row, "uninstall")))
    response = owner.post(act(row, "uninstall"), headers=HTMX)

    assert "There is no room for it." in question
    assert 'class="button button--danger"' not in question
    assert response.status_code == 409
    assert "The install for all outlets would take over there." in text(response)


def test_viewer_sees_who_answers(merchant: Merchant, table_pay: Integration):
    make_install(merchant, table_pay)

    assert "Table Pay" in text(browser(merchant, Role.VIEWER).get("/answers"))


def test_manager_of_other_outlets_is_not_offered_what_is_not_theirs(
    merchant: Merchant,
    senopati: Location,
    ubud: Location,
    table_pay: Integration,
    quick_check: Integration,
):
    make_install(merchant, table_pay, ubud.pk)
    user = make_user(merchant, Role.MANAGER)
    Membership.objects.get(user=user).locations.set([senopati])
    client = Client()
    client.force_login(user)

    response = client.post(
        "/integrations/quick-check/install", {"location": str(ubud.pk)}, headers=HTMX
    )

    assert response.status_code == 403
