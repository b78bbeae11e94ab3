"""The menu as it is in force, kept for partners that fetch it.

A published menu takes the place of the one before, at its outlet or everywhere; what changes in it
afterwards is changed in what is kept. To be called under the merchant's lock, in the transaction of the
event.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from catalog.strict_json import dumps
from dispatch.operations import as_document
from dispatch.operations.channels import Hours, Menu, MenuPatch
from webhooks.models import KeptMenu

PUBLISHED, HOURS = "menu.published", "store.hours_changed"
PATCHES = ("item.availability_changed", "price.changed")
KEPT = frozenset({PUBLISHED, HOURS, *PATCHES})
# Written in two languages for partners, and by the POS in one where it has no other.
BILINGUAL = ("name", "description")
PATCHED = ("available", "price_cents", "max_stock")


def note(
    event_type: str,
    merchant_id: UUID,
    location_id: UUID | None,
    data: Mapping[str, Any],
    at: datetime,
) -> None:
    """Keep what an event says of the menu. What can't be understood leaves it as it was."""
    try:
        if event_type == PUBLISHED:
            menu = msgspec.convert(in_words_of_partners(data), Menu)
            _publish(merchant_id, location_id, as_document(menu), at)
        elif event_type == HOURS:
            hours = msgspec.convert(list(_hours(data)), tuple[Hours, ...])
            _change(merchant_id, location_id, at, hours=msgspec.to_builtins(hours))
        else:
            patch = {name: data.get(name) or [] for name in ("items", "modifiers")}
            known = [{"available": True, **item} for name in patch for item in patch[name]]
            msgspec.convert({"event_id": "-", "items": known}, MenuPatch)
            _change(merchant_id, location_id, at, patch=patch)
    except (msgspec.ValidationError, TypeError):
        return


def kept_at(merchant_id: UUID, location_id: UUID | None) -> KeptMenu | None:
    """The menu in force at an outlet: its own, else the one of all outlets."""
    rows = KeptMenu.objects.filter(merchant_id=merchant_id)
    own = rows.filter(location_id=location_id).first() if location_id else None
    return own or rows.filter(location=None).first()


def availability_in(kept: KeptMenu | None) -> dict[str, bool]:
    """Which items and modifiers can be had."""
    return {entry["id"]: entry["available"] for entry in _entries(kept.document if kept else {})}


def in_words_of_partners(data: Mapping[str, Any]) -> dict[str, Any]:
    """The menu of an event with every name in two languages."""
    names = ("menu_version", "currency", "categories")
    menu = {name: _bilingual(data[name]) for name in names if name in data}
    hours = data.get("hours")
    return menu | ({"hours": hours} if hours is not None else {})


def _bilingual(value: Any) -> Any:
    if isinstance(value, list):
        return [_bilingual(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: {"en": item, "id": item}
        if name in BILINGUAL and isinstance(item, str)
        else item
        if name in BILINGUAL
        else _bilingual(item)
        for name, item in value.items()
    }


def _hours(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for number, item in enumerate(data.get("hours") or [], 1):
        if not isinstance(item, dict):
            raise TypeError("an object is needed")
        opens, closes = item.get("opens", item.get("from")), item.get("closes", item.get("to"))
        yield {"id": f"hours-{number}", **item, "opens": opens, "closes": closes}


def _publish(
    merchant_id: UUID, location_id: UUID | None, document: dict[str, Any], at: datetime
) -> None:
    older = KeptMenu.objects.filter(merchant_id=merchant_id)
    if location_id is not None:
        older = older.filter(location_id=location_id)
    # What was there before at the same outlets is out of force.
    older.delete()
    KeptMenu.objects.create(
        merchant_id=merchant_id,
        location_id=location_id,
        menu_version=document["menu_version"],
        document=document,
        etag=_etag(document),
        published_at=at,
        changed_at=at,
    )


def _change(
    merchant_id: UUID,
    location_id: UUID | None,
    at: datetime,
    *,
    hours: list[Any] | None = None,
    patch: Mapping[str, Any] | None = None,
) -> None:
    for row in _in_force(merchant_id, location_id):
        if hours is not None:
            row.document["hours"] = hours
        for name in patch or ():
            _apply((patch or {})[name], row.document)
        row.etag, row.changed_at = _etag(row.document), at
        row.save(update_fields=["document", "etag", "changed_at"])


def _in_force(merchant_id: UUID, location_id: UUID | None) -> list[KeptMenu]:
    """Those that change. An outlet that differs from the menu of all outlets gets one of its own."""
    rows = KeptMenu.objects.filter(merchant_id=merchant_id)
    if location_id is None:
        return list(rows)
    row = rows.filter(location_id=location_id).first()
    common = rows.filter(location=None).first() if row is None else None
    if common is not None:
        common.pk, common.location_id, common._state.adding = None, location_id, True  # noqa: SLF001
        common.save(force_insert=True)
        row = common
    return [row] if row is not None else []


def _apply(changes: list[Any], document: dict[str, Any]) -> None:
    by_id = {item["id"]: item for item in changes}
    for entry in _entries(document):
        change = by_id.get(entry["id"], {})
        entry.update({name: change[name] for name in PATCHED if change.get(name) is not None})


def _entries(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The items of a menu and their modifiers; they are changed in place."""
    for category in document.get("categories", []):
        for item in category["items"]:
            yield item
            for group in item.get("modifier_groups", []):
                yield from group["modifiers"]


def _etag(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(dumps(document)).hexdigest()[:32]
