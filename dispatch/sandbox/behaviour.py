"""Switches that make the sandbox misbehave on purpose, each for the paths with one prefix."""

import threading
from dataclasses import asdict, dataclass
from typing import Any

from dispatch.sandbox.messages import RefusalError

# How a partner can break the contract, each with the scenario of the certification that must find it.
WRONG_WAYS = {
    "unchecked_signature": "wrong_signature",
    "accept_late": "late",
    "forgetful": "duplicate",
    "crash_on_malformed": "malformed",
    "accept_malformed": "malformed",
    "any_version": "version",
    "closed_envelope": "unknown_fields",
    "never_decline": "refusal",
}
# What a partner says in its own signed words, and not with the connection.
SPOKEN_MODES = ("decline", "malformed", "wrong_signature")
MODES = (
    "ok",
    "slow",
    "fail",
    "garbage",
    "unauthorized",
    "hang",
    "reset",
    "drip",
    *SPOKEN_MODES,
    *WRONG_WAYS,
)
LONGEST_DELAY_MS = 120_000


@dataclass(slots=True)
class Switch:
    """`times` counts down with each request it touches; at none left the switch is gone."""

    path_prefix: str = ""
    mode: str = "ok"
    delay_ms: int = 2_000
    status: int = 503
    times: int | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Switch":
        unknown = sorted(set(data) - set(cls.__slots__))
        if unknown:
            raise RefusalError(422, "invalid_switch", "There is no such setting.", unknown[0])
        switch = cls(**data)
        _require("path_prefix", isinstance(switch.path_prefix, str), "A text is needed.")
        _require("mode", switch.mode in MODES, f"One of {', '.join(MODES)} is needed.")
        _require_integer("delay_ms", switch.delay_ms, 0, LONGEST_DELAY_MS)
        _require_integer("status", switch.status, 200, 599)
        if switch.times is not None:
            _require_integer("times", switch.times, 1, 1_000_000)
        return switch


class Switches:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_prefix: dict[str, Switch] = {}

    def put(self, switch: Switch) -> None:
        with self._lock:
            self._by_prefix[switch.path_prefix] = switch

    def clear(self) -> None:
        with self._lock:
            self._by_prefix.clear()

    def shown(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(self._by_prefix[prefix]) for prefix in sorted(self._by_prefix)]

    def take(self, path: str) -> Switch:
        """The switch that a request to this path meets; the longest prefix wins."""
        with self._lock:
            matching = [prefix for prefix in self._by_prefix if path.startswith(prefix)]
            if not matching:
                return Switch()
            switch = self._by_prefix[max(matching, key=len)]
            if switch.times is not None:
                switch.times -= 1
                if switch.times == 0:
                    del self._by_prefix[switch.path_prefix]
            return switch


def _require(name: str, is_right: bool, message: str) -> None:
    if not is_right:
        raise RefusalError(422, "invalid_switch", message, name)


def _require_integer(name: str, value: Any, low: int, high: int) -> None:
    is_right = type(value) is int and low <= value <= high
    _require(name, is_right, f"An integer from {low} to {high} is needed.")
