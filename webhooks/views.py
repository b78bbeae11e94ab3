"""The merchant's delivery log: what was sent, what came of it, and sending it again."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import trigger_client_event

from catalog.envelope import STATUS_OF
from installs.access import ALLOWED, Verb
from installs.models import Merchant
from installs.tenancy import MerchantRequest, merchant_page
from installs.views import is_partial, uuid_or_none
from webhooks import attention, chart, erasure_views, filters, log, recovery
from webhooks.filters import Filters
from webhooks.log import refusal_text
from webhooks.models import Delivery, Recovery

NOT_MODIFIED = 204


@require_safe
@vary_on_headers("HX-Request")
@merchant_page
def deliveries(request: MerchantRequest) -> HttpResponse:
    """The log. A part of it is asked for again and again: unchanged, it answers nothing at all."""
    merchant, actor = request.membership.merchant, request.actor
    choices = filters.choices_for(actor, merchant)
    asked = filters.read(request.GET, choices)
    zone = asked.zone(merchant)
    visible = filters.visible_to(actor)
    before = request.GET.get("before", "")
    span = chart.SPANS.get(request.GET.get("span", ""), chart.DAY)
    page = log.page_of(actor, merchant, asked.applied(visible, zone), before)
    context = {
        "filters": asked,
        "page": page,
        "items": attention.items_for(actor, merchant),
        "overdue": erasure_views.visible_to(actor).overdue(timezone.now()).count(),
        "may_replay": Verb.REPLAY in ALLOWED[actor.role],
        "recoveries": log.recoveries_of(actor, merchant),
        "is_live": request.GET.get("live") != "off",
        "address": log_address("webhooks:deliveries", asked, span),
        "before": before,
    }
    parts = live_parts(request, context, "webhooks/_list.html", "webhooks/_attention.html")
    if is_partial(request):
        return live_answer(request, {**context, **parts}, log.summary_of(page.lines))
    more = {
        "choices": choices,
        "chart": chart.chart_of(asked.placed(visible), span, timezone.now(), zone),
        "whats": Recovery.What.choices,
        **zone_words(merchant, zone),
    }
    return render(request, "webhooks/deliveries.html", {**context, **parts, **more})


@require_safe
@vary_on_headers("HX-Request")
@merchant_page
def delivery(request: MerchantRequest, delivery_id: UUID) -> HttpResponse:
    return delivery_page(request, delivery_or_404(request, delivery_id))


@require_POST
@vary_on_headers("HX-Request")
@merchant_page
def replay(request: MerchantRequest, delivery_id: UUID) -> HttpResponse:
    row = delivery_or_404(request, delivery_id)
    result = recovery.replay_chosen(request.actor, [row.pk])[row.pk]
    if result != recovery.SENT_AGAIN:
        status = STATUS_OF.get(result, 409)
        return delivery_page(request, row, refusal_text(result), status)
    text = _("%(name)s is sent this event again.") % {"name": row.integration.name}
    if not is_partial(request):
        messages.success(request, text)
        return redirect("webhooks:delivery", delivery_id=row.pk)
    response = delivery_page(request, delivery_or_404(request, row.pk))
    trigger_client_event(response, "posz:toast", {"text": text})
    return trigger_client_event(response, "posz:changed")


@require_POST
@merchant_page
def replay_selected(request: MerchantRequest) -> HttpResponse:
    """Send again what was ticked; ids that are not the merchant's are not there."""
    asked = filters.read(
        request.GET, filters.choices_for(request.actor, request.membership.merchant)
    )
    ids = [found for text in request.POST.getlist("delivery") if (found := uuid_or_none(text))]
    visible = filters.visible_to(request.actor).filter(pk__in=ids[: log.PAGE_SIZE])
    tell(request, recovery.replay_chosen(request.actor, visible.values_list("pk", flat=True)))
    return redirect(log_address("webhooks:deliveries", asked, chart.DAY))


