"""A day of trade at five outlets, invented from a seed: what guests did, told twice.

`events_of` tells it as a till would, in hundredths, and works each bill out from top to bottom.
`books_of` is the oracle: it adds the same day up in whole rupiah, column by column and from the drawer,
and knows nothing of events.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

SEED = 20261124
DAY = "2026-11-24"
MENU = [
    ("NASI-CAMPUR", "Makanan", 55_000),
    ("SATE-LILIT", "Makanan", 48_500),
    ("BEBEK-BETUTU", "Makanan", 137_250),
    ("ES-KOPI-SUSU", "Minuman", 28_000),
    ("ES-TEH", "Minuman", 12_750),
    ("BIR-BALI", "Minuman", 46_000),
    ("KLEPON", "Penutup", 19_900),
]
TENDERS = ["cash", "qris", "card", "gopay"]
CHANNELS = ["pos", "pos", "pos", "grabfood", "gofood"]


@dataclass(frozen=True)
class Outlet:
    """Rates in hundredths of a per cent. Where prices hold the tax there is no service on top."""

    name: str
    service_bp: int
    tax_bp: int
    is_inclusive: bool = False


OUTLETS = [
    Outlet("Senopati", 500, 1000),
    Outlet("Ubud", 1000, 1000),
    Outlet("Bandung", 0, 1000),
    Outlet("Medan", 750, 950),
    Outlet("Makassar", 0, 1000, is_inclusive=True),
]


@dataclass(frozen=True)
class Item:
    """Rupiah: what one costs, and what is taken off the line."""

    sku: str
    category: str
    price: int
    qty: int
    off: int


@dataclass
class Ticket:
    """What one party did. Rupiah, and whatever is worked out from it is not in here."""

    number: int
    outlet: int
    channel: str
    covers: int
    items: list[Item]
    off: int
    packaging: int
    tip: int
    tenders: list[str]
    customer: str
    consents: bool
    redeems: bool
    # A bill that is voided is voided before or after it is paid.
    voided: str = ""
    refunded: list[int] = field(default_factory=list)
    refunds_tip: bool = False
    is_corrected: bool = False
    is_late_refund: bool = False


def tickets_of(count: int, seed: int = SEED) -> list[Ticket]:
    rng = random.Random(seed)
    return [_ticket(rng, number) for number in range(count)]


def _ticket(rng: random.Random, number: int) -> Ticket:
    items = [_item(rng) for _ in range(rng.randint(1, 5))]
    customer = f"cus-{rng.randint(1, 200)}" if rng.random() < 0.4 else ""
    redeems = bool(customer) and rng.random() < 0.3
    worth = sum(item.price * item.qty - item.off for item in items)
    ticket = Ticket(
        number=number,
        outlet=number % len(OUTLETS),
        channel=rng.choice(CHANNELS),
        covers=rng.randint(1, 6),
        items=items,
        off=min(rng.randrange(1_000, 9_000, 50), worth // 2) if redeems else 0,
        packaging=rng.choice([0, 0, 0, 2_500]),
        tip=rng.choice([0, 0, 0, 0, 5_000, 12_345]),
        tenders=rng.sample(TENDERS, rng.choice([1, 1, 1, 2])),
        customer=customer,
        consents=rng.random() < 0.5,
        redeems=redeems,
    )
    fate = rng.random()
    if fate < 0.04:
        ticket.voided = rng.choice(["before", "after"])
    elif fate < 0.12 and not ticket.off:
        ticket.refunded = sorted(rng.sample(range(len(items)), rng.randint(1, len(items))))
        ticket.refunds_tip = bool(ticket.tip) and rng.random() < 0.5
        ticket.is_late_refund = rng.random() < 0.2
    elif fate < 0.16:
        ticket.is_corrected = True
    return ticket


def _item(rng: random.Random) -> Item:
    sku, category, price = rng.choice(MENU)
    qty = rng.randint(1, 4)
    return Item(sku, category, price, qty, off=rng.choice([0, 0, 0, 0, price // 10]))


# As the till tells it: hundredths, integers, one bill at a time.


def _half_up(value: int, part: int, whole: int) -> int:
    """A share of an amount, to the whole rupiah."""
    return (2 * value * part + 100 * whole) // (200 * whole) * 100


@dataclass(frozen=True)
class Bill:
    lines: list[dict[str, Any]]
    subtotal: int
    service: int
    tax: int
    base: int
    rounding: int
    total: int


def bill_of(ticket: Ticket, chosen: list[int] | None = None) -> Bill:
    """Of the whole ticket, or of some of its items, which are then without packaging and discount."""
    outlet = OUTLETS[ticket.outlet]
    numbers = range(len(ticket.items)) if chosen is None else chosen
    lines = [_line(number, ticket.items[number]) for number in numbers]
    subtotal = sum(line["total_cents"] for line in lines)
    off, packaging = (0, 0) if chosen is not None else (ticket.off * 100, ticket.packaging * 100)
    goods = subtotal - off
    if outlet.is_inclusive:
        base = goods - _half_up(goods, outlet.tax_bp, 10_000 + outlet.tax_bp)
        service, tax, total = 0, goods - base, goods + packaging
    else:
        service = _half_up(goods, outlet.service_bp, 10_000)
        base = goods + service
        tax = _half_up(base, outlet.tax_bp, 10_000)
        total = base + tax + packaging
    rounding = _half_up(total, 1, 100) * 100 - total if ticket.tenders == ["cash"] else 0
    return Bill(lines, subtotal, service, tax, base, rounding, total + rounding)


def _line(number: int, item: Item) -> dict[str, Any]:
    return {
        "id": f"line-{number}",
        "sku": item.sku,
        "name": item.sku.title(),
        "category": item.category,
        "qty": str(item.qty),
        "unit_price_cents": item.price * 100,
        "modifiers": [],
        "discount_cents": item.off * 100,
        "tax_cents": 0,
        "total_cents": (item.price * item.qty - item.off) * 100,
    }


def events_of(ticket: Ticket) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Type, idempotency key and data, in the order in which they happen."""
    number = f"ord-{ticket.number}"
    order = order_of(ticket)
    opened = {**order, "payments": [], "paid_cents": 0, "version": 1}
    yield (
        "order.opened",
        f"{number}:opened",
        {"order_id": number, "order": opened, "changed_line_ids": []},
    )
    void = {
        "order_id": number,
        "reason": "Salah meja",
        "staff_id": "stf-1",
        "was_total_cents": order["total_cents"],
    }
    if ticket.voided == "before":
        yield "order.voided", f"{number}:voided", void
        return
    if ticket.is_corrected:
        # The tip was forgotten at first.
        wrong = order_of(ticket, tip=0, version=2)
        yield "order.paid", f"{number}:paid", _paid(ticket, wrong)
    yield "order.paid", f"{number}:paid:3", _paid(ticket, order)
    if ticket.redeems:
        yield "loyalty.redeemed", f"{number}:redeemed", _points(ticket, -10)
    if ticket.customer:
        yield "loyalty.accrued", f"{number}:accrued", _points(ticket, 7)
    if ticket.voided:
        yield "order.voided", f"{number}:voided", void
    if ticket.refunded and not ticket.is_late_refund:
        yield refund_of(ticket)


