from django.urls import path

from dispatch.till import page, receipts

app_name = "till"
urlpatterns = [
    path("till", receipts.till, name="till"),
    path("till/partners/<slug:slug>", page.turn_partner, name="turn-partner"),
    path("till/<slug:slug>", page.surface, name="surface"),
]
