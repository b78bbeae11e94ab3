"""What integrations add to the paper: codes at its foot, and a few lines above the totals."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from dispatch.contracts import ReceiptCodesAdapter, ReceiptPretextAdapter, ReceiptQrAdapter
from dispatch.operations.common import (
    ORDER,
    Bilingual,
    Charge,
    Discount,
    Label,
    Line,
    Order,
    Tax,
)
from dispatch.operations.notation import (
    Cents,
    Command,
    Contract,
    Count,
    Currency,
    Failure,
    Operation,
    Record,
    Text,
    Time,
    Words,
    choice,
    number,
    secret,
    text,
)


class Receipt(Record, frozen=True):
    number: Text | None = None
    paper_mm: Literal[58, 80] | None = None
    locale: Text | None = None


class ReceiptQuestion(Command, frozen=True):
    order: Order
    receipt: Receipt | None = None


class ReceiptCode(Record, frozen=True):
    qr_payload: Annotated[str, Meta(pattern=r"^https?://[!-~]+$", max_length=300)]
    label: Label
    external_ref: Annotated[str, Meta(min_length=1, max_length=300)]
    expires_at: datetime | None = None
    valid_until_event: Literal["refund"] | None = None


class ReceiptOrder(Record, frozen=True):
    """The common order without those who ate and those who served: no code needs them."""

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


class ReceiptCodesQuestion(Command, frozen=True):
    order: ReceiptOrder
    receipt: Receipt | None = None


class Code(Record, frozen=True):
    qr_payload: Annotated[str, Meta(pattern=r"^https?://[!-~]+$", max_length=300)]
    label: Label
    expires_at: Time | None = None


class ReceiptCodes(Record, frozen=True):
    """The first one is the one for tills that print only one."""

    codes: Annotated[tuple[Code, ...], Meta(min_length=1, max_length=2)]
    external_ref: Annotated[str, Meta(min_length=1, max_length=300)]
    valid_until_event: Literal["refund"] | None = None


class PrintedLine(Record, frozen=True):
    text: Bilingual
    align: Literal["left", "center", "right"] | None = None
    emphasis: bool | None = None


class PrintedBlock(Record, frozen=True):
    lines: Annotated[tuple[PrintedLine, ...], Meta(max_length=6)]
    external_ref: Annotated[str, Meta(max_length=300)] | None = None


QUESTION: dict[str, Any] = {
    "order": ORDER,
    "receipt": {"number": "U-117", "paper_mm": 80, "locale": "id-ID"},
}
CODES_QUESTION: dict[str, Any] = {
    **QUESTION,
    "order": {name: value for name, value in ORDER.items() if name != "staff_id"},
}
CODE: dict[str, Any] = {
    "qr_payload": "https://s.uncle-z.com/b/8k2Jq1xW",
    "label": {"en": "Scan to split the bill", "id": "Pindai untuk bagi tagihan"},
    "external_ref": "8k2Jq1xW",
}
CODES: dict[str, Any] = {
    "codes": [
        {
            "qr_payload": "https://s.uncle-z.com/b/8k2Jq1xW",
            "label": {"en": "Scan to split the bill", "id": "Pindai untuk bagi tagihan"},
            "expires_at": "2026-11-25T05:40:02Z",
        },
        {
            "qr_payload": "https://s.uncle-z.com/r/8k2Jq1xW",
            "label": {"en": "Rate your visit", "id": "Nilai kunjungan Anda"},
        },
    ],
    "external_ref": "8k2Jq1xW",
}
BLOCK: dict[str, Any] = {
    "lines": [
        {
            "text": {"en": "10 % off until 31 December", "id": "Diskon 10 % s.d. 31 Desember"},
            "align": "center",
            "emphasis": True,
        },
        {"text": {"en": "Show this receipt.", "id": "Tunjukkan struk ini."}, "align": "center"},
    ],
    "external_ref": "kupon-2026-12",
}

CONTRACTS = (
    Contract(
        capability="receipt_qr",
        adapter=ReceiptQrAdapter,
        words=Words(
            "Posz calls you when an order is closed, before its receipt is printed.",
            "Posz memanggil Anda saat pesanan ditutup, sebelum struk dicetak.",
        ),
        failure=Words(
            "The receipt is printed without your code.", "Struk dicetak tanpa kode Anda."
        ),
        operations=(
            Operation(
                words=Words(
                    "Give a code for the foot of this receipt.",
                    "Berikan kode untuk bagian bawah struk ini.",
                ),
                request=ReceiptQuestion,
                answer=ReceiptCode,
                request_example=QUESTION,
                answer_example=CODE,
                failure=Failure.SKIP,
                method=ReceiptQrAdapter.receipt_qr,
                key=("order.id", "order.version"),
                events=("order.closed",),
            ),
        ),
        config={
            "api_key": secret("API key", "Kunci API"),
            "label": text("Text under the code", "Teks di bawah kode", maxLength=32),
            "min_total_cents": number("Smallest total", "Total terkecil"),
        },
    ),
    Contract(
        capability="receipt_qr",
        version=2,
        adapter=ReceiptCodesAdapter,
        words=Words(
            "Posz calls you when an order is closed, before its receipt is printed. You may give two "
            "codes, and say until when each is good. You get no guest and no staff.",
            "Posz memanggil Anda saat pesanan ditutup, sebelum struk dicetak. Anda boleh memberi dua "
            "kode dan batas waktunya masing-masing. Data tamu dan staf tidak dikirim.",
        ),
        failure=Words(
            "The receipt is printed without your codes.", "Struk dicetak tanpa kode dari Anda."
        ),
        operations=(
            Operation(
                words=Words(
                    "Give one or two codes for the foot of this receipt.",
                    "Berikan satu atau dua kode untuk bagian bawah struk ini.",
                ),
                request=ReceiptCodesQuestion,
                answer=ReceiptCodes,
                request_example=CODES_QUESTION,
                answer_example=CODES,
                failure=Failure.SKIP,
                method=ReceiptCodesAdapter.receipt_codes,
                key=("order.id", "order.version"),
                events=("order.closed",),
            ),
        ),
        config={
            "api_key": secret("API key", "Kunci API"),
            "label": text("Text under the code", "Teks di bawah kode", maxLength=32),
            "min_total_cents": number("Smallest total", "Total terkecil"),
        },
    ),
    Contract(
        capability="receipt_pretext",
        adapter=ReceiptPretextAdapter,
        words=Words(
            "Posz calls you when an order is closed, before its receipt is printed.",
            "Posz memanggil Anda saat pesanan ditutup, sebelum struk dicetak.",
        ),
        failure=Words(
            "The receipt is printed without your lines.", "Struk dicetak tanpa baris dari Anda."
        ),
        operations=(
            Operation(
                words=Words(
                    "Give a few lines to print above the totals.",
                    "Berikan beberapa baris untuk dicetak di atas total.",
                ),
                request=ReceiptQuestion,
                answer=PrintedBlock,
                request_example=QUESTION,
                answer_example=BLOCK,
                failure=Failure.SKIP,
                method=ReceiptPretextAdapter.receipt_pretext,
                key=("order.id", "order.version"),
                events=("order.closed",),
            ),
        ),
        config={
            "greeting": text("Greeting", "Salam", maxLength=96),
            "campaign": text("Campaign", "Kampanye"),
            "audience": choice(
                "Who gets it",
                "Siapa yang mendapatkannya",
                {
                    "everyone": Words("Everyone", "Semua orang"),
                    "members": Words("Members only", "Hanya anggota"),
                },
            ),
        },
    ),
)