def order_of(ticket: Ticket, tip: int | None = None, version: int = 3) -> dict[str, Any]:
    outlet, bill = OUTLETS[ticket.outlet], bill_of(ticket)
    charges = [
        {"code": "service", "amount_cents": bill.service, "taxable": True},
        {"code": "packaging", "amount_cents": ticket.packaging * 100, "taxable": False},
        {"code": "rounding", "amount_cents": bill.rounding, "taxable": False},
    ]
    tax = {
        "code": "PBJT",
        "rate_bp": outlet.tax_bp,
        "base_cents": bill.base,
        "amount_cents": bill.tax,
        "inclusive": outlet.is_inclusive,
    }
    off = {"name": "Poin", "amount_cents": ticket.off * 100, "offer_id": "offer-1"}
    return {
        "id": f"ord-{ticket.number}",
        "number": f"A-{ticket.number}",
        "version": version,
        "channel": ticket.channel,
        "type": "dine_in",
        "covers": ticket.covers,
        "opened_at": f"{DAY}T05:00:00Z",
        "closed_at": f"{DAY}T06:00:00Z",
        "business_date": DAY,
        "lines": bill.lines,
        "charges": [charge for charge in charges if charge["amount_cents"]],
        "taxes": [tax],
        "discounts": [off] if ticket.off else [],
        "subtotal_cents": bill.subtotal,
        "total_cents": bill.total,
        "paid_cents": bill.total,
        "payments": _payments(ticket, bill.total, ticket.tip if tip is None else tip),
        "staff_id": "stf-1",
    }


