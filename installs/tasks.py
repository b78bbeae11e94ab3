from celery import shared_task

from installs import credentials, issuer, oauth, plans, reminders, sign_in


@shared_task(ignore_result=True)
def close_expired_plans() -> None:
    plans.close_expired()


@shared_task(ignore_result=True)
def look_after_secrets() -> None:
    reminders.remind_of_old_secrets()
    credentials.forget_ended()


@shared_task(ignore_result=True)
def prune_oauth_states() -> None:
    oauth.prune_states()


@shared_task(ignore_result=True)
def prune_partner_tokens() -> None:
    issuer.prune_tokens()


@shared_task(ignore_result=True)
def prune_sign_in_trips() -> None:
    sign_in.prune_trips()
