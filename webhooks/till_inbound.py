"""What partners post, tried at the till: the sandbox posts it, and it comes out of the POS's inbox.

The post is signed with the partner's key and sent over HTTP, so everything about it is as it would be.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.urls import reverse
from django.utils import dateformat, timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from catalog import strict_json
from catalog.models import Integration
from dispatch.operations import newest
from dispatch.till import partner
from dispatch.till.surfaces import (
    Action,
    Data,
    Exchange,
    Happened,
    Party,
    Row,
    Rows,
    Run,
    Stand,
    announce,
    fresh_id,
)
from installs import snapshot
from installs.templatetags.posz import rupiah
from webhooks.models import InboundEvent, InboundStatus, InboxRow
from webhooks.till_events import STAFF

SHOWN_ROWS = 10
# Who clocks in at this till, by the number that HR knows them by.
PEOPLE = {STAFF["external_id"]: STAFF["name"]}


def post_as_partner(
    stand: Stand, capability: str, event_type: str, data: Mapping[str, Any], **carried: Any
) -> Happened:
    """One signed post of the partner that answers here, if the sandbox plays it.

    `carried` is the slip of what may follow, with its `offers`.
    """
    snap = snapshot.current(stand.actor.merchant_id)
    rows = snap.answering(capability, stand.outlet.pk) if snap else []
    played = next((row.integration for row in rows if partner.is_played(row.integration)), None)
    if played is None:
        return Happened(
            title=_("No partner of the sandbox posts here"),
            tone="quiet",
            note=_("What other partners post is listed as soon as it comes."),
            slip=carried,
            offers=tuple(carried.get("offers", ())),
        )
    order = {
        "capability": capability,
        "operation": event_type,
        "merchant_id": str(stand.actor.merchant_id),
        "location_id": str(stand.outlet.pk),
        "data": data,
    }
    sent = partner.post(played, order)
    if sent is None:
        return Happened(title=_("The sandbox could not be reached."), tone="bad")
    is_taken = sent["status"] == 200
    return Happened(
        title=_("The partner posted it") if is_taken else _("The hub refused the post"),
        tone="ok" if is_taken else "bad",
        exchange=_exchange(played, event_type, sent, is_taken=is_taken),
        slip={"capability": capability, **carried},
        offers=tuple(carried.get("offers", ("arrived",))),
        asks_again="arrived" if is_taken and "offers" not in carried else "",
    )


def _exchange(
    played: Integration, event_type: str, sent: Mapping[str, Any], *, is_taken: bool
) -> Exchange:
    answer = strict_json.loads(sent["answer"].encode()) if sent["status"] else {}
    refusal = answer.get("error", {}).get("message", sent["answer"])
    party = Party(
        name=played.name,
        status_name=_("Accepted") if is_taken else _("Refused"),
        tone="ok" if is_taken else "bad",
        reason=_("Its signature is right, and the post is stored once.") if is_taken else refusal,
    )
    return Exchange(
        name=event_type,
        path=f"POST /v1/integrations/{played.slug}/webhook",
        request=strict_json.loads(sent["body"].encode()),
        answer=answer,
        kind="posted",
        parties=(party,),
    )


def arrived(stand: Stand, given: Mapping[str, Any]) -> Happened:
    """What of it has come to the inbox; asked again by the page until it is processed."""
    capability = given["capability"]
    waiting = _of(stand, capability).filter(status=InboundStatus.RECEIVED).exists()
    parked = _of(stand, capability).filter(status=InboundStatus.PARKED).first()
    rows = _handed_over(stand, capability)
    title = _("In the inbox of the POS") if rows else _("Nothing in the inbox yet")
    if waiting:
        title = _("Being processed")
    return Happened(
        title=title,
        tone="warn" if waiting or parked else "ok" if rows else "quiet",
        note=_("Something waits until it is said who or what is meant.") if parked else "",
        link=(_mappings_of(parked), _("Say what is meant")) if parked else None,
        rows=rows,
        slip=dict(given),
        asks_again="arrived" if waiting else "",
    )


def _mappings_of(row: InboundEvent) -> str:
    return reverse("installs:mappings", args=[row.integration.slug, row.install_id])


def _of(stand: Stand, capability: str) -> Any:
    recent = timezone.now() - timedelta(days=1)
    return InboundEvent.objects.filter(
        merchant_id=stand.actor.merchant_id, capability=capability, received_at__gt=recent
    ).select_related("integration")


def _handed_over(stand: Stand, capability: str) -> Rows | None:
    """The newest that the POS has not taken over yet, as `GET /v1/inbox` hands it over."""
    here = Q(location=stand.outlet.pk) | Q(location=None)
    waiting = InboxRow.objects.for_merchant(stand.actor.merchant_id).waiting()
    found = waiting.filter(here, capability=capability).select_related("integration")
    newest = found.order_by("-sequence")[:SHOWN_ROWS]
    lines = tuple(_line(stand, row) for row in newest)
    return (
        Rows((_("When"), pgettext("inbox", "From"), pgettext("inbox", "What")), lines)
        if lines
        else None
    )


def _line(stand: Stand, row: InboxRow) -> Row:
    at = row.created_at.astimezone(stand.outlet.zone)
    cells = (
        dateformat.format(at, "H:i:s"),
        row.integration.name,
        _words(stand, row.operation, row.data),
    )
    if row.operation != "order.created":
        return Row(cells)
    order = {name: row.data[name] for name in ("external_order_id", "channel")}
    return Row(cells, {"order": order, "inbox_id": str(row.pk)}, ("accept", "reject"))


def _words(stand: Stand, event_type: str, data: Mapping[str, Any]) -> str:
    match event_type:
        case "order.created" | "order.updated":
            items = ", ".join(f"{line['qty']} x {line['name']}" for line in data["lines"])
            return f"{data['short_number']}: {items}, {rupiah(data['price']['total_cents'])}"
        case "schedule.published":
            return ", ".join(_shift(stand, shift) for shift in data["shifts"])
        case "stock.received" | "stock.level_set":
            return ", ".join(
                f"{line['qty']} {line['unit']} {line['sku']}" for line in data["lines"]
            )
        case _:
            return event_type


def _shift(stand: Stand, shift: Mapping[str, Any]) -> str:
    times = [datetime.fromisoformat(shift[name]) for name in ("start_at", "end_at")]
    start, end = (moment.astimezone(stand.outlet.zone) for moment in times)
    day = dateformat.format(start, "j M H:i")
    number = shift["staff_external_id"]
    return f"{PEOPLE.get(number, number)}, {day}-{end:%H:%M} {end.tzname()}"


def look(capability: str) -> Run:
    """An action that lists what came."""

    def run(stand: Stand, given: Mapping[str, Any]) -> Happened:  # noqa: ARG001
        return arrived(stand, {"capability": capability})

    return run


def send_order(stand: Stand, given: Mapping[str, Any]) -> Happened:  # noqa: ARG001
    example = _example("order_inbound", "order.created")
    number = fresh_id("GF")
    order = example | {
        "external_order_id": number,
        "short_number": number[:7].upper(),
        "placed_at": timezone.now().isoformat(),
        "ready_estimate": (timezone.now() + timedelta(minutes=20)).isoformat(),
    }
    return post_as_partner(stand, "order_inbound", "order.created", order)


def send_supply(stand: Stand, given: Mapping[str, Any]) -> Happened:  # noqa: ARG001
    supply = _example("inventory_replenish_inbound", "stock.received") | {
        "external_id": fresh_id("GR"),
        "location_id": str(stand.outlet.pk),
        "at": timezone.now().isoformat(),
    }
    return post_as_partner(stand, "inventory_replenish_inbound", "stock.received", supply)


def send_schedule(stand: Stand, given: Mapping[str, Any]) -> Happened:  # noqa: ARG001
    example = _example("staff_schedule_import", "schedule.published")
    opens = timezone.now().astimezone(stand.outlet.zone) + timedelta(days=1)
    start = opens.replace(hour=8, minute=0, second=0, microsecond=0)
    shift = example["shifts"][0] | {
        "external_id": fresh_id("shf"),
        "outlet_id": str(stand.outlet.pk),
        "start_at": start.isoformat(),
        "end_at": (start + timedelta(hours=8)).isoformat(),
        "updated_at": timezone.now().isoformat(),
    }
    schedule = example | {
        "schedule_version": fresh_id("v"),
        "from": start.isoformat(),
        "to": (start + timedelta(days=7)).isoformat(),
        "shifts": [shift],
    }
    return post_as_partner(stand, "staff_schedule_import", "schedule.published", schedule)


def report_payment(stand: Stand, given: Mapping[str, Any]) -> Happened:
    """The provider's own word, which counts as much as its answer to `status`."""
    report = {
        "payment_id": given["payment_id"],
        "provider_ref": given.get("provider_ref", given["payment_id"]),
        "kind": "payment",
        "status": "paid",
        "amount_cents": given["amount_cents"],
        "currency": given["currency"],
    }
    return post_as_partner(
        stand,
        "payment_webhook_inbound",
        "payment.updated",
        report,
        **dict(given) | {"offers": ["status", "refund"]},
    )


