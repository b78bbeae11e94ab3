"""The book of reservations, and what is told to whoever took a booking."""

from abc import abstractmethod
from datetime import date
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from catalog.capabilities import Direction
from dispatch.contracts import Adapter, Call, PartnerEvent
from dispatch.operations.common import CUSTOMER, TOTAL_CENTS, Customer
from dispatch.operations.notation import (
    AtLeastOne,
    Cents,
    Command,
    Contract,
    Count,
    Done,
    Failure,
    Operation,
    Prose,
    Record,
    Text,
    Time,
    Words,
    flag,
    per_outlet,
    secret,
    text,
)

ReservationStatus: TypeAlias = Literal[
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
]
PartySize: TypeAlias = Annotated[int, Meta(ge=1, le=1000)]
Seconds: TypeAlias = Annotated[int, Meta(ge=60, le=86_400)]


class AvailabilityQuestion(Command, frozen=True, rename={"from_": "from"}):
    date: date
    party_size: PartySize
    from_: Time
    to: Time
    area: Text | None = None


class Slot(Record, frozen=True):
    start_at: Time
    duration_s: Seconds
    available: Count
    area: Text | None = None
    deposit_cents: Cents | None = None


class Availability(Record, frozen=True):
    slots: tuple[Slot, ...]


class Guest(Customer, frozen=True):
    notes: Prose | None = None
    allergens: tuple[Text, ...] = ()
    dietary: tuple[Text, ...] = ()
    vip: bool | None = None
    visits: Count | None = None


class Deposit(Record, frozen=True):
    amount_cents: Cents
    paid_cents: Cents
    ref: Text | None = None


class Reservation(Record, frozen=True):
    external_id: Text
    party_size: PartySize
    start_at: Time
    duration_s: Seconds
    status: ReservationStatus
    guest: Guest
    updated_at: Time
    sequence: Count
    id: Text | None = None
    tables: tuple[Text, ...] = ()
    deposit: Deposit | None = None
    source: Text | None = None
    special_offer: Text | None = None
    requests: Prose | None = None


class NewReservation(Command, frozen=True):
    id: Text
    party_size: PartySize
    start_at: Time
    duration_s: Seconds
    guest: Guest
    source: Text
    hold_id: Text | None = None
    tables: tuple[Text, ...] = ()
    requests: Prose | None = None


class ReservationUpdate(Command, frozen=True):
    external_id: Text
    sequence: Count
    party_size: PartySize | None = None
    start_at: Time | None = None
    duration_s: Seconds | None = None
    status: ReservationStatus | None = None
    tables: tuple[Text, ...] | None = None
    requests: Prose | None = None


class ReservationCancel(Command, frozen=True):
    external_id: Text
    sequence: Count
    by: Literal["guest", "venue"]
    reason: Text | None = None


class DayQuestion(Command, frozen=True):
    date: date


class Book(Record, frozen=True):
    reservations: tuple[Reservation, ...]


class HoldQuestion(Command, frozen=True):
    id: Text
    party_size: PartySize
    start_at: Time
    duration_s: Seconds
    area: Text | None = None


class Hold(Record, frozen=True):
    hold_id: Text
    expires_at: Time


class ReservationProviderAdapter(Adapter):
    @abstractmethod
    def availability(self, call: Call, request: AvailabilityQuestion) -> Availability:
        """The times at which a party could come."""

    @abstractmethod
    def create_reservation(self, call: Call, request: NewReservation) -> Reservation:
        """Book. The same `id` books once."""

    @abstractmethod
    def update_reservation(self, call: Call, request: ReservationUpdate) -> Reservation:
        """Change a booking; an older `sequence` than the one that is known changes nothing."""

    @abstractmethod
    def cancel_reservation(self, call: Call, request: ReservationCancel) -> Reservation:
        """Cancel a booking."""

    @abstractmethod
    def reservations_of_day(self, call: Call, request: DayQuestion) -> Book:
        """The book of one day."""

    @abstractmethod
    def hold_table(self, call: Call, request: HoldQuestion) -> Hold:
        """Keep a time for a guest who is still deciding."""

    @abstractmethod
    def reservation_change(self, event: PartnerEvent) -> Reservation:
        """A booking that came or changed at the partner, in the words of Posz."""


