"""Staff: the hours they worked, and the shifts that are planned for them."""

from abc import abstractmethod
from typing import Annotated, Any, Literal

from msgspec import Meta

from catalog.capabilities import Direction
from dispatch.contracts import Adapter, Call, PartnerEvent
from dispatch.operations.common import OUTLET_ID
from dispatch.operations.notation import (
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


class Employee(Record, frozen=True):
    id: Text
    role_code: Text
    external_id: Text | None = None
    name: Text | None = None


class Break(Record, frozen=True):
    start_at: Time
    paid: bool
    end_at: Time | None = None


class Timecard(Record, frozen=True):
    id: Text
    version: Count
    start_at: Time
    end_at: Time | None = None
    breaks: tuple[Break, ...] = ()
    tips_cents: Cents | None = None
    sales_cents: Cents | None = None


class StaffEvent(Record, frozen=True):
    event_id: Text
    kind: Literal[
        "clock_in",
        "clock_out",
        "break_start",
        "break_end",
        "timecard_edited",
        "employee_upserted",
        "employee_left",
        "tips_declared",
    ]
    staff: Employee
    at: Time
    outlet_id: Text
    timecard: Timecard | None = None


class StaffExportAdapter(Adapter):
    @abstractmethod
    def export_staff_event(self, call: Call, request: StaffEvent) -> Done:
        """Tell what staff did, once per `event_id`."""


class Shift(Record, frozen=True):
    """Only published shifts reach the till."""

    external_id: Text
    staff_external_id: Text
    outlet_id: Text
    role_code: Text
    start_at: Time
    end_at: Time
    status: Literal["draft", "published", "deleted"]
    updated_at: Time
    break_min: Count | None = None
    note: Prose | None = None


class Schedule(Record, frozen=True, rename={"from_": "from"}):
    schedule_version: Text
    from_: Time
    to: Time
    shifts: Annotated[tuple[Shift, ...], Meta(max_length=2000)]


class ScheduleQuestion(Command, frozen=True, rename={"from_": "from"}):
    from_: Time
    to: Time
    since_version: Text | None = None


class ScheduleImportAdapter(Adapter):
    @abstractmethod
    def pull_schedule(self, call: Call, request: ScheduleQuestion) -> Schedule:
        """The shifts of a span of time."""

    @abstractmethod
    def published_schedule(self, event: PartnerEvent) -> Schedule:
        """Shifts that were published, in the words of Posz."""


SCHEDULE: dict[str, Any] = {
    "schedule_version": "2026-W48-3",
    "from": "2026-11-22T16:00:00Z",
    "to": "2026-11-29T16:00:00Z",
    "shifts": [
        {
            "external_id": "shf-9001",
            "staff_external_id": "EMP-0093",
            "outlet_id": OUTLET_ID,
            "role_code": "waiter",
            "start_at": "2026-11-25T01:00:00Z",
            "end_at": "2026-11-25T09:00:00Z",
            "break_min": 45,
            "status": "published",
            "updated_at": "2026-11-20T03:00:00Z",
            "note": "Buka toko",
        }
    ],
}

CONTRACTS = (
    Contract(
        capability="staff_event_export",
        adapter=StaffExportAdapter,
        words=Words(
            "Posz tells you when staff clock in and out, take breaks, or join and leave.",
            "Posz memberi tahu Anda saat karyawan absen masuk dan pulang, istirahat, bergabung, atau "
            "keluar.",
        ),
        failure=Words(
            "Sent again for seven days, for people are paid by it.",
            "Dikirim ulang selama tujuh hari, karena dipakai untuk penggajian.",
        ),
        operations=(
            Operation(
                direction=Direction.OUTBOUND,
                words=Words("Something about staff happened.", "Ada kejadian karyawan."),
                request=StaffEvent,
                answer=Done,
                request_example={
                    "event_id": "evt-6120",
                    "kind": "clock_out",
                    "staff": {
                        "id": "stf-14",
                        "external_id": "EMP-0093",
                        "name": "I Made Suardana",
                        "role_code": "waiter",
                    },
                    "at": "2026-11-24T09:02:00Z",
                    "outlet_id": OUTLET_ID,
                    "timecard": {
                        "id": "tc-5512",
                        "version": 4,
                        "start_at": "2026-11-24T01:00:00Z",
                        "end_at": "2026-11-24T09:02:00Z",
                        "breaks": [
                            {
                                "start_at": "2026-11-24T05:00:00Z",
                                "end_at": "2026-11-24T05:45:00Z",
                                "paid": False,
                            }
                        ],
                        "tips_cents": 3500000,
                    },
                },
                answer_example={},
                failure=Failure.RETRY,
                method=StaffExportAdapter.export_staff_event,
                key=("event_id",),
                events=(
                    "staff.clocked_in",
                    "staff.clocked_out",
                    "staff.break_started",
                    "staff.break_ended",
                    "staff.timecard_edited",
                    "staff.updated",
                ),
            ),
        ),
        config={
            "company_id": text("Company id", "ID perusahaan"),
            "api_key": secret("API key", "Kunci API"),
            "send_sales": flag("Send sales with hours", "Kirim penjualan bersama jam kerja"),
        },
    ),
    Contract(
        capability="staff_schedule_import",
        adapter=ScheduleImportAdapter,
        words=Words(
            "You post shifts when they are published, or Posz asks for them every 15 minutes.",
            "Anda mengirim jadwal shift saat diterbitkan, atau Posz memintanya tiap 15 menit.",
        ),
        failure=Words(
            "The last schedule stays, with its age. Nobody is kept from clocking in.",
            "Jadwal terakhir tetap berlaku, beserta umurnya. Absen masuk tidak pernah dihalangi.",
        ),
        operations=(
            Operation(
                name="pull",
                words=Words(
                    "Give the shifts of a span of time.", "Berikan jadwal suatu rentang waktu."
                ),
                request=ScheduleQuestion,
                answer=Schedule,
                request_example={
                    "from": "2026-11-22T16:00:00Z",
                    "to": "2026-11-29T16:00:00Z",
                },
                answer_example=SCHEDULE,
                failure=Failure.SKIP,
                method=ScheduleImportAdapter.pull_schedule,
                budget_ms=10_000,
            ),
            Operation(
                name="schedule.published",
                direction=Direction.INBOUND,
                words=Words(
                    "You post shifts that were published or changed.",
                    "Anda mengirim jadwal yang diterbitkan atau berubah.",
                ),
                request=Schedule,
                request_example=SCHEDULE,
                failure=Failure.SEND_AGAIN,
                method=ScheduleImportAdapter.published_schedule,
                key=("schedule_version",),
            ),
        ),
        config={
            "company_id": text("Company id", "ID perusahaan"),
            "location_id": per_outlet(text("Id of the outlet", "ID outlet")),
            "api_key": secret("API key", "Kunci API"),
            "enforce": flag("Refuse clocking in early", "Tolak absen terlalu awal"),
        },
    ),
)
