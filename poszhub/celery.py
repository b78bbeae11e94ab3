import os
from typing import Any

import django
from celery import Celery
from celery.signals import setup_logging, worker_init, worker_process_shutdown, worker_shutdown
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "poszhub.settings")
app = Celery("poszhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def log_as_the_settings_say(**_kwargs: Any) -> None:
    """Without a listener Celery sets the level and brings a format of its own."""
    if not apps.ready:
        django.setup()


@worker_init.connect
def prepare(**_kwargs: Any) -> None:
    django.setup()
    from poszhub.ready import get_ready

    try:
        get_ready()
    except ImproperlyConfigured as error:
        # Celery logs what a handler raises and goes on, unless it asks to leave.
        raise SystemExit(str(error)) from None


@worker_process_shutdown.connect
@worker_shutdown.connect
def finish_deliveries(**_kwargs: Any) -> None:
    """What is in flight ends and is recorded before the process goes."""
    from webhooks import engine

    engine.stop_of_this_process()
