"""The sums of a business day at one outlet, out of its events, with a journal that balances.

What the figures mean, in hundredths, all of the one day and after what was given back:

- `gross` is what was sold before discounts, without service, taxes and tips; packaging and delivery are
  sold too. `refunds` is what was given back of it. `net = gross - discounts - refunds`.
- `service`, `taxes`, `tips` and `rounding` are what came in less what was given back.
- `payments` is what came in by each method less what was given back by it, tips included. Together they
  are `net + service + taxes + tips + rounding`.

An order counts once, in its newest version; a voided order does not count. Where payments differ from
what was due, the difference is a line of the journal by itself (`suspense`), so that it can be seen.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from dispatch.operations import as_document
from dispatch.operations.exports import (
    CategorySum,
    ChannelSum,
    DailySummary,
    JournalLine,
    Outlet,
    PaymentSum,
    TaxSum,
)

PAID, VOIDED, REFUNDED = "order.paid", "order.voided", "refund.completed"
SUMMED = (PAID, VOIDED, REFUNDED)
RECEIVED = frozenset({"paid", "refunded", "partially_refunded"})
SOLD_TOO = ("packaging", "delivery")
UNKNOWN = "other"
# What accounts are called where no chart of accounts says otherwise.
SALES, SERVICE, TIPS, ROUNDING, SUSPENSE = (
    "sales",
    "service_payable",
    "tips_payable",
    "rounding",
    "suspense",
)
MEMOS = {
    SALES: "Penjualan",
    SERVICE: "Utang biaya layanan",
    TIPS: "Utang tip",
    ROUNDING: "Pembulatan",
    SUSPENSE: "Selisih yang harus diperiksa",
}

Facts = Mapping[str, Any]


@dataclass(slots=True)
class Sums:
    """One order or refund, or a whole day; whatever goes back is below zero."""

    gross: int = 0
    discounts: int = 0
    refunds: int = 0
    service: int = 0
    tips: int = 0
    rounding: int = 0
    orders: int = 0
    covers: int = 0
    tax_bases: Counter[str] = field(default_factory=Counter)
    taxes: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    channels: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    fees: Counter[str] = field(default_factory=Counter)
    payments: Counter[str] = field(default_factory=Counter)

    @property
    def net(self) -> int:
        return self.gross - self.discounts - self.refunds

    @property
    def due(self) -> int:
        return self.net + self.service + self.taxes.total() + self.tips + self.rounding

    def add(self, other: "Sums") -> None:
        for name in self.__slots__:
            mine, more = getattr(self, name), getattr(other, name)
            if isinstance(mine, Counter):
                # Not the operator, which would leave out whatever is below zero.
                mine.update(more)
            else:
                setattr(self, name, mine + more)


def of_events(
    events: Iterable[tuple[str, Facts]], *, outlet: Outlet, business_date: date, revision: int = 1
) -> DailySummary:
    """The summary of these events, given as pairs of type and data."""
    day = Sums()
    orders, refunds = _counted(events)
    for order in orders.values():
        day.add(_of_order(order))
    for refund in refunds.values():
        day.add(_of_refund(refund, orders))
    return DailySummary(
        business_date=business_date,
        revision=revision,
        outlet=outlet,
        gross_cents=day.gross,
        discounts_cents=day.discounts,
        net_cents=day.net,
        service_cents=day.service,
        tips_cents=day.tips,
        rounding_cents=day.rounding,
        refunds_cents=day.refunds,
        order_count=day.orders,
        covers=day.covers,
        taxes=tuple(
            TaxSum(code=code, base_cents=day.tax_bases[code], amount_cents=day.taxes[code])
            for code in sorted(day.taxes)
        ),
        payments=tuple(
            PaymentSum(
                method=method,
                amount_cents=day.received[method],
                count=day.payments[method],
                fee_cents=day.fees[method] or None,
            )
            for method in sorted(day.received)
        ),
        by_category=tuple(
            CategorySum(category=name, net_cents=day.categories[name])
            for name in sorted(day.categories)
        ),
        by_channel=tuple(
            ChannelSum(channel=name, net_cents=day.channels[name]) for name in sorted(day.channels)
        ),
        journal=tuple(_journal(day)),
    )


def _counted(events: Iterable[tuple[str, Facts]]) -> tuple[dict[str, Facts], dict[str, Facts]]:
    """Orders and refunds by their number, each once: newer versions take the place of older ones."""
    orders: dict[str, Facts] = {}
    refunds: dict[str, Facts] = {}
    voided: set[str] = set()
    for kind, data in events:
        if kind == VOIDED:
            voided.add(str(data.get("order_id")))
        elif kind == REFUNDED:
            refunds.setdefault(str(data.get("refund_id")), data)
        elif kind == PAID:
            order = _object(data.get("order"))
            number = str(order.get("id") or data.get("order_id"))
            known = orders.get(number)
            if known is None or _int(order, "version") >= _int(known, "version"):
                payments = data.get("payments") or order.get("payments")
                orders[number] = {**order, "payments": payments}
    return (
        {number: order for number, order in orders.items() if number not in voided},
        {key: it for key, it in refunds.items() if str(it.get("order_id")) not in voided},
    )


def _of_order(order: Facts) -> Sums:
    sums = Sums(orders=1, covers=_int(order, "covers"))
    inclusive = _add_taxes(sums, order.get("taxes"), 1)
    shares = defaultdict[str, int](int)
    for line in _objects(order.get("lines")):
        shares[_name(line, "category")] += _int(line, "total_cents")
        sums.discounts += _int(line, "discount_cents")
    sold = _int(order, "subtotal_cents") if "subtotal_cents" in order else sum(shares.values())
    # Lines that do not make up the subtotal are of no category that is known.
    shares[UNKNOWN] += sold - sum(shares.values())
    sums.gross = sold + sums.discounts - inclusive
    off = sum(_int(item, "amount_cents") for item in _objects(order.get("discounts")))
    sums.discounts += off
    _share_out(sums.categories, shares, sold - off - inclusive)
    for charge in _objects(order.get("charges")):
        _add_charge(sums, charge)
    sums.channels[_name(order, "channel")] = sums.net
    for payment in _objects(order.get("payments")):
        if payment.get("status", "paid") in RECEIVED:
            _add_payment(sums, payment)
    return sums


def _add_charge(sums: Sums, charge: Facts) -> None:
    code, amount = charge.get("code"), _int(charge, "amount_cents")
    if code == "service":
        sums.service += amount
    elif code == "tip":
        sums.tips += amount
    elif code == "rounding":
        sums.rounding += amount
    else:
        name = code if code in SOLD_TOO else UNKNOWN
        sums.gross += amount
        sums.categories[str(name)] += amount


def _add_payment(sums: Sums, payment: Facts) -> None:
    """The tip comes on top of what the payment settles."""
    method, tip = _name(payment, "method"), _int(payment, "tip_cents")
    sums.tips += tip
    sums.received[method] += _int(payment, "amount_cents") + tip
    sums.payments[method] += 1
    sums.fees[method] += _int(payment, "fee_cents")


def _of_refund(refund: Facts, orders: Mapping[str, Facts]) -> Sums:
    """What was given back, by the method it was paid with.

    `amount_cents` is without the tip. What it holds beyond goods and taxes is service, unless the
    event says how much of it is service and what was rounded.
    """
    sums = Sums()
    amount, tip = _int(refund, "amount_cents"), _int(refund, "tip_cents")
    inclusive = _add_taxes(sums, refund.get("tax_reversed"), -1)
    taxes = -sums.taxes.total()
    shares = defaultdict[str, int](int)
    for line in _objects(refund.get("lines")):
        shares[_name(line, "category")] += _int(line, "total_cents")
    rounding = _int(refund, "rounding_cents")
    if shares:
        goods = sum(shares.values()) - inclusive
        service = refund.get("service_reversed_cents")
        is_said = type(service) is int
        given = (
            service if isinstance(service, int) and is_said else amount - goods - taxes - rounding
        )
        # What is left over after all that the event says belongs to the goods.
        goods = amount - given - taxes - rounding
    else:
        given = _int(refund, "service_reversed_cents")
        goods = amount - taxes - given - rounding
        shares[UNKNOWN] = goods
    sums.refunds, sums.service, sums.rounding, sums.tips = goods, -given, -rounding, -tip
    back = Counter[str]()
    _share_out(back, shares, goods)
    sums.categories.subtract(back)
    order = orders.get(str(refund.get("order_id")), {})
    sums.channels[_name({**order, **refund}, "channel")] = -goods
    sums.received[_method_of(refund, order)] -= amount + tip
    return sums


def _method_of(refund: Facts, order: Facts) -> str:
    paid = (
        it for it in _objects(order.get("payments")) if it.get("id") == refund.get("payment_id")
    )
    return _name({**next(paid, {}), **{k: v for k, v in refund.items() if k == "method"}}, "method")


def _add_taxes(sums: Sums, taxes: Any, sign: int) -> int:
    """Add or take back taxes; what of them is part of the prices."""
    inclusive = 0
    for tax in _objects(taxes):
        code, amount = _name(tax, "code"), _int(tax, "amount_cents")
        sums.taxes[code] += sign * amount
        sums.tax_bases[code] += sign * _int(tax, "base_cents")
        inclusive += amount if tax.get("inclusive") is True else 0
    return inclusive


def _share_out(into: Counter[str], shares: Mapping[str, int], amount: int) -> None:
    """Spread an amount by the shares of categories; the cents that are left go to the largest."""
    whole = sum(shares.values())
    parts = {name: amount * share // whole if whole else 0 for name, share in shares.items()}
    if parts:
        largest = max(sorted(shares), key=lambda name: shares[name])
        parts[largest] += amount - sum(parts.values())
    for name, part in parts.items():
        if part:
            into[name] += part


def _journal(day: Sums) -> Iterator[JournalLine]:
    for method in sorted(day.received):
        yield from _debit(f"clearing_{method}", day.received[method], f"Penerimaan {method}")
    yield from _debit(SUSPENSE, day.due - day.received.total(), MEMOS[SUSPENSE])
    yield from _debit(SALES, -day.net, MEMOS[SALES])
    yield from _debit(SERVICE, -day.service, MEMOS[SERVICE])
    for code in sorted(day.taxes):
        yield from _debit(f"{code.lower()}_payable", -day.taxes[code], f"Utang {code}")
    yield from _debit(TIPS, -day.tips, MEMOS[TIPS])
    yield from _debit(ROUNDING, -day.rounding, MEMOS[ROUNDING])


def _debit(code: str, amount: int, memo: str) -> Iterator[JournalLine]:
    if amount:
        yield JournalLine(
            account_code=code, debit_cents=max(amount, 0), credit_cents=max(-amount, 0), memo=memo
        )


def differences(summary: DailySummary) -> dict[str, int]:
    """Where a summary contradicts itself, with the cents by which. Empty where it balances.

    Journal: debit less credit. Net and payments: what they are less what they should be.
    """
    taxes = sum(tax.amount_cents for tax in summary.taxes)
    due = summary.net_cents + summary.service_cents + taxes
    due += summary.tips_cents + summary.rounding_cents
    net = summary.gross_cents - summary.discounts_cents - summary.refunds_cents
    found = {
        "journal": sum(line.debit_cents - line.credit_cents for line in summary.journal),
        "net_cents": summary.net_cents - net,
        "payments": sum(payment.amount_cents for payment in summary.payments)
        - due
        - _open(summary),
    }
    for name in ("by_category", "by_channel"):
        if rows := getattr(summary, name):
            found[name] = sum(row.net_cents for row in rows) - summary.net_cents
    return {name: cents for name, cents in found.items() if cents}


def _open(summary: DailySummary) -> int:
    """What the journal itself says is not explained."""
    lines = (line for line in summary.journal if line.account_code == SUSPENSE)
    return sum(line.credit_cents - line.debit_cents for line in lines)


def document_of(summary: DailySummary) -> dict[str, Any]:
    return as_document(summary)


def _objects(value: Any) -> list[Facts]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _object(value: Any) -> Facts:
    return value if isinstance(value, dict) else {}


def _int(facts: Facts, name: str) -> int:
    value = facts.get(name)
    return value if type(value) is int else 0


def _name(facts: Facts, name: str) -> str:
    value = facts.get(name)
    return value[:100] if isinstance(value, str) and value else UNKNOWN
