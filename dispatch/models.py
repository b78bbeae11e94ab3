import uuid

from django.db import models


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
