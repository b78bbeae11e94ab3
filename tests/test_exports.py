"""What partners of outbound capabilities are told: because of what, in which words, until when."""

import json
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from cryptography.fernet import Fernet
from django.utils import timezone

from catalog.capabilities import Direction, causes_of
from catalog.envelope import ApiError
from dispatch.operations import all_operations, contract_of
from installs import lifecycle
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
    owner_of,
)
from tests.partners import Reply, running_partner
from webhooks import exported, feed, outbound
from webhooks.catalogue import EVENT_TYPES
from webhooks.models import Delivery, DeliveryHealth, Event

pytestmark = pytest.mark.django_db

OUTBOUND = [pair for pair in all_operations() if pair[1].direction is Direction.OUTBOUND]
CAUSED = [
    pytest.param(contract, operation, event, id=f"{contract.path(operation)}<-{event}")
    for contract, operation in OUTBOUND
    for event in operation.events
]
CONSENTS = [
    {"purpose": purpose, "granted": True, "at": "2026-11-02T04:12:09Z", "source": "till"}
    for purpose in ("marketing_whatsapp", "profiling")
]
CUSTOMER = {
    "id": "cus-1",
    "name": "Ni Luh Ayu",
    "phone_e164": "+6281237004512",
    "email": "ayu@example.id",
    "birthday": "02-14",
    "city": "Gianyar",
    "consents": CONSENTS,
}
# What the examples of the catalogue leave out, and a partner can't be told without.
COMPLETED = {
    "order.sent_to_kitchen": {"external_order_id": "GF-1"},
    "order.voided": {"external_order_id": "GF-1"},
    "refund.completed": {"restock": True, "customer": CUSTOMER},
    "order.paid": {"customer": CUSTOMER},
    "loyalty.accrued": {"customer": CUSTOMER},
    "loyalty.redeemed": {"customer": CUSTOMER},
    "check.updated": {},
}
CONFIG = {
    "customer_export": {
        "purposes": ["marketing_whatsapp", "profiling"],
        "fields": ["name", "phone_e164", "email"],
    },
    "customer_event_export": {"purpose": "profiling", "fields": ["email"]},
}
NOTHING_TO_TELL = {
    # No line of the order is known, or no booking is meant.
    ("inventory_event_export", "order.voided"),
    ("reservation_status_outbound", "check.updated"),
    ("reservation_status_outbound", "check.closed"),
    # Without a menu there are no hours of it.
    ("menu_sync_outbound", "store.hours_changed"),
}


def install_of(*capabilities, merchant=None, config=None, **over):
    row = make_integration(
        **{
            "capabilities": dict.fromkeys(capabilities, 1),
            "outbound_url": "http://127.0.0.1:9/",
            **over,
        }
    )
    keys_of(row)
    merchant = merchant or make_merchant(currency="IDR")
    return make_install(merchant, row, **({"config": config} if config else {}))


def configured(install, **config):
    install.config = config
    install.save(update_fields=["config"])
    install.merchant.touch(install.merchant_id)
    return install


def accept(install, kind, data, **over):
    values = {
        "type": kind,
        "merchant_id": install.merchant_id,
        "location_id": None,
        "occurred_at": None,
        "idempotency_key": None,
        "data": data,
    }
    return outbound.accept_event(outbound.NewEvent(**(values | over)))


def told(install, kind, data, **over):
    """What the install gets, None where that is nothing."""
    event, _count = accept(install, kind, data, **over)
    row = Delivery.objects.filter(event=event, install_id=install.pk).first()
    return json.loads(bytes(row.body or event.body))["data"] if row else None


def example(event, capability):
    data = {**EVENT_TYPES[event].example, **COMPLETED.get(event, {})}
    if capability == "customer_export" and "customer" in data:
        data |= {"customer": CUSTOMER}
    if event == "reservation.created":
        data = {"reservation": {**data["reservation"], "guest": CUSTOMER}}
    return data


