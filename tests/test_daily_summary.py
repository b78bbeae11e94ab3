"""The sums of a day: what they are, that they balance, and who is told when they do not."""

import json
from datetime import date
from decimal import Decimal

import msgspec
import pytest

from catalog.envelope import ApiError
from dispatch.operations.exports import SUMMARY, DailySummary, Outlet
from tests import trade_day
from tests.factories import keys_of, make_install, make_integration, make_location, make_merchant
from webhooks import outbound
from webhooks.daily_summary import differences, document_of, of_events
from webhooks.event_types.orders import REFUND
from webhooks.models import ClosedDay, Delivery, Event

OUTLET = Outlet(id="out-1", name="Ubud")
DAY = "2026-11-24"


def summed(*events):
    return of_events(events, outlet=OUTLET, business_date=date(2026, 11, 24))


def paid(**over):
    order = {
        "id": "ord-1",
        "version": 1,
        "channel": "pos",
        "covers": 2,
        "business_date": DAY,
        "lines": [
            {"category": "Makanan", "total_cents": 9_000_000, "discount_cents": 1_000_000},
            {"category": "Minuman", "total_cents": 1_000_000},
        ],
        "discounts": [{"amount_cents": 500_000}],
        "charges": [
            {"code": "service", "amount_cents": 475_000},
            {"code": "rounding", "amount_cents": -2_500},
        ],
        "taxes": [{"code": "PBJT", "base_cents": 9_975_000, "amount_cents": 997_500}],
        "subtotal_cents": 10_000_000,
        "total_cents": 10_970_000,
        "payments": [
            {"id": "p-1", "method": "cash", "amount_cents": 10_970_000, "tip_cents": 30_000}
        ],
    }
    return "order.paid", {"order_id": "ord-1", "order": order | over}


def figures(summary):
    return {
        name: getattr(summary, f"{name}_cents")
        for name in ("gross", "discounts", "refunds", "net", "service", "tips", "rounding")
    }


def test_order_is_taken_apart():
    summary = summed(paid())

    assert figures(summary) == {
        "gross": 11_000_000,
        "discounts": 1_500_000,
        "refunds": 0,
        "net": 9_500_000,
        "service": 475_000,
        "tips": 30_000,
        "rounding": -2_500,
    }
    assert [(row.method, row.amount_cents, row.count) for row in summary.payments] == [
        ("cash", 11_000_000, 1)
    ]
    assert [(row.category, row.net_cents) for row in summary.by_category] == [
        ("Makanan", 8_550_000),
        ("Minuman", 950_000),
    ]
    assert (summary.order_count, summary.covers, differences(summary)) == (1, 2, {})


def test_journal_names_every_account():
    lines = summed(paid()).journal

    assert {line.account_code: line.debit_cents - line.credit_cents for line in lines} == {
        "clearing_cash": 11_000_000,
        "sales": -9_500_000,
        "service_payable": -475_000,
        "pbjt_payable": -997_500,
        "tips_payable": -30_000,
        "rounding": 2_500,
    }


def test_order_counts_once_in_its_newest_version():
    tip = [{"id": "p-1", "method": "cash", "amount_cents": 10_970_000, "tip_cents": 50_000}]

    summary = summed(paid(version=2, payments=tip), paid(version=1))

    assert (summary.order_count, summary.tips_cents) == (1, 50_000)


@pytest.mark.parametrize("first", [True, False])
def test_voided_order_does_not_count_whichever_comes_first(first):
    void = ("order.voided", {"order_id": "ord-1"})

    summary = summed(void, paid()) if first else summed(paid(), void)

    assert (summary.order_count, summary.net_cents, summary.journal) == (0, 0, ())


def test_refund_of_the_catalogue_goes_back_by_the_method_it_was_paid_with():
    order = paid(id="ord-58213", payments=[{"id": "pay-3307", "method": "qris", "amount_cents": 1}])
    refund = ("refund.completed", REFUND)

    summary = summed(order, refund, refund)

    assert summary.refunds_cents == 2_800_000
    assert summary.service_cents == 475_000 - 140_000
    assert summary.taxes[0].amount_cents == 997_500 - 294_000
    assert [(row.method, row.amount_cents) for row in summary.payments] == [("qris", 1 - 3_234_000)]


