from django.urls import path

from installs import (
    address_pages,
    answers,
    connecting,
    mapping_pages,
    outlet_pages,
    signing_in,
    views,
)

app_name = "installs"
urlpatterns = [
    path("integrations", views.catalog, name="catalog"),
    path("integrations/<slug:slug>", views.detail, name="detail"),
    path("integrations/<slug:slug>/install", views.install, name="install"),
    path("integrations/<slug:slug>/effect", views.effect, name="effect"),
    path("integrations/<slug:slug>/plans/<uuid:plan_id>", views.plan, name="plan"),
    path("integrations/<slug:slug>/outlets", outlet_pages.save, name="outlets"),
    path("integrations/<slug:slug>/connect", connecting.connect, name="connect"),
    path("integrations/<slug:slug>/callback", connecting.callback, name="callback"),
    path(
        "integrations/<slug:slug>/installs/<uuid:install_id>/reconnect",
        connecting.reconnect,
        name="reconnect",
    ),
    path("integrations/<slug:slug>/confirm/<uuid:state_id>", connecting.confirm, name="confirm"),
    path(
        "integrations/<slug:slug>/installs/<uuid:install_id>/address",
        address_pages.address,
        name="address",
    ),
    path(
        "integrations/<slug:slug>/installs/<uuid:install_id>/mappings",
        mapping_pages.page,
        name="mappings",
    ),
    path(
        "integrations/<slug:slug>/installs/<uuid:install_id>/mappings/<uuid:mapping_id>",
        mapping_pages.decide,
        name="map",
    ),
    path("integrations/<slug:slug>/installs/<uuid:install_id>/<str:verb>", views.act, name="act"),
    path("accounts/sso/<uuid:merchant_id>/", signing_in.page, name="sign-in"),
    path("accounts/sso/<uuid:merchant_id>/start", signing_in.start, name="sign-in-start"),
    path("accounts/sso/<uuid:merchant_id>/callback", signing_in.callback, name="sign-in-callback"),
    path(
        "integrations/<slug:slug>/linked/<uuid:account_id>/unlink",
        signing_in.unlink,
        name="unlink",
    ),
    path("answers", answers.answers, name="answers"),
    path("activity", views.activity, name="activity"),
    path("merchant", views.switch_merchant, name="switch-merchant"),
]