@require_POST
@merchant_page
def take_events_again(request: MerchantRequest, install_id: UUID) -> HttpResponse:
    row = attention.take_events_again(request.actor, install_id)
    text = _("Posz sends events to %(name)s again. Tick below what it has missed to send that too.")
    messages.success(request, text % {"name": row.integration.name})
    return redirect(f"{reverse('webhooks:deliveries')}?integration={row.integration.slug}")


def delivery_or_404(request: MerchantRequest, delivery_id: UUID) -> Delivery:
    rows = log.with_latency(filters.visible_to(request.actor)).filter(pk=delivery_id)
    row = (
        rows.select_related("event__location", "integration__endpoint")
        .prefetch_related("attempts")
        .first()
    )
    if row is None:
        raise Http404
    return row


def delivery_page(
    request: MerchantRequest, row: Delivery, refusal: str = "", status: int = 200
) -> HttpResponse:
    merchant = request.membership.merchant
    [line] = log.lines_of(request.actor, merchant, [row])
    zone = row.event.location.zone if row.event.location else ZoneInfo(merchant.timezone)
    context = {
        "line": line,
        "tries": log.tries_of(row, zone),
        "body": log.body_text(row.body or row.event.body),
        "headers": log.SIGNED_WITH,
        "refusal": refusal,
    }
    template = "webhooks/_delivery.html" if is_partial(request) else "webhooks/delivery.html"
    return render(request, template, context, status=status)


def live_parts(
    request: MerchantRequest, context: dict[str, Any], list_template: str, attention_template: str
) -> dict[str, str]:
    """The parts of the page that keep themselves fresh, and what they are recognised by."""
    parts = {
        "list_html": render_to_string(list_template, context, request),
        "attention_html": render_to_string(attention_template, context, request),
    }
    return {**parts, "digest": sha256("".join(parts.values()).encode()).hexdigest()[:16]}


def live_answer(request: MerchantRequest, context: dict[str, Any], summary: str) -> HttpResponse:
    """The parts again, or nothing at all where they are as the page has seen them."""
    if request.GET.get("seen") == context["digest"]:
        return HttpResponse(status=NOT_MODIFIED)
    return render(request, "webhooks/_live.html", {**context, "said": summary})


def zone_words(merchant: Merchant, zone: ZoneInfo) -> dict[str, Any]:
    """What the clocks of the page are called, and a day ago on the merchant's."""
    here = timezone.now().astimezone(ZoneInfo(merchant.timezone))
    return {
        "zone": timezone.now().astimezone(zone).tzname(),
        "merchant_zone": here.tzname(),
        "yesterday": f"{here - timedelta(days=1):%Y-%m-%dT%H:%M}",
    }


def log_address(page: str, asked: Filters, span: chart.Span) -> str:
    """Of a log with these filters; more can be added behind an `&`."""
    kept = [asked.query, "" if span is chart.DAY else urlencode({"span": span.code})]
    return f"{reverse(page)}?{'&'.join(part for part in kept if part)}"


def tell(request: MerchantRequest, results: Mapping[UUID, str]) -> None:
    """What became of the ticked ones, each kind of answer said once."""
    counts = Counter(results.values())
    if sent := counts.pop(recovery.SENT_AGAIN, 0):
        text = ngettext("%(count)d event is sent again.", "%(count)d events are sent again.", sent)
        messages.success(request, text % {"count": sent})
    tell_left_out(request, counts, refusal_text)
    if not results:
        messages.warning(request, _("Nothing was ticked, so nothing is sent again."))


def tell_left_out(
    request: MerchantRequest, counts: Mapping[str, int], why: Callable[[str], str]
) -> None:
    for result, count in counts.items():
        text = ngettext(
            "%(count)d was left out: %(why)s", "%(count)d were left out: %(why)s", count
        )
        messages.warning(request, text % {"count": count, "why": why(result)})