def test_tax_in_the_prices_is_not_sold():
    tax = {"code": "PBJT", "base_cents": 1_000_000, "amount_cents": 100_000, "inclusive": True}
    over = {"charges": [], "discounts": [], "taxes": [tax], "subtotal_cents": 1_100_000}
    line = {"category": "Makanan", "total_cents": 1_100_000}
    pay = [{"id": "p", "method": "qris", "amount_cents": 1_100_000}]

    summary = summed(paid(lines=[line], payments=pay, **over))

    assert (summary.gross_cents, summary.net_cents) == (1_000_000, 1_000_000)
    assert differences(summary) == {}


def test_what_was_not_paid_is_a_line_of_its_own_and_nothing_is_hidden():
    pay = [{"id": "p", "method": "cash", "amount_cents": 10_000_000}]

    summary = summed(paid(payments=pay))

    [line] = [line for line in summary.journal if line.account_code == "suspense"]
    assert (line.debit_cents, line.credit_cents) == (970_000, 0)
    assert differences(summary) == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {}),
        ({"net_cents": 1380000100}, {"net_cents": 100, "payments": -100}),
        ({"journal": SUMMARY["journal"][:-1]}, {"journal": 144900000}),
        ({"tips_cents": 5}, {"payments": -5}),
        ({"by_channel": SUMMARY["by_channel"][:1]}, {"by_channel": -280000000}),
    ],
)
def test_differences_are_named(change, expected):
    summary = msgspec.convert({**SUMMARY, **change}, DailySummary)

    found = differences(summary)

    assert {name: found[name] for name in expected} == expected
    assert bool(found) == bool(expected)


@pytest.mark.parametrize("outlet", range(len(trade_day.OUTLETS)))
def test_day_of_an_outlet_agrees_with_the_oracle(outlet):
    tickets = [item for item in trade_day.tickets_of(400, seed=7) if item.outlet == outlet]
    events = [(kind, data) for it in tickets for kind, _key, data in trade_day.events_of(it)]

    summary = summed(*events)

    assert trade_day.in_rupiah(document_of(summary)) == trade_day.books_of(
        tickets, with_late_refunds=False
    )
    assert differences(summary) == {}
    assert "suspense" not in {line.account_code for line in summary.journal}


# Closing a day


pytestmark = pytest.mark.django_db
BOOKS = {"data_export_destination": 1}


@pytest.fixture
def books():
    row = make_integration(capabilities=BOOKS, outbound_url="http://127.0.0.1:9/")
    keys_of(row)
    return make_install(make_merchant(currency="IDR"), row)


@pytest.fixture
def outlet(books):
    return make_location(books.merchant)


def accept(outlet, kind, data, **over):
    new = outbound.NewEvent(kind, outlet.merchant_id, outlet.pk, None, None, data)
    return outbound.accept_event(new, **over)[0]


def sent(event):
    row = Delivery.objects.select_related("event").get(event=event)
    return json.loads(bytes(row.body or row.event.body))["data"]


def close(outlet, **data):
    return sent(accept(outlet, "business_day.closed", {"business_date": DAY, **data}))


def test_day_that_is_closed_without_a_summary_gets_one(outlet):
    accept(outlet, *paid())

    summary = close(outlet)

    assert (summary["order_count"], summary["net_cents"], summary["revision"]) == (1, 9_500_000, 1)
    assert summary["outlet"] == {"id": str(outlet.pk), "name": outlet.name}


def test_restatement_is_a_new_revision_with_what_came_late(outlet):
    accept(outlet, *paid())
    close(outlet)
    accept(outlet, *paid(id="ord-2"))
    accept(outlet, "refund.completed", {**REFUND, "refund_id": "of-the-next-day"})

    summary = close(outlet)

    assert (summary["revision"], summary["order_count"]) == (2, 2)
    assert summary["refunds_cents"] == 0
    assert list(ClosedDay.objects.values_list("revision", flat=True).order_by("revision")) == [1, 2]


