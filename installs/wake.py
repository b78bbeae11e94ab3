"""Starting a task by its name: its code may live in an app that the caller must not know.

A message only wakes a worker up. What has to be done is in rows, where a tick finds it, so a queue that
is down costs time and nothing else.
"""

import logging

from celery import current_app

logger = logging.getLogger(__name__)


def wake(task: str, *args: str) -> None:
    try:
        current_app.send_task(task, args, ignore_result=True, retry=False)
    except Exception:
        logger.exception("The queue is down; a tick will do what %s was to do", task)
