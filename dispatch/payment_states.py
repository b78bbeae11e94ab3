"""The one door to the state of a payment.

States only move forwards:

    pending, pending_verification -> authorized -> paid -> partially_refunded -> refunded
                                  -> failed, expired, cancelled

Whatever would lead back or sideways is ignored, so that reports may come in any order and any number
of times. `pending` and `pending_verification` change into each other: the one says that the partner
waits for the guest, the other that nobody knows. What has ended becomes paid all the same where a
verified report says that it was: the money is there, whatever we had thought. Then the order may have
been paid twice, so somebody is told.

Money is compared with what was asked for. What differs is held: it is shown, and it is not paid.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from dispatch.payment_models import (
    PaymentChange,
    PaymentIntent,
    PaymentRefund,
    Problem,
    RefundState,
    Source,
    State,
)

RANK = {
    State.PENDING: 0,
    State.PENDING_VERIFICATION: 0,
    State.AUTHORIZED: 1,
    State.FAILED: 2,
    State.EXPIRED: 2,
    State.CANCELLED: 2,
    State.PAID: 3,
    State.PARTIALLY_REFUNDED: 4,
    State.REFUNDED: 5,
}
WAITING = frozenset({State.PENDING, State.PENDING_VERIFICATION, State.AUTHORIZED})
ENDED = frozenset({State.FAILED, State.EXPIRED, State.CANCELLED})
SETTLED = frozenset({State.PAID, State.PARTIALLY_REFUNDED, State.REFUNDED})
OPEN_REFUNDS = (RefundState.PENDING, RefundState.PENDING_VERIFICATION)
# Of these the partner's words are evidence; what it says while it starts a payment is a promise.
VERIFIED = frozenset({Source.WEBHOOK, Source.STATUS, Source.SWEEP})
# How long the partner is asked about a payment after it has expired, or about a refund.
ASKED_FOR = timedelta(days=7)
SOONEST, LATEST = timedelta(seconds=10), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody says of a payment.

    `amount_cents` is what was paid or, of a refund, all that was given back so far; None where the
    partner does not say.
    """

    source: Source
    status: State
    amount_cents: int | None = None
    currency: str | None = None
    provider_ref: str = ""
    expires_at: datetime | None = None
    reason: str = ""
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a payment is after a report. It may be what it was."""

    state: State
    problem: str
    paid_cents: int
    refunded_cents: int


def can_follow(state: State, told: State) -> bool:
    return RANK[told] > RANK[state] or (RANK[told] == RANK[state] == 0 and told != state)


def decide(
    payment: PaymentIntent, report: Report, *, open_refund_cents: int | None = None
) -> Decision:
    """What the report makes of the payment; reads and writes no row.

    `open_refund_cents` is the amount of the one refund whose outcome is open, None where there is
    none, or more than one.
    """
    state = State(payment.state)
    # Whoever answers is not silent any more.
    problem = "" if payment.problem == Problem.UNANSWERED else payment.problem
    same = Decision(state, problem, payment.paid_amount_cents, payment.refunded_cents)
    if report.status in SETTLED and report.source not in VERIFIED:
        return _held(same, problem)
    if report.status in SETTLED and report.currency not in {None, payment.currency}:
        return _held(same, Problem.CURRENCY)
    if report.status == State.PAID:
        return _paid(payment, report, same)
    if report.status in {State.REFUNDED, State.PARTIALLY_REFUNDED}:
        return _refunded(payment, report, same, open_refund_cents)
    if not can_follow(state, report.status):
        return same
    return Decision(report.status, problem, same.paid_cents, same.refunded_cents)


def _held(same: Decision, problem: str) -> Decision:
    state = State.PENDING_VERIFICATION if RANK[same.state] == 0 else same.state
    return Decision(state, problem, same.paid_cents, same.refunded_cents)


def _paid(payment: PaymentIntent, report: Report, same: Decision) -> Decision:
    if same.state in SETTLED:
        is_other = report.amount_cents not in {None, payment.paid_amount_cents}
        return _held(same, Problem.AMOUNT) if is_other else same
    if report.amount_cents != payment.due_cents:
        return _held(same, Problem.AMOUNT)
    problem = Problem.LATE if same.state in ENDED else ""
    return Decision(State.PAID, problem, payment.due_cents, same.refunded_cents)


def _refunded(
    payment: PaymentIntent, report: Report, same: Decision, open_refund_cents: int | None
) -> Decision:
    paid, given = payment.due_cents, report.amount_cents
    if given is None and report.status == State.REFUNDED:
        given = paid
    elif given is None:
        # The one refund that was open is the part that was given back.
        is_news = same.state == State.PAID and open_refund_cents is not None
        given = open_refund_cents if is_news else same.refunded_cents
    if (
        given is None
        or not 0 < given <= paid
        or (given == paid) != (report.status == State.REFUNDED)
    ):
        return _held(same, Problem.REFUND)
    given = max(given, same.refunded_cents)
    state = State.REFUNDED if given == paid else State.PARTIALLY_REFUNDED
    problem = report.reason if report.reason == Problem.CHARGEBACK else same.problem
    return Decision(state, problem, paid, given)


def apply(payment_id: UUID, report: Report) -> PaymentIntent:
    """Take a report into account, under the row's lock, and keep in the history what it changed."""
    with transaction.atomic():
        payment = PaymentIntent.objects.select_for_update(of=("self",)).get(pk=payment_id)
        decision = decide(payment, report, open_refund_cents=_open_refund_cents(payment))
        _write(payment, decision, report)
    return payment


