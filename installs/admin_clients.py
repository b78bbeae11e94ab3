"""Where staff make, rotate and revoke the client by which a partner gets its bearer tokens.

A secret is on one page once: the answer to the request that made it, as in `admin_secrets`.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from catalog.admin import ReadOnlyAdmin
from catalog.envelope import ApiError
from catalog.models import Integration
from installs import issuer
from installs.admin_secrets import integration_page, staff_label
from installs.models import PartnerClient

QUESTIONS: dict[str, Promise] = {
    "create": gettext_lazy("Make a client for this partner?"),
    "rotate": gettext_lazy("Make a new secret for the client?"),
    "revoke-tokens": gettext_lazy("Revoke all tokens?"),
    "revoke": gettext_lazy("Revoke the client?"),
}
EFFECTS: dict[str, Promise] = {
    "create": gettext_lazy(
        "A client id and a secret are made; the secret is shown once. With them the partner gets the "
        "bearer tokens that its webhooks carry."
    ),
    "rotate": gettext_lazy(
        "The client id stays. The new secret is shown once and works at once; the one in use now is "
        "accepted for the overlap of the integration, and one before that no longer."
    ),
    "revoke-tokens": gettext_lazy(
        "Every token that the partner holds is refused within a second. It can get new ones with its "
        "client."
    ),
    "revoke": gettext_lazy(
        "The client gets no more tokens, and every token that the partner holds is refused within a "
        "second. Its webhooks are refused until it has another client."
    ),
}
DONE: dict[str, Promise] = {
    "revoke-tokens": gettext_lazy("Every token is revoked."),
    "revoke": gettext_lazy("The client and all of its tokens are revoked."),
}
MAKERS: dict[str, Callable[[Integration, str], issuer.NewClient]] = {
    "create": issuer.create_client,
    "rotate": issuer.rotate_client,
}
ENDERS: dict[str, Callable[[Integration, str], None]] = {
    "revoke-tokens": issuer.revoke_tokens,
    "revoke": issuer.revoke_client,
}


@admin.register(PartnerClient)
class PartnerClientAdmin(ReadOnlyAdmin):
    """The clients of every partner; never their secrets."""

    list_display = [
        "integration",
        "client_id",
        "created_at",
        "rotated_at",
        "used_at",
        "revoked_at",
    ]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter), "integration"]
    list_select_related = ["integration"]
    search_fields = ["integration__slug", "client_id"]
    ordering = ["-created_at"]
    fields = [
        "integration",
        "client_id",
        "created_at",
        "rotated_at",
        "previous_until",
        "used_at",
        "revoked_at",
    ]

    def has_issue_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("installs.change_partnerclient")

    def get_urls(self) -> list[URLPattern]:
        act = path(
            "<uuid:integration_id>/act/<slug:verb>/",
            self.admin_site.admin_view(self.act),
            name="installs_partnerclient_act",
        )
        return [act, *super().get_urls()]

    def act(self, request: HttpRequest, integration_id: UUID, verb: str) -> HttpResponse:
        if not self.has_issue_permission(request):
            raise PermissionDenied
        if verb not in QUESTIONS:
            raise Http404
        integration = get_object_or_404(Integration, pk=integration_id)
        context = self._context(request, integration, verb)
        if request.method != "POST":
            template = "admin/installs/client_confirmation.html"
            return TemplateResponse(request, template, context)
        try:
            if verb in MAKERS:
                new = MAKERS[verb](integration, staff_label(request))
                title = gettext_lazy("The secret of the client, shown only now")
                context |= {"title": title, "client": new.row, "value": new.secret}
                return TemplateResponse(request, "admin/installs/client_shown.html", context)
            ENDERS[verb](integration, staff_label(request))
        except ApiError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.message_user(request, f"{integration}: {DONE[verb]}", messages.SUCCESS)
        return HttpResponseRedirect(client_panel(integration))

    def _context(self, request: HttpRequest, integration: Integration, verb: str) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": QUESTIONS[verb],
            "effect": EFFECTS[verb],
            "opts": self.opts,
            "integration": integration,
            "integration_page": client_panel(integration),
            "client": issuer.client_of(integration),
        }


def client_panel(integration: Integration) -> str:
    return integration_page(integration).replace("#secrets-group", "#partner-client")
