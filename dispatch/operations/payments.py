"""Money: tenders at the till, guests who pay at their table, and what providers report.

Nothing here may ever turn a failure into money: a payment is paid where a verified event or an answer
to `status` says so, and not before.
"""

from abc import abstractmethod
from typing import Annotated, Any, Literal

from msgspec import Meta

from catalog.capabilities import Direction
from dispatch.contracts import Adapter, Call, InboundAdapter, PartnerEvent, PayAtTableAdapter
from dispatch.operations.common import (
    CHARGES,
    LINES,
    ORDER,
    TAXES,
    TOTAL_CENTS,
    Charge,
    Customer,
    Line,
    Order,
    Payment,
    PaymentStatus,
    Table,
    Tax,
)
from dispatch.operations.notation import (
    AtLeastOne,
    Cents,
    Command,
    Contract,
    Count,
    Currency,
    Failure,
    Operation,
    Quantity,
    Record,
    Text,
    Time,
    Url,
    Words,
    choice,
    flag,
    number,
    per_outlet,
    secret,
    text,
)
from dispatch.operations.receipts import CODE, ReceiptCode


class NewPayment(Command, frozen=True):
    """The guest pays `amount_cents` and `tip_cents` together."""

    payment_id: Text
    order_id: Text
    amount_cents: Annotated[int, Meta(ge=1, le=10**15)]
    currency: Currency
    tip_cents: Cents | None = None
    items: tuple[Line, ...] = ()
    customer: Customer | None = None
    terminal_id: Text | None = None
    sub_merchant_id: Text | None = None
    expires_in_s: Annotated[int, Meta(ge=30, le=86_400)] | None = None
    callback_url: Url | None = None
    plan_id: Text | None = None


class StartedPayment(Record, frozen=True):
    provider_ref: Text
    status: PaymentStatus
    flow: Literal["qr", "redirect", "push", "terminal", "manual"]
    qr_string: Annotated[str, Meta(min_length=1, max_length=2000)] | None = None
    qr_image_url: Url | None = None
    redirect_url: Url | None = None
    deeplink: Annotated[str, Meta(min_length=1, max_length=2000)] | None = None
    expires_at: Time | None = None


class PaymentQuestion(Command, frozen=True):
    payment_id: Text
    provider_ref: Text | None = None


class PaymentState(Record, frozen=True):
    provider_ref: Text
    status: PaymentStatus
    paid_amount_cents: Cents
    currency: Currency
    fee_cents: Cents | None = None
    payer_ref: Text | None = None
    acquirer: Text | None = None
    issuer: Text | None = None
    paid_at: Time | None = None


class Cancellation(Command, frozen=True):
    payment_id: Text
    provider_ref: Text | None = None
    reason: Text | None = None


class CancelledPayment(Record, frozen=True):
    provider_ref: Text
    status: PaymentStatus


class RefundOrder(Command, frozen=True):
    payment_id: Text
    refund_id: Text
    amount_cents: Annotated[int, Meta(ge=1, le=10**15)]
    currency: Currency
    provider_ref: Text | None = None
    reason: Text | None = None


class Refund(Record, frozen=True):
    refund_ref: Text
    status: Literal["pending", "succeeded", "failed"]
    amount_cents: Cents | None = None


class PlansQuestion(Command, frozen=True):
    amount_cents: Annotated[int, Meta(ge=1, le=10**15)]
    currency: Currency


class Plan(Record, frozen=True):
    plan_id: Text
    name: Text
    installments: AtLeastOne
    installment_cents: Cents
    total_cents: Cents
    rate_bp: Count | None = None


class Plans(Record, frozen=True):
    plans: tuple[Plan, ...]


class PaymentMethodAdapter(Adapter):
    @abstractmethod
    def create_payment(self, call: Call, request: NewPayment) -> StartedPayment:
        """Start a payment. Asked again with the same `payment_id`, it must start no second one."""

    @abstractmethod
    def payment_status(self, call: Call, request: PaymentQuestion) -> PaymentState:
        """What the provider knows of a payment now."""

    @abstractmethod
    def cancel_payment(self, call: Call, request: Cancellation) -> CancelledPayment:
        """End a payment that is not paid yet."""

    @abstractmethod
    def refund_payment(self, call: Call, request: RefundOrder) -> Refund:
        """Give money back, once per `refund_id`."""

    @abstractmethod
    def payment_plans(self, call: Call, request: PlansQuestion) -> Plans:
        """The instalments that an amount can be paid in."""


