"""The 21 capabilities of Posz: the only registry, in code because each one is a place in the POS.

Names never change. `cap` counts different integrations that may answer at one location; None means
no limit. `replace` is exclusive, so its cap is one. `budget_ms` is the time a till waits for all
answers together; None where nobody waits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Mode(StrEnum):
    ADD = "add"
    REPLACE = "replace"


class Status(StrEnum):
    LIVE = "live"
    RESERVED = "reserved"


class Direction(StrEnum):
    SYNC = "sync"
    OUTBOUND = "outbound"
    INBOUND = "inbound"


@dataclass(frozen=True, slots=True)
class Capability:
    name: str
    surface: Promise
    mode: Mode
    direction: Direction
    shares: Promise
    cap: int | None = None
    budget_ms: int | None = None
    versions: tuple[int, ...] = (1,)
    # Cannot differ from outlet to outlet.
    is_merchant_wide: bool = False

    @property
    def status(self) -> Status:
        """Live as soon as an adapter speaks it, for then somebody can be asked."""
        is_spoken = any(
            name == self.name and versions for (_slug, name), versions in _spoken.items()
        )
        return Status.LIVE if is_spoken else Status.RESERVED

    @property
    def places(self) -> int | None:
        """How many integrations may hold this capability at one location."""
        return 1 if self.mode is Mode.REPLACE else self.cap


ANY_INTEGRATION = "*"
# What code there is: the contract versions of a capability that an integration's adapter speaks.
_spoken: dict[tuple[str, str], frozenset[int]] = {}

ADD, REPLACE = Mode.ADD, Mode.REPLACE
SYNC, OUTBOUND, INBOUND = Direction.SYNC, Direction.OUTBOUND, Direction.INBOUND

ORDER_DATA = _("the order: items, prices, table and total")
PAYMENT_DATA = _("the amount, the order number and the payment result")
RESERVATION_DATA = _("bookings: guest name, contact, party size and time")
CUSTOMER_DATA = _("customer profiles that gave their consent")
STAFF_DATA = _("staff names, shifts and clock times")
STOCK_DATA = _("stock items, quantities and costs")

CAPABILITIES: dict[str, Capability] = {
    item.name: item
    for item in (
        Capability(
            "receipt_qr",
            _("QR/text appended to printed + digital receipt"),
            ADD,
            SYNC,
            ORDER_DATA,
            cap=3,
            budget_ms=800,
            versions=(1, 2),
        ),
        Capability(
            "receipt_pretext",
            _("Text block above receipt totals"),
            ADD,
            SYNC,
            ORDER_DATA,
            cap=1,
            budget_ms=500,
        ),
        Capability(
            "payment_method",
            _("New choice on cashier checkout screen"),
            ADD,
            SYNC,
            PAYMENT_DATA,
            budget_ms=5000,
        ),
        Capability(
            "pay_at_table",
            _("Replaces Posz’s diner-side per-guest QR pay"),
            REPLACE,
            SYNC,
            ORDER_DATA,
            budget_ms=3000,
        ),
        Capability(
            "payment_webhook_inbound",
            _("Provider posts back when a charge captures"),
            ADD,
            INBOUND,
            PAYMENT_DATA,
        ),
        Capability(
            "tax_invoice_provider",
            _("Replaces Posz’s built-in NPWP counter"),
            REPLACE,
            SYNC,
            ORDER_DATA,
            budget_ms=5000,
        ),
        Capability(
            "reservation_provider",
            _("Pushes bookings into Posz reservations"),
            REPLACE,
            SYNC,
            RESERVATION_DATA,
            budget_ms=3000,
        ),
        Capability(
            "reservation_status_outbound",
            _("Posz tells provider seated/no-show"),
            ADD,
            OUTBOUND,
            RESERVATION_DATA,
        ),
        Capability(
            "order_inbound",
            _("Aggregator pushes orders into Posz"),
            ADD,
            INBOUND,
            ORDER_DATA,
        ),
        Capability(
            "order_status_outbound",
            _("Posz tells aggregator order ready"),
            ADD,
            OUTBOUND,
            ORDER_DATA,
        ),
        Capability(
            "menu_sync_outbound",
            _("Posz pushes menu deltas to aggregator"),
            ADD,
            OUTBOUND,
            _("the menu: items, prices, photos and availability"),
        ),
        Capability(
            "loyalty_provider",
            _("Replaces Posz internal loyalty"),
            REPLACE,
            SYNC,
            CUSTOMER_DATA,
            budget_ms=3000,
        ),
        Capability(
            "customer_export",
            _("Push customer profiles to CRM"),
            ADD,
            OUTBOUND,
            CUSTOMER_DATA,
        ),
        Capability(
            "customer_event_export",
            _("Push behavioral events to CRM"),
            ADD,
            OUTBOUND,
            _("what customers who gave their consent ordered and when"),
        ),
        Capability(
            "notification_provider",
            _("Swap WhatsApp/SMS/email infrastructure"),
            REPLACE,
            SYNC,
            _("the message and the recipient’s number or address"),
            budget_ms=5000,
        ),
        Capability(
            "inventory_event_export",
            _("Push stock changes to procurement"),
            ADD,
            OUTBOUND,
            STOCK_DATA,
        ),
        Capability(
            "inventory_replenish_inbound",
            _("Receive PO/receive-goods events"),
            ADD,
            INBOUND,
            STOCK_DATA,
        ),
        Capability(
            "staff_event_export",
            _("Push shift/clock events to HR"),
            ADD,
            OUTBOUND,
            STAFF_DATA,
        ),
        Capability(
            "staff_schedule_import",
            _("Pull shift schedule from HR"),
            ADD,
            INBOUND,
            STAFF_DATA,
        ),
        Capability(
            "data_export_destination",
            _("Bulk data export to BI"),
            ADD,
            OUTBOUND,
            _("sales, payments, taxes and refunds"),
        ),
        Capability(
            "auth_provider",
            _("SSO replace for owner login"),
            REPLACE,
            SYNC,
            _("the e-mail address and name of staff who sign in"),
            budget_ms=10000,
            is_merchant_wide=True,
        ),
    )
}


def announce_adapter(slug: str, capability: str, versions: Iterable[int]) -> None:
    """Tell the catalog that code exists which speaks these contract versions.

    `slug` is one integration, or `ANY_INTEGRATION` for the generic adapter.
    """
    _spoken[slug, capability] = frozenset(versions) | _spoken.get((slug, capability), frozenset())


def has_adapter(slug: str, capability: str, version: int) -> bool:
    return any(version in _spoken.get((key, capability), ()) for key in (slug, ANY_INTEGRATION))


# Of customers only what they consented to may leave through these.
NEED_CONSENT = frozenset({"customer_export", "customer_event_export"})
_causes: dict[tuple[str, int], frozenset[str]] = {}


def announce_events(capability: str, version: int, events: Iterable[str]) -> None:
    """Tell the catalog which domain events cause an operation of this contract."""
    _causes[capability, version] = frozenset(events)


def caused_by(event_type: str, versions: Mapping[str, int]) -> tuple[str, ...]:
    """Those of the capabilities whose partner is told when this happens, in their order here."""
    return tuple(
        name
        for name in CAPABILITIES
        if name in versions and event_type in _causes.get((name, versions[name]), ())
    )


def causes_of(versions: Mapping[str, int]) -> frozenset[str]:
    """Every event that causes an operation of these contracts."""
    return frozenset().union(*(_causes.get(item, ()) for item in versions.items()))


_provisioned: set[str] = set()


def announce_provisioning(slug: str) -> None:
    """Tell the catalog that this partner must hear of a merchant before it can serve it."""
    _provisioned.add(slug)


def needs_provisioning(slug: str) -> bool:
    return slug in _provisioned


def capability_choices() -> list[tuple[str, str]]:
    return [(name, name) for name in CAPABILITIES]