def test_every_outbound_operation_is_caused_and_told():
    caused = {(name, version) for name, version, _events in exported.causes()}

    assert caused == {(contract.capability, contract.version) for contract, _ in OUTBOUND}
    assert {event for _, operation in OUTBOUND for event in operation.events} <= EVENT_TYPES.keys()
    assert causes_of({"order_status_outbound": 1}) >= {"order.ready", "channel_order.accepted"}


@pytest.mark.parametrize(("contract", "operation", "event"), CAUSED)
def test_partner_is_told_in_the_words_of_the_operation(contract, operation, event):
    capability = contract.capability
    install = configured(install_of(capability), **CONFIG.get(capability, {}))

    data = told(install, event, example(event, capability))

    if (capability, event) in NOTHING_TO_TELL:
        assert data is None
    elif (capability, operation.name) == ("data_export_destination", "events"):
        assert data == exported.customers.without_customers(example(event, capability))
    else:
        msgspec.convert(data, operation.request)


def test_several_capabilities_and_the_catalog_row_make_one_delivery():
    install = install_of(
        "data_export_destination", "inventory_event_export", outbound_events=["refund.completed"]
    )
    data = example("refund.completed", "")

    sent = told(install, "refund.completed", data)

    assert Delivery.objects.count() == 1
    # The event as it is, and beside it what would have covered a part of it.
    assert {name: sent[name] for name in data} == data
    assert sent["inventory_event_export"]["kind"] == "refund"


def test_capability_without_an_address_is_told_nothing():
    assert told(install_of("staff_event_export", outbound_url=""), "staff.updated", {}) is None


def test_disabled_install_is_told_nothing_and_another_outlet_neither():
    merchant = make_merchant()
    here, there = make_location(merchant), make_location(merchant)
    install = install_of("inventory_event_export", merchant=merchant)
    local = make_install(merchant, install.integration, location_id=here.pk)
    lifecycle.disable(owner_of(merchant), local.pk)
    data = EVENT_TYPES["inventory.counted"].example

    assert told(local, "inventory.counted", data, location_id=here.pk) is None
    assert told(install, "inventory.counted", data, location_id=there.pk) is not None


@pytest.mark.parametrize(
    ("capability", "event", "data", "field"),
    [
        ("order_status_outbound", "channel_order.accepted", {}, "data.external_order_id"),
        (
            "order_status_outbound",
            "channel_order.accepted",
            {"external_order_id": "GF-1", "accept_by": "soon"},
            "data.accept_by",
        ),
        ("inventory_event_export", "inventory.counted", {"kind": "count"}, "data.at"),
        ("staff_event_export", "staff.updated", {"kind": "promoted"}, "data.kind"),
        ("menu_sync_outbound", "menu.published", {"currency": "IDR"}, "data.menu_version"),
        ("customer_export", "customer.updated", {"customer": {"name": "A"}}, "data.customer.id"),
        (
            "customer_export",
            "customer.updated",
            {"customer": {"id": "c", "phone_e164": "0812"}},
            "data.customer.phone_e164",
        ),
        ("customer_export", "customer.updated", {"customer": 7}, "data.customer"),
        ("customer_export", "customer.erasure_requested", {}, "data.customer_id"),
        ("pay_at_table", "check.opened", {}, "data.check"),
        (
            "inventory_event_export",
            "order.paid",
            {"order": {"lines": [{"sku": "A", "qty": "many"}]}},
            "data.order.lines[0].qty",
        ),
    ],
)
def test_wrong_event_is_refused_at_the_door_with_its_field(client, capability, event, data, field):
    install = install_of(capability)

    response = client.post(
        "/v1/events",
        {"type": event, "data": data},
        content_type="application/json",
        headers={"Authorization": f"Bearer {make_token(install.merchant)}"},
    )

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "invalid_payload")
    assert list(error["fields"]) == [field]
    assert not Event.objects.exists()


def test_what_is_wrong_for_nobody_is_taken_as_ever():
    install = install_of("receipt_qr", outbound_events=["staff.updated"])

    assert told(install, "staff.updated", {"kind": "promoted"}) == {"kind": "promoted"}


# Orders of channels


