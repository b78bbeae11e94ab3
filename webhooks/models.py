import uuid
from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from catalog.models import Integration
from installs.models import Install, Location, Merchant


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
            models.Index(fields=["due_at"], condition=Q(status="received"), name="inbound_due"),
            models.Index(
                fields=["received_at"],
                condition=Q(status="quarantined"),
                name="inbound_set_aside",
            ),
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
    sequence = models.PositiveBigIntegerField(
        _("sequence"),
        null=True,
        help_text=_("Counts the events of a merchant. Examples are not counted."),
    )
    is_example = models.BooleanField(
        _("example"), default=False, help_text=_("Sent to try an endpoint; nothing has happened.")
    )
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
        return self.filter(
            status=DeliveryStatus.PENDING, next_attempt_at__lte=at, lease_until=None
        ).order_by("next_attempt_at")

    def leased(self, at: datetime) -> "DeliveryQuerySet":
        """Those that a worker holds, or held when it died. Their time has come, by definition."""
        return self.filter(
            status=DeliveryStatus.PENDING, next_attempt_at__lte=at, lease_until__isnull=False
        )

    def paused(self) -> "DeliveryQuerySet":
        """Put aside while their install is switched off; they have no due time."""
        return self.filter(status=DeliveryStatus.PENDING, next_attempt_at=None)

    def for_merchant(self, merchant_id: uuid.UUID) -> "DeliveryQuerySet":
        return self.filter(merchant_id=merchant_id)

    def with_trouble(self) -> "DeliveryQuerySet":
        """Failed for good, or failed and tried again."""
        failed = Q(status=DeliveryStatus.DEAD)
        return self.filter(failed | (Q(status=DeliveryStatus.PENDING) & ~Q(reason="")))


class Delivery(models.Model):
    """One event on its way to one install's partner. The database is its clock."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    event = models.ForeignKey(Event, models.CASCADE, related_name="deliveries")
    merchant = models.ForeignKey(Merchant, models.PROTECT, related_name="deliveries")
    integration = models.ForeignKey(
        Integration,
        models.PROTECT,
        related_name="deliveries",
        db_index=False,
        verbose_name=_("integration"),
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
    sequence = models.PositiveBigIntegerField(_("sequence"), null=True)
    order_key = models.CharField(
        _("order"),
        max_length=255,
        blank=True,
        help_text=_("Deliveries of an install with the same one are sent one after the other."),
    )
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
            # Per endpoint, so that one with a long queue costs the others nothing.
            models.Index(
                fields=["integration", "next_attempt_at"],
                condition=Q(status="pending"),
                name="delivery_due_at_endpoint",
            ),
            models.Index(
                fields=["install_id", "order_key", "sequence"],
                condition=Q(status="pending"),
                name="delivery_waiting",
            ),
            models.Index(fields=["merchant", "-created_at"], name="delivery_of_merchant"),
            models.Index(fields=["integration", "created_at"], name="delivery_of_integration"),
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


class BreakerState(models.TextChoices):
    CLOSED = "closed", _("Sending")
    OPEN = "open", _("Paused: the partner fails")
    RECOVERING = "recovering", _("Catching up")


class Endpoint(models.Model):
    """Where an integration's events go, as all workers see it: its breaker, its pace, its totals.

    Written only by whoever holds the row's lock. `in_flight` counts leased deliveries; what a worker
    that died has left in it is corrected when its leases end.
    """

    integration = models.OneToOneField(
        Integration,
        models.CASCADE,
        primary_key=True,
        related_name="endpoint",
        verbose_name=_("integration"),
    )
    state = models.CharField(
        _("state"), max_length=10, choices=BreakerState, default=BreakerState.CLOSED
    )
    changed_at = models.DateTimeField(_("since"), default=timezone.now)
    probe_at = models.DateTimeField(_("next try"), null=True)
    window_started_at = models.DateTimeField(default=timezone.now)
    window_attempts = models.PositiveIntegerField(default=0)
    window_failures = models.PositiveIntegerField(default=0)
    in_flight = models.PositiveIntegerField(_("on their way"), default=0)
    next_slot_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    totals = models.JSONField(
        _("attempts by outcome"),
        default=dict,
        help_text=_("Outcome to number of attempts since the beginning."),
    )
    latency_counts = models.JSONField(
        default=list, help_text=_("Attempts per step of the latency ladder.")
    )
    latency_ms_total = models.PositiveBigIntegerField(default=0)

    class Meta:
        db_table = "delivery_endpoint"
        verbose_name = _("endpoint")
        verbose_name_plural = _("endpoints")

    def __str__(self) -> str:
        return f"{self.integration_id} {self.state}"


class Attention(models.TextChoices):
    """What a merchant should know about an install's deliveries."""

    FAILING = "endpoint_failing", _("The partner does not take events")
    GONE = "endpoint_gone", _("The partner has closed its address for events")


