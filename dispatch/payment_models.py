import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from catalog.models import Integration
from installs.models import Location, Merchant


class State(models.TextChoices):
    PENDING = "pending", _("Waiting for the guest")
    PENDING_VERIFICATION = "pending_verification", _("Not verified yet")
    AUTHORIZED = "authorized", _("Authorized")
    PAID = "paid", _("Paid")
    PARTIALLY_REFUNDED = "partially_refunded", _("Refunded in part")
    REFUNDED = "refunded", _("Refunded")
    FAILED = "failed", _("Failed")
    EXPIRED = "expired", _("Expired")
    CANCELLED = "cancelled", _("Cancelled")


class Source(models.TextChoices):
    """Who said so."""

    TILL = "till", _("The till")
    WEBHOOK = "webhook", _("A webhook of the provider")
    STATUS = "status", _("The provider, asked by the till")
    SWEEP = "sweep", _("The provider, asked by Posz")


class Problem(models.TextChoices):
    """Why somebody has to look at a payment."""

    AMOUNT = "amount_mismatch", _("The provider reports another amount than was asked for.")
    CURRENCY = "currency_mismatch", _("The provider reports another currency than was asked for.")
    REFUND = "refund_mismatch", _("The provider reports another refund than was asked for.")
    LATE = "paid_after_end", _("It was paid after it had ended; the order may be paid twice.")
    CHARGEBACK = "chargeback", _("The guest’s bank has taken the money back.")
    UNANSWERED = "unanswered", _("It has expired and the provider does not say what became of it.")


class IntentQuerySet(models.QuerySet["PaymentIntent"]):
    def for_merchant(self, merchant_id: uuid.UUID) -> "IntentQuerySet":
        return self.filter(merchant_id=merchant_id)

    def due(self, at: datetime) -> "IntentQuerySet":
        """Those whose provider is to be asked now, the longest waiting first."""
        return self.filter(next_sweep_at__lte=at).order_by("next_sweep_at")

    def in_need(self) -> "IntentQuerySet":
        """Held, or of an outcome that nobody knows yet."""
        return self.filter(~Q(problem="") | Q(state=State.PENDING_VERIFICATION))


