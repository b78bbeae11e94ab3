from celery import shared_task

from dispatch import provisioning


@shared_task(ignore_result=True)
def provision_due() -> None:
    provisioning.provision_due()