def unanswered(payment_id: UUID) -> PaymentIntent:
    """It has expired, and its partner does not say what became of it: somebody has to find out."""
    with transaction.atomic():
        payment = PaymentIntent.objects.select_for_update(of=("self",)).get(pk=payment_id)
        if payment.state in WAITING and not payment.problem:
            same = Decision(
                State(payment.state), "", payment.paid_amount_cents, payment.refunded_cents
            )
            report = Report(Source.SWEEP, same.state, reason="unanswered")
            _write(payment, _held(same, Problem.UNANSWERED), report)
    return payment


def _open_refund_cents(payment: PaymentIntent) -> int | None:
    found = PaymentRefund.objects.filter(payment=payment, state__in=OPEN_REFUNDS)
    amounts = list(found.values_list("amount_cents", flat=True)[:2])
    return amounts[0] if len(amounts) == 1 else None


WRITTEN = (
    "state",
    "problem",
    "provider_ref",
    "paid_amount_cents",
    "refunded_cents",
    "expires_at",
    "next_sweep_at",
)
# A change of these is one that the history tells.
TOLD = ("state", "problem", "refunded_cents")


def _write(payment: PaymentIntent, decision: Decision, report: Report) -> None:
    before = {name: getattr(payment, name) for name in WRITTEN}
    payment.state, payment.problem = decision.state, decision.problem
    payment.paid_amount_cents = decision.paid_cents
    payment.refunded_cents = decision.refunded_cents
    payment.provider_ref = payment.provider_ref or report.provider_ref
    if report.expires_at is not None:
        payment.expires_at = min(report.expires_at, payment.created_at + ASKED_FOR)
    if any(before[name] != getattr(payment, name) for name in TOLD):
        note(payment, report, before["state"])
    if before["refunded_cents"] != payment.refunded_cents:
        _close_refunds(payment)
    if not is_watched(payment):
        payment.next_sweep_at = None
    elif payment.state == State.PENDING_VERIFICATION and before["state"] != payment.state:
        payment.next_sweep_at = next_question_at(payment, timezone.now())
    changed = [name for name in WRITTEN if before[name] != getattr(payment, name)]
    if changed:
        payment.save(update_fields=changed)


def note(payment: PaymentIntent, report: Report, previous: str) -> None:
    PaymentChange.objects.create(
        payment=payment,
        source=report.source,
        previous=previous,
        state=payment.state,
        problem=payment.problem,
        reason=report.reason,
        amount_cents=report.amount_cents,
        event_id=report.event_id,
    )


