from collections.abc import Callable

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider import views
from oauth2_provider.decorators import protected_resource


class EverybodyIsAnna:
    """Signing in is not what is tested: whoever opens the consent page is this person."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.user = User.objects.get(username="anna")  # type: ignore[assignment]
        return self.get_response(request)


@protected_resource(scopes=["events:write"])
def me(request: HttpRequest) -> JsonResponse:
    user = request.resource_owner  # type: ignore[attr-defined]
    return JsonResponse({"id": user.pk, "name": user.first_name})


urlpatterns = [
    path("authorize", views.AuthorizationView.as_view()),
    path("token", csrf_exempt(views.TokenView.as_view())),
    path("revoke", csrf_exempt(views.RevokeTokenView.as_view())),
    path("me", me),
    path("", include("tests.oauth_provider.openid")),
]
