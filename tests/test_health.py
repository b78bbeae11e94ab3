"""`/readyz`: each part down for real, and never more than two seconds."""

import os
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from cryptography.fernet import Fernet
from django.core.cache import cache
from django.db import connections
from django.test import Client

from installs import encryption
from poszhub import clock, health
from poszhub.tasks import tick
from tests import stack
from tests.conftest import ON_POSTGRES

# What a probe reads in its own thread must be committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def well(monkeypatch):
    """Everything as it should be, and no thread of another test to wait for."""
    encryption.require_right_keys()
    clock.tick()
    for question in health.QUESTIONS:
        monkeypatch.setattr(question, "_answer", None)


def all_well(**over):
    redis = "ok" if os.environ.get("REDIS_URL") else "not_used"
    parts = {"database": "ok", "migrations": "ok", "encryption": "ok", "clock": "ok"}
    return parts | {"redis": redis} | over


def ask():
    started = time.monotonic()
    reply = Client().get("/readyz")
    # Who waits for what hangs is not back before its ten seconds.
    assert time.monotonic() - started < health.WITHIN_SECONDS + 4
    return reply


def use_database(monkeypatch, name, **over):
    """New connections, which are those of the probes, go to another database."""
    for key, value in ({"NAME": name} | over).items():
        monkeypatch.setitem(connections.settings["default"], key, value)


def use_redis(settings, url):
    settings.REDIS_URL = url
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}
    }


@pytest.fixture
def silent_port():
    """Somebody who takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield server.getsockname()[1]


def test_ready_where_everything_is_well():
    reply = ask()

    assert reply.status_code == 200
    assert reply.json() == {"status": "ready", "parts": all_well()}
    assert "no-store" in reply["Cache-Control"]


def test_probe_asks_no_question_in_the_thread_of_the_request(django_assert_num_queries):
    with django_assert_num_queries(0):
        ask()


def test_not_ready_without_its_database(monkeypatch, tmp_path):
    use_database(monkeypatch, "nowhere" if ON_POSTGRES else str(tmp_path / "no" / "such.sqlite3"))

    reply = ask()

    assert reply.status_code == 503
    assert reply.json() == {
        "status": "not_ready",
        "parts": all_well(database="down", migrations="unknown", encryption="unknown"),
    }


@pytest.mark.servers
def test_not_ready_where_the_database_hangs(monkeypatch, silent_port):
    use_database(monkeypatch, "hub", HOST="127.0.0.1", PORT=silent_port)

    reply = ask()

    assert reply.status_code == 503
    assert reply.json()["parts"] == all_well(
        database="timeout", migrations="timeout", encryption="timeout"
    )


def test_not_ready_before_the_migrations(monkeypatch, tmp_path):
    if ON_POSTGRES:
        with stack.fresh_database(os.environ["DATABASE_URL"]) as url:
            use_database(monkeypatch, urlsplit(url).path[1:])
            reply = ask()
    else:
        use_database(monkeypatch, str(tmp_path / "empty.sqlite3"))
        reply = ask()

    assert reply.status_code == 503
    assert reply.json()["parts"] == all_well(migrations="behind", encryption="unknown")


def test_not_ready_with_keys_of_another_database(settings):
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]

    reply = ask()

    assert reply.status_code == 503
    assert reply.json()["parts"] == all_well(encryption="wrong_keys")


def test_not_ready_once_its_redis_has_stopped(settings, monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    with stack.redis() as url:
        use_redis(settings, url)
        clock.tick()
        before = ask()

    after = ask()

    assert before.json()["parts"]["redis"] == "ok"
    assert after.status_code == 503
    assert after.json()["parts"] == all_well(redis="down", clock="unknown")
    assert urlsplit(url).netloc not in after.text


def test_not_ready_where_redis_hangs(settings, silent_port):
    use_redis(settings, f"redis://127.0.0.1:{silent_port}/0")

    reply = ask()

    assert reply.status_code == 503
    assert reply.json()["parts"] == all_well(redis="timeout", clock="timeout")


def test_who_hangs_costs_one_thread_however_often_it_is_asked():
    release, asked = threading.Event(), []
    question = health.Question(lambda: asked.append(1) or release.wait(10) or {}, "part")

    for _ in range(3):
        question.start()
        assert question.states(0.01) == {"part": "timeout"}

    release.set()
    assert asked == [1]


def test_who_hangs_for_long_is_asked_again(monkeypatch):
    monkeypatch.setattr(health, "ASK_AGAIN_AFTER_SECONDS", 0.0)
    release, asked = threading.Event(), []
    question = health.Question(lambda: asked.append(1) or release.wait(10) or {}, "part")

    for _ in range(2):
        question.start()
        question.states(0.01)

    release.set()
    assert asked == [1, 1]


@pytest.mark.parametrize("seconds", [130, None])
def test_degraded_but_serving_without_beat_or_worker(seconds):
    cache.delete(clock.KEY)
    if seconds:
        cache.set(clock.KEY, time.time() - seconds, timeout=None)

    reply = ask()

    assert reply.status_code == 200
    assert reply.json() == {"status": "degraded", "parts": all_well(clock="late")}


def test_tick_of_a_worker_makes_it_ready_again():
    cache.delete(clock.KEY)

    tick()

    assert ask().json()["status"] == "ready"


def test_probes_are_not_redirected_to_tls(settings):
    settings.SECURE_SSL_REDIRECT = True

    assert [Client().get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [
        200,
        200,
        301,
    ]