def _payments(ticket: Ticket, total: int, tip: int) -> list[dict[str, Any]]:
    """The first tender pays the larger half, and the tip."""
    second = total // 2 if len(ticket.tenders) == 2 else 0
    shares = [total - second, second]
    return [
        {
            "id": f"pay-{ticket.number}-{index}",
            "method": method,
            "amount_cents": shares[index],
            "tip_cents": tip * 100 if index == 0 else 0,
            "status": "paid",
            "paid_at": f"{DAY}T06:00:00Z",
        }
        for index, method in enumerate(ticket.tenders)
    ]


def _paid(ticket: Ticket, order: dict[str, Any]) -> dict[str, Any]:
    data = {
        "order_id": order["id"],
        "order": order,
        "payments": order["payments"],
        "fully_paid_at": f"{DAY}T06:00:00Z",
    }
    return data | ({"customer": customer_of(ticket)} if ticket.customer else {})


def customer_of(ticket: Ticket) -> dict[str, Any]:
    consent = {
        "purpose": "profiling",
        "granted": ticket.consents,
        "at": f"{DAY}T00:00:00Z",
        "source": "till",
    }
    return {
        "id": ticket.customer,
        "name": "Ni Luh Ayu",
        "email": "ayu@example.id",
        "consents": [consent],
    }


def _points(ticket: Ticket, points: int) -> dict[str, Any]:
    return {
        "transaction_id": f"lty-{ticket.number}-{points}",
        "account_id": f"acc-{ticket.customer}",
        "points": points,
        "order_id": f"ord-{ticket.number}",
    }


def refund_of(ticket: Ticket) -> tuple[str, str, dict[str, Any]]:
    outlet, bill = OUTLETS[ticket.outlet], bill_of(ticket, ticket.refunded)
    tax = {
        "code": "PBJT",
        "rate_bp": outlet.tax_bp,
        "base_cents": bill.base,
        "amount_cents": bill.tax,
        "inclusive": outlet.is_inclusive,
    }
    data = {
        "refund_id": f"ref-{ticket.number}",
        "order_id": f"ord-{ticket.number}",
        "payment_id": f"pay-{ticket.number}-0",
        "amount_cents": bill.total,
        "tip_cents": ticket.tip * 100 if ticket.refunds_tip else 0,
        "rounding_cents": bill.rounding,
        "lines": bill.lines,
        "tax_reversed": [tax],
        "reason": "Tidak sesuai",
        "restock": True,
    }
    if ticket.is_late_refund:
        data["business_date"] = DAY
    return "refund.completed", f"ref-{ticket.number}", data


# The oracle: whole rupiah, decimals, and sums of columns.


