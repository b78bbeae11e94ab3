"""What is told of the menu, of stock and of staff."""

from typing import Any

from installs.models import Install
from webhooks import menus
from webhooks.exported.notation import Happening, Part, some

SOLD = {"order.paid": "sale", "refund.completed": "refund"}
STOCK_FIELDS = ("kind", "at", "location_id", "lines", "order_id")
STAFF_FIELDS = ("kind", "staff", "at", "outlet_id", "timecard")


def menu(event: Happening, _install: Install) -> Part | None:
    """The whole menu, or what changed in it."""
    if event.type == "menu.published":
        return Part(menus.in_words_of_partners(event.data), "full")
    kept = menus.kept_at(event.known.merchant.pk, event.location_id)
    if event.type == "store.hours_changed":
        return Part(kept.document, "full") if kept else None
    available = menus.availability_in(kept)
    patch = {name: _patched(event.data.get(name), available) for name in ("items", "modifiers")}
    return Part({"event_id": str(event.id), **some(**patch)}, "patch")


def _patched(value: Any, available: dict[str, bool]) -> Any:
    """Partners are always told whether an item can be had, also where only its price changed."""
    if not isinstance(value, list):
        return value
    return [
        {"available": available.get(str(item.get("id")), True), **item}
        if isinstance(item, dict)
        else item
        for item in value
    ]


def stock(event: Happening, _install: Install) -> Part | None:
    """How stock moved; an order or a refund moves the items that are on it."""
    if event.type not in {*SOLD, "order.voided"}:
        own = {name: event.data.get(name) for name in STOCK_FIELDS}
        return Part(some(event_id=str(event.id), **own), "")
    lines = _lines_of(event)
    if not lines:
        return None
    request = some(
        event_id=str(event.id),
        kind=SOLD.get(event.type),
        at=event.occurred_at.isoformat(),
        # A merchant without outlets is one.
        location_id=str(event.location_id or event.known.merchant.pk),
        order_id=event.data.get("order_id") or (event.object("order") or {}).get("id"),
        lines=lines,
    )
    place = ".order.lines" if event.type == "order.paid" else ".lines"
    return Part(request, "", {".lines": place})


def _lines_of(event: Happening) -> list[dict[str, Any]]:
    """Nothing where goods are not put back, or where the event does not say what was on the order."""
    source: Any = event.data
    if event.type == "order.paid":
        source = event.object("order") or {}
    elif event.type == "refund.completed" and event.data.get("restock") is not True:
        return []
    lines = source.get("lines") if event.type in SOLD else None
    return [
        some(
            sku=line.get("sku") or line.get("id"),
            name=line.get("name"),
            qty=line.get("qty"),
            unit=line.get("unit") or "pcs",
        )
        for line in (lines if isinstance(lines, list) else [])
        if isinstance(line, dict)
    ]


def staff(event: Happening, _install: Install) -> Part:
    own = {name: event.data.get(name) for name in STAFF_FIELDS}
    return Part(some(event_id=str(event.id), **own), "")
