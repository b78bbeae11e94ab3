import os
from typing import Any

import django
from celery import Celery
from celery.signals import setup_logging, worker_init
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
def require_right_keys(**_kwargs: Any) -> None:
    django.setup()
    from installs.encryption import require_right_keys

    try:
        require_right_keys()
    except ImproperlyConfigured as error:
        # Celery logs what a handler raises and goes on, unless it asks to leave.
        raise SystemExit(str(error)) from None
