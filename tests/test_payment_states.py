"""The rules of a payment's state by themselves: every pair of states, money, reports in any order."""

import itertools
import random

import pytest

from dispatch.models import PaymentIntent
from dispatch.payment_models import Problem, Source, State
from dispatch.payment_states import RANK, WAITING, Decision, Report, can_follow, decide

DUE = 5500000


def payment(**over):
    defaults = {"amount_cents": 5000000, "tip_cents": 500000, "currency": "IDR"}
    row = PaymentIntent(**(defaults | over))
    if row.state in {State.PAID, State.PARTIALLY_REFUNDED, State.REFUNDED}:
        row.paid_amount_cents = DUE
    if row.state == State.REFUNDED:
        row.refunded_cents = DUE
    return row


def report(status, amount=None, currency="IDR", source=Source.WEBHOOK, **over):
    return Report(source, status, amount, currency, **over)


def amount_of(status):
    return {State.PAID: DUE, State.REFUNDED: DUE, State.PARTIALLY_REFUNDED: 100}.get(status)


def after(row, told, **over):
    return decide(row, told, **over)


@pytest.mark.parametrize(("before", "told"), list(itertools.product(State, State)))
def test_every_state_moves_forwards_or_not_at_all(before, told):
    found = after(payment(state=before), report(told, amount_of(told))).state

    assert found == (told if can_follow(before, told) else before)
    assert RANK[found] >= RANK[before]


def test_paid_is_never_undone():
    undone = [told for told in State if can_follow(State.PAID, told)]

    assert undone == [State.PARTIALLY_REFUNDED, State.REFUNDED]


@pytest.mark.parametrize("ended", [State.FAILED, State.EXPIRED, State.CANCELLED])
def test_money_that_came_after_the_end_is_money_and_somebody_is_told(ended):
    found = after(payment(state=ended), report(State.PAID, DUE))

    assert found == Decision(State.PAID, Problem.LATE, DUE, 0)


@pytest.mark.parametrize("amount", [DUE - 1, DUE + 1, 5000000, 0, None])
def test_other_amount_is_held_and_not_paid(amount):
    found = after(payment(), report(State.PAID, amount))

    assert found == Decision(State.PENDING_VERIFICATION, Problem.AMOUNT, 0, 0)


def test_other_currency_is_held_and_not_paid():
    found = after(payment(), report(State.PAID, DUE, "USD"))

    assert found == Decision(State.PENDING_VERIFICATION, Problem.CURRENCY, 0, 0)


def test_right_amount_ends_a_hold():
    held = payment(state=State.PENDING_VERIFICATION, problem=Problem.AMOUNT)

    assert after(held, report(State.PAID, DUE)) == Decision(State.PAID, "", DUE, 0)


@pytest.mark.parametrize("before", sorted(WAITING))
def test_what_is_only_said_at_the_till_is_no_money(before):
    found = after(payment(state=before), report(State.PAID, DUE, source=Source.TILL))

    assert (found.state in WAITING, found.paid_cents) == (True, 0)


@pytest.mark.parametrize(
    ("status", "amount", "expected"),
    [
        (State.PARTIALLY_REFUNDED, 1, (State.PARTIALLY_REFUNDED, "", 1)),
        (State.REFUNDED, DUE, (State.REFUNDED, "", DUE)),
        (State.REFUNDED, None, (State.REFUNDED, "", DUE)),
        (State.REFUNDED, DUE - 1, (State.PAID, Problem.REFUND, 0)),
        (State.PARTIALLY_REFUNDED, DUE, (State.PAID, Problem.REFUND, 0)),
        (State.PARTIALLY_REFUNDED, DUE + 1, (State.PAID, Problem.REFUND, 0)),
        (State.PARTIALLY_REFUNDED, 0, (State.PAID, Problem.REFUND, 0)),
    ],
)
def test_refund_is_compared_with_what_was_paid(status, amount, expected):
    found = after(payment(state=State.PAID), report(status, amount))

    assert (found.state, found.problem, found.refunded_cents) == expected


def test_parts_that_are_given_back_only_grow():
    row = payment(state=State.PARTIALLY_REFUNDED, refunded_cents=300)

    found = [
        after(row, report(State.PARTIALLY_REFUNDED, part)).refunded_cents for part in (200, 400)
    ]

    assert found == [300, 400]


def test_status_that_tells_no_amount_means_the_one_refund_that_is_open():
    told = report(State.PARTIALLY_REFUNDED, None, source=Source.SWEEP)

    found = after(payment(state=State.PAID), told, open_refund_cents=250)

    assert (found.state, found.refunded_cents) == (State.PARTIALLY_REFUNDED, 250)


def test_bank_that_takes_the_money_back_is_told():
    told = report(State.REFUNDED, DUE, reason="chargeback")

    assert after(payment(state=State.PAID), told).problem == Problem.CHARGEBACK


def test_reports_in_any_order_end_at_the_same_place():
    """What was paid and given back is so, however late the reports of the time before come in."""
    told = [
        report(State.PENDING),
        report(State.AUTHORIZED),
        report(State.PAID, DUE),
        report(State.PARTIALLY_REFUNDED, 100),
        report(State.REFUNDED, DUE),
        report(State.EXPIRED),
    ]
    rng = random.Random(7)
    for _round in range(200):
        row = payment()
        for item in rng.sample(told * 2, 12):
            found = after(row, item)
            assert RANK[found.state] >= RANK[row.state]
            row.state, row.paid_amount_cents = found.state, found.paid_cents
            row.refunded_cents, row.problem = found.refunded_cents, found.problem
        assert (row.state, row.paid_amount_cents, row.refunded_cents) == (State.REFUNDED, DUE, DUE)
