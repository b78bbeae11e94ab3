"""Celery's worker and beat as threads of the one web process, for a hub without Redis.

What is queued in memory dies with the process. That loses nothing, because every due time is in
the database, where beat's next tick finds it.
"""

import logging
import os
import signal
import threading
from typing import Any

from celery.beat import EmbeddedService

from poszhub.celery import app
from webhooks import engine

logger = logging.getLogger(__name__)


class EmbeddedCelery:
    def __init__(self) -> None:
        self.stopping = False
        self.worker: Any = app.Worker(
            pool="threads",
            concurrency=8,
            loglevel="WARNING",
            quiet=True,
            redirect_stdouts=False,
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
        )
        # The plain scheduler keeps no file: beat starts with the process and ends with it.
        self.beat: Any = EmbeddedService(app, thread=True, scheduler_cls="celery.beat:Scheduler")

    def start(self) -> None:
        threading.Thread(target=self._run_worker, name="celery-worker", daemon=True).start()
        self.beat.start()

    def stop(self) -> None:
        self.stopping = True
        self.beat.stop()
        self.worker.stop()
        engine.stop_of_this_process()

    def _run_worker(self) -> None:
        """A web process without its worker would accept work and never do it: replace it."""
        try:
            self.worker.start()
        finally:
            if not self.stopping:
                logger.critical("The embedded Celery worker ended; restarting the web process")
                os.kill(os.getpid(), signal.SIGTERM)


_running: list[EmbeddedCelery] = []


def start() -> None:
    _running.append(EmbeddedCelery())
    _running[-1].start()


def stop() -> None:
    while _running:
        _running.pop().stop()
