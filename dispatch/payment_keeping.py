"""What a till asks of a payment, as far as Posz keeps it: the row before, the outcome after.

The status that a till reads in an answer is the payment's own state, so that it never shows “paid”
without a verified event or an answer to `status`.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from dispatch import answers, payment_reports, payment_states
from dispatch.answers import Ask, Told, one_writer
from dispatch.operations.payments import (
    CancelledPayment,
    NewPayment,
    PaymentState,
    Refund,
    RefundOrder,
    StartedPayment,
)
from dispatch.orders import field_error
from dispatch.payment_models import PaymentIntent, PaymentRefund, RefundState, Source, State
from dispatch.payment_states import ENDED, SETTLED, Report
from dispatch.questions import Keeper, Question
from installs.models import Install

# For a payment of which nobody says when it ends.
LASTS = timedelta(days=1)
# Longer than any till waits for an answer.
FIRST_QUESTION_AFTER = timedelta(seconds=15)
SAME = ("order_id", "amount_cents", "tip_cents", "currency", "install_id", "location_id")


class PaymentKeeper(Keeper):
    payment: PaymentIntent

    def before(self, rows: list[Install]) -> list[Install]:
        """The one install that the payment was begun with. What makes two askings the same is
        never the till's to say: money depends on it."""
        self.ask = replace(self.ask, key=self.question.key)
        payment = self._find()
        if payment is None:
            raise ApiError("not_found", _("Posz knows no such payment."))
        self.payment = payment
        self._add_reference()
        return [row for row in rows if row.pk == payment.install_id]

    def after(self, told: dict[UUID, Told]) -> dict[UUID, Told]:
        return {install_id: self._taken_in(item) for install_id, item in told.items()}

    def _find(self) -> PaymentIntent | None:
        return PaymentIntent.objects.filter(
            merchant_id=self.ask.merchant_id, payment_id=self.question.request.payment_id
        ).first()

    def _add_reference(self) -> None:
        """The partner's own number of the payment goes along, where the till does not know it."""
        request = self.question.request
        if request.provider_ref is None and self.payment.provider_ref:
            request = msgspec.structs.replace(request, provider_ref=self.payment.provider_ref)
            self.question = replace(self.question, request=request)

    def _taken_in(self, told: Told) -> Told:
        with one_writer():
            self._take_in(told)
        if told.status != "ok" and not told.is_unknown:
            return told
        shown = {"status": self.payment.state}
        if self.payment.problem:
            shown["problem"] = self.payment.problem
        return replace(told, output={**told.output, **shown})

    def _take_in(self, told: Told) -> None:
        if told.is_unknown:
            self._report(Report(Source.TILL, State.PENDING_VERIFICATION, reason="no_answer"))
        elif told.status == "ok":
            self._answered(told.output)

    def _answered(self, output: dict[str, Any]) -> None:
        raise NotImplementedError

    def _report(self, report: Report) -> None:
        self.payment = payment_states.apply(self.payment.pk, report)


