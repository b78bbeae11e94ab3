"""Asks providers what became of payments that nobody has heard of: a tick calls it, and the rows know
when they are due.

A payment is claimed by a conditional update of its due time, so that a worker that dies gives it back
by itself. It is asked about without a lock, and what is answered goes through the door of
`payment_states`.

A payment that has expired is `expired` only where its partner, asked after that time, does not say
that it was paid. Where the partner gives no answer nobody knows: it stays unverified, is shown as such,
and is asked about for another week.
"""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from dispatch import payment_reports, payment_states
from dispatch.adapters import adapter_for
from dispatch.contracts import (
    AdapterError,
    AuthError,
    Call,
    DeclinedError,
    PermanentError,
    TemporaryError,
)
from dispatch.oauth import access_token_for
from dispatch.operations.payments import PaymentMethodAdapter, PaymentQuestion, PaymentState
from dispatch.payment_keeping import report_of
from dispatch.payment_models import PaymentIntent, Source, State
from dispatch.payment_states import WAITING, Report
from dispatch.router import partner
from installs.credentials import current_keys
from installs.models import Install

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 3.0
MOST_PER_RUN = 200
# Longer than any question takes, with the wait for a token.
LEASE = timedelta(seconds=60)
# A payment of the last second may still be on its way through the provider.
GRACE = timedelta(seconds=60)


def sweep() -> int:
    """Ask about what is due; return how many were asked about. Safe in many workers at once."""
    payment_reports.apply_all_parked()
    left_out: set[UUID] = set()
    asked = 0
    while asked < MOST_PER_RUN:
        due = PaymentIntent.objects.due(timezone.now()).exclude(integration__in=left_out)
        payment = due.select_related("integration", "merchant", "location").first()
        if payment is None:
            break
        if not partner(payment.integration.slug).breaker.allows():
            left_out.add(payment.integration_id)
        elif _claim(payment):
            asked += 1
            _sweep_one(payment)
    return asked


def _claim(payment: PaymentIntent) -> bool:
    mine = PaymentIntent.objects.filter(pk=payment.pk, next_sweep_at=payment.next_sweep_at)
    payment.next_sweep_at = timezone.now() + LEASE
    return bool(mine.update(next_sweep_at=payment.next_sweep_at))


def _sweep_one(payment: PaymentIntent) -> None:
    now, lease = timezone.now(), payment.next_sweep_at
    is_over = now >= payment.expires_at + GRACE
    try:
        report = _asked(payment)
    except Exception:
        logger.exception("Payment %s could not be asked about", payment.pk)
        report = None
    if report is not None:
        payment = payment_states.apply(payment.pk, report)
        is_unpaid = report.status in {State.PENDING, State.PENDING_VERIFICATION}
        if is_over and is_unpaid and payment.state in WAITING and not payment.problem:
            expired = Report(Source.SWEEP, State.EXPIRED, reason="not_paid_in_time")
            payment = payment_states.apply(payment.pk, expired)
    elif is_over and payment.state in WAITING:
        payment = payment_states.unanswered(payment.pk)
    _give_back(payment, lease, now)


def _give_back(payment: PaymentIntent, lease: datetime | None, now: datetime) -> None:
    """The next question, unless the payment is settled or somebody else has set a time meanwhile."""
    due_at = (
        payment_states.next_question_at(payment, now)
        if payment_states.is_watched(payment)
        else None
    )
    PaymentIntent.objects.filter(pk=payment.pk, next_sweep_at=lease).update(next_sweep_at=due_at)


def _asked(payment: PaymentIntent) -> Report | None:
    """What the provider says; None where it says nothing that can be read, or can't be asked."""
    if not payment.was_asked:
        # It never heard of the payment, so it has nothing to tell.
        return Report(Source.SWEEP, State.PENDING)
    install = Install.objects.with_names().filter(pk=payment.install_id).first()
    if install is None or not install.is_enabled or not install.integration.is_running:
        return None
    breaker = partner(payment.integration.slug).breaker
    try:
        told = _ask(payment, install)
    except DeclinedError:
        # A right answer: there is no such payment there, or not yet.
        breaker.succeeded()
        return Report(Source.SWEEP, State.PENDING_VERIFICATION, reason="declined")
    except TemporaryError:
        breaker.failed()
        return None
    except AdapterError as error:
        breaker.succeeded()
        logger.warning("Status of payment %s: %s", payment.pk, error)
        return None
    breaker.succeeded()
    return report_of(told, Source.SWEEP)


def _ask(payment: PaymentIntent, install: Install) -> PaymentState:
    slug = install.integration.slug
    version = install.capability_versions.get("payment_method", 1)
    adapter = adapter_for(slug, "payment_method", version)
    if not isinstance(adapter, PaymentMethodAdapter):
        raise PermanentError(f"no adapter asks {slug} about payments")
    token = ""
    if install.integration.is_oauth:
        try:
            token = access_token_for(install)
        except TemporaryError as error:
            # Not the payment's partner is down, but we have no token for it.
            raise AuthError(str(error)) from None
    call = Call(
        merchant=payment.merchant,
        location=payment.location,
        install=install,
        keys=current_keys([slug]).get(slug, {}),
        timeout_seconds=TIMEOUT_SECONDS,
        external_merchant_id=install.external_merchant_id,
        access_token=token,
    )
    question = PaymentQuestion(
        payment_id=payment.payment_id, provider_ref=payment.provider_ref or None
    )
    return adapter.payment_status(call, question)
