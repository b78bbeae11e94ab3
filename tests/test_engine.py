"""What the engine does with many deliveries: shares, pace, breaker, order, and coming and going."""

import itertools
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from installs import lifecycle
from installs.models import AuditEntry, Install
from tests.conftest import ON_POSTGRES
from tests.factories import keys_of, make_install, make_integration, make_merchant, owner_of
from tests.partners import Reply, running_partner
from webhooks import claims, outbound
from webhooks.breaker import PROBE_EVERY
from webhooks.engine import Engine
from webhooks.models import (
    Attempt,
    Attention,
    BreakerState,
    Delivery,
    DeliveryHealth,
    DeliveryStatus,
    Endpoint,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def partner(settings):
    with running_partner(settings, lambda _request: Reply(204)) as running:
        yield running


def subscribed(url: str, merchant=None, **over: Any) -> Install:
    integration = make_integration(outbound_events=["order.paid"], outbound_url=url, **over)
    keys_of(integration)
    return make_install(merchant or make_merchant(), integration)


@pytest.fixture
def install(partner):
    return subscribed(f"{partner.url}/events")


def accept(install: Install, count: int = 1, **data: Any) -> None:
    for _ in range(count):
        outbound.accept_event(
            outbound.NewEvent("order.paid", install.merchant_id, None, None, None, data)
        )


def endpoint_of(install: Install) -> Endpoint:
    return Endpoint.objects.get(pk=install.integration_id)


def make_due() -> None:
    Delivery.objects.filter(status="pending").update(next_attempt_at=timezone.now())


def statuses() -> Counter[str]:
    return Counter(Delivery.objects.values_list("status", flat=True))


# Shares


def test_long_queue_of_one_endpoint_leaves_the_other_its_share(install, partner):
    other = subscribed(f"{partner.url}/other", install.merchant)
    accept(install, 20)
    Delivery.objects.filter(install_id=other.pk).exclude(
        pk__in=Delivery.objects.filter(install_id=other.pk).values("pk")[:3]
    ).delete()

    claim = claims.claim(10, timezone.now())

    assert Counter(item.install_id for item in claim.items) == {install.pk: 5, other.pk: 3}


def test_no_more_are_claimed_than_may_be_on_their_way_at_once(partner):
    install = subscribed(f"{partner.url}/events", outbound_concurrency=3)
    accept(install, 5)

    claimed = [len(claims.claim(10, timezone.now()).items) for _ in range(2)]

    assert (claimed, endpoint_of(install).in_flight) == ([3, 0], 3)


def test_everything_that_is_due_is_sent_and_the_count_is_right_again(partner):
    install = subscribed(f"{partner.url}/events", outbound_concurrency=3)
    accept(install, 20)

    made = outbound.deliver_due()

    assert (made, statuses()) == (20, {"delivered": 20})
    assert endpoint_of(install).in_flight == 0


def test_hanging_partner_does_not_hold_up_the_others(settings, install, partner):
    settings.DELIVERY_TIMEOUT_SECONDS = 5
    with running_partner(settings, lambda _request: Reply(204)) as slow:
        slow.answer = slow.hang
        hanging = subscribed(f"{slow.url}/events", install.merchant)
        accept(install, 10)
        outbound.deliver_due()

    ended = dict(Attempt.objects.values_list("delivery__install_id", "problem").distinct())
    first_timeout = Attempt.objects.filter(problem="deadline").order_by("started_at")[0]
    assert ended == {install.pk: "", hanging.pk: "deadline"}
    for attempt in Attempt.objects.filter(delivery__install_id=install.pk):
        took = timedelta(milliseconds=attempt.elapsed_ms)
        assert attempt.started_at + took < first_timeout.started_at + timedelta(seconds=5)


def test_next_one_starts_as_soon_as_its_endpoint_has_room(settings, partner):
    settings.DELIVERY_TIMEOUT_SECONDS = 30
    narrow = subscribed(f"{partner.url}/events", outbound_concurrency=1)
    with running_partner(settings, lambda _request: Reply(204)) as slow:
        # Answers when the four others have arrived one after the other, within its time.
        slow.answer = lambda _request: partner.wait_for(4) or Reply(204)
        subscribed(f"{slow.url}/events", narrow.merchant)
        accept(narrow)
        Delivery.objects.filter(install_id=narrow.pk).delete()
        accept(narrow, 4)
        Delivery.objects.exclude(install_id=narrow.pk).exclude(sequence=1).delete()

        outbound.deliver_due()

    assert statuses() == {"delivered": 5}


# Pace


def test_paced_deliveries_get_moments_one_after_the_other(partner):
    install = subscribed(f"{partner.url}/events", outbound_rate_per_second=100)
    accept(install, 30)
    now = timezone.now()

    first = claims.claim(30, now)
    second = claims.claim(30, now)
    third = claims.claim(30, now + timedelta(milliseconds=100))

    assert [round(item.delay_seconds, 3) for item in first.items] == [
        round(index / 90, 3) for index in range(6)
    ]
    assert {item.spacing_seconds for item in first.items} == {1 / 90}
    assert second.items == []
    assert [round(item.delay_seconds, 3) for item in third.items][:2] == [0.0, 0.011]
    assert first.again_in is not None
    assert 0 < first.again_in <= 0.12


def test_paced_endpoint_is_never_faster_than_its_limit(partner):
    install = subscribed(f"{partner.url}/events", outbound_rate_per_second=50)
    accept(install, 25)

    outbound.deliver_due()

    starts = sorted(Attempt.objects.values_list("started_at", flat=True))
    gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(starts)]
    assert statuses() == {"delivered": 25}
    # 24 gaps of 22 ms; a start may be a little late.
    assert sum(gaps) >= 0.5


