import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from catalog.envelope import ApiError
from installs import connection, lifecycle
from installs.ladder import LADDER, next_attempt_at
from installs.models import AuditEntry, Install
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    owner_of,
)
from tests.partners import Reply, running_partner
from webhooks import claims, outbound, outcomes
from webhooks.models import Attempt, Delivery, DeliveryStatus, Endpoint, Event
from webhooks.sending import Job, Outcome

pytestmark = pytest.mark.django_db


@pytest.fixture
def partner(settings):
    with running_partner(settings, lambda _request: Reply(204)) as running:
        yield running


@pytest.fixture
def integration(partner):
    row = make_integration(outbound_events=["order.paid"], outbound_url=f"{partner.url}/events")
    keys_of(row)
    return row


@pytest.fixture
def install(integration):
    return make_install(make_merchant(), integration)


def accept(install: Install, **over):
    values: dict[str, Any] = {
        "type": "order.paid",
        "merchant_id": install.merchant_id,
        "location_id": None,
        "occurred_at": None,
        "idempotency_key": None,
        "data": {"order_id": "o-1"},
    }
    return outbound.accept_event(outbound.NewEvent(**(values | over)))


def make_due() -> None:
    Delivery.objects.filter(status="pending").update(next_attempt_at=timezone.now())


def test_event_is_written_with_a_delivery_for_every_subscriber(install):
    make_install(install.merchant, make_integration())

    event, deliveries = accept(install)

    assert deliveries == 1
    assert Delivery.objects.get().install_id == install.pk
    assert json.loads(bytes(event.body)) == {
        "id": str(event.pk),
        "type": "order.paid",
        "version": 1,
        "occurred_at": event.occurred_at.isoformat(),
        "merchant_id": str(install.merchant_id),
        "location_id": None,
        "sequence": 1,
        "data": {"order_id": "o-1"},
    }


def test_sequence_counts_per_merchant(install):
    other = make_install(make_merchant(), install.integration)

    sequences = [accept(row)[0].sequence for row in (install, install, other)]

    assert sequences == [1, 2, 1]


def comparable(event: Event) -> tuple[Any, ...]:
    """All that is written of an event, without what has to differ."""
    own = {"id", "event_id", "created_at", "next_attempt_at", "sequence", "occurred_at"}
    rows = [Event.objects.filter(pk=event.pk), event.deliveries.all()]
    columns = [
        {name: value for name, value in row.items() if name not in own | {"body"}}
        for query in rows
        for row in query.order_by("pk").values()
    ]
    body = json.loads(bytes(Event.objects.get(pk=event.pk).body))
    return columns, [(key, value) for key, value in body.items() if key not in own], list(body)


def test_what_is_written_at_once_is_what_is_written_in_turn(install):
    """The first event of a merchant finds nothing remembered, the second one does."""
    place = make_location(install.merchant)
    install.integration.outbound_in_order = True
    install.integration.save()
    over = {"location_id": place.pk, "data": {"order_id": "o-1", "note": "é"}}

    in_turn, at_once = accept(install, **over)[0], accept(install, **over)[0]

    assert comparable(at_once) == comparable(in_turn)
    assert [event.sequence for event in (in_turn, at_once)] == [1, 2]
    assert set(Delivery.objects.values_list("sequence", "order_key")) == {(1, "o-1"), (2, "o-1")}


@pytest.mark.parametrize("change", ["disable", "catalog", "uninstall", "gone"])
def test_what_has_changed_since_the_last_event_counts_at_once(install, change):
    actor = owner_of(install.merchant)
    accept(install)
    match change:
        case "disable":
            lifecycle.disable(actor, install.pk)
        case "uninstall":
            lifecycle.uninstall(actor, install.pk)
        case "gone":
            connection.turn_outbound_off(install.pk)
        case "catalog":
            install.integration.outbound_events = []
            install.integration.save()

    event, deliveries = accept(install)

    assert (event.sequence, deliveries) == (2, 0)


def test_what_is_installed_since_the_last_event_is_told_at_once(install):
    accept(install)
    other = make_integration(outbound_events=["order.paid"], outbound_url="http://127.0.0.1:9/")
    lifecycle.install(owner_of(install.merchant), other)

    assert accept(install)[1] == 2


def test_same_idempotency_key_is_the_same_event(install):
    first, _ = accept(install, idempotency_key="k")

    again, deliveries = accept(install, idempotency_key="k", data={"other": 1})

    assert (again.pk, deliveries) == (first.pk, 1)
    assert Event.objects.count() == Delivery.objects.count() == 1


def test_same_idempotency_key_of_another_merchant_is_another_event(install):
    other = make_install(make_merchant(), install.integration)

    assert accept(install, idempotency_key="k")[0].pk != accept(other, idempotency_key="k")[0].pk


