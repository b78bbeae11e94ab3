"""All verbs in any order: what was promised before each step is what happens, and the rules of
places hold after it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from catalog.capabilities import CAPABILITIES
from catalog.envelope import ApiError
from catalog.models import Integration
from installs import lifecycle, preview, scope, snapshot
from installs.models import AuditEntry, Install, InstallPlan
from installs.state import state_of
from tests.conftest import ON_POSTGRES
from tests.factories import make_integration, make_location, make_merchant, owner_of
from tests.test_swap import contents

CATALOG = {
    "table-a": {"pay_at_table": 1},
    "table-b": {"pay_at_table": 1, "receipt_qr": 1},
    "text-a": {"receipt_pretext": 1},
    "text-b": {"receipt_pretext": 1, "pay_at_table": 1, "payment_webhook_inbound": 1},
    "qr-a": {"receipt_qr": 1},
    "qr-b": {"receipt_qr": 1, "payment_webhook_inbound": 1},
    "qr-c": {"receipt_qr": 1},
}
SCHEMA = {
    "type": "object",
    "properties": {
        "api_key": {"type": "string", "x-secret": True},
        "greeting": {"type": "string"},
    },
    "required": ["api_key"],
}
UPGRADES = [
    ("table-a", {"pay_at_table": 2}),
    ("table-a", {"pay_at_table": 1, "receipt_pretext": 1}),
    ("text-a", {"receipt_pretext": 1, "pay_at_table": 1}),
    ("text-b", {"payment_webhook_inbound": 1}),
    ("qr-b", {"receipt_qr": 1, "pay_at_table": 1}),
    ("qr-a", {"receipt_qr": 1, "pay_at_table": 1}),
    ("qr-c", {"payment_webhook_inbound": 1}),
]
Standings = dict[tuple[str, str | None], list[tuple[str, bool]]]

merchants = st.sampled_from([0, 0, 0, 1])
slugs = st.sampled_from(list(CATALOG))
outlets = st.sampled_from([None, None, 0, 1, 2, 3])
numbers = st.integers(0, 99)


@dataclass
class Promise:
    """A plan, the rows as they were when it was made, and what was shown of it."""

    plan: UUID
    slug: str
    made_at: Any
    changes: list[dict[str, Any]] | None = None
    # What an undo brings back, down to ids and settings.
    rows: list[dict[str, Any]] | None = None
    undoes: UUID | None = None
    is_over: bool = False


class Lifecycle(RuleBasedStateMachine):
    @initialize(installed=st.lists(st.tuples(slugs, outlets), min_size=3, max_size=7))
    def arrange(self, installed: list[tuple[str, int | None]]) -> None:
        self.example = transaction.atomic()
        self.example.__enter__()
        self.merchants = [make_merchant(), make_merchant()]
        self.owners = [owner_of(merchant) for merchant in self.merchants]
        self.locations = [
            [make_location(merchant) for _ in range(count)]
            for merchant, count in zip(self.merchants, (3, 0), strict=True)
        ]
        self.promises: list[list[Promise]] = [[], []]
        self.secrets = 0
        for slug, outlet in installed:
            self.install(0, slug, outlet)

    def teardown(self) -> None:
        if hasattr(self, "example"):
            transaction.set_rollback(True)
            self.example.__exit__(None, None, None)

    # What there is

    def rows(self, who: int) -> list[dict[str, Any]]:
        rows = Install.objects.for_merchant(self.merchants[who].pk).in_order()
        return [contents(row) for row in rows]

    def facts(self, who: int, slug: str = "") -> Any:
        """Everything a plan relies on; `slug` is what it would install."""
        declared = list(Integration.objects.filter(slug=slug).values_list("capabilities"))
        return self.rows(who), declared, len(self.locations[who])

    def standings(self, who: int) -> Standings:
        state = state_of(self.merchants[who].pk)
        return {
            (capability, str(location) if location else None): [
                (seat.install.integration, seat.answers)
                for seat in scope.seats(state.scoped, capability, location)
            ]
            for capability in CAPABILITIES
            for location in (*state.locations, None)
        }

    def audited(self, who: int) -> int:
        return AuditEntry.objects.for_merchant(self.merchants[who].pk).count()

    def place(self, who: int, outlet: int | None) -> Any:
        locations = self.locations[who]
        if outlet is None or not locations:
            return None
        return locations[outlet % len(locations)].pk

    def row(self, who: int, number: int) -> Install | None:
        rows = list(Install.objects.for_merchant(self.merchants[who].pk).in_order())
        return rows[number % len(rows)] if rows else None

    def new_config(self) -> dict[str, str]:
        self.secrets += 1
        return {"api_key": f"secret-{self.secrets}-of-a-merchant"}

    # What is asked, and what is held against it

    def preview(self, who: int, action: str, **about: Any) -> dict[str, Any] | str:
        """The preview, or the code of its refusal; it changes nothing but the list of plans."""
        before = self.facts(who), self.audited(who)
        try:
            return preview.what_would_happen(self.owners[who], action, **about)
        except ApiError as error:
            return error.code
        finally:
            assert (self.facts(who), self.audited(who)) == before

    def act(self, who: int, verb: Any, shown: list[dict[str, Any]] | None) -> Any:
        """Do it. Either it is refused and nothing happened, or what was shown comes true."""
        other = 1 - who
        before, audited, rows = self.standings(who), self.audited(who), self.rows(who)
        untouched = self.rows(other), self.audited(other)
        try:
            done = verb()
        except ApiError as error:
            assert (self.rows(who), self.audited(who)) == (rows, audited)
            return error
        finally:
            assert (self.rows(other), self.audited(other)) == untouched
        assert (self.audited(who) > audited) == (self.rows(who) != rows)
        if shown is not None:
            assert self.standings(who) == expected(before, shown)
        return done

    def promise(self, who: int, plan: UUID, slug: str, **more: Any) -> None:
        self.promises[who].append(Promise(plan, slug, self.facts(who, slug), **more))

    # The verbs

    @rule(who=merchants, slug=slugs, outlet=outlets)
    def install(self, who: int, slug: str, outlet: int | None) -> None:
        integration, location_id = Integration.objects.get(slug=slug), self.place(who, outlet)
        config = self.new_config()
        about = {"integration": integration, "location_id": location_id, "config": config}
        shown = self.preview(who, "install", **about)
        refused = isinstance(shown, str) or bool(shown["conflicts"])

        done = self.act(
            who,
            lambda: lifecycle.install(
                self.owners[who], integration, location_id=location_id, config=config
            ),
            None if isinstance(shown, str) or refused else shown["changes"],
        )

        assert isinstance(done, ApiError) == refused
        if isinstance(shown, str):
            assert done.code == shown
        elif refused:
            assert (done.code, done.extra["conflicts"]) == (
                "capability_conflict",
                shown["conflicts"],
            )
            assert [way | {"plan": None} for way in done.extra["ways_out"]] == [
                way | {"plan": None} for way in shown["ways_out"]
            ]
            self.take_offers(who, about, done.extra["ways_out"])
        else:
            assert shown["plan"]

    def take_offers(self, who: int, about: dict[str, Any], ways: list[dict[str, Any]]) -> None:
        slug = about["integration"].slug
        for way in ways:
            if way["way"] == "switch":
                shown = self.preview(who, "install", **about, instead_of=way["instead_of"])
                assert isinstance(shown, dict)
                assert (shown["conflicts"], shown["ways_out"]) == ([], [])
                self.promise(who, UUID(way["plan"]), slug, changes=shown["changes"])
                self.promise(who, UUID(shown["plan"]), slug, changes=shown["changes"])
            elif way["way"] == "only_at":
                for location in way["locations"]:
                    at = about | {"location_id": self.by_id(who, location["id"])}
                    only = self.preview(who, "install", **at)
                    assert (
                        only == "already_installed"
                        if isinstance(only, str)
                        else not only["conflicts"]
                    )

    def by_id(self, who: int, location_id: str) -> Any:
        return next(item.pk for item in self.locations[who] if str(item.pk) == location_id)

    @rule(who=merchants, slug=slugs, outlet=outlets)
    def plan_an_install(self, who: int, slug: str, outlet: int | None) -> None:
        about = {
            "integration": Integration.objects.get(slug=slug),
            "location_id": self.place(who, outlet),
            "config": self.new_config(),
        }
        shown = self.preview(who, "install", **about)
        if isinstance(shown, dict) and not shown["conflicts"]:
            self.promise(who, UUID(shown["plan"]), slug, changes=shown["changes"])

    @precondition(lambda self: any(self.promises))
    @rule(who=merchants, number=numbers)
    def swap_newest(self, who: int, number: int) -> None:
        if self.promises[who]:
            self.carry_out(who, self.promises[who][-1 - number % min(3, len(self.promises[who]))])

    @precondition(lambda self: any(self.promises))
    @rule(who=merchants, number=numbers)
    def swap_any(self, who: int, number: int) -> None:
        if self.promises[who]:
            self.carry_out(who, self.promises[who][number % len(self.promises[who])])

    def carry_out(self, who: int, promise: Promise) -> None:
        rows = self.rows(who)
        is_fresh = not promise.is_over and promise.made_at == self.facts(who, promise.slug)

        done = self.act(
            who, lambda: lifecycle.swap(self.owners[who], promise.plan), promise.changes
        )

        if not is_fresh:
            assert (done.status, done.code) == (412, "plan_stale")
            return
        assert not isinstance(done, ApiError), done
        promise.is_over = True
        if promise.undoes is not None:
            assert self.rows(who) == promise.rows
            origin = promise.undoes
            again = self.act(who, lambda: lifecycle.swap(self.owners[who], origin), [])
            assert (again.status, again.code) == (412, "plan_stale")
        self.promise(who, done.undo.pk, "", rows=rows, undoes=promise.plan)

    @precondition(lambda self: self.promises[0])
    @rule()
    def plan_of_another_merchant_is_not_found(self) -> None:
        plan = self.promises[0][-1].plan
        found = self.act(1, lambda: lifecycle.swap(self.owners[1], plan), [])
        assert (found.status, found.code) == (404, "not_found")

    @rule(who=merchants, number=numbers)
    def configure(self, who: int, number: int) -> None:
        row = self.row(who, number)
        if row is not None:
            config = self.new_config()
            self.act(who, lambda: lifecycle.configure(self.owners[who], row.pk, config), [])
            assert Install.objects.get(pk=row.pk).config == config

    @rule(who=merchants, number=numbers, is_on=st.booleans())
    def switch(self, who: int, number: int, is_on: bool) -> None:
        row = self.row(who, number)
        if row is None:
            return
        action, verb = ("enable", lifecycle.enable) if is_on else ("disable", lifecycle.disable)
        shown = self.preview(who, action, install_id=row.pk)
        assert isinstance(shown, dict)
        done = self.act(who, lambda: verb(self.owners[who], row.pk), shown["changes"])
        assert done.is_enabled is is_on

    @rule(who=merchants, number=numbers)
    def uninstall(self, who: int, number: int) -> None:
        row = self.row(who, number)
        if row is None:
            return
        shown = self.preview(who, "uninstall", install_id=row.pk)
        assert isinstance(shown, dict)
        done = self.act(
            who, lambda: lifecycle.uninstall(self.owners[who], row.pk), shown["changes"]
        )
        if shown["conflicts"]:
            assert done.extra["conflicts"] == shown["conflicts"]
            return
        assert done is None
        assert not Install.objects.filter(pk=row.pk).exists()
        plans = InstallPlan.objects.filter(merchant=self.merchants[who])
        assert {plan.used_at is not None for plan in plans} <= {True}
        assert {str(plan.payload) for plan in plans} <= {"{}"}
        for promise in self.promises[who]:
            promise.is_over = True

    @rule(upgrade=st.sampled_from(UPGRADES))
    def upgrade_the_catalog(self, upgrade: tuple[str, dict[str, int]]) -> None:
        slug, capabilities = upgrade
        Integration.objects.filter(slug=slug).update(capabilities=capabilities)

    @rule(who=merchants, number=numbers)
    def accept_versions(self, who: int, number: int) -> None:
        row = self.row(who, number)
        if row is not None:
            self.act(who, lambda: lifecycle.accept_versions(self.owners[who], row.pk), None)

    @precondition(lambda self: len(self.locations[0]) < 4)
    @rule()
    def open_an_outlet(self) -> None:
        before = self.standings(0)
        location = make_location(self.merchants[0])
        self.locations[0].append(location)
        later = {name: row for (name, where), row in before.items() if where is None}
        assert {
            name: row for (name, at), row in self.standings(0).items() if at == str(location.pk)
        } == later

    # What always holds

    @invariant()
    def no_place_is_taken_twice(self) -> None:
        for who in range(2) if hasattr(self, "merchants") else ():
            state = state_of(self.merchants[who].pk)
            for location in (*state.locations, None):
                for name, capability in CAPABILITIES.items():
                    seats = scope.seats(state.scoped, name, location)
                    assert capability.places is None or len(seats) <= capability.places
                    assert all(seat.reason is not scope.Reason.CAP_REACHED for seat in seats)

    @invariant()
    def tills_are_answered_by_what_is_installed(self) -> None:
        for who in range(2) if hasattr(self, "merchants") else ():
            seen = snapshot.current(self.merchants[who].pk)
            assert seen is not None
            state = state_of(self.merchants[who].pk)
            for location in state.locations:
                for name in CAPABILITIES:
                    assert [row.id for row in scope.answering(seen.scoped, name, location)] == [
                        row.id for row in scope.answering(state.scoped, name, location)
                    ]
            for row in state.rows.values():
                assert seen.installs[row.pk].config == row.config


def expected(before: Standings, changes: list[dict[str, Any]]) -> Standings:
    after = dict(before)
    for change in changes:
        key = (change["capability"], change["location"]["id"])
        assert before[key] == [(seat["integration"], seat["answers"]) for seat in change["before"]]
        after[key] = [(seat["integration"], seat["answers"]) for seat in change["after"]]
    return after


@pytest.mark.django_db
def test_lifecycle_keeps_its_promises_in_any_order():
    for slug, capabilities in CATALOG.items():
        make_integration(slug, capabilities=capabilities, config_schema=SCHEMA)

    run_state_machine_as_test(
        Lifecycle,
        # The same walks in every run: a red one is the fault of the change at hand.
        settings=settings(
            max_examples=15 if ON_POSTGRES else 30,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            # Shrinking takes minutes on a database; the steps of the red walk are printed anyway.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
