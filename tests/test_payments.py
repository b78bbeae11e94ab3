"""A payment from the till to the money: kept before the partner is asked, moved by what is verified."""

import json
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from catalog.envelope import ApiError
from dispatch import payment_sweep, router
from dispatch.models import ParkedReport, PaymentIntent, PaymentRefund
from dispatch.signing import standard_headers
from installs import lifecycle
from installs.models import AuditEntry
from tests.factories import (
    keys_of,
    make_inbound,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_payment,
    owner_of,
)
from tests.partners import Reply, running_partner
from webhooks import processing

pytestmark = pytest.mark.django_db

NEW = {"payment_id": "pay-1", "order_id": "o-1", "amount_cents": 5000000, "currency": "IDR"}
STARTED = {"provider_ref": "p-1", "status": "pending", "flow": "qr", "qr_string": "0002"}
PAID = {"status": "paid", "provider_ref": "p-1", "paid_amount_cents": 5000000, "currency": "IDR"}
REPORT = {
    "provider_ref": "p-1",
    "kind": "payment",
    "status": "paid",
    "amount_cents": 5000000,
    "currency": "IDR",
}
REFUND = {"payment_id": "pay-1", "refund_id": "r-1", "amount_cents": 2000000, "currency": "IDR"}
GIVEN = {"refund_ref": "rf-1", "status": "succeeded", "amount_cents": 2000000}


class World:
    """One outlet with one payment partner, which answers each operation as `says` says."""

    def __init__(self, running):
        self.partner = running
        self.location = make_location(make_merchant(currency="IDR"))
        self.integration, self.install = self.another()
        self.says = {"create": STARTED, "status": PAID, "refund": GIVEN, "cancel": {}}
        self.partner.answer = self.answer

    def another(self):
        row = make_integration(
            capabilities={"payment_method": 1, "payment_webhook_inbound": 1},
            inbound_events={"payment.updated": "payment_webhook_inbound"},
            api_base_url=self.partner.url,
        )
        self.key = keys_of(row)["outbound"]
        return row, make_install(self.location.merchant, row)

    def answer(self, request):
        said = self.says[request.path.rsplit("/", 1)[1]]
        if not isinstance(said, dict):
            return Reply(said)
        status = {"status": said["is"]} if "is" in said else {"status": "ok", "data": said}
        body = json.dumps({"contract": request.json()["contract"], **status}).encode()
        return Reply(200, body, standard_headers("m", int(time.time()), body, [self.key]))

    def ask(self, operation="create", data=NEW, **over):
        answer = router.dispatch(
            self.location.merchant_id,
            self.location.pk,
            "payment_method",
            data,
            operation=operation,
            **over,
        )
        [result] = answer["results"]
        return result

    def payment(self, **over):
        return make_payment(self.install, self.location, payment_id="pay-1", **over)

    def post(self, data, install=None):
        event = make_inbound(install or self.install, type="payment.updated", data=data)
        processing.process(event.pk)
        event.refresh_from_db()
        return event

    def swept(self, **over):
        """A payment that is due and of which nobody has heard, after the sweep has asked."""
        row = self.payment(next_sweep_at=timezone.now(), **over)
        assert payment_sweep.sweep() == 1
        row.refresh_from_db()
        return row


@pytest.fixture
def world(settings):
    router.forget_partners()
    with running_partner(settings, lambda _request: Reply(500)) as running:
        yield World(running)


def kept():
    return PaymentIntent.objects.get()


def history(row):
    return [(item.source, item.previous, item.state) for item in row.changes.all()]


# What a till asks


def test_payment_is_kept_before_its_partner_is_asked(world):
    seen = []

    def answer(request):
        seen.append(request.json()["data"]["payment_id"])
        return world.answer(request)

    world.partner.answer = answer

    assert world.ask()["output"] == STARTED
    row = kept()
    assert seen == ["pay-1"]
    assert (row.state, row.provider_ref, row.due_cents) == ("pending", "p-1", 5000000)
    assert history(row) == [("till", "", "pending")]
    assert row.next_sweep_at is not None


