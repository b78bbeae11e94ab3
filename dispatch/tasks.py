from celery import shared_task

from dispatch import oauth, provisioning


@shared_task(ignore_result=True)
def provision_due() -> None:
    provisioning.provision_due()


@shared_task(ignore_result=True)
def refresh_due() -> None:
    oauth.refresh_due()


@shared_task(ignore_result=True)
def revoke_due() -> None:
    oauth.revoke_due()
