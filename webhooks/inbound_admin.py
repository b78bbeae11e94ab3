"""The staff side of what partners send: the ledger, and why posts were refused."""

from collections import Counter
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.db.models import QuerySet, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from installs import history
from installs.admin import staff_actor
from webhooks import chart, inbound_log, inbound_recovery, refusals
from webhooks.charted_admin import ChartedAdmin
from webhooks.inbound_problems import problem_of
from webhooks.models import InboundEvent, InboundRefusal, InboundStatus, RefusalQuerySet


class InboundEventAdmin(ChartedAdmin):
    list_display = [
        "received_at",
        "status",
        "integration",
        "merchant",
        "type",
        "problem",
        "attempts",
        "mismatched_at",
        "is_late",
        "location",
    ]
    list_filter = [
        "status",
        ("mismatched_at", admin.EmptyFieldListFilter),
        "is_late",
        "integration",
    ]
    list_select_related = ["integration", "merchant", "location"]
    search_fields = ["=provider_event_id", "=id", "=install_id"]
    ordering = ["-received_at", "-id"]
    actions = ["replay"]
    fields = [
        "id",
        "integration",
        "merchant",
        "location",
        "install_id",
        "provider_event_id",
        "type",
        "capability",
        "occurred_at",
        "received_at",
        "status",
        "problem_text",
        "problem_at",
        "attempts",
        "due_at",
        "processed_at",
        "confirmed_at",
        "replayed_at",
        "effects_text",
        "is_late",
        "mismatched_at",
        "erased_at",
        "body_digest",
        "headers_text",
        "body_text",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundEvent]:
        return super().get_queryset(request).defer("body", "headers")

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.change_inboundevent")

    def chart_of(self, listed: Any, span: chart.Span, now: datetime, zone: ZoneInfo) -> chart.Chart:
        return chart.chart_of_inbound(listed, span, now, zone)

    @admin.display(description=gettext_lazy("problem"))
    def problem_text(self, row: InboundEvent) -> str:
        problem = problem_of(row.problem, is_over=row.status != InboundStatus.RECEIVED)
        if problem is None:
            return ""
        return f"{problem.what} {problem.next_step} ({problem.code}, {problem.turn.label})"

    @admin.display(description=gettext_lazy("effects"))
    def effects_text(self, row: InboundEvent) -> SafeString:
        return effect_links(inbound_log.effects_of(row, row.merchant))

    @admin.display(description=gettext_lazy("headers"))
    def headers_text(self, row: InboundEvent) -> SafeString:
        return format_html_join("", "<code>{}: {}</code><br>", inbound_log.headers_of(row))

    @admin.display(description=gettext_lazy("body"))
    def body_text(self, row: InboundEvent) -> SafeString:
        return format_html("<pre>{}</pre>", inbound_log.body_of(row))

    @admin.action(permissions=["operate"], description=gettext_lazy("Process again"))
    def replay(self, request: HttpRequest, queryset: QuerySet[InboundEvent]) -> None:
        rows = {row.pk: row for row in queryset}
        results: Counter[str] = Counter()
        for merchant_id in {row.merchant_id for row in rows.values()}:
            actor = staff_actor(request, merchant_id)
            own = [row.pk for row in rows.values() if row.merchant_id == merchant_id]
            for pk, result in inbound_recovery.replay_chosen(actor, own).items():
                results[result] += 1
                if result == inbound_recovery.STARTED:
                    self.log_change(request, rows[pk], "replayed")
        self._tell(request, results)

    def _tell(self, request: HttpRequest, results: Counter[str]) -> None:
        if started := results.pop(inbound_recovery.STARTED, 0):
            text = ngettext(
                "%(count)d event is processed again.",
                "%(count)d events are processed again.",
                started,
            )
            self.message_user(request, text % {"count": started}, messages.SUCCESS)
        for result, count in results.items():
            text = ngettext(
                "%(count)d was left out: %(why)s", "%(count)d were left out: %(why)s", count
            )
            why = inbound_recovery.result_text(result)
            self.message_user(request, text % {"count": count, "why": why}, messages.WARNING)


def effect_links(lines: list[history.Line]) -> SafeString:
    page = "admin:installs_auditentry_change"
    links = ((reverse(page, args=[line.id]), line.sentence) for line in lines)
    return format_html_join("", '<a href="{}">{}</a><br>', links)


# What the reasons have in common, from the ground of the chart up.
GROUPS: dict[str, tuple[str, ...]] = {
    "limit": ("rate_limited", "internal", "unavailable"),
    "install": (
        "not_found",
        "integration_not_installed",
        "integration_disabled",
        "capability_unsupported",
    ),
    "content": (
        "invalid_payload",
        "payload_too_large",
        "method_not_allowed",
        "unsupported_media_type",
    ),
}
LAYERS = (
    chart.Layer("limit", gettext_lazy("Too many, or our fault"), "delivered"),
    chart.Layer("install", gettext_lazy("Not installed, or off"), "cancelled"),
    chart.Layer("content", gettext_lazy("Not understood"), "pending"),
    chart.Layer("proof", gettext_lazy("Not proven"), "dead"),
)


def group_of(reason: str) -> str:
    return next((name for name, reasons in GROUPS.items() if reason in reasons), "proof")


class SlugFilter(admin.SimpleListFilter):
    title = gettext_lazy("integration")
    parameter_name = "slug"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        slugs = InboundRefusal.objects.order_by("slug").values_list("slug", flat=True).distinct()
        found = list(slugs)
        names = refusals.names_of(found)
        return [(slug or "-", names.get(slug) or refusals.place_of(slug)) for slug in found]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return rows if value is None else rows.filter(slug="" if value == "-" else value)


class InboundRefusalAdmin(ChartedAdmin):
    """Why was this refused? Counted by hour; of the posts themselves nothing was kept."""

    list_display = [
        "hour",
        "integration_name",
        "what",
        "what_to_do",
        "merchant_name",
        "count",
        "first_at",
        "last_at",
    ]
    list_filter = [SlugFilter, "reason"]
    ordering = ["-hour", "-count", "id"]
    fields = [
        "hour",
        "integration_name",
        "what",
        "what_to_do",
        "reason",
        "detail",
        "merchant_name",
        "count",
        "first_at",
        "last_at",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundRefusal]:
        """Names by subquery: neither column is a foreign key, so that writing asks nothing."""
        rows: Any = super().get_queryset(request)
        named: RefusalQuerySet = rows.with_names()
        return named

    def chart_of(self, listed: Any, span: chart.Span, now: datetime, zone: ZoneInfo) -> chart.Chart:
        start = span.start(now, zone)
        counts: Counter[tuple[datetime, str]] = Counter()
        found = listed.filter(hour__gte=start).order_by().values_list("hour", "reason")
        for hour, reason, number in found.annotate(number=Sum("count")):
            counts[hour, group_of(reason)] += number
        title = _("Refused webhooks by hour and kind of reason")
        return chart.drawn(title, counts, LAYERS, span, start)

    @admin.display(description=gettext_lazy("integration"), ordering="slug")
    def integration_name(self, row: Any) -> str:
        return row.named or refusals.place_of(row.slug)

    @admin.display(description=gettext_lazy("reason"), ordering="reason")
    def what(self, row: InboundRefusal) -> str:
        return refusals.what_of(row.reason, row.detail)

    @admin.display(description=gettext_lazy("what to do"))
    def what_to_do(self, row: InboundRefusal) -> str:
        return refusals.next_of(row.reason)

    @admin.display(description=gettext_lazy("merchant"))
    def merchant_name(self, row: Any) -> str:
        return row.merchant_named or ""
