"""Delivery channels: their orders, how these go, and the menu that they show."""

from abc import abstractmethod
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from catalog.capabilities import Direction
from dispatch.contracts import Adapter, Call, InboundAdapter, PartnerEvent
from dispatch.operations.common import Bilingual, Modifier
from dispatch.operations.notation import (
    AtLeastOne,
    Cents,
    Command,
    Contract,
    Count,
    Done,
    Failure,
    Operation,
    Prose,
    Quantity,
    Record,
    Text,
    Time,
    Url,
    Words,
    choice,
    flag,
    number,
    per_outlet,
    secret,
    text,
)

Reason: TypeAlias = Literal["items_out_of_stock", "closed", "busy", "other"]


class ChannelLine(Record, frozen=True):
    id: Text
    external_sku: Text
    name: Text
    qty: Quantity
    unit_price_cents: Cents
    total_cents: Cents
    sku: Text | None = None
    modifiers: tuple[Modifier, ...] = ()
    note: Text | None = None


class ChannelDiscount(Record, frozen=True):
    name: Text
    amount_cents: Cents
    merchant_funded_cents: Cents


class ChannelPrice(Record, frozen=True):
    subtotal_cents: Cents
    total_cents: Cents
    merchant_total_cents: Cents
    tax_cents: Cents | None = None
    packaging_cents: Cents | None = None
    service_cents: Cents | None = None
    delivery_cents: Cents | None = None
    discounts: tuple[ChannelDiscount, ...] = ()


class ChannelPayment(Record, frozen=True):
    kind: Literal["prepaid", "cash"]
    due_cents: Cents


class Orderer(Record, frozen=True):
    name: Text
    phone: Text | None = None
    virtual_contact: Text | None = None


class Delivery(Record, frozen=True):
    address: Prose
    instructions: Prose | None = None
    driver: Text | None = None
    pin: Text | None = None


class ChannelOrder(Record, frozen=True):
    external_order_id: Text
    short_number: Text
    channel: Text
    type: Literal[
        "delivery_by_channel", "delivery_by_restaurant", "pickup", "dine_in", "scan_to_order"
    ]
    acceptance: Literal["auto", "manual"]
    placed_at: Time
    lines: Annotated[tuple[ChannelLine, ...], Meta(min_length=1, max_length=500)]
    price: ChannelPrice
    tax_inclusive: bool
    payment: ChannelPayment
    version: Count
    scheduled_for: Time | None = None
    ready_estimate: Time | None = None
    customer: Orderer | None = None
    delivery: Delivery | None = None
    cutlery: bool | None = None
    table: Text | None = None
    membership_id: Text | None = None
    note: Prose | None = None
    oos_instruction: Text | None = None
    accept_by: Time | None = None


class ChannelOrderCancelled(Record, frozen=True):
    external_order_id: Text
    channel: Text
    version: Count
    by: Literal["customer", "channel", "restaurant"]
    reason: Text | None = None


class DriverUpdate(Record, frozen=True):
    external_order_id: Text
    channel: Text
    version: Count
    status: Literal["assigned", "arrived", "picked_up", "delivered"]
    driver: Text | None = None
    eta: Time | None = None


class OrderInboundAdapter(InboundAdapter):
    @abstractmethod
    def new_order(self, event: PartnerEvent) -> ChannelOrder:
        """An order that a channel took."""

    @abstractmethod
    def changed_order(self, event: PartnerEvent) -> ChannelOrder:
        """The whole order as it is after a change."""

    @abstractmethod
    def cancelled_order(self, event: PartnerEvent) -> ChannelOrderCancelled:
        """An order that is off. It wins over the order itself, whichever comes first."""

    @abstractmethod
    def driver_update(self, event: PartnerEvent) -> DriverUpdate:
        """Where the driver is."""


class OrderEdit(Record, frozen=True):
    line_id: Text
    action: Literal["remove", "update", "add"]
    qty: Quantity | None = None


class OrderProgress(Record, frozen=True):
    external_order_id: Text
    status: Literal[
        "accepted", "rejected", "preparing", "ready", "picked_up", "completed", "cancelled"
    ]
    attempt_group: Count
    reason_code: Reason | None = None
    reason_text: Prose | None = None
    ready_at: Time | None = None
    edits: tuple[OrderEdit, ...] = ()


class OrderStatusAdapter(Adapter):
    @abstractmethod
    def tell_order_status(self, call: Call, request: OrderProgress) -> Done:
        """Tell the channel how an order goes: accepting within ten seconds of the tap."""


