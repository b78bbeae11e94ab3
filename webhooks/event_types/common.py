"""The objects that many events share, and one of each as it looks at a restaurant in Ubud."""

from typing import Any

from webhooks.event_types.notation import (
    CENTS,
    COUNT,
    CURRENCY,
    DATE,
    DECIMAL,
    FLAG,
    NUMBER,
    RATE,
    TEXT,
    TIME,
    Schema,
    common,
    many,
    one_of,
    record,
)

PAYMENT_STATUS = one_of(
    "pending",
    "authorized",
    "paid",
    "failed",
    "expired",
    "cancelled",
    "refunded",
    "partially_refunded",
)
RESERVATION_STATUS = one_of(
    "held",
    "requested",
    "confirmed",
    "arrived",
    "partially_arrived",
    "seated",
    "in_service",
    "completed",
    "no_show",
    "cancelled_guest",
    "cancelled_venue",
    "waitlist",
)
PURPOSE = one_of(
    "marketing_email", "marketing_whatsapp", "marketing_sms", "profiling", "transfer_abroad"
)

DEFS: dict[str, Schema] = {
    "Money": record({"amount_cents": CENTS, "currency": CURRENCY}),
    "Consent": record({"purpose": PURPOSE, "granted": FLAG, "at": TIME, "source": TEXT}),
    "Customer": record(
        {
            "id": TEXT,
            "name?": TEXT,
            "phone_e164?": {"type": "string", "pattern": "^\\+[1-9][0-9]{6,14}$"},
            "email?": {"type": "string", "format": "email"},
            "locale?": TEXT,
            "consents": many(common("Consent")),
        }
    ),
    "Modifier": record({"id": TEXT, "name": TEXT, "qty": DECIMAL, "unit_price_cents": CENTS}),
    "Line": record(
        {
            "id": TEXT,
            "sku": TEXT,
            "external_sku?": TEXT,
            "name": TEXT,
            "qty": DECIMAL,
            "unit_price_cents": CENTS,
            "modifiers": many(common("Modifier")),
            "discount_cents": CENTS,
            "tax_cents": CENTS,
            "total_cents": CENTS,
            "note?": TEXT,
            "category?": TEXT,
        }
    ),
    "Charge": record(
        {
            "code": one_of("service", "packaging", "delivery", "tip", "rounding"),
            "amount_cents": CENTS,
            "taxable": FLAG,
        }
    ),
    "Tax": record(
        {
            "code": one_of("PBJT", "PPN", "OTHER"),
            "rate_bp": RATE,
            "base_cents": CENTS,
            "amount_cents": CENTS,
            "inclusive": FLAG,
        }
    ),
    "Discount": record({"name": TEXT, "amount_cents": CENTS, "offer_id?": TEXT}),
    "Payment": record(
        {
            "id": TEXT,
            "method": TEXT,
            "provider?": TEXT,
            "amount_cents": CENTS,
            "tip_cents": CENTS,
            "status": PAYMENT_STATUS,
            "external_ref?": TEXT,
            "paid_at?": TIME,
        }
    ),
    "Order": record(
        {
            "id": TEXT,
            "number": TEXT,
            "channel": TEXT,
            "type": one_of("dine_in", "takeaway", "delivery", "pickup"),
            "table?": TEXT,
            "covers?": COUNT,
            "opened_at": TIME,
            "closed_at?": TIME,
            "business_date": DATE,
            "lines": many(common("Line")),
            "charges": many(common("Charge")),
            "taxes": many(common("Tax")),
            "discounts": many(common("Discount")),
            "subtotal_cents": CENTS,
            "total_cents": CENTS,
            "paid_cents": CENTS,
            "payments": many(common("Payment")),
            "customer?": common("Customer"),
            "staff_id": TEXT,
            "version": NUMBER,
        }
    ),
    "Check": record(
        {
            "check_id": TEXT,
            "version": NUMBER,
            "table": TEXT,
            "covers": COUNT,
            "lines": many(common("Line")),
            "charges": many(common("Charge")),
            "taxes": many(common("Tax")),
            "total_cents": CENTS,
            "paid_cents": CENTS,
            "due_cents": CENTS,
            "status": one_of("open", "locked", "closed"),
            "payments?": many(common("Payment")),
        }
    ),
    "Guest": {
        "allOf": [
            common("Customer"),
            record(
                {
                    "notes?": TEXT,
                    "allergens?": many(TEXT),
                    "dietary?": many(TEXT),
                    "vip?": FLAG,
                    "visits?": COUNT,
                }
            ),
        ]
    },
    "Reservation": record(
        {
            "id": TEXT,
            "external_id?": TEXT,
            "party_size": {"type": "integer", "minimum": 1},
            "start_at": TIME,
            "duration_s": COUNT,
            "status": RESERVATION_STATUS,
            "guest": common("Guest"),
            "tables": many(TEXT),
            "deposit?": record({"amount_cents": CENTS, "paid_cents": CENTS, "ref?": TEXT}),
            "source": TEXT,
            "special_offer?": TEXT,
            "requests?": TEXT,
            "updated_at": TIME,
            "sequence": COUNT,
        }
    ),
    "StockLine": record(
        {
            "item_id": TEXT,
            "sku": TEXT,
            "name": TEXT,
            "qty": DECIMAL,
            "unit": TEXT,
            "unit_cost_cents?": CENTS,
            "recipe_id?": TEXT,
            "reason?": TEXT,
        }
    ),
    "Staff": record({"id": TEXT, "external_id?": TEXT, "name?": TEXT, "role_code": TEXT}),
    "Timecard": record(
        {
            "id": TEXT,
            "version": NUMBER,
            "start_at": TIME,
            "end_at?": TIME,
            "breaks": many(record({"start_at": TIME, "end_at?": TIME, "paid": FLAG})),
            "tips_cents?": CENTS,
            "sales_cents?": CENTS,
        }
    ),
    "DailySummary": record(
        {
            "business_date": DATE,
            "revision?": {"type": "integer", "minimum": 1},
            "outlet": record({"id": TEXT, "name": TEXT}),
            "gross_cents": CENTS,
            "discounts_cents": CENTS,
            "net_cents": CENTS,
            "service_cents": CENTS,
            "taxes": many(record({"code": TEXT, "base_cents": CENTS, "amount_cents": CENTS})),
            "tips_cents": CENTS,
            "rounding_cents": CENTS,
            "payments": many(
                record({"method": TEXT, "amount_cents": CENTS, "fee_cents?": CENTS, "count": COUNT})
            ),
            "refunds_cents": CENTS,
            "by_category": many(record({"category": TEXT, "net_cents": CENTS})),
            "by_channel": many(record({"channel": TEXT, "net_cents": CENTS})),
            "order_count": COUNT,
            "covers": COUNT,
            "journal": many(
                record(
                    {
                        "account_code": TEXT,
                        "debit_cents": CENTS,
                        "credit_cents": CENTS,
                        "memo": TEXT,
                    }
                )
            ),
        }
    ),
}

