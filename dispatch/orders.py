"""Orders as the POS sends them: what a till must give, and what follows from it where it does not.

Unknown keys are kept for the partner. A till may send only an id and lines; sums that are missing
are computed.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from dispatch.contracts import Line, Order

MOST_LINES = 500
MOST_CENTS = 10**15


def order_of(data: Mapping[str, Any], currency: str, *, name: str = "order") -> Order:
    """Read `data["order"]`, or an open check of the same shape under another name.

    Refused with 400 `invalid_payload`, naming the field.
    """
    raw = data.get(name)
    if not isinstance(raw, dict):
        raise field_error(f"data.{name}", _("An object is needed."))
    lines = tuple(_lines(raw.get("lines", [])))
    subtotal = _cents(raw, "subtotal_cents", sum(line.total_cents for line in lines))
    service = _sum(raw, "charges", "amount_cents", but="rounding")
    rounding = _sum(raw, "charges", "amount_cents") - service
    tax = _sum(raw, "taxes", "amount_cents")
    discount = _sum(raw, "discounts", "amount_cents")
    order_id = _text(raw, "id")
    return Order(
        id=order_id,
        number=_text(raw, "number", order_id),
        version=_version(raw),
        table=_text(raw, "table", "") or None,
        currency=_text(raw, "currency", currency),
        closed_at=_time(raw, "closed_at"),
        lines=lines,
        subtotal_cents=subtotal,
        service_cents=service,
        tax_cents=tax,
        discount_cents=discount,
        total_cents=_cents(raw, "total_cents", subtotal + service + tax - discount + rounding),
        raw=raw,
    )


def field_error(name: str, message: str) -> ApiError:
    return ApiError("invalid_payload", f"{name}: {message}", fields={name: [message]})


def _lines(value: Any) -> list[Line]:
    if not isinstance(value, list) or len(value) > MOST_LINES:
        message = _("A list of at most %(limit)s lines is needed.") % {"limit": MOST_LINES}
        raise field_error("data.order.lines", message)
    return [_line(item, f"lines.{index}") for index, item in enumerate(value)]


def _line(raw: Any, where: str) -> Line:
    if not isinstance(raw, dict):
        raise field_error(f"data.order.{where}", _("A line is an object."))
    qty = _quantity(raw.get("qty", raw.get("quantity", "1")), where)
    unit = _cents(raw, "unit_price_cents", 0, where)
    computed = int((unit * qty).quantize(Decimal(1), ROUND_HALF_UP))
    return Line(
        name=_text(raw, "name", where=where),
        qty=qty,
        unit_price_cents=unit,
        total_cents=_cents(raw, "total_cents", computed, where),
    )


def _quantity(value: Any, where: str) -> Decimal:
    try:
        qty = Decimal(str(value))
    except InvalidOperation:
        qty = Decimal("NaN")
    if isinstance(value, bool) or not qty.is_finite() or not 0 < qty <= 100_000:
        raise field_error(f"data.order.{where}.qty", _("A number above zero is needed."))
    return qty


def _cents(raw: Mapping[str, Any], name: str, default: int, where: str = "") -> int:
    value = raw.get(name)
    if value is None:
        return default
    if type(value) is not int or abs(value) > MOST_CENTS:
        path = ".".join(part for part in ("data.order", where, name) if part)
        raise field_error(path, _("An integer number of cents is needed."))
    return value


def _sum(raw: Mapping[str, Any], name: str, key: str, *, but: str | None = None) -> int:
    items = raw.get(name) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise field_error(f"data.order.{name}", _("A list of objects is needed."))
    return sum(
        _cents(item, key, 0, name) for item in items if but is None or item.get("code") != but
    )


def _text(raw: Mapping[str, Any], name: str, default: str | None = None, where: str = "") -> str:
    value = raw.get(name)
    if value is None and default is not None:
        return default
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        path = ".".join(part for part in ("data.order", where, name) if part)
        raise field_error(path, _("A text of 1 to 200 characters is needed."))
    return value


def _version(raw: Mapping[str, Any]) -> int:
    value = raw.get("version", 1)
    if type(value) is not int or not 0 <= value < 2**31:
        raise field_error("data.order.version", _("An integer is needed."))
    return value


def _time(raw: Mapping[str, Any], name: str) -> datetime:
    value = raw.get(name)
    if value is None:
        return timezone.now()
    try:
        parsed = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise field_error(f"data.order.{name}", _("A time with its offset is needed (RFC 3339)."))
    return parsed
