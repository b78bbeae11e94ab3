"""The business as a whole: its days, its tax invoices, its settings and its integrations."""

from typing import Any

from catalog.capabilities import CAPABILITIES
from webhooks.event_types.common import OUTLET_ID
from webhooks.event_types.notation import (
    ANYTHING,
    DATE,
    TEXT,
    UUID,
    EventType,
    common,
    many,
    one_of,
)

BOOKS = ("data_export_destination",)
INVOICES = ("tax_invoice_provider", "notification_provider")
INVOICE_SHAPE = {
    "invoice_id": TEXT,
    "order_id?": TEXT,
    "status": one_of("requested", "draft", "submitted", "approved", "rejected"),
    "faktur_number?": TEXT,
}
INVOICE = {"invoice_id": "inv-301", "order_id": "ord-58213", "status": "requested"}
INSTALL_SHAPE = {
    "install_id": UUID,
    "integration": TEXT,
    "capabilities": many(TEXT),
    "reason?": TEXT,
}
INSTALL = {
    "install_id": "0d6f3f0e-6c52-4f52-8a37-9a7c0f4b1c22",
    "integration": "spliteasy",
    "capabilities": ["receipt_qr", "payment_webhook_inbound"],
}
# A day of Rp13,8 million net: 5 % service, 10 % tax on both, and Rp1.000 lost in rounding.
SUMMARY: dict[str, Any] = {
    "business_date": "2026-11-24",
    "outlet": {"id": OUTLET_ID, "name": "Maple & Oat Ubud"},
    "gross_cents": 1400000000,
    "discounts_cents": 20000000,
    "net_cents": 1380000000,
    "service_cents": 69000000,
    "taxes": [{"code": "PBJT", "base_cents": 1449000000, "amount_cents": 144900000}],
    "tips_cents": 0,
    "rounding_cents": -100000,
    "payments": [
        {"method": "qris", "amount_cents": 1200000000, "fee_cents": 8400000, "count": 71},
        {"method": "cash", "amount_cents": 393800000, "count": 22},
    ],
    "refunds_cents": 0,
    "by_category": [
        {"category": "Makanan", "net_cents": 980000000},
        {"category": "Minuman", "net_cents": 400000000},
    ],
    "by_channel": [
        {"channel": "pos", "net_cents": 1100000000},
        {"channel": "grabfood", "net_cents": 280000000},
    ],
    "order_count": 93,
    "covers": 204,
    "journal": [
        {
            "account_code": code,
            "debit_cents": debit,
            "credit_cents": credit,
            "memo": memo,
        }
        for code, debit, credit, memo in (
            ("1-1201", 1200000000, 0, "Piutang QRIS"),
            ("1-1101", 393800000, 0, "Kas"),
            ("6-1900", 100000, 0, "Pembulatan"),
            ("4-1001", 0, 1380000000, "Penjualan"),
            ("2-1301", 0, 69000000, "Utang biaya layanan"),
            ("2-1302", 0, 144900000, "Utang PBJT"),
        )
    ],
}


def _of_integration(name: str, en: str, indonesian: str, **over: Any) -> EventType:
    return EventType(f"integration.{name}", (), en, indonesian, INSTALL_SHAPE, {**INSTALL, **over})


EVENTS = (
    EventType(
        "tax_invoice.requested",
        INVOICES,
        "A guest asked for a tax invoice.",
        "Tamu meminta faktur pajak.",
        INVOICE_SHAPE,
        INVOICE,
    ),
    EventType(
        "tax_invoice.updated",
        INVOICES,
        "A tax invoice moved on, such as to its number.",
        "Faktur pajak berubah, misalnya mendapat nomor.",
        INVOICE_SHAPE,
        INVOICE | {"status": "approved", "faktur_number": "0400260012345678"},
    ),
    EventType(
        "business_day.opened",
        BOOKS,
        "A business day began at an outlet.",
        "Hari usaha dibuka di outlet.",
        {"business_date": DATE},
        {"business_date": "2026-11-24"},
    ),
    EventType(
        "business_day.closed",
        BOOKS,
        "A business day ended; its sums balance, or it is refused. Without them Posz adds up.",
        "Hari usaha ditutup; jumlahnya seimbang, atau ditolak. Tanpa jumlah, Posz menghitungnya.",
        {"business_date": DATE, "daily_summary?": common("DailySummary")},
        {"business_date": "2026-11-24", "daily_summary": SUMMARY},
    ),
    EventType(
        "settings.changed",
        tuple(CAPABILITIES),
        "Details of the merchant or an outlet changed; secrets are left out.",
        "Data merchant atau outlet berubah; rahasia tidak disertakan.",
        {"keys": many(TEXT), "before": ANYTHING, "after": ANYTHING, "actor": TEXT},
        {
            "keys": ["phone", "logo_url"],
            "before": {"phone": "+62361970001", "logo_url": ""},
            "after": {
                "phone": "+62361970002",
                "logo_url": "https://mapleandoat.example/logo.png",
            },
            "actor": "owner@mapleandoat.id",
        },
    ),
    _of_integration("installed", "An integration was installed.", "Integrasi dipasang."),
    _of_integration(
        "configured", "The settings of an integration changed.", "Pengaturan integrasi berubah."
    ),
    _of_integration("enabled", "An integration was enabled.", "Integrasi diaktifkan."),
    _of_integration(
        "disabled",
        "An integration was disabled.",
        "Integrasi dinonaktifkan.",
        reason="Dinonaktifkan oleh pemilik",
    ),
    _of_integration(
        "degraded",
        "An integration fails, and Posz does without it.",
        "Integrasi terganggu, dan Posz berjalan tanpanya.",
        reason="deadline",
    ),
    _of_integration("recovered", "An integration works again.", "Integrasi berfungsi kembali."),
)