def test_partner_that_says_paid_at_once_is_not_believed_yet(world):
    world.says["create"] = STARTED | {"status": "paid"}

    assert world.ask()["output"]["status"] == "pending_verification"
    assert (kept().state, kept().paid_amount_cents) == ("pending_verification", 0)


def test_status_tells_the_money(world):
    world.ask()

    result = world.ask("status", {"payment_id": "pay-1"})

    assert result["output"]["status"] == "paid"
    assert (kept().state, kept().paid_amount_cents, kept().next_sweep_at) == ("paid", 5000000, None)
    assert history(kept())[-1] == ("status", "pending", "paid")
    assert world.partner.requests[-1].json()["data"]["provider_ref"] == "p-1"


def test_status_of_another_amount_is_held_and_shown(world):
    world.ask()
    world.says["status"] = PAID | {"paid_amount_cents": 4999900}

    output = world.ask("status", {"payment_id": "pay-1"})["output"]

    assert (output["status"], output["problem"]) == ("pending_verification", "amount_mismatch")
    assert kept().paid_amount_cents == 0


def test_tip_is_part_of_what_is_paid(world):
    world.ask(data=NEW | {"tip_cents": 300000})
    world.says["status"] = PAID | {"paid_amount_cents": 5300000}

    assert world.ask("status", {"payment_id": "pay-1"})["output"]["status"] == "paid"


@pytest.mark.parametrize(
    "reply", [500, {"is": "error"}, {"provider_ref": "p-1", "status": "pending"}]
)
def test_nobody_knows_what_a_broken_partner_did(world, reply):
    world.says["create"] = reply

    result = world.ask()

    assert result["output"] == {"payment_id": "pay-1", "status": "pending_verification"}
    assert kept().state == "pending_verification"


def test_decline_ends_the_payment_and_its_number(world):
    world.says["create"] = {"is": "declined"}

    assert world.ask()["status"] == "declined"
    assert (kept().state, kept().next_sweep_at) == ("failed", None)


def test_payment_that_ended_unseen_is_not_started_again(world):
    world.payment(state="expired")

    with pytest.raises(ApiError) as refusal:
        world.ask()

    assert list(refusal.value.extra["fields"]) == ["data.payment_id"]
    assert world.partner.requests == []


@pytest.mark.parametrize(
    "other", [{"amount_cents": 1}, {"order_id": "o-2"}, {"tip_cents": 5}], ids=str
)
def test_number_of_another_payment_is_refused(world, other):
    world.ask()

    with pytest.raises(ApiError) as refusal:
        world.ask(data=NEW | other)

    assert list(refusal.value.extra["fields"]) == ["data.payment_id"]
    assert len(world.partner.requests) == 1


def test_till_can_not_ask_twice_under_keys_of_its_own(world):
    first, second = (world.ask(idempotency_key=key)["output"] for key in "ab")

    assert first == second == STARTED
    assert len(world.partner.requests) == 1


def test_answer_that_is_given_again_tells_the_state_of_now(world):
    world.ask()
    world.post(REPORT)

    again = world.ask()["output"]

    assert (again["status"], again["qr_string"]) == ("paid", "0002")
    assert len(world.partner.requests) == 1


def test_payment_is_begun_with_one_of_several_tenders(world):
    _row, other = world.another()

    with pytest.raises(ApiError) as refusal:
        world.ask()
    assert list(refusal.value.extra["fields"]) == ["install_id"]

    assert world.ask(install_id=other.pk)["install_id"] == str(other.pk)
    assert world.ask("status", {"payment_id": "pay-1"})["install_id"] == str(other.pk)
    assert len(world.partner.requests) == 2


def test_partner_that_was_never_asked_is_not_asked_what_it_did(world):
    world.partner.answer = lambda _request: Reply(401)
    world.ask()
    asked = len(world.partner.requests)
    PaymentIntent.objects.update(
        next_sweep_at=timezone.now(), expires_at=timezone.now() - timedelta(hours=1)
    )

    payment_sweep.sweep()

    assert (kept().state, len(world.partner.requests)) == ("expired", asked)


