"""The staff side of merchants, people, tokens, installs and the audit log.

Staff sign in where everybody does, so that rate limits and second factors hold here too. Installs
change through `lifecycle` alone; secrets are shown as state and age, never as values.
"""

from typing import Any
from uuid import UUID

from allauth.account.decorators import secure_admin_login
from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.core.validators import RegexValidator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from catalog.admin import IntegrationAdmin, KeptWhileUsedAdmin, ReadOnlyAdmin, pretty
from catalog.envelope import ApiError
from catalog.forms import IntegrationForm
from catalog.models import Integration

# Both register themselves when they are imported.
from installs import admin_clients, admin_outlets, lifecycle  # noqa: F401
from installs.access import Actor
from installs.admin_numbers import NumberedAdmin
from installs.admin_secrets import age_of_secret, end_of_secret, staff_label
from installs.credentials import OWN_PURPOSES, set_client_secret
from installs.fields import DecryptError
from installs.models import (
    ApiToken,
    AuditEntry,
    IdMapping,
    Install,
    IntegrationSecret,
    Location,
    Membership,
    Merchant,
    OAuthGrant,
    Role,
    User,
)

admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.unregister(Authenticator)


class ReadOnlyInline(admin.TabularInline):  # type: ignore[type-arg]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:  # noqa: ARG002
        return self.fields


class SecretInline(ReadOnlyInline):
    model = IntegrationSecret
    template = "admin/installs/secrets_inline.html"
    # The client secret is the partner's to rotate.
    purposes = [(str(item), item.label) for item in OWN_PURPOSES]
    fields = ["purpose", "state", "age", "end", "late_uses", "late_used_at"]
    verbose_name_plural = gettext_lazy("secrets (their values are never shown)")
    ordering = ["purpose", "state"]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm("catalog.view_integration") or request.user.has_perm(
            "catalog.change_integration"
        )

    @admin.display(description=gettext_lazy("age"))
    def age(self, row: IntegrationSecret) -> str:
        return age_of_secret(row, timezone.now())

    @admin.display(description=gettext_lazy("accepted until"))
    def end(self, row: IntegrationSecret) -> str:
        return end_of_secret(row)


class IntegrationSecretsForm(IntegrationForm):
    """With the client secret that a partner gave Posz: it can be set here and never read."""

    client_secret = forms.CharField(
        label=gettext_lazy("OAuth client secret"),
        required=False,
        max_length=500,
        strip=True,
        validators=[RegexValidator(r"^[!-~]+\Z", gettext_lazy("Use visible ASCII characters."))],
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "What the partner gave Posz for its OAuth server. It is stored encrypted and never shown; "
            "leave it empty to keep the one that is set."
        ),
    )


def with_client_secret() -> Any:
    title, options = IntegrationAdmin.fieldsets[3]
    fields = [*options["fields"]]
    fields.insert(fields.index("oauth_settings") + 1, "client_secret")
    rows = [*IntegrationAdmin.fieldsets]
    rows[3] = (title, {**options, "fields": fields})
    return rows


# The catalog knows nothing of secrets, so their field and their panel are added from here.
admin.site.unregister(Integration)


@admin.register(Integration)
class IntegrationWithSecretsAdmin(IntegrationAdmin):
    form = IntegrationSecretsForm
    fieldsets = with_client_secret()
    inlines = [*IntegrationAdmin.inlines, SecretInline]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        # Here and not in the form: the row is saved by now, and the log has to say who did it.
        if text := form.cleaned_data.get("client_secret"):
            set_client_secret(form.instance, text, staff_label(request))


class LocationInline(admin.StackedInline):  # type: ignore[type-arg]
    model = Location
    extra = 0
    show_change_link = False


class MembershipInline(admin.StackedInline):  # type: ignore[type-arg]
    model = Membership
    extra = 0
    autocomplete_fields = ["user"]

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        # A merchant that is only being added has no outlets to limit anybody to.
        merchant_id = (
            request.resolver_match.kwargs.get("object_id") if request.resolver_match else None
        )
        own = Q(merchant_id=merchant_id) if merchant_id else Q(pk__in=[])
        kwargs["queryset"] = Location.objects.filter(own)
        kwargs["widget"] = forms.CheckboxSelectMultiple()
        return super().formfield_for_manytomany(db_field, request, **kwargs)


@admin.register(Merchant)
class MerchantAdmin(KeptWhileUsedAdmin):
    list_display = ["name", "city", "email", "currency", "outlets_count", "created_at"]
    list_filter = ["city", "currency"]
    search_fields = ["name", "email", "city", "=id"]
    readonly_fields = ["id", "created_at"]
    fields = [
        "name",
        "email",
        "phone",
        "city",
        "currency",
        "locale",
        "timezone",
        "logo_url",
        "id",
        "created_at",
    ]
    inlines = [LocationInline, MembershipInline]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(how_many=Count("locations"))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        # An outlet that was removed tells nobody by itself.
        Merchant.touch(form.instance.pk)

    @admin.display(description=gettext_lazy("outlets"), ordering="how_many")
    def outlets_count(self, row: Any) -> int:
        return int(row.how_many)


