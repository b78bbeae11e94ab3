"""Several people at once, on threads and connections of their own: one is first, and the others are
told so in the words of the API."""

import json
import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.test import Client

from catalog.capabilities import CAPABILITIES
from catalog.envelope import ApiError
from installs import lifecycle, scope
from installs.models import AuditEntry, Install, Merchant
from installs.state import state_of
from tests.conftest import ON_POSTGRES
from tests.factories import (
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
    owner_of,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
# SQLite lets one writer in at a time, whoever wrote the code; PostgreSQL is where races are found.
ROUNDS, LONG_ROUNDS, CROWDS = (200, 40, 15) if ON_POSTGRES else (20, 8, 2)
# `make races` asks for more rounds of what takes long.
LONG_ROUNDS = int(os.environ.get("RACE_ROUNDS", LONG_ROUNDS))
CROWDS = int(os.environ.get("RACE_ROUNDS", CROWDS))
TABLE, QR = {"pay_at_table": 1}, {"receipt_qr": 1}
Act = Callable[[], Any]


def race(rounds: list[list[Act]]) -> list[tuple[str, ...]]:
    """Per round what became of each act, all of them started together."""
    racers = len(rounds[0])
    start = threading.Barrier(racers)

    def run(number: int) -> list[str]:
        try:
            return [outcome(start, acts[number]) for acts in rounds]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(racers) as pool:
        by_racer = list(pool.map(run, range(racers)))
    return list(zip(*by_racer, strict=True))


def outcome(start: threading.Barrier, act: Act) -> str:
    start.wait(60)
    try:
        return act() if isinstance(act, Posting) else (act(), "done")[1]
    except ApiError as error:
        return error.code
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"


class Posting:
    """A POST of the API whose outcome is its status and code."""

    def __init__(self, token: str, path: str, **body: Any) -> None:
        self.headers = {"Authorization": f"Bearer {token}"}
        self.path, self.body = path, json.dumps(body)

    def __call__(self) -> str:
        response = Client(raise_request_exception=False).post(
            f"/v1/{self.path}", self.body, content_type="application/json", headers=self.headers
        )
        code = response.json().get("error", {}).get("code", "done")
        return f"{response.status_code} {code}"


def installing(merchant: Merchant, integration: Any, location_id: Any = None) -> Act:
    actor = owner_of(merchant)
    return lambda: lifecycle.install(actor, integration, location_id=location_id)


def assert_no_place_taken_twice(merchant: Merchant) -> None:
    state = state_of(merchant.pk)
    for location in (*state.locations, None):
        for name, capability in CAPABILITIES.items():
            seats = scope.seats(state.scoped, name, location)
            assert capability.places is None or len(seats) <= capability.places
    assert len({(row.integration, row.location) for row in state.scoped}) == len(state.scoped)


def sorted_outcomes(outcomes: list[tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(sorted(item)) for item in outcomes)


@pytest.mark.parametrize("scopes", ["same location", "all and one", "all and all"])
def test_two_exclusive_installs_at_once_are_one_install_and_one_conflict(scopes):
    first, second = (make_integration(capabilities=TABLE) for _ in range(2))
    merchants = [make_merchant() for _ in range(ROUNDS // 2)]
    rounds = []
    for merchant in merchants:
        location = make_location(merchant).pk
        where = {
            "same location": (location, location),
            "all and one": (None, location),
            "all and all": (None, None),
        }[scopes]
        rounds.append(
            [installing(merchant, first, where[0]), installing(merchant, second, where[1])]
        )

    outcomes = race(rounds)

    assert sorted_outcomes(outcomes) == {("capability_conflict", "done"): len(rounds)}
    assert Install.objects.count() == len(rounds)


def test_two_exclusive_installs_over_the_api_are_one_201_and_one_409():
    slugs = [make_integration(capabilities=TABLE).slug for _ in range(2)]
    merchants = [make_merchant() for _ in range(ROUNDS)]
    tokens = [make_token(merchant) for merchant in merchants]

    outcomes = race(
        [[Posting(token, "installs", integration=slug) for slug in slugs] for token in tokens]
    )

    assert sorted_outcomes(outcomes) == {("201 done", "409 capability_conflict"): ROUNDS}
    assert Install.objects.count() == ROUNDS


def test_installs_in_different_locations_at_once_both_happen():
    integrations = [make_integration(capabilities=TABLE) for _ in range(2)]
    merchants = [make_merchant() for _ in range(LONG_ROUNDS)]

    outcomes = race(
        [
            [installing(merchant, item, make_location(merchant).pk) for item in integrations]
            for merchant in merchants
        ]
    )

    assert sorted_outcomes(outcomes) == {("done", "done"): LONG_ROUNDS}


def test_20_installs_at_once_for_three_places_are_three():
    integrations = [make_integration(capabilities=QR) for _ in range(20)]
    merchants = [make_merchant() for _ in range(CROWDS)]

    outcomes = race(
        [[installing(merchant, item) for item in integrations] for merchant in merchants]
    )

    expected = ("capability_conflict",) * 17 + ("done",) * 3
    assert sorted_outcomes(outcomes) == {expected: CROWDS}
    for merchant in merchants:
        assert Install.objects.for_merchant(merchant.pk).count() == 3
        assert_no_place_taken_twice(merchant)


def test_20_installs_over_the_api_for_three_places_are_three_201():
    slugs = [make_integration(capabilities=QR).slug for _ in range(20)]
    token = make_token(make_merchant())

    [outcomes] = race([[Posting(token, "installs", integration=slug) for slug in slugs]])

    assert Counter(outcomes) == {"201 done": 3, "409 capability_conflict": 17}


@pytest.mark.parametrize("is_local", [False, True])
def test_20_identical_installs_at_once_are_one(is_local):
    integration = make_integration(capabilities=QR)
    merchants = [make_merchant() for _ in range(CROWDS)]
    places = [make_location(merchant).pk if is_local else None for merchant in merchants]

    outcomes = race(
        [
            [installing(merchant, integration, place)] * 20
            for merchant, place in zip(merchants, places, strict=True)
        ]
    )

    assert sorted_outcomes(outcomes) == {("already_installed",) * 19 + ("done",): CROWDS}
    assert Install.objects.count() == AuditEntry.objects.count() == CROWDS


class Held:
    """A merchant whose place is held by `x`, and the plan to give it to `y`."""

    def __init__(self, x: Any, y: Any) -> None:
        self.merchant = make_merchant()
        self.owner = owner_of(self.merchant)
        self.location = make_location(self.merchant)
        make_location(self.merchant)
        self.x = make_install(self.merchant, x)
        self.plan = self.plan_for(y)

    def plan_for(self, integration: Any) -> UUID:
        with pytest.raises(ApiError) as caught:
            lifecycle.install(self.owner, integration, location_id=self.location.pk)
        return UUID(caught.value.extra["plan"])

    def swap(self) -> Any:
        return lifecycle.swap(self.owner, self.plan)


def table_integrations(count: int) -> list[Any]:
    return [make_integration(capabilities=TABLE) for _ in range(count)]


RIVALS = {
    "disable": (lambda held: lifecycle.disable(held.owner, held.x.pk), "not_found"),
    "uninstall": (lambda held: lifecycle.uninstall(held.owner, held.x.pk), "not_found"),
    "configure": (lambda held: lifecycle.configure(held.owner, held.x.pk, {}), "not_found"),
    "swap": (lambda held: held.swap(), "plan_stale"),
}


@pytest.mark.parametrize("rival", RIVALS)
def test_swap_against_another_change_of_the_holder_one_wins(rival):
    x, y = table_integrations(2)
    act, code_when_late = RIVALS[rival]
    all_held = [Held(x, y) for _ in range(LONG_ROUNDS)]

    outcomes = race([[held.swap, lambda held=held: act(held)] for held in all_held])

    assert set(outcomes) <= {("done", code_when_late), ("plan_stale", "done")}
    for held, (swapped, _other) in zip(all_held, outcomes, strict=True):
        assert_no_place_taken_twice(held.merchant)
        has_y = Install.objects.for_merchant(held.merchant.pk).filter(integration=y).exists()
        has_old_row = Install.objects.filter(pk=held.x.pk).exists()
        is_swapped = swapped == "done" or rival == "swap"
        assert has_y is is_swapped
        assert has_old_row is (not is_swapped and rival != "uninstall")


def test_two_plans_for_one_place_at_once_one_wins():
    x, y, z = table_integrations(3)
    all_held = [Held(x, y) for _ in range(LONG_ROUNDS)]
    others = [held.plan_for(z) for held in all_held]

    outcomes = race(
        [
            [held.swap, lambda held=held, plan=plan: lifecycle.swap(held.owner, plan)]
            for held, plan in zip(all_held, others, strict=True)
        ]
    )

    assert sorted_outcomes(outcomes) == {("done", "plan_stale"): LONG_ROUNDS}
    for held in all_held:
        assert_no_place_taken_twice(held.merchant)


def test_swap_against_an_install_for_the_same_place_leaves_one_holder():
    x, y, z = table_integrations(3)
    all_held = [Held(x, y) for _ in range(LONG_ROUNDS)]

    outcomes = race(
        [[held.swap, installing(held.merchant, z, held.location.pk)] for held in all_held]
    )

    assert set(outcomes) == {("done", "capability_conflict")}
    for held in all_held:
        assert_no_place_taken_twice(held.merchant)


def test_swap_against_an_install_beside_it_is_done_or_stale():
    x, y = table_integrations(2)
    beside = make_integration(capabilities=QR)
    all_held = [Held(x, y) for _ in range(LONG_ROUNDS)]

    outcomes = race([[held.swap, installing(held.merchant, beside)] for held in all_held])

    assert set(outcomes) <= {("done", "done"), ("plan_stale", "done")}
    for held in all_held:
        assert_no_place_taken_twice(held.merchant)


def test_swap_over_the_api_twice_at_once_is_one_200_and_one_412():
    x, y = table_integrations(2)
    all_held = [Held(x, y) for _ in range(LONG_ROUNDS)]
    tokens = [make_token(held.merchant) for held in all_held]

    outcomes = race(
        [
            [Posting(token, "installs/swap", plan=str(held.plan))] * 2
            for held, token in zip(all_held, tokens, strict=True)
        ]
    )

    assert sorted_outcomes(outcomes) == {("200 done", "412 plan_stale"): LONG_ROUNDS}


def test_undo_against_uninstall_of_what_came_one_wins():
    x, y = table_integrations(2)
    all_held = [Held(x, y) for _ in range(LONG_ROUNDS)]
    done = [held.swap() for held in all_held]

    outcomes = race(
        [
            [
                lambda held=held, undo=item.undo.pk: lifecycle.swap(held.owner, undo),
                lambda held=held, new=item.installed[-1].pk: lifecycle.uninstall(held.owner, new),
            ]
            for held, item in zip(all_held, done, strict=True)
        ]
    )

    assert set(outcomes) <= {("done", "not_found"), ("plan_stale", "done")}
    for held, (undone, _other) in zip(all_held, outcomes, strict=True):
        assert Install.objects.filter(pk=held.x.pk).exists() is (undone == "done")
        assert_no_place_taken_twice(held.merchant)
