"""Staff: their hours, their schedule, and who signs in."""

from typing import Any

from webhooks.event_types.common import ENDED_TIMECARD, OUTLET_ID, STAFF, TIMECARD
from webhooks.event_types.notation import (
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

HOURS, SIGN_IN = ("staff_event_export",), ("auth_provider",)
CLOCK_SHAPE = {
    "kind": one_of("clock_in", "clock_out", "break_start", "break_end", "timecard_edited"),
    "staff": common("Staff"),
    "at": TIME,
    "outlet_id": UUID,
    "timecard": common("Timecard"),
}
ON_BREAK = TIMECARD | {
    "version": 2,
    "breaks": [{"start_at": "2026-11-24T05:00:00Z", "paid": False}],
}
SIGN_IN_SHAPE = {
    "subject": TEXT,
    "method": one_of("password", "pin", "sso"),
    "ip_hash": TEXT,
    "outlet_id?": UUID,
}
SIGNED_IN = {
    "subject": "stf-14",
    "method": "sso",
    "ip_hash": "9f2c6b1e4d7a",
    "outlet_id": OUTLET_ID,
}


def clocked(kind: str, at: str, timecard: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "staff": STAFF, "at": at, "outlet_id": OUTLET_ID, "timecard": timecard}


EVENTS = (
    EventType(
        "staff.clocked_in",
        HOURS,
        "Somebody began to work.",
        "Karyawan absen masuk.",
        CLOCK_SHAPE,
        clocked("clock_in", "2026-11-24T01:00:00Z", TIMECARD),
    ),
    EventType(
        "staff.clocked_out",
        HOURS,
        "Somebody went home.",
        "Karyawan absen pulang.",
        CLOCK_SHAPE,
        clocked("clock_out", "2026-11-24T09:02:00Z", ENDED_TIMECARD),
    ),
    EventType(
        "staff.break_started",
        HOURS,
        "Somebody began a break.",
        "Karyawan mulai istirahat.",
        CLOCK_SHAPE,
        clocked("break_start", "2026-11-24T05:00:00Z", ON_BREAK),
    ),
    EventType(
        "staff.break_ended",
        HOURS,
        "Somebody came back from a break.",
        "Karyawan selesai istirahat.",
        CLOCK_SHAPE,
        clocked(
            "break_end",
            "2026-11-24T05:45:00Z",
            TIMECARD | {"version": 3, "breaks": ENDED_TIMECARD["breaks"]},
        ),
    ),
    EventType(
        "staff.timecard_edited",
        HOURS,
        "The hours of somebody were corrected.",
        "Jam kerja karyawan dikoreksi.",
        CLOCK_SHAPE,
        clocked("timecard_edited", "2026-11-25T02:00:00Z", ENDED_TIMECARD | {"version": 5}),
    ),
    EventType(
        "staff.updated",
        HOURS,
        "Somebody joined, changed role or left.",
        "Karyawan bergabung, berganti peran, atau keluar.",
        {
            "kind": one_of("employee_upserted", "employee_left"),
            "staff": common("Staff"),
            "at": TIME,
            "outlet_id": UUID,
        },
        {
            "kind": "employee_upserted",
            "staff": STAFF | {"role_code": "head_waiter"},
            "at": "2026-11-24T03:00:00Z",
            "outlet_id": OUTLET_ID,
        },
    ),
    EventType(
        "schedule.applied",
        ("staff_schedule_import",),
        "A shift schedule is in force.",
        "Jadwal shift berlaku.",
        {
            "schedule_version": TEXT,
            "changes": many(
                record(
                    {
                        "external_id": TEXT,
                        "staff_external_id": TEXT,
                        "outlet_id": UUID,
                        "role_code": TEXT,
                        "start_at": TIME,
                        "end_at": TIME,
                        "break_min": NUMBER,
                        "status": one_of("draft", "published", "deleted"),
                        "note?": TEXT,
                    }
                )
            ),
        },
        {
            "schedule_version": "2026-W48",
            "changes": [
                {
                    "external_id": "shift-9021",
                    "staff_external_id": "EMP-0093",
                    "outlet_id": OUTLET_ID,
                    "role_code": "waiter",
                    "start_at": "2026-11-25T01:00:00Z",
                    "end_at": "2026-11-25T09:00:00Z",
                    "break_min": 45,
                    "status": "published",
                }
            ],
        },
    ),
    EventType(
        "auth.login_succeeded",
        SIGN_IN,
        "Somebody signed in.",
        "Seseorang berhasil masuk.",
        SIGN_IN_SHAPE,
        SIGNED_IN,
    ),
    EventType(
        "auth.login_failed",
        SIGN_IN,
        "Somebody could not sign in.",
        "Seseorang gagal masuk.",
        SIGN_IN_SHAPE,
        SIGNED_IN | {"method": "pin"},
    ),
    EventType(
        "auth.session_revoked",
        SIGN_IN,
        "A session was ended from elsewhere.",
        "Sesi seseorang diakhiri dari tempat lain.",
        SIGN_IN_SHAPE,
        SIGNED_IN,
    ),
)
