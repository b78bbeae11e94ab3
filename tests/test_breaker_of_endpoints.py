from datetime import UTC, datetime, timedelta

import pytest

from webhooks import breaker
from webhooks.breaker import PROBE_EVERY, RECOVERY_STEP, WINDOW, Result, Standing
from webhooks.models import BreakerState

START = datetime(2026, 11, 24, 9, tzinfo=UTC)


def standing(state: str = BreakerState.CLOSED, **over) -> Standing:
    values = {
        "changed_at": START,
        "probe_at": None,
        "window_started_at": START,
        "window_attempts": 0,
        "window_failures": 0,
    }
    return Standing(state, **(values | over))


def results(failures: int, successes: int, at: datetime = START) -> list[Result]:
    return [Result(at, True)] * failures + [Result(at, False)] * successes


@pytest.mark.parametrize(
    ("failures", "successes", "state"),
    [
        (20, 0, BreakerState.OPEN),
        (10, 10, BreakerState.OPEN),
        (9, 11, BreakerState.CLOSED),
        (19, 0, BreakerState.CLOSED),
        (0, 500, BreakerState.CLOSED),
    ],
)
def test_breaker_opens_at_a_share_over_a_least_number(failures, successes, state):
    after = breaker.after(standing(), results(failures, successes), START)

    assert after.state == state


def test_open_breaker_is_probed_a_minute_later():
    opened = breaker.after(standing(), results(20, 0), START)

    assert opened.probe_at == START + PROBE_EVERY
    assert breaker.probed(opened, START + PROBE_EVERY).probe_at == START + 2 * PROBE_EVERY


def test_failures_of_an_earlier_window_are_forgotten():
    before = standing(window_attempts=19, window_failures=19)

    after = breaker.after(before, results(1, 0), START + WINDOW + timedelta(seconds=1))

    assert (after.state, after.window_attempts) == (BreakerState.CLOSED, 1)


def test_success_that_began_before_the_breaker_opened_closes_nothing():
    opened = standing(BreakerState.OPEN, probe_at=START + PROBE_EVERY)

    after = breaker.after(opened, results(0, 5, START - timedelta(seconds=1)), START)

    assert after == opened


def test_probe_that_fails_leaves_it_open():
    opened = standing(BreakerState.OPEN, probe_at=START + 2 * PROBE_EVERY)

    after = breaker.after(opened, results(1, 0, START + PROBE_EVERY), START + PROBE_EVERY)

    assert after == opened


def test_probe_that_arrives_lets_the_backlog_flow_at_a_rate_that_doubles():
    opened = standing(BreakerState.OPEN)
    healed_at = START + PROBE_EVERY

    after = breaker.after(opened, results(0, 1, healed_at), healed_at)

    paces = [breaker.pace(after, None, healed_at + step * RECOVERY_STEP) for step in range(3)]
    assert after.state == BreakerState.RECOVERING
    assert paces == [50, 100, 200]
    assert breaker.pace(after, 80, healed_at + RECOVERY_STEP) == 72


def test_recovery_ends_when_nothing_more_is_due():
    after = breaker.drained(standing(BreakerState.RECOVERING), START)

    assert (after.state, breaker.pace(after, None, START)) == (BreakerState.CLOSED, None)


def test_partner_that_fails_again_while_it_recovers_is_left_alone_again():
    after = breaker.after(standing(BreakerState.RECOVERING), results(20, 0), START)

    assert after.state == BreakerState.OPEN


@pytest.mark.parametrize(
    ("status", "is_trouble"),
    [
        *((status, True) for status in (None, 500, 503, 429, 408)),
        *((status, False) for status in (200, 301, 400, 401, 404, 410)),
    ],
)
def test_only_the_partners_own_trouble_speaks_against_it(status, is_trouble):
    assert breaker.is_trouble(status) is is_trouble


def test_pace_stays_below_the_limit_so_that_a_late_start_does_not_break_it():
    assert breaker.pace(standing(), 200, START) == 180
    assert breaker.pace(standing(), None, START) is None