class TableCheckQuestion(Command, frozen=True):
    check: Order


class Check(Record, frozen=True):
    """`payments` are those of guests that the till has booked: they are part of `paid_cents`."""

    check_id: Text
    version: Count
    table: Text
    lines: tuple[Line, ...]
    total_cents: Cents
    paid_cents: Cents
    due_cents: Cents
    status: Literal["open", "locked", "closed"]
    covers: Count | None = None
    charges: tuple[Charge, ...] = ()
    taxes: tuple[Tax, ...] = ()
    payments: tuple[Payment, ...] = ()


class CheckChange(Record, frozen=True):
    check: Check


class NothingAsked(Command, frozen=True):
    pass


class Tables(Record, frozen=True):
    tables: tuple[Table, ...]


class TableQuestion(Command, frozen=True):
    table: Text


class Checks(Record, frozen=True):
    checks: tuple[Check, ...]


class CheckQuestion(Command, frozen=True):
    check_id: Text


class PaidPart(Record, frozen=True):
    line_id: Text
    qty: Quantity


class PaymentStart(Command, frozen=True):
    """With `version` it is refused where the check has changed since the guest saw it."""

    check_id: Text
    payment_id: Text
    amount_cents: Annotated[int, Meta(ge=1, le=10**15)]
    items: tuple[PaidPart, ...] = ()
    ttl_s: Annotated[int, Meta(ge=1, le=120)] | None = None
    version: Count | None = None


class Lock(Record, frozen=True):
    lock_id: Text
    due_cents: Cents
    expires_at: Time


class PaymentApply(Command, frozen=True):
    lock_id: Text
    payment_id: Text
    amount_cents: Annotated[int, Meta(ge=1, le=10**15)]
    method: Text
    provider_ref: Text
    paid_at: Time
    tip_cents: Cents | None = None


class Applied(Record, frozen=True):
    due_cents: Cents
    check_status: Literal["open", "locked", "closed"]
    overpaid_cents: Cents | None = None
    receipt_url: Url | None = None


class PaymentRelease(Command, frozen=True):
    lock_id: Text
    payment_id: Text


class Released(Record, frozen=True):
    due_cents: Cents
    check_status: Literal["open", "locked", "closed"]


class ReportedPayment(Record, frozen=True):
    """What a provider reports; amounts are compared with the payment that was asked for.

    Of a refund or a chargeback, `amount_cents` is all that was given back so far.
    """

    provider_ref: Text
    kind: Literal["payment", "refund", "chargeback", "bill"]
    status: PaymentStatus
    amount_cents: Cents
    currency: Currency
    payment_id: Text | None = None
    order_ref: Text | None = None


class PaymentWebhookAdapter(InboundAdapter):
    @abstractmethod
    def reported_payment(self, event: PartnerEvent) -> ReportedPayment:
        """The provider's report in the words of Posz."""


PAYMENT: dict[str, Any] = {
    "payment_id": "pay-3307",
    "order_id": "ord-58213",
    "amount_cents": TOTAL_CENTS,
    "tip_cents": 0,
    "currency": "IDR",
    "items": LINES,
    "terminal_id": "kasir-2",
    "sub_merchant_id": "UBUD01",
    "expires_in_s": 900,
}
QRIS = (
    "00020101021226570011ID.DANA.WWW0118936009153000000001020900000000103UMI51440014ID.CO.QRIS.WWW0215"
    "ID10200000000010303UMI5204581253033605406159390 5802ID5910MAPLE OAT6004UBUD6304A1B2"
).replace(" ", "")
STARTED: dict[str, Any] = {
    "provider_ref": "QRIS-20261124-88120",
    "status": "pending",
    "flow": "qr",
    "qr_string": QRIS,
    "expires_at": "2026-11-24T05:55:00Z",
}
PAID: dict[str, Any] = {
    "provider_ref": "QRIS-20261124-88120",
    "status": "paid",
    "paid_amount_cents": TOTAL_CENTS,
    "currency": "IDR",
    "fee_cents": 111600,
    "acquirer": "Midtrans",
    "issuer": "GoPay",
    "paid_at": "2026-11-24T05:41:30Z",
}
CHECK: dict[str, Any] = {
    "check_id": "chk-58213",
    "version": 1,
    "table": "12",
    "covers": 2,
    "lines": LINES,
    "charges": CHARGES,
    "taxes": TAXES,
    "total_cents": TOTAL_CENTS,
    "paid_cents": 0,
    "due_cents": TOTAL_CENTS,
    "status": "open",
}


