"""The staff side of the ledgers: everything can be seen, and a delivery can be sent again."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from catalog.admin import ReadOnlyAdmin, pretty
from installs.admin import ReadOnlyInline, staff_actor
from webhooks import chart, hints, recovery
from webhooks.charted_admin import ChartedAdmin
from webhooks.inbound_admin import InboundEventAdmin, InboundRefusalAdmin
from webhooks.inbox_admin import InboxRowAdmin, ScheduleAskingAdmin
from webhooks.log import refusal_text
from webhooks.models import (
    Attempt,
    Delivery,
    DeliveryHealth,
    DeliveryStatus,
    Endpoint,
    Event,
    Hint,
    InboundEvent,
    InboundRefusal,
    InboxRow,
    Recovery,
    ScheduleAsking,
)
from webhooks.redaction import shown_answer

SHOWN_BYTES = 4096

admin.site.register(InboundEvent, InboundEventAdmin)
admin.site.register(InboundRefusal, InboundRefusalAdmin)
admin.site.register(InboxRow, InboxRowAdmin)
admin.site.register(ScheduleAsking, ScheduleAskingAdmin)


def body_as_text(body: bytes | memoryview) -> SafeString:
    raw = bytes(body)
    text = raw[:SHOWN_BYTES].decode("utf-8", "replace")
    if len(raw) > SHOWN_BYTES:
        text += "\n" + _("… (%(bytes)d bytes in all)") % {"bytes": len(raw)}
    return format_html("<pre>{}</pre>", text)


@admin.register(Hint)
class HintAdmin(ReadOnlyAdmin):
    """What was posted and the provider has to confirm. Nothing here is proved, so little is shown."""

    list_display = [
        "posted_at",
        "integration",
        "claimed_type",
        "claimed_id",
        "status",
        "problem",
        "posts",
        "attempts",
    ]
    list_filter = ["status", "problem", "integration"]
    list_select_related = ["integration"]
    search_fields = ["=claimed_id", "=id", "=install_id"]
    ordering = ["-posted_at", "id"]
    actions = ["ask_again"]
    fields = [
        "id",
        "integration",
        "install_id",
        "claimed_type",
        "claimed_id",
        "status",
        "problem",
        "posts",
        "received_at",
        "posted_at",
        "asked_at",
        "attempts",
        "due_at",
    ]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.change_hint")

    @admin.action(permissions=["operate"], description=gettext_lazy("Ask the provider again"))
    def ask_again(self, request: HttpRequest, queryset: QuerySet[Hint]) -> None:
        count = hints.ask_again(list(queryset.values_list("pk", flat=True)))
        text = ngettext(
            "%(count)d is asked about again.", "%(count)d are asked about again.", count
        )
        self.message_user(request, text % {"count": count})


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "merchant", "location", "type", "sequence", "is_example"]
    list_filter = ["type", "is_example", "created_at"]
    list_select_related = ["merchant", "location"]
    search_fields = ["=id", "=type", "=idempotency_key", "merchant__name"]
    ordering = ["-created_at", "id"]
    fields = [
        "id",
        "merchant",
        "location",
        "type",
        "sequence",
        "is_example",
        "idempotency_key",
        "occurred_at",
        "created_at",
        "body_text",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        return super().get_queryset(request).defer("body")

    @admin.display(description=gettext_lazy("body"))
    def body_text(self, row: Event) -> SafeString:
        return body_as_text(row.body)


class AttemptInline(ReadOnlyInline):
    model = Attempt
    verbose_name_plural = gettext_lazy("attempts")
    fields = [
        "number",
        "started_at",
        "elapsed_ms",
        "response_status",
        "problem",
        "answer",
    ]

    @admin.display(description=gettext_lazy("start of the answer"))
    def answer(self, row: Attempt) -> str:
        return shown_answer(row.response_excerpt)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm("webhooks.view_delivery")


@admin.register(Delivery)
class DeliveryAdmin(ChartedAdmin):
    list_display = [
        "created_at",
        "integration",
        "merchant",
        "event_type",
        "status",
        "reason",
        "attempts_made",
        "next_attempt_at",
    ]
    list_filter = ["status", "integration", "event__is_example", "created_at"]
    list_select_related = ["integration", "merchant", "event"]
    search_fields = ["=id", "=event__id", "=event__type", "merchant__name", "=install_id"]
    ordering = ["-created_at", "id"]
    actions = ["replay"]
    inlines = [AttemptInline]
    fields = [
        "id",
        "event",
        "integration",
        "merchant",
        "install_id",
        "status",
        "reason",
        "attempts_made",
        "next_attempt_at",
        "lease_until",
        "created_at",
        "finished_at",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        return super().get_queryset(request).defer("event__body", "body")

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.change_delivery")

    @admin.display(description=gettext_lazy("event"), ordering="event__type")
    def event_type(self, row: Delivery) -> str:
        return row.event.type

    def chart_of(self, listed: Any, span: chart.Span, now: datetime, zone: ZoneInfo) -> chart.Chart:
        return chart.chart_of(listed, span, now, zone)

    @admin.action(permissions=["operate"], description=gettext_lazy("Send again"))
    def replay(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        rows = {row.pk: row for row in queryset}
        for merchant_id in {row.merchant_id for row in rows.values()}:
            actor = staff_actor(request, merchant_id)
            own = [row.pk for row in rows.values() if row.merchant_id == merchant_id]
            for pk, result in recovery.replay_chosen(actor, own).items():
                self._tell(request, rows[pk], result)

    def _tell(self, request: HttpRequest, row: Delivery, result: str) -> None:
        if result == recovery.SENT_AGAIN:
            self.log_change(request, row, "replayed")
            text, level = _("will be sent again now."), messages.SUCCESS
        else:
            is_pending = result == DeliveryStatus.PENDING
            text, level = refusal_text(result), messages.WARNING if is_pending else messages.ERROR
        self.message_user(request, f"{row.event.type}: {text}", level)


@admin.register(Endpoint)
class EndpointAdmin(ReadOnlyAdmin):
    """What all workers know of an address: whether Posz sends there, since when, and how it went."""

    list_display = ["integration", "state", "changed_at", "probe_at", "in_flight", "failure_share"]
    list_filter = ["state"]
    list_select_related = ["integration"]
    search_fields = ["integration__slug", "integration__name_en", "integration__name_id"]
    ordering = ["integration__slug"]
    fields = [
        "integration",
        "state",
        "changed_at",
        "probe_at",
        "in_flight",
        "failure_share",
        "totals_text",
    ]

    @admin.display(description=gettext_lazy("failed lately"))
    def failure_share(self, row: Endpoint) -> str:
        counts = {"failed": row.window_failures, "all": row.window_attempts}
        return _("%(failed)d of %(all)d") % counts

    @admin.display(description=gettext_lazy("attempts by outcome"))
    def totals_text(self, row: Endpoint) -> SafeString:
        return pretty(row.totals)


@admin.register(DeliveryHealth)
class DeliveryHealthAdmin(ReadOnlyAdmin):
    list_display = [
        "integration",
        "merchant",
        "attention",
        "whose_turn",
        "problem",
        "failing_since",
        "failures",
        "last_success_at",
        "mailed_at",
    ]
    list_filter = ["attention", "integration"]
    list_select_related = ["integration", "merchant"]
    search_fields = ["=install_id", "integration__slug", "merchant__name"]
    ordering = [F("attention_at").desc(nulls_last=True), "install_id"]
    fields = [
        "install_id",
        "integration",
        "merchant",
        "attention",
        "attention_at",
        "whose_turn",
        "problem",
        "failing_since",
        "failures",
        "last_success_at",
        "mailed_at",
    ]

    @admin.display(description=gettext_lazy("whose turn"))
    def whose_turn(self, row: DeliveryHealth) -> str:
        return str(row.turn.label) if row.attention else ""


@admin.register(Recovery)
class RecoveryAdmin(ReadOnlyAdmin):
    list_display = [
        "created_at",
        "integration",
        "merchant",
        "what",
        "since",
        "until",
        "status",
        "total",
        "done",
        "skipped",
    ]
    list_filter = ["status", "what", "integration"]
    list_select_related = ["integration", "merchant"]
    search_fields = ["=id", "integration__slug", "merchant__name", "asked_by"]
    ordering = ["-created_at", "id"]
    fields = [
        "id",
        "integration",
        "merchant",
        "what",
        "since",
        "until",
        "asked_by",
        "status",
        "reason",
        "total",
        "done",
        "skipped",
        "created_at",
        "finished_at",
    ]
