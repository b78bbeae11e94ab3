"""Messages that wake workers: drawn together, sent by a thread, and not forgotten at the end."""

import os
import subprocess
import sys
import time

import pytest
from celery import current_app
from django.conf import settings

from installs import wake
from tests import stack

pytestmark = pytest.mark.servers

ASK_AND_END = """
import django
django.setup()
from installs.wake import wake_soon
wake_soon("test.wake")
"""


@pytest.fixture
def queue():
    """The list in Redis in which messages wait; nothing takes them out."""
    with current_app.connection_for_read() as connection:
        client = connection.default_channel.client
        client.delete("celery")
        yield client
        client.delete("celery")


def test_many_wishes_are_few_messages(queue):
    started_at = time.monotonic()
    for _ in range(200):
        wake.wake_soon("test.wake")
    pauses = (time.monotonic() - started_at) / wake.PAUSE_SECONDS

    assert queue.blpop("celery", timeout=60)
    assert queue.llen("celery") <= 2 + pauses


def test_wish_that_is_noted_already_wakes_no_thread(queue):
    wake.wake_soon("test.wake")
    assert queue.blpop("celery", timeout=5)
    wake.wake_soon("test.wake", every_seconds=3600)
    # It has looked at that wish when it has told another one since.
    wake.wake_soon("test.other")
    assert queue.blpop("celery", timeout=5)

    wake.wake_soon("test.wake", every_seconds=3600)

    assert not wake._waker._is_asked.is_set()


def test_wish_for_sooner_counts_beside_one_for_later(queue):
    wake.wake_soon("test.wake")
    assert queue.blpop("celery", timeout=60)
    wake.wake_soon("test.wake", every_seconds=3600)

    wake.wake_soon("test.wake")

    assert queue.blpop("celery", timeout=60)


def test_wish_of_a_process_that_ends_at_once_is_sent(queue):
    own = {"DJANGO_SETTINGS_MODULE": "poszhub.settings", "REDIS_URL": settings.REDIS_URL}
    command = [sys.executable, "-c", ASK_AND_END]

    subprocess.run(command, cwd=stack.BASE_DIR, env=os.environ | own, check=True, timeout=60)

    assert queue.llen("celery") == 1


def test_thread_that_did_not_survive_a_fork_is_made_anew(queue):
    wake.wake_soon("test.wake")
    assert queue.blpop("celery", timeout=60)

    child = os.fork()
    if child == 0:
        wake.wake_soon("test.wake")
        wake._waker.finish()
        os._exit(0)
    os.waitpid(child, 0)

    assert queue.llen("celery") == 1


def test_wish_that_was_not_told_before_a_fork_does_not_silence_the_child(queue):
    wake.wake_soon("test.wake")
    assert queue.blpop("celery", timeout=60)
    # So soon after the first message it waits for its turn.
    wake.wake_soon("test.wake", every_seconds=3600)

    child = os.fork()
    if child == 0:
        wake.wake_soon("test.wake")
        wake._waker.finish()
        os._exit(0)
    os.waitpid(child, 0)

    assert queue.llen("celery") == 1
    wake._waker._asked.clear()
