"""What partners tell becomes rows that the POS takes over, once each and in order."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections, transaction
from django.test import Client
from django.utils import timezone

from dispatch.operations import channels, reservations
from installs.models import AuditEntry, Install
from tests.factories import (
    make_inbound,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
)
from tests.inbox import EXAMPLES, make_order_event, order, row_of, supply, tell
from webhooks import inbound, retention
from webhooks.models import InboundEvent, InboundIncident, InboxRow

pytestmark = pytest.mark.django_db

CAPABILITIES = {
    "order_inbound": 1,
    "reservation_provider": 1,
    "inventory_replenish_inbound": 1,
    "notification_provider": 1,
    "payment_webhook_inbound": 1,
    "tax_invoice_provider": 1,
    "staff_schedule_import": 1,
}
# Of which a merchant may have several.
ADDED = {"order_inbound": 1, "inventory_replenish_inbound": 1}
SETTINGS = {
    "type": "object",
    "properties": {
        "variance_percent": {"type": "integer", "minimum": 0, "maximum": 100},
        "auto_availability": {"type": "boolean"},
        "accept_minutes": {"type": "integer", "minimum": 1, "maximum": 120},
    },
}


@pytest.fixture
def install() -> Install:
    integration = make_integration(capabilities=CAPABILITIES, config_schema=SETTINGS)
    return make_install(make_merchant(), integration)


class Pos:
    """The POS runtime of a merchant."""

    def __init__(self, token: str) -> None:
        self.headers = {"Authorization": f"Bearer {token}"}

    def get(self, **query: Any) -> Any:
        return Client().get("/v1/inbox", query, headers=self.headers)

    def rows(self, **query: Any) -> list[Any]:
        answer = self.get(**query).json()
        assert set(answer) == {"data", "next", "has_more"}
        return list(answer["data"])

    def acknowledge(self, *ids: Any) -> Any:
        return Client().post(
            "/v1/inbox/acknowledge",
            json.dumps({"ids": [str(item) for item in ids]}),
            content_type="application/json",
            headers=self.headers,
        )


@pytest.fixture
def pos(install: Install) -> Pos:
    return Pos(make_token(install.merchant))


# One row per event


def test_order_becomes_a_row_with_its_number_and_its_deadline(install: Install, pos: Pos):
    event = tell(install, "order.created", order())

    [row] = pos.rows()
    assert (event.status, event.effects) == ("processed", None)
    assert row["external_id"] == row["data"]["external_order_id"] == "GF-2401-778"
    assert row["accept_by"] == "2026-11-24T05:21:00Z"
    assert (row["capability"], row["operation"]) == ("order_inbound", "order.created")
    assert (row["event_id"], row["sequence"]) == (str(event.pk), 1)
    assert row["merchant_id"] == str(install.merchant_id)


def test_deadline_is_the_channels_own_or_that_of_the_settings(install: Install, pos: Pos):
    set_config(install, accept_minutes=3)
    tell(install, "order.created", order())
    tell(install, "order.created", order(external_order_id="b", acceptance="auto"))
    tell(
        install,
        "order.created",
        order(external_order_id="c", accept_by="2026-11-24T05:12:30Z"),
    )

    deadlines = [row["accept_by"] for row in pos.rows()]
    assert deadlines == ["2026-11-24T05:14:00Z", None, "2026-11-24T05:12:30Z"]


INFORMING = ["message.updated", "tax_invoice.updated", "payment.updated", "order.driver_update"]


@pytest.mark.parametrize("operation", INFORMING)
def test_record_is_handed_over_as_the_contract_has_it(install: Install, pos: Pos, operation: str):
    tell(install, operation, EXAMPLES[operation])

    [row] = pos.rows()
    assert row["data"] == EXAMPLES[operation]


def test_events_processed_twice_have_one_row(install: Install):
    event = tell(install, "order.created", order())

    assert not inbound.process(event.pk)
    assert InboxRow.objects.count() == 1


def process_and_die(event: InboundEvent) -> None:
    with transaction.atomic():
        inbound.process(event.pk)
        raise KeyboardInterrupt


def test_worker_that_dies_after_writing_the_row_leaves_nothing(install: Install):
    event = make_order_event(install)

    with pytest.raises(KeyboardInterrupt):
        process_and_die(event)
    assert not InboxRow.objects.exists()
    inbound.sweep()
    assert InboxRow.objects.get().sequence == 1


def test_wrong_record_is_set_aside_and_names_the_field_without_its_value(install: Install):
    wrong = order()
    wrong["lines"][0]["qty"] = 2_345

    event = tell(install, "order.created", wrong)

    assert (event.status, event.problem, event.attempts) == ("quarantined", "invalid_payload", 1)
    assert event.problem_at == "data.lines[0].qty: Expected `str`, got `int`"
    assert InboundIncident.objects.get().install_id == install.pk
    assert not InboxRow.objects.exists()


def test_event_that_is_no_operation_is_set_aside_and_not_taken_for_done(install: Install):
    event = make_inbound(install, type="order.moved", capability="order_inbound", data=order())
    inbound.process(event.pk)
    event.refresh_from_db()

    assert event.status == "quarantined"
    assert event.problem_at == "data: the contract has no operation “order.moved”"


def test_order_leaves_no_personal_data_in_the_log(install: Install):
    tell(install, "order.created", order())

    assert "Komang" not in json.dumps(list(AuditEntry.objects.values_list("data", flat=True)))


def test_payment_is_in_the_log_and_in_the_inbox(install: Install):
    event = tell(install, "payment.updated", EXAMPLES["payment.updated"])

    assert [entry.action for entry in AuditEntry.objects.filter(pk__in=event.effects or [])] == [
        "payment.parked"
    ]
    assert row_of(event).sequence == 1


def test_event_after_an_uninstall_is_kept_as_it_came(install: Install):
    Install.objects.filter(pk=install.pk).delete()

    event = tell(install, "order.created", order())

    assert row_of(event).data == order()


# Nothing old


def test_cancelled_order_wins_over_the_order_that_comes_after_it(install: Install, pos: Pos):
    tell(install, "order.cancelled", channels.CANCELLED)
    late = tell(install, "order.created", order())

    assert [row["operation"] for row in pos.rows()] == ["order.cancelled"]
    assert (row_of(late).withheld, row_of(late).sequence) == ("outdated", None)


def test_order_of_an_older_or_the_same_version_is_withheld(install: Install, pos: Pos):
    tell(install, "order.updated", order(version=2))
    older = tell(install, "order.created", order(version=1))
    again = tell(install, "order.updated", order(version=2))

    assert [row["data"]["version"] for row in pos.rows()] == [2]
    assert (row_of(older).withheld, row_of(again).withheld) == ("outdated", "repeated")


def test_bookings_only_go_forwards(install: Install, pos: Pos):
    for sequence in (2, 1, 3, 3):
        tell(install, "reservation.upserted", reservations.BOOKING | {"sequence": sequence})

    assert [row["data"]["sequence"] for row in pos.rows()] == [2, 3]


def test_message_that_was_delivered_is_not_sent_any_more(install: Install, pos: Pos):
    for status in ("queued", "delivered", "sent", "failed", "read"):
        tell(install, "message.updated", {"message_id": "m", "status": status})

    assert [row["data"]["status"] for row in pos.rows()] == ["queued", "delivered", "read"]


# Stock


def set_config(install: Install, **config: Any) -> None:
    row = Install.objects.get(pk=install.pk)
    row.config = config
    row.save(update_fields=["config"])


def test_count_above_the_variance_needs_approval(install: Install, pos: Pos):
    set_config(install, variance_percent=10)
    for number, qty in enumerate(("100", "109", "130")):
        at = f"2026-11-24T0{number}:30:00Z"
        data = supply(install, qty, external_id=f"SO-{number}", at=at)
        tell(install, "stock.level_set", data)

    rows = pos.rows()
    assert [row["needs_approval"] for row in rows] == [True, False, True]
    assert rows[2]["data"]["lines"][0]["previous_qty"] == "109"


def test_count_without_a_variance_needs_no_approval(install: Install, pos: Pos):
    tell(install, "stock.level_set", supply(install))

    assert [row["needs_approval"] for row in pos.rows()] == [False]


def test_older_count_never_overwrites_a_newer_one(install: Install, pos: Pos):
    tell(install, "stock.level_set", supply(install, external_id="2", at="2026-11-24T02:00:00Z"))
    old = tell(
        install, "stock.level_set", supply(install, external_id="1", at="2026-11-24T01:00:00Z")
    )

    assert (len(pos.rows()), row_of(old).withheld) == (1, "nothing_new")


def test_goods_are_received_once(install: Install, pos: Pos):
    first, again = [tell(install, "stock.received", supply(install)) for _time in range(2)]

    assert [row["event_id"] for row in pos.rows()] == [str(first.pk)]
    assert row_of(again).withheld == "repeated"


@pytest.mark.parametrize(("at_once", "needs_approval"), [(None, False), (False, True)])
def test_availability_applies_at_once(
    install: Install, pos: Pos, at_once: bool | None, needs_approval: bool
):
    set_config(install, **({} if at_once is None else {"auto_availability": at_once}))
    outlet = make_location(install.merchant)
    data = EXAMPLES["item.availability"] | {"location_id": str(outlet.pk)}

    tell(install, "item.availability", data)

    [row] = pos.rows()
    assert (row["needs_approval"], row["location_id"]) == (needs_approval, str(outlet.pk))


def test_stock_of_an_outlet_where_it_is_not_installed_is_wrong(install: Install):
    own, other = make_location(install.merchant), make_location(install.merchant)
    local = make_install(install.merchant, make_integration(capabilities=ADDED), location_id=own.pk)

    event = tell(local, "stock.received", supply(local, location_id=str(other.pk)))

    assert (event.status, event.problem_at[:16]) == ("quarantined", "data.location_id")


# Handing over


def test_unacknowledged_rows_are_handed_over_again(install: Install, pos: Pos):
    for number in range(3):
        tell(install, "order.created", order(external_order_id=str(number)))
    first, second, third = (row["id"] for row in pos.rows())

    done = pos.acknowledge(second)

    assert (done.status_code, done.json()["data"][0]["id"]) == (200, second)
    assert [row["id"] for row in pos.rows()] == [first, third]
    assert InboxRow.objects.get(pk=second).acknowledged_by.startswith("token:")


def test_acknowledging_again_changes_nothing(install: Install, pos: Pos):
    tell(install, "order.created", order())
    [row] = pos.rows()

    first, again = pos.acknowledge(row["id"], row["id"]).json(), pos.acknowledge(row["id"]).json()

    assert first == again


def test_pages_follow_the_cursor_and_end_with_a_place_to_go_on(install: Install, pos: Pos):
    for number in range(3):
        tell(install, "order.created", order(external_order_id=str(number)))

    page = pos.get(limit=2).json()
    rest = pos.get(limit=2, after=page["next"]).json()

    assert [len(page["data"]), page["has_more"]] == [2, True]
    assert [len(rest["data"]), rest["has_more"], rest["next"]] == [1, False, "3"]
    assert pos.get(after="3").json() == {"data": [], "next": "3", "has_more": False}
    assert pos.get(after="x").json()["error"]["code"] == "invalid_payload"


def test_rows_are_narrowed_by_outlet_and_capability(install: Install, pos: Pos):
    here, there = make_location(install.merchant), make_location(install.merchant)
    tell(install, "order.created", order())
    tell(install, "stock.received", supply(install, location_id=str(here.pk), external_id="h"))
    tell(install, "stock.received", supply(install, location_id=str(there.pk), external_id="t"))

    assert [row["external_id"] for row in pos.rows(location_id=here.pk)] == ["GF-2401-778", "h"]
    stock = pos.rows(capability="inventory_replenish_inbound", location_id=there.pk)
    assert [row["external_id"] for row in stock] == ["t"]
    assert pos.get(capability="receipt_qr").status_code == 400


def test_inbox_of_another_merchant_is_not_there(install: Install, pos: Pos):
    other = make_merchant()
    theirs = row_of(tell(make_install(other, install.integration), "order.created", order()))
    mine = row_of(tell(install, "order.created", order()))

    foreign, unknown = pos.acknowledge(mine.pk, theirs.pk), pos.acknowledge(mine.pk, uuid4())

    assert [row["id"] for row in pos.rows()] == [str(mine.pk)]
    assert pos.get(merchant_id=other.pk).status_code == 404
    assert (foreign.status_code, foreign.content) == (404, unknown.content)
    assert not InboxRow.objects.exclude(acknowledged_at=None).exists()
    assert Pos(make_token()).get().json()["error"]["code"] == "invalid_payload"
    assert len(Pos(make_token()).rows(merchant_id=other.pk)) == 1


def test_viewer_looks_and_does_not_take_over(install: Install):
    tell(install, "order.created", order())
    viewer = Pos(make_token(install.merchant, role="viewer"))

    [row] = viewer.rows()

    assert viewer.acknowledge(row["id"]).json()["error"]["code"] == "forbidden"


def test_list_costs_the_same_for_one_row_and_three(
    install: Install, pos: Pos, django_assert_num_queries: Any
):
    tell(install, "order.created", order())
    with django_assert_num_queries(2):
        pos.rows()
    tell(install, "order.created", order(external_order_id="b"))
    tell(install, "order.created", order(external_order_id="c"))
    with django_assert_num_queries(2):
        pos.rows()


def test_rows_go_once_they_were_taken_over_long_ago(install: Install, settings: Any):
    rows = [
        row_of(tell(install, "order.created", order(external_order_id=str(number))))
        for number in range(3)
    ]
    old = timezone.now() - timedelta(days=settings.INBOUND_BODY_DAYS + 1)
    InboxRow.objects.filter(pk=rows[0].pk).update(acknowledged_at=old)
    InboxRow.objects.filter(pk=rows[1].pk).update(acknowledged_at=timezone.now())
    InboxRow.objects.update(created_at=old)

    assert retention.prune()["inbox"] == 1
    assert set(InboxRow.objects.values_list("pk", flat=True)) == {rows[1].pk, rows[2].pk}


# Many at once


@pytest.mark.servers
@pytest.mark.django_db(transaction=True)
def test_cursor_skips_nothing_under_concurrent_writers(install: Install):
    """Six workers, each at the events of one install, while a POS reads on from its last place."""
    integrations = [make_integration(capabilities=ADDED) for _number in range(5)]
    places = [install, *(make_install(install.merchant, item) for item in integrations)]
    events = [
        [make_order_event(place, external_order_id=str(number)) for number in range(15)]
        for place in places
    ]
    pos, seen, is_over = Pos(make_token(install.merchant)), list[int](), threading.Event()

    def read() -> bool:
        after = "0"
        while True:
            was_over = is_over.is_set()
            answer = pos.get(after=after, limit=7).json()
            after = answer["next"]
            seen.extend(row["sequence"] for row in answer["data"])
            if was_over and not answer["data"]:
                return True

    def work(rows: list[InboundEvent]) -> bool:
        return all(inbound.process(row.pk) for row in rows)

    with ThreadPoolExecutor(7) as pool:
        reader = pool.submit(connected, read)
        workers = [pool.submit(connected, partial(work, rows)) for rows in events]
        assert all(worker.result(60) for worker in workers)
        is_over.set()
        reader.result(60)
    assert seen == list(range(1, 91))
    for place in places:
        rows = InboxRow.objects.filter(install_id=place.pk).order_by("sequence")
        in_order = [str(number) for number in range(15)]
        assert list(rows.values_list("external_id", flat=True)) == in_order


@pytest.mark.servers
@pytest.mark.django_db(transaction=True)
def test_number_is_given_out_only_when_those_before_it_are_committed(install: Install):
    """Else a reader who sees the second would go on behind the first."""
    other = make_install(install.merchant, make_integration(capabilities=ADDED))
    first, second = make_order_event(install), make_order_event(other)

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            inbound.process(first.pk)
            at_work = pool.submit(connected, partial(inbound.process, second.pk))
            with pytest.raises(TimeoutError):
                at_work.result(0.5)
        assert at_work.result(30)
    assert [row_of(event).sequence for event in (first, second)] == [1, 2]


@pytest.mark.servers
@pytest.mark.django_db(transaction=True)
def test_later_event_is_left_while_another_worker_is_at_the_earlier_one(install: Install):
    first, second = two_orders(install)

    with transaction.atomic():
        inbound.process(first.pk)
        assert not on_thread(lambda: inbound.process(second.pk))
    assert on_thread(lambda: inbound.process(second.pk))


def connected(act: Callable[[], bool]) -> bool:
    """On a thread, with a connection of its own."""
    try:
        return act()
    finally:
        connections.close_all()


def on_thread(act: Callable[[], bool]) -> bool:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(connected, act).result(30)


def two_orders(install: Install) -> list[InboundEvent]:
    return [make_order_event(install, external_order_id=number) for number in ("1", "2")]


def test_later_event_is_left_while_an_earlier_one_is_untouched(install: Install):
    first, second = two_orders(install)

    assert not inbound.process(second.pk)
    inbound.sweep()
    rows = InboxRow.objects.order_by("sequence").values_list("event_id", flat=True)
    assert list(rows) == [first.pk, second.pk]


def test_event_that_failed_holds_up_no_other(install: Install):
    wrong = tell(install, "order.created", {})
    good = tell(install, "order.created", order())

    assert (wrong.status, good.status) == ("quarantined", "processed")
