"""The merchant's log of received events: what came, what Posz made of it, and processing it again."""

from collections import Counter
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import trigger_client_event

from catalog.envelope import STATUS_OF
from installs.access import ALLOWED, Verb
from installs.tenancy import MerchantRequest, merchant_page
from installs.views import is_partial, uuid_or_none
from webhooks import (
    chart,
    filters,
    inbound_attention,
    inbound_filters,
    inbound_log,
    inbound_recovery,
    log,
    refusals,
)
from webhooks.models import InboundEvent
from webhooks.views import live_answer, live_parts, log_address, tell_left_out, zone_words

LIST, ATTENTION = "webhooks/_inbound_list.html", "webhooks/_inbound_attention.html"


@require_safe
@vary_on_headers("HX-Request")
@merchant_page
def events(request: MerchantRequest) -> HttpResponse:
    """The log. A part of it is asked for again and again: unchanged, it answers nothing at all."""
    merchant, actor = request.membership.merchant, request.actor
    choices = inbound_filters.choices_for(actor, merchant)
    asked = filters.read(request.GET, choices)
    zone = asked.zone(merchant)
    visible = inbound_filters.visible_to(actor)
    before = request.GET.get("before", "")
    span = chart.SPANS.get(request.GET.get("span", ""), chart.DAY)
    page = inbound_log.page_of(actor, merchant, asked.applied(visible, zone), before)
    context = {
        "filters": asked,
        "page": page,
        "items": inbound_attention.items_for(actor, merchant),
        "may_replay": Verb.REPLAY in ALLOWED[actor.role],
        "is_live": request.GET.get("live") != "off",
        "address": log_address("webhooks:inbound", asked, span),
        "before": before,
    }
    parts = live_parts(request, context, LIST, ATTENTION)
    if is_partial(request):
        return live_answer(request, {**context, **parts}, inbound_log.summary_of(page.lines))
    more = {
        "choices": choices,
        "chart": chart.chart_of_inbound(asked.placed(visible), span, timezone.now(), zone),
        "refusals": refusals.items_for(merchant),
        **zone_words(merchant, zone),
    }
    return render(request, "webhooks/inbound.html", {**context, **parts, **more})


@require_safe
@vary_on_headers("HX-Request")
@merchant_page
def event(request: MerchantRequest, event_id: UUID) -> HttpResponse:
    return event_page(request, event_or_404(request, event_id))


@require_POST
@vary_on_headers("HX-Request")
@merchant_page
def replay(request: MerchantRequest, event_id: UUID) -> HttpResponse:
    row = event_or_404(request, event_id)
    result = inbound_recovery.replay_chosen(request.actor, [row.pk])[row.pk]
    if result != inbound_recovery.STARTED:
        refusal = inbound_recovery.result_text(result)
        return event_page(request, row, refusal, STATUS_OF.get(result, 409))
    text = _("The event is processed again.")
    if not is_partial(request):
        messages.success(request, text)
        return redirect("webhooks:inbound-event", event_id=row.pk)
    response = event_page(request, event_or_404(request, row.pk))
    trigger_client_event(response, "posz:toast", {"text": text})
    return trigger_client_event(response, "posz:changed")


@require_POST
@merchant_page
def replay_selected(request: MerchantRequest) -> HttpResponse:
    """Process again what was ticked; ids that are not the merchant's are not there."""
    choices = inbound_filters.choices_for(request.actor, request.membership.merchant)
    ids = [found for text in request.POST.getlist("event") if (found := uuid_or_none(text))]
    visible = inbound_filters.visible_to(request.actor).filter(pk__in=ids[: log.PAGE_SIZE])
    chosen = visible.values_list("pk", flat=True)
    results = inbound_recovery.replay_chosen(request.actor, chosen)
    tell(request, Counter(results.values()))
    asked = filters.read(request.GET, choices)
    return redirect(log_address("webhooks:inbound", asked, chart.DAY))


@require_POST
@merchant_page
def replay_since(request: MerchantRequest) -> HttpResponse:
    """Process again everything of an integration that was set aside since a moment, or at all."""
    merchant = request.membership.merchant
    slug, since = request.POST.get("integration", ""), request.POST.get("since", "")
    integrations = inbound_filters.choices_for(request.actor, merchant).integrations
    integration = next((item for item in integrations if item.slug == slug), None)
    if integration is None:
        raise Http404
    try:
        moment = moment_of(since, ZoneInfo(merchant.timezone))
    except (ValueError, OverflowError):
        messages.error(request, _("That is not a date and a time."))
    else:
        count = inbound_recovery.replay_since(request.actor, integration, since=moment)
        tell(request, Counter({inbound_recovery.STARTED: count} if count else {}))
    return redirect(f"{reverse('webhooks:inbound')}?integration={integration.slug}")


def moment_of(text: str, zone: ZoneInfo) -> datetime:
    """In the zone where none is given; without a text the beginning."""
    at = datetime.fromisoformat(text or "2000-01-01")
    at = at if at.tzinfo else at.replace(tzinfo=zone)
    # It must still be a moment in any zone that a database can hold.
    if not 2000 <= at.year < 3000:
        raise ValueError(text)
    return at


def event_or_404(request: MerchantRequest, event_id: UUID) -> InboundEvent:
    rows = inbound_filters.visible_to(request.actor).filter(pk=event_id)
    row = rows.select_related("integration", "location").first()
    if row is None:
        raise Http404
    return row


def event_page(
    request: MerchantRequest, row: InboundEvent, refusal: str = "", status: int = 200
) -> HttpResponse:
    merchant = request.membership.merchant
    [line] = inbound_log.lines_of(request.actor, merchant, [row])
    context = {
        "line": line,
        "body": inbound_log.body_of(row),
        "headers": inbound_log.headers_of(row),
        "effects": inbound_log.effects_of(row, merchant),
        "refusal": refusal,
        "handover": inbound_log.handover_of(row, line.zone),
        "unmapped": inbound_log.unmapped_in(row),
    }
    part = "webhooks/_inbound_event.html"
    template = part if is_partial(request) else "webhooks/inbound_event.html"
    return render(request, template, context, status=status)


def tell(request: MerchantRequest, counts: Counter[str]) -> None:
    """What became of them, each kind of answer said once."""
    if not counts:
        messages.warning(request, _("Nothing was set aside, so nothing is processed again."))
    if started := counts.pop(inbound_recovery.STARTED, 0):
        text = ngettext(
            "%(count)d event is processed again.", "%(count)d events are processed again.", started
        )
        messages.success(request, text % {"count": started})
    tell_left_out(request, counts, inbound_recovery.result_text)
