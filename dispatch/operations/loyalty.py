"""A loyalty programme in place of Posz's own points."""

from abc import abstractmethod
from datetime import date
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from dispatch.contracts import Adapter, Call
from dispatch.operations.common import ORDER, Order
from dispatch.operations.notation import (
    AtLeastOne,
    Cents,
    Command,
    Contract,
    Count,
    Email,
    Failure,
    OpaqueId,
    Operation,
    Phone,
    Points,
    Record,
    Text,
    Words,
    flag,
    number,
    secret,
    text,
)


class MemberQuestion(Command, frozen=True):
    """One of them; a partner looks at the first that is given."""

    phone: Phone | None = None
    email: Email | None = None
    card: Text | None = None
    qr: Text | None = None


class Account(Record, frozen=True):
    account_id: OpaqueId
    name_masked: Text
    phone_masked: Text | None = None
    tier: Text | None = None


class Accounts(Record, frozen=True):
    accounts: tuple[Account, ...]


class Enrolment(Command, frozen=True):
    enrolment_id: Text
    name: Text
    consent_text_version: Text
    phone: Phone | None = None
    email: Email | None = None


class MemberOrder(Command, frozen=True):
    account_id: OpaqueId
    order: Order


class Expiring(Record, frozen=True):
    points: Points
    on: date


Applies: TypeAlias = Literal["order"] | tuple[Text, ...]


class Offer(Record, frozen=True):
    offer_id: Text
    name: Text
    kind: Literal["amount", "percent", "free_item", "points"]
    value: Count
    max_uses: AtLeastOne | None = None
    applies_to: Applies | None = None


class Member(Record, frozen=True):
    balance_points: Points
    tier: Text | None = None
    expiring: tuple[Expiring, ...] = ()
    offers: tuple[Offer, ...] = ()
    earn_preview_points: Points | None = None


class Redemption(Record, frozen=True):
    offer_id: Text
    amount_cents: Cents
    qty: AtLeastOne
    points: Points | None = None
    line_ids: tuple[Text, ...] = ()


class Redeem(Command, frozen=True):
    transaction_id: Text
    account_id: OpaqueId
    order_id: Text
    redemptions: Annotated[tuple[Redemption, ...], Meta(min_length=1, max_length=50)]


class RejectedOffer(Record, frozen=True):
    offer_id: Text
    reason: Text


class Redeemed(Record, frozen=True):
    accepted: tuple[Text, ...]
    rejected: tuple[RejectedOffer, ...]
    balance_points: Points


class Accrue(Command, frozen=True):
    transaction_id: Text
    account_id: OpaqueId
    order: Order
    eligible_cents: Cents


class Accrued(Record, frozen=True):
    points_earned: Points
    balance_points: Points


class Reverse(Command, frozen=True):
    transaction_id: Text
    account_id: OpaqueId
    reverses: Text
    refund_id: Text | None = None
    partial_redemptions: tuple[Redemption, ...] = ()


class Transfer(Command, frozen=True):
    transaction_id: Text
    account_id: OpaqueId
    to_account_id: OpaqueId
    points: Annotated[int, Meta(ge=1, le=10**12)]


class NewBalance(Record, frozen=True):
    balance_points: Points


class LoyaltyAdapter(Adapter):
    @abstractmethod
    def search_members(self, call: Call, request: MemberQuestion) -> Accounts:
        """The accounts that a phone number, an address, a card or a code leads to."""

    @abstractmethod
    def enrol_member(self, call: Call, request: Enrolment) -> Account:
        """Take a guest into the programme."""

    @abstractmethod
    def inquire_member(self, call: Call, request: MemberOrder) -> Member:
        """What a member has, and what they could use for this order."""

    @abstractmethod
    def redeem_points(self, call: Call, request: Redeem) -> Redeemed:
        """Spend points or offers, once per `transaction_id` and account."""

    @abstractmethod
    def accrue_points(self, call: Call, request: Accrue) -> Accrued:
        """Give points for an order that is paid."""

    @abstractmethod
    def reverse_points(self, call: Call, request: Reverse) -> NewBalance:
        """Take a transaction back, also one that is not known: then nothing happens."""

    @abstractmethod
    def transfer_points(self, call: Call, request: Transfer) -> NewBalance:
        """Move points to another account."""


REDEMPTION: dict[str, Any] = {
    "offer_id": "kopi-gratis",
    "points": 100,
    "amount_cents": 2800000,
    "line_ids": ["line-2"],
    "qty": 1,
}