class PaymentIntent(models.Model):
    """A payment that a till asked for, and what is known of it.

    Written only by `payment_states`. `install_id` is no foreign key: the row outlives an uninstall.
    `was_asked` is false only where it is certain that the partner never heard of it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merchant = models.ForeignKey(Merchant, models.PROTECT, related_name="payments", db_index=False)
    location = models.ForeignKey(
        Location, models.PROTECT, related_name="payments", db_index=False, verbose_name=_("outlet")
    )
    integration = models.ForeignKey(
        Integration,
        models.PROTECT,
        related_name="payments",
        db_index=False,
        verbose_name=_("integration"),
    )
    install_id = models.UUIDField(_("install number"))
    payment_id = models.CharField(_("payment number"), max_length=200)
    order_id = models.CharField(_("order number"), max_length=200)
    amount_cents = models.BigIntegerField(_("amount"))
    tip_cents = models.BigIntegerField(_("tip"), default=0)
    currency = models.CharField(_("currency"), max_length=3)
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.PENDING)
    problem = models.CharField(_("problem"), max_length=20, choices=Problem, blank=True)
    provider_ref = models.CharField(_("number at the partner"), max_length=200, blank=True)
    paid_amount_cents = models.BigIntegerField(_("paid amount"), default=0)
    refunded_cents = models.BigIntegerField(_("refunded amount"), default=0)
    was_asked = models.BooleanField(default=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires"))
    next_sweep_at = models.DateTimeField(_("next question"), null=True)

    objects = IntentQuerySet.as_manager()

    class Meta:
        db_table = "payment_intent"
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "payment_id"], name="one_intent_per_payment"
            )
        ]
        indexes = [
            models.Index(
                fields=["next_sweep_at"],
                condition=Q(next_sweep_at__isnull=False),
                name="payment_to_sweep",
            ),
            models.Index(
                fields=["merchant", "integration", "provider_ref"], name="payment_by_reference"
            ),
            models.Index(fields=["merchant", "-created_at"], name="payment_of_merchant"),
            models.Index(fields=["-created_at"], name="payment_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.payment_id} {self.state}"

    @property
    def due_cents(self) -> int:
        """What the guest pays: the amount and the tip together."""
        return self.amount_cents + self.tip_cents


class PaymentChange(models.Model):
    """One accepted change of a payment, never changed itself."""

    payment = models.ForeignKey(PaymentIntent, models.CASCADE, related_name="changes")
    at = models.DateTimeField(_("at"), default=timezone.now)
    source = models.CharField(_("source"), max_length=7, choices=Source)
    previous = models.CharField(_("before"), max_length=20, choices=State, blank=True)
    state = models.CharField(_("state"), max_length=20, choices=State)
    problem = models.CharField(_("problem"), max_length=20, choices=Problem, blank=True)
    reason = models.CharField(_("reason"), max_length=40, blank=True)
    amount_cents = models.BigIntegerField(_("reported amount"), null=True)
    event_id = models.CharField(_("event of the partner"), max_length=255, blank=True)

    class Meta:
        db_table = "payment_change"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.previous} -> {self.state}"


class RefundState(models.TextChoices):
    PENDING_VERIFICATION = "pending_verification", _("Not verified yet")
    PENDING = "pending", _("Pending")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")


class PaymentRefund(models.Model):
    """Money that was asked to be given back, kept before the partner is asked.

    Whatever has not failed counts against what was paid.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    payment = models.ForeignKey(PaymentIntent, models.CASCADE, related_name="refunds")
    merchant = models.ForeignKey(
        Merchant, models.PROTECT, related_name="payment_refunds", db_index=False
    )
    refund_id = models.CharField(_("refund number"), max_length=200)
    amount_cents = models.BigIntegerField(_("amount"))
    state = models.CharField(
        _("state"), max_length=20, choices=RefundState, default=RefundState.PENDING_VERIFICATION
    )
    refund_ref = models.CharField(_("number at the partner"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        db_table = "payment_refund"
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["merchant", "refund_id"], name="one_row_per_refund")
        ]

    def __str__(self) -> str:
        return f"{self.refund_id} {self.state}"


class ParkedReport(models.Model):
    """What a provider reported of a payment that nobody had asked for yet.

    Applied as soon as such a payment is known, and then kept with the time of that.
    """

    merchant = models.ForeignKey(
        Merchant, models.PROTECT, related_name="parked_payments", db_index=False
    )
    integration = models.ForeignKey(
        Integration,
        models.PROTECT,
        related_name="parked_payments",
        db_index=False,
        verbose_name=_("integration"),
    )
    install_id = models.UUIDField(_("install number"))
    event_id = models.CharField(_("event of the partner"), max_length=255)
    payment_id = models.CharField(_("payment number"), max_length=200, blank=True)
    provider_ref = models.CharField(_("number at the partner"), max_length=200)
    kind = models.CharField(_("kind"), max_length=10)
    status = models.CharField(_("status"), max_length=20, choices=State)
    amount_cents = models.BigIntegerField(_("amount"))
    currency = models.CharField(_("currency"), max_length=3)
    received_at = models.DateTimeField(_("received"), default=timezone.now)
    applied_at = models.DateTimeField(_("applied"), null=True)

    class Meta:
        db_table = "payment_parked"
        verbose_name = _("report of an unknown payment")
        verbose_name_plural = _("reports of unknown payments")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["install_id", "event_id"], name="one_row_per_report")
        ]
        indexes = [
            models.Index(
                fields=["merchant", "integration"],
                condition=Q(applied_at__isnull=True),
                name="payment_parked_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider_ref} {self.status}"