class ChannelPrices(Record, frozen=True):
    channel: Text
    price_cents: Cents


class MenuModifier(Record, frozen=True):
    id: Text
    name: Bilingual
    price_cents: Cents
    available: bool


class ModifierGroup(Record, frozen=True):
    id: Text
    name: Bilingual
    min: Count
    max: AtLeastOne
    modifiers: tuple[MenuModifier, ...]


class MenuItem(Record, frozen=True):
    id: Text
    name: Bilingual
    price_cents: Cents
    available: bool
    description: Bilingual | None = None
    prices_by_channel: tuple[ChannelPrices, ...] = ()
    photos: tuple[Url, ...] = ()
    max_stock: Count | None = None
    taxable: bool | None = None
    barcode: Text | None = None
    special: Literal["alcohol", "tobacco"] | None = None
    modifier_groups: tuple[ModifierGroup, ...] = ()


class MenuCategory(Record, frozen=True):
    id: Text
    name: Bilingual
    sequence: Count
    items: tuple[MenuItem, ...]
    hours_id: Text | None = None


Clock: TypeAlias = Annotated[str, Meta(pattern="^([01][0-9]|2[0-4]):[0-5][0-9]$")]


class Hours(Record, frozen=True):
    id: Text
    day: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    opens: Clock
    closes: Clock


class Menu(Record, frozen=True):
    menu_version: Text
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    categories: tuple[MenuCategory, ...]
    hours: tuple[Hours, ...] = ()


class MenuJob(Record, frozen=True):
    job_id: Text
    status: Literal["queued", "processing", "success", "partial", "failed"]


class ItemPatch(Record, frozen=True):
    id: Text
    available: bool
    price_cents: Cents | None = None
    max_stock: Count | None = None


class MenuPatch(Record, frozen=True):
    event_id: Text
    items: tuple[ItemPatch, ...] = ()
    modifiers: tuple[ItemPatch, ...] = ()


class MenuQuestion(Command, frozen=True):
    menu_version: Text | None = None


class MenuProblem(Record, frozen=True):
    path: Text
    message: Prose


class MenuResult(Record, frozen=True):
    job_id: Text
    status: Literal["queued", "processing", "success", "partial", "failed"]
    errors: tuple[MenuProblem, ...] = ()


class MenuSyncAdapter(Adapter):
    @abstractmethod
    def publish_menu(self, call: Call, request: Menu) -> MenuJob:
        """Hand the whole menu over."""

    @abstractmethod
    def patch_menu(self, call: Call, request: MenuPatch) -> Done:
        """Change prices and availability of a few items."""

    @abstractmethod
    def menu_result(self, event: PartnerEvent) -> MenuResult:
        """What became of a menu that was handed over."""