class Create(PaymentKeeper):
    is_new = False

    def before(self, rows: list[Install]) -> list[Install]:
        """Write the payment, or find the one that it is once more."""
        self.ask = replace(self.ask, key=self.question.key)
        request: NewPayment = self.question.request
        payment = self._find()
        if payment is not None:
            rows = [row for row in rows if row.pk == payment.install_id]
        if len(rows) > 1:
            message = _("Several integrations take payments here. Say which one is to be asked.")
            raise field_error("install_id", message)
        if not rows:
            return []
        wanted = self._drafted(request, rows[0])
        self.payment = payment or self._created(wanted)
        if any(getattr(self.payment, name) != getattr(wanted, name) for name in SAME):
            message = _("Another payment has this number. A new attempt takes a new one.")
            raise field_error("data.payment_id", message)
        has_ended = self.payment.state in ENDED or self.payment.state in SETTLED
        if has_ended and not answers.known_answers(self.ask, [rows[0].pk]):
            message = _("This payment has ended. A new attempt takes a new number.")
            raise field_error("data.payment_id", message)
        if not self.payment.was_asked:
            PaymentIntent.objects.filter(pk=self.payment.pk).update(was_asked=True)
        return rows

    def _drafted(self, request: NewPayment, install: Install) -> PaymentIntent:
        if self.ask.location_id is None:
            raise ApiError("not_found")
        now = timezone.now()
        seconds = request.expires_in_s
        return PaymentIntent(
            merchant_id=self.ask.merchant_id,
            location_id=self.ask.location_id,
            integration_id=install.integration_id,
            install_id=install.pk,
            payment_id=request.payment_id,
            order_id=request.order_id,
            amount_cents=request.amount_cents,
            tip_cents=request.tip_cents or 0,
            currency=request.currency,
            created_at=now,
            expires_at=now + (timedelta(seconds=seconds) if seconds else LASTS),
            next_sweep_at=now + FIRST_QUESTION_AFTER,
        )

    def _created(self, wanted: PaymentIntent) -> PaymentIntent:
        with one_writer(), transaction.atomic():
            PaymentIntent.objects.bulk_create([wanted], ignore_conflicts=True)
            found = self._find()
            if found is None:
                raise ApiError("internal")
            self.is_new = found.pk == wanted.pk
            if self.is_new:
                report = Report(Source.TILL, State.PENDING, wanted.due_cents)
                payment_states.note(found, report, previous="")
        return found

    def _take_in(self, told: Told) -> None:
        if told.status == "declined":
            self._report(Report(Source.TILL, State.FAILED, reason="declined"))
        elif told.status != "ok" and not told.is_unknown:
            if self.is_new:
                # It is certain that nobody was asked: there is nothing to be asked about.
                untouched = PaymentIntent.objects.filter(state=State.PENDING, provider_ref="")
                untouched.filter(pk=self.payment.pk).update(was_asked=False)
        else:
            super()._take_in(told)
        payment_reports.apply_parked(self.payment)
        self.payment.refresh_from_db()

    def _answered(self, output: dict[str, Any]) -> None:
        """Once only: an answer that is given again tells what was, not what is."""
        started = msgspec.convert(output, StartedPayment)
        if self.payment.provider_ref:
            return
        self._report(
            Report(
                Source.TILL,
                State(started.status),
                provider_ref=started.provider_ref,
                expires_at=started.expires_at,
                reason="answered",
            )
        )


class Status(PaymentKeeper):
    def _answered(self, output: dict[str, Any]) -> None:
        self._report(report_of(msgspec.convert(output, PaymentState), Source.STATUS))


class Cancel(PaymentKeeper):
    def before(self, rows: list[Install]) -> list[Install]:
        rows = super().before(rows)
        if self.payment.state in SETTLED:
            message = _("This payment is paid. It can be refunded, and no longer cancelled.")
            raise field_error("data.payment_id", message)
        return rows

    def _answered(self, output: dict[str, Any]) -> None:
        told = msgspec.convert(output, CancelledPayment)
        self._report(
            Report(Source.TILL, State(told.status), provider_ref=told.provider_ref, reason="cancel")
        )


class GiveBack(PaymentKeeper):
    refund: PaymentRefund

    def before(self, rows: list[Install]) -> list[Install]:
        request: RefundOrder = self.question.request
        rows = super().before(rows)
        if not rows:
            return []
        with one_writer():
            refund = payment_states.reserve_refund(
                self.payment.pk, request.refund_id, request.amount_cents
            )
        if refund is None:
            raise field_error("data.amount_cents", _("This is more than is left of the payment."))
        if (refund.payment_id, refund.amount_cents) != (self.payment.pk, request.amount_cents):
            message = _("Another refund has this number. A new one takes a new number.")
            raise field_error("data.refund_id", message)
        self.refund = refund
        return rows

    def _taken_in(self, told: Told) -> Told:
        with one_writer():
            self._take_in(told)
        if told.status == "ok":
            return replace(told, output={**told.output, "status": _shown(self.refund)})
        return told

    def _take_in(self, told: Told) -> None:
        if told.is_unknown:
            return
        state, reference, is_other = RefundState.FAILED, "", False
        if told.status == "ok":
            answer = msgspec.convert(told.output, Refund)
            state, reference = RefundState(answer.status), answer.refund_ref
            is_other = answer.amount_cents not in {None, self.refund.amount_cents}
        self.payment, self.refund = payment_states.refund_told(
            self.refund.pk, state, refund_ref=reference, is_other_amount=is_other
        )


def _shown(refund: PaymentRefund) -> str:
    """A refund that is not certain is pending to a till."""
    return "pending" if refund.state in payment_states.OPEN_REFUNDS else refund.state


def report_of(told: PaymentState, source: Source) -> Report:
    status = State(told.status)
    return Report(
        source,
        status,
        amount_cents=told.paid_amount_cents if status == State.PAID else None,
        currency=told.currency,
        provider_ref=told.provider_ref,
    )


KEEPERS: dict[tuple[str, str], Callable[[Ask, Question], Keeper]] = {
    ("payment_method", "create"): Create,
    ("payment_method", "status"): Status,
    ("payment_method", "cancel"): Cancel,
    ("payment_method", "refund"): GiveBack,
}
