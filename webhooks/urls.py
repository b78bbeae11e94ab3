from django.urls import path

from webhooks import (
    erasure_views,
    inbound_views,
    payment_views,
    recovering,
    reference,
    trying,
    views,
)

app_name = "webhooks"
urlpatterns = [
    path("deliveries", views.deliveries, name="deliveries"),
    path("deliveries/replay", views.replay_selected, name="replay-selected"),
    path("deliveries/recover", recovering.recover, name="recover"),
    path(
        "deliveries/endpoints/<uuid:install_id>/open",
        views.take_events_again,
        name="take-events-again",
    ),
    path("deliveries/payments", payment_views.payments, name="payments"),
    path("deliveries/erasures", erasure_views.erasures, name="erasures"),
    path("deliveries/inbound", inbound_views.events, name="inbound"),
    path(
        "deliveries/inbound/replay", inbound_views.replay_selected, name="replay-inbound-selected"
    ),
    path("deliveries/inbound/recover", inbound_views.replay_since, name="replay-inbound-since"),
    path("deliveries/inbound/<uuid:event_id>", inbound_views.event, name="inbound-event"),
    path("deliveries/inbound/<uuid:event_id>/replay", inbound_views.replay, name="replay-inbound"),
    path("deliveries/<uuid:delivery_id>", views.delivery, name="delivery"),
    path("deliveries/<uuid:delivery_id>/replay", views.replay, name="replay"),
    path(
        "integrations/<slug:slug>/installs/<uuid:install_id>/example",
        trying.example,
        name="send-example",
    ),
    path("docs/integrations/events", reference.page, name="events"),
]
