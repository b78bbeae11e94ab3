"""The generic partner that posts to Posz what it knows first: orders, goods, payments."""

from dispatch.adapters.generic import Noting, told
from dispatch.contracts import PartnerEvent
from dispatch.operations import channels, inventory, payments


class GenericInbound(
    payments.PaymentWebhookAdapter,
    channels.OrderInboundAdapter,
    inventory.ReplenishAdapter,
    Noting,
):
    slug = "*"
    speaks = {
        "payment_webhook_inbound": (1,),
        "order_inbound": (1,),
        "inventory_replenish_inbound": (1,),
    }

    def reported_payment(self, event: PartnerEvent) -> payments.ReportedPayment:
        return told(payments.PaymentWebhookAdapter.reported_payment, event)

    def new_order(self, event: PartnerEvent) -> channels.ChannelOrder:
        return told(channels.OrderInboundAdapter.new_order, event)

    def changed_order(self, event: PartnerEvent) -> channels.ChannelOrder:
        return told(channels.OrderInboundAdapter.changed_order, event)

    def cancelled_order(self, event: PartnerEvent) -> channels.ChannelOrderCancelled:
        return told(channels.OrderInboundAdapter.cancelled_order, event)

    def driver_update(self, event: PartnerEvent) -> channels.DriverUpdate:
        return told(channels.OrderInboundAdapter.driver_update, event)

    def stock_level(self, event: PartnerEvent) -> inventory.Supply:
        return told(inventory.ReplenishAdapter.stock_level, event)

    def stock_received(self, event: PartnerEvent) -> inventory.Supply:
        return told(inventory.ReplenishAdapter.stock_received, event)

    def purchase_order(self, event: PartnerEvent) -> inventory.PurchaseOrder:
        return told(inventory.ReplenishAdapter.purchase_order, event)

    def item_availability(self, event: PartnerEvent) -> inventory.Availabilities:
        return told(inventory.ReplenishAdapter.item_availability, event)
