"""The event catalogue for those who build against it: over the API, and as a page to read."""

import json
from collections.abc import Iterator
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
from webhooks.catalogue import EVENT_TYPES, GROUPS, capabilities_of, example_of, schema_of
from webhooks.event_types.common import DEFS
from webhooks.event_types.notation import Schema, record


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

    @extend_schema(responses=EventTypeSerializer(many=True), operation_id="event_types_list")
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
                    "fields": list(rows_of(record(known.shape))),
                    "example": pretty(example_of(known.type)),
                }
                for known in events
            ],
        }
        for title, events in GROUPS
    ]
    objects = [{"name": name, "fields": list(rows_of(schema))} for name, schema in DEFS.items()]
    return render(
        request,
        "webhooks/events.html",
        {"groups": groups, "objects": objects, "how_many": len(EVENT_TYPES)},
    )


def rows_of(schema: Schema) -> Iterator[dict[str, Any]]:
    """The fields of an object, each with its kind in short; those of its parts where it has some."""
    for part in schema.get("allOf", []):
        if "$ref" in part:
            yield from rows_of(DEFS[named(part)])
        else:
            yield from rows_of(part)
    required = schema.get("required", [])
    for name, rules in schema.get("properties", {}).items():
        yield {"name": name, "kind": kind_of(rules), "is_required": name in required}


def named(schema: Schema) -> str:
    return str(schema["$ref"]).removeprefix("#/$defs/")


def kind_of(rules: Schema) -> str:
    """Such as `string`, `Order`, `Line[]`, `open | locked | closed`."""
    if "$ref" in rules:
        return named(rules)
    if "enum" in rules:
        return " | ".join(rules["enum"])
    if rules["type"] == "array":
        return f"{kind_of(rules['items'])}[]"
    if rules.get("properties"):
        return "{" + ", ".join(rules["properties"]) + "}"
    return str(rules.get("format", rules["type"]))


def pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
