"""Customers whom partners have to erase, for the people of the merchant."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from installs.access import Actor
from installs.history import time_text
from installs.models import Install, Merchant
from installs.tenancy import MerchantRequest, merchant_page
from webhooks import log
from webhooks.models import Erasure, ErasureQuerySet


@dataclass(frozen=True, slots=True)
class Line:
    erasure: Erasure
    requested: str
    sent: str
    confirmed: str
    is_overdue: bool
    is_installed: bool


@require_safe
@merchant_page
def erasures(request: MerchantRequest) -> HttpResponse:
    """What is not confirmed, or all of it; the newest first."""
    merchant, is_open = request.membership.merchant, request.GET.get("show") != "all"
    rows = visible_to(request.actor)
    found, older, newest = log.keyset(
        (rows.open() if is_open else rows).select_related("integration"),
        "requested_at",
        request.GET.get("before", ""),
    )
    context = {
        "lines": lines_of(merchant, found),
        "older": older,
        "newest": newest,
        "is_open": is_open,
        "overdue": rows.overdue(timezone.now()).count(),
    }
    return render(request, "webhooks/erasures.html", context)


def visible_to(actor: Actor) -> ErasureQuerySet:
    """The merchant's; for somebody limited to outlets, those of installs that are for these or all."""
    rows = Erasure.objects.filter(merchant_id=actor.merchant_id)
    if actor.locations is None:
        return rows
    reached = Install.objects.filter(Q(location=None) | Q(location__in=actor.locations))
    return rows.filter(install_id__in=reached.values("pk"))


def lines_of(merchant: Merchant, rows: list[Erasure]) -> list[Line]:
    now, zone = timezone.now(), ZoneInfo(merchant.timezone)
    ids = [row.install_id for row in rows]
    present = set(Install.objects.filter(pk__in=ids).values_list("pk", flat=True))

    return [
        Line(
            erasure=row,
            requested=time_text(row.requested_at.astimezone(zone)),
            sent=time_text(row.sent_at.astimezone(zone)) if row.sent_at else "",
            confirmed=time_text(row.confirmed_at.astimezone(zone)) if row.confirmed_at else "",
            is_overdue=row.is_overdue(now),
            is_installed=row.install_id in present,
        )
        for row in rows
    ]