CHANNEL_ORDER: dict[str, Any] = {
    "external_order_id": "GF-2401-778",
    "short_number": "GF-778",
    "channel": "grabfood",
    "type": "delivery_by_channel",
    "acceptance": "manual",
    "placed_at": "2026-11-24T05:11:00Z",
    "ready_estimate": "2026-11-24T05:31:00Z",
    "lines": [
        {
            "id": "1",
            "external_sku": "GRB-NASI-CAMPUR",
            "sku": "NASI-CAMPUR",
            "name": "Nasi campur Bali",
            "qty": "2",
            "unit_price_cents": 6200000,
            "total_cents": 12400000,
            "note": "Sambal dipisah",
        }
    ],
    "price": {
        "subtotal_cents": 12400000,
        "packaging_cents": 300000,
        "delivery_cents": 1200000,
        "discounts": [
            {"name": "GRABHEMAT", "amount_cents": 1000000, "merchant_funded_cents": 400000}
        ],
        "total_cents": 12900000,
        "merchant_total_cents": 12300000,
    },
    "tax_inclusive": True,
    "payment": {"kind": "prepaid", "due_cents": 0},
    "customer": {"name": "Komang", "virtual_contact": "+628001500123"},
    "delivery": {"address": "Jl. Hanoman 21, Ubud", "instructions": "Titip di satpam"},
    "cutlery": False,
    "version": 1,
}
CANCELLED: dict[str, Any] = {
    "external_order_id": "GF-2401-778",
    "channel": "grabfood",
    "version": 2,
    "by": "customer",
    "reason": "Salah alamat",
}
DRIVER: dict[str, Any] = {
    "external_order_id": "GF-2401-778",
    "channel": "grabfood",
    "version": 3,
    "status": "arrived",
    "driver": "Pak Ketut, DK 4512 AB",
}
MENU: dict[str, Any] = {
    "menu_version": "2026-11-24.1",
    "currency": "IDR",
    "categories": [
        {
            "id": "makanan",
            "name": {"id": "Makanan", "en": "Food"},
            "sequence": 1,
            "hours_id": "harian",
            "items": [
                {
                    "id": "NASI-CAMPUR",
                    "name": {"id": "Nasi campur Bali", "en": "Balinese mixed rice"},
                    "price_cents": 5500000,
                    "prices_by_channel": [{"channel": "grabfood", "price_cents": 6200000}],
                    "photos": ["https://cdn.posz.example/menu/nasi-campur.jpg"],
                    "available": True,
                    "taxable": True,
                    "modifier_groups": [
                        {
                            "id": "sambal",
                            "name": {"id": "Sambal", "en": "Sambal"},
                            "min": 0,
                            "max": 2,
                            "modifiers": [
                                {
                                    "id": "matah",
                                    "name": {"id": "Sambal matah", "en": "Raw sambal"},
                                    "price_cents": 0,
                                    "available": True,
                                }
                            ],
                        }
                    ],
                }
            ],
        }
    ],
    "hours": [{"id": "harian", "day": "mon", "opens": "08:00", "closes": "22:00"}],
}
JOB: dict[str, Any] = {"job_id": "job-55", "status": "queued"}
STORE = {
    "store_id": per_outlet(text("Store id at the channel", "ID toko di kanal")),
    "client_id": text("Client id", "ID klien"),
    "client_secret": secret("Client secret", "Rahasia klien"),
}

