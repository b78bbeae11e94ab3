"""What an endpoint's attempts add up to since the beginning, as `Endpoint.totals` and
`Endpoint.latency_counts` keep it. Read by the metrics, so nobody has to count attempt rows."""

from collections.abc import Iterable
from math import inf

OUTCOMES = ("2xx", "3xx", "4xx", "5xx", "none")
# Upper bounds in milliseconds, inclusive. Changing them makes what is stored already wrong.
LATENCY_LADDER = (25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, inf)


def outcome_class(status: int | None) -> str:
    """`none` is an attempt without an answer, or with one that is no HTTP status of today."""
    name = f"{(status or 0) // 100}xx"
    return name if name in OUTCOMES else "none"


def add(
    endpoint_totals: dict[str, int],
    counts: list[int],
    attempts: Iterable[tuple[int | None, int]],
) -> None:
    """Count `(status, elapsed_ms)` of each attempt, in place, also into what is still empty.

    Each attempt is in exactly one step of the ladder. For the holder of the row's lock only.
    """
    counts.extend([0] * (len(LATENCY_LADDER) - len(counts)))
    for status, elapsed_ms in attempts:
        outcome = outcome_class(status)
        endpoint_totals[outcome] = endpoint_totals.get(outcome, 0) + 1
        counts[_step(elapsed_ms)] += 1


def _step(elapsed_ms: int) -> int:
    return next(step for step, bound in enumerate(LATENCY_LADDER) if elapsed_ms <= bound)
