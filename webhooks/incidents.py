"""An install whose events were set aside has one open incident, until none of them is any more."""

from catalog.envelope import ApiError
from dispatch.contracts import AdapterError
from installs import audit
from installs.models import Install
from webhooks.models import InboundEvent, InboundIncident


def problem_code(error: Exception) -> str:
    """What broke, as a short word that says nothing of the event."""
    return error.code if isinstance(error, AdapterError | ApiError) else type(error).__name__


def open_for(row: InboundEvent) -> None:
    """To be called in the transaction that sets the event aside."""
    _row, is_new = InboundIncident.objects.get_or_create(
        install_id=row.install_id,
        defaults={
            "merchant_id": row.merchant_id,
            "integration": row.integration,
            "problem": row.problem,
        },
    )
    if is_new:
        audit.record(
            "inbound.set_aside",
            actor=audit.SYSTEM,
            install=Install.objects.with_names().filter(pk=row.install_id).first(),
            merchant_id=row.merchant_id,
            integration_slug=row.integration.slug,
            data={"event_id": row.provider_event_id},
        )


def close_if_over(row: InboundEvent) -> None:
    """One that had been set aside is processed: if it was the last, nobody need look any more.

    Those that are being tried again at this moment count as gone; should they fail, they open it anew.
    """
    if row.replayed_at is None:
        return
    left = InboundEvent.objects.set_aside().filter(install_id=row.install_id)
    if not left.exists():
        InboundIncident.objects.filter(pk=row.install_id).delete()