CONTRACTS = (
    Contract(
        capability="order_inbound",
        adapter=OrderInboundAdapter,
        words=Words(
            "You post orders, their changes and cancellations, and where the driver is.",
            "Anda mengirim pesanan, perubahan, pembatalan, dan posisi pengemudi.",
        ),
        failure=Words(
            "An item that nobody mapped is taken as an open item and flagged; an order is never lost. "
            "A cancellation wins, also over an order that comes after it.",
            "Item yang belum dipetakan diterima sebagai item terbuka dan ditandai; pesanan tidak "
            "pernah hilang. Pembatalan menang, juga atas pesanan yang datang sesudahnya.",
        ),
        operations=(
            Operation(
                name="order.created",
                direction=Direction.INBOUND,
                words=Words("You post a new order.", "Anda mengirim pesanan baru."),
                request=ChannelOrder,
                request_example=CHANNEL_ORDER,
                failure=Failure.SEND_AGAIN,
                method=OrderInboundAdapter.new_order,
                key=("channel", "external_order_id", "version"),
            ),
            Operation(
                name="order.updated",
                direction=Direction.INBOUND,
                words=Words(
                    "You post the whole order as it is after a change.",
                    "Anda mengirim pesanan lengkap setelah perubahan.",
                ),
                request=ChannelOrder,
                request_example=CHANNEL_ORDER | {"version": 2, "note": "Tanpa kacang"},
                failure=Failure.SEND_AGAIN,
                method=OrderInboundAdapter.changed_order,
                key=("channel", "external_order_id", "version"),
            ),
            Operation(
                name="order.cancelled",
                direction=Direction.INBOUND,
                words=Words("You cancel an order.", "Anda membatalkan pesanan."),
                request=ChannelOrderCancelled,
                request_example=CANCELLED,
                failure=Failure.SEND_AGAIN,
                method=OrderInboundAdapter.cancelled_order,
                key=("channel", "external_order_id", "version"),
            ),
            Operation(
                name="order.driver_update",
                direction=Direction.INBOUND,
                words=Words("You say where the driver is.", "Anda mengabarkan posisi pengemudi."),
                request=DriverUpdate,
                request_example=DRIVER,
                failure=Failure.SEND_AGAIN,
                method=OrderInboundAdapter.driver_update,
                key=("channel", "external_order_id", "version"),
            ),
        ),
        config={
            **STORE,
            "auto_accept": flag("Accept by itself", "Terima otomatis"),
            "accept_minutes": number("Minutes to accept", "Menit untuk menerima", 1, 120),
            "prep_minutes": number("Minutes to prepare", "Menit persiapan", 1, 240),
            "tax_handling": choice(
                "Prices are",
                "Harga",
                {
                    "tax_inclusive": Words("With tax", "Termasuk pajak"),
                    "tax_exclusive": Words("Before tax", "Belum termasuk pajak"),
                },
            ),
        },
    ),
    Contract(
        capability="order_status_outbound",
        adapter=OrderStatusAdapter,
        words=Words(
            "Posz tells you when an order is accepted, rejected, cooked, ready or handed over.",
            "Posz memberi tahu Anda saat pesanan diterima, ditolak, dimasak, siap, atau diserahkan.",
        ),
        failure=Words(
            "Sent again until the time to accept is over; then staff are told to use your own tablet.",
            "Dikirim ulang sampai batas waktu penerimaan; setelah itu staf diminta memakai tablet "
            "kanal Anda.",
        ),
        operations=(
            Operation(
                direction=Direction.OUTBOUND,
                words=Words("An order moved on.", "Pesanan berubah status."),
                request=OrderProgress,
                answer=Done,
                request_example={
                    "external_order_id": "GF-2401-778",
                    "status": "accepted",
                    "attempt_group": 1,
                    "ready_at": "2026-11-24T05:31:00Z",
                },
                answer_example={},
                failure=Failure.RETRY,
                method=OrderStatusAdapter.tell_order_status,
                key=("external_order_id", "status", "attempt_group"),
                events=(
                    "channel_order.accepted",
                    "channel_order.rejected",
                    "order.sent_to_kitchen",
                    "order.ready",
                    "order.completed",
                    "order.voided",
                ),
            ),
        ),
        config=STORE,
    ),
    Contract(
        capability="menu_sync_outbound",
        adapter=MenuSyncAdapter,
        words=Words(
            "Posz hands you the menu when it is published, and changes as they happen. You may also "
            "fetch it, and you post what became of it.",
            "Posz menyerahkan menu saat diterbitkan, dan perubahannya saat terjadi. Anda juga dapat "
            "mengambilnya, dan Anda mengirim hasilnya.",
        ),
        failure=Words(
            "Sent again. The last good menu stays, and the merchant sees what is wrong, item by item.",
            "Dikirim ulang. Menu baik terakhir tetap berlaku, dan merchant melihat kesalahannya per "
            "item.",
        ),
        operations=(
            Operation(
                name="full",
                direction=Direction.OUTBOUND,
                words=Words("Take the whole menu.", "Terima seluruh menu."),
                request=Menu,
                answer=MenuJob,
                request_example=MENU,
                answer_example=JOB,
                failure=Failure.RETRY,
                method=MenuSyncAdapter.publish_menu,
                key=("menu_version",),
                events=("menu.published", "store.hours_changed"),
            ),
            Operation(
                name="patch",
                direction=Direction.OUTBOUND,
                words=Words(
                    "Change prices and availability of a few items.",
                    "Ubah harga dan ketersediaan beberapa item.",
                ),
                request=MenuPatch,
                answer=Done,
                request_example={
                    "event_id": "evt-8812",
                    "items": [{"id": "NASI-CAMPUR", "available": False, "max_stock": 0}],
                },
                answer_example={},
                failure=Failure.RETRY,
                method=MenuSyncAdapter.patch_menu,
                key=("event_id",),
                events=("item.availability_changed", "price.changed"),
            ),
            Operation(
                name="menu.get",
                direction=Direction.INBOUND,
                words=Words("You fetch the menu.", "Anda mengambil menu."),
                request=MenuQuestion,
                answer=Menu,
                request_example={},
                answer_example=MENU,
                failure=Failure.SEND_AGAIN,
            ),
            Operation(
                name="menu.result",
                direction=Direction.INBOUND,
                words=Words(
                    "You report what became of a menu.", "Anda melaporkan hasil penerapan menu."
                ),
                request=MenuResult,
                request_example={
                    "job_id": "job-55",
                    "status": "partial",
                    "errors": [
                        {
                            "path": "categories[0].items[0].photos[0]",
                            "message": "Foto terlalu kecil",
                        }
                    ],
                },
                failure=Failure.SEND_AGAIN,
                method=MenuSyncAdapter.menu_result,
                key=("job_id", "status"),
            ),
        ),
        config={
            **STORE,
            "price_book": text("Price book", "Buku harga"),
            "tax_inclusive": flag("Prices with tax", "Harga termasuk pajak"),
        },
    ),
)
