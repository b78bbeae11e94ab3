import uuid
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from catalog.models import Integration
from dispatch.payment_models import (
    ParkedReport,
    PaymentChange,
    PaymentIntent,
    PaymentRefund,
)
from dispatch.table_models import TableCheck, TablePayment
from installs.fields import EncryptedJSONField

__all__ = [
    "Answer",
    "AnswerStatus",
    "ParkedReport",
    "PaymentChange",
    "PaymentIntent",
    "PaymentRefund",
    "TableCheck",
    "TablePayment",
]


class AnswerStatus(models.TextChoices):
    PENDING = "pending"
    OK = "ok"
    DECLINED = "declined"


class Answer(models.Model):
    """What an install answered to one question, kept so that a reprint asks nobody twice.

    A pending row is a claim: it is written before the partner is called, and whoever else asks the
    same waits for it until the lease is over.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merchant_id = models.UUIDField(editable=False)
    location_id = models.UUIDField(null=True, editable=False)
    install_id = models.UUIDField(editable=False)
    capability = models.CharField(max_length=40, editable=False)
    operation = models.CharField(max_length=40, blank=True, editable=False)
    idempotency_key = models.CharField(max_length=255, editable=False)
    status = models.CharField(
        max_length=8, choices=AnswerStatus, default=AnswerStatus.PENDING, editable=False
    )
    output = models.JSONField(default=dict, editable=False)
    external_ref = models.CharField(max_length=255, blank=True, editable=False)
    claim = models.UUIDField(editable=False)
    lease_until = models.DateTimeField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "dispatch_answer"
        constraints = [
            models.UniqueConstraint(
                fields=["install_id", "capability", "operation", "idempotency_key"],
                name="one_answer_per_question",
            )
        ]
        indexes = [models.Index(fields=["merchant_id", "external_ref"], name="answer_external_ref")]

    def __str__(self) -> str:
        return f"{self.capability} {self.idempotency_key} {self.status}"


class CertificationStatus(models.TextChoices):
    WAITING = "waiting", _("Waiting")
    RUNNING = "running", _("Running")
    PASSED = "passed", _("Passed")
    FAILED = "failed", _("Failed")
    BROKEN = "broken", _("Could not be finished")


class CertificationQuerySet(models.QuerySet["Certification"]):
    def due(self, at: datetime) -> "CertificationQuerySet":
        """What nobody is at: those that wait, and those whose worker died."""
        waiting = Q(status=CertificationStatus.WAITING)
        left = Q(status=CertificationStatus.RUNNING, lease_until__lt=at)
        return self.filter(waiting | left).order_by("created_at", "id")

    def that_count_for(self, integration: Any, api: Any, events: Any) -> "CertificationQuerySet":
        """Whole ones at these addresses that came to an end, the newest first."""
        return self.filter(
            integration=integration,
            status__in=[CertificationStatus.PASSED, CertificationStatus.FAILED],
            is_whole=True,
            base_url=api,
            events_url=events,
        ).order_by("-created_at", "-id")


class Certification(models.Model):
    """One run of the contract kit against a partner's endpoint, and its report.

    `versions` is what was tried: capability to version. `settings` are those of a test merchant, and
    are erased when the run is over. `is_whole`: nothing that the row declared was left out.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    integration = models.ForeignKey(
        Integration, models.CASCADE, related_name="certifications", verbose_name=_("integration")
    )
    status = models.CharField(
        _("status"), max_length=8, choices=CertificationStatus, default=CertificationStatus.WAITING
    )
    versions = models.JSONField(_("capabilities"), default=dict)
    is_whole = models.BooleanField(default=True)
    base_url = models.CharField(_("API address"), max_length=500, blank=True)
    events_url = models.CharField(_("event endpoint"), max_length=500, blank=True)
    settings: Any = EncryptedJSONField(_("settings"), null=True)
    report = models.JSONField(_("report"), default=dict)
    done = models.PositiveSmallIntegerField(default=0)
    total = models.PositiveSmallIntegerField(default=0)
    runs = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    started_by = models.CharField(_("started by"), max_length=254)
    created_at = models.DateTimeField(_("started"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True)

    objects = CertificationQuerySet.as_manager()

    class Meta:
        db_table = "certification"
        verbose_name = _("certification")
        verbose_name_plural = _("certifications")
        indexes = [
            models.Index(fields=["integration", "-created_at"], name="certification_newest"),
            models.Index(
                fields=["created_at"],
                condition=Q(status__in=["waiting", "running"]),
                name="certification_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.integration_id} {self.status}"

    @property
    def is_over(self) -> bool:
        return self.status not in {CertificationStatus.WAITING, CertificationStatus.RUNNING}
