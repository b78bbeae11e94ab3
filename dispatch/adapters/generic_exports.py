"""The generic partner to which Posz tells things: exports, statuses and menus.

What happens in the POS goes out as deliveries; these are the same operations for whoever asks a partner
directly.
"""

from dispatch.adapters.generic import Noting, asked, told
from dispatch.contracts import Call, PartnerEvent
from dispatch.operations import channels, customers, exports, inventory, reservations, staff
from dispatch.operations.notation import Done


class GenericExports(
    reservations.ReservationStatusAdapter,
    channels.OrderStatusAdapter,
    channels.MenuSyncAdapter,
    customers.CustomerExportAdapter,
    customers.CustomerEventAdapter,
    inventory.InventoryExportAdapter,
    staff.StaffExportAdapter,
    exports.DataExportAdapter,
    Noting,
):
    slug = "*"
    speaks = {
        "reservation_status_outbound": (1,),
        "order_status_outbound": (1,),
        "menu_sync_outbound": (1,),
        "customer_export": (1,),
        "customer_event_export": (1,),
        "inventory_event_export": (1,),
        "staff_event_export": (1,),
        "data_export_destination": (1,),
    }

    def tell_reservation_status(
        self, call: Call, request: reservations.ReservationProgress
    ) -> Done:
        return asked(reservations.ReservationStatusAdapter.tell_reservation_status, call, request)

    def tell_order_status(self, call: Call, request: channels.OrderProgress) -> Done:
        return asked(channels.OrderStatusAdapter.tell_order_status, call, request)

    def publish_menu(self, call: Call, request: channels.Menu) -> channels.MenuJob:
        return asked(channels.MenuSyncAdapter.publish_menu, call, request)

    def patch_menu(self, call: Call, request: channels.MenuPatch) -> Done:
        return asked(channels.MenuSyncAdapter.patch_menu, call, request)

    def menu_result(self, event: PartnerEvent) -> channels.MenuResult:
        return told(channels.MenuSyncAdapter.menu_result, event)

    def export_customers(self, call: Call, request: customers.Profiles) -> customers.TakenProfiles:
        return asked(customers.CustomerExportAdapter.export_customers, call, request)

    def confirmed_erasure(self, event: PartnerEvent) -> customers.Erasure:
        return told(customers.CustomerExportAdapter.confirmed_erasure, event)

    def export_behaviour(self, call: Call, request: customers.Behaviour) -> Done:
        return asked(customers.CustomerEventAdapter.export_behaviour, call, request)

    def export_stock_move(self, call: Call, request: inventory.StockMove) -> Done:
        return asked(inventory.InventoryExportAdapter.export_stock_move, call, request)

    def export_staff_event(self, call: Call, request: staff.StaffEvent) -> Done:
        return asked(staff.StaffExportAdapter.export_staff_event, call, request)

    def export_events(self, call: Call, request: exports.ExportedEvents) -> exports.TakenEvents:
        return asked(exports.DataExportAdapter.export_events, call, request)

    def export_daily_summary(self, call: Call, request: exports.DailySummary) -> Done:
        return asked(exports.DataExportAdapter.export_daily_summary, call, request)