class PaidCheck(Record, frozen=True):
    id: Text
    number: Text
    total_cents: Cents
    paid_cents: Cents


class ReservationProgress(Record, frozen=True):
    reservation_id: Text
    external_id: Text
    status: ReservationStatus
    at: Time
    sequence: Count
    course: Text | None = None
    tables: tuple[Text, ...] = ()
    covers_actual: AtLeastOne | None = None
    check: PaidCheck | None = None
    staff_id: Text | None = None


class ReservationStatusAdapter(Adapter):
    @abstractmethod
    def tell_reservation_status(self, call: Call, request: ReservationProgress) -> Done:
        """Tell whoever took the booking how it goes."""


GUEST = CUSTOMER | {"notes": "Ulang tahun", "allergens": ["kacang"], "visits": 3}
BOOKING: dict[str, Any] = {
    "id": "res-771",
    "external_id": "G-90a1",
    "party_size": 4,
    "start_at": "2026-11-28T11:00:00Z",
    "duration_s": 7200,
    "status": "confirmed",
    "guest": GUEST,
    "tables": ["12"],
    "deposit": {"amount_cents": 20000000, "paid_cents": 20000000, "ref": "pay-3290"},
    "source": "google",
    "requests": "Dekat taman",
    "updated_at": "2026-11-24T03:20:00Z",
    "sequence": 2,
}

