"""Where staff have a partner tried against its contracts: a page, a column of the list, a warning."""

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from catalog.addresses import check_url
from catalog.models import Integration, IntegrationStatus
from catalog.schema import Field, fields
from dispatch.certification import runs
from dispatch.certification.examination import Subject
from dispatch.certification.stand_in import ACCESS_TOKEN
from dispatch.models import Certification, CertificationStatus
from installs import config_form
from installs.admin import IntegrationWithSecretsAdmin
from installs.admin_secrets import staff_label


class CertificationForm(forms.Form):
    """What to try, where, and with the settings of which test merchant. Those are never shown again."""

    capabilities = forms.MultipleChoiceField(
        label=gettext_lazy("Capabilities"), widget=forms.CheckboxSelectMultiple
    )
    base_url = forms.CharField(
        label=gettext_lazy("Another API address"),
        required=False,
        max_length=500,
        help_text=gettext_lazy("Such as a test environment. Empty: that of the catalog row."),
    )
    events_url = forms.CharField(
        label=gettext_lazy("Another event endpoint"),
        required=False,
        max_length=500,
        help_text=gettext_lazy(
            "With another API address, events are sent only where one is written here."
        ),
    )

    def __init__(self, integration: Integration, *args: Any) -> None:
        super().__init__(*args)
        self.integration = integration
        names = list(integration.capabilities)
        choice: Any = self.fields["capabilities"]
        choice.choices = [(name, f"{name}@{integration.capabilities[name]}") for name in names]
        choice.initial = names
        for item in fields(integration.config_schema):
            self.fields[f"{config_form.PREFIX}{item.name}"] = _setting(item)
        if integration.is_oauth:
            self.fields[ACCESS_TOKEN] = _secret(_("Access token of a test account"))

    def setting_fields(self) -> list[forms.BoundField]:
        return [item for item in self if item.name not in self.base_fields]

    def address_fields(self) -> list[forms.BoundField]:
        return [self["base_url"], self["events_url"]]

    def clean_base_url(self) -> str:
        return self._address("base_url")

    def clean_events_url(self) -> str:
        return self._address("events_url")

    def _address(self, name: str) -> str:
        url = str(self.cleaned_data[name])
        if url:
            check_url(url)
        return url

    def subject(self, posted: Any) -> Subject:
        config = config_form.read(self.integration, posted, "merchant")
        settings = {name: value for name, value in config.items() if value is not None}
        if token := self.cleaned_data.get(ACCESS_TOKEN):
            settings[ACCESS_TOKEN] = token
        chosen = self.cleaned_data
        return Subject(
            self.integration,
            chosen["capabilities"],
            chosen["base_url"],
            chosen["events_url"],
            settings,
        )


def _setting(item: Field) -> forms.Field:
    if item.secret:
        return _secret(item.title())
    if item.type == "boolean":
        return forms.BooleanField(label=item.title(), required=False, initial=bool(item.default))
    if item.choices:
        pairs = [("", "-"), *((str(choice), str(choice)) for choice in item.choices)]
        return forms.ChoiceField(label=item.title(), required=False, choices=pairs)
    return forms.CharField(label=item.title(), required=False, initial=item.default)


def _secret(title: str) -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": "off"})
    return forms.CharField(label=title, required=False, widget=widget, max_length=8192)


class CertifyingAdmin(IntegrationWithSecretsAdmin):
    list_display = [
        item
        for name in IntegrationWithSecretsAdmin.list_display
        for item in ([name, "certified"] if name == "status" else [name])
    ]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path(
                "<uuid:integration_id>/certify/",
                view(self.certify),
                name="catalog_integration_certify",
            ),
            path(
                "<uuid:integration_id>/certify/<uuid:certification_id>.json",
                view(self.certification_json),
                name="catalog_integration_certification",
            ),
        ]
        return [*own, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Integration]:
        found = Certification.objects.that_count_for(
            OuterRef("pk"), OuterRef("api_base_url"), OuterRef("outbound_url")
        )
        rows: QuerySet[Integration] = super().get_queryset(request)
        return rows.annotate(
            **{
                f"certified_{name}": Subquery(found.values(name)[:1])
                for name in ("status", "versions", "finished_at")
            }
        )

    @admin.display(description=gettext_lazy("certified"))
    def certified(self, row: Any) -> str:
        if row.certified_status is None:
            return _("not tried")
        day = date_format(localtime(row.certified_finished_at), "DATE_FORMAT")
        if row.certified_versions != row.capabilities:
            return _("not for these versions, %(day)s") % {"day": day}
        if row.certified_status == CertificationStatus.PASSED:
            return _("passed, %(day)s") % {"day": day}
        return _("failed, %(day)s") % {"day": day}

    def certify(self, request: HttpRequest, integration_id: UUID) -> HttpResponse:
        integration = self._row(request, integration_id)
        if request.method != "POST":
            return self._page(request, integration, CertificationForm(integration))
        form = CertificationForm(integration, request.POST)
        if not form.is_valid():
            return self._page(request, integration, form)
        runs.start(form.subject(request.POST), staff_label(request))
        self.log_change(request, integration, "certification")
        return HttpResponseRedirect(request.path)

    def certification_json(
        self, request: HttpRequest, integration_id: UUID, certification_id: UUID
    ) -> HttpResponse:
        integration = self._row(request, integration_id)
        row = get_object_or_404(Certification, pk=certification_id, integration=integration)
        text = json.dumps(row.report, ensure_ascii=False, indent=2)
        name = f"{integration.slug}-{row.created_at:%Y%m%d-%H%M}.json"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(text, content_type="application/json", headers=headers)

    def _row(self, request: HttpRequest, integration_id: UUID) -> Integration:
        integration = get_object_or_404(Integration, pk=integration_id)
        if not self.has_change_permission(request, integration):
            raise PermissionDenied
        return integration

    def _page(
        self, request: HttpRequest, integration: Integration, form: CertificationForm
    ) -> HttpResponse:
        row = runs.newest(integration)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Certification"),
            "opts": self.opts,
            "integration": integration,
            "form": form,
            "certification": row,
            "report": row.report if row else None,
        }
        return TemplateResponse(request, "admin/dispatch/certification.html", context)

    @admin.action(permissions=["change"], description=gettext_lazy("Make available"))
    def make_available(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        super().make_available(request, queryset)
        chosen = [row.pk for row in queryset]
        self._warn(request, Integration.objects.filter(pk__in=chosen))

    def save_model(self, request: HttpRequest, obj: Integration, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if {"status", "capabilities"} & set(form.changed_data):
            self._warn(request, [obj])

    def _warn(self, request: HttpRequest, rows: Iterable[Integration]) -> None:
        """A partner may be offered without a certificate: who does so should know."""
        for row in rows:
            if row.status == IntegrationStatus.AVAILABLE and not runs.is_certified(row):
                text = _(
                    "“%(name)s” is available, but no certification has passed for the versions that it "
                    "declares."
                )
                self.message_user(request, text % {"name": row}, messages.WARNING)