@pytest.mark.parametrize("operation", ["status", "cancel", "refund"])
def test_payment_of_another_merchant_is_not_there(world, operation):
    elsewhere = make_location(make_merchant())
    make_payment(make_install(elsewhere.merchant, world.integration), elsewhere, payment_id="pay-1")

    with pytest.raises(ApiError) as refusal:
        world.ask(operation, REFUND if operation == "refund" else {"payment_id": "pay-1"})

    assert refusal.value.code == "not_found"


def test_cancel_ends_what_is_not_paid(world):
    world.ask()
    world.says["cancel"] = {"provider_ref": "p-1", "status": "cancelled"}

    assert world.ask("cancel", {"payment_id": "pay-1"})["output"]["status"] == "cancelled"
    assert kept().state == "cancelled"


def test_paid_is_not_cancelled(world):
    world.payment(state="paid", paid_amount_cents=5000000)

    with pytest.raises(ApiError) as refusal:
        world.ask("cancel", {"payment_id": "pay-1"})

    assert refusal.value.code == "invalid_payload"
    assert world.partner.requests == []


def test_cancel_that_nobody_answers_leaves_it_open(world):
    world.ask()
    world.says["cancel"] = 503

    output = world.ask("cancel", {"payment_id": "pay-1"})["output"]

    assert output == {"payment_id": "pay-1", "status": "pending_verification"}
    assert kept().next_sweep_at is not None


# Refunds


@pytest.fixture
def paid(world):
    return world.payment(state="paid", paid_amount_cents=5000000, provider_ref="p-1")


def test_refund_of_a_part_and_of_the_rest(world, paid):
    assert world.ask("refund", REFUND)["output"]["status"] == "succeeded"
    assert (kept().state, kept().refunded_cents) == ("partially_refunded", 2000000)
    world.says["refund"] = GIVEN | {"amount_cents": 3000000}

    world.ask("refund", REFUND | {"refund_id": "r-2", "amount_cents": 3000000})

    assert (kept().state, kept().refunded_cents) == ("refunded", 5000000)


def test_refund_number_has_one_effect(world, paid):
    first, second = (world.ask("refund", REFUND)["output"] for _time in range(2))

    assert first == second == GIVEN
    assert (len(world.partner.requests), kept().refunded_cents) == (1, 2000000)


def test_more_than_was_paid_is_not_given_back(world, paid):
    world.says["refund"] = GIVEN | {"status": "pending"}
    world.ask("refund", REFUND)

    with pytest.raises(ApiError) as refusal:
        world.ask("refund", REFUND | {"refund_id": "r-2", "amount_cents": 3000001})

    assert list(refusal.value.extra["fields"]) == ["data.amount_cents"]
    assert len(world.partner.requests) == 1


def test_nothing_is_given_back_of_what_is_not_paid(world):
    world.payment()

    with pytest.raises(ApiError):
        world.ask("refund", REFUND | {"amount_cents": 1})


def test_number_of_another_refund_is_refused(world, paid):
    world.ask("refund", REFUND)

    with pytest.raises(ApiError) as refusal:
        world.ask("refund", REFUND | {"amount_cents": 1})

    assert list(refusal.value.extra["fields"]) == ["data.refund_id"]


def test_refund_that_was_declined_gives_its_part_free(world, paid):
    world.says["refund"] = {"is": "declined"}
    world.ask("refund", REFUND | {"amount_cents": 5000000})
    world.says["refund"] = GIVEN

    assert world.ask("refund", REFUND | {"refund_id": "r-2"})["status"] == "ok"


def test_refund_that_nobody_answered_keeps_its_part_and_is_asked_again_by_its_number(world, paid):
    world.says["refund"] = 503
    assert world.ask("refund", REFUND)["output"] == {}
    with pytest.raises(ApiError):
        world.ask("refund", REFUND | {"refund_id": "r-2", "amount_cents": 4000000})
    world.says["refund"] = GIVEN

    assert world.ask("refund", REFUND)["output"] == GIVEN
    keys = [request.headers["Idempotency-Key"] for request in world.partner.requests]
    assert len(set(keys)) == 1