def _example(capability: str, event_type: str) -> Data:
    operation = newest(capability).operation(event_type)
    return dict(operation.request_example) if operation else {}


announce(
    "orders",
    Action(
        name="arrive",
        label=gettext_lazy("Let the channel send an order"),
        run=send_order,
        is_played=True,
    ),
    Action(
        name="look",
        label=gettext_lazy("Look for orders"),
        run=look("order_inbound"),
    ),
)
announce(
    "stock",
    Action(
        name="supply",
        label=gettext_lazy("Let the supplier deliver"),
        run=send_supply,
        is_played=True,
    ),
    Action(
        name="look",
        label=gettext_lazy("See deliveries of goods"),
        run=look("inventory_replenish_inbound"),
    ),
)
announce(
    "staff",
    Action(
        name="publish",
        label=gettext_lazy("Let HR publish a schedule"),
        run=send_schedule,
        is_played=True,
    ),
    Action(
        name="look",
        label=gettext_lazy("See the schedule"),
        run=look("staff_schedule_import"),
    ),
)
announce(
    "checkout",
    Action(
        name="report",
        label=gettext_lazy("Let the provider report it"),
        run=report_payment,
        is_follow_up=True,
        is_played=True,
    ),
)
for slug in ("orders", "stock", "staff"):
    announce(
        slug,
        Action(name="arrived", label=gettext_lazy("Look again"), run=arrived, is_follow_up=True),
    )
