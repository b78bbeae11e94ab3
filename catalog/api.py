"""The public part of the API: what exists. No secrets and no merchant in it."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.capabilities import CAPABILITIES, Capability
from catalog.models import Integration
from catalog.paging import CursorPage, page_of


class CapabilitySerializer(serializers.Serializer[Capability]):
    name = serializers.CharField()
    surface = serializers.CharField()
    mode = serializers.CharField()
    cap = serializers.IntegerField(allow_null=True)
    status = serializers.CharField()
    direction = serializers.CharField()
    versions = serializers.ListField(child=serializers.IntegerField())
    budget_ms = serializers.IntegerField(allow_null=True)


class BilingualSerializer(serializers.Serializer[Any]):
    en = serializers.CharField()
    id = serializers.CharField()


class IntegrationSerializer(serializers.ModelSerializer[Integration]):
    name = serializers.SerializerMethodField()
    tagline = serializers.SerializerMethodField()
    description = serializers.SerializerMethodField()
    category = serializers.CharField(source="category_id")
    capabilities = serializers.SerializerMethodField()

    class Meta:
        model = Integration
        fields = (
            "slug",
            "name",
            "tagline",
            "description",
            "category",
            "status",
            "auth_shape",
            "capabilities",
            "config_schema",
            "outbound_events",
            "inbound_events",
            "data_residency",
            "website_url",
            "docs_url",
            "privacy_url",
            "is_demo",
        )

    @extend_schema_field(BilingualSerializer)
    def get_name(self, row: Integration) -> dict[str, str]:
        return {"en": row.name_en, "id": row.name_id}

    @extend_schema_field(BilingualSerializer)
    def get_tagline(self, row: Integration) -> dict[str, str]:
        return {"en": row.tagline_en, "id": row.tagline_id}

    @extend_schema_field(BilingualSerializer)
    def get_description(self, row: Integration) -> dict[str, str]:
        return {"en": row.description_en, "id": row.description_id}

    def get_capabilities(self, row: Integration) -> list[dict[str, Any]]:
        return [
            {
                "name": item.name,
                "mode": item.mode,
                "capability_version": row.capabilities[item.name],
            }
            for item in row.declared()
        ]


@extend_schema(tags=["catalog"])
class CapabilityList(APIView):
    """The named places of the POS that integrations can plug into."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(responses=page_of(CapabilitySerializer), operation_id="capabilities_list")
    def get(self, _request: Request) -> Response:
        rows: Any = list(CAPABILITIES.values())
        data = CapabilitySerializer(rows, many=True).data
        return Response({"data": data, "next": None})


class BySlug(CursorPage):
    ordering = "slug"


@extend_schema(tags=["catalog"])
class IntegrationList(generics.ListAPIView[Integration]):
    """Integrations that merchants can install."""

    authentication_classes = ()
    permission_classes = ()
    serializer_class = IntegrationSerializer
    pagination_class = BySlug
    queryset = Integration.objects.listed()


@extend_schema(tags=["catalog"])
class IntegrationDetail(generics.RetrieveAPIView[Integration]):
    """One integration of the catalog."""

    authentication_classes = ()
    permission_classes = ()
    serializer_class = IntegrationSerializer
    queryset = Integration.objects.listed()
    lookup_field = "slug"

    def get_object(self) -> Integration:
        row = self.get_queryset().filter(slug=self.kwargs["slug"]).first()
        if row is None:
            raise Http404
        return row