def _check_event(name: str, en: str, indonesian: str, **over: Any) -> Operation:
    return Operation(
        name=f"check.{name}",
        direction=Direction.OUTBOUND,
        words=Words(en, indonesian),
        request=CheckChange,
        request_example={"check": CHECK | over},
        failure=Failure.RETRY,
        key=("check.check_id", "check.version"),
        events=(f"check.{name}",),
    )


CONTRACTS = (
    Contract(
        capability="payment_method",
        adapter=PaymentMethodAdapter,
        words=Words(
            "Posz calls you when the cashier taps your tender, and while the payment is open.",
            "Posz memanggil Anda saat kasir memilih metode pembayaran Anda, dan selama pembayaran "
            "masih terbuka.",
        ),
        failure=Words(
            "Your tender is greyed out and the others work on. A payment whose outcome is unknown is "
            "`pending_verification` until `status` or a verified event tells; it is never shown as "
            "paid.",
            "Metode Anda dinonaktifkan sementara dan metode lain tetap jalan. Pembayaran yang "
            "hasilnya belum diketahui berstatus `pending_verification` sampai `status` atau event "
            "terverifikasi memastikannya; tidak pernah ditampilkan lunas.",
        ),
        operations=(
            Operation(
                name="create",
                words=Words(
                    "Start a payment and say how the guest pays it.",
                    "Mulai pembayaran dan beri tahu cara tamu membayarnya.",
                ),
                request=NewPayment,
                answer=StartedPayment,
                request_example=PAYMENT,
                answer_example=STARTED,
                failure=Failure.PENDING,
                method=PaymentMethodAdapter.create_payment,
                key=("payment_id",),
            ),
            Operation(
                name="status",
                words=Words(
                    "Say what became of a payment. Asked every three seconds while the till waits.",
                    "Beri tahu status pembayaran. Ditanyakan tiap tiga detik selama kasir menunggu.",
                ),
                request=PaymentQuestion,
                answer=PaymentState,
                request_example={
                    "payment_id": "pay-3307",
                    "provider_ref": "QRIS-20261124-88120",
                },
                answer_example=PAID,
                failure=Failure.PENDING,
                method=PaymentMethodAdapter.payment_status,
                budget_ms=3000,
            ),
            Operation(
                name="cancel",
                words=Words(
                    "End a payment that is not paid yet.",
                    "Batalkan pembayaran yang belum lunas.",
                ),
                request=Cancellation,
                answer=CancelledPayment,
                request_example={"payment_id": "pay-3307", "reason": "Tamu membayar tunai"},
                answer_example={"provider_ref": "QRIS-20261124-88120", "status": "cancelled"},
                failure=Failure.PENDING,
                method=PaymentMethodAdapter.cancel_payment,
                key=("payment_id",),
            ),
            Operation(
                name="refund",
                words=Words(
                    "Give money back, all of it or a part.",
                    "Kembalikan dana, seluruhnya atau sebagian.",
                ),
                request=RefundOrder,
                answer=Refund,
                request_example={
                    "payment_id": "pay-3307",
                    "refund_id": "ref-91",
                    "amount_cents": 2800000,
                    "currency": "IDR",
                    "reason": "Es kopi susu habis",
                },
                answer_example={
                    "refund_ref": "RF-20261124-17",
                    "status": "pending",
                    "amount_cents": 2800000,
                },
                failure=Failure.NOT_DONE,
                method=PaymentMethodAdapter.refund_payment,
                key=("refund_id",),
            ),
            Operation(
                name="list_plans",
                words=Words(
                    "List the instalments that an amount can be paid in.",
                    "Daftarkan pilihan cicilan untuk suatu jumlah.",
                ),
                request=PlansQuestion,
                answer=Plans,
                request_example={"amount_cents": 120000000, "currency": "IDR"},
                answer_example={
                    "plans": [
                        {
                            "plan_id": "3x",
                            "name": "3 bulan",
                            "installments": 3,
                            "installment_cents": 41040000,
                            "total_cents": 123120000,
                            "rate_bp": 260,
                        }
                    ]
                },
                failure=Failure.SKIP,
                method=PaymentMethodAdapter.payment_plans,
            ),
        ),
        config={
            "environment": choice(
                "Environment",
                "Lingkungan",
                {
                    "sandbox": Words("For trying out", "Untuk uji coba"),
                    "production": Words("With real money", "Dengan uang sungguhan"),
                },
            ),
            "client_id": text("Client id", "ID klien"),
            "server_key": secret("Server key", "Kunci server"),
            "sub_merchant_id": per_outlet(text("Sub-merchant id", "ID sub-merchant")),
            "min_amount_cents": number("Smallest amount", "Jumlah terkecil"),
            "max_amount_cents": number("Largest amount", "Jumlah terbesar"),
            "fee_bearer": choice(
                "Who bears the fee",
                "Penanggung biaya",
                {
                    "merchant": Words("The restaurant", "Restoran"),
                    "guest": Words("The guest", "Tamu"),
                },
            ),
            "settlement_account": text("Settlement account", "Akun penampungan"),
        },
    ),
    Contract(
        capability="pay_at_table",
        adapter=PayAtTableAdapter,
        words=Words(
            "Posz asks you for the code of a table and tells you of its checks; you call Posz when a "
            "guest opens, pays or leaves a check.",
            "Posz meminta kode meja dari Anda dan mengabarkan tagihannya; Anda memanggil Posz saat "
            "tamu membuka, membayar, atau meninggalkan tagihan.",
        ),
        failure=Words(
            "The guests pay at the till, as before. Money that was taken is never lost: what exceeds "
            "the check is booked as `overpaid_cents`.",
            "Tamu membayar di kasir seperti biasa. Dana yang sudah diterima tidak hilang: kelebihannya "
            "dicatat sebagai `overpaid_cents`.",
        ),
        operations=(
            Operation(
                words=Words(
                    "Give the code at which the guests of this check pay.",
                    "Berikan kode tempat tamu membayar tagihan ini.",
                ),
                request=TableCheckQuestion,
                answer=ReceiptCode,
                request_example={"check": ORDER | {"id": "chk-58213", "version": 1}},
                answer_example=CODE
                | {"label": {"en": "Scan to pay", "id": "Pindai untuk membayar"}},
                failure=Failure.BUILT_IN,
                method=PayAtTableAdapter.pay_at_table,
                key=("check.id", "check.version"),
            ),
            _check_event("opened", "A check was opened at a table.", "Tagihan dibuka di meja."),
            _check_event("updated", "A check changed.", "Tagihan berubah.", version=2),
            _check_event(
                "closed",
                "A check was paid or closed at the till.",
                "Tagihan lunas atau ditutup di kasir.",
                version=3,
                paid_cents=TOTAL_CENTS,
                due_cents=0,
                status="closed",
            ),
            Operation(
                name="tables.list",
                direction=Direction.INBOUND,
                words=Words("You ask for the tables.", "Anda meminta daftar meja."),
                request=NothingAsked,
                answer=Tables,
                request_example={},
                answer_example={"tables": [{"id": "12", "name": "Meja 12", "seats": 4}]},
                failure=Failure.SEND_AGAIN,
                budget_ms=3000,
            ),
            Operation(
                name="checks.by_table",
                direction=Direction.INBOUND,
                words=Words(
                    "You ask for the open checks of a table.",
                    "Anda meminta tagihan terbuka suatu meja.",
                ),
                request=TableQuestion,
                answer=Checks,
                request_example={"table": "12"},
                answer_example={"checks": [CHECK]},
                failure=Failure.SEND_AGAIN,
                budget_ms=3000,
            ),
            Operation(
                name="check.get",
                direction=Direction.INBOUND,
                words=Words("You ask for one check.", "Anda meminta satu tagihan."),
                request=CheckQuestion,
                answer=Check,
                request_example={"check_id": "chk-58213"},
                answer_example=CHECK,
                failure=Failure.SEND_AGAIN,
                budget_ms=3000,
            ),
            Operation(
                name="payment.start",
                direction=Direction.INBOUND,
                words=Words(
                    "You lock an amount or lines of a check before a guest pays them.",
                    "Anda mengunci jumlah atau baris tagihan sebelum tamu membayarnya.",
                ),
                request=PaymentStart,
                answer=Lock,
                request_example={
                    "check_id": "chk-58213",
                    "payment_id": "pay-9001",
                    "amount_cents": 8000000,
                    "items": [{"line_id": "line-1", "qty": "1"}],
                    "ttl_s": 120,
                },
                answer_example={
                    "lock_id": "lck-77",
                    "due_cents": TOTAL_CENTS,
                    "expires_at": "2026-11-24T05:44:00Z",
                },
                failure=Failure.SEND_AGAIN,
                key=("payment_id",),
                budget_ms=3000,
            ),
            Operation(
                name="payment.apply",
                direction=Direction.INBOUND,
                words=Words(
                    "You report that a guest has paid. Accepted even where the check has changed, "
                    "for the money is already taken.",
                    "Anda melaporkan bahwa tamu sudah membayar. Diterima walaupun tagihan berubah, "
                    "karena dana sudah diambil.",
                ),
                request=PaymentApply,
                answer=Applied,
                request_example={
                    "lock_id": "lck-77",
                    "payment_id": "pay-9001",
                    "amount_cents": 8000000,
                    "tip_cents": 500000,
                    "method": "qris",
                    "provider_ref": "QRIS-20261124-88121",
                    "paid_at": "2026-11-24T05:43:10Z",
                },
                answer_example={"due_cents": 7939000, "check_status": "open"},
                failure=Failure.SEND_AGAIN,
                key=("payment_id",),
                budget_ms=3000,
            ),
            Operation(
                name="payment.release",
                direction=Direction.INBOUND,
                words=Words(
                    "You give a lock back because the guest did not pay.",
                    "Anda melepas kunci karena tamu tidak jadi membayar.",
                ),
                request=PaymentRelease,
                answer=Released,
                request_example={"lock_id": "lck-77", "payment_id": "pay-9001"},
                answer_example={"due_cents": TOTAL_CENTS, "check_status": "open"},
                failure=Failure.SEND_AGAIN,
                key=("payment_id",),
                budget_ms=3000,
            ),
        ),
        config={
            "venue_id": per_outlet(text("Venue id", "ID tempat")),
            "tender": text("Tender in the books", "Metode dalam pembukuan"),
            "tips": flag("Guests may tip", "Tamu boleh memberi tip"),
            "auto_close": flag("Close the check once paid", "Tutup tagihan setelah lunas"),
        },
    ),
    Contract(
        capability="payment_webhook_inbound",
        adapter=PaymentWebhookAdapter,
        words=Words(
            "You post to Posz when money moves: captured, refunded, charged back.",
            "Anda mengirim ke Posz saat dana bergerak: diterima, dikembalikan, atau ditarik balik.",
        ),
        failure=Words(
            "A wrong signature is 401. What refers to nothing known is kept for a person to look at. "
            "States only move forwards, and an amount that differs from what was asked for is held.",
            "Tanda tangan salah dijawab 401. Rujukan yang tidak dikenal disimpan untuk diperiksa. "
            "Status hanya bergerak maju, dan jumlah yang berbeda dari permintaan ditahan.",
        ),
        operations=(
            Operation(
                name="payment.updated",
                direction=Direction.INBOUND,
                words=Words("You report a payment.", "Anda melaporkan pembayaran."),
                request=ReportedPayment,
                request_example={
                    "provider_ref": "QRIS-20261124-88120",
                    "payment_id": "pay-3307",
                    "kind": "payment",
                    "status": "paid",
                    "amount_cents": TOTAL_CENTS,
                    "currency": "IDR",
                },
                failure=Failure.SEND_AGAIN,
                method=PaymentWebhookAdapter.reported_payment,
                key=("provider_ref", "status"),
            ),
        ),
        config={"account_id": text("Account at the provider", "Akun di penyedia")},
    ),
)
