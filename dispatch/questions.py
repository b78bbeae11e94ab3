"""A till's question on its way: what was read of it, and what Posz keeps of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from dispatch.answers import Ask, Told
from installs.models import Install


@dataclass(frozen=True, slots=True)
class Question:
    """A till's question, read and checked.

    `key` is what makes two askings the same; a reading has none. `if_unknown` is what the till gets
    where the partner was asked and nobody knows what it did.
    """

    key: str
    request: Any
    if_unknown: dict[str, Any] = field(default_factory=dict)


class Keeper(ABC):
    """Rows of Posz's own that belong to a question, such as a payment. One per asking.

    `before` commits what must be known whatever becomes of this process, and says whom to ask; it
    may refuse the question (ApiError), and change how it is asked: `ask` and `question` count after
    it. `after` takes in what came back and says what the till is told. Both are part of the budget.
    """

    def __init__(self, ask: Ask, question: Question) -> None:
        self.ask = ask
        self.question = question

    @abstractmethod
    def before(self, rows: list[Install]) -> list[Install]: ...

    @abstractmethod
    def after(self, told: dict[UUID, Told]) -> dict[UUID, Told]: ...
