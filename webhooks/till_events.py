"""What can be tried at the till by reporting an event: it goes the way of `POST /v1/events`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.db.models import Max
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from catalog import strict_json
from catalog.envelope import ApiError
from catalog.models import Integration
from dispatch.till.checkout import SampleForm, order_for
from dispatch.till.guests import BOOKING_STATES, DayForm, chosen, local_time
from dispatch.till.surfaces import (
    SURFACES,
    Action,
    Data,
    Exchange,
    Happened,
    Party,
    Stand,
    announce,
    fresh_id,
)
from installs import snapshot
from installs.templatetags.posz import rupiah
from webhooks import inbox, outbound
from webhooks.catalogue import EVENT_TYPES
from webhooks.models import Delivery, DeliveryStatus, Event
from webhooks.problems import problem_of

TONES = {
    DeliveryStatus.DELIVERED: "ok",
    DeliveryStatus.DEAD: "bad",
    DeliveryStatus.CANCELLED: "quiet",
    DeliveryStatus.PENDING: "quiet",
}
CUSTOMER: Data = EVENT_TYPES["customer.created"].example["customer"]
MENU: Mapping[str, Any] = EVENT_TYPES["menu.published"].example
ITEM: Data = MENU["categories"][0]["items"][0]
DAY_CLOSED = "business_day.closed"
STAFF: Data = EVENT_TYPES["staff.clocked_in"].example["staff"]


def report(stand: Stand, event_type: str, data: Mapping[str, Any], **carried: Any) -> Happened:
    """Tell everybody who subscribed. `carried` is the slip of what may follow, with its `offers`, and a
    `title` in place of what the catalogue says of the event, with `facts` that the till shows below it.

    In production nothing made up is told to a real partner: it would count as sold, paid or erased.
    """
    real = _real_partners(stand)
    if real:
        text = _(
            "%(names)s would take it for real. Try it at an outlet with demo partners only, or send "
            "an example from the page of the integration."
        )
        note = text % {"names": ", ".join(real)}
        return Happened(title=_("Not sent: real partners listen here"), tone="warn", note=note)
    now = timezone.now()
    sent: Data = {
        "type": event_type,
        "location_id": str(stand.outlet.pk),
        "occurred_at": now.isoformat(),
        "idempotency_key": fresh_id("till"),
        "data": dict(data),
    }
    new = outbound.NewEvent(
        type=event_type,
        merchant_id=stand.actor.merchant_id,
        location_id=stand.outlet.pk,
        occurred_at=now,
        idempotency_key=sent["idempotency_key"],
        data=data,
    )
    try:
        event, deliveries = outbound.accept_event(new)
    except ApiError as error:
        exchange = _exchange(event_type, sent, error.body())
        title, note = _("The hub refused the event"), error.message
        return Happened(title=title, tone="bad", note=note, exchange=exchange)
    slip = {"event": str(event.pk), "sent": sent, "deliveries": deliveries, **carried}
    return told(stand, slip)


def _real_partners(stand: Stand) -> list[str]:
    snap = snapshot.current(stand.actor.merchant_id)
    if settings.DEBUG or snap is None:
        return []
    return [
        row.integration.name
        for row in snap.effective(stand.outlet.pk)
        if row.is_enabled and row.integration.outbound_url and not row.integration.is_demo
    ]


def _exchange(
    event_type: str,
    sent: Data,
    answer: Data,
    parties: tuple[Party, ...] = (),
    *,
    is_sent: bool = False,
) -> Exchange:
    failure = _("It stays here and is sent again after 1, 5, 15 and 60 minutes.") if is_sent else ""
    return Exchange(
        name=event_type,
        path="POST /v1/events",
        kind="told",
        request=sent,
        answer=answer,
        parties=parties,
        failure=failure,
    )


def told(stand: Stand, given: Mapping[str, Any]) -> Happened:
    """How far an event has come; asked again by the page until every partner has it."""
    event_id, event_type = given["event"], given["sent"]["type"]
    rows = _deliveries(stand, UUID(event_id))
    kept_from = [] if rows else _kept_from(stand, event_type)
    waiting = [row for row in rows if row.status == DeliveryStatus.PENDING]
    return Happened(
        title=given.get("title") or EVENT_TYPES[event_type].summary,
        tone="warn" if any(row.reason for row in rows) else "quiet" if waiting else "ok",
        note=_("It is kept, and nothing is sent.") if kept_from else _note(rows, waiting),
        exchange=_exchange(
            event_type,
            given["sent"],
            {"id": event_id, "deliveries": given["deliveries"]},
            tuple(_party(row) for row in rows) or tuple(_untold(row) for row in kept_from),
            is_sent=bool(rows),
        ),
        facts=_sums_of(stand, UUID(event_id))
        if event_type == DAY_CLOSED
        else tuple((label, value) for label, value in given.get("facts", ())),
        slip=dict(given),
        offers=tuple(given.get("offers", ())),
        asks_again="told" if waiting else "",
    )


def _deliveries(stand: Stand, event_id: UUID) -> list[Delivery]:
    rows = Delivery.objects.for_merchant(stand.actor.merchant_id).filter(event_id=event_id)
    timed = rows.select_related("integration").annotate(last_ms=Max("attempts__elapsed_ms"))
    return list(timed.order_by("created_at", "pk"))


def _kept_from(stand: Stand, event_type: str) -> list[Integration]:
    """Who would be told of a customer, but may not: for them there is no delivery to show."""
    snap = snapshot.current(stand.actor.merchant_id)
    if snap is None or not event_type.startswith("customer."):
        return []
    found = {
        row.integration.pk: row.integration
        for capability in SURFACES["customers"].capabilities
        for row in snap.answering(capability, stand.outlet.pk)
    }
    return list(found.values())


def _untold(row: Integration) -> Party:
    return Party(
        name=row.name,
        status_name=_("Not told"),
        tone="quiet",
        reason=_(
            "It gets a customer only for a purpose that is chosen in its settings, and only with the "
            "customer’s consent to it."
        ),
        url=reverse("installs:detail", args=[row.slug]),
        url_text=_("Choose its purposes"),
    )


def _note(rows: list[Delivery], waiting: list[Delivery]) -> str:
    if not rows:
        return _("No integration here asked to be told of this. It is kept, and nothing is sent.")
    if any(row.reason for row in waiting):
        return _("It did not get through yet. Nothing is lost: it is sent again later.")
    return _("It goes out at once.") if waiting else _("Everybody who wants to know has been told.")


def _party(row: Delivery) -> Party:
    is_over = row.status != DeliveryStatus.PENDING
    problem = problem_of(row.reason, is_over=is_over)
    status_name = row.get_status_display()
    if not is_over:
        status_name = _("Trying again") if row.reason else _("On its way")
    return Party(
        name=row.integration.name,
        status_name=status_name,
        tone="warn" if problem and not is_over else TONES[DeliveryStatus(row.status)],
        reason=problem.what if problem else "",
        elapsed_ms=getattr(row, "last_ms", None),
        url=reverse("webhooks:delivery", args=[row.pk]),
    )


class ReasonForm(forms.Form):
    reason = forms.ChoiceField(
        label=gettext_lazy("Why"),
        choices=[
            ("items_out_of_stock", gettext_lazy("Out of stock")),
            ("busy", gettext_lazy("Too busy")),
            ("closed", gettext_lazy("Closed")),
        ],
    )


class StockForm(forms.Form):
    kind = forms.ChoiceField(
        label=gettext_lazy("What happened"),
        choices=[
            ("inventory.depleted", gettext_lazy("Used up by sales")),
            ("inventory.counted", gettext_lazy("Counted")),
            ("inventory.received", gettext_lazy("Received")),
            ("inventory.wasted", gettext_lazy("Thrown away")),
        ],
    )
    qty = forms.DecimalField(
        label=gettext_lazy("Rice in kg"), min_value=0, max_digits=9, decimal_places=3, initial="2.5"
    )


class ItemForm(forms.Form):
    available = forms.ChoiceField(
        label=ITEM["name"],
        choices=[("no", gettext_lazy("Sold out (86)")), ("yes", gettext_lazy("Back again"))],
    )


class PriceForm(forms.Form):
    rupiah = forms.IntegerField(
        label=gettext_lazy("Price of Nasi campur Bali in rupiah"),
        min_value=0,
        max_value=10**9,
        initial=55_000,
    )


class ConsentForm(forms.Form):
    purpose = forms.ChoiceField(
        label=gettext_lazy("Purpose"),
        choices=[
            ("marketing_whatsapp", gettext_lazy("Marketing by WhatsApp")),
            ("marketing_email", gettext_lazy("Marketing by e-mail")),
            ("profiling", gettext_lazy("Profiling")),
        ],
    )
    granted = forms.ChoiceField(
        label=gettext_lazy("Consent"),
        choices=[("yes", gettext_lazy("Given")), ("no", gettext_lazy("Withdrawn"))],
    )


def _seated(status: str, stand: Stand, given: Mapping[str, Any]) -> Happened:
    known = given["reservation"]
    reservation = known | {
        "id": known.get("id") or fresh_id("res"),
        "status": status,
        "sequence": known["sequence"] + 1,
        "updated_at": timezone.now().isoformat(),
    }
    data = {"reservation": reservation, "previous_status": known["status"]}
    facts = [
        (_("Guest"), known["guest"].get("name", "")),
        (_("Number of guests"), str(known["party_size"])),
        (_("Time"), local_time(known["start_at"], stand)),
    ]
    title = str(BOOKING_STATES[status])
    return report(stand, "reservation.status_changed", data, title=title, facts=facts)


def seat(stand: Stand, given: Mapping[str, Any]) -> Happened:
    return _seated("seated", stand, given)


def miss(stand: Stand, given: Mapping[str, Any]) -> Happened:
    return _seated("no_show", stand, given)


def accept_order(stand: Stand, given: Mapping[str, Any]) -> Happened:
    order = given["order"]
    ready_at = timezone.now() + timedelta(minutes=20)
    data = order | {"order_id": fresh_id("ord"), "ready_at": ready_at.isoformat()}
    carried = {"order": order, "offers": ["ready"]}
    return _answer_order(stand, given, "channel_order.accepted", data, **carried)


def reject_order(stand: Stand, given: Mapping[str, Any]) -> Happened:
    data = given["order"] | {"reason": given["reason"]}
    return _answer_order(stand, given, "channel_order.rejected", data)


def _answer_order(
    stand: Stand, given: Mapping[str, Any], event_type: str, data: Mapping[str, Any], **carried: Any
) -> Happened:
    """Tell the channel, then take the order over, as a POS does: it is not handed over again.

    Where the event was not taken the order stays in the inbox.
    """
    happened = report(stand, event_type, data, **carried)
    if "event" in happened.slip:
        inbox.acknowledge_at(stand.actor, stand.outlet.pk, [UUID(given["inbox_id"])])
    return happened


def finish_order(stand: Stand, given: Mapping[str, Any]) -> Happened:
    data = given["order"] | {"order_id": fresh_id("ord"), "at": timezone.now().isoformat()}
    return report(stand, "order.ready", data)


def publish_menu(stand: Stand, given: Mapping[str, Any]) -> Happened:
    now = timezone.now().astimezone(stand.outlet.zone)
    item = ITEM | {"price_cents": given["rupiah"] * 100}
    category = MENU["categories"][0] | {"items": [item]}
    menu = {
        "menu_version": f"{now:%Y-%m-%d.%H%M%S}",
        "currency": stand.currency,
        "categories": [category],
    }
    facts = [(ITEM["name"], rupiah(item["price_cents"])), (_("Version"), menu["menu_version"])]
    return report(stand, "menu.published", menu, title=_("The menu is published"), facts=facts)


def take_off(stand: Stand, given: Mapping[str, Any]) -> Happened:
    is_back = given["available"] == "yes"
    item = {"id": ITEM["id"], "available": is_back} | ({} if is_back else {"max_stock": 0})
    title = _("%(item)s is back") if is_back else _("%(item)s is sold out")
    words = title % {"item": ITEM["name"]}
    return report(stand, "item.availability_changed", {"items": [item]}, title=words)


def move_stock(stand: Stand, given: Mapping[str, Any]) -> Happened:
    event_type = given["kind"]
    example = EVENT_TYPES[event_type].example
    line = example["lines"][0] | {"qty": f"{given['qty']:f}"}
    data = {
        "kind": example["kind"],
        "at": timezone.now().isoformat(),
        "location_id": str(stand.outlet.pk),
        "lines": [line],
    }
    if event_type == "inventory.depleted":
        data["order_id"] = fresh_id("ord")
    qty = f"{number_format(given['qty'])} {line['unit']}"
    return report(
        stand, event_type, data, title=chosen(StockForm, "kind", given), facts=[(line["name"], qty)]
    )


def clock_in(stand: Stand, given: Mapping[str, Any]) -> Happened:  # noqa: ARG001
    timecard: Data = {
        "id": fresh_id("tc"),
        "version": 1,
        "start_at": timezone.now().isoformat(),
        "breaks": [],
    }
    data = _clocked(stand, "clock_in", timecard)
    return report(
        stand,
        "staff.clocked_in",
        data,
        title=_("%(name)s has clocked in") % {"name": STAFF["name"]},
        facts=[(_("From"), local_time(timecard["start_at"], stand))],
        timecard=timecard,
        offers=["clock-out"],
    )


def clock_out(stand: Stand, given: Mapping[str, Any]) -> Happened:
    timecard = given["timecard"] | {"version": 2, "end_at": timezone.now().isoformat()}
    return report(
        stand,
        "staff.clocked_out",
        _clocked(stand, "clock_out", timecard),
        title=_("%(name)s has clocked out") % {"name": STAFF["name"]},
        facts=[
            (_("From"), local_time(timecard["start_at"], stand)),
            (_("Until"), local_time(timecard["end_at"], stand)),
        ],
    )


def _clocked(stand: Stand, kind: str, timecard: Data) -> Data:
    return {
        "kind": kind,
        "staff": STAFF,
        "at": timezone.now().isoformat(),
        "outlet_id": str(stand.outlet.pk),
        "timecard": timecard,
    }


def change_consent(stand: Stand, given: Mapping[str, Any]) -> Happened:
    consent = {
        "purpose": given["purpose"],
        "granted": given["granted"] == "yes",
        "at": timezone.now().isoformat(),
        "source": "till",
    }
    customer = CUSTOMER | {"consents": [consent]}
    data = {"customer": customer, "consents": [consent]}
    title = _("The consent is given") if consent["granted"] else _("The consent is withdrawn")
    facts = [
        (_("Customer"), CUSTOMER["name"]),
        (_("Purpose"), chosen(ConsentForm, "purpose", given)),
    ]
    return report(stand, "customer.consent_changed", data, title=title, facts=facts)


def export_customer(stand: Stand, given: Mapping[str, Any]) -> Happened:  # noqa: ARG001
    data = {"customer": CUSTOMER, "changed_fields": ["name", "phone_e164"]}
    facts = [(_("Customer"), CUSTOMER["name"])]
    title = _("The customer’s details changed")
    return report(stand, "customer.updated", data, title=title, facts=facts)


def sell_to_customer(stand: Stand, given: Mapping[str, Any]) -> Happened:
    """What a customer who gave consent bought: the event that most partners wait for."""
    return _sold(stand, given["sample"], {"customer": CUSTOMER})


def sell(stand: Stand, given: Mapping[str, Any]) -> Happened:
    return _sold(stand, given["sample"], {})


def _sold(stand: Stand, sample: str, customer: Data) -> Happened:
    order, now = order_for(stand, sample), timezone.now()
    payment = {
        "id": fresh_id("pay"),
        "method": "cash",
        "amount_cents": order["total_cents"],
        "tip_cents": 0,
        "status": "paid",
        "paid_at": now.isoformat(),
    }
    paid = {
        "channel": "pos",
        "business_date": now.astimezone(stand.outlet.zone).date().isoformat(),
        "paid_cents": order["total_cents"],
        "payments": [payment],
    }
    data = {
        "order_id": order["id"],
        "order": order | paid | customer,
        "payments": [payment],
        "fully_paid_at": now.isoformat(),
    }
    facts = [(_("Order"), order["number"]), (_("Cash"), rupiah(order["total_cents"]))]
    if customer:
        facts.insert(0, (_("Customer"), CUSTOMER["name"]))
    return report(stand, "order.paid", data | customer, title=_("Sold and paid"), facts=facts)


def erase_customer(stand: Stand, given: Mapping[str, Any]) -> Happened:  # noqa: ARG001
    """Within the 72 hours that the law on personal data (UU PDP) gives."""
    due = timezone.now() + timedelta(hours=72)
    data = {"customer_id": CUSTOMER["id"], "erase_before": due.isoformat()}
    facts = [
        (_("Customer"), CUSTOMER["name"]),
        (_("To be erased by"), local_time(data["erase_before"], stand)),
    ]
    title = _("The customer asks to be erased")
    return report(stand, "customer.erasure_requested", data, title=title, facts=facts)


def today(stand: Stand, given: Mapping[str, Any]) -> Data:  # noqa: ARG001
    return {"date": timezone.now().astimezone(stand.outlet.zone).date()}


def close_day(stand: Stand, given: Mapping[str, Any]) -> Happened:
    """Without sums of its own, so that the hub computes them from what was reported that day."""
    data = {"business_date": given["date"].isoformat()}
    return report(stand, DAY_CLOSED, data, title=_("The day is closed"))


def _sums_of(stand: Stand, event_id: UUID) -> tuple[tuple[str, str], ...]:
    event = Event.objects.get(pk=event_id, merchant_id=stand.actor.merchant_id)
    sums = strict_json.loads(bytes(event.body))["data"].get("daily_summary")
    if not isinstance(sums, dict):
        return ()
    labels = {
        "gross_cents": _("Gross"),
        "discounts_cents": _("Discounts"),
        "net_cents": _("Net"),
        "service_cents": _("Service charge"),
        "refunds_cents": _("Refunds"),
        "rounding_cents": _("Rounding"),
    }
    amounts = [(label, sums.get(name)) for name, label in labels.items()]
    amounts += [(row["code"], row["amount_cents"]) for row in sums.get("taxes", ())]
    methods = {"cash": _("Cash")}
    amounts += [
        (methods.get(row["method"], row["method"]), row["amount_cents"])
        for row in sums.get("payments", ())
    ]
    return tuple((label, rupiah(cents)) for label, cents in amounts if cents)


announce(
    "reservations",
    Action(name="seat", label=gettext_lazy("Seat them"), run=seat, is_follow_up=True),
    Action(name="no-show", label=gettext_lazy("They did not come"), run=miss, is_follow_up=True),
)
announce(
    "orders",
    Action(name="accept", label=gettext_lazy("Accept"), run=accept_order, is_follow_up=True),
    Action(
        name="reject",
        label=gettext_lazy("Reject"),
        run=reject_order,
        form=ReasonForm,
        is_follow_up=True,
        is_danger=True,
    ),
    Action(name="ready", label=gettext_lazy("It is ready"), run=finish_order, is_follow_up=True),
)
announce(
    "menu",
    Action(
        name="publish", label=gettext_lazy("Publish the menu"), run=publish_menu, form=PriceForm
    ),
    Action(name="item", label=gettext_lazy("Tell the channels"), run=take_off, form=ItemForm),
)
announce(
    "stock",
    Action(name="move", label=gettext_lazy("Write it down"), run=move_stock, form=StockForm),
)
announce(
    "staff",
    Action(name="clock-in", label=gettext_lazy("Clock in"), run=clock_in),
    Action(name="clock-out", label=gettext_lazy("Clock out"), run=clock_out, is_follow_up=True),
)
announce(
    "customers",
    Action(
        name="consent",
        label=gettext_lazy("Save the consent"),
        run=change_consent,
        form=ConsentForm,
    ),
    Action(name="export", label=gettext_lazy("Hand the profile over"), run=export_customer),
    Action(
        name="buy",
        label=gettext_lazy("Sell to the customer"),
        run=sell_to_customer,
        form=SampleForm,
    ),
    Action(
        name="erase",
        label=gettext_lazy("Erase the customer"),
        run=erase_customer,
        is_danger=True,
    ),
)
announce(
    "day",
    Action(name="sell", label=gettext_lazy("Ring up a sale"), run=sell, form=SampleForm),
    Action(
        name="close", label=gettext_lazy("Close the day"), run=close_day, form=DayForm, start=today
    ),
)
for slug in SURFACES:
    announce(
        slug, Action(name="told", label=gettext_lazy("Look again"), run=told, is_follow_up=True)
    )
