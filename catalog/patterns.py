"""Which regular expressions may run on what a merchant types in."""

import re
from importlib import import_module
from math import prod
from typing import Any

# The parser of `re` is not public: typing stubs know it in some places and not in others.
parser: Any = import_module("re._parser")

MAX_PATTERN = 200
# About a quarter of a second of matching at the very worst.
MAX_STEPS = 20_000_000
MAX_VARIED_REPEATS = 32

SINGLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN", "AT"})
REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT"})


def is_safe(pattern: str, length: int) -> bool:
    """Whether a backtracking search in a text of this length ends soon, whatever the text.

    Python's engine tries, at worst, every combination of what each repeat and each alternative
    may take. Their product is bounded here, which also refuses nested quantifiers, look-arounds
    and back references.
    """
    if len(pattern) > MAX_PATTERN:
        return False
    try:
        parsed = parser.parse(pattern)
        re.compile(pattern)
        steps = _steps(parsed, length)
    except (re.error, OverflowError, RecursionError, Warning):
        return False
    return steps * (1 if _is_anchored(parsed) else length + 1) <= MAX_STEPS


def _is_anchored(parsed: Any) -> bool:
    first = str(parsed[0][1]) if len(parsed) and str(parsed[0][0]) == "AT" else ""
    return first.startswith("AT_BEGINNING") and not parsed.state.flags & re.MULTILINE


def _steps(parsed: Any, length: int) -> int:
    return _capped(prod(_node_steps(str(op), detail, length) for op, detail in parsed))


def _node_steps(op: str, detail: Any, length: int) -> int:
    if op in SINGLE:
        return 1
    if op == "SUBPATTERN":
        return _steps(detail[-1], length)
    if op == "BRANCH":
        return _capped(sum(_steps(branch, length) for branch in detail[1]))
    if op in REPEATS:
        low, high, body = detail
        return _repeat_steps(int(low), int(high), body, length)
    return MAX_STEPS + 1


def _repeat_steps(low: int, high: int, body: Any, length: int) -> int:
    if body.getwidth()[0] == 0:
        return MAX_STEPS + 1
    low, high = min(low, length), min(high, length)
    once = _steps(body, length)
    if once == 1:
        return max(high - low + 1, low)
    if high > MAX_VARIED_REPEATS:
        return MAX_STEPS + 1
    return _capped(sum(once**times for times in range(low, high + 1)))


def _capped(steps: int) -> int:
    return min(steps, MAX_STEPS + 1)
