"""Owner sign-in through one OpenID Connect provider that is configured for the whole product.

It opens no accounts: only a person whose e-mail address Posz knows, and whom the provider says to own
that address, gets in, with the second step that they have set up. Nothing of the provider is kept.
The provider is spoken to through the HTTP door, like everybody else outside.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlencode

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.shortcuts import render

from dispatch import door
from installs.models import User

TIMEOUT_SECONDS = 10

# Nothing is ever stored in them.
for model in (SocialAccount, SocialApp, SocialToken):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


class SingleSignOnAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:  # noqa: ARG002
        return False

    def get_requests_session(self) -> "DoorSession":
        return DoorSession(self.request)

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        person = known_person(sociallogin.account.extra_data)
        if person is None or sociallogin.state.get("process") != "login":
            raise refusal(request, "unknown", 403)
        sociallogin.user = person


def known_person(told: Mapping[str, Any]) -> User | None:
    """Whom the provider's answer is about, where it is the configured provider's and says enough.

    https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation and #UserInfoResponse: the
    user info counts only for the subject of the ID token.
    """
    id_token, info = told.get("id_token") or {}, told.get("userinfo") or {}
    if id_token.get("iss") != settings.OIDC_ISSUER or not id_token.get("sub"):
        return None
    if info and info.get("sub") != id_token["sub"]:
        return None
    claims = {**id_token, **info}
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str) or not email:
        return None
    return User.objects.filter(email=email.lower()).first()


def refusal(request: HttpRequest, problem: str, status: int) -> ImmediateHttpResponse:
    context = {"problem": problem}
    return ImmediateHttpResponse(
        render(request, "account/single_sign_on_refused.html", context, status=status)
    )


class DoorSession:
    """The part of a `requests` session that allauth uses, with the door behind it."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_args: object) -> None:
        pass

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> "DoorAnswer":
        return self.request("GET", url, headers=headers)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: Any = None,
    ) -> "DoorAnswer":
        sent = {"Accept": "application/json", **(headers or {})}
        if data:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        if auth is not None:
            pair = f"{auth.username}:{auth.password}".encode()
            sent["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        try:
            reply = door.call(
                method,
                f"{url}?{urlencode(params)}" if params else url,
                headers=sent,
                body=urlencode(data).encode() if data else None,
                timeout_seconds=TIMEOUT_SECONDS,
            )
            document = reply.json()
        except door.DoorError:
            raise refusal(self._request, "unreachable", 502) from None
        if reply.status != 200 or not isinstance(document, dict):
            raise refusal(self._request, "unreachable", 502)
        return DoorAnswer(document)


class DoorAnswer:
    status_code = 200

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.headers = {"content-type": "application/json"}
        self.text = json.dumps(document)
        self.content = self.text.encode()

    def json(self) -> dict[str, Any]:
        return self._document

    def raise_for_status(self) -> None:
        """Whatever was not 200 was refused before."""