def test_refund_of_another_amount_is_held(world, paid):
    world.says["refund"] = GIVEN | {"amount_cents": 1900000}

    assert world.ask("refund", REFUND)["output"]["status"] == "pending"
    assert (kept().state, kept().problem, kept().refunded_cents) == ("paid", "refund_mismatch", 0)


def test_refund_that_waits_succeeds_when_its_provider_reports_it(world, paid):
    world.says["refund"] = GIVEN | {"status": "pending"}
    world.ask("refund", REFUND)

    world.post(REPORT | {"kind": "refund", "status": "partially_refunded", "amount_cents": 2000000})

    assert kept().state == "partially_refunded"
    assert PaymentRefund.objects.get().state == "succeeded"


# What providers post


def test_report_moves_the_payment_and_is_in_the_activity(world):
    row = world.payment()

    event = world.post(REPORT | {"payment_id": "pay-1"})

    row.refresh_from_db()
    assert (event.status, row.state, row.provider_ref) == ("processed", "paid", "p-1")
    assert history(row) == [("webhook", "pending", "paid")]
    assert row.changes.get().event_id == event.provider_event_id
    assert [entry.action for entry in AuditEntry.objects.filter(pk__in=event.effects)] == [
        "payment.applied"
    ]


def test_report_is_found_by_the_partners_number(world):
    row = world.payment(provider_ref="p-1")

    world.post(REPORT)

    row.refresh_from_db()
    assert row.state == "paid"


def test_report_that_comes_late_undoes_nothing(world):
    row = world.payment(provider_ref="p-1")
    world.post(REPORT)

    world.post(REPORT | {"status": "pending"})
    world.post(REPORT | {"status": "expired"})

    row.refresh_from_db()
    assert (row.state, row.changes.count()) == ("paid", 1)


def test_report_of_another_amount_is_held_once(world):
    row = world.payment(provider_ref="p-1")

    world.post(REPORT | {"amount_cents": 1})
    world.post(REPORT | {"amount_cents": 1})

    row.refresh_from_db()
    assert (row.state, row.problem) == ("pending_verification", "amount_mismatch")
    assert row.changes.count() == 1


def test_unknown_report_is_parked_and_applied_when_the_payment_is_known(world):
    event = world.post(REPORT)
    assert (event.status, ParkedReport.objects.get().applied_at) == ("processed", None)

    assert world.ask()["output"]["status"] == "paid"
    assert kept().paid_amount_cents == 5000000
    assert ParkedReport.objects.get().applied_at is not None


def test_parked_report_with_our_number_is_applied(world):
    world.says["create"] = 503
    world.post(REPORT | {"payment_id": "pay-1"})

    world.ask()

    assert kept().state == "paid"


def test_sweep_finds_what_was_parked_while_its_payment_was_written(world):
    world.post(REPORT | {"payment_id": "pay-1"})
    world.payment()

    payment_sweep.sweep()

    assert kept().state == "paid"


def test_report_of_one_partner_moves_no_payment_of_another(world):
    row = world.payment(provider_ref="p-1")
    _other, install = world.another()

    world.post(REPORT | {"payment_id": "pay-1"}, install)

    row.refresh_from_db()
    assert (row.state, ParkedReport.objects.count()) == ("pending", 1)


def test_report_about_a_bill_is_no_payment(world):
    row = world.payment(provider_ref="p-1")

    event = world.post(REPORT | {"kind": "bill"})

    row.refresh_from_db()
    assert (event.status, row.state, ParkedReport.objects.count()) == ("processed", "pending", 0)


def test_malformed_report_is_set_aside_and_moves_nothing(world):
    row = world.payment(provider_ref="p-1")

    event = world.post({key: value for key, value in REPORT.items() if key != "amount_cents"})

    row.refresh_from_db()
    found = event.status, event.problem, row.state
    assert found == ("quarantined", "invalid_payload", "pending")