def test_order_of_a_channel_goes_to_that_channel():
    grab = install_of("order_status_outbound", slug="grabfood")
    other = install_of("order_status_outbound", merchant=grab.merchant)
    data = {"external_order_id": "GF-1", "channel": "grabfood", "order_id": "o", "at": "x"}

    event, count = accept(grab, "order.ready", data)

    assert (count, event.deliveries.get().install_id) == (1, grab.pk)
    assert told(other, "order.ready", data | {"channel": "their own name"})["status"] == "ready"


def test_order_of_the_till_is_told_to_no_channel():
    install = install_of("order_status_outbound")

    assert told(install, "order.completed", {"order_id": "o", "channel": "pos"}) is None


def test_rejection_has_its_reason_and_is_told_in_time():
    install, until = install_of("order_status_outbound"), "2026-11-24T05:22:30Z"
    reasons = {
        reason: told(
            install,
            "channel_order.rejected",
            {"external_order_id": "GF-1", "reason": reason, "accept_by": until},
        )
        for reason in ("busy", "Dapur kebakaran")
    }

    assert reasons["busy"]["reason_code"] == "busy"
    other = reasons["Dapur kebakaran"]
    assert (other["reason_code"], other["reason_text"]) == ("other", "Dapur kebakaran")
    assert {row.useful_until.isoformat() for row in Delivery.objects.all()} == {
        "2026-11-24T05:22:30+00:00"
    }


def test_what_nobody_needs_any_more_is_cancelled_and_staff_are_told(settings):
    install = install_of("order_status_outbound")
    long_ago = timezone.now() - timedelta(hours=1)
    accept(install, "channel_order.accepted", {"external_order_id": "GF-1"}, occurred_at=long_ago)

    outbound.deliver_due()

    row, health = Delivery.objects.get(), DeliveryHealth.objects.get()
    assert (row.status, row.reason, row.attempts_made) == ("cancelled", "too_late", 0)
    assert (health.attention, health.problem) == ("endpoint_failing", "too_late")


def test_acceptance_is_tried_until_the_deadline_and_not_longer(settings):
    with running_partner(settings, lambda _request: Reply(503)) as partner:
        install = install_of("order_status_outbound", outbound_url=partner.url)
        until = timezone.now() + timedelta(seconds=30)
        data = {"external_order_id": "GF-1", "accept_by": until.isoformat()}
        accept(install, "channel_order.accepted", data)

        outbound.deliver_due()

    row, health = Delivery.objects.get(), DeliveryHealth.objects.get()
    assert (row.status, row.reason, row.attempts_made) == ("cancelled", "too_late", 1)
    assert (health.attention, health.problem) == ("endpoint_failing", "too_late")


def test_replay_has_no_deadline(settings):
    with running_partner(settings, lambda _request: Reply(204)) as partner:
        install = install_of("order_status_outbound", outbound_url=partner.url)
        long_ago = timezone.now() - timedelta(hours=1)
        accept(install, "channel_order.accepted", {"external_order_id": "G"}, occurred_at=long_ago)
        outbound.deliver_due()

        outbound.replay(Delivery.objects.get())
        outbound.deliver_due()

    assert Delivery.objects.get().status == "delivered"


# The gate


def profile(install, **over):
    sent = told(install, "customer.updated", {"customer": {**CUSTOMER, **over}})
    return sent and sent["customers"][0]


def gated(**config):
    return configured(install_of("customer_export"), **config)


def test_only_declared_fields_leave():
    sent = profile(gated(purposes=["profiling"], fields=["name", "city"]))

    named = {"op", "customer_id", "updated_at", "consents"}
    assert {name: value for name, value in sent.items() if name not in named} == {
        "name": "Ni Luh Ayu",
        "city": "Gianyar",
    }
    assert [item["purpose"] for item in sent["consents"]] == ["profiling"]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"fields": ["name"]},
        {"purposes": ["marketing_email"], "fields": ["name"]},
        {"purposes": ["profiling", "transfer_abroad"], "fields": ["name"]},
    ],
)
def test_without_the_consent_that_is_needed_nothing_leaves(config):
    assert profile(gated(**config)) is None


