"""Everything that happened, for the books: event by event, and a day that balances."""

from abc import abstractmethod
from datetime import date
from typing import Annotated, Any

from msgspec import Meta

from catalog.capabilities import Direction
from dispatch.contracts import Adapter, Call
from dispatch.operations.common import OUTLET_ID, TOTAL_CENTS
from dispatch.operations.notation import (
    AtLeastOne,
    Balance,
    Cents,
    Contract,
    Count,
    Done,
    Failure,
    Operation,
    Record,
    Text,
    Time,
    Words,
    choice,
    secret,
    text,
)


class ExportedEvent(Record, frozen=True):
    id: Text
    type: Text
    occurred_at: Time
    sequence: Count
    data: dict[str, Any]


class ExportedEvents(Record, frozen=True):
    batch_id: Text
    events: Annotated[tuple[ExportedEvent, ...], Meta(min_length=1, max_length=500)]


class TakenEvents(Record, frozen=True):
    taken: Count


class Outlet(Record, frozen=True):
    id: Text
    name: Text


class TaxSum(Record, frozen=True):
    code: Text
    base_cents: Balance
    amount_cents: Balance


class PaymentSum(Record, frozen=True):
    method: Text
    amount_cents: Balance
    count: Count
    fee_cents: Cents | None = None


class CategorySum(Record, frozen=True):
    category: Text
    net_cents: Balance


class ChannelSum(Record, frozen=True):
    channel: Text
    net_cents: Balance


class JournalLine(Record, frozen=True):
    account_code: Text
    debit_cents: Cents
    credit_cents: Cents
    memo: Text


class DailySummary(Record, frozen=True):
    """Debit and credit of the journal are the same; a correction is a higher revision."""

    business_date: date
    revision: AtLeastOne
    outlet: Outlet
    gross_cents: Cents
    discounts_cents: Cents
    net_cents: Balance
    service_cents: Balance
    tips_cents: Balance
    rounding_cents: Balance
    refunds_cents: Cents
    order_count: Count
    covers: Count
    taxes: tuple[TaxSum, ...]
    payments: tuple[PaymentSum, ...]
    by_category: tuple[CategorySum, ...]
    by_channel: tuple[ChannelSum, ...]
    journal: tuple[JournalLine, ...]


class DataExportAdapter(Adapter):
    @abstractmethod
    def export_events(self, call: Call, request: ExportedEvents) -> TakenEvents:
        """Hand events over; each counts once by its id."""

    @abstractmethod
    def export_daily_summary(self, call: Call, request: DailySummary) -> Done:
        """Hand a closed day over. The same day with a higher revision takes its place."""


# Rp13,8 million net, 5 % service, 10 % tax on both, and Rp1.000 lost in rounding.
SUMMARY: dict[str, Any] = {
    "business_date": "2026-11-24",
    "revision": 1,
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
        {"account_code": code, "debit_cents": debit, "credit_cents": credit, "memo": memo}
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

CONTRACTS = (
    Contract(
        capability="data_export_destination",
        adapter=DataExportAdapter,
        words=Words(
            "Posz hands you every event as it happens, and a summary of each day when it is closed.",
            "Posz menyerahkan setiap event saat terjadi, dan ringkasan tiap hari saat ditutup.",
        ),
        failure=Words(
            "Sent again. `sequence` shows gaps, and everything since a date can be sent once more.",
            "Dikirim ulang. `sequence` menunjukkan celah, dan semua sejak suatu tanggal dapat dikirim "
            "lagi.",
        ),
        operations=(
            Operation(
                name="events",
                direction=Direction.OUTBOUND,
                words=Words("Take these events.", "Terima event ini."),
                request=ExportedEvents,
                answer=TakenEvents,
                request_example={
                    "batch_id": "batch-77",
                    "events": [
                        {
                            "id": "b7a1f0c2-5f0b-4d8e-9a53-2f4c1e7d9a01",
                            "type": "order.paid",
                            "occurred_at": "2026-11-24T05:41:30Z",
                            "sequence": 4127,
                            "data": {"order": {"id": "ord-58213", "total_cents": TOTAL_CENTS}},
                        }
                    ],
                },
                answer_example={"taken": 1},
                failure=Failure.RETRY,
                method=DataExportAdapter.export_events,
                key=("batch_id",),
                events=(
                    "order.paid",
                    "order.voided",
                    "refund.completed",
                    "payment.updated",
                    "loyalty.accrued",
                    "loyalty.redeemed",
                ),
            ),
            Operation(
                name="daily_summary",
                direction=Direction.OUTBOUND,
                words=Words("Take the summary of a day.", "Terima ringkasan satu hari."),
                request=DailySummary,
                answer=Done,
                request_example=SUMMARY,
                answer_example={},
                failure=Failure.RETRY,
                method=DataExportAdapter.export_daily_summary,
                key=("outlet.id", "business_date", "revision"),
                events=("business_day.closed",),
            ),
        ),
        config={
            "dataset": text("Dataset or company", "Dataset atau perusahaan"),
            "api_key": secret("API key", "Kunci API"),
            "sends": choice(
                "What is sent",
                "Yang dikirim",
                {
                    "events": Words("Each sale", "Setiap penjualan"),
                    "daily_summary": Words("One summary a day", "Satu ringkasan per hari"),
                    "both": Words("Both", "Keduanya"),
                },
            ),
            "account_sales": text("Account of sales", "Akun penjualan"),
            "account_pbjt": text("Account of PBJT payable", "Akun utang PBJT"),
            "account_service": text("Account of service payable", "Akun utang biaya layanan"),
            "account_tips": text("Account of tips", "Akun tip"),
            "account_rounding": text("Account of rounding", "Akun pembulatan"),
        },
    ),
)
