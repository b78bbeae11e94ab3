"""Where staff set up a provider's webhooks: added to the catalog's admin, which knows no verifier."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.cache import cache
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_htmx.http import HttpResponseClientRedirect

from catalog.admin import pretty
from catalog.models import Integration
from dispatch.admin_certification import CertifyingAdmin
from dispatch.inbound_composer import Composer
from dispatch.inbound_forms import KINDS
from dispatch.models import ParkedReport, PaymentIntent, TableCheck, TablePayment
from dispatch.payment_admin import (
    ParkedReportAdmin,
    PaymentAdmin,
    TableCheckAdmin,
    TablePaymentAdmin,
)
from installs.admin import IntegrationSecretsForm, IntegrationWithSecretsAdmin
from installs.admin_secrets import staff_label

COMPOSED = ("inbound_verification", "inbound_mapping")
SENT_PER_MINUTE = 60

admin.site.register(PaymentIntent, PaymentAdmin)
admin.site.register(ParkedReport, ParkedReportAdmin)
admin.site.register(TableCheck, TableCheckAdmin)
admin.site.register(TablePayment, TablePaymentAdmin)
admin.site.unregister(Integration)


def without_documents() -> Any:
    """The documents are shown, and composed on a page of their own, which wants a sample."""
    shown = dict(zip(COMPOSED, ("verification_shown", "mapping_shown"), strict=True))
    return [
        (title, {**options, "fields": [shown.get(name, name) for name in options["fields"]]})
        for title, options in IntegrationWithSecretsAdmin.fieldsets
    ]


class IntegrationInboundForm(IntegrationSecretsForm):
    def add_error(self, field: str | None, error: Any) -> None:
        """A mistake in a document that is composed elsewhere is told above the form."""
        found = getattr(error, "error_dict", {})
        elsewhere = [item for name in COMPOSED for item in found.pop(name, [])]
        if elsewhere:
            found[NON_FIELD_ERRORS] = [*found.get(NON_FIELD_ERRORS, []), *elsewhere]
        super().add_error(field, error)


@admin.register(Integration)
class IntegrationWithInboundAdmin(CertifyingAdmin):
    form = IntegrationInboundForm
    change_form_template = "admin/dispatch/integration.html"
    fieldsets = without_documents()
    exclude = COMPOSED
    readonly_fields = [
        *IntegrationWithSecretsAdmin.readonly_fields,
        "verification_shown",
        "mapping_shown",
    ]

    def get_urls(self) -> list[URLPattern]:
        inbound = path(
            "<uuid:integration_id>/inbound/",
            self.admin_site.admin_view(self.inbound),
            name="catalog_integration_inbound",
        )
        return [inbound, *super().get_urls()]

    @admin.display(description=gettext_lazy("inbound verification"))
    def verification_shown(self, row: Integration) -> str | SafeString:
        return pretty(row.inbound_verification) if row.inbound_verification else str(KINDS["posz"])

    @admin.display(description=gettext_lazy("inbound fields"))
    def mapping_shown(self, row: Integration) -> str | SafeString:
        return (
            pretty(row.inbound_mapping) if row.inbound_mapping else _("the standard body of Posz")
        )

    def inbound(self, request: HttpRequest, integration_id: UUID) -> HttpResponse:
        integration = get_object_or_404(Integration, pk=integration_id)
        if not self.has_change_permission(request, integration):
            raise PermissionDenied
        actor = staff_label(request)
        if request.method != "POST":
            return self._drawn(request, Composer.opened(integration, actor))
        if request.POST.get("do") == "key" and not may_enter_keys(request):
            raise PermissionDenied
        is_too_often = spend(f"inbound-setup:{request.user.pk}") > SENT_PER_MINUTE
        composer = Composer.sent(integration, actor, request, is_too_often=is_too_often)
        if not composer.is_saved:
            return self._drawn(request, composer)
        self.log_change(request, integration, "inbound")
        text = _("%(name)s: its webhooks are set up.") % {"name": integration}
        self.message_user(request, text, messages.SUCCESS)
        url = reverse("admin:catalog_integration_change", args=[integration.pk])
        is_partial = bool(getattr(request, "htmx", False))
        return HttpResponseClientRedirect(url) if is_partial else HttpResponseRedirect(url)

    def _drawn(self, request: HttpRequest, composer: Composer) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            **composer.context(),
            "title": _("Inbound signature"),
            "opts": self.opts,
            "may_enter_keys": may_enter_keys(request),
        }
        return TemplateResponse(request, "admin/dispatch/inbound.html", context)


def may_enter_keys(request: HttpRequest) -> bool:
    return request.user.has_perm("installs.change_integrationsecret")


def spend(name: str) -> int:
    """How often this was done in this minute, with this time."""
    key = f"{name}:{timezone.now():%Y%m%d%H%M}"
    cache.add(key, 0, timeout=120)
    try:
        return cache.incr(key)
    except ValueError:  # evicted between the two calls
        return 1
