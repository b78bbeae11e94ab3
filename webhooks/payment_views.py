"""The payments that somebody of the merchant has to look at, and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from dispatch.models import ParkedReport, PaymentIntent, TablePayment
from installs.access import Actor
from installs.history import time_text
from installs.models import Location, Merchant
from installs.tenancy import MerchantRequest, merchant_page
from webhooks.log import keyset

SHOWN_FOR = timedelta(days=30)
MOST_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Line:
    """A row with its time in the zone of its outlet, else the merchant's."""

    row: Any
    at: datetime
    location: Location | None
    zone: ZoneInfo

    @property
    def time(self) -> str:
        return time_text(self.at.astimezone(self.zone))


@require_safe
@merchant_page
def payments(request: MerchantRequest) -> HttpResponse:
    merchant, actor = request.membership.merchant, request.actor
    before = request.GET.get("before", "")
    in_need = _of_outlets(actor, PaymentIntent.objects.in_need())
    found, older, is_newest = keyset(in_need, "created_at", before)
    context = {
        "lines": _lines(merchant, found, "created_at"),
        "older": older,
        "is_newest": is_newest,
        "parked": _lines(merchant, _parked(actor), "received_at"),
        "overpaid": _lines(merchant, _overpaid(actor), "applied_at"),
    }
    return render(request, "webhooks/payments.html", context)


def _parked(actor: Actor) -> Iterable[ParkedReport]:
    """Nobody knows which outlet these are about, so they are for those who see all."""
    if actor.locations is not None:
        return []
    rows = ParkedReport.objects.filter(
        merchant_id=actor.merchant_id,
        applied_at=None,
        received_at__gt=timezone.now() - SHOWN_FOR,
    )
    return rows.select_related("integration").order_by("-received_at", "-id")[:MOST_SHOWN]


def _overpaid(actor: Actor) -> Iterable[TablePayment]:
    since = timezone.now() - SHOWN_FOR
    rows = TablePayment.objects.filter(overpaid_cents__gt=0, applied_at__gt=since)
    shown = _of_outlets(actor, rows).select_related("check_row")
    return shown.order_by("-applied_at", "-id")[:MOST_SHOWN]


def _of_outlets(actor: Actor, rows: QuerySet[Any]) -> QuerySet[Any]:
    rows = rows.filter(merchant_id=actor.merchant_id)
    if actor.locations is not None:
        rows = rows.filter(location__in=actor.locations)
    return rows.select_related("integration", "location")


def _lines(merchant: Merchant, rows: Iterable[Any], column: str) -> list[Line]:
    zone = ZoneInfo(merchant.timezone)
    found = [(row, getattr(row, "location", None)) for row in rows]
    return [
        Line(row, getattr(row, column), place, place.zone if place else zone)
        for row, place in found
    ]
