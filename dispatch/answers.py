"""Answers that must be given again: claimed before a partner is called, kept when it has answered."""

import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from dispatch.models import Answer, AnswerStatus
from installs.models import Install

_sqlite_writer = threading.Lock()


def one_writer() -> AbstractContextManager[object]:
    """A fair queue for the tills of this process where the database has only one writer.

    SQLite makes a writer that finds the lock taken sleep and try again, with pauses of up to 100 ms:
    a few dozen tills at once would lose their budget to that.
    """
    return _sqlite_writer if connection.vendor == "sqlite" else nullcontext()


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of one till, to be put to several installs."""

    merchant_id: UUID
    location_id: UUID | None
    capability: str
    operation: str
    key: str


@dataclass(frozen=True, slots=True)
class Told:
    """What one install made of the question. `external_merchant_id` where it was learned now.

    `is_unknown` where it may have done what it was asked, and nobody knows.
    """

    status: str
    output: dict[str, Any]
    error: dict[str, str] | None = None
    elapsed_ms: int = 0
    external_merchant_id: str | None = None
    is_unknown: bool = False


def known_answers(ask: Ask, install_ids: Iterable[UUID]) -> dict[UUID, Answer]:
    """Install to the answer it gave before; pending claims are left out."""
    return {
        row.install_id: row for row in _rows(ask, install_ids).exclude(status=AnswerStatus.PENDING)
    }


def claim(ask: Ask, install_ids: list[UUID], lease: timedelta) -> dict[UUID, UUID]:
    """Take the right to put the question to each install; install to claim for those won.

    Somebody else's claim is respected until its lease is over, so that two tills that print the
    same order at once make one bill.
    """
    now, mine = timezone.now(), uuid4()
    claims = [
        Answer(
            merchant_id=ask.merchant_id,
            location_id=ask.location_id,
            install_id=install_id,
            capability=ask.capability,
            operation=ask.operation,
            idempotency_key=ask.key,
            claim=mine,
            lease_until=now + lease,
        )
        for install_id in install_ids
    ]
    with one_writer():
        Answer.objects.bulk_create(claims, ignore_conflicts=True)
    won = _claimed(ask, install_ids, mine)
    if len(won) < len(install_ids):
        abandoned = _rows(ask, install_ids).filter(status=AnswerStatus.PENDING, lease_until__lt=now)
        if abandoned.update(claim=mine, lease_until=now + lease):
            won = _claimed(ask, install_ids, mine)
    return dict.fromkeys(won, mine)


def _claimed(ask: Ask, install_ids: list[UUID], mine: UUID) -> list[UUID]:
    return list(
        _rows(ask, install_ids)
        .filter(claim=mine, status=AnswerStatus.PENDING)
        .values_list("install_id", flat=True)
    )


def settle(ask: Ask, mine: UUID, outcomes: dict[UUID, tuple[str, dict[str, Any]] | None]) -> None:
    """Write what came back: an answer (status, output) is kept, None gives the claim up."""
    with one_writer(), transaction.atomic():
        for install_id, outcome in outcomes.items():
            row = _rows(ask, [install_id]).filter(claim=mine)
            if outcome is None:
                row.filter(status=AnswerStatus.PENDING).delete()
                continue
            status, output = outcome
            row.update(
                status=status, output=output, external_ref=str(output.get("external_ref", ""))[:255]
            )


def answer_of_reference(merchant_id: UUID, slug: str, external_ref: str) -> Answer | None:
    """The answer of one of the merchant's installs that carried this partner reference."""
    ours = Install.objects.filter(merchant_id=merchant_id, integration__slug=slug).values("pk")
    return Answer.objects.filter(
        merchant_id=merchant_id, external_ref=external_ref, install_id__in=ours
    ).first()


def _rows(ask: Ask, install_ids: Iterable[UUID]) -> Any:
    return Answer.objects.filter(
        Q(install_id__in=list(install_ids)),
        capability=ask.capability,
        operation=ask.operation,
        idempotency_key=ask.key,
    )
