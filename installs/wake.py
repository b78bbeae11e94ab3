"""Starting a task by its name: its code may live in an app that the caller must not know.

A message only wakes a worker up. What has to be done is in rows, where a tick finds it, so a queue that
is down costs time and nothing else.
"""

import atexit
import logging
import math
import threading
import time

from celery import current_app

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.04
END_WITHIN_SECONDS = 1.0


def wake(task: str, *args: str) -> None:
    try:
        current_app.send_task(task, args, ignore_result=True, retry=False)
    except Exception:
        logger.exception("The queue is down; a tick will do what %s was to do", task)


class _Waker:
    """A thread that sends the messages, so that whoever has just committed waits for no queue.

    However often a task is asked for before it may be told again, it gets one message.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # When each task may be told next, of those that were asked for.
        self._asked: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._is_asked = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_ending = False

    def ask(self, task: str, every_seconds: float) -> None:
        with self._lock:
            due = self._told.get(task, 0.0) + every_seconds
            # A thread does not survive a fork, what was asked for before it does.
            is_alive = self._thread is not None and self._thread.is_alive()
            if is_alive and self._asked.get(task, math.inf) <= due:
                # The thread waits for that moment; waking it would cost every request a little.
                return
            self._asked[task] = min(self._asked.get(task, due), due)
            if not is_alive:
                self._thread = threading.Thread(target=self._run, name="wake", daemon=True)
                self._thread.start()
        self._is_asked.set()

    def finish(self) -> None:
        """Send what was asked for before the process ends."""
        self._is_ending = True
        self._is_asked.set()
        if self._thread is not None:
            self._thread.join(END_WITHIN_SECONDS)

    def _run(self) -> None:
        wait: float | None = None
        while True:
            self._is_asked.wait(wait)
            self._is_asked.clear()
            is_ending = self._is_ending
            for task in self._due(is_ending=is_ending):
                wake(task)
            if is_ending:
                return
            with self._lock:
                nexts = list(self._asked.values())
            wait = max(min(nexts) - time.monotonic(), 0.0) if nexts else None

    def _due(self, *, is_ending: bool) -> list[str]:
        now = time.monotonic()
        with self._lock:
            due = [task for task, at in self._asked.items() if at <= now or is_ending]
            for task in due:
                del self._asked[task]
                self._told[task] = now
        return due


_waker = _Waker()
atexit.register(_waker.finish)


def wake_soon(task: str, every_seconds: float = PAUSE_SECONDS) -> None:
    """As `wake` for a task that finds by itself what there is to do. Returns at once.

    The first message leaves at once, the next one of this process not sooner than that after it.
    """
    _waker.ask(task, every_seconds)


def wake_unparking() -> None:
    """Somebody has said what an id or a number of a partner is: events may have waited for it."""
    wake("webhooks.tasks.unpark_inbound")
