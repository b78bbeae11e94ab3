from uuid import UUID, uuid4

from installs.scope import (
    Conflict,
    Reason,
    ScopedInstall,
    answering,
    conflicts,
    effective_installs,
    seats,
)

JAKARTA, UBUD = uuid4(), uuid4()


def scoped(
    integration: str,
    location: UUID | None = None,
    *,
    is_enabled: bool = True,
    capability: str = "pay_at_table",
) -> ScopedInstall:
    return ScopedInstall(uuid4(), integration, location, is_enabled, frozenset({capability}))


def test_effective_location_row_beats_merchant_wide_row():
    wide, ubud = scoped("x"), scoped("x", UBUD)

    assert effective_installs([wide, ubud], UBUD) == [ubud]
    assert effective_installs([wide, ubud], JAKARTA) == [wide]


def test_answering_disabled_location_row_is_off_there_although_merchant_wide_is_on():
    wide, ubud = scoped("x"), scoped("x", UBUD, is_enabled=False)

    assert answering([wide, ubud], "pay_at_table", UBUD) == []
    assert [seat.reason for seat in seats([wide, ubud], "pay_at_table", UBUD)] == [
        Reason.DISABLED_HERE
    ]


def test_answering_keeps_install_order():
    rows = [scoped(name, capability="receipt_qr") for name in ("c", "a", "b")]

    assert answering(rows, "receipt_qr", UBUD) == rows


def test_seats_past_the_cap_say_so():
    rows = [scoped(name, capability="receipt_qr") for name in ("a", "b", "c", "d")]

    reasons = [seat.reason for seat in seats(rows, "receipt_qr", UBUD)]

    assert reasons == [Reason.ANSWERS_EVERYWHERE] * 3 + [Reason.CAP_REACHED]


def test_seats_disabled_keeps_its_place_in_the_cap():
    off = scoped("a", is_enabled=False, capability="receipt_pretext")
    on = scoped("b", capability="receipt_pretext")

    assert answering([off, on], "receipt_pretext", UBUD) == []


def test_conflicts_replace_in_other_locations_do_not_overlap():
    assert conflicts([scoped("x", JAKARTA)], scoped("y", UBUD), [JAKARTA, UBUD]) == []


def test_conflicts_merchant_wide_replace_overlaps_every_location():
    holder = scoped("x", JAKARTA)

    found = conflicts([holder], scoped("y"), [JAKARTA, UBUD])

    assert found == [Conflict("pay_at_table", (JAKARTA,), (holder,))]


def test_conflicts_location_row_against_merchant_wide_holder():
    holder = scoped("x")

    found = conflicts([holder], scoped("y", UBUD), [JAKARTA, UBUD])

    assert found == [Conflict("pay_at_table", (UBUD,), (holder,))]


def test_conflicts_without_any_location_are_seen_for_those_to_come():
    holder = scoped("x")

    assert conflicts([holder], scoped("y"), []) == [Conflict("pay_at_table", (None,), (holder,))]


def test_conflicts_disabled_holder_still_holds():
    holder = scoped("x", is_enabled=False)

    assert [found.holders for found in conflicts([holder], scoped("y"), [UBUD])] == [(holder,)]


def test_conflicts_override_of_the_own_integration_takes_no_new_place():
    assert conflicts([scoped("x")], scoped("x", UBUD), [JAKARTA, UBUD]) == []


def test_conflicts_fourth_of_three_places():
    rows = [scoped(name, capability="receipt_qr") for name in ("a", "b", "c")]

    found = conflicts(rows, scoped("d", UBUD, capability="receipt_qr"), [JAKARTA, UBUD])

    assert found == [Conflict("receipt_qr", (UBUD,), tuple(rows))]


def test_conflicts_uncapped_add_never_conflicts():
    rows = [scoped(str(number), capability="payment_webhook_inbound") for number in range(30)]

    assert conflicts(rows, scoped("z", capability="payment_webhook_inbound"), [UBUD]) == []