# Breaker


def test_endpoint_that_fails_is_left_alone_and_its_deliveries_use_no_attempt(install, partner):
    partner.answer = lambda _request: Reply(500)
    accept(install, 20)
    outbound.deliver_due()
    asked = len(partner.requests)
    accept(install, 5)

    outbound.deliver_due()

    assert (asked, len(partner.requests)) == (20, 20)
    assert endpoint_of(install).state == BreakerState.OPEN
    assert Delivery.objects.filter(attempts_made=0).count() == 5
    assert AuditEntry.objects.filter(action="endpoint.paused").count() == 1


def test_one_probe_a_minute_finds_out_and_the_backlog_follows(install, partner):
    partner.answer = lambda _request: Reply(500)
    accept(install, 20)
    outbound.deliver_due()
    partner.answer = lambda _request: Reply(204)
    accept(install, 5)
    later = timezone.now() + PROBE_EVERY

    probe = claims.claim(10, later)
    meanwhile = claims.claim(10, later + timedelta(seconds=1))
    claims.give_back(probe.items, timezone.now())
    Endpoint.objects.update(probe_at=timezone.now())
    outbound.deliver_due()

    assert (len(probe.items), len(meanwhile.items)) == (1, 0)
    assert Delivery.objects.filter(status="delivered").count() == 5
    assert endpoint_of(install).state == BreakerState.CLOSED
    assert AuditEntry.objects.filter(action="endpoint.recovering").count() == 1


# Order


@pytest.fixture
def ordered(partner):
    return subscribed(f"{partner.url}/events", outbound_in_order=True)


def test_next_event_of_an_order_waits_for_the_one_before_and_others_do_not(ordered):
    accept(ordered, order_id="a")
    accept(ordered, order_id="a")
    accept(ordered, order_id="b")
    accept(ordered)

    claim = claims.claim(10, timezone.now())

    sequences = {row.pk: row.sequence for row in Delivery.objects.all()}
    assert sorted(sequences[item.id] for item in claim.items) == [1, 3, 4]


def test_events_of_an_order_arrive_in_order(ordered, partner):
    for _ in range(3):
        accept(ordered, order={"id": "a"})

    outbound.deliver_due()

    assert [request.json()["sequence"] for request in partner.requests] == [1, 2, 3]


def test_order_goes_on_when_the_one_before_was_given_up(ordered):
    accept(ordered, order_id="a")
    accept(ordered, order_id="a")
    Delivery.objects.filter(sequence=1).update(status=DeliveryStatus.DEAD)

    assert len(claims.claim(10, timezone.now()).items) == 1


def test_without_the_wish_nothing_waits(install):
    accept(install, 2, order_id="a")

    assert len(claims.claim(10, timezone.now()).items) == 2


# Coming and going