def _close_refunds(payment: PaymentIntent) -> None:
    """What was given back in all is what was asked for in all: then every refund has succeeded."""
    refunds = PaymentRefund.objects.filter(payment=payment).exclude(state=RefundState.FAILED)
    if sum(refunds.values_list("amount_cents", flat=True)) == payment.refunded_cents:
        refunds.update(state=RefundState.SUCCEEDED)


# When the partner is asked


def is_watched(payment: PaymentIntent) -> bool:
    """Whether there is something that only the partner's status can tell."""
    if payment.state in WAITING:
        return True
    refunds = PaymentRefund.objects.filter(payment=payment, state__in=OPEN_REFUNDS)
    return payment.state in SETTLED and refunds.exists()


def next_question_at(payment: PaymentIntent, now: datetime) -> datetime | None:
    """The older a question, the less often it is put; None a week after its end.

    At the end of a payment that is waiting, it is put once more in time.
    """
    since = payment.created_at
    if payment.state in SETTLED:
        newest = PaymentRefund.objects.filter(payment=payment).order_by("created_at").last()
        since = newest.created_at if newest else since
        ends_at = since
    else:
        ends_at = payment.expires_at
    if now >= ends_at + ASKED_FOR:
        return None
    at = now + min(max((now - since) / 4, SOONEST), LATEST)
    return max(now + SOONEST, ends_at) if now < ends_at < at else at


# Refunds


def reserve_refund(payment_id: UUID, refund_id: str, amount_cents: int) -> PaymentRefund | None:
    """Keep a refund before the partner is asked, None where it would be more than is left.

    The same number gives the same refund, whose amount the caller compares; one that failed takes
    its part of the money again.
    """
    with transaction.atomic():
        payment = PaymentIntent.objects.select_for_update(of=("self",)).get(pk=payment_id)
        known = PaymentRefund.objects.filter(
            merchant_id=payment.merchant_id, refund_id=refund_id
        ).first()
        if known is not None and known.state != RefundState.FAILED:
            return known
        if known is not None and (known.payment_id, known.amount_cents) != (
            payment_id,
            amount_cents,
        ):
            return known
        others = PaymentRefund.objects.filter(payment=payment).exclude(state=RefundState.FAILED)
        taken = max(sum(others.values_list("amount_cents", flat=True)), payment.refunded_cents)
        if taken + amount_cents > payment.paid_amount_cents:
            return None
        row = known or PaymentRefund(
            payment=payment,
            merchant_id=payment.merchant_id,
            refund_id=refund_id,
            amount_cents=amount_cents,
        )
        row.state = RefundState.PENDING_VERIFICATION
        row.save()
        payment.next_sweep_at = timezone.now() + SOONEST * 3
        payment.save(update_fields=["next_sweep_at"])
    return row


def refund_told(
    refund_pk: UUID, state: RefundState, *, refund_ref: str = "", is_other_amount: bool = False
) -> tuple[PaymentIntent, PaymentRefund]:
    """What became of a refund. One that has succeeded stays so."""
    with transaction.atomic():
        row = PaymentRefund.objects.get(pk=refund_pk)
        payment = PaymentIntent.objects.select_for_update(of=("self",)).get(pk=row.payment_id)
        row.refresh_from_db()
        if is_other_amount:
            state = RefundState.PENDING_VERIFICATION
        if row.state != RefundState.SUCCEEDED:
            row.state = state
        row.refund_ref = row.refund_ref or refund_ref
        row.save(update_fields=["state", "refund_ref"])
        done = PaymentRefund.objects.filter(payment=payment, state=RefundState.SUCCEEDED)
        given = max(sum(done.values_list("amount_cents", flat=True)), payment.refunded_cents)
        now = Decision(
            State(payment.state), payment.problem, payment.paid_amount_cents, payment.refunded_cents
        )
        if is_other_amount:
            now = _held(now, Problem.REFUND)
        elif given != payment.refunded_cents:
            is_all = given >= payment.paid_amount_cents
            after = State.REFUNDED if is_all else State.PARTIALLY_REFUNDED
            now = Decision(after, payment.problem, payment.paid_amount_cents, given)
        report = Report(
            Source.TILL, now.state, row.amount_cents, reason="refund", event_id=row.refund_id
        )
        _write(payment, now, report)
    row.refresh_from_db()
    return payment, row
