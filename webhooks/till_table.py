"""A table at the till: its check is opened, its guests pay with a code, and it is closed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from catalog.envelope import ApiError
from dispatch import table_checks
from dispatch.operations import as_document
from dispatch.operations.payments import CheckQuestion
from dispatch.receipt import code_svg
from dispatch.till.checkout import SampleForm, order_for, show_code
from dispatch.till.surfaces import Action, Code, Data, Happened, Stand, announce
from installs import snapshot
from installs.templatetags.posz import rupiah
from webhooks.till_events import report

CAPABILITY = "pay_at_table"
TABLE = "7"


def open_table(stand: Stand, given: Mapping[str, Any]) -> Happened:
    """Partners learn of the check first, so that a guest who scans at once finds it."""
    order = {"table": TABLE, **order_for(stand, given["sample"])}
    check = {
        "check_id": order["id"],
        "version": order["version"],
        "table": order["table"],
        "lines": order["lines"],
        "charges": order["charges"],
        "taxes": order["taxes"],
        "total_cents": order["total_cents"],
        "paid_cents": 0,
        "due_cents": order["total_cents"],
        "status": "open",
    }
    report(stand, "check.opened", {"order_id": order["id"], "check": check})
    happened, code = show_code(stand, order), None
    if happened.code:
        code = [happened.code.label, happened.code.url]
    slip = {"check": check, "number": order["number"], "code": code}
    return replace(
        happened,
        slip=slip,
        offers=("look", "close") if code else ("close",),
        asks_again=_again(stand, bool(code)),
    )


def look(stand: Stand, given: Mapping[str, Any]) -> Happened:
    """What the hub knows of the check: money counts where a signed report of the partner is in."""
    check, known = given["check"], _known(stand, given["check"]["check_id"])
    due = known.get("due_cents", check["due_cents"])
    is_paid = bool(known) and due == 0
    facts = (
        (_("Table"), check["table"]),
        (_("Order"), given["number"]),
        (_("Paid at the table"), rupiah(known.get("paid_cents", 0))),
        (_("Amount due"), rupiah(due)),
    )
    return Happened(
        title=_("Paid at the table") if is_paid else _("The guests have not paid yet"),
        tone="ok" if is_paid else "warn",
        note=_("The partner’s signed report of the money is in.") if is_paid else "",
        facts=facts,
        code=None if is_paid else _shown_again(given.get("code")),
        slip=dict(given),
        offers=("close",) if is_paid else ("look", "close"),
        asks_again=_again(stand, not is_paid),
    )


def _shown_again(code: list[str] | None) -> Code | None:
    """The code stays on the screen for as long as somebody can pay with it."""
    if code is None:
        return None
    label, payload = code
    return Code(label, code_svg(payload), payload)


def _again(stand: Stand, is_open: bool) -> str:
    return "look" if is_open and _place(stand) else ""


def _place(stand: Stand) -> table_checks.Place | None:
    snap = snapshot.current(stand.actor.merchant_id)
    rows = snap.answering(CAPABILITY, stand.outlet.pk) if snap else []
    return table_checks.Place(rows[0], stand.outlet.pk) if rows else None


def _known(stand: Stand, check_id: str) -> Data:
    place = _place(stand)
    try:
        return (
            as_document(table_checks.check(place, CheckQuestion(check_id=check_id)))
            if place
            else {}
        )
    except ApiError:
        return {}


def close(stand: Stand, given: Mapping[str, Any]) -> Happened:
    check = given["check"] | {
        "version": given["check"]["version"] + 1,
        "paid_cents": given["check"]["total_cents"],
        "due_cents": 0,
        "status": "closed",
    }
    return report(stand, "check.closed", {"order_id": check["check_id"], "check": check})


announce(
    "table",
    Action(
        name="code",
        label=gettext_lazy("Put the code on the table"),
        run=open_table,
        form=SampleForm,
    ),
    Action(name="look", label=gettext_lazy("See whether they paid"), run=look, is_follow_up=True),
    Action(name="close", label=gettext_lazy("Close the check"), run=close, is_follow_up=True),
)
