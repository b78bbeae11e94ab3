"""The seam to the events: how those to and from a merchant's installs are doing, for its pages.

The code that knows lives in an app that this one must not know; it announces itself at start-up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class DeliveryNote:
    """Of one install, in words and in its outlet's own time.

    `last_success` is empty where there was none, `problem` where nothing is wrong. `url` leads to its
    deliveries.
    """

    last_success: str
    url: str
    problem: str = ""
    turn: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class SetAsideNote:
    """Of one install: how many events of its partner were set aside, since when in its outlet's own
    time, and where they are listed.
    """

    count: int
    since: str
    url: str


@dataclass(frozen=True, slots=True)
class EventNotes:
    """By install. One to which nothing was sent has no delivery note, and so on."""

    deliveries: Mapping[UUID, DeliveryNote] = field(default_factory=dict)
    set_aside: Mapping[UUID, SetAsideNote] = field(default_factory=dict)

    def has_problem(self, install_id: UUID) -> bool:
        note = self.deliveries.get(install_id)
        return install_id in self.set_aside or (note is not None and bool(note.problem))


Reader = Callable[[UUID], EventNotes]
_announced: list[Reader] = []


def announce_event_notes(reader: Reader) -> None:
    _announced[:] = [reader]


def event_notes(merchant_id: UUID) -> EventNotes:
    return _announced[0](merchant_id) if _announced else EventNotes()
