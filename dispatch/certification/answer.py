"""What came back to one question, as the scenarios judge it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dispatch import door
from dispatch.contracts import AdapterError, AuthError, DeclinedError, TemporaryError
from dispatch.operations.notation import Words

ERROR_CODE = re.compile(r"[a-z][a-z0-9_.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `problem` says why `data` is none; `error_code` is the partner's own."""

    status: int | None
    elapsed_ms: int
    data: Mapping[str, Any] | None = None
    problem: AdapterError | None = None
    error_code: str = ""

    @property
    def is_ok(self) -> bool:
        return self.data is not None

    @property
    def is_declined(self) -> bool:
        return isinstance(self.problem, DeclinedError)

    @property
    def is_unanswered(self) -> bool:
        return self.status is None and isinstance(self.problem, TemporaryError)

    @property
    def is_refused(self) -> bool:
        """By whoever checks the caller, at the partner or where its tokens are given out."""
        unsent = self.status is None and isinstance(self.problem, AuthError)
        return self.status in {401, 403} or unsent

    @property
    def is_turned_down(self) -> bool:
        is_4xx = self.status is not None and 400 <= self.status < 500
        # Said in an answer: whether it is signed does not matter to a refusal.
        return is_4xx or self.is_declined or self._is_reported

    @property
    def _is_reported(self) -> bool:
        return self.status == 200 and self.error_code != "" and not self.is_ok

    @property
    def words(self) -> Words:
        if self.status is None:
            return Words("No answer.", "Tidak ada jawaban.")
        said = "ok" if self.is_ok else "declined" if self.is_declined else ""
        said = f", `{said}`" if said else ""
        code = f" ({self.error_code})" if self.error_code else ""
        return Words(
            f"{self.status}{said}{code} after {self.elapsed_ms} ms.",
            f"{self.status}{said}{code} setelah {self.elapsed_ms} ms.",
        )


def error_code_of(reply: door.Reply) -> str:
    """The partner's own short word for a refusal, where its answer has one."""
    try:
        document = reply.json()
    except door.NonsenseError:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and ERROR_CODE.fullmatch(code) else ""