CONTRACTS = (
    Contract(
        capability="loyalty_provider",
        adapter=LoyaltyAdapter,
        words=Words(
            "Posz calls you at checkout when a guest is a member, when an order is paid, and when it "
            "is refunded.",
            "Posz memanggil Anda saat pembayaran bila tamu adalah member, saat pesanan lunas, dan saat "
            "dananya dikembalikan.",
        ),
        failure=Words(
            "Rewards are hidden and selling goes on. Where it is unknown whether points were spent, "
            "the discount is taken off the bill and the spending reversed. Points to give wait for "
            "seven days.",
            "Hadiah disembunyikan dan penjualan berlanjut. Bila tidak jelas apakah poin terpakai, "
            "diskon dihapus dari tagihan dan penukaran dibatalkan. Poin yang harus diberikan menunggu "
            "tujuh hari.",
        ),
        operations=(
            Operation(
                name="search",
                words=Words("Find a member.", "Cari member."),
                request=MemberQuestion,
                answer=Accounts,
                request_example={"phone": "+6281237004512"},
                answer_example={
                    "accounts": [
                        {
                            "account_id": "acc-2041",
                            "name_masked": "Ni L*** A**",
                            "phone_masked": "+62812***4512",
                            "tier": "Emas",
                        }
                    ]
                },
                failure=Failure.BUILT_IN,
                method=LoyaltyAdapter.search_members,
            ),
            Operation(
                name="enroll",
                words=Words("Take a guest into the programme.", "Daftarkan tamu sebagai member."),
                request=Enrolment,
                answer=Account,
                request_example={
                    "enrolment_id": "enr-17",
                    "name": "Ni Luh Ayu Pratiwi",
                    "phone": "+6281237004512",
                    "consent_text_version": "2026-01",
                },
                answer_example={"account_id": "acc-2041", "name_masked": "Ni L*** A**"},
                failure=Failure.NOT_DONE,
                method=LoyaltyAdapter.enrol_member,
                key=("enrolment_id",),
            ),
            Operation(
                name="inquire",
                words=Words(
                    "Say what a member has, and what they could use for this order.",
                    "Beri tahu saldo member dan yang dapat dipakai untuk pesanan ini.",
                ),
                request=MemberOrder,
                answer=Member,
                request_example={"account_id": "acc-2041", "order": ORDER},
                answer_example={
                    "balance_points": 1240,
                    "tier": "Emas",
                    "expiring": [{"points": 200, "on": "2026-12-31"}],
                    "offers": [
                        {
                            "offer_id": "kopi-gratis",
                            "name": "Es kopi susu gratis",
                            "kind": "free_item",
                            "value": 1,
                            "max_uses": 1,
                            "applies_to": ["line-2"],
                        }
                    ],
                    "earn_preview_points": 138,
                },
                failure=Failure.BUILT_IN,
                method=LoyaltyAdapter.inquire_member,
            ),
            Operation(
                name="redeem",
                words=Words("Spend points or offers.", "Tukar poin atau penawaran."),
                request=Redeem,
                answer=Redeemed,
                request_example={
                    "transaction_id": "lty-8802",
                    "account_id": "acc-2041",
                    "order_id": "ord-58213",
                    "redemptions": [REDEMPTION],
                },
                answer_example={
                    "accepted": ["kopi-gratis"],
                    "rejected": [],
                    "balance_points": 1140,
                },
                failure=Failure.NOT_DONE,
                method=LoyaltyAdapter.redeem_points,
                key=("transaction_id", "account_id"),
            ),
            Operation(
                name="accrue",
                words=Words(
                    "Give points for an order that is paid.",
                    "Berikan poin untuk pesanan yang lunas.",
                ),
                request=Accrue,
                answer=Accrued,
                request_example={
                    "transaction_id": "lty-8801",
                    "account_id": "acc-2041",
                    "order": ORDER,
                    "eligible_cents": 13800000,
                },
                answer_example={"points_earned": 138, "balance_points": 1278},
                failure=Failure.RETRY,
                method=LoyaltyAdapter.accrue_points,
                key=("transaction_id", "account_id"),
                events=("order.paid",),
            ),
            Operation(
                name="reverse",
                words=Words(
                    "Take a transaction back. One that you do not know needs nothing.",
                    "Batalkan transaksi. Transaksi yang tidak dikenal tidak perlu apa-apa.",
                ),
                request=Reverse,
                answer=NewBalance,
                request_example={
                    "transaction_id": "lty-8803",
                    "account_id": "acc-2041",
                    "reverses": "lty-8801",
                    "refund_id": "ref-91",
                },
                answer_example={"balance_points": 1140},
                failure=Failure.RETRY,
                method=LoyaltyAdapter.reverse_points,
                key=("transaction_id", "account_id"),
                events=("refund.completed",),
            ),
            Operation(
                name="transfer",
                words=Words("Move points to another account.", "Pindahkan poin ke akun lain."),
                request=Transfer,
                answer=NewBalance,
                request_example={
                    "transaction_id": "lty-8804",
                    "account_id": "acc-2041",
                    "to_account_id": "acc-3118",
                    "points": 500,
                },
                answer_example={"balance_points": 640},
                failure=Failure.NOT_DONE,
                method=LoyaltyAdapter.transfer_points,
                key=("transaction_id", "account_id"),
            ),
        ),
        config={
            "program_id": text("Programme id", "ID program"),
            "api_key": secret("API key", "Kunci API"),
            "point_value_cents": number("Value of a point", "Nilai satu poin"),
            "earn_on_tax": flag("Points on tax", "Poin atas pajak"),
            "earn_on_service": flag("Points on service charge", "Poin atas biaya layanan"),
            "consent_text": text("Text of consent", "Teks persetujuan", maxLength=1000),
        },
    ),
)
