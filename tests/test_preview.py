"""What would happen, before it happens: location by capability, with conflicts and ways out."""

from typing import Any
from uuid import uuid4

import pytest

from installs.models import AuditEntry, Install, InstallPlan, Merchant, Role
from tests.factories import (
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
)
from tests.test_api import Api, code_of
from tests.test_swap import contents

pytestmark = pytest.mark.django_db
TABLE, QR, LOYAL = {"pay_at_table": 1}, {"receipt_qr": 1}, {"loyalty_provider": 1}
NOWHERE = "00000000-0000-4000-8000-000000000000"
LATER = {"id": None, "name": "Outlets that open later"}


@pytest.fixture
def merchant():
    return make_merchant()


@pytest.fixture
def jakarta(merchant):
    return make_location(merchant, name="Senopati", city="Jakarta")


@pytest.fixture
def bali(merchant, jakarta):
    return make_location(merchant, name="Ubud", city="Bali")


@pytest.fixture
def ask(merchant):
    return asking(make_token(merchant))


def asking(token: str) -> Any:
    api = Api(token)

    def ask(**body: Any) -> Any:
        return api("POST", "installs/preview", body)

    return ask


def shown(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.content
    body = response.json()
    assert sorted(body) == ["changes", "conflicts", "plan", "ways_out"]
    return body


def where(location: Any) -> dict[str, Any]:
    return {"id": str(location.pk), "name": str(location)}


def seat(row: Install, reason: str) -> dict[str, Any]:
    return {
        "integration": row.integration.slug,
        "install_id": str(row.pk),
        "answers": reason.startswith("answers"),
        "reason": reason,
    }


def reasons(change: dict[str, Any], when: str) -> list[tuple[str, str]]:
    return [(item["integration"], item["reason"]) for item in change[when]]


def test_preview_of_a_first_install_shows_every_outlet_and_those_to_come(ask, jakarta, bali):
    make_integration("table", capabilities=TABLE)

    body = shown(ask(integration="table"))

    assert [change["location"] for change in body["changes"]] == [
        where(jakarta),
        where(bali),
        LATER,
    ]
    for change in body["changes"]:
        assert (change["capability"], change["mode"], change["before"]) == (
            "pay_at_table",
            "replace",
            [],
        )
        assert reasons(change, "after") == [("table", "answers_everywhere")]
    assert (body["conflicts"], body["ways_out"]) == ([], [])
    assert InstallPlan.objects.get().pk.hex == body["plan"].replace("-", "")


def test_preview_of_an_install_for_one_outlet_shows_that_outlet(ask, jakarta, bali):
    make_integration("qr", capabilities=QR)

    body = shown(ask(action="install", integration="qr", location_id=str(bali.pk)))

    [change] = body["changes"]
    assert change["location"] == where(bali)
    assert reasons(change, "after") == [("qr", "answers_here")]


def test_preview_without_outlets_shows_those_to_come(ask):
    make_integration("qr", capabilities=QR)

    assert [item["location"] for item in shown(ask(integration="qr"))["changes"]] == [LATER]


def test_preview_names_capabilities_in_the_order_of_the_registry(ask, jakarta):
    make_integration("all", capabilities=LOYAL | TABLE | QR)

    body = shown(ask(integration="all", location_id=str(jakarta.pk)))

    assert [item["capability"] for item in body["changes"]] == [
        "receipt_qr",
        "pay_at_table",
        "loyalty_provider",
    ]


def test_preview_of_an_override_changes_nobody(ask, merchant, jakarta, bali):
    qr = make_integration("qr", capabilities=QR)
    make_install(merchant, qr)

    body = shown(ask(integration="qr", location_id=str(bali.pk)))

    assert (body["changes"], body["conflicts"]) == ([], [])
    assert body["plan"]


def test_preview_of_an_install_that_is_there_says_so(ask, merchant, jakarta):
    make_install(merchant, make_integration("qr", capabilities=QR))

    assert code_of(ask(integration="qr")) == (409, "already_installed")


def test_preview_of_a_conflict_shows_it_and_the_ways_out(ask, merchant, jakarta, bali):
    holder = make_install(merchant, make_integration("x", capabilities=TABLE), jakarta.pk)
    make_integration("y", capabilities=TABLE)

    body = shown(ask(integration="y"))

    assert body["conflicts"] == [
        {
            "capability": "pay_at_table",
            "mode": "replace",
            "places": 1,
            "locations": [where(jakarta)],
            "holders": [
                {
                    "install_id": str(holder.pk),
                    "integration": "x",
                    "location_id": str(jakarta.pk),
                    "enabled": True,
                }
            ],
        }
    ]
    assert [way["way"] for way in body["ways_out"]] == ["switch", "keep", "only_at"]
    assert body["plan"] == body["ways_out"][0]["plan"]
    assert body["ways_out"][2]["locations"] == [where(bali)]
    [crowded] = [item for item in body["changes"] if item["location"] == where(jakarta)]
    assert reasons(crowded, "after") == [("x", "answers_here"), ("y", "cap_reached")]


def test_preview_of_a_switch_shows_who_leaves_and_who_stays(ask, merchant, jakarta, bali):
    holder = make_install(merchant, make_integration("x", capabilities=TABLE | QR))
    make_install(merchant, make_integration("qr", capabilities=QR))
    make_integration("y", capabilities=TABLE)

    body = shown(ask(integration="y", location_id=str(bali.pk), instead_of=["x"]))

    assert (body["conflicts"], body["ways_out"]) == ([], [])
    told = {
        (item["capability"], item["location"]["name"]): (
            reasons(item, "before"),
            reasons(item, "after"),
        )
        for item in body["changes"]
    }
    x, qr = (("x", "answers_everywhere"), ("qr", "answers_everywhere"))
    # Jakarta is not among them: there x goes on in its old place, from a row of its own.
    assert told == {
        ("receipt_qr", "Ubud, Bali"): ([x, qr], [qr]),
        ("receipt_qr", LATER["name"]): ([x, qr], [qr]),
        ("pay_at_table", "Ubud, Bali"): ([x], [("y", "answers_here")]),
        ("pay_at_table", LATER["name"]): ([x], []),
    }
    assert body["changes"][0]["before"][0] == seat(holder, "answers_everywhere")
    assert InstallPlan.objects.get(pk=body["plan"]).instead_of == ["x"]


def test_preview_of_half_a_switch_offers_the_whole_one(ask, merchant, jakarta):
    make_install(merchant, make_integration("table", capabilities=TABLE))
    make_install(merchant, make_integration("loyal", capabilities=LOYAL))
    make_integration("both", capabilities=TABLE | LOYAL)

    body = shown(ask(integration="both", instead_of=["table"]))

    assert [item["capability"] for item in body["conflicts"]] == ["loyalty_provider"]
    [switch] = [way for way in body["ways_out"] if way["way"] == "switch"]
    assert sorted(switch["instead_of"]) == ["loyal", "table"]
    assert body["plan"] == switch["plan"]


def test_preview_leaves_alone_who_does_not_stand_in_the_way(ask, merchant, jakarta):
    make_install(merchant, make_integration("qr", capabilities=QR))
    make_integration("y", capabilities=TABLE)

    body = shown(ask(integration="y", instead_of=["qr", "nobody"]))

    assert {item["capability"] for item in body["changes"]} == {"pay_at_table"}
    assert InstallPlan.objects.get().instead_of == []


def test_preview_of_a_full_stack_offers_each_holder(ask, merchant, jakarta):
    names = ["a", "b", "c"]
    for name in names:
        make_install(merchant, make_integration(name, capabilities=QR))
    make_integration("d", capabilities=QR)

    body = shown(ask(integration="d"))

    assert [way.get("instead_of") for way in body["ways_out"]] == [["a"], ["b"], ["c"], None]
    assert body["conflicts"][0]["places"] == 3
    assert [holder["integration"] for holder in body["conflicts"][0]["holders"]] == names


def test_preview_of_disable_shows_who_falls_silent(ask, merchant, jakarta):
    row = make_install(merchant, make_integration("x", capabilities=TABLE), jakarta.pk)

    body = shown(ask(action="disable", install_id=str(row.pk)))

    assert body == {
        "plan": None,
        "changes": [
            {
                "capability": "pay_at_table",
                "mode": "replace",
                "location": where(jakarta),
                "before": [seat(row, "answers_here")],
                "after": [seat(row, "disabled_here")],
            }
        ],
        "conflicts": [],
        "ways_out": [],
    }


def test_preview_of_enable_shows_who_answers_again(ask, merchant, jakarta):
    row = make_install(merchant, make_integration("x", capabilities=TABLE), is_enabled=False)

    body = shown(ask(action="enable", install_id=str(row.pk)))

    assert [(reasons(item, "before"), reasons(item, "after")) for item in body["changes"]] == [
        ([("x", "disabled_everywhere")], [("x", "answers_everywhere")])
    ] * 2


@pytest.mark.parametrize(("action", "is_enabled"), [("enable", True), ("disable", False)])
def test_preview_of_what_is_so_already_changes_nothing(ask, merchant, jakarta, action, is_enabled):
    row = make_install(merchant, make_integration("x"), is_enabled=is_enabled)

    assert shown(ask(action=action, install_id=str(row.pk)))["changes"] == []


def test_preview_of_uninstall_shows_the_merchant_wide_row_taking_over(ask, merchant, jakarta, bali):
    x = make_integration("x", capabilities=TABLE)
    make_install(merchant, x)
    row = make_install(merchant, x, bali.pk, is_enabled=False)

    body = shown(ask(action="uninstall", install_id=str(row.pk)))

    [change] = body["changes"]
    assert change["location"] == where(bali)
    assert reasons(change, "before") == [("x", "disabled_here")]
    assert reasons(change, "after") == [("x", "answers_everywhere")]
    assert body["plan"] is None


def test_uninstall_that_would_seat_two_is_shown_and_refused(ask, merchant, jakarta, bali):
    """The row for Bali speaks older versions than the merchant-wide one, and left a place free."""
    x = make_integration("x", capabilities=QR)
    make_install(merchant, x, capability_versions=QR | TABLE)
    row = make_install(merchant, x, bali.pk)
    holder = make_install(merchant, make_integration("y", capabilities=TABLE), bali.pk)

    body = shown(ask(action="uninstall", install_id=str(row.pk)))
    refused = Api(make_token(merchant))("DELETE", f"installs/{row.pk}")

    assert code_of(refused) == (409, "capability_conflict")
    assert refused.json()["error"]["conflicts"] == body["conflicts"]
    [conflict] = body["conflicts"]
    assert (conflict["capability"], conflict["locations"]) == ("pay_at_table", [where(bali)])
    assert [item["install_id"] for item in conflict["holders"]] == [str(holder.pk)]
    assert Install.objects.filter(pk=row.pk).exists()


def facts() -> tuple[Any, ...]:
    return (
        [contents(row) for row in Install.objects.all()],
        list(AuditEntry.objects.values()),
        list(Merchant.objects.values()),
    )


@pytest.mark.parametrize("action", ["install", "enable", "disable", "uninstall"])
def test_preview_changes_nothing_but_the_list_of_plans(ask, merchant, jakarta, action):
    row = make_install(merchant, make_integration("x", capabilities=TABLE))
    make_integration("y", capabilities=TABLE)
    before = facts()

    about = {"integration": "y"} if action == "install" else {"install_id": str(row.pk)}
    shown(ask(action=action, **about))

    assert facts() == before
    assert InstallPlan.objects.count() == (1 if action == "install" else 0)


@pytest.mark.parametrize(
    "body",
    [
        {"integration": "nobody"},
        {"integration": "hidden"},
        {},
        {"integration": "qr", "location_id": NOWHERE},
        {"integration": "qr", "merchant_id": NOWHERE},
        {"action": "enable"},
        {"action": "enable", "install_id": NOWHERE},
        {"action": "disable", "install_id": NOWHERE},
        {"action": "uninstall", "install_id": NOWHERE},
    ],
)
def test_preview_of_what_is_unknown_is_not_found(ask, body):
    make_integration("qr")
    make_integration("hidden", status="draft")

    assert code_of(ask(**body)) == (404, "not_found")
    assert not InstallPlan.objects.exists()


def test_preview_of_another_merchants_rows_is_answered_like_unknown_ones(ask):
    other = make_merchant()
    integration = make_integration("qr")
    row = make_install(other, integration)
    outlet = make_location(other)

    pairs = [
        ({"action": "disable", "install_id": str(row.pk)}, {"install_id": str(uuid4())}),
        (
            {"integration": "qr", "location_id": str(outlet.pk)},
            {"location_id": str(uuid4())},
        ),
        ({"integration": "qr", "merchant_id": str(other.pk)}, {"merchant_id": str(uuid4())}),
    ]

    for foreign, unknown in pairs:
        assert code_of(ask(**foreign)) == (404, "not_found")
        assert ask(**foreign).content == ask(**(foreign | unknown)).content


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'{"action": "explode"}',
        b'{"integration": 7, "location_id": "x"}',
        b'{"integration": ["qr"]}',
        b'{"integration": "qr", "config": "none"}',
        b'{"integration": "qr", "instead_of": "qr"}',
        b'{"integration": "qr", "instead_of": [{}]}',
        b'{"action": "disable", "install_id": "x"}',
        b'{"integration": "qr", "merchant_id": []}',
        b'{"integration": "qr", "integration": "qr"}',
        b'{"integration": "\xff"}',
        b'{"integration": "qr\\u0000"}',
    ],
)
def test_preview_with_a_broken_body_is_refused(merchant, body):
    make_integration("qr")

    response = Api(make_token(merchant))("POST", "installs/preview", body)

    assert code_of(response) == (400, "invalid_payload")
    assert not InstallPlan.objects.exists()


