"""Stock: what Posz uses up, and what suppliers bring."""

from abc import abstractmethod
from datetime import date
from typing import Annotated, Any, Literal

from msgspec import Meta

from catalog.capabilities import Direction
from dispatch.contracts import Adapter, Call, InboundAdapter, PartnerEvent
from dispatch.operations.common import OUTLET_ID, Document, StockLine
from dispatch.operations.notation import (
    Cents,
    Contract,
    Done,
    Failure,
    Operation,
    Quantity,
    Record,
    Text,
    Time,
    Words,
    flag,
    number,
    per_outlet,
    secret,
    text,
)


class StockMove(Record, frozen=True):
    event_id: Text
    kind: Literal["sale", "refund", "waste", "count", "transfer", "receive", "adjust"]
    at: Time
    location_id: Text
    lines: Annotated[tuple[StockLine, ...], Meta(min_length=1, max_length=1000)]
    order_id: Text | None = None


class InventoryExportAdapter(Adapter):
    @abstractmethod
    def export_stock_move(self, call: Call, request: StockMove) -> Done:
        """Tell how stock changed, once per `event_id`."""


class SuppliedLine(Record, frozen=True):
    sku: Text
    qty: Quantity
    unit: Text
    cost_cents: Cents | None = None
    expires_on: date | None = None
    lot: Text | None = None


class Supply(Record, frozen=True):
    external_id: Text
    location_id: Text
    at: Time
    lines: Annotated[tuple[SuppliedLine, ...], Meta(min_length=1, max_length=1000)]
    supplier: Text | None = None
    document: Document | None = None


class PurchaseOrder(Record, frozen=True):
    external_id: Text
    location_id: Text
    at: Time
    status: Literal["ordered", "confirmed", "shipped", "received", "cancelled"]
    lines: tuple[SuppliedLine, ...] = ()
    supplier: Text | None = None
    document: Document | None = None


class ItemAvailability(Record, frozen=True):
    sku: Text
    available: bool


class Availabilities(Record, frozen=True):
    external_id: Text
    location_id: Text
    at: Time
    items: Annotated[tuple[ItemAvailability, ...], Meta(min_length=1, max_length=1000)]


class ReplenishAdapter(InboundAdapter):
    @abstractmethod
    def stock_level(self, event: PartnerEvent) -> Supply:
        """Stock as it was counted elsewhere."""

    @abstractmethod
    def stock_received(self, event: PartnerEvent) -> Supply:
        """Goods that arrived."""

    @abstractmethod
    def purchase_order(self, event: PartnerEvent) -> PurchaseOrder:
        """How a purchase order goes."""

    @abstractmethod
    def item_availability(self, event: PartnerEvent) -> Availabilities:
        """Items that ran out or are back."""


SUPPLY: dict[str, Any] = {
    "external_id": "GR-2026-551",
    "location_id": OUTLET_ID,
    "supplier": "CV Tani Makmur",
    "at": "2026-11-24T00:30:00Z",
    "lines": [
        {
            "sku": "BERAS-5KG",
            "qty": "12",
            "unit": "sak",
            "cost_cents": 7800000,
            "expires_on": "2027-05-31",
            "lot": "B-118",
        }
    ],
    "document": {"number": "SJ-88123", "total_cents": 93600000},
}

