from django.urls import path

from installs import answers, connecting, views

app_name = "installs"
urlpatterns = [
    path("integrations", views.catalog, name="catalog"),
    path("integrations/<slug:slug>", views.detail, name="detail"),
    path("integrations/<slug:slug>/install", views.install, name="install"),
    path("integrations/<slug:slug>/effect", views.effect, name="effect"),
    path("integrations/<slug:slug>/plans/<uuid:plan_id>", views.plan, name="plan"),
    path("integrations/<slug:slug>/connect", connecting.connect, name="connect"),
    path("integrations/<slug:slug>/callback", connecting.callback, name="callback"),
    path(
        "integrations/<slug:slug>/installs/<uuid:install_id>/reconnect",
        connecting.reconnect,
        name="reconnect",
    ),
    path("integrations/<slug:slug>/confirm/<uuid:state_id>", connecting.confirm, name="confirm"),
    path("integrations/<slug:slug>/installs/<uuid:install_id>/<str:verb>", views.act, name="act"),
    path("answers", answers.answers, name="answers"),
    path("activity", views.activity, name="activity"),
    path("merchant", views.switch_merchant, name="switch-merchant"),
]
