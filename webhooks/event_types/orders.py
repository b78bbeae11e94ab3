"""Orders from the first line to the receipt, bills at the table, payments and what is given back."""

from webhooks.event_types.common import (
    CHECK,
    CLOSED_ORDER,
    CUSTOMER,
    LINES,
    OPEN_ORDER,
    PAID_ORDER,
    PAYMENT,
    PAYMENT_STATUS,
    TAXES,
)
from webhooks.event_types.notation import (
    CENTS,
    DATE,
    FLAG,
    NUMBER,
    TEXT,
    TIME,
    UUID,
    EventType,
    common,
    many,
    one_of,
    record,
)

ORDER_ID, AT = OPEN_ORDER["id"], "2026-11-24T05:22:41Z"
CHANNEL_ORDER = {"external_order_id": "GF-482-7731", "channel": "grabfood"}
CHANNEL_SHAPE = {
    "external_order_id": TEXT,
    "channel": TEXT,
    "order_id?": TEXT,
    "reason?": TEXT,
    "ready_at?": TIME,
    "accept_by?": TIME,
    "attempt_group?": NUMBER,
}
REFUND_SHAPE = {
    "refund_id": TEXT,
    "order_id": TEXT,
    "payment_id": TEXT,
    "amount_cents": CENTS,
    "tip_cents": CENTS,
    "lines": many(common("Line")),
    "tax_reversed": many(common("Tax")),
    "reason": TEXT,
    "restock": FLAG,
    "method?": TEXT,
    "service_reversed_cents?": CENTS,
    "rounding_cents?": CENTS,
    "business_date?": DATE,
    "customer?": common("Customer"),
}
# One glass of iced coffee: Rp28.000, 5 % service and 10 % tax on both.
REFUND = {
    "refund_id": "ref-209",
    "order_id": ORDER_ID,
    "payment_id": PAYMENT["id"],
    "amount_cents": 3234000,
    "tip_cents": 0,
    "lines": [LINES[1]],
    "tax_reversed": [TAXES[0] | {"base_cents": 2940000, "amount_cents": 294000}],
    "reason": "Pesanan tidak sesuai",
    "restock": False,
}
AT_TABLE = ("pay_at_table",)
CHANNEL = ("order_inbound", "order_status_outbound")
GIVEN_BACK = (
    "payment_method",
    "tax_invoice_provider",
    "loyalty_provider",
    "customer_event_export",
    "inventory_event_export",
    "data_export_destination",
)
PAID = ("pay_at_table", "payment_webhook_inbound", "data_export_destination")