# The sweep


def test_sweep_asks_and_keeps_what_it_hears(world):
    row = world.swept(provider_ref="p-1")

    assert (row.state, row.next_sweep_at) == ("paid", None)
    assert history(row) == [("sweep", "pending", "paid")]
    assert world.partner.requests[0].json()["data"] == {
        "payment_id": "pay-1",
        "provider_ref": "p-1",
    }


def test_sweep_asks_the_less_often_the_longer_it_waits(world):
    world.says["status"] = PAID | {"status": "pending", "paid_amount_cents": 0}
    now = timezone.now()

    row = world.swept(created_at=now - timedelta(hours=2), expires_at=now + timedelta(hours=2))

    assert row.state == "pending"
    assert timedelta(minutes=29) < row.next_sweep_at - now < timedelta(minutes=31)


def test_expired_only_where_the_partner_was_heard_after_the_end(world):
    world.says["status"] = PAID | {"status": "pending", "paid_amount_cents": 0}

    row = world.swept(expires_at=timezone.now() - timedelta(minutes=2))

    assert (row.state, row.next_sweep_at) == ("expired", None)


def test_silence_is_not_expiry(world):
    world.says["status"] = 503

    row = world.swept(expires_at=timezone.now() - timedelta(minutes=2))

    assert (row.state, row.problem) == ("pending_verification", "unanswered")
    assert row.next_sweep_at > timezone.now()


def test_partner_that_answers_again_ends_the_silence(world):
    row = world.swept(
        state="pending_verification",
        problem="unanswered",
        expires_at=timezone.now() - timedelta(days=2),
    )

    assert (row.state, row.problem) == ("paid", "")


def test_nobody_is_asked_for_ever(world):
    world.says["status"] = 503

    row = world.swept(
        created_at=timezone.now() - timedelta(days=9),
        expires_at=timezone.now() - timedelta(days=8),
    )

    assert (row.state, row.problem, row.next_sweep_at) == (
        "pending_verification",
        "unanswered",
        None,
    )


def test_held_payment_does_not_expire_by_itself(world):
    world.says["status"] = PAID | {"status": "pending", "paid_amount_cents": 0}

    row = world.swept(problem="amount_mismatch", expires_at=timezone.now() - timedelta(minutes=2))

    assert row.problem == "amount_mismatch"
    assert row.state != "expired"


def test_worker_that_dies_gives_the_payment_back(world):
    """As if it had been killed after its claim: the row says when the next one may take it."""
    first = world.payment(next_sweep_at=timezone.now())
    second = PaymentIntent.objects.get()

    assert [payment_sweep._claim(row) for row in (first, second)] == [True, False]
    assert payment_sweep.sweep() == 0
    PaymentIntent.objects.update(next_sweep_at=timezone.now())

    assert payment_sweep.sweep() == 1
    assert kept().state == "paid"


def test_dead_partner_does_not_keep_others_waiting(world, settings):
    settings.DISPATCH_BREAKER_FAILURES = 2
    router.forget_partners()
    world.says["status"] = 503
    for number in range(5):
        make_payment(
            world.install,
            world.location,
            payment_id=f"dead-{number}",
            next_sweep_at=timezone.now() - timedelta(minutes=1),
        )

    payment_sweep.sweep()

    assert len(world.partner.requests) == 2


def test_refund_whose_outcome_is_open_is_asked_about(world, paid):
    world.says["refund"] = GIVEN | {"status": "pending"}
    world.ask("refund", REFUND)
    PaymentIntent.objects.update(next_sweep_at=timezone.now())
    world.says["status"] = PAID | {"status": "partially_refunded"}

    payment_sweep.sweep()

    assert (kept().state, kept().refunded_cents) == ("partially_refunded", 2000000)
    assert kept().next_sweep_at is None


def test_switched_off_partner_is_not_asked(world):
    lifecycle.disable(owner_of(world.location.merchant), world.install.pk)

    row = world.swept()

    assert (row.state, world.partner.requests) == ("pending", [])
