"""The OpenID Connect side of the provider, with a control by which a test says who signs in and how
the provider goes wrong: `POST /control` with a JSON object.

`person` are the claims of whoever signs in, `redirect_uris` what is registered, `rotate` true makes a
new signing key, `spoil` names one way of `SPOILED` to spoil every ID token from then on.
"""

import json
from typing import Any

import jwt
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider import views
from oauth2_provider.models import Application
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.settings import oauth2_settings

from tests.oauth_provider.tokens import EC_KEY, SPOILED, Claims, new_pem

STATE: dict[str, Any] = {"person": {}, "spoil": "", "is_broken": False}


class Validator(OAuth2Validator):  # type: ignore[misc]
    oidc_claim_scope = None

    def get_additional_claims(self, _request: Any) -> Claims:
        return dict(STATE["person"])


class TokenView(views.TokenView):  # type: ignore[misc]
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if STATE["is_broken"]:
            return HttpResponse("<h1>Out of order</h1>", status=500)
        response: HttpResponse = super().post(request, *args, **kwargs)
        spoil = SPOILED.get(STATE["spoil"])
        if response.status_code != 200 or spoil is None:
            return response
        answer = json.loads(response.content)
        claims = jwt.decode(answer["id_token"], options={"verify_signature": False})
        kid = jwt.get_unverified_header(answer["id_token"])["kid"]
        spoiled = spoil(claims, kid, oauth2_settings.OIDC_RSA_PRIVATE_KEY)
        return JsonResponse(answer | {"id_token": spoiled})


class KeysView(views.JwksInfoView):  # type: ignore[misc]
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if STATE["is_broken"]:
            return HttpResponse(status=503)
        keys = json.loads(super().get(request, *args, **kwargs).content)["keys"]
        elliptic = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY.public_key()))
        return JsonResponse({"keys": [*keys, elliptic | {"kid": "elliptic", "use": "sig"}]})


@csrf_exempt
def control(request: HttpRequest) -> HttpResponse:
    wanted = json.loads(request.body)
    if "redirect_uris" in wanted:
        Application.objects.update(redirect_uris=" ".join(wanted.pop("redirect_uris")))
    if wanted.pop("rotate", False):
        oauth2_settings.OIDC_RSA_PRIVATE_KEY = new_pem()
    STATE.update(wanted)
    return HttpResponse(status=204)


urlpatterns = [
    path("control", control),
    # At the addresses of those that they take the place of.
    path("o/token/", csrf_exempt(TokenView.as_view())),
    path("o/.well-known/jwks.json", KeysView.as_view()),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
]
