from celery import shared_task

from dispatch import oauth, payment_sweep, provisioning
from dispatch.certification import runs


@shared_task(ignore_result=True)
def provision_due() -> None:
    provisioning.provision_due()


@shared_task(ignore_result=True)
def refresh_due() -> None:
    oauth.refresh_due()


@shared_task(ignore_result=True)
def revoke_due() -> None:
    oauth.revoke_due()


@shared_task(ignore_result=True)
def sweep_payments() -> None:
    payment_sweep.sweep()


@shared_task(ignore_result=True)
def certify_due() -> None:
    runs.run_due()
