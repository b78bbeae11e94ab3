"""What staff see of the inbox of each merchant, and of the partners that are asked for shifts."""

import json

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from catalog.admin import ReadOnlyAdmin, pretty
from webhooks.models import InboxRow
from webhooks.redaction import redact


class InboxRowAdmin(ReadOnlyAdmin):
    list_display = [
        "created_at",
        "merchant",
        "location",
        "integration",
        "operation",
        "external_id",
        "sequence",
        "withheld",
        "needs_approval",
        "acknowledged_at",
    ]
    list_filter = [
        ("acknowledged_at", admin.EmptyFieldListFilter),
        "withheld",
        "needs_approval",
        "capability",
        "integration",
    ]
    list_select_related = ["merchant", "location", "integration"]
    search_fields = ["=id", "=event_id", "=install_id", "=external_id", "merchant__name"]
    ordering = ["-created_at", "-id"]
    fields = [
        "id",
        "received",
        "merchant",
        "location",
        "integration",
        "install_id",
        "capability",
        "operation",
        "contract_version",
        "external_id",
        "occurred_at",
        "created_at",
        "sequence",
        "withheld",
        "accept_by",
        "needs_approval",
        "acknowledged_at",
        "acknowledged_by",
        "notes_text",
        "data_text",
    ]

    @admin.display(description=gettext_lazy("received event"))
    def received(self, row: InboxRow) -> SafeString:
        url = reverse("admin:webhooks_inboundevent_change", args=[row.event_id])
        return format_html('<a href="{}">{}</a>', url, row.event_id)

    @admin.display(description=gettext_lazy("notes"))
    def notes_text(self, row: InboxRow) -> SafeString:
        return pretty(row.notes)

    @admin.display(description=gettext_lazy("data"))
    def data_text(self, row: InboxRow) -> SafeString:
        text = json.dumps(row.data, ensure_ascii=False, indent=2)
        return format_html("<pre>{}</pre>", redact(text))


class ScheduleAskingAdmin(ReadOnlyAdmin):
    list_display = ["install", "due_at", "asked_at", "answered_at", "schedule_version", "problem"]
    list_filter = [("problem", admin.EmptyFieldListFilter)]
    list_select_related = ["install__integration", "install__merchant", "install__location"]
    search_fields = ["=install__id", "install__merchant__name"]
    ordering = ["due_at", "install_id"]
    fields = ["install", "due_at", "asked_at", "answered_at", "schedule_version", "problem"]
