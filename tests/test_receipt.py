from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO

import pytest
import zxingcpp
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dispatch.orders import order_of
from dispatch.receipt import (
    SAMPLES,
    Item,
    Modifier,
    Row,
    Sample,
    build_order,
    code_svg,
    codes,
    line_rows,
    sum_rows,
)
from installs.models import Location

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LUNCH = next(sample for sample in SAMPLES if sample.slug == "lunch")


def make_outlet(**over):
    return Location(**({"name": "Ubud", "city": "Bali", "timezone": "Asia/Makassar"} | over))


def make_sample(*items, **over):
    return Sample("test", "Test", items, **over)


def order(sample=LUNCH, **over):
    return build_order(sample, make_outlet(**over), "order-1", "T-001", NOON)


def test_order_worked_example():
    built = order()

    assert built == {
        "id": "order-1",
        "number": "T-001",
        "version": 1,
        "type": "dine_in",
        "table": "7",
        "closed_at": "2026-11-23T20:00:00+08:00",
        "lines": [
            {
                "id": "1",
                "name": "Nasi goreng kampung",
                "qty": "2",
                "unit_price_cents": 3500000,
                "modifiers": [],
                "total_cents": 7000000,
            },
            {
                "id": "2",
                "name": "Es teh manis",
                "qty": "3",
                "unit_price_cents": 1000000,
                "modifiers": [],
                "total_cents": 3000000,
            },
        ],
        "charges": [
            {"code": "service", "rate_bp": 500, "amount_cents": 500000, "taxable": True},
        ],
        "taxes": [
            {
                "code": "PBJT",
                "rate_bp": 1000,
                "base_cents": 10500000,
                "amount_cents": 1050000,
                "inclusive": False,
            }
        ],
        "discounts": [],
        "subtotal_cents": 10000000,
        "total_cents": 11550000,
    }


@pytest.mark.parametrize(
    ("qty", "unit_price_cents", "total_cents"),
    [("0.5", 1001_00, 501_00), ("0.5", 999_00, 500_00), ("0.355", 237_500_00, 84_313_00)],
)
def test_item_total_is_rounded_half_up_to_whole_rupiah(qty, unit_price_cents, total_cents):
    assert Item("Ikan", qty, unit_price_cents).total_cents == total_cents


def test_modifiers_are_paid_once_per_portion():
    assert Item("Kopi", "2", 28_000_00, (Modifier("Oat", 8_000_00),)).total_cents == 72_000_00


def test_service_and_tax_are_rounded_each_by_themselves():
    built = order(make_sample(Item("Kerupuk", "1", 1_110_00)))

    # 5 % of 1.110 is 55,5; 10 % of 1.166 is 116,6; together 1.283, payable as 1.300.
    assert [item["amount_cents"] for item in built["charges"]] == [56_00, 17_00]
    assert built["taxes"][0]["amount_cents"] == 117_00
    assert built["total_cents"] == 1_300_00


def test_rounding_may_go_down():
    built = order(make_sample(Item("Kerupuk", "1", 1_049_00)), service_rate_bp=0, tax_rate_bp=0)

    assert built["charges"] == [{"code": "rounding", "amount_cents": -49_00, "taxable": False}]
    assert built["total_cents"] == 1_000_00


def test_discount_comes_off_before_service_and_tax():
    built = order(make_sample(Item("Sate", "1", 100_000_00), discount_bp=1000))

    assert built["discounts"][0]["amount_cents"] == 10_000_00
    assert built["charges"][0]["amount_cents"] == 4_500_00
    assert built["taxes"][0]["base_cents"] == 94_500_00
    assert built["total_cents"] == 104_000_00  # 103.950, half up


def test_outlet_without_service_and_tax_has_neither():
    built = order(service_rate_bp=0, tax_rate_bp=0)

    assert (built["charges"], built["taxes"], built["total_cents"]) == ([], [], 100_000_00)


@given(
    items=st.lists(
        st.builds(
            Item,
            st.just("x"),
            st.decimals("0.001", 50, places=3).filter(lambda qty: qty > 0).map(str),
            st.integers(0, 10**9),
        ),
        min_size=1,
        max_size=8,
    ),
    service=st.integers(0, 2000),
    tax=st.integers(0, 1000),
    discount=st.integers(0, 10000),
)
def test_order_always_adds_up_to_a_payable_total(items, service, tax, discount):
    built = order(
        make_sample(*items, discount_bp=discount), service_rate_bp=service, tax_rate_bp=tax
    )

    read = order_of({"order": built}, "IDR")
    parts = [item["amount_cents"] for item in built["charges"] + built["taxes"]]
    off = sum(item["amount_cents"] for item in built["discounts"])
    assert read.subtotal_cents == sum(line.total_cents for line in read.lines)
    assert read.total_cents == read.subtotal_cents - off + sum(parts)
    assert read.total_cents % 100_00 == 0
    assert all(part % 100 == 0 for part in [read.subtotal_cents, off, *parts])


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.slug)
def test_every_sample_is_an_order_that_dispatch_accepts(sample):
    read = order_of({"order": order(sample)}, "IDR")

    assert [line.qty for line in read.lines] == [Decimal(item.qty) for item in sample.items]


def test_line_rows_say_quantity_price_and_extras():
    built = order(
        make_sample(
            Item("Kopi", "2", 28_000_00, (Modifier("Oat", 8_000_00), Modifier("Less sugar"))),
            Item("Ikan", "0.5", 135_000_00, unit="kg"),
        )
    )

    with translation.override("id"):
        rows = line_rows(built)

    assert rows == [
        Row("Kopi", 72_000_00, ("2 x 28.000", "+ Oat 8.000", "+ Less sugar")),
        Row("Ikan", 67_500_00, ("0,5 kg x 135.000",)),
    ]


def test_sum_rows_show_rates_and_rounding_last():
    built = order(make_sample(Item("Sate", "1", 99_999_00), discount_bp=1000), service_rate_bp=750)

    assert sum_rows(built) == [
        Row("Member discount 10%", -10_000_00),
        Row("Service charge 7.5%", 6_750_00),
        Row("Restaurant tax (PB1) 10%", 9_675_00),
        Row("Rounding", -24_00),
    ]


def test_codes_keep_order_and_leave_out_failures():
    results = [
        {"integration": "a", "status": "error", "output": {}},
        {"integration": "b", "status": "ok", "output": make_output("https://b.example/1")},
        {"integration": "c", "status": "ok", "output": make_output("https://c.example/1")},
    ]

    with translation.override("id"):
        printed = codes(results)

    assert [(code.integration, code.label, code.payload) for code in printed] == [
        ("b", "Pindai", "https://b.example/1"),
        ("c", "Pindai", "https://c.example/1"),
    ]


def make_output(payload):
    return {"qr_payload": payload, "label": {"en": "Scan", "id": "Pindai"}, "external_ref": "1"}


@pytest.mark.browser
@pytest.mark.parametrize("length", [30, 300])
def test_code_reads_back_in_a_dark_page(page, length):
    payload = "https://s.example/b/".ljust(length, "x")
    page.emulate_media(color_scheme="dark")
    page.set_content(
        "<body style='background:#000;color:#fff'>"
        f"<svg id=qr style='width:200px;height:200px'>{code_svg(payload)}</svg>"
    )

    shot = Image.open(BytesIO(page.locator("#qr").screenshot()))

    assert [code.text for code in zxingcpp.read_barcodes(shot)] == [payload]