def test_next_day_has_what_came_after_the_closing(outlet):
    accept(outlet, *paid())
    close(outlet)
    accept(outlet, "refund.completed", REFUND)

    next_day = {"business_date": "2026-11-25"}
    summary = sent(accept(outlet, "business_day.closed", next_day))

    assert (summary["order_count"], summary["refunds_cents"]) == (0, 2_800_000)


def test_order_says_itself_to_which_day_it_belongs(outlet):
    accept(outlet, *paid(id="ord-9", business_date="2026-11-25"))
    close(outlet)

    summary = sent(accept(outlet, "business_day.closed", {"business_date": "2026-11-25"}))

    assert summary["order_count"] == 1


def test_other_outlets_do_not_count(outlet):
    accept(make_location(outlet.merchant), *paid())

    assert close(outlet)["order_count"] == 0


def test_summary_of_the_till_goes_out_with_its_revision(outlet):
    given = {name: value for name, value in SUMMARY.items() if name != "revision"}

    assert close(outlet, daily_summary=given) == given | {"revision": 1}
    assert close(outlet, daily_summary=given | {"revision": 4})["revision"] == 4


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"journal": SUMMARY["journal"][:-1]}, "journal"),
        ({"revision": 0}, "revision"),
        ({"business_date": "2026-11-23"}, "business_date"),
        ({"net_cents": "much"}, "net_cents"),
        ({"payments": [{"method": "cash"}]}, "payments[0].amount_cents"),
    ],
)
def test_wrong_summary_is_refused_at_the_door(outlet, change, field):
    with pytest.raises(ApiError) as caught:
        close(outlet, daily_summary=SUMMARY | change)

    assert caught.value.code == "invalid_payload"
    assert list(caught.value.extra["fields"]) == [f"data.daily_summary.{field}"]
    assert not Event.objects.exists()


def test_difference_is_named_in_cents(outlet):
    with pytest.raises(ApiError) as caught:
        close(outlet, daily_summary=SUMMARY | {"journal": SUMMARY["journal"][:-1]})

    assert caught.value.extra["differences"] == {"journal": 144900000}
    assert "144900000" in caught.value.message


@pytest.mark.parametrize("data", [{}, {"business_date": "yesterday"}])
def test_books_need_the_day(outlet, data):
    with pytest.raises(ApiError) as caught:
        accept(outlet, "business_day.closed", data)

    assert list(caught.value.extra["fields"]) == ["data.business_date"]


def test_nobody_who_keeps_no_books_is_asked_for_a_day():
    row = make_integration(outbound_events=["business_day.closed"], outbound_url="http://p.example")
    place = make_location(make_install(make_merchant(), row).merchant)

    assert sent(accept(place, "business_day.closed", {"note": "x"})) == {"note": "x"}


@pytest.mark.parametrize(
    ("sends", "told"),
    [("events", {"order.paid", "business_day.closed"}), ("daily_summary", {"business_day.closed"})],
)
def test_books_choose_what_they_are_sent(books, outlet, sends, told):
    books.config = {"sends": sends, "account_sales": "4-1001"}
    books.save(update_fields=["config"])
    books.merchant.touch(books.merchant_id)

    accept(outlet, *paid())
    accept(outlet, "business_day.closed", {"business_date": DAY})

    assert set(Delivery.objects.values_list("event__type", flat=True)) == told
    row = Delivery.objects.select_related("event").get(event__type="business_day.closed")
    data = json.loads(bytes(row.body or row.event.body))["data"]
    codes = {line["account_code"] for line in data.get("journal", [])}
    assert ("4-1001" in codes, "sales" in codes) == (sends == "daily_summary", False)


def test_rupiah_of_the_oracle_is_decimal():
    assert trade_day.in_rupiah(SUMMARY)["rounding"] == Decimal(-1000)
