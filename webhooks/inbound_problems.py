"""Why Posz could not work on an event, in words: what happened, whose turn it is, what to do next."""

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webhooks.models import Turn
from webhooks.problems import Problem

RETRIED = gettext_lazy("Posz tries again by itself.")
MEND_FIRST = gettext_lazy(
    "Our staff has to mend this. Tell Posz support, and process it again when they say so."
)
TELL_PARTNER = gettext_lazy("Tell the partner. What it sends anew gets a number of its own.")

NEEDS_MAPPING = "needs_mapping"
UNMAPPED = gettext_lazy("It names something that Posz does not know.")
MAP_IT = gettext_lazy("Say what it is in Posz, and the event is worked on by itself.")

# What the partner has to mend; everything else is for Posz.
PARTNERS: dict[str, Promise] = {
    "invalid_payload": gettext_lazy("The event does not hold what it should."),
    "refused": gettext_lazy("The partner does not know what the event is about."),
    "unreachable": gettext_lazy("The partner could not be asked about the event."),
    "declined": gettext_lazy("The partner takes the event back."),
}


def problem_of(code: str, *, is_over: bool) -> Problem | None:
    """`is_over` where Posz does not try again by itself any more."""
    if not code:
        return None
    if code == NEEDS_MAPPING:
        return Problem(code, str(UNMAPPED), str(MAP_IT), Turn.YOU)
    turn = Turn.PARTNER if code in PARTNERS else Turn.POSZ
    what = PARTNERS.get(code) or _("Posz could not work on the event (%(code)s).") % {"code": code}
    over = TELL_PARTNER if turn is Turn.PARTNER else MEND_FIRST
    return Problem(code, str(what), str(over if is_over else RETRIED), turn)
