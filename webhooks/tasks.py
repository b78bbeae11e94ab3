from uuid import UUID

from celery import shared_task

from webhooks import attention, engine, inbound, outbound, recovery


@shared_task(ignore_result=True)
def process_inbound(event_id: str) -> None:
    inbound.process(UUID(event_id))


@shared_task(ignore_result=True)
def sweep_inbound() -> None:
    inbound.sweep()


@shared_task(ignore_result=True)
def deliver_due() -> None:
    """Returns at once: the engine streams in a thread of this process."""
    engine.of_this_process().poke()


@shared_task(ignore_result=True)
def look_after_deliveries() -> None:
    outbound.look_after()
    engine.of_this_process().poke()


@shared_task(ignore_result=True)
def resume_deliveries(install_id: str) -> None:
    outbound.resume_install(UUID(install_id))


@shared_task(ignore_result=True)
def cancel_deliveries(install_id: str) -> None:
    outbound.cancel_for(UUID(install_id))


@shared_task(ignore_result=True)
def mail_attention() -> None:
    attention.mail_about_incidents()


@shared_task(ignore_result=True)
def run_recoveries() -> None:
    recovery.run_due()
