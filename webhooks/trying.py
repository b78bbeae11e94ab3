"""Sending an example from the page of an install, and over the API."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.vary import vary_on_headers
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.capabilities import causes_of
from catalog.envelope import ApiError
from installs.access import Verb
from installs.api import install_for
from installs.models import Install
from installs.tenancy import MerchantRequest, merchant_page
from installs.views import answered, show
from webhooks import examples
from webhooks.catalogue import EVENT_TYPES, GROUPS


class ExampleRequestSerializer(serializers.Serializer[Any]):
    type = serializers.CharField(max_length=100, help_text="One of `GET /v1/event-types`.")


class ExampleSentSerializer(serializers.Serializer[Any]):
    delivery_id = serializers.UUIDField()
    event_id = serializers.UUIDField()


@extend_schema(tags=["installs"])
class InstallSendExample(APIView):
    @extend_schema(request=ExampleRequestSerializer, responses={202: ExampleSentSerializer})
    def post(self, request: Request, install_id: UUID) -> Response:
        """Send an example event to this install alone. At most ten a minute."""
        actor, _row = install_for(request, install_id)
        wanted = ExampleRequestSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        sent = examples.send(actor, install_id, wanted.validated_data["type"])
        data = {"delivery_id": str(sent.pk), "event_id": str(sent.event_id)}
        return Response(data, status=status.HTTP_202_ACCEPTED)


@vary_on_headers("HX-Request")
@merchant_page
def example(request: MerchantRequest, slug: str, install_id: UUID) -> HttpResponse:
    row = (
        Install.objects.for_merchant(request.actor.merchant_id)
        .filter(pk=install_id, integration__slug=slug)
        .select_related("integration__category", "location")
        .first()
    )
    if row is None:
        raise Http404
    request.actor.require(Verb.TEST, row.location_id)
    if request.method != "POST":
        return asked(request, row)
    event_type = request.POST.get("type", "")
    try:
        examples.send(request.actor, row.pk, event_type)
    except ApiError as error:
        return asked(request, row, error)
    text = _("An example of %(type)s is on its way to %(name)s.")
    return answered(
        request, row.integration, text % {"type": event_type, "name": row.integration.name}
    )


def asked(request: MerchantRequest, row: Install, error: ApiError | None = None) -> HttpResponse:
    """The form; what the integration subscribes to comes first."""
    chosen = request.POST.get("type", "")
    listed = row.integration.outbound_events
    caused = sorted(causes_of(row.capability_versions).difference(listed))
    subscribed = [name for name in (*listed, *caused) if name in EVENT_TYPES]
    context = {
        "install": row,
        "error": error,
        "chosen": chosen,
        "subscribed": [EVENT_TYPES[name] for name in subscribed],
        "groups": [
            (title, [item for item in events if item.type not in subscribed])
            for title, events in GROUPS
        ],
    }
    http_status = error.status if error else 200
    partial = "webhooks/_send_example.html"
    return show(request, partial, row.integration, context, http_status)
