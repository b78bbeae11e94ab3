"""The contracts for those who build against them: over the API, and as pages to read."""

from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.api import BilingualSerializer, CapabilitySerializer
from catalog.capabilities import CAPABILITIES
from catalog.envelope import ApiError
from dispatch.field_list import pretty, rows_of
from dispatch.operations import CONTRACTS, schema_of
from dispatch.operations.notation import Contract, Operation, Record, Words


class DocumentSerializer(serializers.Serializer[Any]):
    schema = serializers.DictField(help_text="JSON Schema 2020-12.")
    example = serializers.DictField()


class FailureSerializer(BilingualSerializer):
    code = serializers.CharField()


class OperationSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="Empty for the capability's only question.")
    path = serializers.CharField(help_text="Below /posz/v1/ at the partner.")
    direction = serializers.ChoiceField(choices=["sync", "outbound", "inbound"])
    wire = serializers.ChoiceField(choices=["posz", "openid_connect"])
    summary = BilingualSerializer()
    on_failure = FailureSerializer()
    budget_ms = serializers.IntegerField(allow_null=True)
    idempotency_key = serializers.ListField(
        child=serializers.CharField(), help_text="Empty for a reading, which is put anew each time."
    )
    events = serializers.ListField(child=serializers.CharField())
    request = DocumentSerializer()
    answer = DocumentSerializer(allow_null=True)


class ContractSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    version = serializers.IntegerField()
    summary = BilingualSerializer()
    on_failure = BilingualSerializer()
    config_schema = serializers.DictField()
    operations = OperationSerializer(many=True)


class CapabilityDetailSerializer(CapabilitySerializer):
    contracts = ContractSerializer(many=True)


@extend_schema(tags=["catalog"])
class CapabilityDetail(APIView):
    """One place with its contracts: every operation with schemas, examples and failure."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(responses=CapabilityDetailSerializer, operation_id="capabilities_retrieve")
    def get(self, _request: Request, capability: str) -> Response:
        if capability not in CAPABILITIES:
            raise ApiError("not_found")
        contracts = [as_json(item) for item in contracts_of(capability)]
        place = CapabilitySerializer(CAPABILITIES[capability]).data
        return Response({**place, "contracts": contracts})


def contracts_of(capability: str) -> list[Contract]:
    """The newest version comes last."""
    return [item for item in CONTRACTS.values() if item.capability == capability]


def as_json(contract: Contract) -> dict[str, Any]:
    return {
        "name": contract.name,
        "version": contract.version,
        "summary": in_both(contract.words),
        "on_failure": in_both(contract.failure),
        "config_schema": contract.config_schema(),
        "operations": [_operation(contract, item) for item in contract.operations],
    }


def _operation(contract: Contract, operation: Operation) -> dict[str, Any]:
    return {
        "name": operation.name,
        "path": contract.path(operation),
        "direction": operation.direction,
        "wire": operation.wire.value,
        "summary": in_both(operation.words),
        "on_failure": {"code": operation.failure.value, **in_both(operation.failure.words)},
        "budget_ms": contract.budget_of(operation),
        "idempotency_key": list(operation.key),
        "events": list(operation.events),
        "request": _document(operation.request, operation.request_example),
        "answer": operation.answer and _document(operation.answer, operation.answer_example),
    }


def _document(kind: type[Record], example: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"schema": schema_of(kind), "example": example}


def in_both(words: Words) -> dict[str, str]:
    return {"en": words.en, "id": words.id}


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    rows = [
        {"place": place, "contract": contracts_of(place.name)[-1]}
        for place in CAPABILITIES.values()
    ]
    return render(request, "docs/index.html", {"rows": rows})


@require_safe
def page(request: HttpRequest, capability: str) -> HttpResponse:
    if capability not in CAPABILITIES:
        raise Http404
    contracts = [_on_page(item) for item in contracts_of(capability)]
    context = {"place": CAPABILITIES[capability], "contracts": contracts}
    return render(request, "docs/capability.html", context)


def _on_page(contract: Contract) -> dict[str, Any]:
    objects: dict[str, Any] = {}
    for operation in contract.operations:
        for kind in (operation.request, operation.answer):
            objects |= schema_of(kind).get("$defs", {}) if kind else {}
    return {
        "contract": contract,
        "config": _settings(contract),
        "operations": [_operation_on_page(contract, item) for item in contract.operations],
        "objects": [
            {"name": name, "fields": list(rows_of(objects[name], objects))}
            for name in sorted(objects)
        ],
    }


def _settings(contract: Contract) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "title": Words(rules["title"], rules["x-title-id"]),
            "is_secret": rules.get("x-secret", False),
        }
        for name, rules in contract.config.items()
    ]


def _operation_on_page(contract: Contract, operation: Operation) -> dict[str, Any]:
    documents = [(operation.request, operation.request_example)]
    if operation.answer and operation.answer_example is not None:
        documents.append((operation.answer, operation.answer_example))
    return {
        "operation": operation,
        "path": contract.path(operation),
        "budget_ms": contract.budget_of(operation),
        "failure": operation.failure.words,
        "documents": [
            {
                "name": kind.__name__,
                "fields": list(rows_of(schema_of(kind), {})),
                "example": pretty(example),
            }
            for kind, example in documents
        ],
    }
