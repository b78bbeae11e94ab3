"""What a till adds up and prints: sample orders, their sums, and the lines and codes on the paper.

Nothing here asks the database or a partner. Amounts are hundredths of a rupiah, and because nobody
pays those, every computed amount is rounded half up to whole rupiah by itself.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any

import segno
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy, pgettext_lazy

from dispatch.contracts import COLUMNS
from installs.models import Location

WHOLE_RUPIAH_CENTS = 100
# The smallest coin that is in use everywhere; a cash total in between can't be paid.
SMALLEST_COIN_CENTS = 100_00
PAPERS = COLUMNS


@dataclass(frozen=True, slots=True)
class Modifier:
    name: str
    unit_price_cents: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    name: str
    qty: str
    unit_price_cents: int
    modifiers: tuple[Modifier, ...] = ()
    unit: str = ""

    @property
    def total_cents(self) -> int:
        each = self.unit_price_cents + sum(item.unit_price_cents for item in self.modifiers)
        return _rounded(Decimal(self.qty) * each)


@dataclass(frozen=True, slots=True)
class Sample:
    """An order as a cashier would ring it up. `discount_bp` comes off the food."""

    slug: str
    name: str | Promise
    items: tuple[Item, ...]
    table: str | None = None
    discount_bp: int = 0


SAMPLES = (
    Sample(
        "lunch",
        gettext_lazy("Lunch for two: Rp100.000 before service and tax"),
        (Item("Nasi goreng kampung", "2", 35_000_00), Item("Es teh manis", "3", 10_000_00)),
        table="7",
    ),
    Sample(
        "coffee",
        gettext_lazy("Coffees with modifiers"),
        (
            Item(
                "Kopi susu gula aren",
                "2",
                28_000_00,
                (Modifier("Susu oat", 8_000_00), Modifier("Less sugar")),
            ),
            Item("Cappuccino", "1", 35_000_00, (Modifier("Extra shot", 7_500_00),)),
            Item("Croissant almond", "1", 38_000_00),
        ),
        table="2",
    ),
    Sample(
        "takeaway",
        gettext_lazy("Takeaway"),
        (
            Item("Es kopi susu", "3", 24_000_00),
            Item("Roti bakar cokelat keju", "1", 27_500_00),
            Item("Pisang goreng madu", "2", 18_500_00),
        ),
    ),
    Sample(
        "weighed",
        gettext_lazy("Seafood by weight"),
        (
            Item("Ikan gurame bakar", "0.5", 135_000_00, unit="kg"),
            Item("Udang windu saus padang", "0.355", 237_500_00, unit="kg"),
            Item("Kangkung belacan", "1", 28_000_00),
            Item("Nasi putih", "4", 8_000_00),
            Item("Es jeruk", "4", 15_000_00),
        ),
        table="12",
    ),
    Sample(
        "member",
        gettext_lazy("Dinner with a member discount"),
        (
            Item("Sop buntut", "2", 89_000_00),
            Item("Sate ayam madura (10)", "1", 65_000_00, (Modifier("Lontong", 8_000_00),)),
            Item("Gado-gado", "1", 42_000_00),
            Item("Jus alpukat", "3", 29_000_00),
        ),
        table="21",
        discount_bp=1000,
    ),
    Sample(
        "family",
        gettext_lazy("A large table with long names"),
        (
            Item(
                "Paket nasi liwet komplet untuk delapan orang dengan lauk pilihan", "2", 685_000_00
            ),
            Item("Bebek goreng kremes sambal hijau Mak Ijah setengah ekor", "3", 98_500_00),
            Item("Iga bakar madu rempah dengan sambal dabu-dabu", "2", 165_000_00),
            Item("Sayur asem Jakarta", "4", 24_000_00),
            Item("Tahu tempe bacem", "5", 18_500_00),
            Item("Karedok leunca", "2", 27_500_00),
            Item("Sambal terasi", "6", 6_500_00),
            Item("Kerupuk udang Sidoarjo kaleng besar", "2", 32_000_00),
            Item("Es campur istimewa", "7", 34_500_00, (Modifier("Durian", 12_000_00),)),
            Item("Wedang uwuh", "4", 22_000_00),
            Item("Teh poci gula batu", "3", 26_000_00),
            Item("Air mineral 600 ml", "12", 9_000_00),
            Item("Kue lapis legit potong", "8", 19_500_00),
            Item("Pisang bakar cokelat keju susu kental manis spesial", "4", 31_500_00),
        ),
        table="Teras 3-4",
    ),
)


def build_order(
    sample: Sample, location: Location, order_id: str, number: str, now: datetime
) -> dict[str, Any]:
    """The order as the POS sends it when it is closed at the outlet.

    The service charge is taken of the discounted food, PB1 (PBJT) of food and service together:
    https://rizaalmanfaluthi.com/2022/05/19/jangan-kaget-kalau-ada-lebaran-surcharge-dan-pajak-restoran/
    A `rounding` charge brings the total to a payable one; it is left out where it would be zero.
    """
    subtotal = sum(item.total_cents for item in sample.items)
    discount = _share(subtotal, sample.discount_bp)
    service = _share(subtotal - discount, location.service_rate_bp)
    base = subtotal - discount + service
    tax = _share(base, location.tax_rate_bp)
    total = _rounded(Decimal(base + tax), SMALLEST_COIN_CENTS)
    service_charge = {
        "code": "service",
        "rate_bp": location.service_rate_bp,
        "amount_cents": service,
        "taxable": True,
    }
    rounding = {"code": "rounding", "amount_cents": total - base - tax, "taxable": False}
    pbjt = {
        "code": "PBJT",
        "rate_bp": location.tax_rate_bp,
        "base_cents": base,
        "amount_cents": tax,
        "inclusive": False,
    }
    reduction = {
        "code": "member",
        "name": "Member",
        "rate_bp": sample.discount_bp,
        "amount_cents": discount,
    }
    return {
        "id": order_id,
        "number": number,
        "version": 1,
        "type": "dine_in" if sample.table else "takeaway",
        "table": sample.table,
        "closed_at": now.astimezone(location.zone).isoformat(timespec="seconds"),
        "lines": [_line(index, item) for index, item in enumerate(sample.items, 1)],
        "charges": _with_amount(service_charge, rounding),
        "taxes": _with_amount(pbjt),
        "discounts": _with_amount(reduction),
        "subtotal_cents": subtotal,
        "total_cents": total,
    }


def _line(index: int, item: Item) -> dict[str, Any]:
    line: dict[str, Any] = {
        "id": str(index),
        "name": item.name,
        "qty": item.qty,
        "unit_price_cents": item.unit_price_cents,
        "modifiers": [
            {"name": extra.name, "qty": "1", "unit_price_cents": extra.unit_price_cents}
            for extra in item.modifiers
        ],
        "total_cents": item.total_cents,
    }
    return line | {"unit": item.unit} if item.unit else line


def _with_amount(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in rows if row["amount_cents"]]


def _share(cents: int, rate_bp: int) -> int:
    return _rounded(Decimal(cents) * rate_bp / 10_000)


def _rounded(cents: Decimal, step: int = WHOLE_RUPIAH_CENTS) -> int:
    return int((cents / step).quantize(Decimal(1), ROUND_HALF_UP)) * step


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the paper: what it is, where it comes from, what it costs."""

    name: str
    cents: int
    notes: tuple[str, ...] = ()


