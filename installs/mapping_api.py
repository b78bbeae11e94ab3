"""What a partner calls items, people and outlets of a merchant, for the merchant's own scripts."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.paging import CursorPage
from installs import mappings
from installs.access import Verb
from installs.api import install_for
from installs.models import IdMapping, MappedKind, MappingState

# Outlets have an address of their own.
KINDS = [MappedKind.SKU.value, MappedKind.EMPLOYEE.value]


class MappingSerializer(serializers.ModelSerializer[IdMapping]):
    class Meta:
        model = IdMapping
        fields = (
            "id",
            "kind",
            "external_id",
            "name",
            "posz_id",
            "state",
            "events",
            "first_seen_at",
            "last_seen_at",
        )


class MappingFilterSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=KINDS, required=False)
    state = serializers.ChoiceField(choices=MappingState.choices, required=False)


class NewMappingSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=KINDS)
    external_id = serializers.CharField(max_length=255, help_text="The id at the partner.")
    posz_id = serializers.CharField(max_length=mappings.LONGEST, help_text="The id in Posz.")


class DecisionSerializer(serializers.Serializer[Any]):
    posz_id = serializers.CharField(
        max_length=mappings.LONGEST,
        allow_null=True,
        help_text="The id in Posz; null leaves it out of everything from now on.",
    )


class LongestOpenFirst(CursorPage):
    ordering = ("first_seen_at", "id")


@extend_schema(tags=["installs"])
class InstallMappings(generics.GenericAPIView[IdMapping]):
    serializer_class = MappingSerializer
    pagination_class = LongestOpenFirst
    queryset = IdMapping.objects.none()

    @extend_schema(parameters=[MappingFilterSerializer], responses=MappingSerializer(many=True))
    def get(self, request: Request, install_id: UUID) -> Response:
        """Ids of the partner's that events have named or somebody has mapped.

        Numbers of outlets are at `/v1/installs/{install_id}/outlets`.
        """
        actor, row = install_for(request, install_id)
        actor.require(Verb.VIEW)
        asked = MappingFilterSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        rows = mappings.of_install(row).filter(**asked.validated_data)
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(MappingSerializer(page or [], many=True).data)

    @extend_schema(request=NewMappingSerializer, responses={201: MappingSerializer})
    def post(self, request: Request, install_id: UUID) -> Response:
        """Map an id, whether an event has named it yet or not."""
        actor, _row = install_for(request, install_id)
        wanted = NewMappingSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        row = mappings.add(actor, install_id, **wanted.validated_data)
        return Response(MappingSerializer(row).data, status=status.HTTP_201_CREATED)


@extend_schema(tags=["installs"])
class InstallMapping(APIView):
    @extend_schema(request=DecisionSerializer, responses=MappingSerializer)
    def patch(self, request: Request, install_id: UUID, mapping_id: UUID) -> Response:
        """Say what an id is, or that it is to be ignored; what waited for it goes on."""
        actor, _row = install_for(request, install_id)
        wanted = DecisionSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        posz_id = wanted.validated_data["posz_id"]
        if posz_id is None:
            row = mappings.ignore(actor, install_id, mapping_id)
        else:
            row = mappings.resolve(actor, install_id, mapping_id, posz_id)
        return Response(MappingSerializer(row).data)
