"""Ids of a partner that nobody in Posz knows: put on record, resolved by people, and then worked on."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections, transaction
from django.test import Client

from catalog.envelope import ApiError
from installs import mappings, outlets
from installs.access import Actor
from installs.models import AuditEntry, IdMapping, Install, Role, UnknownOutlet
from tests.factories import (
    make_inbound,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
    owner_of,
)
from tests.inbox import order, row_of, schedule, shift, supply, tell
from webhooks import inbound, parking
from webhooks.models import InboundEvent, InboxRow, ParkedFor

pytestmark = pytest.mark.django_db

CAPABILITIES = {"order_inbound": 1, "inventory_replenish_inbound": 1, "staff_schedule_import": 1}


@pytest.fixture
def install() -> Install:
    """Of a partner whose ids are its own."""
    integration = make_integration(capabilities=CAPABILITIES, mapped_ids=["sku", "employee"])
    return make_install(make_merchant(), integration)


def receive_stock(install: Install, sku: str = "S-1", **over: Any) -> InboundEvent:
    over = {"external_id": str(uuid4())} | over
    return tell(install, "stock.received", supply(install, sku=sku, **over))


def resolve(install: Install, external_id: str, posz_id: str) -> None:
    """As a manager does; then the worker that is woken by it."""
    row = IdMapping.objects.get(external_id=external_id)
    mappings.resolve(owner_of(install.merchant), install.pk, row.pk, posz_id)
    go_on()


def go_on() -> None:
    parking.unpark()
    inbound.sweep()


def handed_over() -> list[Any]:
    return [row.data for row in InboxRow.objects.filter(withheld="").order_by("sequence")]


# What waits, and what does not


def test_unknown_item_parks_the_event_and_is_put_on_record(install: Install):
    event = receive_stock(install)

    row = IdMapping.objects.get()
    assert (event.status, event.problem) == ("parked", "needs_mapping")
    assert (row.kind, row.external_id, row.state, row.events) == ("sku", "S-1", "open", 1)
    assert not InboxRow.objects.exists()


def test_item_is_counted_each_time_it_is_seen(install: Install):
    for _time in range(3):
        receive_stock(install)

    assert IdMapping.objects.get().events == 3


def test_resolved_item_lets_what_waited_go_on_in_order_and_translated(install: Install):
    for number in ("a", "b", "c"):
        receive_stock(install, external_id=number)

    resolve(install, "S-1", "BERAS")

    line = handed_over()[0]["lines"][0]
    assert [data["external_id"] for data in handed_over()] == ["a", "b", "c"]
    assert (line["sku"], line["external_sku"]) == ("BERAS", "S-1")
    assert not ParkedFor.objects.exists()


def test_known_item_does_not_wait(install: Install):
    mappings.add(owner_of(install.merchant), install.pk, "sku", "S-1", "BERAS")

    assert row_of(receive_stock(install)).data["lines"][0]["sku"] == "BERAS"


def test_event_waits_for_all_of_its_ids(install: Install):
    lines = [supply(install, sku=sku)["lines"][0] for sku in ("S-1", "S-2")]
    event = receive_stock(install, lines=lines)

    resolve(install, "S-1", "A")
    event.refresh_from_db()
    waiting = event.status
    resolve(install, "S-2", "B")

    assert waiting == "parked"
    assert [line["sku"] for line in handed_over()[0]["lines"]] == ["A", "B"]


def test_ignored_item_is_left_out_and_an_event_of_nothing_else_is_not_handed_over(
    install: Install,
):
    lines = [supply(install, sku=sku)["lines"][0] for sku in ("S-1", "S-2")]
    receive_stock(install, lines=lines)
    only = receive_stock(install, sku="S-2")
    row = IdMapping.objects.get(external_id="S-2")
    mappings.ignore(owner_of(install.merchant), install.pk, row.pk)

    resolve(install, "S-1", "A")

    assert [line["sku"] for line in handed_over()[0]["lines"]] == ["A"]
    assert row_of(only).withheld == "nothing_new"


def test_ids_are_passed_on_where_both_have_the_same(install: Install):
    same = make_install(install.merchant, make_integration(capabilities=CAPABILITIES))
    mappings.add(owner_of(install.merchant), same.pk, "sku", "S-2", "BERAS")

    as_it_is, mapped = receive_stock(same), receive_stock(same, sku="S-2")

    assert [row_of(row).data["lines"][0]["sku"] for row in (as_it_is, mapped)] == ["S-1", "BERAS"]
    assert not IdMapping.objects.filter(state="open").exists()


def test_order_never_waits_but_has_an_open_item(install: Install):
    unnamed = order()
    del unnamed["lines"][0]["sku"]

    row = row_of(tell(install, "order.created", unnamed))

    assert row.data["lines"][0]["open_item"]
    assert row.notes == {"open_items": ["1"]}
    assert IdMapping.objects.get().name == "Nasi campur Bali"


def test_item_of_an_order_that_was_mapped_has_its_name_in_posz(install: Install):
    mappings.add(owner_of(install.merchant), install.pk, "sku", "GRB-NASI-CAMPUR", "NASI")
    unnamed = order()
    del unnamed["lines"][0]["sku"]

    named = row_of(tell(install, "order.created", unnamed))
    by_channel = row_of(tell(install, "order.created", order(external_order_id="b")))

    assert named.data["lines"][0]["sku"] == "NASI"
    assert by_channel.data["lines"][0]["sku"] == "NASI-CAMPUR"
    assert (named.notes, by_channel.notes) == ({}, {})


def test_unknown_employee_parks_the_schedule(install: Install):
    event = tell(install, "schedule.published", schedule(shift(install)))

    resolve(install, "EMP-0093", "stf-14")

    assert event.status == "parked"
    [data] = handed_over()
    assert data["shifts"][0]["staff_id"] == "stf-14"


def test_unknown_outlet_waits_for_its_number(install: Install):
    make_location(install.merchant)
    event = receive_stock(install, location_id="warehouse-7", lines=supply(install)["lines"])
    mappings.add(owner_of(install.merchant), install.pk, "sku", "BERAS-5KG", "B")
    go_on()
    event.refresh_from_db()
    outlet = install.merchant.locations.first()

    assert event.status == "parked"
    assert UnknownOutlet.objects.get().external_id == "warehouse-7"
    assert outlet is not None
    outlets.save_numbers(
        owner_of(install.merchant), install.integration, {outlet.pk: "warehouse-7"}
    )
    go_on()
    [data] = handed_over()
    assert (data["location_id"], data["external_location_id"]) == (str(outlet.pk), "warehouse-7")


def test_parked_event_of_an_install_that_is_gone_goes_on_as_it_came(install: Install):
    event = receive_stock(install)
    Install.objects.filter(pk=install.pk).delete()

    go_on()

    assert row_of(event).data["lines"][0]["sku"] == "S-1"


def test_nothing_parked_costs_one_question(install: Install, django_assert_num_queries: Any):
    # With a savepoint around it.
    with django_assert_num_queries(3):
        parking.unpark()


# Who may say so


def test_mapping_of_another_merchant_is_not_there(install: Install):
    receive_stock(install)
    stranger = owner_of(make_merchant())

    with pytest.raises(ApiError, match="not_found"):
        mappings.resolve(stranger, install.pk, IdMapping.objects.get().pk, "X")


def test_viewer_may_not_map(install: Install):
    receive_stock(install)
    viewer = Actor(install.merchant_id, "v@example.id", Role.VIEWER)

    with pytest.raises(ApiError, match="forbidden"):
        mappings.resolve(viewer, install.pk, IdMapping.objects.get().pk, "X")


def test_mapping_is_in_the_log_once(install: Install):
    receive_stock(install)
    resolve(install, "S-1", "BERAS")
    resolve(install, "S-1", "BERAS")

    [entry] = AuditEntry.objects.filter(action="mapping.mapped")
    assert entry.data == {"kind": "sku", "number": "S-1", "posz_id": "BERAS"}


# Over the API


class Script:
    """Of a merchant."""

    def __init__(self, install: Install, token: str = "") -> None:
        self.url = f"/v1/installs/{install.pk}/mappings"
        self.headers = {"Authorization": f"Bearer {token or make_token(install.merchant)}"}

    def list(self, **query: Any) -> Any:
        return Client().get(self.url, query, headers=self.headers)

    def send(self, method: str, body: Any, mapping_id: Any = None) -> Any:
        return Client().generic(
            method,
            f"{self.url}/{mapping_id}" if mapping_id else self.url,
            json.dumps(body),
            content_type="application/json",
            headers=self.headers,
        )


def test_open_ones_are_listed_and_resolved(install: Install):
    receive_stock(install, sku="S-1")
    receive_stock(install, sku="S-2")
    script = Script(install)
    first, second = script.list(state="open").json()["data"]

    mapped = script.send("PATCH", {"posz_id": "BERAS"}, first["id"]).json()
    ignored = script.send("PATCH", {"posz_id": None}, second["id"]).json()

    assert (mapped["state"], mapped["posz_id"], ignored["state"]) == ("mapped", "BERAS", "ignored")
    assert script.list(state="open").json() == {"data": [], "next": None}


def test_id_is_mapped_before_it_is_seen(install: Install):
    body = {"kind": "employee", "external_id": "EMP-1", "posz_id": "stf-1"}

    answer = Script(install).send("POST", body)

    assert (answer.status_code, answer.json()["events"]) == (201, 0)


@pytest.mark.parametrize("text", [" ", "x\ny"])
def test_id_that_is_none_is_refused_and_named(install: Install, text: str):
    body = {"kind": "sku", "external_id": "S-1", "posz_id": text}

    answer = Script(install).send("POST", body)

    assert answer.status_code in {400, 422}
    assert "posz_id" in answer.json()["error"]["fields"]
    assert not IdMapping.objects.exists()


def test_mappings_of_another_merchant_are_not_there(install: Install):
    receive_stock(install)
    stranger = Script(install, make_token(make_merchant()))
    mapping = IdMapping.objects.get()

    assert stranger.list().status_code == 404
    assert stranger.send("PATCH", {"posz_id": "x"}, mapping.pk).status_code == 404
    assert Script(install).send("PATCH", {"posz_id": "x"}, uuid4()).status_code == 404


# At the same moment


@pytest.mark.servers
@pytest.mark.django_db(transaction=True)
def test_event_that_comes_while_its_id_is_mapped_is_not_left_behind(install: Install):
    """Whichever of the two is first, the event ends up handed over."""
    receive_stock(install)
    mapping = IdMapping.objects.get()
    second = make_stock_event(install)

    def decide() -> None:
        try:
            mappings.resolve(owner_of(install.merchant), install.pk, mapping.pk, "BERAS")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            inbound.process(second.pk)
            decided = pool.submit(decide)
            with pytest.raises(TimeoutError):
                decided.result(0.3)
        decided.result(30)
    go_on()
    assert InboxRow.objects.count() == 2


def make_stock_event(install: Install) -> InboundEvent:
    return make_inbound(
        install,
        type="stock.received",
        capability="inventory_replenish_inbound",
        data=supply(install, sku="S-1", external_id="second"),
    )
