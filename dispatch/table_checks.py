"""Checks at tables, and the guests who pay them through a partner: the one door to both.

The POS says what a check is (`take`); partners read it, lock it while a guest pays, and report the
money. Every act locks the check's row, so that two guests who start at once get one lock. What a guest
has paid counts on top of what the POS says was paid, until the POS lists that payment in the check.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from catalog.models import Integration
from dispatch.operations import as_document, where_and_what
from dispatch.operations.common import Table
from dispatch.operations.payments import (
    Applied,
    Check,
    CheckChange,
    CheckQuestion,
    Checks,
    Lock,
    NothingAsked,
    PaymentApply,
    PaymentRelease,
    PaymentStart,
    Released,
    TableQuestion,
    Tables,
)
from dispatch.table_models import TableCheck, TablePayment, TablePaymentState
from installs import audit
from installs.models import Install

logger = logging.getLogger(__name__)

CLOSED = "check.closed"
EVENTS = frozenset({"check.opened", "check.updated", CLOSED})
LONGEST_LOCK = timedelta(seconds=120)
MOST_TABLES = 500
# A table that had no check for so long is none that a guest sits at.
TABLES_OF = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Place:
    """The outlet that a partner asks about, and the install with which it does."""

    install: Install
    location_id: UUID

    @property
    def integration(self) -> Integration:
        return self.install.integration


# What the POS says


def take(
    merchant_id: UUID, location_id: UUID | None, event_type: str, data: Mapping[str, Any]
) -> None:
    """Keep the newest version of a check. Whatever can't be read is told to staff and left out:
    events of the POS are never refused. To be called in the event's own transaction."""
    try:
        check = msgspec.convert(dict(data), CheckChange).check
    except msgspec.ValidationError as error:
        logger.warning("A check of %s can't be read: data%s", merchant_id, where_and_what(error)[0])
        return
    if location_id is None:
        logger.warning("A check of %s says no outlet", merchant_id)
        return
    is_closed = event_type == CLOSED or check.status == "closed"
    said = {
        "version": check.version,
        "table": check.table,
        "document": as_document(check),
        "total_cents": check.total_cents,
        "paid_cents": check.paid_cents,
        "booked": [item.id for item in check.payments],
        "is_closed": is_closed,
        "changed_at": timezone.now(),
        "location_id": location_id,
    }
    row = TableCheck(merchant_id=merchant_id, check_id=check.check_id, **said)
    TableCheck.objects.bulk_create([row], ignore_conflicts=True)
    older = TableCheck.objects.filter(merchant_id=merchant_id, check_id=check.check_id)
    # The POS may close a check without counting its version up.
    last = check.version if is_closed else check.version - 1
    older.filter(version__lte=last).update(**said)


# What partners ask


def tables(place: Place, _asked: NothingAsked) -> Tables:
    seen = TableCheck.objects.filter(
        location_id=place.location_id, changed_at__gt=timezone.now() - TABLES_OF
    )
    names = seen.order_by("table").values_list("table", flat=True).distinct()[:MOST_TABLES]
    return Tables(tables=tuple(Table(id=name, name=name) for name in names))


def checks_of_table(place: Place, asked: TableQuestion) -> Checks:
    """Refused with `qr_invalid` where there never was a check at such a table."""
    rows = TableCheck.objects.filter(location_id=place.location_id, table=asked.table)
    if not rows.exists():
        raise ApiError("qr_invalid")
    is_open = rows.filter(is_closed=False).prefetch_related("payments").order_by("changed_at")
    return Checks(checks=tuple(_shown(row) for row in is_open))


def check(place: Place, asked: CheckQuestion) -> Check:
    return _shown(_check_of(place, asked.check_id, is_locked=False))


def start(place: Place, asked: PaymentStart) -> Lock:
    """Lock the check for one guest. The same payment gets its own lock again, for a new while."""
    now = timezone.now()
    until = now + (timedelta(seconds=asked.ttl_s) if asked.ttl_s else LONGEST_LOCK)
    with transaction.atomic():
        row = _check_of(place, asked.check_id, is_locked=True)
        payments = list(row.payments.all())
        known = _known(place, asked.payment_id)
        if known is not None and (known.check_row_id, known.asked_cents) != (
            row.pk,
            asked.amount_cents,
        ):
            raise _other_payment()
        if known is not None and known.state == TablePaymentState.APPLIED:
            return Lock(lock_id=str(known.lock_id), due_cents=_due(row, payments), expires_at=now)
        _require_payable(row, payments, asked, now)
        payment = known or TablePayment(
            merchant_id=row.merchant_id,
            location_id=row.location_id,
            integration=place.integration,
            install_id=place.install.pk,
            check_row=row,
            payment_id=asked.payment_id,
            lock_id=uuid4(),
            asked_cents=asked.amount_cents,
            items=[as_document(item) for item in asked.items],
        )
        payment.state, payment.lock_until = TablePaymentState.STARTED, until
        payment.save()
    return Lock(lock_id=str(payment.lock_id), due_cents=_due(row, payments), expires_at=until)


