"""The objects that many operations share, and one of each from a restaurant in Ubud."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from dispatch.operations.notation import (
    AtLeastOne,
    Balance,
    Cents,
    Count,
    Currency,
    Email,
    Phone,
    Prose,
    Quantity,
    Rate,
    Record,
    Text,
    Time,
    Url,
    Words,
)

Purpose: TypeAlias = Literal[
    "marketing_email", "marketing_whatsapp", "marketing_sms", "profiling", "transfer_abroad"
]
# What merchants read in place of the names above.
PURPOSES: Mapping[str, Words] = {
    "marketing_email": Words("Marketing by e-mail", "Pemasaran lewat e-mail"),
    "marketing_whatsapp": Words("Marketing by WhatsApp", "Pemasaran lewat WhatsApp"),
    "marketing_sms": Words("Marketing by SMS", "Pemasaran lewat SMS"),
    "profiling": Words("Profiling", "Pemrofilan"),
    "transfer_abroad": Words("Transfer of data abroad", "Transfer data ke luar negeri"),
}
PaymentStatus: TypeAlias = Literal[
    "pending",
    "authorized",
    "paid",
    "failed",
    "expired",
    "cancelled",
    "refunded",
    "partially_refunded",
]


class Label(Record, frozen=True):
    en: Annotated[str, Meta(min_length=1, max_length=32)]
    id: Annotated[str, Meta(min_length=1, max_length=32)]


class Bilingual(Record, frozen=True):
    en: Prose
    id: Prose


class Modifier(Record, frozen=True):
    name: Text
    qty: Quantity
    unit_price_cents: Cents
    id: Text | None = None


class Line(Record, frozen=True):
    id: Text
    name: Text
    qty: Quantity
    unit_price_cents: Cents
    total_cents: Balance
    sku: Text | None = None
    external_sku: Text | None = None
    modifiers: tuple[Modifier, ...] = ()
    discount_cents: Cents | None = None
    tax_cents: Cents | None = None
    note: Text | None = None
    category: Text | None = None
    unit: Text | None = None


class Charge(Record, frozen=True):
    code: Literal["service", "packaging", "delivery", "tip", "rounding"]
    amount_cents: Balance
    taxable: bool
    rate_bp: Rate | None = None


class Tax(Record, frozen=True):
    code: Literal["PBJT", "PPN", "OTHER"]
    rate_bp: Rate
    base_cents: Balance
    amount_cents: Balance
    inclusive: bool


class Discount(Record, frozen=True):
    name: Text
    amount_cents: Cents
    code: Text | None = None
    offer_id: Text | None = None


class Consent(Record, frozen=True):
    purpose: Purpose
    granted: bool
    at: Time
    source: Text
    text_version: Text | None = None


class Customer(Record, frozen=True):
    id: Text
    name: Text | None = None
    phone_e164: Phone | None = None
    email: Email | None = None
    locale: Text | None = None
    consents: tuple[Consent, ...] = ()


class Payment(Record, frozen=True):
    id: Text
    method: Text
    amount_cents: Cents
    status: PaymentStatus
    tip_cents: Cents | None = None
    provider: Text | None = None
    external_ref: Text | None = None
    paid_at: Time | None = None


class Order(Record, frozen=True):
    """An order as the POS closes it, or an open check of the same shape."""

    id: Text
    number: Text
    version: Count
    lines: tuple[Line, ...]
    subtotal_cents: Cents
    total_cents: Cents
    type: Literal["dine_in", "takeaway", "delivery", "pickup"] | None = None
    channel: Text | None = None
    table: Text | None = None
    covers: Count | None = None
    currency: Currency | None = None
    opened_at: Time | None = None
    closed_at: Time | None = None
    business_date: date | None = None
    charges: tuple[Charge, ...] = ()
    taxes: tuple[Tax, ...] = ()
    discounts: tuple[Discount, ...] = ()
    paid_cents: Cents | None = None
    payments: tuple[Payment, ...] = ()
    customer: Customer | None = None
    staff_id: Text | None = None


class StockLine(Record, frozen=True):
    sku: Text
    qty: Quantity
    unit: Text
    item_id: Text | None = None
    name: Text | None = None
    unit_cost_cents: Cents | None = None
    recipe_id: Text | None = None
    reason: Text | None = None


class Document(Record, frozen=True):
    number: Text
    url: Url | None = None
    total_cents: Cents | None = None


class Table(Record, frozen=True):
    id: Text
    name: Text
    seats: AtLeastOne | None = None


OUTLET_ID = "6c1d2a54-0f0e-4f6b-9a3f-5f1a2f8f7b10"
CONSENT: dict[str, Any] = {
    "purpose": "marketing_whatsapp",
    "granted": True,
    "at": "2026-11-02T04:12:09Z",
    "source": "till",
    "text_version": "2026-01",
}
CUSTOMER: dict[str, Any] = {
    "id": "cus-2041",
    "name": "Ni Luh Ayu Pratiwi",
    "phone_e164": "+6281237004512",
    "email": "ayu.pratiwi@example.id",
    "locale": "id-ID",
    "consents": [CONSENT],
}
LINES: list[dict[str, Any]] = [
    {
        "id": "line-1",
        "sku": "NASI-CAMPUR",
        "name": "Nasi campur Bali",
        "qty": "2",
        "unit_price_cents": 5500000,
        "modifiers": [{"id": "mod-3", "name": "Sambal matah", "qty": "1", "unit_price_cents": 0}],
        "total_cents": 11000000,
        "note": "Tidak pedas",
        "category": "Makanan",
    },
    {
        "id": "line-2",
        "sku": "ES-KOPI-SUSU",
        "name": "Es kopi susu",
        "qty": "1",
        "unit_price_cents": 2800000,
        "total_cents": 2800000,
        "category": "Minuman",
    },
]
# Food Rp138.000, 5 % service on it, 10 % PBJT on both.
CHARGES: list[dict[str, Any]] = [{"code": "service", "amount_cents": 690000, "taxable": True}]
TAXES: list[dict[str, Any]] = [
    {
        "code": "PBJT",
        "rate_bp": 1000,
        "base_cents": 14490000,
        "amount_cents": 1449000,
        "inclusive": False,
    }
]
TOTAL_CENTS = 15939000
ORDER: dict[str, Any] = {
    "id": "ord-58213",
    "number": "U-117",
    "version": 3,
    "type": "dine_in",
    "channel": "pos",
    "table": "12",
    "covers": 2,
    "opened_at": "2026-11-24T04:58:10Z",
    "closed_at": "2026-11-24T05:40:02Z",
    "business_date": "2026-11-24",
    "lines": LINES,
    "charges": CHARGES,
    "taxes": TAXES,
    "subtotal_cents": 13800000,
    "total_cents": TOTAL_CENTS,
    "staff_id": "stf-14",
}
