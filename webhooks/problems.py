"""Why a delivery did not get through, in words: what happened, whose turn it is, what to do next."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webhooks.models import OURS, Turn

Told = tuple[Promise, Promise]
RETRIED = gettext_lazy("Posz tries again by itself. If it goes on, tell the partner.")
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
        gettext_lazy("Posz slows down and tries again by itself."),
    ),
}
OF_MERCHANT = frozenset({"endpoint_gone", "http_410"})


@dataclass(frozen=True, slots=True)
class Problem:
    code: str
    what: str
    next_step: str
    turn: Turn


def problem_of(code: str) -> Problem | None:
    """The code in words, None where there is no problem. A code of tomorrow is shown as it is."""
    if not code:
        return None
    what, next_step = _told(code)
    return Problem(code, what, next_step, turn_of(code))


def turn_of(code: str) -> Turn:
    if code in OURS:
        return Turn.POSZ
    return Turn.YOU if code in OF_MERCHANT else Turn.PARTNER


def _told(code: str) -> tuple[str, str]:
    status = code.removeprefix("http_")
    if status != code and status.isascii() and status.isdigit():
        what, next_step = _told_of_status(int(status))
        return f"{what} {_('(status %(status)s)') % {'status': status}}", next_step
    told = PROBLEMS.get(code)
    return (str(told[0]), str(told[1])) if told else (code, str(RETRIED))


def _told_of_status(status: int) -> tuple[str, str]:
    if told := REFUSED_STATUS.get(status):
        return str(told[0]), str(told[1])
    if 300 <= status < 400:
        return (
            _("The partner points to another address, and Posz does not follow."),
            _("Ask the partner for its right address and tell Posz support."),
        )
    if 400 <= status < 500:
        return _("The partner refused the event."), _("Ask the partner what it did not like.")
    return _("The partner had a problem of its own."), str(RETRIED)
