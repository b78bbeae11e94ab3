"""What is sold and what is in store: the menu, opening hours and stock."""

from typing import Any

from webhooks.event_types.common import OUTLET_ID
from webhooks.event_types.notation import (
    BILINGUAL,
    CENTS,
    COUNT,
    DATE,
    FLAG,
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

MENU, STOCK = ("menu_sync_outbound",), ("inventory_event_export",)
HOURS = ("menu_sync_outbound", "order_inbound")
CLOCK = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}
ITEM_SHAPE = {
    "items": many(
        record({"id": TEXT, "available?": FLAG, "price_cents?": CENTS, "max_stock?": COUNT})
    )
}
KINDS = ("sale", "refund", "waste", "count", "transfer", "receive", "adjust")
STOCK_SHAPE = {
    "kind": one_of(*KINDS),
    "at": TIME,
    "location_id": UUID,
    "lines": many(common("StockLine")),
    "order_id?": TEXT,
}


def moved(kind: str, qty: str, **over: Any) -> dict[str, Any]:
    line = {"item_id": "itm-77", "sku": "BERAS-PREMIUM", "name": "Beras premium", "unit": "kg"}
    return {
        "kind": kind,
        "at": "2026-11-24T05:42:00Z",
        "location_id": OUTLET_ID,
        "lines": [{**line, "qty": qty, "unit_cost_cents": 1650000, **over}],
    }


EVENTS = (
    EventType(
        "menu.published",
        MENU,
        "A new version of the menu is in force.",
        "Versi menu yang baru berlaku.",
        {
            "menu_version": TEXT,
            "currency": TEXT,
            "categories": many(
                record(
                    {
                        "id": TEXT,
                        "name": BILINGUAL,
                        "sequence": NUMBER,
                        "items": many(
                            record(
                                {
                                    "id": TEXT,
                                    "name": TEXT,
                                    "description?": TEXT,
                                    "price_cents": CENTS,
                                    "available": FLAG,
                                    "taxable": FLAG,
                                }
                            )
                        ),
                    }
                )
            ),
        },
        {
            "menu_version": "2026-11-24.2",
            "currency": "IDR",
            "categories": [
                {
                    "id": "cat-1",
                    "name": {"en": "Food", "id": "Makanan"},
                    "sequence": 1,
                    "items": [
                        {
                            "id": "NASI-CAMPUR",
                            "name": "Nasi campur Bali",
                            "description": "Nasi, ayam betutu, sate lilit, sambal matah",
                            "price_cents": 5500000,
                            "available": True,
                            "taxable": True,
                        }
                    ],
                }
            ],
        },
    ),
    EventType(
        "item.availability_changed",
        MENU,
        "Items ran out or are back.",
        "Menu habis atau tersedia kembali.",
        ITEM_SHAPE,
        {"items": [{"id": "NASI-CAMPUR", "available": False, "max_stock": 0}]},
    ),
    EventType(
        "price.changed",
        MENU,
        "Prices changed.",
        "Harga berubah.",
        ITEM_SHAPE,
        {"items": [{"id": "ES-KOPI-SUSU", "available": True, "price_cents": 3000000}]},
    ),
    EventType(
        "store.hours_changed",
        HOURS,
        "Opening hours changed.",
        "Jam buka berubah.",
        {
            "hours": many(
                record(
                    {
                        "day": one_of("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
                        "from": CLOCK,
                        "to": CLOCK,
                    }
                )
            ),
            "special": many(
                record({"date": DATE, "closed": FLAG, "from?": CLOCK, "to?": CLOCK, "note?": TEXT})
            ),
        },
        {
            "hours": [{"day": "sat", "from": "08:00", "to": "23:00"}],
            "special": [{"date": "2027-03-08", "closed": True, "note": "Nyepi"}],
        },
    ),
    EventType(
        "store.paused",
        HOURS,
        "An outlet takes no orders for a while.",
        "Outlet berhenti menerima pesanan untuk sementara.",
        {"paused_until?": TIME, "reason": TEXT},
        {"paused_until": "2026-11-24T07:00:00Z", "reason": "Dapur penuh"},
    ),
    EventType(
        "inventory.depleted",
        STOCK,
        "Stock went down through sales.",
        "Stok berkurang karena penjualan.",
        STOCK_SHAPE,
        moved("sale", "0.30", recipe_id="rcp-12") | {"order_id": "ord-58213"},
    ),
    EventType(
        "inventory.counted",
        STOCK,
        "Stock was counted.",
        "Stok opname dilakukan.",
        STOCK_SHAPE,
        moved("count", "48.5"),
    ),
    EventType(
        "inventory.wasted",
        STOCK,
        "Stock was thrown away.",
        "Stok terbuang.",
        STOCK_SHAPE,
        moved("waste", "1.2", reason="Kedaluwarsa"),
    ),
    EventType(
        "inventory.low",
        STOCK,
        "Stock fell below its limit; `qty` is what is left.",
        "Stok di bawah batas; `qty` adalah sisanya.",
        STOCK_SHAPE,
        moved("adjust", "4"),
    ),
    EventType(
        "inventory.received",
        STOCK,
        "Goods came in.",
        "Barang diterima.",
        STOCK_SHAPE,
        moved("receive", "50"),
    ),
)
