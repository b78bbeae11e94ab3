"""The menu, for partners that fetch it."""

from typing import Any, cast

from django.http import HttpResponse
from django.utils.cache import get_conditional_response
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from catalog.envelope import ApiError
from catalog.models import Integration
from catalog.strict_json import dumps
from installs import outlets, scope
from installs.models import Install, Location
from webhooks import addressee, feed, menus
from webhooks.feed_api import SIGNATURE

CAPABILITY = "menu_sync_outbound"


class MenuQuestionSerializer(serializers.Serializer[Any]):
    merchant_id = serializers.UUIDField(required=False, help_text="Or `external_merchant_id`.")
    external_merchant_id = serializers.CharField(
        required=False, max_length=255, help_text="Your own number of the merchant."
    )
    location_id = serializers.UUIDField(required=False, help_text="Or `external_location_id`.")
    external_location_id = serializers.CharField(
        required=False, max_length=255, help_text="Your own number of the outlet."
    )
    menu_version = serializers.CharField(
        required=False, max_length=200, help_text="404 where another one is in force."
    )


IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The ETag of what you have."
)
ANSWERS = {
    200: OpenApiResponse({"$ref": "#/components/schemas/ContractMenu"}, "The menu in force."),
    304: OpenApiResponse(description="It is still the one that you have."),
}


@extend_schema(tags=["partners"])
class IntegrationMenu(APIView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        parameters=[MenuQuestionSerializer, *SIGNATURE, IF_NONE_MATCH],
        responses=ANSWERS,
        operation_id="integrations_menu",
    )
    def get(self, request: Request, slug: str) -> HttpResponse:
        """The menu that is in force, with every change of prices and availability since.

        Signed as the feed of events is. Of an outlet it is the outlet's own menu, else the one of all
        outlets.
        """
        integration = Integration.objects.filter(slug=slug).first()
        if integration is None:
            raise ApiError("not_found")
        feed.require_signed_request(integration, request._request)  # noqa: SLF001
        asked = MenuQuestionSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        install, location = _whose(integration, asked.validated_data)
        kept = menus.kept_at(install.merchant_id, location.pk if location else None)
        wanted = asked.validated_data.get("menu_version")
        if kept is None or wanted not in {None, kept.menu_version}:
            raise ApiError("not_found", _("There is no such menu."))
        etag = f'"{kept.etag}"'
        response = HttpResponse(dumps(kept.document), content_type="application/json")
        response["ETag"] = etag
        known = get_conditional_response(request._request, etag=etag, response=response)  # noqa: SLF001
        return cast("HttpResponse", known)


def _whose(integration: Integration, asked: dict[str, Any]) -> tuple[Install, Location | None]:
    """The install that is asked for, and its outlet where one is named."""
    if CAPABILITY not in integration.capabilities:
        raise ApiError("capability_unsupported")
    if not integration.is_running:
        raise ApiError("integration_disabled")
    merchant_id, external_id = asked.get("merchant_id"), asked.get("external_merchant_id")
    if merchant_id is None and external_id is None:
        message = _("Say whose menu: merchant_id or external_merchant_id.")
        raise ApiError("invalid_payload", message, fields={"merchant_id": [message]})
    present = addressee.installs_named(integration, merchant_id, external_id)
    merchant_id = next(iter(present.values())).merchant_id
    location = _outlet_of(integration, merchant_id, asked)
    here = scope.effective_installs(
        [row.scoped() for row in present.values()], location.pk if location else None
    )
    if not here:
        raise ApiError("integration_not_installed")
    install = present[here[0].id]
    if not install.is_enabled:
        raise ApiError("integration_disabled")
    if CAPABILITY not in install.capability_versions:
        raise ApiError("capability_unsupported")
    return install, location


def _outlet_of(
    integration: Integration, merchant_id: Any, asked: dict[str, Any]
) -> Location | None:
    number = asked.get("external_location_id")
    if number is not None:
        found = outlets.outlet_of(integration, merchant_id, number)
    elif "location_id" in asked:
        rows = Location.objects.filter(merchant_id=merchant_id)
        found = rows.filter(pk=asked["location_id"]).first()
    else:
        return None
    if found is None:
        raise ApiError("not_found", _("There is no such outlet."))
    return found
