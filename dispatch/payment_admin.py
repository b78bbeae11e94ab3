"""Payments as staff see them: everything can be seen, and nothing changed."""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from catalog.admin import ReadOnlyAdmin, pretty
from dispatch.models import (
    ParkedReport,
    PaymentChange,
    PaymentIntent,
    PaymentRefund,
    TableCheck,
    TablePayment,
)
from installs.admin import ReadOnlyInline
from installs.templatetags.posz import rupiah


class ChangeInline(ReadOnlyInline):
    model = PaymentChange
    verbose_name_plural = gettext_lazy("History")
    fields = ["at", "source", "previous", "state", "problem", "reason", "amount_cents", "event_id"]


class RefundInline(ReadOnlyInline):
    model = PaymentRefund
    verbose_name_plural = gettext_lazy("Refunds")
    fields = ["refund_id", "amount_cents", "state", "refund_ref", "created_at"]


def fields_of(model: type[Any]) -> list[Any]:
    return [field.name for field in model._meta.fields]


class PaymentAdmin(ReadOnlyAdmin):
    list_display = [
        "created_at",
        "state",
        "problem",
        "amount",
        "integration",
        "merchant",
        "location",
        "payment_id",
        "provider_ref",
    ]
    list_filter = ["state", "problem", "integration"]
    list_select_related = ["integration", "merchant", "location"]
    search_fields = ["=payment_id", "=provider_ref", "=order_id"]
    ordering = ["-created_at", "-id"]
    inlines = [ChangeInline, RefundInline]
    fields = fields_of(PaymentIntent)

    @admin.display(description=gettext_lazy("amount"))
    def amount(self, row: PaymentIntent) -> str:
        return rupiah(row.due_cents) if row.currency == "IDR" else f"{row.due_cents} {row.currency}"


class ParkedReportAdmin(ReadOnlyAdmin):
    list_display = [
        "received_at",
        "applied_at",
        "status",
        "integration",
        "merchant",
        "payment_id",
        "provider_ref",
        "event_id",
    ]
    list_filter = [("applied_at", admin.EmptyFieldListFilter), "integration"]
    list_select_related = ["integration", "merchant"]
    search_fields = ["=payment_id", "=provider_ref", "=event_id"]
    ordering = ["-id"]
    fields = fields_of(ParkedReport)


class TableCheckAdmin(ReadOnlyAdmin):
    list_display = ["changed_at", "check_id", "version", "table", "is_closed", "location"]
    list_filter = ["is_closed"]
    list_select_related = ["location"]
    search_fields = ["=check_id"]
    ordering = ["-changed_at", "-id"]
    fields = [name for name in fields_of(TableCheck) if name != "document"] + ["document_text"]

    @admin.display(description=gettext_lazy("check"))
    def document_text(self, row: TableCheck) -> SafeString:
        return pretty(row.document)


class TablePaymentAdmin(ReadOnlyAdmin):
    list_display = [
        "created_at",
        "state",
        "overpaid_cents",
        "integration",
        "merchant",
        "location",
        "payment_id",
        "provider_ref",
    ]
    list_filter = ["state", "integration"]
    list_select_related = ["integration", "merchant", "location"]
    search_fields = ["=payment_id", "=provider_ref"]
    ordering = ["-created_at", "-id"]
    fields = fields_of(TablePayment)
