"""Why a delivery did not get through, in words: what happened, whose turn it is, what to do next."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from webhooks.models import OURS, Turn

Told = tuple[Promise | str, Promise]
RETRIED = gettext_lazy("Posz tries again by itself. If it goes on, tell the partner.")
GIVEN_UP = gettext_lazy("Tell the partner, then send it again.")
MENDED_BY_POSZ = gettext_lazy("Our staff has to mend this. Tell Posz support if it lasts.")

PROBLEMS: dict[str, Told] = {
    "unreachable": (gettext_lazy("The partner could not be reached."), RETRIED),
    "deadline": (gettext_lazy("The partner took longer than 15 seconds."), RETRIED),
    "nonsense": (gettext_lazy("The partner’s answer was no proper HTTP."), RETRIED),
    "too_large": (gettext_lazy("The partner’s answer was too large."), RETRIED),
    "address_refused": (gettext_lazy("The partner’s address is not allowed."), MENDED_BY_POSZ),
    "request_refused": (gettext_lazy("Posz could not put the request together."), MENDED_BY_POSZ),
    "door": (gettext_lazy("Posz has no key to sign for this partner."), MENDED_BY_POSZ),
    "endpoint_gone": (
        gettext_lazy("The partner closed its address for events."),
        gettext_lazy("Ask the partner whether it is open again, then take events again."),
    ),
    "uninstalled": (
        gettext_lazy("The integration was uninstalled before this could be sent."),
        gettext_lazy("There is nothing to do."),
    ),
    "too_late": (
        gettext_lazy("The partner could not be told in time."),
        gettext_lazy("For an order of a channel, use the channel’s own tablet now."),
    ),
    "unknown": (
        gettext_lazy("Posz was interrupted and does not know whether it arrived."),
        gettext_lazy("Posz sends it again; the partner tells doubles by the event number."),
    ),
}
REFUSED_STATUS: dict[int, Told] = {
    401: (
        gettext_lazy("The partner did not accept the signature or the key."),
        gettext_lazy("Ask the partner to check its secret, or connect it again."),
    ),
    403: (
        gettext_lazy("The partner did not let Posz in."),
        gettext_lazy("Ask the partner to check its secret, or connect it again."),
    ),
    404: (
        gettext_lazy("The partner has nothing at this address."),
        gettext_lazy("Ask the partner for its right address and tell Posz support."),
    ),
    408: (gettext_lazy("The partner gave up waiting."), RETRIED),
    410: PROBLEMS["endpoint_gone"],
    413: (
        gettext_lazy("The partner finds the event too large."),
        gettext_lazy("Tell the partner: it must take events of 256 KiB."),
    ),
    429: (
        gettext_lazy("The partner asked for fewer events at a time."),
        RETRIED,
    ),
}
REDIRECTED: Told = (
    gettext_lazy("The partner points to another address, and Posz does not follow."),
    gettext_lazy("Ask the partner for its right address and tell Posz support."),
)
REFUSED: Told = (
    gettext_lazy("The partner refused the event."),
    gettext_lazy("Ask the partner what it did not like, then send it again."),
)
BROKEN: Told = (gettext_lazy("The partner had a problem of its own."), RETRIED)
OF_MERCHANT = frozenset({"endpoint_gone", "http_410"})


@dataclass(frozen=True, slots=True)
class Problem:
    code: str
    what: str
    next_step: str
    turn: Turn


def problem_of(code: str, *, is_over: bool = False) -> Problem | None:
    """The code in words, None where there is no problem. A code of tomorrow is shown as it is.

    `is_over` where Posz does not try again by itself any more.
    """
    if not code:
        return None
    what, next_step = _told(code)
    if is_over and next_step is RETRIED:
        next_step = GIVEN_UP
    return Problem(code, what, str(next_step), turn_of(code))


def turn_of(code: str) -> Turn:
    if code in OURS:
        return Turn.POSZ
    return Turn.YOU if code in OF_MERCHANT else Turn.PARTNER


def _told(code: str) -> tuple[str, Promise]:
    status = code.removeprefix("http_")
    if status != code and status.isascii() and status.isdigit():
        what, next_step = _told_of_status(int(status))
        return f"{str(what).rstrip('.')} (HTTP {status}).", next_step
    what, next_step = PROBLEMS.get(code, (code, RETRIED))
    return str(what), next_step


def _told_of_status(status: int) -> Told:
    if status in REFUSED_STATUS:
        return REFUSED_STATUS[status]
    if 300 <= status < 400:
        return REDIRECTED
    return REFUSED if 400 <= status < 500 else BROKEN