def books_of(tickets: list[Ticket], *, with_late_refunds: bool) -> dict[str, Any]:
    """The day of one outlet, as somebody with a drawer, a pile of bills and a pencil would have it."""
    outlet = OUTLETS[tickets[0].outlet]
    kept = [ticket for ticket in tickets if not ticket.voided]
    refunds = [
        (ticket, [ticket.items[number] for number in ticket.refunded])
        for ticket in kept
        if ticket.refunded and (with_late_refunds or not ticket.is_late_refund)
    ]
    sold = [_taxed(outlet, _worth(ticket.items) - ticket.off) for ticket in kept]
    back = [_taxed(outlet, _worth(items)) for _ticket, items in refunds]
    listed = sum(item.price * item.qty for ticket in kept for item in ticket.items)
    contained = sum(tax for _service, tax in sold) if outlet.is_inclusive else 0
    refunded = sum((_worth(items) for _ticket, items in refunds), Decimal(0))
    refunded -= sum(tax for _service, tax in back) if outlet.is_inclusive else Decimal(0)
    discounts = sum(ticket.off + sum(item.off for item in ticket.items) for ticket in kept)
    drawer, rounding = defaultdict[str, Decimal](Decimal), Decimal(0)
    for ticket, (service, tax) in zip(kept, sold, strict=True):
        exact = _worth(ticket.items) - ticket.off + ticket.packaging
        exact += Decimal(0) if outlet.is_inclusive else service + tax
        asked = _asked(ticket, exact)
        rounding += asked - exact
        for method, amount in _handed_over(ticket, asked).items():
            drawer[method] += amount
    for (ticket, items), (service, tax) in zip(refunds, back, strict=True):
        exact = _worth(items) + (Decimal(0) if outlet.is_inclusive else service + tax)
        asked = _asked(ticket, exact)
        rounding -= asked - exact
        drawer[ticket.tenders[0]] -= asked + (ticket.tip if ticket.refunds_tip else 0)
    tips = sum(ticket.tip for ticket in kept)
    tips -= sum(ticket.tip for ticket, _items in refunds if ticket.refunds_tip)
    gross = listed + sum(ticket.packaging for ticket in kept) - contained
    return {
        "gross": gross,
        "discounts": discounts,
        "refunds": refunded,
        "net": gross - discounts - refunded,
        "service": sum(it[0] for it in sold) - sum(it[0] for it in back),
        "tax": sum(it[1] for it in sold) - sum(it[1] for it in back),
        "tips": tips,
        "rounding": rounding,
        "payments": {method: amount for method, amount in drawer.items() if amount},
        "orders": len(kept),
        "covers": sum(ticket.covers for ticket in kept),
    }


def _worth(items: list[Item]) -> Decimal:
    return Decimal(sum(item.price * item.qty - item.off for item in items))


def _taxed(outlet: Outlet, goods: Decimal) -> tuple[Decimal, Decimal]:
    """Service and tax on these goods."""
    rate = Decimal(outlet.tax_bp) / 10_000
    if outlet.is_inclusive:
        return Decimal(0), _whole(goods * rate / (1 + rate))
    service = _whole(goods * outlet.service_bp / 10_000)
    return service, _whole((goods + service) * rate)


def _whole(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal(1), ROUND_HALF_UP)


def _asked(ticket: Ticket, exact: Decimal) -> Decimal:
    """Who pays cash alone pays whole hundreds."""
    return _whole(exact / 100) * 100 if ticket.tenders == ["cash"] else exact


def _handed_over(ticket: Ticket, asked: Decimal) -> dict[str, Decimal]:
    if len(ticket.tenders) == 1:
        return {ticket.tenders[0]: asked + ticket.tip}
    # Of an odd hundredth the first tender has the larger part; half a rupiah is a half.
    half = Decimal(int(asked * 100) // 2) / 100
    return {ticket.tenders[0]: asked - half + ticket.tip, ticket.tenders[1]: half}


def in_rupiah(summary: dict[str, Any]) -> dict[str, Any]:
    """What a partner was sent, in the words of the oracle."""
    names = {
        "gross": "gross_cents",
        "discounts": "discounts_cents",
        "refunds": "refunds_cents",
        "net": "net_cents",
        "service": "service_cents",
        "tips": "tips_cents",
        "rounding": "rounding_cents",
    }
    return {
        **{name: Decimal(summary[field]) / 100 for name, field in names.items()},
        "tax": Decimal(sum(tax["amount_cents"] for tax in summary["taxes"])) / 100,
        "payments": {
            row["method"]: Decimal(row["amount_cents"]) / 100
            for row in summary["payments"]
            if row["amount_cents"]
        },
        "orders": summary["order_count"],
        "covers": summary["covers"],
    }
