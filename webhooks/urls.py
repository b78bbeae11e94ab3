from django.urls import path

from webhooks import reference, trying

app_name = "webhooks"
urlpatterns = [
    path(
        "integrations/<slug:slug>/installs/<uuid:install_id>/example",
        trying.example,
        name="send-example",
    ),
    path("docs/integrations/events", reference.page, name="events"),
]
