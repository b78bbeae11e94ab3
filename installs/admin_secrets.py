"""Where staff rotate the secrets of integrations.

A value is on one page once: the answer to the request that made it. It is kept in no message, no
cookie and no session, and no cache may keep that page: `admin_view` forbids it.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from catalog.admin import ReadOnlyAdmin
from catalog.envelope import ApiError
from catalog.models import Integration
from installs import credentials
from installs.models import (
    ACCEPTED_NOW,
    ROTATE_AFTER,
    IntegrationSecret,
    Purpose,
    SecretState,
)

QUESTIONS: dict[str, Promise] = {
    "stage": gettext_lazy("Make the next secret?"),
    "cut-over": gettext_lazy("Cut over to the next secret?"),
    "revoke-previous": gettext_lazy("Revoke the previous secret?"),
}
DONE: dict[str, Promise] = {
    "cut-over": gettext_lazy("The next secret is current now."),
    "revoke-previous": gettext_lazy("The previous secret is refused from now on."),
}


def age_of_secret(row: IntegrationSecret, now: datetime) -> str:
    if row.activated_at is None:
        return _("not in use yet")
    days = (now - row.activated_at).days
    if not days:
        return _("rotated less than a day ago")
    age = ngettext("rotated %(days)d day ago", "rotated %(days)d days ago", days) % {"days": days}
    if row.state == SecretState.CURRENT and now - row.activated_at > ROTATE_AFTER:
        return _("⚠ %(age)s: rotate it, it is older than 90 days") % {"age": age}
    return age


def end_of_secret(row: IntegrationSecret) -> str:
    if row.expires_at is None:
        return "-"
    moment = date_format(timezone.localtime(row.expires_at), "DATETIME_FORMAT")
    if row.expires_at > timezone.now():
        return _("previous accepted until %(moment)s") % {"moment": moment}
    return _("ended %(moment)s") % {"moment": moment}


@admin.register(IntegrationSecret)
class IntegrationSecretAdmin(ReadOnlyAdmin):
    """Secrets of every integration by their state and age; never their values."""

    list_display = ["integration", "purpose", "state", "age", "end", "late_uses", "late_used_at"]
    list_filter = ["state", "purpose", "integration"]
    list_select_related = ["integration"]
    search_fields = ["integration__slug"]
    ordering = ["activated_at", "id"]
    fields = ["integration", "purpose", "state", "age", "end", "late_uses", "late_used_at"]

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("installs.change_integrationsecret")

    def get_urls(self) -> list[URLPattern]:
        act = path(
            "<uuid:integration_id>/<slug:purpose>/<slug:verb>/",
            self.admin_site.admin_view(self.act),
            name="installs_integrationsecret_act",
        )
        return [act, *super().get_urls()]

    @admin.display(description=gettext_lazy("age"))
    def age(self, row: IntegrationSecret) -> str:
        return age_of_secret(row, timezone.now())

    @admin.display(description=gettext_lazy("accepted until"))
    def end(self, row: IntegrationSecret) -> str:
        return end_of_secret(row)

    def act(
        self, request: HttpRequest, integration_id: UUID, purpose: str, verb: str
    ) -> HttpResponse:
        if not self.has_rotate_permission(request):
            raise PermissionDenied
        if purpose not in credentials.OWN_PURPOSES or verb not in QUESTIONS:
            raise Http404
        integration = get_object_or_404(Integration, pk=integration_id)
        if request.method != "POST":
            return self._ask(request, integration, purpose, verb)
        actor = staff_label(request)
        if verb == "stage":
            value = credentials.stage(integration, purpose, actor)
            return self._show_once(request, integration, purpose, value)
        change = credentials.cut_over if verb == "cut-over" else credentials.revoke_previous
        try:
            change(integration, purpose, actor)
        except ApiError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.message_user(request, f"{integration}, {purpose}: {DONE[verb]}", messages.SUCCESS)
        return HttpResponseRedirect(integration_page(integration))

    def _ask(
        self, request: HttpRequest, integration: Integration, purpose: str, verb: str
    ) -> HttpResponse:
        rows = IntegrationSecret.objects.of(integration, purpose).defer("value")
        context = {
            **self._context(request, integration, purpose, QUESTIONS[verb]),
            "verb": verb,
            "rows": {str(row.state): row for row in rows},
            "accepted": rows.filter(ACCEPTED_NOW, state=SecretState.PREVIOUS).first(),
        }
        return TemplateResponse(request, "admin/installs/secret_confirmation.html", context)

    def _show_once(
        self, request: HttpRequest, integration: Integration, purpose: str, value: str
    ) -> HttpResponse:
        title = gettext_lazy("The next secret, shown only now")
        context = {**self._context(request, integration, purpose, title), "value": value}
        return TemplateResponse(request, "admin/installs/secret_shown.html", context)

    def _context(
        self, request: HttpRequest, integration: Integration, purpose: str, title: Promise
    ) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "integration": integration,
            "integration_page": integration_page(integration),
            "purpose": Purpose(purpose),
        }


def staff_label(request: HttpRequest) -> str:
    return f"staff:{request.user.get_username()}"[:254]


def integration_page(integration: Integration) -> str:
    return f"{reverse('admin:catalog_integration_change', args=[integration.pk])}#secrets-group"
