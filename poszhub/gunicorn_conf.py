"""How gunicorn serves the hub. Without Redis the one web process also holds Celery's threads."""

import ctypes
import os
from typing import Any

wsgi_app = "poszhub.wsgi"
worker_class = "gthread"
loglevel = "warning"
graceful_timeout = 5
# Its default place is one per Unix user, where two hubs would meet.
control_socket_disable = True

embeds_celery = not os.environ.get("REDIS_URL")
# Celery's in-memory broker does not reach across processes.
workers = 1 if embeds_celery else int(os.environ.get("WEB_CONCURRENCY", "2"))
# A till that waits for a partner holds a thread, and each thread a database connection.
threads = 40 if embeds_celery else 24


# By default the C library keeps memory for each thread apart, up to sixteen times on two cores, and what
# a large body took stays with the thread that read it.
M_ARENA_MAX, ARENAS = -8, 2
if hasattr(library := ctypes.CDLL(None), "mallopt"):
    library.mallopt(M_ARENA_MAX, ARENAS)


def post_worker_init(worker: Any) -> None:  # noqa: ARG001
    if embeds_celery:
        from poszhub import embedded

        embedded.start()


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    if embeds_celery:
        from poszhub import embedded

        embedded.stop()
