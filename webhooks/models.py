import uuid
from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, OuterRef, Q, Subquery
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from catalog.models import Integration
from installs.models import Install, Location, MappedKind, Merchant


class InboundStatus(models.TextChoices):
    RECEIVED = "received", _("Received")
    PROCESSED = "processed", _("Processed")
    QUARANTINED = "quarantined", _("Set aside")
    PARKED = "parked", _("Waits for a mapping")


class InboundQuerySet(models.QuerySet["InboundEvent"]):
    def due(self, at: datetime) -> "InboundQuerySet":
        return self.filter(status=InboundStatus.RECEIVED, due_at__lte=at).order_by("due_at")

    def for_merchant(self, merchant_id: uuid.UUID) -> "InboundQuerySet":
        return self.filter(merchant_id=merchant_id)

    def set_aside(self) -> "InboundQuerySet":
        return self.filter(status=InboundStatus.QUARANTINED)

    def with_trouble(self) -> "InboundQuerySet":
        """Set aside, or failed and tried again."""
        trying = Q(status=InboundStatus.RECEIVED, attempts__gt=0)
        return self.filter(Q(status=InboundStatus.QUARANTINED) | trying)


class InboundEvent(models.Model):
    """The inbound ledger: what a partner told us, kept before we answer.

    `install_id` is no foreign key: the row, and with it the dedupe key, outlives an uninstall. What
    the row says beyond what came is written by whoever processes it: the outlet it is about, the
    audit entries that are its effects, whether something newer had been processed before.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    install_id = models.UUIDField(_("install number"), editable=False)
    integration = models.ForeignKey(
        Integration,
        models.PROTECT,
        related_name="received_events",
        db_index=False,
        editable=False,
        verbose_name=_("integration"),
    )
    merchant = models.ForeignKey(
        Merchant, models.PROTECT, related_name="inbound_events", db_index=False, editable=False
    )
    location = models.ForeignKey(
        Location,
        models.PROTECT,
        null=True,
        related_name="inbound_events",
        db_index=False,
        editable=False,
        verbose_name=_("outlet"),
    )
    provider_event_id = models.CharField(_("number at the partner"), max_length=255, editable=False)
    type = models.CharField(_("type"), max_length=100, editable=False)
    capability = models.CharField(_("capability"), max_length=40, editable=False)
    occurred_at = models.DateTimeField(_("happened"), null=True, editable=False)
    headers = models.JSONField(
        _("headers"),
        default=list,
        editable=False,
        help_text=_("Pairs of name and value: those that the scheme and the mapping read."),
    )
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
    problem_at = models.CharField(
        _("where"),
        max_length=400,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text=_("The field that is wrong, and what was expected there. No value of it."),
    )
    due_at = models.DateTimeField(_("due"), default=timezone.now, editable=False)
    received_at = models.DateTimeField(_("received"), default=timezone.now, editable=False)
    processed_at = models.DateTimeField(_("processed"), null=True, editable=False)
    confirmed_at = models.DateTimeField(
        _("confirmed by the provider"),
        null=True,
        editable=False,
        help_text=_("Where the provider was asked; the body is what it answered."),
    )
    was_fetched = models.BooleanField(
        _("fetched by Posz"),
        default=False,
        db_default=False,
        editable=False,
        help_text=_("Posz asked for it, so its body is in the words of Posz."),
    )
    effects = models.JSONField(
        _("effects"), null=True, editable=False, help_text=_("Numbers of audit entries.")
    )
    is_late = models.BooleanField(
        _("came late"),
        default=False,
        db_default=False,
        editable=False,
        help_text=_("Something newer about the same had been processed already."),
    )
    replayed_at = models.DateTimeField(_("processed again"), null=True, editable=False)
    erased_at = models.DateTimeField(_("body erased"), null=True, editable=False)

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
            models.Index(
                fields=["received_at"], condition=Q(status="parked"), name="inbound_parked"
            ),
            models.Index(
                fields=["received_at"],
                condition=Q(mismatched_at__isnull=False),
                name="inbound_mismatched",
            ),
            models.Index(
                fields=["received_at"],
                condition=Q(status="processed", erased_at__isnull=True),
                name="inbound_to_erase",
            ),
            models.Index(fields=["merchant", "-received_at"], name="inbound_of_merchant"),
            models.Index(fields=["integration", "received_at"], name="inbound_of_integration"),
            models.Index(fields=["-received_at"], name="inbound_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.provider_event_id}"

    @property
    def is_replayable(self) -> bool:
        """Only what was set aside: what was processed has had its one effect."""
        return self.status == InboundStatus.QUARANTINED


class ParkedFor(models.Model):
    """An id in a parked event that nobody has mapped yet."""

    event = models.ForeignKey(InboundEvent, models.CASCADE, related_name="parked_for")
    kind = models.CharField(max_length=8, choices=MappedKind)
    external_id = models.CharField(max_length=255)

    class Meta:
        db_table = "inbound_parked_for"

    def __str__(self) -> str:
        return f"{self.event_id} {self.kind} {self.external_id}"


class Withheld(models.TextChoices):
    """Why what was processed is not handed over to the POS."""

    REPEATED = "repeated", _("The POS was told the same before")
    OUTDATED = "outdated", _("The POS was told something newer before")
    NOTHING_NEW = "nothing_new", _("It holds nothing that concerns the POS")


class InboxQuerySet(models.QuerySet["InboxRow"]):
    def for_merchant(self, merchant_id: uuid.UUID) -> "InboxQuerySet":
        return self.filter(merchant_id=merchant_id)

    def waiting(self) -> "InboxQuerySet":
        """To be handed over, in the order of the cursor."""
        return self.filter(acknowledged_at=None, sequence__isnull=False).order_by("sequence")


class InboxRow(models.Model):
    """What a partner told, as the POS takes it over: one row per event of the ledger.

    `event_id` and `install_id` are no foreign keys: the row may outlive both. `sequence` counts the
    merchant's rows that are handed over, in the order in which they were committed.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    event_id = models.UUIDField(_("received event"), unique=True)
    merchant = models.ForeignKey(
        Merchant, models.PROTECT, related_name="inbox", db_index=False, verbose_name=_("merchant")
    )
    location = models.ForeignKey(
        Location,
        models.PROTECT,
        null=True,
        related_name="inbox",
        db_index=False,
        verbose_name=_("outlet"),
    )
    integration = models.ForeignKey(
        Integration,
        models.PROTECT,
        related_name="inbox",
        db_index=False,
        verbose_name=_("integration"),
    )
    install_id = models.UUIDField(_("install number"))
    capability = models.CharField(_("capability"), max_length=40)
    operation = models.CharField(_("operation"), max_length=100)
    contract_version = models.PositiveSmallIntegerField(_("contract version"))
    external_id = models.CharField(_("number at the partner"), max_length=200, blank=True)
    data = models.JSONField(_("data"), default=dict)
    notes = models.JSONField(_("notes"), default=dict)
    needs_approval = models.BooleanField(_("needs approval"), default=False)
    accept_by = models.DateTimeField(_("to be accepted by"), null=True)
    occurred_at = models.DateTimeField(_("happened"), null=True)
    sequence = models.PositiveBigIntegerField(_("sequence"), null=True)
    withheld = models.CharField(_("withheld"), max_length=11, choices=Withheld, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    acknowledged_at = models.DateTimeField(_("taken over"), null=True)
    acknowledged_by = models.CharField(_("taken over by"), max_length=200, blank=True)

    objects = InboxQuerySet.as_manager()

    class Meta:
        db_table = "inbox"
        verbose_name = _("inbox row")
        verbose_name_plural = _("inbox rows")
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "sequence"], name="one_inbox_row_per_sequence"
            )
        ]
        indexes = [
            models.Index(
                fields=["merchant", "sequence"],
                condition=Q(acknowledged_at__isnull=True, sequence__isnull=False),
                name="inbox_waiting",
            ),
            models.Index(fields=["created_at"], name="inbox_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.external_id}"


class InboxCount(models.Model):
    """The last sequence of a merchant's inbox. Its row is locked from taking one to the commit."""

    merchant = models.OneToOneField(Merchant, models.CASCADE, primary_key=True, related_name="+")
    last = models.PositiveBigIntegerField(default=0)

    class Meta:
        db_table = "inbox_count"

    def __str__(self) -> str:
        return f"{self.merchant_id} {self.last}"


class Told(models.Model):
    """The newest that the POS was told about one thing of a partner, such as a booking or a shift."""

    install_id = models.UUIDField()
    subject = models.CharField(max_length=255)
    version = models.BigIntegerField(default=-1)
    value = models.CharField(max_length=40, blank=True)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "inbox_told"
        constraints = [
            models.UniqueConstraint(
                fields=["install_id", "subject"], name="one_telling_per_subject"
            )
        ]
        indexes = [models.Index(fields=["changed_at"], name="inbox_told_age")]

    def __str__(self) -> str:
        return f"{self.subject} {self.version}"


class ScheduleAsking(models.Model):
    """When an install's partner is asked for shifts next, and how the last asking went."""

    install = models.OneToOneField(Install, models.CASCADE, primary_key=True, related_name="+")
    due_at = models.DateTimeField(_("due"), default=timezone.now, db_index=True)
    asked_at = models.DateTimeField(_("asked"), null=True)
    answered_at = models.DateTimeField(_("last answer"), null=True)
    schedule_version = models.CharField(_("version"), max_length=200, blank=True)
    problem = models.CharField(_("problem"), max_length=400, blank=True)

    class Meta:
        db_table = "schedule_asking"
        verbose_name = _("asking for shifts")
        verbose_name_plural = _("askings for shifts")

    def __str__(self) -> str:
        return f"{self.install_id} {self.due_at:%Y-%m-%d %H:%M}"


class InboundSubject(models.Model):
    """The newest event that was processed about one thing of a partner, such as a bill.

    `occurred_at` is the time of that event, by the partner's clock: whatever is about the same and
    happened before comes late, and must not overwrite what the newer one has said.
    """

    install_id = models.UUIDField(_("install number"), editable=False)
    subject = models.CharField(_("about"), max_length=255, editable=False)
    occurred_at = models.DateTimeField(_("happened"), editable=False)
    changed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "inbound_subject"
        constraints = [
            models.UniqueConstraint(fields=["install_id", "subject"], name="one_row_per_subject")
        ]
        indexes = [models.Index(fields=["changed_at"], name="inbound_subject_age")]

    def __str__(self) -> str:
        return f"{self.subject} {self.occurred_at:%Y-%m-%d %H:%M}"


class IncidentQuerySet(models.QuerySet["InboundIncident"]):
    def of_working(self) -> "IncidentQuerySet":
        """Of installs that are there and switched on."""
        return self.filter(install_id__in=Install.objects.filter(is_enabled=True).values("pk"))


class InboundIncident(models.Model):
    """Events for an install were set aside. The row is there as long as that is so.

    `install_id` is no foreign key, as in the ledger.
    """

    install_id = models.UUIDField(_("install number"), primary_key=True)
    merchant = models.ForeignKey(Merchant, models.CASCADE, related_name="inbound_incidents")
    integration = models.ForeignKey(Integration, models.CASCADE, related_name="+")
    problem = models.CharField(_("problem"), max_length=200)
    opened_at = models.DateTimeField(_("needs attention since"), default=timezone.now)
    mailed_at = models.DateTimeField(_("mailed"), null=True)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        db_table = "inbound_incident"

    def __str__(self) -> str:
        return f"{self.install_id} {self.problem}"


# The merchant of refusals that concern none: those of posts that nobody has signed, above all.
NOBODY = uuid.UUID(int=0)


class RefusalQuerySet(models.QuerySet["InboundRefusal"]):
    def with_names(self) -> "RefusalQuerySet":
        """Each with what its integration and its merchant are called; None where there is none."""
        integration = Integration.objects.filter(slug=OuterRef("slug"))
        merchant = Merchant.objects.filter(pk=OuterRef("merchant_id"))
        return self.annotate(
            named=Subquery(integration.values("name_en")[:1]),
            merchant_named=Subquery(merchant.values("name")[:1]),
        )


class InboundRefusal(models.Model):
    """How often posts to an integration were refused in an hour for one reason.

    Of the posts themselves nothing is kept. `slug` is empty where there is no such integration;
    `detail` are names out of our own documents.
    """

    slug = models.CharField(_("integration"), max_length=64, editable=False)
    merchant_id = models.UUIDField(_("merchant"), default=NOBODY, editable=False)
    reason = models.CharField(_("reason"), max_length=40, editable=False)
    detail = models.CharField(_("where"), max_length=200, blank=True, editable=False)
    hour = models.DateTimeField(_("hour"), editable=False)
    count = models.PositiveBigIntegerField(_("how often"), default=0, editable=False)
    first_at = models.DateTimeField(_("first"), editable=False)
    last_at = models.DateTimeField(_("last"), editable=False)

    objects = RefusalQuerySet.as_manager()

    class Meta:
        db_table = "inbound_refusal"
        verbose_name = _("refused webhook")
        verbose_name_plural = _("refused webhooks")
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "slug", "reason", "merchant_id"], name="one_refusal_row_per_hour"
            )
        ]
        indexes = [models.Index(fields=["merchant_id", "hour"], name="refusals_of_merchant")]

    def __str__(self) -> str:
        return f"{self.slug} {self.reason} {self.hour:%Y-%m-%d %H}"


