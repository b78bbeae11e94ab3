from uuid import UUID

from celery import shared_task

from installs.wake import wake
from webhooks import (
    attention,
    confirming,
    engine,
    inbound,
    inbound_attention,
    outbound,
    parking,
    recovery,
    retention,
    schedule_asking,
)


@shared_task(ignore_result=True)
def process_inbound(event_id: str) -> None:
    inbound.process(UUID(event_id))


@shared_task(ignore_result=True)
def sweep_inbound() -> None:
    """A full page means that there is more: the next one does not wait for the tick."""
    if inbound.sweep() == inbound.SWEEP_SIZE:
        wake("webhooks.tasks.sweep_inbound")


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
    inbound_attention.mail_about_incidents()


@shared_task(ignore_result=True)
def run_recoveries() -> None:
    recovery.run_due()


@shared_task(ignore_result=True)
def confirm_due() -> None:
    confirming.confirm_due()


@shared_task(ignore_result=True)
def prune_hints() -> None:
    confirming.prune()


@shared_task(ignore_result=True)
def prune_inbound() -> None:
    retention.prune()


@shared_task(ignore_result=True)
def unpark_inbound() -> None:
    if parking.unpark():
        wake("webhooks.tasks.sweep_inbound")


@shared_task(ignore_result=True)
def ask_for_schedules() -> None:
    schedule_asking.ask_due()
