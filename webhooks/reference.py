"""The event catalogue for those who build against it: over the API, and as a page to read."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.api import BilingualSerializer
from catalog.envelope import ApiError
from catalog.paging import page_of
from dispatch.field_list import pretty, rows_of
from webhooks.catalogue import EVENT_TYPES, GROUPS, capabilities_of, example_of, schema_of
from webhooks.event_types.common import DEFS
from webhooks.event_types.notation import record


class EventTypeSerializer(serializers.Serializer[Any]):
    type = serializers.CharField()
    version = serializers.IntegerField()
    summary = BilingualSerializer()
    capabilities = serializers.ListField(child=serializers.CharField())


class EventTypeDetailSerializer(EventTypeSerializer):
    schema = serializers.DictField(help_text="JSON Schema 2020-12 of the body.")
    example = serializers.DictField()


def described(event_type: str) -> dict[str, Any]:
    known = EVENT_TYPES[event_type]
    return {
        "type": known.type,
        "version": 1,
        "summary": {"en": known.en, "id": known.id},
        "capabilities": capabilities_of(event_type),
    }


@extend_schema(tags=["events"])
class EventTypeList(APIView):
    """The events that Posz knows, and which capabilities they are for."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(responses=page_of(EventTypeSerializer), operation_id="event_types_list")
    def get(self, _request: Request) -> Response:
        return Response({"data": [described(name) for name in EVENT_TYPES], "next": None})


@extend_schema(tags=["events"])
class EventTypeDetail(APIView):
    """One event with the schema of its body and an example."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(responses=EventTypeDetailSerializer, operation_id="event_types_retrieve")
    def get(self, _request: Request, event_type: str) -> Response:
        if event_type not in EVENT_TYPES:
            raise ApiError("not_found")
        documents = {"schema": schema_of(event_type), "example": example_of(event_type)}
        return Response(described(event_type) | documents)


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    groups = [
        {
            "title": title,
            "events": [
                {
                    "known": known,
                    "capabilities": capabilities_of(known.type),
                    "fields": list(rows_of(record(known.shape), DEFS)),
                    "example": pretty(example_of(known.type)),
                }
                for known in events
            ],
        }
        for title, events in GROUPS
    ]
    objects = [
        {"name": name, "fields": list(rows_of(schema, DEFS))} for name, schema in DEFS.items()
    ]
    return render(
        request,
        "webhooks/events.html",
        {"groups": groups, "objects": objects, "how_many": len(EVENT_TYPES)},
    )