class InboundTotal(models.Model):
    """Webhooks of an integration since the beginning, by what became of them."""

    slug = models.CharField(max_length=64)
    outcome = models.CharField(max_length=40)
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        db_table = "inbound_total"
        constraints = [
            models.UniqueConstraint(fields=["slug", "outcome"], name="one_total_per_outcome")
        ]

    def __str__(self) -> str:
        return f"{self.slug} {self.outcome} {self.count}"


class HintStatus(models.TextChoices):
    RECEIVED = "received", _("Unconfirmed")
    CONFIRMED = "confirmed", _("Confirmed")
    REFUSED = "refused", _("Refused by the provider")
    QUARANTINED = "quarantined", _("Set aside")


class HintQuerySet(models.QuerySet["Hint"]):
    def due(self, at: datetime) -> "HintQuerySet":
        return self.filter(status=HintStatus.RECEIVED, due_at__lte=at).order_by("due_at")


class Hint(models.Model):
    """What an unproved webhook says: enough to ask the provider, and nothing else of it.

    It takes no event id: only what the provider answers becomes an event. The same question is one
    row, however often it comes; `posts` counts, so that an answer is known to be older than a post.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    integration = models.ForeignKey(
        Integration,
        models.CASCADE,
        related_name="hints",
        db_index=False,
        verbose_name=_("integration"),
    )
    digest = models.CharField(max_length=64, editable=False)
    install_id = models.UUIDField(_("install number"), null=True, editable=False)
    claimed_id = models.CharField(_("number it claims"), max_length=255, editable=False)
    claimed_type = models.CharField(_("type it claims"), max_length=100, editable=False)
    values = models.JSONField(default=dict, editable=False)
    named = models.JSONField(default=dict, editable=False)
    status = models.CharField(
        _("status"),
        max_length=12,
        choices=HintStatus,
        default=HintStatus.RECEIVED,
        editable=False,
    )
    posts = models.PositiveIntegerField(_("posts"), default=1, editable=False)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0, editable=False)
    problem = models.CharField(_("problem"), max_length=40, blank=True, editable=False)
    due_at = models.DateTimeField(_("due"), default=timezone.now, editable=False)
    received_at = models.DateTimeField(_("received"), default=timezone.now, editable=False)
    posted_at = models.DateTimeField(_("last post"), default=timezone.now, editable=False)
    asked_at = models.DateTimeField(_("asked"), null=True, editable=False)

    objects = HintQuerySet.as_manager()

    class Meta:
        db_table = "inbound_hint"
        verbose_name = _("unconfirmed event")
        verbose_name_plural = _("unconfirmed events")
        constraints = [
            models.UniqueConstraint(fields=["integration", "digest"], name="one_hint_per_question")
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(status="received"), name="hint_due"),
            models.Index(fields=["posted_at"], name="hint_posted"),
        ]

    def __str__(self) -> str:
        return f"{self.claimed_type} {self.claimed_id}"


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
    body = models.BinaryField(
        null=True,
        editable=False,
        help_text=_("What this install gets, where that is not the event as it is."),
    )
    useful_until = models.DateTimeField(_("useful until"), null=True, editable=False)

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
            models.Index(fields=["-created_at"], name="delivery_newest"),
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


class KeptMenu(models.Model):
    """The menu in force at an outlet, or at all that have none of their own."""

    merchant = models.ForeignKey(Merchant, models.CASCADE, related_name="menus")
    location = models.ForeignKey(
        Location, models.CASCADE, null=True, related_name="menus", verbose_name=_("outlet")
    )
    menu_version = models.CharField(_("version"), max_length=200)
    document = models.JSONField()
    etag = models.CharField(max_length=32)
    published_at = models.DateTimeField(_("published"))
    changed_at = models.DateTimeField(_("changed"))

    class Meta:
        db_table = "kept_menu"
        verbose_name = _("kept menu")
        verbose_name_plural = _("kept menus")
        constraints = [
            models.UniqueConstraint(fields=["merchant", "location"], name="one_menu_per_outlet"),
            models.UniqueConstraint(
                fields=["merchant"], condition=Q(location=None), name="one_menu_for_all_outlets"
            ),
        ]

    def __str__(self) -> str:
        return self.menu_version


class ClosedDay(models.Model):
    """A business day of an outlet that was closed. A day that is closed again has one more revision."""

    merchant = models.ForeignKey(Merchant, models.CASCADE, related_name="closed_days")
    location = models.ForeignKey(
        Location, models.CASCADE, null=True, related_name="closed_days", verbose_name=_("outlet")
    )
    business_date = models.DateField(_("business day"))
    revision = models.PositiveIntegerField(_("revision"))
    event_id = models.UUIDField(_("event"), editable=False)
    sequence = models.PositiveBigIntegerField(_("sequence"))
    closed_at = models.DateTimeField(_("closed"))

    class Meta:
        db_table = "closed_day"
        verbose_name = _("closed business day")
        verbose_name_plural = _("closed business days")
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "location", "business_date", "revision"],
                name="one_row_per_revision",
            )
        ]

    def __str__(self) -> str:
        return f"{self.business_date} #{self.revision}"


class ErasureQuerySet(models.QuerySet["Erasure"]):
    def open(self) -> "ErasureQuerySet":
        return self.filter(confirmed_at=None)

    def overdue(self, at: datetime) -> "ErasureQuerySet":
        """Still unconfirmed three days after the customer asked."""
        return self.open().filter(requested_at__lt=at - ERASED_WITHIN)


ERASED_WITHIN = timedelta(hours=72)


class Erasure(models.Model):
    """A customer whom a partner has to erase: visible until the partner confirms it.

    `install_id` is no foreign key: what a partner holds outlives an uninstall. Of the customer only
    the number is kept.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merchant = models.ForeignKey(Merchant, models.CASCADE, related_name="erasures")
    integration = models.ForeignKey(Integration, models.PROTECT, related_name="+")
    install_id = models.UUIDField(_("install number"))
    customer_id = models.CharField(_("customer"), max_length=200)
    event_id = models.UUIDField(_("event"))
    requested_at = models.DateTimeField(_("requested"))
    sent_at = models.DateTimeField(_("sent"), null=True)
    confirmed_at = models.DateTimeField(_("confirmed"), null=True)

    objects = ErasureQuerySet.as_manager()

    class Meta:
        db_table = "customer_erasure"
        verbose_name = _("erasure")
        verbose_name_plural = _("erasures")
        constraints = [
            models.UniqueConstraint(
                fields=["install_id", "customer_id"], name="one_erasure_per_customer"
            )
        ]
        indexes = [
            models.Index(fields=["merchant", "-requested_at"], name="erasures_of_merchant"),
            models.Index(fields=["event_id"], name="erasures_of_event"),
            models.Index(
                fields=["requested_at"], condition=Q(confirmed_at=None), name="erasures_open"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer_id} {self.requested_at:%Y-%m-%d}"

    def is_overdue(self, at: datetime) -> bool:
        return self.confirmed_at is None and self.requested_at < at - ERASED_WITHIN