def clean_email_of(form: Any) -> str:
    return str(form.cleaned_data["email"]).lower()


class PersonCreationForm(AdminUserCreationForm):  # type: ignore[type-arg]
    class Meta:
        model = User
        fields = ["email", "name"]

    def clean_email(self) -> str:
        return clean_email_of(self)


class PersonForm(UserChangeForm):  # type: ignore[type-arg]
    class Meta:
        model = User
        fields = "__all__"

    def clean_email(self) -> str:
        return clean_email_of(self)


class MembershipOfPersonInline(ReadOnlyInline):
    model = Membership
    fields = ["merchant", "role"]


@admin.register(User)
class PersonAdmin(StockUserAdmin):  # type: ignore[type-arg]
    form = PersonForm
    add_form = PersonCreationForm
    list_display = ["email", "name", "is_staff", "is_active", "last_login"]
    list_filter = ["is_staff", "is_superuser", "is_active"]
    search_fields = ["email", "name"]
    ordering = ["email"]
    filter_horizontal = ["groups", "user_permissions"]
    readonly_fields = ["last_login", "date_joined"]
    inlines = [MembershipOfPersonInline]
    fieldsets = [
        (None, {"fields": ["email", "name", "password"]}),
        (
            gettext_lazy("Permissions"),
            {"fields": ["is_active", "is_staff", "is_superuser", "groups", "user_permissions"]},
        ),
        (gettext_lazy("Dates"), {"fields": ["last_login", "date_joined"]}),
    ]
    add_fieldsets = [
        (None, {"fields": ["email", "name", "usable_password", "password1", "password2"]}),
    ]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_above = obj is not None and obj.is_superuser and not is_superuser(request)
        return super().has_change_permission(request, obj) and not is_above

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_above = obj is not None and obj.is_superuser and not is_superuser(request)
        return super().has_delete_permission(request, obj) and not is_above

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        # Else whoever may edit people could hand all rights to themselves.
        powers = ["is_staff", "is_superuser", "groups", "user_permissions"]
        return fields if is_superuser(request) else [*fields, *powers]

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return super().get_inlines(request, obj) if obj else []


def is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