@pytest.mark.parametrize("state", ["disabled", "off", "switched_off", "unsubscribed"])
def test_event_for_nobody_has_no_delivery(install, state):
    if state == "disabled":
        lifecycle.disable(owner_of(install.merchant), install.pk)
    elif state == "off":
        connection.turn_outbound_off(install.pk)
    elif state == "switched_off":
        install.integration.status = "disabled"
        install.integration.save(update_fields=["status"])
    else:
        install.integration.outbound_events = ["refund.created"]
        install.integration.save(update_fields=["outbound_events"])

    assert accept(install)[1] == 0


def test_event_of_a_location_goes_to_the_install_that_is_effective_there(install):
    ubud = make_location(install.merchant)
    override = make_install(install.merchant, install.integration, ubud.pk)

    accept(install, location_id=ubud.pk)

    assert Delivery.objects.get().install_id == override.pk


def test_event_of_no_location_is_told_once_per_partner(install):
    make_install(install.merchant, install.integration, make_location(install.merchant).pk)

    assert accept(install)[1] == 1


@pytest.mark.parametrize("wrong", ["merchant_id", "location_id"])
def test_event_of_an_unknown_place_is_not_found_and_leaves_nothing(install, wrong):
    with pytest.raises(ApiError) as caught:
        accept(install, **{wrong: uuid4()})

    assert caught.value.code == "not_found"
    assert not Event.objects.exists()


def test_delivery_is_signed_in_both_forms_over_the_bytes_that_are_sent(install, partner):
    event, _ = accept(install)
    key = keys_of(install.integration)["outbound"]

    outbound.deliver_due()

    request, delivery = partner.requests[0], Delivery.objects.get()
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert request.body == bytes(event.body)
    assert headers["x-posz-signature"] == hmac.new(key, request.body, hashlib.sha256).hexdigest()
    assert (headers["x-posz-event"], headers["x-posz-attempt"]) == ("order.paid", "1")
    assert headers["x-posz-delivery"] == str(delivery.pk)
    assert headers["webhook-id"] == str(event.pk)
    signed = f"{event.pk}.{headers['webhook-timestamp']}.".encode() + request.body
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert (delivery.status, delivery.attempts_made) == (DeliveryStatus.DELIVERED, 1)


@pytest.mark.parametrize("status", [301, 400, 404, 500, 503])
def test_answer_that_is_not_2xx_is_a_failed_attempt(install, partner, status):
    partner.answer = lambda _request: Reply(status, b"sorry", {"Location": f"{partner.url}/else"})
    accept(install)

    outbound.deliver_due()

    delivery, attempt = Delivery.objects.get(), Attempt.objects.get()
    assert (delivery.status, delivery.reason) == (DeliveryStatus.PENDING, f"http_{status}")
    assert (attempt.response_status, attempt.response_excerpt) == (status, "sorry")
    assert len(partner.requests) == 1


def test_ladder_is_1_5_15_60_minutes_and_five_attempts(install, partner):
    partner.answer = lambda _request: Reply(500)
    accept(install)
    waits = []

    for _ in range(5):
        make_due()
        outbound.deliver_due()
        delivery = Delivery.objects.get()
        attempt = Attempt.objects.order_by("-number")[0]
        failed_at = attempt.started_at + timedelta(milliseconds=attempt.elapsed_ms)
        waits.append(delivery.next_attempt_at and delivery.next_attempt_at - failed_at)
    make_due()
    outbound.deliver_due()

    assert waits[4] is None
    for wait, step in zip(waits, LADDER, strict=False):
        assert step <= wait <= step * 1.1
    assert (delivery.status, delivery.reason, delivery.attempts_made) == (
        DeliveryStatus.DEAD,
        "http_500",
        5,
    )
    assert len(partner.requests) == 5
    assert len({request.body for request in partner.requests}) == 1
    assert AuditEntry.objects.filter(action="delivery.dead").count() == 1


def test_next_attempt_is_never_early():
    now = timezone.now()

    for attempts, step in enumerate(LADDER, start=1):
        for _ in range(200):
            wait = next_attempt_at(attempts, now) - now
            assert step <= wait <= step * 1.1


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("120", 120, 121), ("5", 60, 66), ("999999", 3600, 3601), ("soon", 60, 66), ("-5", 60, 66)],
)
def test_retry_after_can_only_lengthen_and_to_an_hour_at_most(
    install, partner, header, least, most
):
    partner.answer = lambda _request: Reply(429, b"", {"Retry-After": header})
    accept(install)

    outbound.deliver_due()

    attempt = Attempt.objects.get()
    failed_at = attempt.started_at + timedelta(milliseconds=attempt.elapsed_ms)
    wait = (Delivery.objects.get().next_attempt_at - failed_at).total_seconds()
    assert least <= wait <= most


def test_410_turns_the_endpoint_off_and_tells_the_merchant(install, partner):
    partner.answer = lambda _request: Reply(410)
    accept(install)
    accept(install)

    outbound.deliver_due()

    assert {row.status for row in Delivery.objects.all()} == {DeliveryStatus.DEAD}
    assert Install.objects.get(pk=install.pk).outbound_off_at is not None
    assert AuditEntry.objects.filter(action="install.endpoint_gone").count() == 1
    assert accept(install)[1] == 0


