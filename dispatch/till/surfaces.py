"""The places of the POS that can be tried at `/till`, in one table.

A surface is a page for some capabilities. What can be done there are its actions: those that ask a
partner are announced by this app, those that report events or read what partners posted by the one
that knows them, as `announce` says. So the page, its tests and the tabs know every one of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import uuid4

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from installs.access import Actor
from installs.models import Location

Data: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stand:
    """Who stands at which till. The outlet's `merchant` is loaded."""

    actor: Actor
    outlet: Location

    @property
    def currency(self) -> str:
        return self.outlet.merchant.currency


@dataclass(frozen=True, slots=True)
class Party:
    """What one integration made of it, for a person. `url_text` where `url` is not what it got."""

    name: str
    status_name: str
    tone: str
    reason: str
    detail: str = ""
    elapsed_ms: int | None = None
    url: str = ""
    url_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What was sent to the hub and what came back, word for word, and who had a part in it.

    `kind`: the till `asked`, the till `told` whoever wants to know, or a partner `posted`.
    `budget_ms` is how long a till waits at most; None where nobody waits. `failure` says what becomes
    of the matter when the partner is slow or dead.
    """

    name: str
    path: str
    request: Data
    answer: Data
    kind: str = "asked"
    parties: tuple[Party, ...] = ()
    is_built_in: bool = False
    elapsed_ms: int | None = None
    budget_ms: int | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Code:
    """A QR code on the screen. `url` is where a guest's phone would go, if it is an address."""

    label: str
    svg: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """`offers` are the follow-ups of this row alone, `slip` is what they are about."""

    cells: tuple[str, ...]
    slip: Data = field(default_factory=dict)
    offers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    heads: tuple[str | Promise, ...]
    lines: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What the screen of the till shows after an action.

    `slip` is carried, signed, to the follow-ups in `offers`. `asks_again` names the one that the
    page asks by itself, every `asks_every` seconds, until it is no longer named.
    """

    title: str
    tone: str
    note: str = ""
    exchange: Exchange | None = None
    facts: tuple[tuple[str | Promise, str], ...] = ()
    rows: Rows | None = None
    code: Code | None = None
    link: tuple[str, str] | None = None
    slip: Data = field(default_factory=dict)
    offers: tuple[str, ...] = ()
    asks_again: str = ""
    asks_every: int = 1


Run: TypeAlias = Callable[[Stand, Mapping[str, Any]], Happened]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A button. `run` gets what was filled in, and the slip of what happened before.

    `start` gives what stands in the form at first, also from the slip; `options` what can be chosen
    where that differs from outlet to outlet, and `nothing_to_choose` what is said where that is
    nothing: the field is left out then. `is_played` where the sandbox has to play the partner.
    A follow-up stands with what happened before it, and not on the page by itself.
    """

    name: str
    label: str | Promise
    run: Run
    form: type[forms.Form] = forms.Form
    start: Callable[[Stand, Mapping[str, Any]], Data] | None = None
    options: Callable[[Stand], Mapping[str, list[tuple[str, str]]]] | None = None
    nothing_to_choose: str | Promise = ""
    is_follow_up: bool = False
    is_danger: bool = False
    is_played: bool = False


@dataclass(frozen=True, slots=True)
class Surface:
    """`built_in` is what Posz does there by itself; `url_name` is its page, if that is another one."""

    slug: str
    name: Promise
    intro: Promise
    capabilities: tuple[str, ...]
    built_in: Promise
    url_name: str = ""


SURFACES: dict[str, Surface] = {
    item.slug: item
    for item in (
        Surface(
            "receipt",
            _("Receipt"),
            _("Ring up a sample order and see what comes out of the printer."),
            ("receipt_qr", "receipt_pretext"),
            _("The receipt comes out without additions."),
            "till:till",
        ),
        Surface(
            "checkout",
            _("Checkout"),
            _("Take a payment as a cashier does, watch it until it is paid, give money back."),
            ("payment_method", "payment_webhook_inbound"),
            _("Cash and cards, as always."),
        ),
        Surface(
            "table",
            _("Pay at table"),
            _("Put a code on a table, and pay it as the guest does."),
            ("pay_at_table",),
            _("Guests pay at the till."),
        ),
        Surface(
            "invoice",
            _("Tax invoice"),
            _("Ask for a tax invoice for goods that a company bought."),
            ("tax_invoice_provider",),
            _("Posz keeps a draft and prints “tax invoice follows”."),
        ),
        Surface(
            "reservations",
            _("Reservations"),
            _("Look for a time, book it, and seat the guests."),
            ("reservation_provider", "reservation_status_outbound"),
            _("The book of Posz."),
        ),
        Surface(
            "orders",
            _("Incoming orders"),
            _("Get an order from a delivery channel, and accept or reject it."),
            ("order_inbound", "order_status_outbound"),
            _("Only orders that the restaurant takes itself."),
        ),
        Surface(
            "menu",
            _("Menu"),
            _("Publish the menu to the channels, or take an item off."),
            ("menu_sync_outbound",),
            _("The menu stays in Posz."),
        ),
        Surface(
            "loyalty",
            _("Loyalty"),
            _("Find a member, spend points on an order, give points, take them back."),
            ("loyalty_provider",),
            _("The points of Posz."),
        ),
        Surface(
            "messages",
            _("Messages"),
            _("Send a guest a receipt, a reminder or a one-time code."),
            ("notification_provider",),
            _("Posz sends it by e-mail, or prints it."),
        ),
        Surface(
            "stock",
            _("Stock"),
            _("Use stock up, count it, receive it, and see what suppliers report."),
            ("inventory_event_export", "inventory_replenish_inbound"),
            _("Stock is kept in Posz only."),
        ),
        Surface(
            "staff",
            _("Staff"),
            _("Clock in and out, and see the schedule that HR has published."),
            ("staff_event_export", "staff_schedule_import"),
            _("Hours are kept in Posz only."),
        ),
        Surface(
            "customers",
            _("Customers"),
            _("Give and withdraw a consent, hand a profile over, erase a customer."),
            ("customer_export", "customer_event_export"),
            _("Customers are kept in Posz only."),
        ),
        Surface(
            "day",
            _("Day close"),
            _("Close the day and send its sums, which balance to the rupiah."),
            ("data_export_destination",),
            _("The sums of the day stay in Posz."),
        ),
        Surface(
            "sign-in",
            _("Sign-in"),
            _("How owners and managers sign in."),
            ("auth_provider",),
            _("E-mail and password."),
        ),
    )
}
_actions: dict[str, dict[str, Action]] = {slug: {} for slug in SURFACES}


def announce(slug: str, *actions: Action) -> None:
    """Tell the till what can be done at one of its places, in the order of the buttons."""
    _actions[slug].update({action.name: action for action in actions})


def actions_of(slug: str) -> dict[str, Action]:
    return _actions[slug]


def fresh_id(prefix: str) -> str:
    return f"{prefix}-{uuid4().hex[:12]}"
