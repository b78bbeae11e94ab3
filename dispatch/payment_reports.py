"""What providers report of payments by webhook: taken to the payment, or parked until there is one.

A report belongs to a payment of the same merchant that was begun with the same integration. It is
found by our number of it, else by the partner's.
"""

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from dispatch import payment_states
from dispatch.operations.payments import ReportedPayment
from dispatch.payment_models import ParkedReport, PaymentIntent, Problem, Source, State
from dispatch.payment_states import Report

GIVEN_BACK = frozenset({State.REFUNDED, State.PARTIALLY_REFUNDED})
MOST_PARKED = 500


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose report it is, and which event of theirs."""

    merchant_id: UUID
    integration_id: UUID
    install_id: UUID
    event_id: str


def take(sender: Sender, told: ReportedPayment) -> str:
    """What became of a report: `applied` (which may have changed nothing), `parked`, or `ignored`
    where it is about no payment that tills ask for. To be called in the event's own transaction."""
    if told.kind == "bill" or (told.kind != "payment" and told.status not in GIVEN_BACK):
        return "ignored"
    row = ParkedReport(
        merchant_id=sender.merchant_id,
        integration_id=sender.integration_id,
        install_id=sender.install_id,
        event_id=sender.event_id,
        payment_id=told.payment_id or "",
        provider_ref=told.provider_ref,
        kind=told.kind,
        status=told.status,
        amount_cents=told.amount_cents,
        currency=told.currency,
    )
    payment = _payment_of(row)
    if payment is None:
        ParkedReport.objects.bulk_create([row], ignore_conflicts=True)
        # The payment may have come, or learned the partner's number, while this was written.
        transaction.on_commit(lambda: _apply_if_known(row))
        return "parked"
    payment_states.apply(payment.pk, _report(row))
    return "applied"


def apply_parked(payment: PaymentIntent) -> int:
    """Apply what was reported of the payment before it was known; return how much that was."""
    named = Q(payment_id=payment.payment_id)
    if payment.provider_ref:
        named |= Q(payment_id="", provider_ref=payment.provider_ref)
    waiting = ParkedReport.objects.filter(
        named,
        merchant_id=payment.merchant_id,
        integration_id=payment.integration_id,
        applied_at=None,
    )
    return sum(_apply(row, payment) for row in waiting)


def apply_all_parked() -> int:
    """Whatever waits and has its payment by now: both may have been written at the same moment."""
    named = Q(payment_id=OuterRef("payment_id")) | Q(provider_ref=OuterRef("provider_ref"))
    same_place = {name: OuterRef(name) for name in ("merchant_id", "integration_id")}
    known = PaymentIntent.objects.filter(named, **same_place)
    waiting = ParkedReport.objects.filter(Exists(known), applied_at=None).order_by("id")
    return sum(_apply_if_known(row) for row in waiting[:MOST_PARKED])


def _apply_if_known(row: ParkedReport) -> bool:
    payment = _payment_of(row)
    return payment is not None and _apply(row, payment)


def _apply(row: ParkedReport, payment: PaymentIntent) -> bool:
    with transaction.atomic():
        mine = ParkedReport.objects.filter(
            install_id=row.install_id, event_id=row.event_id, applied_at=None
        )
        if not mine.update(applied_at=timezone.now()):
            return False
        payment_states.apply(payment.pk, _report(row))
    return True


def _payment_of(row: ParkedReport) -> PaymentIntent | None:
    rows = PaymentIntent.objects.filter(
        merchant_id=row.merchant_id, integration_id=row.integration_id
    )
    if row.payment_id:
        return rows.filter(payment_id=row.payment_id).first()
    return rows.filter(provider_ref=row.provider_ref).order_by("created_at").first()


def _report(row: ParkedReport) -> Report:
    return Report(
        Source.WEBHOOK,
        State(row.status),
        amount_cents=row.amount_cents,
        currency=row.currency,
        provider_ref=row.provider_ref,
        reason=Problem.CHARGEBACK if row.kind == "chargeback" else row.kind,
        event_id=row.event_id,
    )
