from django.urls import path

from webhooks import views

app_name = "webhooks"
urlpatterns = [
    path("", views.deliveries, name="deliveries"),
    path("/replay", views.replay_selected, name="replay-selected"),
    path("/endpoints/<uuid:install_id>/open", views.take_events_again, name="take-events-again"),
    path("/<uuid:delivery_id>", views.delivery, name="delivery"),
    path("/<uuid:delivery_id>/replay", views.replay, name="replay"),
]
