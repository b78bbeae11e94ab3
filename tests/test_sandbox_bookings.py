"""The book of the sandbox: what was booked, changed and told is what it shows."""

import pytest

from dispatch.operations import newest
from dispatch.sandbox.operations import Operations

EVENING = {"from": "2026-12-01T11:00:00Z", "to": "2026-12-01T12:30:00Z"}
NEW = {
    "id": "res-1",
    "party_size": 4,
    "start_at": "2026-12-01T12:00:00Z",
    "duration_s": 7200,
    "guest": {"id": "cus-1", "name": "Ni Luh"},
    "source": "till",
}


@pytest.fixture
def partner():
    return Operations()


def ask(partner, operation, data, install="i-1"):
    contract = newest("reservation_provider")
    return partner.answer(install, contract, operation, data)


def book_of(partner, day, install="i-1"):
    return ask(partner, "list", {"date": day}, install)["reservations"]


def test_times_are_of_the_evening_that_was_asked_for(partner):
    asked = {"date": "2026-12-01", "party_size": 4, **EVENING}

    slots = ask(partner, "availability", asked)["slots"]

    assert [item["start_at"] for item in slots] == [
        "2026-12-01T11:00:00.000Z",
        "2026-12-01T11:30:00.000Z",
        "2026-12-01T12:00:00.000Z",
    ]


def test_booking_is_in_the_book_of_its_day_and_install(partner):
    booked = ask(partner, "create", NEW)

    [found] = book_of(partner, "2026-12-01")
    assert found == booked
    assert (found["guest"]["name"], found["start_at"]) == ("Ni Luh", NEW["start_at"])
    assert book_of(partner, "2026-12-02") == []
    assert book_of(partner, "2026-12-01", "i-2") == []


def test_change_keeps_what_it_does_not_name(partner):
    number = ask(partner, "create", NEW)["external_id"]

    changed = ask(partner, "update", {"external_id": number, "sequence": 2, "party_size": 5})

    assert (changed["party_size"], changed["start_at"]) == (5, NEW["start_at"])
    assert book_of(partner, "2026-12-01") == [changed]


def test_cancelled_booking_says_who_cancelled(partner):
    number = ask(partner, "create", NEW)["external_id"]

    ask(partner, "cancel", {"external_id": number, "sequence": 2, "by": "guest"})

    assert [item["status"] for item in book_of(partner, "2026-12-01")] == ["cancelled_guest"]


def test_what_the_restaurant_tells_is_in_the_book(partner):
    number = ask(partner, "create", NEW)["external_id"]

    partner.bookings.told({"external_id": number, "status": "seated"})

    assert [item["status"] for item in book_of(partner, "2026-12-01")] == ["seated"]