OUTLET_ID = "6c1d2a54-0f0e-4f6b-9a3f-5f1a2f8f7b10"
CONSENT: dict[str, Any] = {
    "purpose": "marketing_whatsapp",
    "granted": True,
    "at": "2026-11-02T04:12:09Z",
    "source": "till",
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
        "discount_cents": 0,
        "tax_cents": 1155000,
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
        "modifiers": [],
        "discount_cents": 0,
        "tax_cents": 294000,
        "total_cents": 2800000,
        "category": "Minuman",
    },
]
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
PAYMENT: dict[str, Any] = {
    "id": "pay-3307",
    "method": "qris",
    "provider": "midtrans",
    "amount_cents": 15939000,
    "tip_cents": 0,
    "status": "paid",
    "external_ref": "QRIS-20261124-88120",
    "paid_at": "2026-11-24T05:41:30Z",
}
OPEN_ORDER: dict[str, Any] = {
    "id": "ord-58213",
    "number": "U-117",
    "channel": "pos",
    "type": "dine_in",
    "table": "12",
    "covers": 2,
    "opened_at": "2026-11-24T04:58:10Z",
    "business_date": "2026-11-24",
    "lines": LINES,
    "charges": CHARGES,
    "taxes": TAXES,
    "discounts": [],
    "subtotal_cents": 13800000,
    "total_cents": 15939000,
    "paid_cents": 0,
    "payments": [],
    "staff_id": "stf-14",
    "version": 1,
}
CLOSED_ORDER = OPEN_ORDER | {"closed_at": "2026-11-24T05:40:02Z", "version": 3}
PAID_ORDER = CLOSED_ORDER | {
    "paid_cents": 15939000,
    "payments": [PAYMENT],
    "customer": CUSTOMER,
    "version": 4,
}
CHECK: dict[str, Any] = {
    "check_id": "chk-58213",
    "version": 1,
    "table": "12",
    "covers": 2,
    "lines": LINES,
    "charges": CHARGES,
    "taxes": TAXES,
    "total_cents": 15939000,
    "paid_cents": 0,
    "due_cents": 15939000,
    "status": "open",
}
RESERVATION: dict[str, Any] = {
    "id": "res-771",
    "external_id": "G-90a1",
    "party_size": 4,
    "start_at": "2026-11-28T11:00:00Z",
    "duration_s": 7200,
    "status": "confirmed",
    "guest": CUSTOMER | {"notes": "Ulang tahun", "allergens": ["kacang"], "visits": 3},
    "tables": ["12"],
    "deposit": {"amount_cents": 20000000, "paid_cents": 20000000, "ref": "pay-3290"},
    "source": "google",
    "requests": "Dekat taman",
    "updated_at": "2026-11-24T03:20:00Z",
    "sequence": 2,
}
STAFF: dict[str, Any] = {
    "id": "stf-14",
    "external_id": "EMP-0093",
    "name": "I Made Suardana",
    "role_code": "waiter",
}
TIMECARD: dict[str, Any] = {
    "id": "tc-5512",
    "version": 1,
    "start_at": "2026-11-24T01:00:00Z",
    "breaks": [],
}
ENDED_TIMECARD = TIMECARD | {
    "version": 4,
    "end_at": "2026-11-24T09:02:00Z",
    "breaks": [
        {"start_at": "2026-11-24T05:00:00Z", "end_at": "2026-11-24T05:45:00Z", "paid": False}
    ],
    "tips_cents": 3500000,
    "sales_cents": 412500000,
}