def test_partner_that_can_not_be_reached_is_a_failed_attempt(install, settings):
    settings.OUTBOUND_ALLOW = []
    accept(install)

    outbound.deliver_due()

    attempt = Attempt.objects.get()
    assert (attempt.response_status, attempt.problem) == (None, "address_refused")


def test_answer_is_kept_only_in_part_and_printable(install, partner):
    partner.answer = lambda _request: Reply(500, b"\x00\xff" + "é ".encode() * 1000)
    accept(install)

    outbound.deliver_due()

    excerpt = Attempt.objects.get().response_excerpt
    assert len(excerpt) == 500
    assert excerpt.isprintable()


def test_key_in_an_answer_is_not_kept(install, partner):
    partner.answer = lambda _request: Reply(401, b'{"api_key": "sk_live_0123456789abcdef"}')
    accept(install)

    outbound.deliver_due()

    assert "0123456789" not in Attempt.objects.get().response_excerpt


def test_delivery_of_an_uninstalled_install_is_cancelled(install, partner):
    accept(install)
    lifecycle.uninstall(owner_of(install.merchant), install.pk)

    outbound.deliver_due()

    assert (Delivery.objects.get().status, partner.requests) == (DeliveryStatus.CANCELLED, [])


def test_delivery_of_a_disabled_install_waits_and_uses_no_attempt(install, partner):
    accept(install)
    lifecycle.disable(owner_of(install.merchant), install.pk)
    outbound.deliver_due()
    held = Delivery.objects.get()

    lifecycle.enable(owner_of(install.merchant), install.pk)
    make_due()
    outbound.deliver_due()

    assert (held.status, held.attempts_made) == (DeliveryStatus.PENDING, 0)
    assert Delivery.objects.get().status == DeliveryStatus.DELIVERED


def test_claim_is_given_to_one_worker(install):
    accept(install)
    now = timezone.now()

    first, second = claims.claim(10, now), claims.claim(10, now)

    assert [len(claim.items) for claim in (first, second)] == [1, 0]


def test_what_a_dead_worker_held_is_due_again_and_its_attempt_is_unknown(install, partner):
    accept(install)
    claims.claim(10, timezone.now())

    freed = claims.reap(timezone.now() + claims.LEASE)
    outbound.deliver_due()

    delivery = Delivery.objects.get()
    problems = list(Attempt.objects.values_list("number", "problem"))
    assert (freed, delivery.status) == (1, DeliveryStatus.DELIVERED)
    assert problems == [(1, "unknown"), (2, "")]
    assert Endpoint.objects.get().in_flight == 0


def test_what_was_held_is_found_also_where_the_count_is_wrong(install, partner):
    accept(install)
    claims.claim(10, timezone.now())
    Endpoint.objects.update(in_flight=0)

    assert claims.reap(timezone.now() + claims.LEASE) == 1


def test_unknown_attempt_does_not_count_towards_the_five(install, partner):
    partner.answer = lambda _request: Reply(500)
    accept(install)
    claims.claim(10, timezone.now())
    claims.reap(timezone.now() + claims.LEASE)

    for _ in range(5):
        make_due()
        outbound.deliver_due()

    assert (Delivery.objects.get().status, len(partner.requests)) == (DeliveryStatus.DEAD, 5)


def test_lease_that_is_not_over_is_left_alone(install):
    accept(install)
    claims.claim(10, timezone.now())

    assert claims.reap(timezone.now()) == 0
    assert Endpoint.objects.get().in_flight == 1


def test_outcome_of_a_worker_that_lost_its_lease_is_not_written(install):
    accept(install)
    [slow] = claims.claim(10, timezone.now()).items
    claims.reap(timezone.now() + claims.LEASE)
    late = Outcome(timezone.now(), 5, 500, "http_500", "")

    outcomes.record([(Job(slow, [b"k"]), late)], timezone.now())

    assert list(Attempt.objects.values_list("problem", flat=True)) == ["unknown"]


def test_replay_starts_a_fresh_ladder_and_keeps_the_attempts(install, partner):
    partner.answer = lambda _request: Reply(500)
    accept(install)
    for _ in range(5):
        make_due()
        outbound.deliver_due()

    outbound.replay(Delivery.objects.get())
    outbound.deliver_due()

    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts_made) == (DeliveryStatus.PENDING, 6)
    assert delivery.next_attempt_at - timezone.now() < timedelta(seconds=70)


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        (lifecycle.disable, "integration_disabled"),
        (lifecycle.uninstall, "integration_not_installed"),
        (lambda _actor, pk: connection.turn_outbound_off(pk), "integration_disabled"),
    ],
    ids=["disabled", "uninstalled", "closed by the partner"],
)
def test_replay_for_an_install_that_is_off_is_refused(install, partner, verb, code):
    accept(install)
    outbound.deliver_due()
    verb(owner_of(install.merchant), install.pk)

    with pytest.raises(ApiError) as caught:
        outbound.replay(Delivery.objects.get())

    assert caught.value.code == code
