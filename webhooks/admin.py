"""The staff side of the ledgers: everything can be seen, and a delivery can be sent again."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from catalog.admin import ReadOnlyAdmin
from catalog.envelope import ApiError
from installs.admin import ReadOnlyInline
from webhooks import outbound
from webhooks.models import Attempt, Delivery, DeliveryStatus, Event, InboundEvent

SHOWN_BYTES = 4096


def body_as_text(body: bytes | memoryview) -> SafeString:
    raw = bytes(body)
    text = raw[:SHOWN_BYTES].decode("utf-8", "replace")
    if len(raw) > SHOWN_BYTES:
        text += "\n" + _("… (%(bytes)d bytes in all)") % {"bytes": len(raw)}
    return format_html("<pre>{}</pre>", text)


@admin.register(InboundEvent)
class InboundEventAdmin(ReadOnlyAdmin):
    list_display = [
        "received_at",
        "integration",
        "merchant",
        "type",
        "status",
        "attempts",
        "mismatched_at",
    ]
    list_filter = ["status", ("mismatched_at", admin.EmptyFieldListFilter), "integration"]
    list_select_related = ["integration", "merchant"]
    search_fields = ["=provider_event_id", "=type", "merchant__name", "=id", "=install_id"]
    ordering = ["-received_at", "id"]
    fields = [
        "id",
        "integration",
        "merchant",
        "install_id",
        "provider_event_id",
        "type",
        "capability",
        "occurred_at",
        "received_at",
        "status",
        "attempts",
        "problem",
        "due_at",
        "processed_at",
        "mismatched_at",
        "body_digest",
        "body_text",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundEvent]:
        return super().get_queryset(request).defer("body")

    @admin.display(description=gettext_lazy("body"))
    def body_text(self, row: InboundEvent) -> SafeString:
        return body_as_text(row.body)


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "merchant", "location", "type", "sequence"]
    list_filter = ["type", "created_at"]
    list_select_related = ["merchant", "location"]
    search_fields = ["=id", "=type", "=idempotency_key", "merchant__name"]
    ordering = ["-created_at", "id"]
    fields = [
        "id",
        "merchant",
        "location",
        "type",
        "sequence",
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
        "response_excerpt",
    ]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm("webhooks.view_delivery")


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
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
    list_filter = ["status", "integration", "created_at"]
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
        return super().get_queryset(request).defer("event__body")

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.change_delivery")

    @admin.display(description=gettext_lazy("event"), ordering="event__type")
    def event_type(self, row: Delivery) -> str:
        return row.event.type

    @admin.action(permissions=["operate"], description=gettext_lazy("Send again"))
    def replay(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        for row in queryset:
            if row.status == DeliveryStatus.PENDING:
                text = _("It is still on its way, so there is nothing to send again.")
                self.message_user(request, f"{row.event.type}: {text}", messages.WARNING)
                continue
            try:
                outbound.replay(row)
            except ApiError as error:
                self.message_user(request, f"{row.event.type}: {error.message}", messages.ERROR)
            else:
                self.log_change(request, row, "replayed")
                text = _("will be sent again now.")
                self.message_user(request, f"{row.event.type}: {text}", messages.SUCCESS)
