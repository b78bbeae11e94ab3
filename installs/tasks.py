from celery import shared_task

from installs import oauth


@shared_task(ignore_result=True)
def prune_oauth_states() -> None:
    oauth.prune_states()
