"""Guests: who they are, their points, their bookings, and what is sent to them."""

from webhooks.event_types.common import CONSENT, CUSTOMER, RESERVATION, RESERVATION_STATUS
from webhooks.event_types.notation import (
    CENTS,
    NUMBER,
    TEXT,
    TIME,
    EventType,
    common,
    many,
    one_of,
    record,
)

EXPORTS = ("customer_export", "customer_event_export")
BOOK = ("reservation_provider", "reservation_status_outbound", "notification_provider")
POINTS = ("customer_event_export", "data_export_destination")
CHANGED_SHAPE = {
    "customer": common("Customer"),
    "changed_fields": many(TEXT),
}
POINTS_SHAPE = {
    "transaction_id": TEXT,
    "account_id": TEXT,
    "points": NUMBER,
    "order_id?": TEXT,
    "reverses?": TEXT,
}
POINTS_EXAMPLE = {
    "transaction_id": "lty-8801",
    "account_id": "acc-2041",
    "points": 138,
    "order_id": "ord-58213",
}
BOOKED_SHAPE = {"reservation": common("Reservation")}

EVENTS = (
    EventType(
        "customer.created",
        EXPORTS,
        "A customer was added.",
        "Pelanggan baru ditambahkan.",
        CHANGED_SHAPE,
        {"customer": CUSTOMER, "changed_fields": ["name", "phone_e164", "email"]},
    ),
    EventType(
        "customer.updated",
        EXPORTS,
        "The details of a customer changed.",
        "Data pelanggan berubah.",
        CHANGED_SHAPE,
        {"customer": CUSTOMER, "changed_fields": ["email"]},
    ),
    EventType(
        "customer.consent_changed",
        EXPORTS,
        "A customer gave or withdrew a consent.",
        "Pelanggan memberi atau mencabut persetujuan.",
        {"customer": common("Customer"), "consents": many(common("Consent"))},
        {
            "customer": CUSTOMER | {"consents": [CONSENT | {"granted": False}]},
            "consents": [CONSENT | {"granted": False, "at": "2026-11-24T02:10:00Z"}],
        },
    ),
    EventType(
        "customer.merged",
        EXPORTS,
        "Two entries of the same customer became one.",
        "Dua data pelanggan yang sama digabungkan.",
        {**CHANGED_SHAPE, "merged_customer_ids": many(TEXT)},
        {
            "customer": CUSTOMER,
            "changed_fields": ["phone_e164"],
            "merged_customer_ids": ["cus-1877"],
        },
    ),
    EventType(
        "customer.erasure_requested",
        EXPORTS,
        "A customer asked to be erased: erase what you hold by the time that is named.",
        "Pelanggan meminta datanya dihapus: hapus data yang Anda simpan sebelum waktu yang disebut.",
        {"customer_id": TEXT, "erase_before": TIME},
        {"customer_id": "cus-2041", "erase_before": "2026-11-27T02:10:00Z"},
    ),
    EventType(
        "loyalty.accrued",
        POINTS,
        "A member earned points.",
        "Member mendapat poin.",
        POINTS_SHAPE,
        POINTS_EXAMPLE,
    ),
    EventType(
        "loyalty.redeemed",
        POINTS,
        "A member spent points.",
        "Member menukar poin.",
        POINTS_SHAPE,
        POINTS_EXAMPLE | {"transaction_id": "lty-8802", "points": -100},
    ),
    EventType(
        "loyalty.reversed",
        POINTS,
        "Points were taken back or given back.",
        "Poin ditarik atau dikembalikan.",
        POINTS_SHAPE,
        POINTS_EXAMPLE | {"transaction_id": "lty-8803", "points": -28, "reverses": "lty-8801"},
    ),
    EventType(
        "reservation.created",
        BOOK,
        "A table was booked.",
        "Reservasi dibuat.",
        BOOKED_SHAPE,
        {"reservation": RESERVATION | {"status": "requested", "sequence": 1}},
    ),
    EventType(
        "reservation.updated",
        BOOK,
        "A booking changed.",
        "Reservasi berubah.",
        BOOKED_SHAPE,
        {"reservation": RESERVATION | {"party_size": 5, "sequence": 3}},
    ),
    EventType(
        "reservation.status_changed",
        BOOK,
        "A booking was confirmed, seated, missed or ended.",
        "Status reservasi berubah: dikonfirmasi, sudah duduk, tidak datang, atau selesai.",
        {
            **BOOKED_SHAPE,
            "previous_status": RESERVATION_STATUS,
            "check?": record(
                {"id": TEXT, "number": TEXT, "total_cents": CENTS, "paid_cents": CENTS}
            ),
        },
        {
            "reservation": RESERVATION | {"status": "seated", "sequence": 4},
            "previous_status": "arrived",
            "check": {
                "id": "chk-58213",
                "number": "U-117",
                "total_cents": 15939000,
                "paid_cents": 0,
            },
        },
    ),
    EventType(
        "message.status_changed",
        ("notification_provider",),
        "A message to a guest was delivered, read or failed.",
        "Pesan kepada tamu terkirim, dibaca, atau gagal.",
        {
            "message_id": TEXT,
            "status": one_of("queued", "sent", "delivered", "read", "failed"),
            "code?": TEXT,
        },
        {"message_id": "msg-1190", "status": "failed", "code": "number_not_on_whatsapp"},
    ),
)