SUM_NAMES = {
    "service": pgettext_lazy("receipt", "Service charge"),
    "PBJT": pgettext_lazy("receipt", "Restaurant tax (PB1)"),
    "member": pgettext_lazy("receipt", "Member discount"),
    "rounding": pgettext_lazy("receipt", "Rounding"),
}


def line_rows(order: dict[str, Any]) -> list[Row]:
    return [Row(line["name"], line["total_cents"], _line_notes(line)) for line in order["lines"]]


def sum_rows(order: dict[str, Any]) -> list[Row]:
    """What stands between the subtotal and the total, in the order in which it is computed."""
    rounding = [item for item in order["charges"] if item["code"] == "rounding"]
    charges = [item for item in order["charges"] if item["code"] != "rounding"]
    return [
        *(Row(_rated(item), -item["amount_cents"]) for item in order["discounts"]),
        *(Row(_rated(item), item["amount_cents"]) for item in charges + order["taxes"] + rounding),
    ]


def _line_notes(line: dict[str, Any]) -> tuple[str, ...]:
    qty = " ".join(filter(None, (_in_words(Decimal(line["qty"])), line.get("unit"))))
    return (f"{qty} x {_thousands(line['unit_price_cents'])}", *map(_extra, line["modifiers"]))


def _extra(modifier: dict[str, Any]) -> str:
    price = modifier["unit_price_cents"]
    return f"+ {modifier['name']} {_thousands(price)}" if price else f"+ {modifier['name']}"


def _rated(item: dict[str, Any]) -> str:
    name = str(SUM_NAMES[item["code"]])
    rate = item.get("rate_bp")
    return f"{name} {_in_words(Decimal(rate) / 100)}%" if rate else name


def _in_words(number: Decimal) -> str:
    """With the reader's decimal separator and no trailing zeros."""
    return str(number_format(f"{number.normalize():f}"))


def _thousands(cents: int) -> str:
    return f"{cents // WHOLE_RUPIAH_CENTS:,}".replace(",", ".")


@dataclass(frozen=True, slots=True)
class Code:
    """One QR at the foot of the receipt."""

    integration: str
    label: str
    payload: str
    svg: str


@dataclass(frozen=True, slots=True)
class PretextLine:
    text: str
    align: str
    is_emphasized: bool


def pretext(results: list[dict[str, Any]]) -> list[PretextLine]:
    """The lines above the totals, in the reader's language."""
    language = "id" if get_language() == "id" else "en"
    return [
        PretextLine(line["text"][language], line["align"], line["emphasis"])
        for result in results
        if result["status"] == "ok"
        for line in result["output"]["lines"]
    ]


def codes(results: list[dict[str, Any]]) -> list[Code]:
    """The codes of a dispatch answer, in its order, labelled in the reader's language."""
    language = "id" if get_language() == "id" else "en"
    return [
        Code(
            integration=result["integration"],
            label=code["label"][language],
            payload=code["qr_payload"],
            svg=code_svg(code["qr_payload"]),
        )
        for result in results
        if result["status"] == "ok"
        for code in result["output"].get("codes", [result["output"]])
    ]


@lru_cache(maxsize=256)
def code_svg(payload: str) -> str:
    """Without a size of its own, black on white whatever the page's colours, with its quiet zone."""
    code = segno.make(payload, error="m", micro=False)
    return str(code.svg_inline(omitsize=True, border=4, dark="#000", light="#fff"))