def test_newest_word_on_a_consent_counts():
    withdrawn = [*CONSENTS, CONSENTS[1] | {"granted": False, "at": "2026-11-03T00:00:00Z"}]

    assert profile(gated(purposes=["profiling"]), consents=withdrawn[::-1]) is None


def test_number_goes_only_for_a_purpose_that_uses_it():
    consents = [CONSENTS[0] | {"purpose": "marketing_email"}]
    install = gated(
        purposes=["marketing_email", "marketing_whatsapp"], fields=["email", "phone_e164"]
    )

    sent = profile(install, consents=consents)

    assert ("email" in sent, "phone_e164" in sent) == (True, False)


def test_withdrawal_goes_out_with_nothing_but_the_number_of_the_customer():
    consents = [CONSENTS[1] | {"granted": False}]
    data = {"customer": CUSTOMER | {"consents": consents}, "consents": consents}
    install = gated(purposes=["profiling"], fields=["name"])

    [sent] = told(install, "customer.consent_changed", data)["customers"]

    assert sent.keys() == {"op", "customer_id", "updated_at"}
    assert (sent["op"], sent["customer_id"]) == ("unsubscribe", "cus-1")


def test_catalog_row_opens_no_way_around_the_gate():
    install = install_of("customer_export", outbound_events=["customer.updated", "order.paid"])

    assert told(install, "customer.updated", {"customer": CUSTOMER}) is None
    order = {"id": "o", "customer": CUSTOMER}
    sent = told(install, "order.paid", {"order": order, "customer": CUSTOMER})
    assert sent == {"order": {"id": "o"}}


def test_feed_shows_what_was_let_out(settings):
    install = gated(purposes=["profiling"], fields=["name"])
    profile(install)
    Delivery.objects.update(created_at=timezone.now() - timedelta(minutes=1))

    answer = json.loads(feed.of_integration(install.integration, feed.Question(), None).content)

    [body] = answer["data"]
    assert "email" not in json.dumps(body)
    assert body["data"]["customers"][0]["name"] == "Ni Luh Ayu"


def test_same_bytes_on_every_attempt(settings):
    answers = iter([Reply(500), Reply(204)])
    with running_partner(settings, lambda _request: next(answers)) as partner:
        install = configured(
            install_of("customer_export", outbound_url=partner.url),
            purposes=["profiling"],
            fields=["name"],
        )
        profile(install)
        outbound.deliver_due()
        Delivery.objects.update(next_attempt_at=timezone.now())
        outbound.deliver_due()

    first, second = (request.body for request in partner.requests)
    assert first == second
    assert json.loads(first).keys() == {
        "id",
        "type",
        "version",
        "occurred_at",
        "merchant_id",
        "location_id",
        "sequence",
        "data",
    }


def test_behaviour_names_its_event_and_no_contact_that_is_not_declared():
    install = configured(install_of("customer_event_export"), purpose="profiling")
    order = {"id": "o", "number": "A-1", "total_cents": 100, "lines": []}

    sent = told(install, "order.paid", {"order": order, "customer": CUSTOMER})

    assert sent["customer_ref"] == {"id": "cus-1"}
    assert (sent["name"], sent["value_cents"], sent["currency"]) == ("Placed Order", 100, "IDR")
    assert UUID(sent["event_id"]) == Delivery.objects.get().event_id


def test_behaviour_of_nobody_in_particular_is_told_to_nobody():
    install = install_of("customer_event_export")

    assert told(install, "order.paid", {"order": {"id": "o"}}) is None
    assert contract_of("customer_event_export", 1).operations[0].events[0] == "order.paid"


def test_unknown_place_is_still_not_found():
    install = install_of("data_export_destination")

    with pytest.raises(ApiError):
        accept(install, "order.paid", {}, location_id=UUID(int=1))


def test_settings_that_cannot_be_read_let_nothing_out_and_stop_nobody(settings):
    install = gated(purposes=["profiling"], fields=["name"])
    other = install_of(
        "receipt_qr", merchant=install.merchant, outbound_events=["customer.updated"]
    )
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]

    event, count = accept(install, "customer.updated", {"customer": CUSTOMER})

    assert (count, event.deliveries.get().install_id) == (1, other.pk)
