from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

import catalog.api
import dispatch.api
import installs.api
import webhooks.api
import webhooks.feed_api
import webhooks.recovery_api
import webhooks.reference
import webhooks.trying
from poszhub import failures
from poszhub.health import health, readiness
from poszhub.metrics import metrics

v1 = [
    path("capabilities", catalog.api.CapabilityList.as_view()),
    path("integrations", catalog.api.IntegrationList.as_view()),
    path("integrations/<slug:slug>", catalog.api.IntegrationDetail.as_view()),
    path("integrations/<slug:slug>/webhook", webhooks.api.receive_webhook),
    path("integrations/<slug:slug>/events", webhooks.feed_api.IntegrationEventFeed.as_view()),
    path("installs", installs.api.InstallList.as_view()),
    path("installs/preview", installs.api.InstallPreview.as_view()),
    path("installs/swap", installs.api.InstallSwap.as_view()),
    path("installs/<uuid:install_id>", installs.api.InstallDetail.as_view()),
    path("installs/<uuid:install_id>/enable", installs.api.InstallEnable.as_view()),
    path("installs/<uuid:install_id>/disable", installs.api.InstallDisable.as_view()),
    path("installs/<uuid:install_id>/test", installs.api.InstallTest.as_view()),
    path(
        "installs/<uuid:install_id>/accept-versions",
        installs.api.InstallAcceptVersions.as_view(),
    ),
    path("dispatch/<slug:capability>", dispatch.api.Dispatch.as_view()),
    path("installs/<uuid:install_id>/send-example", webhooks.trying.InstallSendExample.as_view()),
    path("event-types", webhooks.reference.EventTypeList.as_view()),
    path("event-types/<str:event_type>", webhooks.reference.EventTypeDetail.as_view()),
    path("events", webhooks.api.EventList.as_view()),
    path("deliveries", webhooks.api.DeliveryList.as_view()),
    path("deliveries/recover", webhooks.recovery_api.DeliveryRecover.as_view()),
    path("deliveries/recover/<uuid:recovery_id>", webhooks.recovery_api.RecoveryDetail.as_view()),
    path("deliveries/replay", webhooks.recovery_api.DeliveryReplayChosen.as_view()),
    path("deliveries/<uuid:delivery_id>/replay", webhooks.api.DeliveryReplay.as_view()),
    path("openapi.yaml", SpectacularAPIView.as_view(), name="openapi"),
]

urlpatterns = [
    path("", RedirectView.as_view(url="/integrations")),
    # Before those of installs, which take any verb below an install for their own.
    path("", include("webhooks.urls")),
    path("", include("installs.urls")),
    path("till", include("dispatch.urls")),
    path("accounts/", include("allauth.urls")),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("v1/", include(v1)),
    path("docs/integrations/openapi.yaml", SpectacularAPIView.as_view()),
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
