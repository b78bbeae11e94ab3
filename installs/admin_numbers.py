"""Where staff say by which number a partner knows a merchant."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from catalog.admin import ReadOnlyAdmin
from catalog.envelope import ApiError
from installs import connection
from installs.access import Actor
from installs.admin_secrets import staff_label
from installs.models import Install, Role


class NumberForm(forms.Form):
    number = forms.CharField(
        label=gettext_lazy("Number at the partner"),
        max_length=255,
        required=False,
        help_text=gettext_lazy(
            "What the partner’s webhooks call this merchant. Empty: it is not known."
        ),
        widget=forms.TextInput(attrs={"autocomplete": "off", "class": "vTextField"}),
    )


class NumberedAdmin(ReadOnlyAdmin):
    """An install's number at the partner changes here; everything else only through its verbs."""

    change_form_template = "admin/installs/install.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.number)
        number = path("<uuid:install_id>/number/", view, name="installs_install_number")
        return [number, *super().get_urls()]

    def number(self, request: HttpRequest, install_id: UUID) -> HttpResponse:
        if not request.user.has_perm("installs.change_install"):
            raise PermissionDenied
        install = get_object_or_404(Install.objects.select_related("merchant"), pk=install_id)
        form = NumberForm(request.POST or None, initial={"number": install.external_merchant_id})
        if form.is_valid() and self._is_noted(request, install, form):
            url = reverse("admin:installs_install_change", args=[install.pk])
            return HttpResponseRedirect(url)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Number at the partner"),
            "opts": self.opts,
            "install": install,
            "form": form,
        }
        return TemplateResponse(request, "admin/installs/number.html", context)

    def _is_noted(self, request: HttpRequest, install: Install, form: Any) -> bool:
        actor = Actor(install.merchant_id, staff_label(request), Role.OWNER)
        try:
            connection.name_at_partner(actor, install.pk, form.cleaned_data["number"])
        except ApiError as error:
            form.add_error("number", error.message)
            return False
        self.message_user(request, _("The number is noted."), messages.SUCCESS)
        return True