def test_disabled_install_is_paused_and_resumed_once(install, partner):
    accept(install, 3)
    lifecycle.disable(owner_of(install.merchant), install.pk)
    outbound.deliver_due()
    paused = Delivery.objects.paused().count()
    lifecycle.enable(owner_of(install.merchant), install.pk)

    outbound.resume_install(install.pk)
    outbound.deliver_due()

    assert (paused, len(partner.requests), statuses()) == (3, 3, {"delivered": 3})


def test_tick_resumes_what_no_message_resumed(install):
    accept(install)
    lifecycle.disable(owner_of(install.merchant), install.pk)
    outbound.deliver_due()
    outbound.look_after()
    still = Delivery.objects.paused().count()
    lifecycle.enable(owner_of(install.merchant), install.pk)

    outbound.look_after()

    assert (still, Delivery.objects.paused().count()) == (1, 0)
    assert Delivery.objects.due(timezone.now()).count() == 1


def test_integration_that_staff_switched_off_is_paused(install, partner):
    accept(install)
    install.integration.status = "disabled"
    install.integration.save(update_fields=["status"])

    outbound.deliver_due()

    assert (Delivery.objects.paused().count(), partner.requests) == (1, [])


def test_uninstall_cancels_at_once_what_waits(install):
    accept(install)
    Delivery.objects.update(next_attempt_at=timezone.now() + timedelta(hours=1))
    lifecycle.uninstall(owner_of(install.merchant), install.pk)

    outbound.cancel_for(install.pk)

    assert statuses() == {"cancelled": 1}


def test_paused_delivery_of_a_removed_install_is_cancelled_by_the_tick(install):
    accept(install)
    lifecycle.disable(owner_of(install.merchant), install.pk)
    outbound.deliver_due()
    lifecycle.uninstall(owner_of(install.merchant), install.pk)

    outbound.look_after()

    assert statuses() == {"cancelled": 1}


# Health


def test_success_is_noted(install):
    accept(install)

    outbound.deliver_due()

    health = DeliveryHealth.objects.get()
    assert (health.install_id, health.attention, health.failing_since) == (install.pk, "", None)
    assert health.last_success_at is not None


def test_delivery_that_is_given_up_needs_attention_until_one_arrives(install, partner):
    partner.answer = lambda _request: Reply(500)
    accept(install)
    for _ in range(5):
        make_due()
        outbound.deliver_due()
    failing = DeliveryHealth.objects.get()
    partner.answer = lambda _request: Reply(204)
    accept(install)

    outbound.deliver_due()

    assert (failing.attention, failing.failures, failing.problem) == (
        Attention.FAILING,
        5,
        "http_500",
    )
    assert (DeliveryHealth.objects.get().attention, DeliveryHealth.objects.get().failures) == (
        "",
        0,
    )
    actions = AuditEntry.objects.filter(action__startswith="install.deliveries_")
    assert list(actions.order_by("id").values_list("action", flat=True)) == [
        "install.deliveries_failing",
        "install.deliveries_recovered",
    ]


def test_closed_address_needs_attention_by_the_merchant(install, partner):
    partner.answer = lambda _request: Reply(410)
    accept(install)

    outbound.deliver_due()

    health = DeliveryHealth.objects.get()
    assert (health.attention, health.turn) == (Attention.GONE, "you")


# A thread of its own


@pytest.mark.django_db(transaction=True)
def test_engine_in_its_own_thread_sends_when_it_is_poked_and_ends_when_it_is_told(install, partner):
    engine = Engine()
    accept(install, 3)

    engine.poke()
    partner.wait_for(3)
    engine.stop()

    assert statuses() == {"delivered": 3}
    assert not any(thread.name == "deliver" for thread in threading.enumerate())


@pytest.mark.django_db(transaction=True)
def test_engine_that_is_idle_wakes_up_for_the_next_event(install, partner):
    engine = Engine()
    for count in (1, 2, 3):
        accept(install)
        engine.poke()
        partner.wait_for(count)
    engine.stop()

    assert statuses() == {"delivered": 3}


@pytest.mark.skipif(not ON_POSTGRES, reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_two_engines_at_once_send_everything_once(install, partner):
    accept(install, 200)
    engines = [Engine(), Engine()]

    for engine in engines:
        engine.poke()
    partner.wait_for(200)
    for engine in engines:
        engine.stop()

    ids = Counter(request.headers["webhook-id"] for request in partner.requests)
    assert (statuses(), max(ids.values()), len(ids)) == ({"delivered": 200}, 1, 200)
    assert endpoint_of(install).in_flight == 0
