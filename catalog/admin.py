"""The staff side of the catalog, and what every other admin of the hub has in common."""

import json
from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected as delete_selected_rows
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Count, ProtectedError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from catalog.capabilities import CAPABILITIES
from catalog.forms import IntegrationForm
from catalog.models import CatalogStamp, Category, Integration, IntegrationStatus

admin.site.site_header = gettext_lazy("Posz Hub staff")
admin.site.site_title = gettext_lazy("Posz Hub staff")
admin.site.index_title = gettext_lazy("What staff look after")
admin.site.site_url = "/integrations"


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that have a door of their own: here they can only be looked at, by superusers too."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.get_fields(request, obj)


def holders(rows: Iterable[models.Model], model: type[models.Model]) -> list[str]:
    """What still refers to these rows and would be lost with them, such as “3 installs”."""
    found = []
    for relation in model._meta.related_objects:
        if relation.on_delete is not models.PROTECT:
            continue
        kept = relation.related_model._meta
        count = kept.base_manager.filter(**{f"{relation.field.name}__in": rows}).count()
        if count:
            found.append(f"{count} {kept.verbose_name if count == 1 else kept.verbose_name_plural}")
    return found


class KeptWhileUsedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Deletion of a row that others refer to is refused in words."""

    actions: Any = ["delete_selected"]

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        may = row is not None and self.has_delete_permission(request, row)
        if may and self._refuse_deletion(request, [row]):
            return HttpResponseRedirect(self._change_url(row))
        try:
            return super().delete_view(request, object_id, extra_context)
        except ProtectedError:
            # Somebody began to use the row between the question and the answer.
            self._refuse_deletion(request, [row])
            return HttpResponseRedirect(self._change_url(row))

    @admin.action(
        permissions=["delete"],
        description=gettext_lazy("Delete selected %(verbose_name_plural)s"),
    )
    def delete_selected(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> HttpResponse | None:
        if self._refuse_deletion(request, list(queryset)):
            return None
        try:
            return delete_selected_rows(self, request, queryset)
        except ProtectedError:
            self._refuse_deletion(request, list(queryset))
            return None

    def _refuse_deletion(self, request: HttpRequest, rows: list[Any]) -> bool:
        is_refused = False
        for row in rows:
            if used_by := holders([row], self.model):
                is_refused = True
                text = _("“%(row)s” can't be deleted: %(holders)s still refer to it.")
                text %= {"row": row, "holders": ", ".join(used_by)}
                hint = self.instead_of_deleting()
                self.message_user(request, f"{text} {hint}".strip(), messages.ERROR)
        return is_refused

    def _change_url(self, row: Any) -> str:
        options = self.opts
        return reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.pk])

    def instead_of_deleting(self) -> str:
        return ""


@admin.register(Category)
class CategoryAdmin(KeptWhileUsedAdmin):
    list_display = ["slug", "name_en", "name_id", "position", "integrations_count"]
    search_fields = ["slug", "name_en", "name_id"]
    ordering = ["position", "slug"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(how_many=Count("integrations"))

    def get_readonly_fields(self, request: HttpRequest, obj: Category | None = None) -> Any:  # noqa: ARG002
        # The slug is the primary key: another one would make another category.
        return ["slug"] if obj else []

    def instead_of_deleting(self) -> str:
        return _("Move its integrations to another category first.")

    @admin.display(description=gettext_lazy("integrations"), ordering="how_many")
    def integrations_count(self, row: Any) -> int:
        return int(row.how_many)


class CapabilityFilter(admin.SimpleListFilter):
    title = gettext_lazy("capability")
    parameter_name = "capability"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, name) for name in CAPABILITIES]

    def queryset(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: models.QuerySet[Integration],
    ) -> models.QuerySet[Integration]:
        name = self.value()
        return queryset.filter(capabilities__has_key=name) if name in CAPABILITIES else queryset


@admin.register(Integration)
class IntegrationAdmin(KeptWhileUsedAdmin):
    form = IntegrationForm
    list_display = [
        "slug",
        "name_en",
        "status",
        "installs_count",
        "category",
        "capability_names",
        "auth_code",
    ]
    list_filter = ["status", "category", "auth_shape", CapabilityFilter, "is_demo"]
    list_select_related = ["category"]
    search_fields = ["slug", "name_en", "name_id", "tagline_en", "tagline_id", "support_email"]
    actions = ["delete_selected", "make_available", "deprecate", "disable"]
    readonly_fields = ["created_at", "updated_at"]
    fieldsets = [
        (gettext_lazy("Identity"), {"fields": ["slug", "category", "logo", "is_demo"]}),
        (
            gettext_lazy("Texts in English"),
            {"fields": ["name_en", "tagline_en", "description_en"]},
        ),
        (
            gettext_lazy("Texts in Indonesian"),
            {"fields": ["name_id", "tagline_id", "description_id"]},
        ),
        (
            gettext_lazy("Capabilities and authentication"),
            {
                "classes": ["monospace"],
                "fields": [
                    "capabilities",
                    "auth_shape",
                    "oauth_settings",
                    "request_auth",
                    "verification_request",
                    "previous_secret_seconds",
                ],
            },
        ),
        (
            gettext_lazy("Addresses"),
            {
                "fields": [
                    "api_base_url",
                    "landing_base_url",
                    "website_url",
                    "docs_url",
                    "privacy_url",
                    "support_email",
                    "data_residency",
                ]
            },
        ),
        (
            gettext_lazy("Events"),
            {
                "classes": ["monospace"],
                "fields": [
                    "outbound_url",
                    "outbound_events",
                    "outbound_rate_per_second",
                    "outbound_concurrency",
                    "outbound_in_order",
                    "inbound_events",
                    "inbound_verification",
                    "inbound_mapping",
                    "inbound_confirmation",
                    "mapped_ids",
                    "is_asked_for_shifts",
                ],
            },
        ),
        (
            gettext_lazy("Settings of a merchant"),
            {"classes": ["monospace"], "fields": ["config_schema"]},
        ),
        (gettext_lazy("Status"), {"fields": ["status", "created_at", "updated_at"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(how_many=Count("installs"))

    def get_readonly_fields(self, request: HttpRequest, obj: Integration | None = None) -> Any:  # noqa: ARG002
        is_kept = obj is not None and obj.has_installs()
        return ["slug", *self.readonly_fields] if is_kept else self.readonly_fields

    def delete_model(self, request: HttpRequest, obj: Integration) -> None:
        super().delete_model(request, obj)
        CatalogStamp.bump()

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Integration]) -> None:
        super().delete_queryset(request, queryset)
        CatalogStamp.bump()

    def instead_of_deleting(self) -> str:
        return _("Deprecate or disable it instead.")

    @admin.display(description=gettext_lazy("capabilities"))
    def capability_names(self, row: Integration) -> str:
        return ", ".join(item.name for item in row.declared())

    @admin.display(description=gettext_lazy("authentication"), ordering="auth_shape")
    def auth_code(self, row: Integration) -> str:
        return row.auth_shape

    @admin.display(description=gettext_lazy("installs"), ordering="how_many")
    def installs_count(self, row: Any) -> int:
        return int(row.how_many)

    @admin.action(permissions=["change"], description=gettext_lazy("Make available"))
    def make_available(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        self._set_status(request, queryset, IntegrationStatus.AVAILABLE)

    @admin.action(permissions=["change"], description=gettext_lazy("Deprecate"))
    def deprecate(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        self._set_status(request, queryset, IntegrationStatus.DEPRECATED)

    @admin.action(permissions=["change"], description=gettext_lazy("Disable for everybody"))
    def disable(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        self._set_status(request, queryset, IntegrationStatus.DISABLED)

    def _set_status(
        self, request: HttpRequest, queryset: models.QuerySet[Any], status: IntegrationStatus
    ) -> None:
        changed = 0
        for row in queryset:
            row.status = status
            try:
                # Switching off must work even for a row that no longer satisfies the rules.
                if status != IntegrationStatus.DISABLED:
                    row.full_clean()
            except ValidationError as error:
                self.message_user(request, f"“{row}”: {in_words(row, error)}", messages.ERROR)
                continue
            row.save(update_fields=["status", "updated_at"])
            self.log_change(request, row, f"status: {status}")
            changed += 1
        if changed:
            text = ngettext(
                "%(count)d integration is “%(status)s” now.",
                "%(count)d integrations are “%(status)s” now.",
                changed,
            )
            self.message_user(request, text % {"count": changed, "status": status.label})


def pretty(value: Any) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(value, ensure_ascii=False, indent=2))


def in_words(row: models.Model, error: ValidationError) -> str:
    labels = {field.name: capfirst(field.verbose_name) for field in row._meta.fields}
    return " ".join(
        f"{labels[name]}: {' '.join(texts)}" if name in labels else " ".join(texts)
        for name, texts in error.message_dict.items()
    )
