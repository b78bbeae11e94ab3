from hypothesis import given
from hypothesis import strategies as st

from dispatch.adapters.spliteasy import bill_amounts
from dispatch.orders import order_of
from tests.factories import make_order

cents = st.integers(min_value=0, max_value=10**11)


@given(
    lines=st.lists(st.tuples(st.integers(1, 20), cents), min_size=1, max_size=8),
    service=cents,
    tax=cents,
    discount=cents,
    total=cents,
    currency=st.sampled_from(["IDR", "JPY", "USD", "EUR"]),
)
def test_bill_always_adds_up(lines, service, tax, discount, total, currency):
    order = make_order(
        currency=currency,
        lines=[
            {"name": "x", "qty": str(qty), "unit_price_cents": unit, "total_cents": qty * unit}
            for qty, unit in lines
        ],
        charges=[{"code": "service", "amount_cents": service}],
        taxes=[{"code": "PBJT", "amount_cents": tax}],
        discounts=[{"name": "d", "amount_cents": discount}],
        subtotal_cents=sum(qty * unit for qty, unit in lines),
        total_cents=total,
    )

    bill = bill_amounts(order_of({"order": order}, "IDR"))

    assert bill["subtotal"] == sum(item["total"] for item in bill["items"])
    assert (
        bill["subtotal"]
        + bill["service_charge"]
        + bill["tax"]
        - bill["discount"]
        + bill["rounding"]
        == bill["total"]
    )


def test_hundredths_of_a_rupiah_go_into_rounding():
    order = make_order(
        lines=[
            {"name": "a", "qty": "1", "unit_price_cents": 1000050, "total_cents": 1000050},
            {"name": "b", "qty": "1", "unit_price_cents": 1000050, "total_cents": 1000050},
        ],
        charges=[],
        taxes=[],
        subtotal_cents=2000100,
        total_cents=2000100,
    )

    bill = bill_amounts(order_of({"order": order}, "IDR"))

    assert (bill["subtotal"], bill["rounding"], bill["total"]) == (20002, -1, 20001)


def test_rounding_charge_of_the_till_is_rounding_and_no_service_charge():
    charges = [
        {"code": "service", "amount_cents": 500000},
        {"code": "rounding", "amount_cents": -3000},
    ]
    order = make_order(charges=charges, total_cents=11547000)

    bill = bill_amounts(order_of({"order": order}, "IDR"))

    assert (bill["service_charge"], bill["rounding"], bill["total"]) == (5000, -30, 115470)


def test_currency_with_cents_keeps_them():
    order = make_order(currency="USD")

    assert bill_amounts(order_of({"order": order}, "IDR"))["total"] == 11550000


def test_weighed_goods_keep_their_fraction():
    line = {"name": "Ikan", "qty": "0.5", "unit_price_cents": 12000000, "total_cents": 6000000}

    items = bill_amounts(order_of({"order": make_order(lines=[line])}, "IDR"))["items"]

    assert items == [{"name": "Ikan", "quantity": 0.5, "unit_price": 120000, "total": 60000}]
