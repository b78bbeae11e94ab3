from django.urls import path

from installs import views

app_name = "installs"
urlpatterns = [
    path("integrations", views.catalog, name="catalog"),
    path("integrations/<slug:slug>", views.detail, name="detail"),
    path("integrations/<slug:slug>/install", views.install, name="install"),
    path("integrations/<slug:slug>/installs/<uuid:install_id>/<str:verb>", views.act, name="act"),
    path("activity", views.activity, name="activity"),
    path("merchant", views.switch_merchant, name="switch-merchant"),
]
