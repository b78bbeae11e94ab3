from uuid import UUID

from celery import shared_task

from webhooks import attention, inbound, outbound, recovery


@shared_task(ignore_result=True)
def process_inbound(event_id: str) -> None:
    inbound.process(UUID(event_id))


@shared_task(ignore_result=True)
def sweep_inbound() -> None:
    inbound.sweep()


@shared_task(ignore_result=True)
def deliver_due() -> None:
    outbound.deliver_due()


@shared_task(ignore_result=True)
def mail_attention() -> None:
    attention.mail_about_incidents()


@shared_task(ignore_result=True)
def run_recoveries() -> None:
    recovery.run_due()