def apply(integration: Integration, merchant_id: UUID | None, asked: PaymentApply) -> Applied:
    """Take in money that a guest has paid, once per payment, whatever became of check and lock.

    What is more than the check still wants is `overpaid_cents`, for somebody to give back.
    """
    with transaction.atomic():
        payment, row = _locked(integration, merchant_id, asked.lock_id, asked.payment_id)
        due = _due(row, list(row.payments.all()))
        if payment.state != TablePaymentState.APPLIED:
            # A check that is closed wants nothing any more.
            wanted = 0 if row.is_closed else due
            payment.state = TablePaymentState.APPLIED
            payment.amount_cents = asked.amount_cents
            payment.tip_cents = asked.tip_cents or 0
            payment.overpaid_cents = max(asked.amount_cents - wanted, 0)
            payment.method, payment.provider_ref = asked.method, asked.provider_ref
            payment.paid_at, payment.applied_at = asked.paid_at, timezone.now()
            payment.save()
            _tell_of_excess(payment, row)
        payments = list(row.payments.all())
    return Applied(
        due_cents=_due(row, payments),
        check_status=_status(row, payments, timezone.now()),
        overpaid_cents=payment.overpaid_cents or None,
    )


def release(integration: Integration, merchant_id: UUID | None, asked: PaymentRelease) -> Released:
    """Give a lock back. Money that was taken in stays."""
    with transaction.atomic():
        payment, row = _locked(integration, merchant_id, asked.lock_id, asked.payment_id)
        if payment.state == TablePaymentState.STARTED:
            payment.state = TablePaymentState.RELEASED
            payment.save(update_fields=["state"])
        payments = list(row.payments.all())
    return Released(
        due_cents=_due(row, payments), check_status=_status(row, payments, timezone.now())
    )


def _check_of(place: Place, check_id: str, *, is_locked: bool) -> TableCheck:
    rows = TableCheck.objects.filter(location_id=place.location_id, check_id=check_id)
    row = (rows.select_for_update(of=("self",)) if is_locked else rows).first()
    if row is None:
        raise ApiError("check_not_found")
    return row


def _known(place: Place, payment_id: str) -> TablePayment | None:
    return TablePayment.objects.filter(
        merchant_id=place.install.merchant_id,
        integration=place.integration,
        payment_id=payment_id,
    ).first()


def _locked(
    integration: Integration, merchant_id: UUID | None, lock_id: str, payment_id: str
) -> tuple[TablePayment, TableCheck]:
    """The payment of a lock and its check, which is locked first: that is the order of all."""
    try:
        number = UUID(lock_id)
    except ValueError:
        raise ApiError("check_not_found") from None
    rows = TablePayment.objects.filter(
        integration=integration, lock_id=number, payment_id=payment_id
    )
    if merchant_id is not None:
        rows = rows.filter(merchant_id=merchant_id)
    found = rows.first()
    if found is None:
        raise ApiError("check_not_found")
    row = TableCheck.objects.select_for_update(of=("self",)).get(pk=found.check_row_id)
    return TablePayment.objects.get(pk=found.pk), row


def _require_payable(
    row: TableCheck, payments: list[TablePayment], asked: PaymentStart, now: datetime
) -> None:
    due = _due(row, payments)
    if row.is_closed:
        raise ApiError("check_closed")
    if asked.version is not None and asked.version != row.version:
        raise ApiError("version_conflict", version=row.version)
    others = [item for item in payments if item.payment_id != asked.payment_id]
    if (until := _locked_until(others, now)) is not None:
        seconds = int((until - now).total_seconds()) + 1
        raise ApiError("locked", retry_after=seconds, expires_at=until.isoformat())
    if asked.amount_cents > due:
        raise ApiError("amount_exceeds_due", due_cents=due)
    lines = {line["id"] for line in row.document["lines"]}
    if any(item.line_id not in lines for item in asked.items):
        raise ApiError("version_conflict", _("The check has no such line."), version=row.version)


def _other_payment() -> ApiError:
    message = _("Another payment has this number. A new attempt takes a new one.")
    return ApiError("invalid_payload", message, fields={"data.payment_id": [message]})


def _due(row: TableCheck, payments: list[TablePayment]) -> int:
    return max(row.total_cents - row.paid_cents - row.unbooked_cents(payments), 0)


def _locked_until(payments: list[TablePayment], now: datetime) -> datetime | None:
    locks = [item.lock_until for item in payments if item.state == TablePaymentState.STARTED]
    return max((until for until in locks if until > now), default=None)


def _status(row: TableCheck, payments: list[TablePayment], now: datetime) -> Any:
    if row.is_closed:
        return "closed"
    return "locked" if _locked_until(payments, now) else "open"


def _shown(row: TableCheck) -> Check:
    payments = list(row.payments.all())
    told = msgspec.convert(row.document, Check)
    return msgspec.structs.replace(
        told,
        paid_cents=row.paid_cents + row.unbooked_cents(payments),
        due_cents=_due(row, payments),
        status=_status(row, payments, timezone.now()),
    )


def _tell_of_excess(payment: TablePayment, row: TableCheck) -> None:
    if not payment.overpaid_cents:
        return
    audit.record(
        "payment.overpaid",
        actor=payment.integration.slug,
        install=Install.objects.with_names().filter(pk=payment.install_id).first(),
        merchant_id=payment.merchant_id,
        integration_slug=payment.integration.slug,
        location=row.location,
        data={
            "payment_id": payment.payment_id,
            "external_order_id": row.check_id,
            "overpaid_cents": payment.overpaid_cents,
        },
    )