CONTRACTS = (
    Contract(
        capability="reservation_provider",
        adapter=ReservationProviderAdapter,
        words=Words(
            "Posz calls you when staff look for a time or book one; you post what is booked or "
            "changed on your side.",
            "Posz memanggil Anda saat staf mencari waktu atau membuat reservasi; Anda mengirim "
            "reservasi yang dibuat atau diubah di sisi Anda.",
        ),
        failure=Words(
            "Staff see the last known book and can still take walk-ins. A conflict goes to a person.",
            "Staf melihat buku reservasi terakhir dan tetap dapat menerima tamu langsung. Konflik "
            "diserahkan kepada manusia.",
        ),
        operations=(
            Operation(
                name="availability",
                words=Words(
                    "Say at which times a party could come.",
                    "Beri tahu waktu yang tersedia untuk rombongan.",
                ),
                request=AvailabilityQuestion,
                answer=Availability,
                request_example={
                    "date": "2026-11-28",
                    "party_size": 4,
                    "from": "2026-11-28T10:00:00Z",
                    "to": "2026-11-28T13:00:00Z",
                    "area": "Taman",
                },
                answer_example={
                    "slots": [
                        {
                            "start_at": "2026-11-28T11:00:00Z",
                            "duration_s": 7200,
                            "available": 2,
                            "area": "Taman",
                            "deposit_cents": 20000000,
                        }
                    ]
                },
                failure=Failure.BUILT_IN,
                method=ReservationProviderAdapter.availability,
            ),
            Operation(
                name="create",
                words=Words("Book a table.", "Buat reservasi."),
                request=NewReservation,
                answer=Reservation,
                request_example={
                    "id": "res-771",
                    "party_size": 4,
                    "start_at": "2026-11-28T11:00:00Z",
                    "duration_s": 7200,
                    "guest": GUEST,
                    "source": "telepon",
                    "hold_id": "hold-5",
                    "requests": "Dekat taman",
                },
                answer_example=BOOKING | {"sequence": 1},
                failure=Failure.BUILT_IN,
                method=ReservationProviderAdapter.create_reservation,
                key=("id",),
            ),
            Operation(
                name="update",
                words=Words("Change a booking.", "Ubah reservasi."),
                request=ReservationUpdate,
                answer=Reservation,
                request_example={"external_id": "G-90a1", "sequence": 3, "party_size": 5},
                answer_example=BOOKING | {"party_size": 5, "sequence": 3},
                failure=Failure.NOT_DONE,
                method=ReservationProviderAdapter.update_reservation,
                key=("external_id", "sequence"),
            ),
            Operation(
                name="cancel",
                words=Words("Cancel a booking.", "Batalkan reservasi."),
                request=ReservationCancel,
                answer=Reservation,
                request_example={
                    "external_id": "G-90a1",
                    "sequence": 4,
                    "by": "guest",
                    "reason": "Sakit",
                },
                answer_example=BOOKING | {"status": "cancelled_guest", "sequence": 4},
                failure=Failure.NOT_DONE,
                method=ReservationProviderAdapter.cancel_reservation,
                key=("external_id", "sequence"),
            ),
            Operation(
                name="list",
                words=Words("Give the book of one day.", "Berikan buku reservasi satu hari."),
                request=DayQuestion,
                answer=Book,
                request_example={"date": "2026-11-28"},
                answer_example={"reservations": [BOOKING]},
                failure=Failure.BUILT_IN,
                method=ReservationProviderAdapter.reservations_of_day,
            ),
            Operation(
                name="hold",
                words=Words(
                    "Keep a time for a guest who is still deciding.",
                    "Tahan waktu untuk tamu yang masih mempertimbangkan.",
                ),
                request=HoldQuestion,
                answer=Hold,
                request_example={
                    "id": "res-771",
                    "party_size": 4,
                    "start_at": "2026-11-28T11:00:00Z",
                    "duration_s": 7200,
                },
                answer_example={"hold_id": "hold-5", "expires_at": "2026-11-24T03:25:00Z"},
                failure=Failure.NOT_DONE,
                method=ReservationProviderAdapter.hold_table,
                key=("id", "start_at"),
            ),
            Operation(
                name="reservation.upserted",
                direction=Direction.INBOUND,
                words=Words(
                    "You post a booking that came or changed.",
                    "Anda mengirim reservasi yang baru atau berubah.",
                ),
                request=Reservation,
                request_example=BOOKING,
                failure=Failure.SEND_AGAIN,
                method=ReservationProviderAdapter.reservation_change,
                key=("external_id", "sequence"),
            ),
        ),
        config={
            "venue_id": per_outlet(text("Venue id", "ID tempat")),
            "client_id": text("Client id", "ID klien"),
            "client_secret": secret("Client secret", "Rahasia klien"),
            "deposit_tender": text("Tender of deposits", "Metode pembayaran uang muka"),
        },
    ),
    Contract(
        capability="reservation_status_outbound",
        adapter=ReservationStatusAdapter,
        words=Words(
            "Posz tells you when guests are seated, served, gone, or did not come.",
            "Posz memberi tahu Anda saat tamu duduk, dilayani, selesai, atau tidak datang.",
        ),
        failure=Words(
            "Sent again for 24 hours; after that only the latest state.",
            "Dikirim ulang selama 24 jam; setelah itu hanya status terakhir.",
        ),
        operations=(
            Operation(
                direction=Direction.OUTBOUND,
                words=Words("A booking moved on.", "Reservasi berubah status."),
                request=ReservationProgress,
                answer=Done,
                request_example={
                    "reservation_id": "res-771",
                    "external_id": "G-90a1",
                    "status": "seated",
                    "at": "2026-11-28T11:04:00Z",
                    "sequence": 5,
                    "tables": ["12"],
                    "covers_actual": 4,
                    "check": {
                        "id": "chk-58213",
                        "number": "U-117",
                        "total_cents": TOTAL_CENTS,
                        "paid_cents": 0,
                    },
                },
                answer_example={},
                failure=Failure.RETRY,
                method=ReservationStatusAdapter.tell_reservation_status,
                key=("external_id", "sequence"),
                events=("reservation.status_changed", "check.updated", "check.closed"),
            ),
        ),
        config={
            "venue_id": per_outlet(text("Venue id", "ID tempat")),
            "send_spend": flag("Tell what was spent", "Kirim jumlah belanja"),
        },
    ),
)