class Turn(models.TextChoices):
    YOU = "you", _("You")
    PARTNER = "partner", _("The partner")
    POSZ = "posz", _("Posz")


# Why an attempt failed where only staff of Posz can mend it.
OURS = frozenset({"address_refused", "request_refused", "door"})


class HealthQuerySet(models.QuerySet["DeliveryHealth"]):
    def in_need(self) -> "HealthQuerySet":
        """With an open incident, of installs that are there and switched on."""
        working = Install.objects.filter(is_enabled=True).values("pk")
        return self.exclude(attention="").filter(install_id__in=working)

    def to_mail(self) -> "HealthQuerySet":
        """In need, with an incident that its merchant has had no mail about."""
        unsaid = Q(mailed_at=None) | Q(mailed_at__lt=F("attention_at"))
        return self.in_need().filter(unsaid)


class DeliveryHealth(models.Model):
    """How an install's deliveries are doing: one row, with at most one open incident.

    `install_id` is no foreign key: recording an attempt must not wait for whoever changes the install.
    """

    install_id = models.UUIDField(_("install number"), primary_key=True)
    merchant = models.ForeignKey(Merchant, models.CASCADE, related_name="delivery_health")
    integration = models.ForeignKey(Integration, models.CASCADE, related_name="delivery_health")
    last_success_at = models.DateTimeField(_("last success"), null=True)
    failing_since = models.DateTimeField(_("failing since"), null=True)
    failures = models.PositiveIntegerField(_("failures since the last success"), default=0)
    problem = models.CharField(_("problem"), max_length=40, blank=True)
    attention = models.CharField(
        _("needs attention"), max_length=20, choices=Attention, blank=True, default=""
    )
    attention_at = models.DateTimeField(_("needs attention since"), null=True)
    mailed_at = models.DateTimeField(_("mailed"), null=True)

    objects = HealthQuerySet.as_manager()

    class Meta:
        db_table = "delivery_health"
        verbose_name = _("health of deliveries")
        verbose_name_plural = _("health of deliveries")
        indexes = [
            models.Index(
                fields=["merchant"], condition=~Q(attention=""), name="health_needs_attention"
            )
        ]

    def __str__(self) -> str:
        return f"{self.install_id} {self.attention or 'well'}"

    @property
    def turn(self) -> Turn:
        if self.attention == Attention.GONE:
            return Turn.YOU
        return Turn.POSZ if self.problem in OURS else Turn.PARTNER


class Recovery(models.Model):
    """A wish to send many deliveries of one integration again, carried out in steps.

    `install_ids` are those that whoever asked may send to. The cursor is the last delivery that was
    looked at, so that a worker that dies loses nothing and repeats nothing.
    """

    class What(models.TextChoices):
        DEAD = "dead", _("Those that failed")
        ALL = "all", _("All that are finished")

    class Status(models.TextChoices):
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        STOPPED = "stopped", _("Stopped")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merchant = models.ForeignKey(Merchant, models.PROTECT, related_name="recoveries")
    integration = models.ForeignKey(Integration, models.PROTECT, related_name="recoveries")
    install_ids = models.JSONField(default=list, editable=False)
    what = models.CharField(_("what"), max_length=4, choices=What, default=What.DEAD)
    since = models.DateTimeField(_("since"))
    until = models.DateTimeField(_("until"))
    status = models.CharField(_("status"), max_length=7, choices=Status, default=Status.RUNNING)
    reason = models.CharField(_("reason"), max_length=40, blank=True)
    total = models.PositiveIntegerField(_("found"), default=0)
    done = models.PositiveIntegerField(_("sent again"), default=0)
    skipped = models.PositiveIntegerField(_("left out"), default=0)
    cursor_at = models.DateTimeField(null=True)
    cursor_id = models.UUIDField(null=True)
    asked_by = models.CharField(_("asked for by"), max_length=200)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        db_table = "delivery_recovery"
        verbose_name = _("recovery")
        verbose_name_plural = _("recoveries")
        indexes = [models.Index(fields=["merchant", "-created_at"], name="recovery_of_merchant")]

    def __str__(self) -> str:
        return f"{self.integration_id} {self.what} since {self.since:%Y-%m-%d %H:%M} {self.status}"