@admin.register(Authenticator)
class AuthenticatorAdmin(ReadOnlyAdmin):
    """Second factors: staff can remove one that was lost, and see no secret of it."""

    list_display = ["user", "type", "created_at", "last_used_at"]
    list_filter = ["type"]
    list_select_related = ["user"]
    search_fields = ["user__email"]
    fields = ["user", "type", "created_at", "last_used_at"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name", "merchant", "role", "created_at", "revoked_at"]
    list_filter = ["role", ("revoked_at", admin.EmptyFieldListFilter)]
    list_select_related = ["merchant"]
    search_fields = ["name", "merchant__name"]
    autocomplete_fields = ["merchant"]
    actions = ["revoke"]

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:  # noqa: ARG002
        made = ["created_at", "revoked_at"] if obj else []
        return ["name", "merchant", "role", *made]

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:  # noqa: ARG002
        return ["merchant", "role", "created_at", "revoked_at"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        # Revoked tokens stay: they say who could have called.
        return False

    def save_model(
        self,
        request: HttpRequest,
        obj: ApiToken,
        form: Any,  # noqa: ARG002
        change: bool,
    ) -> None:
        if change:
            obj.save(update_fields=["name"])
            return
        token = ApiToken.issue(obj.name, merchant=obj.merchant, role=obj.role)
        obj.pk = ApiToken.objects.get(digest=ApiToken.digest_of(token)).pk
        text = _("The token, shown only now: %(token)s Copy it to where it is needed.")
        self.message_user(request, text % {"token": token}, messages.WARNING)

    @admin.action(permissions=["change"], description=gettext_lazy("Revoke selected API tokens"))
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        working = list(queryset.filter(revoked_at=None))
        ApiToken.objects.filter(pk__in=[row.pk for row in working], revoked_at=None).update(
            revoked_at=timezone.now()
        )
        for row in working:
            self.log_change(request, row, "revoked")
        text = ngettext("%(count)d token revoked.", "%(count)d tokens revoked.", len(working))
        self.message_user(request, text % {"count": len(working)})


@admin.register(Install)
class InstallAdmin(NumberedAdmin):
    list_display = [
        "integration",
        "merchant",
        "location_name",
        "is_enabled",
        "connection",
        "installed_at",
        "installed_by",
    ]
    list_filter = ["is_enabled", "connection", "integration"]
    list_select_related = ["integration", "merchant", "location"]
    search_fields = ["integration__slug", "merchant__name", "external_merchant_id", "=id"]
    ordering = ["-installed_at", "id"]
    actions = ["enable", "disable", "uninstall"]
    fields = [
        "id",
        "integration",
        "merchant",
        "location_name",
        "is_enabled",
        "settings_of",
        "config_changed_at",
        "versions",
        "connection",
        "connection_problem",
        "provision_attempts",
        "provision_due_at",
        "external_merchant_id",
        "outbound_off_at",
        "installed_at",
        "installed_by",
    ]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("installs.change_install")

    def has_uninstall_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("installs.delete_install")

    @admin.display(description=gettext_lazy("outlet"), ordering="location")
    def location_name(self, row: Install) -> str:
        return str(row.location) if row.location else _("every outlet")

    @admin.display(description=gettext_lazy("settings"))
    def settings_of(self, row: Install) -> str:
        try:
            config = row.config or {}
        except DecryptError:
            return _("[encrypted] They can't be opened with the keys that are configured.")
        lines = [
            (name, _("set") if config.get(name) not in (None, "") else _("not set"))
            for name in row.integration.config_schema.get("properties", {})
        ]
        known = format_html_join("", "<li>{}: {}</li>", lines)
        return format_html("[encrypted]<ul>{}</ul>", known) if lines else "[encrypted]"

    @admin.display(description=gettext_lazy("capabilities"))
    def versions(self, row: Install) -> SafeString:
        return pretty(row.capability_versions)

    @admin.action(permissions=["operate"], description=gettext_lazy("Enable selected installs"))
    def enable(self, request: HttpRequest, queryset: QuerySet[Install]) -> None:
        self._act(request, queryset, lifecycle.enable, _("enabled"))

    @admin.action(permissions=["operate"], description=gettext_lazy("Disable selected installs"))
    def disable(self, request: HttpRequest, queryset: QuerySet[Install]) -> None:
        self._act(request, queryset, lifecycle.disable, _("disabled"))

    @admin.action(
        permissions=["uninstall"], description=gettext_lazy("Uninstall selected installs")
    )
    def uninstall(self, request: HttpRequest, queryset: QuerySet[Install]) -> HttpResponse | None:
        if request.POST.get("post") == "yes":
            self._act(request, queryset, lifecycle.uninstall, _("uninstalled"))
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": _("Uninstall?"),
            "opts": self.opts,
            "installs": queryset,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/installs/uninstall_confirmation.html", context)

    def _act(self, request: HttpRequest, queryset: QuerySet[Install], verb: Any, done: str) -> None:
        for row in queryset:
            try:
                verb(staff_actor(request, row.merchant_id), row.pk)
            except ApiError as error:
                self.message_user(request, f"{row}: {error.message}", messages.ERROR)
            else:
                self.message_user(request, f"{row}: {done}", messages.SUCCESS)


def staff_actor(request: HttpRequest, merchant_id: UUID) -> Actor:
    """Staff act with an owner's rights and are named in the merchant's audit log."""
    return Actor(merchant_id=merchant_id, label=staff_label(request), role=Role.OWNER)


@admin.register(OAuthGrant)
class OAuthGrantAdmin(ReadOnlyAdmin):
    """Whose accounts Posz may use and how that is going; the tokens are never shown."""

    list_display = [
        "integration",
        "merchant",
        "account",
        "needs_reconnect",
        "problem",
        "expires_at",
        "revoke_due_at",
    ]
    list_filter = ["needs_reconnect", "integration"]
    list_select_related = ["integration", "merchant"]
    search_fields = ["integration__slug", "merchant__name", "account_id", "account_name"]
    ordering = ["-connected_at"]
    fields = [
        "integration",
        "merchant",
        "account_id",
        "account_name",
        "granted_scopes",
        "connected_by",
        "connected_at",
        "expires_at",
        "refreshed_at",
        "refresh_due_at",
        "refresh_attempts",
        "problem",
        "needs_reconnect",
        "revoke_due_at",
        "revoke_attempts",
    ]


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ["at", "merchant", "action", "integration_slug", "location_name", "actor"]
    list_filter = ["action", "integration_slug", "at"]
    list_select_related = ["merchant"]
    search_fields = ["actor", "action", "integration_slug", "merchant__name", "=install_id"]
    ordering = ["-id"]
    fields = [
        "at",
        "merchant",
        "action",
        "integration_slug",
        "location_name",
        "install_id",
        "actor",
        "details",
    ]

    @admin.display(description=gettext_lazy("details"))
    def details(self, row: AuditEntry) -> SafeString:
        return pretty(row.data)


@admin.register(IdMapping)
class IdMappingAdmin(ReadOnlyAdmin):
    list_display = ["install", "kind", "external_id", "name", "posz_id", "state", "events"]
    list_filter = ["state", "kind", "install__integration"]
    list_select_related = ["install__integration", "install__merchant", "install__location"]
    search_fields = ["external_id", "posz_id", "name", "=install__id", "install__merchant__name"]
    ordering = ["-last_seen_at", "id"]
    fields = [
        "install",
        "kind",
        "external_id",
        "name",
        "posz_id",
        "state",
        "events",
        "first_seen_at",
        "last_seen_at",
    ]
