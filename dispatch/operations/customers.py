"""Customers who gave their consent, for a CRM: profiles, what they did, and their erasure."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from catalog.capabilities import Direction
from dispatch.contracts import Adapter, Call, PartnerEvent
from dispatch.operations.common import CONSENT, PURPOSES, TOTAL_CENTS, Consent
from dispatch.operations.notation import (
    Cents,
    Contract,
    Count,
    Currency,
    Done,
    Email,
    Failure,
    Operation,
    Phone,
    Quantity,
    Record,
    Text,
    Time,
    Words,
    choice,
    choices,
    secret,
    some,
    text,
)


class Profile(Record, frozen=True):
    """For `unsubscribe` and `erase` only what names the customer is sent."""

    op: Literal["upsert", "unsubscribe", "erase"]
    customer_id: Text
    updated_at: Time
    external_ids: dict[str, str] | None = None
    name: Text | None = None
    phone_e164: Phone | None = None
    email: Email | None = None
    birthday: Annotated[str, Meta(pattern="^[0-1][0-9]-[0-3][0-9]$")] | None = None
    locale: Text | None = None
    city: Text | None = None
    tags: tuple[Text, ...] = ()
    first_seen: Time | None = None
    last_visit: Time | None = None
    visits: Count | None = None
    total_spend_cents: Cents | None = None
    consents: tuple[Consent, ...] = ()


# What a merchant may let out of a profile. A number and an address go only where a purpose that
# uses them is consented to; the others go for any.
FIELDS: Mapping[str, Words] = {
    "external_ids": Words("IDs in other systems", "ID di sistem lain"),
    "name": Words("Name", "Nama"),
    "phone_e164": Words("Phone number", "Nomor telepon"),
    "email": Words("E-mail address", "Alamat e-mail"),
    "birthday": Words("Birthday", "Ulang tahun"),
    "locale": Words("Language", "Bahasa"),
    "city": Words("City", "Kota"),
    "tags": Words("Tags", "Label"),
    "first_seen": Words("First visit", "Kunjungan pertama"),
    "last_visit": Words("Last visit", "Kunjungan terakhir"),
    "visits": Words("Number of visits", "Jumlah kunjungan"),
    "total_spend_cents": Words("Total spent", "Total belanja"),
}
CONTACTS = {
    "phone_e164": frozenset({"marketing_whatsapp", "marketing_sms", "profiling"}),
    "email": frozenset({"marketing_email", "profiling"}),
}


class Profiles(Record, frozen=True):
    batch_id: Text
    customers: Annotated[tuple[Profile, ...], Meta(min_length=1, max_length=500)]


class RefusedProfile(Record, frozen=True):
    customer_id: Text
    reason: Text


class TakenProfiles(Record, frozen=True):
    """`erased` names those of whom nothing is left; who needs longer confirms it by a webhook."""

    taken: Count
    refused: tuple[RefusedProfile, ...] = ()
    erased: tuple[Text, ...] = ()


class Erasure(Record, frozen=True):
    customer_id: Text
    erased_at: Time


class CustomerExportAdapter(Adapter):
    @abstractmethod
    def export_customers(self, call: Call, request: Profiles) -> TakenProfiles:
        """Hand profiles over, at most 500 at once."""

    @abstractmethod
    def confirmed_erasure(self, event: PartnerEvent) -> Erasure:
        """The partner's word that a customer is erased."""


class CustomerReference(Record, frozen=True):
    id: Text
    email: Email | None = None
    phone: Phone | None = None
    external_id: Text | None = None


class BoughtItem(Record, frozen=True):
    sku: Text
    name: Text
    qty: Quantity
    total_cents: Cents


class Properties(Record, frozen=True):
    order_number: Text | None = None
    channel: Text | None = None
    items: tuple[BoughtItem, ...] = ()


class Behaviour(Record, frozen=True):
    event_id: Text
    name: Literal[
        "Placed Order",
        "Refunded Order",
        "Reserved Table",
        "Earned Points",
        "Redeemed Points",
        "Left Feedback",
    ]
    customer_ref: CustomerReference
    occurred_at: Time
    value_cents: Cents
    currency: Currency
    properties: Properties


class CustomerEventAdapter(Adapter):
    @abstractmethod
    def export_behaviour(self, call: Call, request: Behaviour) -> Done:
        """Tell what a customer did, once per `event_id`."""


PROFILE: dict[str, Any] = {
    "op": "upsert",
    "customer_id": "cus-2041",
    "updated_at": "2026-11-24T05:45:00Z",
    "external_ids": {"crm": "K-991"},
    "name": "Ni Luh Ayu Pratiwi",
    "phone_e164": "+6281237004512",
    "email": "ayu.pratiwi@example.id",
    "locale": "id-ID",
    "city": "Gianyar",
    "tags": ["pelanggan-tetap"],
    "first_seen": "2025-03-02T06:00:00Z",
    "last_visit": "2026-11-24T05:40:02Z",
    "visits": 14,
    "total_spend_cents": 214500000,
    "consents": [CONSENT],
}