EVENTS = (
    EventType(
        "order.opened",
        ("pay_at_table", "reservation_status_outbound"),
        "An order was opened.",
        "Pesanan dibuka.",
        {"order_id": TEXT, "order": common("Order"), "changed_line_ids": many(TEXT)},
        {"order_id": ORDER_ID, "order": OPEN_ORDER, "changed_line_ids": ["line-1", "line-2"]},
    ),
    EventType(
        "order.updated",
        ("pay_at_table", "reservation_status_outbound"),
        "Lines of an open order changed.",
        "Isi pesanan yang masih terbuka berubah.",
        {"order_id": TEXT, "order": common("Order"), "changed_line_ids": many(TEXT)},
        {
            "order_id": ORDER_ID,
            "order": OPEN_ORDER | {"version": 2},
            "changed_line_ids": ["line-2"],
        },
    ),
    EventType(
        "order.sent_to_kitchen",
        ("reservation_status_outbound", "order_status_outbound"),
        "Lines of an order went to the kitchen.",
        "Isi pesanan dikirim ke dapur.",
        {
            "order_id": TEXT,
            "channel?": TEXT,
            "external_order_id?": TEXT,
            "lines": many(common("Line")),
            "course?": NUMBER,
        },
        {"order_id": ORDER_ID, "lines": LINES, "course": 1},
    ),
    EventType(
        "order.ready",
        ("order_status_outbound", "notification_provider"),
        "An order can be picked up or served.",
        "Pesanan siap diambil atau disajikan.",
        {"order_id": TEXT, "channel": TEXT, "external_order_id?": TEXT, "at": TIME},
        {"order_id": "ord-58220", **CHANNEL_ORDER, "at": AT},
    ),
    EventType(
        "order.completed",
        ("order_status_outbound", "notification_provider"),
        "An order was handed over.",
        "Pesanan sudah diserahkan.",
        {"order_id": TEXT, "channel": TEXT, "external_order_id?": TEXT, "at": TIME},
        {"order_id": "ord-58220", **CHANNEL_ORDER, "at": "2026-11-24T05:31:12Z"},
    ),
    EventType(
        "order.closed",
        ("receipt_qr", "receipt_pretext"),
        "An order is final, and its receipt is about to be printed.",
        "Pesanan sudah final dan struknya akan dicetak.",
        {"order_id": TEXT, "order": common("Order")},
        {"order_id": ORDER_ID, "order": CLOSED_ORDER},
    ),
    EventType(
        "order.paid",
        (
            "loyalty_provider",
            "customer_event_export",
            "inventory_event_export",
            "data_export_destination",
        ),
        "An order was paid in full.",
        "Pesanan lunas.",
        {
            "order_id": TEXT,
            "order": common("Order"),
            "payments": many(common("Payment")),
            "fully_paid_at": TIME,
            "customer?": common("Customer"),
        },
        {
            "order_id": ORDER_ID,
            "order": PAID_ORDER,
            "payments": [PAYMENT],
            "fully_paid_at": PAYMENT["paid_at"],
            "customer": CUSTOMER,
        },
    ),
    EventType(
        "order.voided",
        ("order_status_outbound", "inventory_event_export", "data_export_destination"),
        "An order was voided.",
        "Pesanan dibatalkan.",
        {
            "order_id": TEXT,
            "channel?": TEXT,
            "external_order_id?": TEXT,
            "business_date?": DATE,
            "reason": TEXT,
            "staff_id": TEXT,
            "was_total_cents": CENTS,
        },
        {
            "order_id": "ord-58209",
            "reason": "Salah meja",
            "staff_id": "stf-14",
            "was_total_cents": 6352500,
        },
    ),
    EventType(
        "refund.created",
        GIVEN_BACK,
        "A refund was begun.",
        "Pengembalian dana dimulai.",
        REFUND_SHAPE,
        REFUND,
    ),
    EventType(
        "refund.completed",
        GIVEN_BACK,
        "The money of a refund is with the guest.",
        "Dana sudah dikembalikan kepada tamu.",
        REFUND_SHAPE,
        REFUND,
    ),
    EventType(
        "payment.created",
        PAID,
        "A payment was begun.",
        "Pembayaran dimulai.",
        {
            "order_id": TEXT,
            "payment": common("Payment"),
            "source": one_of("till", "webhook", "sweep"),
        },
        {
            "order_id": ORDER_ID,
            "payment": {
                name: PAYMENT[name]
                for name in ("id", "method", "provider", "amount_cents", "tip_cents")
            }
            | {"status": "pending"},
            "source": "till",
        },
    ),
    EventType(
        "payment.updated",
        PAID,
        "The status of a payment changed.",
        "Status pembayaran berubah.",
        {
            "order_id": TEXT,
            "payment": common("Payment"),
            "previous_status": PAYMENT_STATUS,
            "source": one_of("till", "webhook", "sweep"),
        },
        {
            "order_id": ORDER_ID,
            "payment": PAYMENT,
            "previous_status": "pending",
            "source": "webhook",
        },
    ),
    EventType(
        "check.opened",
        AT_TABLE,
        "A bill was opened at a table.",
        "Tagihan dibuka di meja.",
        {"order_id": TEXT, "check": common("Check")},
        {"order_id": ORDER_ID, "check": CHECK},
    ),
    EventType(
        "check.updated",
        AT_TABLE,
        "The bill of a table changed.",
        "Tagihan di meja berubah.",
        {"order_id": TEXT, "check": common("Check")},
        {
            "order_id": ORDER_ID,
            "check": CHECK
            | {"version": 2, "paid_cents": 8000000, "due_cents": 7939000, "status": "locked"},
        },
    ),
    EventType(
        "check.closed",
        AT_TABLE,
        "The bill of a table was settled and closed.",
        "Tagihan di meja sudah dibayar dan ditutup.",
        {"order_id": TEXT, "check": common("Check")},
        {
            "order_id": ORDER_ID,
            "check": CHECK
            | {"version": 3, "paid_cents": 15939000, "due_cents": 0, "status": "closed"},
        },
    ),
    EventType(
        "channel_order.received",
        CHANNEL,
        "An order came in from a delivery channel.",
        "Pesanan masuk dari kanal pesan antar.",
        CHANNEL_SHAPE,
        CHANNEL_ORDER,
    ),
    EventType(
        "channel_order.accepted",
        CHANNEL,
        "The restaurant accepted an order of a channel.",
        "Restoran menerima pesanan dari kanal.",
        CHANNEL_SHAPE,
        CHANNEL_ORDER | {"order_id": "ord-58220", "ready_at": "2026-11-24T05:25:00Z"},
    ),
    EventType(
        "channel_order.rejected",
        CHANNEL,
        "The restaurant rejected an order of a channel.",
        "Restoran menolak pesanan dari kanal.",
        CHANNEL_SHAPE,
        CHANNEL_ORDER | {"reason": "items_out_of_stock"},
    ),
    EventType(
        "channel_order.cancelled",
        CHANNEL,
        "An order of a channel was cancelled.",
        "Pesanan dari kanal dibatalkan.",
        CHANNEL_SHAPE,
        CHANNEL_ORDER | {"order_id": "ord-58220", "reason": "cancelled_by_customer"},
    ),
    EventType(
        "receipt.printed",
        ("receipt_qr", "notification_provider"),
        "A receipt was printed.",
        "Struk dicetak.",
        {
            "order_id": TEXT,
            "medium": one_of("paper", "screen", "email", "whatsapp", "sms"),
            "attachments": many(record({"install_id": UUID, "kind": TEXT})),
        },
        {
            "order_id": ORDER_ID,
            "medium": "paper",
            "attachments": [
                {"install_id": "0d6f3f0e-6c52-4f52-8a37-9a7c0f4b1c22", "kind": "receipt_qr"}
            ],
        },
    ),
    EventType(
        "receipt.sent",
        ("receipt_qr", "notification_provider"),
        "A digital receipt was sent to the guest.",
        "Struk digital dikirim kepada tamu.",
        {
            "order_id": TEXT,
            "medium": one_of("paper", "screen", "email", "whatsapp", "sms"),
            "attachments": many(record({"install_id": UUID, "kind": TEXT})),
        },
        {"order_id": ORDER_ID, "medium": "whatsapp", "attachments": []},
    ),
)
