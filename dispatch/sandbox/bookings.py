"""The book of reservations of a partner of the sandbox, one per install, in memory.

Remembered, because who opens the book at the till looks for the booking that was just made.
"""

import hashlib
import threading
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dispatch.sandbox.messages import now, rfc3339

MOST_BOOKINGS = 10_000
# No question says in which zone an outlet is, so a day is one in the middle of Indonesia.
ZONE = ZoneInfo("Asia/Makassar")
STEP = timedelta(minutes=30)
MOST_SLOTS = 4

Booking = dict[str, Any]


class Bookings:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], Booking] = OrderedDict()

    def answer(
        self, install_id: str, operation: str, data: dict[str, Any], example: dict[str, Any]
    ) -> dict[str, Any]:
        """The example of the contract, brought up to what was asked and what is known."""
        match operation:
            case "availability":
                return {"slots": _slots(data, example["slots"][0])}
            case "create":
                return self._keep(install_id, _booked(data, example))
            case "update":
                return self._changed(install_id, data, data, example)
            case "cancel":
                by = "guest" if data["by"] == "guest" else "venue"
                return self._changed(install_id, data, {"status": f"cancelled_{by}"}, example)
            case "list":
                return {"reservations": self._of_day(install_id, data["date"])}
            case _:
                return example

    def told(self, data: dict[str, Any]) -> None:
        """What became of a booking at the restaurant. Its number says whose it is."""
        number, status = data.get("external_id"), data.get("status")
        if not isinstance(status, str):
            return
        with self._lock:
            for (_install_id, known_number), known in self._known.items():
                if known_number == number:
                    known |= {"status": status, "updated_at": rfc3339(now())}

    def _keep(self, install_id: str, booking: Booking) -> Booking:
        with self._lock:
            self._known[install_id, booking["external_id"]] = booking
            if len(self._known) > MOST_BOOKINGS:
                self._known.popitem(last=False)
            return dict(booking)

    def _changed(
        self, install_id: str, asked: dict[str, Any], change: dict[str, Any], example: Booking
    ) -> Booking:
        """Nobody's booking is that of the example, so that every partner can be tried."""
        with self._lock:
            known = self._known.get((install_id, asked["external_id"]), dict(example))
            known |= {name: value for name, value in change.items() if name in known}
            known |= {"external_id": asked["external_id"], "sequence": asked["sequence"]}
            known["updated_at"] = rfc3339(now())
            return dict(known)

    def _of_day(self, install_id: str, day: str) -> list[Booking]:
        with self._lock:
            mine = [dict(item) for key, item in self._known.items() if key[0] == install_id]
        found = [item for item in mine if _moment(item["start_at"]).date().isoformat() == day]
        return sorted(found, key=lambda item: _moment(item["start_at"]))


def _booked(data: dict[str, Any], example: Booking) -> Booking:
    number = hashlib.sha256(data["id"].encode()).hexdigest()[:6]
    named = {name: data[name] for name in data if name != "hold_id"}
    fixed = {"external_id": f"G-{number}", "status": "confirmed", "sequence": 1}
    return example | named | fixed | {"updated_at": rfc3339(now())}


def _slots(data: dict[str, Any], example: dict[str, Any]) -> list[dict[str, Any]]:
    """From the first time that was asked for, every half hour, the later the fewer tables."""
    first, last = _moment(data["from"]), _moment(data["to"])
    starts = [first + number * STEP for number in range(MOST_SLOTS) if first + number * STEP < last]
    area = {"area": data["area"]} if data.get("area") else {}
    return [
        example | {"start_at": rfc3339(start.astimezone(UTC)), "available": MOST_SLOTS - at} | area
        for at, start in enumerate(starts)
    ]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(ZONE)
