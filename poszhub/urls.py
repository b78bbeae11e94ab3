from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

import catalog.api
import dispatch.api
import dispatch.payment_api
import dispatch.provider_guide
import dispatch.reference
import dispatch.table_api
import installs.api
import installs.mapping_api
import installs.token_api
import webhooks.api
import webhooks.feed_api
import webhooks.inbound_api
import webhooks.inbox_api
import webhooks.menu_api
import webhooks.recovery_api
import webhooks.reference
import webhooks.trying
from poszhub import failures
from poszhub.health import health, readiness
from poszhub.metrics import metrics
from poszhub.openapi import serve_document

# Patterns are tried in their order: what is asked for most stands first.
v1 = [
    path("integrations/<slug:slug>/webhook", webhooks.api.receive_webhook),
    path("capabilities", catalog.api.CapabilityList.as_view()),
    path("capabilities/<str:capability>", dispatch.reference.CapabilityDetail.as_view()),
    path("integrations", catalog.api.IntegrationList.as_view()),
    path("integrations/<slug:slug>", catalog.api.IntegrationDetail.as_view()),
    path("integrations/<slug:slug>/webhook/<str:secret>", webhooks.api.receive_webhook),
    path("integrations/<slug:slug>/events", webhooks.feed_api.IntegrationEventFeed.as_view()),
    path(
        "integrations/<slug:slug>/pay_at_table/<str:operation>",
        dispatch.table_api.TableCalls.as_view(),
    ),
    path("integrations/<slug:slug>/menu", webhooks.menu_api.IntegrationMenu.as_view()),
    path("installs", installs.api.InstallList.as_view()),
    path("installs/preview", installs.api.InstallPreview.as_view()),
    path("installs/swap", installs.api.InstallSwap.as_view()),
    path("installs/<uuid:install_id>", installs.api.InstallDetail.as_view()),
    path("installs/<uuid:install_id>/enable", installs.api.InstallEnable.as_view()),
    path("installs/<uuid:install_id>/disable", installs.api.InstallDisable.as_view()),
    path("installs/<uuid:install_id>/outlets", installs.api.InstallOutlets.as_view()),
    path("installs/<uuid:install_id>/mappings", installs.mapping_api.InstallMappings.as_view()),
    path(
        "installs/<uuid:install_id>/mappings/<uuid:mapping_id>",
        installs.mapping_api.InstallMapping.as_view(),
    ),
    path("installs/<uuid:install_id>/test", installs.api.InstallTest.as_view()),
    path(
        "installs/<uuid:install_id>/accept-versions",
        installs.api.InstallAcceptVersions.as_view(),
    ),
    path("dispatch/<slug:capability>", dispatch.api.Dispatch.as_view()),
    path("installs/<uuid:install_id>/send-example", webhooks.trying.InstallSendExample.as_view()),
    path("payments/<path:payment_id>", dispatch.payment_api.PaymentDetail.as_view()),
    path("table-payments", dispatch.payment_api.TablePaymentList.as_view()),
    path("event-types", webhooks.reference.EventTypeList.as_view()),
    path("event-types/<str:event_type>", webhooks.reference.EventTypeDetail.as_view()),
    path("events", webhooks.api.EventList.as_view()),
    path("deliveries", webhooks.api.DeliveryList.as_view()),
    path("deliveries/recover", webhooks.recovery_api.DeliveryRecover.as_view()),
    path("deliveries/recover/<uuid:recovery_id>", webhooks.recovery_api.RecoveryDetail.as_view()),
    path("deliveries/replay", webhooks.recovery_api.DeliveryReplayChosen.as_view()),
    path("deliveries/<uuid:delivery_id>/replay", webhooks.api.DeliveryReplay.as_view()),
    path("inbox", webhooks.inbox_api.Inbox.as_view()),
    path("inbox/acknowledge", webhooks.inbox_api.InboxAcknowledge.as_view()),
    path("inbound-events", webhooks.inbound_api.InboundEventList.as_view()),
    path("inbound-events/replay", webhooks.inbound_api.InboundEventReplayChosen.as_view()),
    path("inbound-events/recover", webhooks.inbound_api.InboundEventRecover.as_view()),
    path("inbound-events/<uuid:event_id>", webhooks.inbound_api.InboundEventDetail.as_view()),
    path(
        "inbound-events/<uuid:event_id>/replay", webhooks.inbound_api.InboundEventReplay.as_view()
    ),
    path("oauth/token", installs.token_api.issue_token),
    path("openapi.yaml", serve_document, name="openapi"),
]

urlpatterns = [
    path("v1/", include(v1)),
    path("", RedirectView.as_view(url="/integrations")),
    # Before those of installs, which take any verb below an install for their own.
    path("", include("webhooks.urls")),
    path("", include("installs.urls")),
    path("", include("dispatch.urls")),
    path("accounts/", include("allauth.urls")),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("docs/integrations", dispatch.reference.index, name="docs"),
    path("docs/integrations/webhooks", dispatch.provider_guide.page),
    path(
        "docs/integrations/capabilities/<str:capability>",
        dispatch.reference.page,
        name="docs-capability",
    ),
    path("docs/integrations/openapi.yaml", serve_document),
    path("healthz", health),
    path("readyz", readiness),
    path("metrics", metrics),
    # Everything else, so that an unknown address never gets a debug page or a slash redirect.
    re_path(r"", failures.not_found),
]

handler400 = failures.bad_request
handler403 = failures.forbidden
handler404 = failures.not_found
handler500 = failures.server_error