CONTRACTS = (
    Contract(
        capability="inventory_event_export",
        adapter=InventoryExportAdapter,
        words=Words(
            "Posz tells you when stock changes: by sales, waste, counts, transfers and receipts.",
            "Posz memberi tahu Anda saat stok berubah: karena penjualan, terbuang, opname, "
            "perpindahan, dan penerimaan.",
        ),
        failure=Words(
            "Sent again for seven days; the summary of a day lets you put yourself right.",
            "Dikirim ulang selama tujuh hari; ringkasan harian memungkinkan Anda mencocokkan.",
        ),
        operations=(
            Operation(
                direction=Direction.OUTBOUND,
                words=Words("Stock changed.", "Stok berubah."),
                request=StockMove,
                answer=Done,
                request_example={
                    "event_id": "evt-7001",
                    "kind": "sale",
                    "at": "2026-11-24T05:41:30Z",
                    "location_id": OUTLET_ID,
                    "order_id": "ord-58213",
                    "lines": [
                        {
                            "item_id": "itm-31",
                            "sku": "BERAS-5KG",
                            "name": "Beras",
                            "qty": "-0.3",
                            "unit": "kg",
                            "unit_cost_cents": 1560000,
                            "recipe_id": "rsp-nasi-campur",
                        }
                    ],
                },
                answer_example={},
                failure=Failure.RETRY,
                method=InventoryExportAdapter.export_stock_move,
                key=("event_id",),
                events=(
                    "order.paid",
                    "order.voided",
                    "refund.completed",
                    "inventory.depleted",
                    "inventory.counted",
                    "inventory.wasted",
                    "inventory.received",
                ),
            ),
        ),
        config={
            "location_guid": per_outlet(text("Id of the outlet", "ID outlet")),
            "api_key": secret("API key", "Kunci API"),
            "rollup": flag("Sum up every 15 minutes", "Rangkum tiap 15 menit"),
        },
    ),
    Contract(
        capability="inventory_replenish_inbound",
        adapter=ReplenishAdapter,
        words=Words(
            "You post stock levels, goods received, purchase orders and items that ran out.",
            "Anda mengirim jumlah stok, penerimaan barang, pesanan pembelian, dan item yang habis.",
        ),
        failure=Words(
            "An unknown item waits for a person to map it; none is made up. A count that is far off "
            "needs approval.",
            "Item tak dikenal menunggu dipetakan oleh manusia; tidak ada yang dibuat otomatis. "
            "Hitungan yang jauh berbeda perlu persetujuan.",
        ),
        operations=(
            Operation(
                name="stock.level_set",
                direction=Direction.INBOUND,
                words=Words(
                    "You post stock as it was counted.", "Anda mengirim jumlah stok hasil hitungan."
                ),
                request=Supply,
                request_example=SUPPLY | {"external_id": "SO-2026-77"},
                failure=Failure.SEND_AGAIN,
                method=ReplenishAdapter.stock_level,
                key=("external_id",),
            ),
            Operation(
                name="stock.received",
                direction=Direction.INBOUND,
                words=Words("You post goods that arrived.", "Anda mengirim penerimaan barang."),
                request=Supply,
                request_example=SUPPLY,
                failure=Failure.SEND_AGAIN,
                method=ReplenishAdapter.stock_received,
                key=("external_id",),
            ),
            Operation(
                name="purchase_order.updated",
                direction=Direction.INBOUND,
                words=Words(
                    "You report on a purchase order.", "Anda melaporkan pesanan pembelian."
                ),
                request=PurchaseOrder,
                request_example={
                    "external_id": "PO-2026-209",
                    "location_id": OUTLET_ID,
                    "at": "2026-11-24T02:00:00Z",
                    "status": "shipped",
                    "supplier": "CV Tani Makmur",
                },
                failure=Failure.SEND_AGAIN,
                method=ReplenishAdapter.purchase_order,
                key=("external_id", "status"),
            ),
            Operation(
                name="item.availability",
                direction=Direction.INBOUND,
                words=Words(
                    "You say which items ran out or are back.",
                    "Anda mengabarkan item yang habis atau tersedia lagi.",
                ),
                request=Availabilities,
                request_example={
                    "external_id": "av-18",
                    "location_id": OUTLET_ID,
                    "at": "2026-11-24T04:00:00Z",
                    "items": [{"sku": "ES-KOPI-SUSU", "available": False}],
                },
                failure=Failure.SEND_AGAIN,
                method=ReplenishAdapter.item_availability,
                key=("external_id",),
            ),
        ),
        config={
            "location_guid": per_outlet(text("Id of the outlet", "ID outlet")),
            "auto_availability": flag(
                "Apply availability by itself", "Terapkan ketersediaan otomatis"
            ),
            "variance_percent": number(
                "Per cent that need approval", "Persen yang perlu persetujuan", 0, 100
            ),
        },
    ),
)
