import uuid
from collections.abc import Iterable

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from catalog.models import Integration
from installs.models import Location, Merchant


class TableCheck(models.Model):
    """A bill at a table, as the newest event of the POS tells it.

    `booked` are the payments of guests that are part of the POS's own `paid_cents`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merchant = models.ForeignKey(
        Merchant, models.PROTECT, related_name="table_checks", db_index=False
    )
    location = models.ForeignKey(
        Location,
        models.PROTECT,
        related_name="table_checks",
        db_index=False,
        verbose_name=_("outlet"),
    )
    check_id = models.CharField(_("number of the check"), max_length=200)
    version = models.PositiveIntegerField(_("version"))
    table = models.CharField(_("table"), max_length=200)
    document = models.JSONField(default=dict)
    total_cents = models.BigIntegerField(_("total"))
    paid_cents = models.BigIntegerField(_("paid at the till"))
    booked = models.JSONField(default=list)
    is_closed = models.BooleanField(_("closed"), default=False)
    changed_at = models.DateTimeField(_("changed"), default=timezone.now)

    class Meta:
        db_table = "table_check"
        verbose_name = _("check at a table")
        verbose_name_plural = _("checks at tables")
        constraints = [
            models.UniqueConstraint(fields=["merchant", "check_id"], name="one_row_per_check")
        ]
        indexes = [
            models.Index(fields=["location", "table"], name="check_of_table"),
            models.Index(fields=["-changed_at"], name="check_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.check_id} v{self.version}"

    def unbooked_cents(self, payments: "Iterable[TablePayment]") -> int:
        """What guests have paid and the POS has not booked yet."""
        return sum(
            item.amount_cents
            for item in payments
            if item.state == TablePaymentState.APPLIED and item.payment_id not in self.booked
        )


class TablePaymentState(models.TextChoices):
    STARTED = "started", _("Started")
    APPLIED = "applied", _("Paid")
    RELEASED = "released", _("Given up")


class TablePayment(models.Model):
    """One guest's payment of a check: first a lock, then money, once per number of the partner.

    A lock holds until `lock_until`, whatever became of the partner. Money is taken in also after it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merchant = models.ForeignKey(
        Merchant, models.PROTECT, related_name="table_payments", db_index=False
    )
    location = models.ForeignKey(
        Location,
        models.PROTECT,
        related_name="table_payments",
        db_index=False,
        verbose_name=_("outlet"),
    )
    integration = models.ForeignKey(
        Integration,
        models.PROTECT,
        related_name="table_payments",
        db_index=False,
        verbose_name=_("integration"),
    )
    install_id = models.UUIDField(_("install number"))
    check_row = models.ForeignKey(TableCheck, models.PROTECT, related_name="payments")
    payment_id = models.CharField(_("payment number"), max_length=200)
    lock_id = models.UUIDField(default=uuid.uuid4, unique=True)
    lock_until = models.DateTimeField(_("locked until"))
    asked_cents = models.BigIntegerField(_("amount"))
    items = models.JSONField(default=list)
    state = models.CharField(
        _("state"), max_length=8, choices=TablePaymentState, default=TablePaymentState.STARTED
    )
    amount_cents = models.BigIntegerField(_("paid amount"), default=0)
    tip_cents = models.BigIntegerField(_("tip"), default=0)
    overpaid_cents = models.BigIntegerField(_("overpaid"), default=0)
    method = models.CharField(_("method"), max_length=200, blank=True)
    provider_ref = models.CharField(_("number at the partner"), max_length=200, blank=True)
    paid_at = models.DateTimeField(_("paid"), null=True)
    applied_at = models.DateTimeField(_("taken in"), null=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        db_table = "table_payment"
        verbose_name = _("payment at a table")
        verbose_name_plural = _("payments at tables")
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "integration", "payment_id"], name="one_table_payment"
            )
        ]
        indexes = [
            models.Index(
                fields=["merchant", "applied_at"],
                condition=Q(state="applied"),
                name="table_payment_applied",
            ),
            models.Index(fields=["-created_at"], name="table_payment_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.payment_id} {self.state}"
