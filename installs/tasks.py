from celery import shared_task

from installs import plans


@shared_task(ignore_result=True)
def close_expired_plans() -> None:
    plans.close_expired()
