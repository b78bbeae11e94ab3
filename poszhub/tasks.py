from celery import shared_task

from poszhub import clock


@shared_task(ignore_result=True)
def tick() -> None:
    clock.tick()
