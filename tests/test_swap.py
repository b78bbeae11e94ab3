"""X answers in Jakarta, Y in Bali, and the owner wants Y everywhere: the change is offered, made in
one step and taken back in one step, and no other outlet notices."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core import serializers
from django.db import connection as database
from django.utils import timezone

from catalog.envelope import ApiError
from catalog.models import Integration
from installs import lifecycle, plans, preview, scope
from installs.access import Actor
from installs.inbound_addresses import install_at, make_address
from installs.models import (
    AuditEntry,
    Connection,
    IdMapping,
    Install,
    InstallPlan,
    Merchant,
    Role,
)
from installs.state import state_of
from tests.factories import (
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
    owner_of,
)
from tests.test_api import Api, code_of

pytestmark = pytest.mark.django_db
TABLE, QR = {"pay_at_table": 1}, {"receipt_qr": 1}
SCHEMA = {
    "type": "object",
    "properties": {
        "api_key": {"type": "string", "x-secret": True, "minLength": 8},
        "greeting": {"type": "string", "maxLength": 10},
    },
    "required": ["api_key"],
}
X_KEY, Y_KEY = "x-secret-key-of-jakarta", "y-secret-key-of-the-chain"


class Story:
    def __init__(self) -> None:
        self.merchant = make_merchant(name="Maple & Oat")
        self.owner = owner_of(self.merchant)
        self.jakarta, self.bali, self.bandung = (
            make_location(self.merchant, name=name, city=city)
            for name, city in [("Senopati", "Jakarta"), ("Ubud", "Bali"), ("Dago", "Bandung")]
        )
        self.x = make_integration("table-x", capabilities=TABLE, config_schema=SCHEMA)
        self.y = make_integration("table-y", capabilities=TABLE, config_schema=SCHEMA)

    def install(self, integration: Integration, location: Any = None, key: str = X_KEY) -> Install:
        return lifecycle.install(
            self.owner,
            integration,
            location_id=location and location.pk,
            config={"api_key": key},
        )

    def refused(self, integration: Integration, location: Any = None) -> ApiError:
        with pytest.raises(ApiError) as caught:
            self.install(integration, location, Y_KEY)
        return caught.value

    def answers(self, capability: str = "pay_at_table") -> dict[str, list[str]]:
        """Who answers, by city."""
        state = state_of(self.merchant.pk)
        return {
            place.city if place else "later": [
                row.integration
                for row in scope.answering(state.scoped, capability, place.pk if place else None)
            ]
            for place in (*state.locations.values(), None)
        }


@pytest.fixture
def story():
    return Story()


@pytest.fixture
def api(story):
    return Api(make_token(story.merchant))


def contents(row: Install) -> dict[str, Any]:
    """Every column, settings included, but when it came to be on or off: that is new each time."""
    fields = [field for field in Install._meta.concrete_fields if field.name != "switched_at"]
    return {field.attname: getattr(row, field.attname) for field in fields}


def rows_of(merchant: Merchant) -> list[dict[str, Any]]:
    return [contents(row) for row in Install.objects.for_merchant(merchant.pk).in_order()]


def refusal(act) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        act()
    return caught.value.status, caught.value.code


def test_exclusive_installs_in_jakarta_and_bali_do_not_meet(story):
    story.install(story.x, story.jakarta)
    story.install(story.y, story.bali)

    assert story.answers() == {
        "Jakarta": ["table-x"],
        "Bali": ["table-y"],
        "Bandung": [],
        "later": [],
    }


def test_conflict_offers_switch_keep_and_only_where_there_is_room(story):
    x = story.install(story.x, story.jakarta)
    story.install(story.y, story.bali)

    error = story.refused(story.y)

    assert (error.status, error.code) == (409, "capability_conflict")
    assert error.message == (f"{story.x.name} already answers “pay_at_table” at Senopati, Jakarta.")
    assert error.extra["conflicts"] == [
        {
            "capability": "pay_at_table",
            "mode": "replace",
            "places": 1,
            "locations": [{"id": str(story.jakarta.pk), "name": "Senopati, Jakarta"}],
            "holders": [
                {
                    "install_id": str(x.pk),
                    "integration": "table-x",
                    "location_id": str(story.jakarta.pk),
                    "enabled": True,
                }
            ],
        }
    ]
    assert error.extra["ways_out"] == [
        {
            "way": "switch",
            "plan": error.extra["plan"],
            "instead_of": ["table-x"],
            "text": f"Switch Senopati, Jakarta from {story.x.name} to {story.y.name}",
        },
        {"way": "keep", "text": f"Keep {story.x.name}"},
        {
            "way": "only_at",
            "locations": [{"id": str(story.bandung.pk), "name": str(story.bandung)}],
            "text": f"Use {story.y.name} only at Dago, Bandung",
        },
    ]


def test_swap_and_undo_over_the_api(story, api):
    x = story.install(story.x, story.jakarta)
    bali = story.install(story.y, story.bali, "y-key-of-bali-alone")
    before = rows_of(story.merchant)
    asked = {"integration": "table-y", "config": {"api_key": Y_KEY}}

    refused = api("POST", "installs", asked)
    swapped = api("POST", "installs/swap", {"plan": refused.json()["error"]["plan"]})
    after = story.answers(), {row.config["api_key"] for row in Install.objects.all()}
    undone = api("POST", "installs/swap", {"plan": swapped.json()["undo"]})

    assert code_of(refused) == (409, "capability_conflict")
    assert (swapped.status_code, undone.status_code) == (200, 200)
    [came] = swapped.json()["installed"]
    assert (came["integration"], came["location_id"]) == ("table-y", None)
    assert after == (
        {
            "Jakarta": ["table-y"],
            "Bali": ["table-y"],
            "Bandung": ["table-y"],
            "later": ["table-y"],
        },
        {Y_KEY, bali.config["api_key"]},
    )
    assert [item["id"] for item in undone.json()["installed"]] == [str(x.pk)]
    assert rows_of(story.merchant) == before


def test_undo_can_be_undone_and_brings_the_same_row_again(story):
    story.install(story.x, story.jakarta)
    done = lifecycle.swap(story.owner, story.refused(story.y).extra["plan"])
    after = rows_of(story.merchant)

    undone = lifecycle.swap(story.owner, done.undo.pk)
    lifecycle.swap(story.owner, undone.undo.pk)

    assert rows_of(story.merchant) == after


def mapped(**over: Any) -> set[tuple[str, str, str]]:
    rows = IdMapping.objects.filter(**over)
    return set(rows.values_list("external_id", "posz_id", "state"))


def make_mappings(install: Install, *ids: tuple[str, str, str]) -> None:
    for external_id, posz_id, state in ids:
        IdMapping.objects.create(
            install=install, kind="sku", external_id=external_id, posz_id=posz_id, state=state
        )


def test_what_people_said_of_items_goes_with_a_narrowed_install_and_comes_back(story):
    wide = story.install(story.x)
    known = ("kopi", "posz-1", "mapped"), ("bag", "", "ignored")
    make_mappings(wide, *known, ("new", "", "open"))
    done = lifecycle.swap(story.owner, story.refused(story.y, story.bali).extra["plan"])
    jakarta, bandung = (
        Install.objects.get(integration=story.x, location=place)
        for place in (story.jakarta, story.bandung)
    )
    carried = mapped(install=jakarta), mapped(install=bandung)
    make_mappings(jakarta, ("new", "posz-2", "mapped"), ("newer", "", "open"))

    lifecycle.swap(story.owner, done.undo.pk)

    assert carried == (set(known), set(known))
    assert mapped(install=wide) == {*known, ("new", "posz-2", "mapped"), ("newer", "", "open")}
    assert mapped() == mapped(install=wide)


def test_undo_brings_back_the_webhook_address(story):
    old = story.install(story.x, story.jakarta)
    token = make_address(story.owner, old.pk).rpartition("/")[2]
    done = lifecycle.swap(story.owner, story.refused(story.y).extra["plan"])
    meanwhile = install_at(story.x, token)

    lifecycle.swap(story.owner, done.undo.pk)

    assert meanwhile is None
    assert install_at(story.x, token) == old


def test_swap_narrows_a_merchant_wide_holder_to_the_other_locations(story):
    wide = story.install(story.x)
    known = {
        "external_merchant_id": "ext-7",
        "connection": Connection.CONNECTED,
        "provision_attempts": 3,
        "outbound_off_at": timezone.now(),
        "is_enabled": False,
    }
    Install.objects.filter(pk=wide.pk).update(**known)
    before = rows_of(story.merchant)

    done = lifecycle.swap(story.owner, story.refused(story.y, story.bali).extra["plan"])

    old = before[0]
    narrowed = [row for row in rows_of(story.merchant) if row["integration_id"] == story.x.pk]
    assert {row["location_id"] for row in narrowed} == {
        story.jakarta.pk,
        story.bandung.pk,
    }
    for row in narrowed:
        assert row | {"id": old["id"], "location_id": None} == old
    assert Install.objects.get(integration=story.y).location == story.bali
    lifecycle.swap(story.owner, done.undo.pk)
    assert rows_of(story.merchant) == before


def test_swap_keeps_overrides_of_the_holder_elsewhere(story):
    story.install(story.x)
    own = story.install(story.x, story.bandung, "x-key-of-bandung")
    before = contents(Install.objects.get(pk=own.pk))

    lifecycle.swap(story.owner, story.refused(story.y, story.bali).extra["plan"])

    assert contents(Install.objects.get(pk=own.pk)) == before
    assert story.answers() == {
        "Jakarta": ["table-x"],
        "Bali": ["table-y"],
        "Bandung": ["table-x"],
        "later": [],
    }


def test_swap_keeps_the_order_of_answers_at_other_locations(story):
    both = make_integration("both", capabilities=TABLE | QR)
    make_install(story.merchant, both)
    make_install(story.merchant, make_integration("qr", capabilities=QR))

    lifecycle.swap(story.owner, story.refused(story.y, story.bali).extra["plan"])

    assert story.answers("receipt_qr") == {
        "Jakarta": ["both", "qr"],
        "Bali": ["qr"],
        "Bandung": ["both", "qr"],
        "later": ["qr"],
    }


CHANGES = {
    "disable": lambda story, x: lifecycle.disable(story.owner, x.pk),
    "configure": lambda story, x: lifecycle.configure(story.owner, x.pk, {"greeting": "Halo"}),
    "uninstall": lambda story, x: lifecycle.uninstall(story.owner, x.pk),
    "install": lambda story, _x: make_install(story.merchant, make_integration()),
    "other plan": lambda story, _x: lifecycle.swap(
        story.owner, story.refused(story.y, story.jakarta).extra["plan"]
    ),
    "outlet": lambda story, _x: make_location(story.merchant),
    "catalog": lambda story, _x: Integration.objects.filter(pk=story.y.pk).update(
        capabilities=TABLE | QR
    ),
    "expiry": lambda _story, _x: InstallPlan.objects.update(expires_at=timezone.now()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_plan_is_stale_after(story, api, change):
    x = story.install(story.x, story.jakarta)
    plan = story.refused(story.y).extra["plan"]
    CHANGES[change](story, x)
    before = rows_of(story.merchant)

    response = api("POST", "installs/swap", {"plan": plan})

    assert code_of(response) == (412, "plan_stale")
    assert rows_of(story.merchant) == before


@pytest.mark.parametrize("change", ["configure", "versions"])
def test_undo_is_stale_after_a_change_of_what_came(story, change):
    story.install(story.x, story.jakarta)
    done = lifecycle.swap(story.owner, story.refused(story.y).extra["plan"])
    if change == "configure":
        lifecycle.configure(story.owner, done.installed[0].pk, {"greeting": "Halo"})
    else:
        Integration.objects.update(capabilities={"pay_at_table": 2})
        lifecycle.accept_versions(story.owner, done.installed[0].pk)

    assert refusal(lambda: lifecycle.swap(story.owner, done.undo.pk)) == (412, "plan_stale")


def test_plan_is_good_again_when_everything_is_as_it_was_shown(story):
    x = story.install(story.x, story.jakarta)
    plan = story.refused(story.y).extra["plan"]

    lifecycle.disable(story.owner, x.pk)
    lifecycle.enable(story.owner, x.pk)

    assert lifecycle.swap(story.owner, plan).installed


def test_used_plan_is_stale_although_everything_is_as_it_was(story):
    story.install(story.x, story.jakarta)
    plan = story.refused(story.y).extra["plan"]
    done = lifecycle.swap(story.owner, plan)
    lifecycle.swap(story.owner, done.undo.pk)

    assert refusal(lambda: lifecycle.swap(story.owner, plan)) == (412, "plan_stale")
    assert refusal(lambda: lifecycle.swap(story.owner, done.undo.pk)) == (412, "plan_stale")


def test_uninstall_ends_every_plan_that_could_bring_it_back(story):
    story.install(story.x, story.jakarta)
    offered = story.refused(story.y, story.jakarta).extra["plan"]
    done = lifecycle.swap(story.owner, story.refused(story.y).extra["plan"])
    lifecycle.swap(story.owner, done.undo.pk)

    lifecycle.uninstall(story.owner, Install.objects.get().pk)

    plans = InstallPlan.objects.filter(merchant=story.merchant)
    assert {str(plan.payload) for plan in plans} == {"{}"}
    ids = [offered, *(plan.pk for plan in plans)]
    refusals = {refusal(lambda pk=pk: lifecycle.swap(story.owner, pk)) for pk in ids}
    assert refusals == {(412, "plan_stale")}
    assert not Install.objects.exists()


def test_plan_of_another_merchant_and_none_at_all_are_answered_alike(story):
    story.install(story.x, story.jakarta)
    plan = story.refused(story.y).extra["plan"]
    stranger = Api(make_token(make_merchant()))

    foreign = stranger("POST", "installs/swap", {"plan": plan})
    unknown = stranger("POST", "installs/swap", {"plan": str(uuid4())})

    assert code_of(foreign) == (404, "not_found")
    assert foreign.content == unknown.content
    assert lifecycle.swap(story.owner, plan).installed


@pytest.mark.parametrize("role", [Role.MANAGER, Role.VIEWER])
def test_swap_is_for_owners(story, role):
    story.install(story.x, story.jakarta)
    plan = story.refused(story.y).extra["plan"]
    before = rows_of(story.merchant)
    somebody = Api(make_token(story.merchant, role))

    response = somebody("POST", "installs/swap", {"plan": plan})

    assert code_of(response) == (403, "forbidden")
    assert rows_of(story.merchant) == before
    assert InstallPlan.objects.get(pk=plan).used_at is None


@pytest.mark.parametrize("role", [Role.MANAGER, Role.VIEWER])
def test_undo_is_for_owners(story, role):
    story.install(story.x, story.jakarta)
    done = lifecycle.swap(story.owner, story.refused(story.y).extra["plan"])
    somebody = Actor(story.merchant.pk, "somebody", role)

    assert refusal(lambda: lifecycle.swap(somebody, done.undo.pk)) == (403, "forbidden")


def test_manager_may_carry_out_a_plan_that_nobody_leaves_for(story):
    manager = Actor(story.merchant.pk, "manager", Role.MANAGER)
    shown = preview.what_would_happen(
        manager, "install", integration=story.x, config={"api_key": X_KEY}
    )

    done = lifecycle.swap(manager, shown["plan"])

    assert [row.integration for row in done.installed] == [story.x]


def test_stack_that_is_full_offers_one_switch_per_holder(story):
    names = ["qr-a", "qr-b", "qr-c"]
    for name in names:
        make_install(story.merchant, make_integration(name, capabilities=QR))
    fourth = make_integration("qr-d", capabilities=QR, config_schema=SCHEMA)

    error = story.refused(fourth)

    ways = [way for way in error.extra["ways_out"] if way["way"] == "switch"]
    assert [way["instead_of"] for way in ways] == [[name] for name in names]
    assert len({way["plan"] for way in ways}) == 3
    lifecycle.swap(story.owner, ways[1]["plan"])
    assert story.answers("receipt_qr") == {
        place: ["qr-a", "qr-c", "qr-d"] for place in ("Jakarta", "Bali", "Bandung", "later")
    }


def test_exclusive_holders_of_two_places_leave_together(story):
    make_install(story.merchant, make_integration("table", capabilities=TABLE))
    loyal = {"loyalty_provider": 1}
    make_install(story.merchant, make_integration("loyal", capabilities=loyal))
    both = make_integration("both", capabilities=TABLE | loyal, config_schema=SCHEMA)

    error = story.refused(both, story.bali)
    [switch] = [way for way in error.extra["ways_out"] if way["way"] == "switch"]
    lifecycle.swap(story.owner, switch["plan"])

    assert sorted(switch["instead_of"]) == ["loyal", "table"]
    assert story.answers("pay_at_table")["Bali"] == story.answers("loyalty_provider")["Bali"]
    assert story.answers("loyalty_provider")["Jakarta"] == ["loyal"]


def test_settings_of_a_plan_are_checked_when_it_is_carried_out(story):
    shown = preview.what_would_happen(
        story.owner, "install", integration=story.x, config={"greeting": "far too long"}
    )

    with pytest.raises(ApiError) as caught:
        lifecycle.swap(story.owner, shown["plan"])

    assert (caught.value.status, caught.value.code) == (422, "config_invalid")
    assert sorted(caught.value.extra["fields"]) == ["api_key", "greeting"]
    assert not Install.objects.exists()


def test_swap_for_an_integration_that_is_off_the_shelf_is_refused(story):
    story.install(story.x, story.jakarta)
    plan = story.refused(story.y).extra["plan"]
    Integration.objects.filter(pk=story.y.pk).update(status="deprecated")

    refused = refusal(lambda: lifecycle.swap(story.owner, plan))

    assert refused == (403, "integration_disabled")
    assert [row.integration for row in Install.objects.all()] == [story.x]


def test_swap_and_undo_are_on_record(story):
    story.install(story.x)
    done = lifecycle.swap(story.owner, story.refused(story.y, story.bali).extra["plan"])
    lifecycle.swap(story.owner, done.undo.pk)

    entries = AuditEntry.objects.order_by("id").values_list("action", "integration_slug", "actor")
    assert [(action.removeprefix("install."), slug) for action, slug, _actor in entries] == [
        ("created", "table-x"),
        ("removed", "table-x"),
        ("created", "table-x"),
        ("created", "table-x"),
        ("created", "table-y"),
        ("removed", "table-x"),
        ("removed", "table-x"),
        ("removed", "table-y"),
        ("created", "table-x"),
    ]
    assert {actor for *_, actor in entries} == {story.owner.label}


def test_swap_touches_no_other_merchant(story):
    other = make_merchant()
    for integration in (story.x, story.y):
        location = make_location(other)
        lifecycle.install(
            owner_of(other), integration, location_id=location.pk, config={"api_key": X_KEY}
        )
    before = rows_of(other)
    story.install(story.x, story.jakarta)

    lifecycle.swap(story.owner, story.refused(story.y).extra["plan"])

    assert rows_of(other) == before


def columns_of(table: str) -> str:
    with database.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")  # noqa: S608
        return repr(cursor.fetchall())


def test_no_secret_is_readable_in_answers_plans_or_the_audit_log(story, api):
    story.install(story.x)
    asked = {"integration": "table-y", "config": {"api_key": Y_KEY}}
    seen = [
        api("POST", "installs/preview", asked),
        api("POST", "installs/preview", asked | {"instead_of": ["table-x"]}),
        api("POST", "installs", asked),
    ]
    seen.append(api("POST", "installs/swap", {"plan": seen[-1].json()["error"]["plan"]}))
    undo = InstallPlan.objects.get(pk=seen[-1].json()["undo"])
    assert X_KEY in json.dumps(undo.payload)

    readable = "".join(response.content.decode() for response in seen)
    readable += serializers.serialize("json", InstallPlan.objects.all())
    readable += columns_of("install_plan") + columns_of("audit_entry")

    assert X_KEY not in readable
    assert Y_KEY not in readable
    assert [plan.payload for plan in InstallPlan.objects.exclude(used_at=None)] == [{}]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", {}, {"plan": None}, {"plan": "x"}, {"plan": []}]
)
def test_swap_with_a_broken_body_is_refused(api, body):
    assert code_of(api("POST", "installs/swap", body)) == (400, "invalid_payload")


def test_plan_lives_for_half_an_hour(story):
    story.install(story.x, story.jakarta)

    plan = InstallPlan.objects.get(pk=story.refused(story.y).extra["plan"])

    assert abs(plan.expires_at - plan.created_at - timedelta(minutes=30)) < timedelta(seconds=1)


def test_expired_plan_keeps_no_settings():
    merchant = make_merchant()
    holder = make_integration(capabilities={"pay_at_table": 1})
    make_install(merchant, holder)
    with pytest.raises(ApiError):
        make_install(merchant, make_integration(capabilities={"pay_at_table": 1}))
    InstallPlan.objects.update(expires_at=timezone.now())

    closed = plans.close_expired()

    assert closed == 1
    assert [plan.payload for plan in InstallPlan.objects.all()] == [{}]