CONTRACTS = (
    Contract(
        capability="customer_export",
        adapter=CustomerExportAdapter,
        words=Words(
            "Posz hands you customers who gave their consent, as they change and once a night. You "
            "confirm erasures.",
            "Posz menyerahkan pelanggan yang memberi persetujuan, saat berubah dan sekali tiap malam. "
            "Anda mengonfirmasi penghapusan.",
        ),
        failure=Words(
            "Sent again for 72 hours. An erasure stays visible to the merchant until you confirm it.",
            "Dikirim ulang selama 72 jam. Penghapusan tetap terlihat oleh merchant sampai Anda "
            "mengonfirmasinya.",
        ),
        operations=(
            Operation(
                direction=Direction.OUTBOUND,
                words=Words(
                    "Take these customers. `erase` and `unsubscribe` come whatever was consented to.",
                    "Terima pelanggan ini. `erase` dan `unsubscribe` dikirim apa pun persetujuannya.",
                ),
                request=Profiles,
                answer=TakenProfiles,
                request_example={
                    "batch_id": "batch-310",
                    "customers": [
                        PROFILE,
                        {
                            "op": "erase",
                            "customer_id": "cus-1877",
                            "updated_at": "2026-11-24T05:45:00Z",
                        },
                    ],
                },
                answer_example={"taken": 2, "erased": ["cus-1877"]},
                failure=Failure.RETRY,
                method=CustomerExportAdapter.export_customers,
                key=("batch_id",),
                events=(
                    "customer.created",
                    "customer.updated",
                    "customer.consent_changed",
                    "customer.merged",
                    "customer.erasure_requested",
                ),
            ),
            Operation(
                name="erasure.confirmed",
                direction=Direction.INBOUND,
                words=Words(
                    "You confirm that a customer is erased.",
                    "Anda mengonfirmasi bahwa data pelanggan sudah dihapus.",
                ),
                request=Erasure,
                request_example={"customer_id": "cus-1877", "erased_at": "2026-11-24T06:00:00Z"},
                failure=Failure.SEND_AGAIN,
                method=CustomerExportAdapter.confirmed_erasure,
                key=("customer_id",),
            ),
        ),
        config={
            "list_id": text("List or audience", "Daftar atau audiens"),
            "api_key": secret("API key", "Kunci API"),
            "purpose": choice(
                "Consent that is needed",
                "Persetujuan yang diperlukan",
                some(
                    PURPOSES, "marketing_email", "marketing_whatsapp", "marketing_sms", "profiling"
                ),
            ),
            "purposes": choices(
                "Purposes that customers must have consented to",
                "Tujuan yang harus disetujui pelanggan",
                PURPOSES,
            ),
            "fields": choices("What may be sent", "Yang boleh dikirim", FIELDS),
            "recipient_country": text(
                "Country of the recipient", "Negara penerima", pattern="^[A-Z]{2}$"
            ),
            "agreement_on": text("Processor agreement of", "Tanggal perjanjian prosesor"),
        },
    ),
    Contract(
        capability="customer_event_export",
        adapter=CustomerEventAdapter,
        words=Words(
            "Posz tells you within a minute what customers who gave their consent did.",
            "Posz memberi tahu Anda dalam satu menit apa yang dilakukan pelanggan yang memberi "
            "persetujuan.",
        ),
        failure=Words(
            "Sent again for 24 hours, then dropped and counted.",
            "Dikirim ulang selama 24 jam, lalu dibuang dan dihitung.",
        ),
        operations=(
            Operation(
                direction=Direction.OUTBOUND,
                words=Words("A customer did something.", "Pelanggan melakukan sesuatu."),
                request=Behaviour,
                answer=Done,
                request_example={
                    "event_id": "evt-8801",
                    "name": "Placed Order",
                    "customer_ref": {"id": "cus-2041", "email": "ayu.pratiwi@example.id"},
                    "occurred_at": "2026-11-24T05:41:30Z",
                    "value_cents": TOTAL_CENTS,
                    "currency": "IDR",
                    "properties": {
                        "order_number": "U-117",
                        "channel": "pos",
                        "items": [
                            {
                                "sku": "NASI-CAMPUR",
                                "name": "Nasi campur Bali",
                                "qty": "2",
                                "total_cents": 11000000,
                            }
                        ],
                    },
                },
                answer_example={},
                failure=Failure.RETRY,
                method=CustomerEventAdapter.export_behaviour,
                key=("event_id",),
                events=(
                    "order.paid",
                    "refund.completed",
                    "reservation.created",
                    "loyalty.accrued",
                    "loyalty.redeemed",
                ),
            ),
        ),
        config={
            "api_key": secret("API key", "Kunci API"),
            "purpose": choice(
                "Consent that is needed",
                "Persetujuan yang diperlukan",
                some(PURPOSES, "profiling"),
            ),
            "fields": choices(
                "What may be sent", "Yang boleh dikirim", some(FIELDS, "email", "phone_e164")
            ),
        },
    ),
)
