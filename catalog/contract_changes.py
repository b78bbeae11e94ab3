"""What another version of a contract means for a merchant: what is shared, and what comes back.

The contracts belong to an app on the right, which announces who can compare them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ContractChange:
    """Fields by their paths, such as `order.customer`."""

    old: int
    new: int
    shared_too: Sequence[str] = field(default_factory=list)
    shared_no_more: Sequence[str] = field(default_factory=list)
    answered_too: Sequence[str] = field(default_factory=list)
    answered_no_more: Sequence[str] = field(default_factory=list)


Compare = Callable[[str, int, int], ContractChange]
_compare: list[Compare] = []


def announce_comparison(compare: Compare) -> None:
    _compare[:] = [compare]


def change_of(capability: str, old: int, new: int) -> ContractChange:
    """Nothing is known of versions that have no contract any more."""
    return _compare[0](capability, old, new) if _compare else ContractChange(old, new)
