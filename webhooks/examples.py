"""Sending an example of an event to one endpoint, so that a partner or a merchant can try it."""

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from installs import audit, lifecycle
from installs.access import Actor, Verb
from installs.models import Install
from webhooks import outbound
from webhooks.catalogue import EVENT_TYPES
from webhooks.models import Delivery

PER_MINUTE = 10


def send(actor: Actor, install_id: UUID, event_type: str) -> Delivery:
    """Send an example of a known type to this install alone, subscribed or not.

    It is signed, retried and listed like any other delivery, but is no event of the merchant: it has
    no sequence and is in no feed. At most ten a minute for an install.
    """
    with transaction.atomic():
        # The merchant's lock, so that many requests at once count each other.
        row = lifecycle.locked_install(actor, install_id, Verb.TEST)
        if event_type not in EVENT_TYPES:
            message = _("There is no such event type.")
            raise ApiError("invalid_payload", f"type: {message}", fields={"type": [message]})
        _refuse_unreachable(row)
        _refuse_many(row)
        delivery = outbound.accept_example(row, event_type, EVENT_TYPES[event_type].example)
        audit.record("example.sent", actor=actor.label, install=row, data={"type": event_type})
    return delivery


def _refuse_unreachable(row: Install) -> None:
    outbound.require_reachable(row)
    if not row.integration.outbound_url:
        raise ApiError("capability_unsupported", _("This integration takes no events."))


def _refuse_many(row: Install) -> None:
    now = timezone.now()
    sent = Delivery.objects.for_merchant(row.merchant_id).filter(
        install_id=row.pk, event__is_example=True, created_at__gt=now - timedelta(minutes=1)
    )
    times = list(sent.order_by("-created_at").values_list("created_at", flat=True)[:PER_MINUTE])
    if len(times) == PER_MINUTE:
        free_at = times[-1] + timedelta(minutes=1)
        wait = max(int((free_at - now).total_seconds()) + 1, 1)
        raise ApiError("rate_limited", _("Ten examples a minute are the most."), retry_after=wait)
