"""Tax invoices (faktur pajak). A number comes from the tax office or not at all."""

from abc import abstractmethod
from datetime import date
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from catalog.capabilities import Direction
from dispatch.contracts import Adapter, Call, PartnerEvent
from dispatch.operations.notation import (
    Cents,
    Command,
    Contract,
    Email,
    Failure,
    Operation,
    Prose,
    Quantity,
    Rate,
    Record,
    Text,
    Url,
    Words,
    choice,
    flag,
    secret,
    text,
)

Npwp: TypeAlias = Annotated[str, Meta(pattern="^[0-9]{16}$")]
Nitku: TypeAlias = Annotated[str, Meta(pattern="^[0-9]{22}$")]
FakturNumber: TypeAlias = Annotated[str, Meta(pattern="^[0-9]{16,17}$")]

TRX_CODES = {
    "01": Words("01, to usual buyers", "01, kepada pembeli biasa"),
    "02": Words("02, to the government", "02, kepada instansi pemerintah"),
    "03": Words("03, to other collectors of VAT", "03, kepada pemungut PPN lainnya"),
    "04": Words("04, other tax base", "04, DPP nilai lain"),
}


class Seller(Record, frozen=True):
    npwp16: Npwp
    nitku22: Nitku
    name: Text
    address: Text


class Buyer(Record, frozen=True):
    doc_type: Literal["TIN", "NIK", "PASSPORT", "OTHER"]
    doc_number: Text
    name: Text
    address: Text
    nitku: Nitku | None = None
    email: Email | None = None


class TaxedLine(Record, frozen=True):
    """`other_tax_base_cents` is 11/12 of the tax base where 12 % are computed on that."""

    kind: Literal["goods", "service"]
    code: Text
    name: Text
    unit_code: Text
    unit_price_cents: Cents
    qty: Quantity
    tax_base_cents: Cents
    vat_rate_bp: Rate
    vat_cents: Cents
    discount_cents: Cents | None = None
    other_tax_base_cents: Cents | None = None
    luxury_rate_bp: Rate | None = None
    luxury_cents: Cents | None = None


class TaxInvoiceOrder(Command, frozen=True):
    """What PBJT was taken on must not be here: food and drink served in a restaurant is not PPN."""

    invoice_id: Text
    seller: Seller
    buyer: Buyer
    trx_code: Literal["01", "02", "03", "04", "05", "06", "07", "08"]
    date: date
    kind: Literal["normal", "replacement", "credit_note", "cancel"]
    lines: Annotated[tuple[TaxedLine, ...], Meta(min_length=1, max_length=1000)]
    order_id: Text | None = None
    ref: Text | None = None


class TaxInvoice(Record, frozen=True):
    status: Literal["draft", "submitted", "approved", "rejected"]
    faktur_number: FakturNumber | None = None
    qr_url: Url | None = None
    pdf_url: Url | None = None
    errors: tuple[Prose, ...] = ()


class TaxInvoiceChange(Record, frozen=True):
    invoice_id: Text
    status: Literal["draft", "submitted", "approved", "rejected"]
    faktur_number: FakturNumber | None = None
    qr_url: Url | None = None
    pdf_url: Url | None = None
    errors: tuple[Prose, ...] = ()


class TaxInvoiceAdapter(Adapter):
    @abstractmethod
    def tax_invoice(self, call: Call, request: TaxInvoiceOrder) -> TaxInvoice:
        """Hand an invoice in. The number may come later, and is never made up."""

    @abstractmethod
    def tax_invoice_change(self, event: PartnerEvent) -> TaxInvoiceChange:
        """What became of an invoice, in the words of Posz."""


# Rp500.000 of coffee beans to take home: 11/12 of it, and 12 % of that.
INVOICE: dict[str, Any] = {
    "invoice_id": "inv-301",
    "order_id": "ord-58213",
    "seller": {
        "npwp16": "0312345678901000",
        "nitku22": "0312345678901000000000",
        "name": "PT Maple Oat Nusantara",
        "address": "Jl. Senopati 41, Jakarta Selatan",
    },
    "buyer": {
        "doc_type": "TIN",
        "doc_number": "0298765432101000",
        "nitku": "0298765432101000000000",
        "name": "PT Sinar Kopi Abadi",
        "address": "Jl. Braga 12, Bandung",
        "email": "pajak@sinarkopi.example",
    },
    "trx_code": "04",
    "date": "2026-11-24",
    "kind": "normal",
    "lines": [
        {
            "kind": "goods",
            "code": "090121",
            "name": "Biji kopi Kintamani 1 kg",
            "unit_code": "UM.0003",
            "unit_price_cents": 25000000,
            "qty": "2",
            "tax_base_cents": 50000000,
            "other_tax_base_cents": 45833333,
            "vat_rate_bp": 1200,
            "vat_cents": 5500000,
        }
    ],
}

CONTRACTS = (
    Contract(
        capability="tax_invoice_provider",
        adapter=TaxInvoiceAdapter,
        words=Words(
            "Posz calls you when a customer asks for a tax invoice, and on a refund of one. You post "
            "the number when the tax office has given it.",
            "Posz memanggil Anda saat pelanggan meminta faktur pajak, dan saat dananya dikembalikan. "
            "Anda mengirim nomor setelah kantor pajak memberikannya.",
        ),
        failure=Words(
            "Posz keeps a draft and prints “tax invoice follows”. No number is ever made up.",
            "Posz menyimpan konsep dan mencetak “faktur menyusul”. Nomor tidak pernah dikarang.",
        ),
        operations=(
            Operation(
                words=Words(
                    "Take this invoice, credit note or cancellation.",
                    "Terima faktur, nota kredit, atau pembatalan ini.",
                ),
                request=TaxInvoiceOrder,
                answer=TaxInvoice,
                request_example=INVOICE,
                answer_example={"status": "submitted"},
                failure=Failure.BUILT_IN,
                method=TaxInvoiceAdapter.tax_invoice,
                key=("invoice_id", "kind"),
                events=("tax_invoice.requested", "refund.completed"),
            ),
            Operation(
                name="tax_invoice.updated",
                direction=Direction.INBOUND,
                words=Words(
                    "You report what became of an invoice.",
                    "Anda melaporkan perkembangan faktur.",
                ),
                request=TaxInvoiceChange,
                request_example={
                    "invoice_id": "inv-301",
                    "status": "approved",
                    "faktur_number": "04002600123456789",
                    "pdf_url": "https://pajak.example/faktur/04002600123456789.pdf",
                },
                failure=Failure.SEND_AGAIN,
                method=TaxInvoiceAdapter.tax_invoice_change,
                key=("invoice_id", "status"),
            ),
        ),
        config={
            "npwp": text("NPWP (16 digits)", "NPWP (16 digit)", pattern="^[0-9]{16}$"),
            "nitku": text("NITKU (22 digits)", "NITKU (22 digit)", pattern="^[0-9]{22}$"),
            "is_pkp": flag("Registered for VAT (PKP)", "Pengusaha Kena Pajak (PKP)"),
            "trx_code": choice("Transaction code", "Kode transaksi", TRX_CODES),
            "client_id": text("Client id", "ID klien"),
            "client_secret": secret("Client secret", "Rahasia klien"),
            "auto_approval": flag("Approve by itself", "Setujui otomatis"),
            "signer": text("Signer", "Penanda tangan"),
        },
    ),
)
