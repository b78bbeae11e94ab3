"""Money at the till: tenders, codes on tables, tax invoices.

A payment is shown as received where the answer to `status` says that it is paid, in the amount that
was asked for, and never before.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from django import forms
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy, pgettext_lazy
from django.utils.translation import gettext as _

from dispatch import receipt
from dispatch.operations.taxes import INVOICE
from dispatch.surfaces import UNKNOWN_OUTCOME
from dispatch.till.asking import Asked, ask, title_of, tone_of
from dispatch.till.surfaces import (
    Action,
    Code,
    Data,
    Happened,
    Row,
    Rows,
    Stand,
    announce,
    fresh_id,
)
from installs import snapshot
from installs.templatetags.posz import rupiah

TERMINAL = "kasir-1"
PAY_WITHIN_SECONDS = 900
STATUS_EVERY_SECONDS = 3
# What the till makes of “paid”: said by an answer that is no proof, or in another amount.
UNPROVEN, HELD = "unproven", "held"
OPEN = {"pending", "authorized", UNPROVEN, UNKNOWN_OUTCOME}
STATES: dict[str, tuple[Promise, str]] = {
    "pending": (gettext_lazy("Waiting for the guest to pay"), "warn"),
    "authorized": (gettext_lazy("Authorised, not yet captured"), "warn"),
    "paid": (pgettext_lazy("payment", "Received"), "ok"),
    "failed": (gettext_lazy("The payment failed"), "bad"),
    "expired": (gettext_lazy("The payment has expired"), "bad"),
    "cancelled": (pgettext_lazy("payment", "Cancelled"), "quiet"),
    "refunded": (gettext_lazy("Given back"), "quiet"),
    "partially_refunded": (gettext_lazy("Partly given back"), "quiet"),
    UNKNOWN_OUTCOME: (gettext_lazy("Outcome unknown: pending_verification"), "warn"),
    UNPROVEN: (gettext_lazy("Being verified"), "warn"),
    HELD: (gettext_lazy("Held: the amount differs"), "bad"),
}
REFUNDS: dict[str, tuple[Promise, str]] = {
    "pending": (gettext_lazy("The refund is on its way"), "warn"),
    "succeeded": (gettext_lazy("The money is given back"), "ok"),
    "failed": (gettext_lazy("The refund failed"), "bad"),
}


class SampleForm(forms.Form):
    sample = forms.ChoiceField(
        label=gettext_lazy("Sample order"),
        choices=lambda: [(item.slug, item.name) for item in receipt.SAMPLES],
    )


class PaymentForm(SampleForm):
    tender = forms.ChoiceField(label=gettext_lazy("Payment method"), required=False)


class RefundForm(forms.Form):
    rupiah = forms.IntegerField(
        label=gettext_lazy("Amount in rupiah"), min_value=1, max_value=10**12
    )


class PlansForm(forms.Form):
    rupiah = forms.IntegerField(
        label=gettext_lazy("Amount in rupiah"), min_value=1, max_value=10**12, initial=1_200_000
    )


class BuyerForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Company"), max_length=200, initial=INVOICE["buyer"]["name"]
    )
    npwp = forms.RegexField(
        label=gettext_lazy("NPWP (16 digits)"),
        regex=r"^[0-9]{16}\Z",
        initial=INVOICE["buyer"]["doc_number"],
        error_messages={"invalid": gettext_lazy("Sixteen digits are needed.")},
    )


def order_for(stand: Stand, slug: str) -> Data:
    sample = next(item for item in receipt.SAMPLES if item.slug == slug)
    number = f"T-{uuid4().hex[:4].upper()}"
    order = receipt.build_order(sample, stand.outlet, str(uuid4()), number, timezone.now())
    return {name: value for name, value in order.items() if value is not None}


def tenders(stand: Stand) -> dict[str, list[tuple[str, str]]]:
    snap = snapshot.current(stand.actor.merchant_id)
    rows = snap.answering("payment_method", stand.outlet.pk) if snap else []
    return {"tender": [(str(row.pk), row.integration.name) for row in rows]}


def start_payment(stand: Stand, given: Mapping[str, Any]) -> Happened:
    order = order_for(stand, given["sample"])
    payment = {
        "payment_id": fresh_id("pay"),
        "order_id": order["id"],
        "amount_cents": order["total_cents"],
        "tip_cents": 0,
        "currency": stand.currency,
        "items": order["lines"],
        "terminal_id": TERMINAL,
        "expires_in_s": PAY_WITHIN_SECONDS,
    }
    asked = ask(stand, "payment_method", "create", payment, given.get("tender", ""))
    slip = {
        "payment_id": payment["payment_id"],
        "amount_cents": payment["amount_cents"],
        "order_number": order["number"],
        "currency": stand.currency,
    }
    if asked.output.get("provider_ref"):
        slip["provider_ref"] = asked.output["provider_ref"]
    return _standing(asked, slip, code=_payment_code(asked.output))


def ask_status(stand: Stand, given: Mapping[str, Any]) -> Happened:
    asked = ask(stand, "payment_method", "status", _named(given))
    return _standing(asked, given)


def cancel_payment(stand: Stand, given: Mapping[str, Any]) -> Happened:
    asked = ask(stand, "payment_method", "cancel", _named(given) | {"reason": _("Paid in cash")})
    return _standing(asked, given)


def refund_payment(stand: Stand, given: Mapping[str, Any]) -> Happened:
    """Nothing is taken for given back but what the answer says."""
    refund = {
        **_named(given),
        "refund_id": fresh_id("ref"),
        "amount_cents": given["rupiah"] * 100,
        "currency": stand.currency,
        "reason": _("Given back at the till"),
    }
    asked = ask(stand, "payment_method", "refund", refund)
    title, tone = title_of(asked, _("Nobody was asked")), tone_of(asked)
    if asked.is_ok:
        words, tone = REFUNDS[asked.output["status"]]
        title = str(words)
    return Happened(
        title=title,
        tone=tone,
        note="" if asked.is_ok else _("It counts as not done. Nothing was given back."),
        exchange=asked.exchange,
        facts=((_("Amount"), rupiah(refund["amount_cents"])),),
        slip=dict(given),
        offers=("status", "refund"),
    )


def all_of_it(stand: Stand, given: Mapping[str, Any]) -> Data:  # noqa: ARG001
    return {"rupiah": given["amount_cents"] // 100}


def list_plans(stand: Stand, given: Mapping[str, Any]) -> Happened:
    question = {"amount_cents": given["rupiah"] * 100, "currency": stand.currency}
    asked = ask(stand, "payment_method", "list_plans", question)
    plans = asked.output.get("plans", [])
    lines = tuple(
        Row((plan["name"], rupiah(plan["installment_cents"]), rupiah(plan["total_cents"])))
        for plan in plans
    )
    return Happened(
        title=_("Instalments for %(amount)s") % {"amount": rupiah(question["amount_cents"])}
        if asked.is_ok
        else title_of(asked, _("No instalments here")),
        tone=tone_of(asked),
        exchange=asked.exchange,
        rows=Rows((_("Plan"), _("Each time"), _("In all")), lines) if lines else None,
    )


def _named(slip: Mapping[str, Any]) -> Data:
    return {name: slip[name] for name in ("payment_id", "provider_ref") if name in slip}


def _standing(asked: Asked, slip: Mapping[str, Any], code: Code | None = None) -> Happened:
    if asked.is_built_in:
        return Happened(
            title=_("No payment method is switched on here"),
            tone="quiet",
            note=_("Cash and cards work as always."),
            exchange=asked.exchange,
        )
    status = _status_of(asked.output, slip["amount_cents"])
    title, tone = STATES.get(status, (title_of(asked, ""), tone_of(asked)))
    is_open = status in OPEN
    return Happened(
        title=str(title),
        tone=tone,
        note=_note(asked.output, slip, status),
        exchange=asked.exchange,
        facts=_facts(asked, slip),
        code=code if is_open else None,
        slip=dict(slip),
        offers=_offers(status),
        asks_again="status" if is_open else "",
        asks_every=STATUS_EVERY_SECONDS,
    )


def _status_of(output: Mapping[str, Any], cents: int) -> str:
    """The answer to `create` or `cancel` proves no payment; that to `status` does, in its amount."""
    status: str = output.get("status", "")
    paid = output.get("paid_amount_cents")
    if output.get("problem") or (status == "paid" and paid not in {None, cents}):
        return HELD
    return UNPROVEN if status == "paid" and paid is None else status


def _note(output: Mapping[str, Any], slip: Mapping[str, Any], status: str) -> str:
    match status:
        case "paid":
            return _("The partner confirmed the amount, so the order may be handed over.")
        case "pending":
            return _("The till asks every three seconds.")
        case "unproven":
            return _("The till asks for the status before it believes it.")
        case "held":
            text = _("%(paid)s came in place of %(asked)s. A person has to look at it.")
            paid, due = output.get("paid_amount_cents"), slip["amount_cents"]
            return text % {"paid": rupiah(paid or 0), "asked": rupiah(due)}
        case "pending_verification":
            return _(
                "The partner did not say what it did, so nothing counts as received and nothing "
                "as refused. The till asks again until it knows."
            )
        case "":
            return _("Nothing was received.")
    return ""


def _facts(asked: Asked, slip: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    facts = [
        (_("Order"), slip["order_number"]),
        (_("Amount"), rupiah(slip["amount_cents"])),
        (_("Payment"), slip["payment_id"]),
    ]
    names = {"acquirer": _("Acquirer"), "issuer": _("Paid with"), "fee_cents": _("Fee")}
    for name, label in names.items():
        value = asked.output.get(name)
        if value is not None:
            facts.append((label, rupiah(value) if name == "fee_cents" else value))
    return tuple(facts)


def _offers(status: str) -> tuple[str, ...]:
    if status in OPEN:
        return ("status", "report", "cancel")
    return ("status", "refund") if status in {"paid", "partially_refunded"} else ("status",)


def _payment_code(output: Mapping[str, Any]) -> Code | None:
    url = output.get("redirect_url") or output.get("deeplink") or ""
    payload = output.get("qr_string") or url
    if not payload:
        return None
    return Code(_("Scan to pay"), receipt.code_svg(payload), url)


def show_code(stand: Stand, check: Data) -> Happened:
    """The code of an open check, as it is put on the table."""
    asked = ask(stand, "pay_at_table", "", {"check": check})
    facts = (
        (_("Table"), check["table"]),
        (_("Order"), check["number"]),
        (_("Amount due"), rupiah(check["total_cents"])),
    )
    if not asked.is_ok:
        return Happened(
            title=title_of(asked, _("The guests pay at the till")),
            tone=tone_of(asked),
            note=_("The bill is printed and the guests pay at the till, as before."),
            exchange=asked.exchange,
            facts=facts,
        )
    language = "id" if get_language() == "id" else "en"
    payload = asked.output["qr_payload"]
    return Happened(
        title=asked.output["label"][language],
        tone="ok",
        note=_(
            "Open the code as the guest does. The till learns of money by a verified report only."
        ),
        exchange=asked.exchange,
        facts=facts,
        code=Code(asked.output["label"][language], receipt.code_svg(payload), payload),
    )


def request_invoice(stand: Stand, given: Mapping[str, Any]) -> Happened:
    """For goods to take home; what is eaten at the restaurant is not on such an invoice."""
    today = datetime.now(UTC).astimezone(stand.outlet.zone).date()
    invoice = {
        **INVOICE,
        "invoice_id": fresh_id("inv"),
        "order_id": fresh_id("ord"),
        "date": today.isoformat(),
        "seller": INVOICE["seller"]
        | {
            "name": stand.outlet.merchant.name,
            "address": stand.outlet.address or str(stand.outlet),
        },
        "buyer": INVOICE["buyer"]
        | {
            "name": given["name"],
            "doc_number": given["npwp"],
            "nitku": f"{given['npwp']}000000",
        },
    }
    asked = ask(stand, "tax_invoice_provider", "", invoice)
    number = asked.output.get("faktur_number")
    titles = {
        "draft": _("Taken as a draft"),
        "submitted": _("Handed in: the number follows"),
        "approved": _("Approved"),
        "rejected": _("Rejected"),
    }
    facts = [(_("Company"), given["name"]), (_("Goods"), invoice["lines"][0]["name"])]
    return Happened(
        title=titles[asked.output["status"]]
        if asked.is_ok
        else title_of(asked, _("Tax invoice follows")),
        tone=tone_of(asked),
        note=""
        if number
        else _("No number is printed: it comes from the tax office, and is never made up."),
        exchange=asked.exchange,
        facts=(*facts, (_("Number"), number)) if number else tuple(facts),
    )


announce(
    "checkout",
    Action(
        name="pay",
        label=gettext_lazy("Start the payment"),
        run=start_payment,
        form=PaymentForm,
        options=tenders,
        nothing_to_choose=gettext_lazy(
            "No payment method is switched on at this outlet, so guests pay in cash or by card, "
            "as always."
        ),
    ),
    Action(name="plans", label=gettext_lazy("Show instalments"), run=list_plans, form=PlansForm),
    Action(
        name="status", label=gettext_lazy("Ask for the status"), run=ask_status, is_follow_up=True
    ),
    Action(
        name="cancel",
        label=gettext_lazy("Cancel the payment"),
        run=cancel_payment,
        is_follow_up=True,
    ),
    Action(
        name="refund",
        label=gettext_lazy("Give money back"),
        run=refund_payment,
        form=RefundForm,
        start=all_of_it,
        is_follow_up=True,
        is_danger=True,
    ),
)
announce(
    "invoice",
    Action(
        name="request",
        label=gettext_lazy("Ask for the invoice"),
        run=request_invoice,
        form=BuyerForm,
    ),
)
