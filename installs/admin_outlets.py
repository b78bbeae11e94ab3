"""The staff side of outlet numbers: what partners call outlets, and the numbers that nobody has yet."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from catalog.admin import ReadOnlyAdmin
from catalog.envelope import ApiError
from installs import outlets
from installs.access import Actor
from installs.admin_secrets import staff_label
from installs.models import Install, Location, OutletNumber, Role, UnknownOutlet


class OutletNumberForm(forms.ModelForm):  # type: ignore[type-arg]
    staff = ""

    class Meta:
        model = OutletNumber
        fields = ["integration", "location", "external_id"]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        location = cleaned["location"]
        try:
            outlets.check_numbers(
                owner_of(location, self.staff),
                cleaned["integration"],
                {location.pk: cleaned["external_id"]},
            )
        except ApiError as error:
            fields = error.extra.get("fields", {})
            self.add_error("external_id", fields.get(str(location.pk)) or error.message)
        return cleaned

    def _get_validation_exclusions(self) -> set[str]:
        """Without the model's constraints: an outlet that has a number gets another one."""
        return {*super()._get_validation_exclusions(), "integration"}  # type: ignore[misc]


class OutletChoiceField(forms.ModelChoiceField):  # type: ignore[type-arg]
    def label_from_instance(self, obj: Location) -> str:
        return f"{obj.merchant}: {obj}"


def outlets_with(integration: str | None) -> QuerySet[Location]:
    """Of the merchants who have the integration, as soon as it is known which one is meant."""
    rows = Location.objects.select_related("merchant").order_by("merchant__name", "name", "id")
    try:
        installs = Install.objects.filter(integration=UUID(integration or ""))
    except ValueError:
        return rows
    return rows.filter(merchant__in=installs.values("merchant"))


def owner_of(location: Location, staff: str) -> Actor:
    return Actor(location.merchant_id, staff, Role.OWNER)


@admin.register(OutletNumber)
class OutletNumberAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = OutletNumberForm
    list_display = ["external_id", "integration", "merchant", "location", "changed_at"]
    list_filter = ["integration"]
    list_select_related = ["integration", "location__merchant"]
    search_fields = ["external_id", "location__name", "location__merchant__name"]
    autocomplete_fields = ["integration"]
    ordering = ["-changed_at"]
    actions = ["remove"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        # One outlet, one number: adding one for an outlet replaces what it had.
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_remove_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("installs.delete_outletnumber")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "location":
            asked = request.POST.get("integration") or request.GET.get("integration")
            kwargs["queryset"] = outlets_with(asked)
            kwargs["form_class"] = OutletChoiceField
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form = super().get_form(request, *args, **kwargs)
        return type(form.__name__, (form,), {"staff": staff_label(request)})

    def save_model(
        self,
        request: HttpRequest,
        obj: OutletNumber,
        form: Any,  # noqa: ARG002
        change: bool,  # noqa: ARG002
    ) -> None:
        actor = owner_of(obj.location, staff_label(request))
        outlets.save_numbers(actor, obj.integration, {obj.location_id: obj.external_id})
        rows = OutletNumber.objects.filter(integration=obj.integration, location=obj.location)
        obj.pk = rows.values_list("pk", flat=True).first()

    @admin.display(description=gettext_lazy("merchant"))
    def merchant(self, row: OutletNumber) -> str:
        return str(row.location.merchant)

    @admin.action(permissions=["remove"], description=gettext_lazy("Remove selected numbers"))
    def remove(self, request: HttpRequest, queryset: QuerySet[OutletNumber]) -> None:
        for row in queryset.select_related("integration", "location"):
            actor = owner_of(row.location, staff_label(request))
            outlets.save_numbers(actor, row.integration, {row.location_id: ""})


@admin.register(UnknownOutlet)
class UnknownOutletAdmin(ReadOnlyAdmin):
    """Numbers that verified events have named and no outlet has."""

    list_display = [
        "external_id",
        "integration",
        "merchant",
        "assign",
        "events",
        "first_seen_at",
        "last_seen_at",
    ]
    list_filter = ["integration"]
    list_select_related = ["integration", "merchant"]
    search_fields = ["external_id", "merchant__name"]
    ordering = ["-last_seen_at"]
    fields = ["integration", "external_id", "merchant", "events", "first_seen_at", "last_seen_at"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    @admin.display(description=gettext_lazy("which outlet?"))
    def assign(self, row: UnknownOutlet) -> SafeString:
        url = reverse(
            "admin:installs_outletnumber_add",
            query={"integration": row.integration_id, "external_id": row.external_id},
        )
        return format_html('<a href="{}">{}</a>', url, gettext_lazy("Say which outlet it is"))
