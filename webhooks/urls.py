from django.urls import path

from webhooks import recovering, reference, trying, views

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
    path("deliveries/<uuid:delivery_id>", views.delivery, name="delivery"),
    path("deliveries/<uuid:delivery_id>/replay", views.replay, name="replay"),
    path(
        "integrations/<slug:slug>/installs/<uuid:install_id>/example",
        trying.example,
        name="send-example",
    ),
    path("docs/integrations/events", reference.page, name="events"),
]
