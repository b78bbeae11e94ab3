import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from catalog.models import Integration
from installs.models import Location, Merchant


class InboundStatus(models.TextChoices):
    RECEIVED = "received", _("Received")
    PROCESSED = "processed", _("Processed")
    QUARANTINED = "quarantined", _("Set aside")


class InboundQuerySet(models.QuerySet["InboundEvent"]):
    def due(self, at: datetime) -> "InboundQuerySet":
        return self.filter(status=InboundStatus.RECEIVED, due_at__lte=at).order_by("due_at")


class InboundEvent(models.Model):
    """The inbound ledger: what a partner told us, kept before we answer.

    `install_id` is no foreign key: the row, and with it the dedupe key, outlives an uninstall.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    install_id = models.UUIDField(_("install number"), editable=False)
    integration = models.ForeignKey(
        Integration,
        models.PROTECT,
        related_name="received_events",
        editable=False,
        verbose_name=_("integration"),
    )
    merchant = models.ForeignKey(
        Merchant, models.PROTECT, related_name="inbound_events", editable=False
    )
    provider_event_id = models.CharField(_("number at the partner"), max_length=255, editable=False)
    type = models.CharField(_("type"), max_length=100, editable=False)
    capability = models.CharField(_("capability"), max_length=40, editable=False)
    occurred_at = models.DateTimeField(_("happened"), null=True, editable=False)
    body = models.BinaryField(editable=False)
    body_digest = models.CharField(_("digest of the body"), max_length=64, editable=False)
    mismatched_at = models.DateTimeField(
        _("came again differently"),
        null=True,
        editable=False,
        help_text=_("When the same event id came again with another body. The first one counts."),
    )
    status = models.CharField(
        _("status"),
        max_length=12,
        choices=InboundStatus,
        default=InboundStatus.RECEIVED,
        editable=False,
    )
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0, editable=False)
    problem = models.CharField(_("problem"), max_length=200, blank=True, editable=False)
    due_at = models.DateTimeField(_("due"), default=timezone.now, editable=False)
    received_at = models.DateTimeField(_("received"), default=timezone.now, editable=False)
    processed_at = models.DateTimeField(_("processed"), null=True, editable=False)

    objects = InboundQuerySet.as_manager()

    class Meta:
        db_table = "inbound_event"
        verbose_name = _("inbound event")
        verbose_name_plural = _("inbound events")
        constraints = [
            models.UniqueConstraint(
                fields=["install_id", "provider_event_id"], name="one_row_per_provider_event"
            )
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(status="received"), name="inbound_due")
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.provider_event_id}"


class Event(models.Model):
    """A domain event of the POS. `body` is what every subscriber gets, byte for byte."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merchant = models.ForeignKey(Merchant, models.PROTECT, related_name="events")
    location = models.ForeignKey(
        Location, models.PROTECT, null=True, related_name="events", verbose_name=_("outlet")
    )
    type = models.CharField(_("type"), max_length=100)
    sequence = models.PositiveBigIntegerField(_("sequence"))
    idempotency_key = models.CharField(_("idempotency key"), max_length=255, null=True)
    body = models.BinaryField()
    occurred_at = models.DateTimeField(_("happened"))
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        db_table = "event"
        verbose_name = _("event")
        verbose_name_plural = _("events")
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "idempotency_key"], name="one_event_per_idempotency_key"
            ),
            models.UniqueConstraint(fields=["merchant", "sequence"], name="one_event_per_sequence"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class DeliveryStatus(models.TextChoices):
    PENDING = "pending", _("Pending")
    DELIVERED = "delivered", _("Delivered")
    DEAD = "dead", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def due(self, at: datetime) -> "DeliveryQuerySet":
        """Pending ones whose time has come and that nobody holds, the longest waiting first."""
        return (
            self.filter(status=DeliveryStatus.PENDING, next_attempt_at__lte=at)
            .filter(Q(lease_until__isnull=True) | Q(lease_until__lte=at))
            .order_by("next_attempt_at", "id")
        )

    def for_merchant(self, merchant_id: uuid.UUID) -> "DeliveryQuerySet":
        return self.filter(merchant_id=merchant_id)


class Delivery(models.Model):
    """One event on its way to one install's partner. The database is its clock."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    event = models.ForeignKey(Event, models.CASCADE, related_name="deliveries")
    merchant = models.ForeignKey(Merchant, models.PROTECT, related_name="deliveries")
    integration = models.ForeignKey(
        Integration, models.PROTECT, related_name="deliveries", verbose_name=_("integration")
    )
    install_id = models.UUIDField(_("install number"), editable=False)
    status = models.CharField(
        _("status"), max_length=9, choices=DeliveryStatus, default=DeliveryStatus.PENDING
    )
    reason = models.CharField(_("reason"), max_length=40, blank=True)
    attempts_made = models.PositiveSmallIntegerField(_("attempts"), default=0)
    attempts_before_replay = models.PositiveSmallIntegerField(
        _("attempts before it was sent again"), default=0
    )
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, default=timezone.now)
    lease_until = models.DateTimeField(_("held until"), null=True)
    fencing_token = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        db_table = "delivery"
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        constraints = [
            models.UniqueConstraint(fields=["event", "install_id"], name="one_delivery_per_install")
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at", "id"],
                condition=Q(status="pending"),
                name="delivery_due",
            ),
            models.Index(fields=["merchant", "-created_at"], name="delivery_of_merchant"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} -> {self.integration_id} {self.status}"


class Attempt(models.Model):
    """One try of a delivery, whatever came of it."""

    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField(_("number"))
    started_at = models.DateTimeField(_("started"))
    elapsed_ms = models.PositiveIntegerField(_("took (ms)"))
    response_status = models.PositiveSmallIntegerField(_("answered with"), null=True)
    problem = models.CharField(_("problem"), max_length=40, blank=True)
    response_excerpt = models.TextField(_("start of the answer"), blank=True)

    class Meta:
        db_table = "delivery_attempt"
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="one_row_per_attempt")
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} #{self.number}"
