"""Events that come in another order than they happened in: the one rule about it.

What an event says about its subject counts unless something newer about the same has been said.
"""

import hashlib

from django.utils import timezone

from webhooks.models import InboundEvent, InboundSubject

SUBJECT_LENGTH = 255


def is_late(row: InboundEvent, subject: str | None) -> bool:
    """Whether something newer about the subject was processed before; else this is the newest now.

    To be asked in the transaction that processes the event: a second one about the same waits for
    it. Of two that happened at once the one that is processed last counts. A partner's clock that is
    ahead puts nothing into the future: an event has happened when it is received.
    """
    if not subject:
        return False
    if len(subject) > SUBJECT_LENGTH:
        subject = hashlib.sha256(subject.encode()).hexdigest()
    at = min(row.occurred_at or row.received_at, row.received_at)
    InboundSubject.objects.bulk_create(
        [InboundSubject(install_id=row.install_id, subject=subject, occurred_at=at)],
        ignore_conflicts=True,
    )
    known = InboundSubject.objects.filter(install_id=row.install_id, subject=subject)
    newest = known.filter(occurred_at__lte=at).update(occurred_at=at, changed_at=timezone.now())
    return not newest
