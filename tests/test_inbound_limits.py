"""Tokens of inbound events: never spent twice, never a wait for a Redis that is gone."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from catalog.envelope import ApiError
from webhooks import limits

WHERE = ["local", pytest.param("redis", marks=pytest.mark.servers)]
# What flows in at this rate while a test runs, however slow the machine is, is no whole token.
HARDLY_PER_MINUTE = 0.01
# The product's own: tests are given another one, by which time they have been read.
SHORT_WAIT_SECONDS = limits.REDIS_TIMEOUT_SECONDS


@pytest.fixture(autouse=True)
def fresh_state(settings):
    """Whether Redis is down is remembered by the process."""
    yield
    limits._redis_state.is_down = False


@pytest.fixture(params=WHERE)
def where(request, settings):
    settings.REDIS_URL = settings.REDIS_URL if request.param == "redis" else ""
    return request.param


@pytest.fixture
def silent_redis(settings, monkeypatch):
    """Takes connections and never answers, as one that was stopped."""
    monkeypatch.setattr(limits, "REDIS_TIMEOUT_SECONDS", SHORT_WAIT_SECONDS)
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
        settings.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        yield


@pytest.fixture
def owner():
    return uuid4(), uuid4()


def is_given(owner, count=1):
    try:
        limits.spend(*owner, count)
    except ApiError:
        return False
    return True


def test_50_threads_share_the_tokens_of_a_bucket(where, owner, settings):
    settings.INBOUND_RATE_PER_MINUTE, settings.INBOUND_BURST = HARDLY_PER_MINUTE, 40
    start = threading.Barrier(50)

    def take_two(_number):
        start.wait(20)
        return is_given(owner), is_given(owner)

    with ThreadPoolExecutor(50) as threads:
        given = [item for pair in threads.map(take_two, range(50)) for item in pair]

    assert given.count(True) == 40


def test_bucket_fills_up_steadily(where, owner, settings):
    settings.INBOUND_RATE_PER_MINUTE, settings.INBOUND_BURST = 30, 1
    limits.spend(*owner)

    refused = is_given(owner)
    time.sleep(2.05)

    assert (refused, is_given(owner)) == (False, True)


def test_refusal_says_when_there_is_a_token_again(where, owner, settings):
    settings.INBOUND_RATE_PER_MINUTE, settings.INBOUND_BURST = 0.06, 1
    limits.spend(*owner)

    with pytest.raises(ApiError) as refused:
        limits.spend(*owner)

    assert refused.value.code == "rate_limited"
    assert 990 <= refused.value.retry_after <= 1000


def test_more_than_a_bucket_holds_is_given_by_a_full_one_which_then_owes(where, owner, settings):
    settings.INBOUND_RATE_PER_MINUTE = 3

    assert (is_given(owner, 9), is_given(owner)) == (True, False)


def test_integration_has_a_limit_over_all_merchants(where, owner, settings):
    settings.INBOUND_INTEGRATION_RATE_PER_MINUTE = 2
    integration = owner[0]

    given = [is_given((integration, uuid4())) for _ in range(3)]

    assert given == [True, True, False]


def test_what_is_given_back_is_spent_next(where, owner, settings):
    settings.INBOUND_RATE_PER_MINUTE = 1
    limits.spend(*owner)

    limits.give_back(*owner)

    assert (is_given(owner), is_given(owner)) == (True, False)


def test_tokens_taken_in_advance_are_given_too_and_no_more(where, owner, settings):
    settings.INBOUND_RATE_PER_MINUTE, settings.INBOUND_BURST = HARDLY_PER_MINUTE, 1000

    given = sum(is_given(owner) for _ in range(1100))

    assert given == 1000


def test_redis_that_hangs_costs_one_short_wait_and_the_process_counts_for_itself(
    owner, settings, silent_redis, caplog
):
    settings.INBOUND_RATE_PER_MINUTE, settings.INBOUND_BURST = HARDLY_PER_MINUTE, 20
    started_at = time.monotonic()

    given = [is_given(owner) for _ in range(30)]

    # A wait for each of them would be six seconds.
    assert time.monotonic() - started_at < 5
    assert given.count(True) == 20
    assert [record.getMessage() for record in caplog.records] == [
        "Redis does not answer (TimeoutError): limits are counted by each process for itself"
    ]


def test_redis_that_is_dead_is_not_asked_by_each_request(owner, settings, caplog):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert all(is_given(owner) for _ in range(20))
    assert len(caplog.records) == 1


@pytest.mark.servers
def test_redis_that_is_back_is_asked_again(owner, settings, caplog):
    url = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    limits.spend(*owner)
    settings.REDIS_URL = url
    limits._redis_state.ask_again_at = 0

    limits.spend(uuid4(), uuid4())

    assert not limits._redis_state.is_down
    assert caplog.records[-1].getMessage() == "Redis answers again: limits are counted there"