def test_preview_is_for_those_with_a_token():
    assert code_of(Api(None)("POST", "installs/preview", {})) == (401, "unauthenticated")


def test_viewer_may_look_but_not_swap(merchant, jakarta):
    make_integration("qr")
    token = make_token(merchant, Role.VIEWER)

    body = shown(asking(token)(integration="qr"))
    swapped = Api(token)("POST", "installs/swap", {"plan": body["plan"]})

    assert code_of(swapped) == (403, "forbidden")
    assert not Install.objects.exists()


def test_token_of_every_merchant_says_which_one(merchant, jakarta):
    make_integration("qr")
    ask = asking(make_token())

    assert code_of(ask(integration="qr")) == (400, "invalid_payload")
    assert shown(ask(integration="qr", merchant_id=str(merchant.pk)))["plan"]


def test_preview_of_a_plan_comes_true(ask, merchant, jakarta, bali):
    make_install(merchant, make_integration("x", capabilities=TABLE), jakarta.pk)
    make_integration("y", capabilities=TABLE)
    api = Api(make_token(merchant))
    body = shown(ask(integration="y", instead_of=["x"]))

    [came] = api("POST", "installs/swap", {"plan": body["plan"]}).json()["installed"]

    again = shown(ask(action="disable", install_id=came["id"]))
    assert [reasons(item, "before") for item in again["changes"]] == [
        reasons(item, "after") for item in body["changes"]
    ]
