"""Installs over the API, for a merchant's own scripts. The rules are those of `lifecycle`."""

from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.envelope import ApiError
from catalog.models import Integration
from catalog.paging import CursorPage
from catalog.schema import masked
from catalog.verification import Outcome
from installs import connection, lifecycle, outlets, preview
from installs.access import Actor, Verb
from installs.models import Install
from installs.tokens import caller_of


class InstallSerializer(serializers.ModelSerializer[Install]):
    integration = serializers.CharField(source="integration.slug")
    merchant_id = serializers.UUIDField()
    location_id = serializers.UUIDField(allow_null=True)
    enabled = serializers.BooleanField(source="is_enabled")
    config = serializers.SerializerMethodField()

    class Meta:
        model = Install
        fields = (
            "id",
            "integration",
            "merchant_id",
            "location_id",
            "enabled",
            "connection",
            "connection_problem",
            "config",
            "capability_versions",
            "installed_at",
        )

    @extend_schema_field(serializers.DictField())
    def get_config(self, row: Install) -> dict[str, Any]:
        return masked(row.integration.config_schema, row.config, row.config_changed_at)


class NewInstallSerializer(serializers.Serializer[Any]):
    integration = serializers.CharField(max_length=64, help_text="The slug.")
    merchant_id = serializers.UUIDField(
        required=False, help_text="May be left out with a token that is bound to one merchant."
    )
    location_id = serializers.UUIDField(
        required=False, allow_null=True, default=None, help_text="Null: every location."
    )
    config = serializers.DictField(required=False, default=dict)


class ConfigSerializer(serializers.Serializer[Any]):
    config = serializers.DictField(
        help_text="What is left out stays as it is; null removes a setting."
    )


class InInstallOrder(CursorPage):
    ordering = ("installed_at", "id")


MERCHANT = OpenApiParameter(
    "merchant_id", str, description="Needed with a token that speaks for every merchant."
)


def actor_for(request: Request, verb: Verb = Verb.VIEW) -> Actor:
    """Who acts, for the merchant that the query names or the token is bound to."""
    caller = caller_of(request)
    given = request.query_params.get("merchant_id")
    try:
        merchant_id = UUID(given) if given else None
    except ValueError:
        raise ApiError("not_found") from None
    actor = caller.actor(caller.merchant(merchant_id))
    if verb is Verb.VIEW:
        actor.require(verb)
    return actor


def install_for(request: Request, install_id: UUID) -> tuple[Actor, Install]:
    """The install and who acts on it; an install of another merchant does not exist."""
    caller = caller_of(request)
    row = Install.objects.with_names().filter(pk=install_id).first()
    if row is None or caller.merchant_id not in {None, row.merchant_id}:
        raise ApiError("not_found")
    return caller.actor(row.merchant_id), row


@extend_schema(tags=["installs"])
class InstallList(generics.GenericAPIView[Install]):
    serializer_class = InstallSerializer
    pagination_class = InInstallOrder
    queryset = Install.objects.none()

    @extend_schema(parameters=[MERCHANT], responses=InstallSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The merchant's installs in install order."""
        actor = actor_for(request)
        rows = Install.objects.for_merchant(actor.merchant_id).with_names()
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(InstallSerializer(page or [], many=True).data)

    @extend_schema(request=NewInstallSerializer, responses={201: InstallSerializer})
    def post(self, request: Request) -> Response:
        """Install an integration for one location or for all."""
        wanted = NewInstallSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        fields = wanted.validated_data
        caller = caller_of(request)
        actor = caller.actor(caller.merchant(fields.get("merchant_id")))
        integration = Integration.objects.filter(slug=fields["integration"]).first()
        if integration is None:
            raise ApiError("not_found")
        row = lifecycle.install(
            actor, integration, location_id=fields["location_id"], config=fields["config"]
        )
        return Response(InstallSerializer(row).data, status=status.HTTP_201_CREATED)


@extend_schema(tags=["installs"], responses=InstallSerializer)
class InstallDetail(APIView):
    def get(self, request: Request, install_id: UUID) -> Response:
        """One install. Secrets read as set or not set."""
        actor, row = install_for(request, install_id)
        actor.require(Verb.VIEW)
        return Response(InstallSerializer(row).data)

    @extend_schema(request=ConfigSerializer)
    def patch(self, request: Request, install_id: UUID) -> Response:
        """Change settings."""
        actor, _row = install_for(request, install_id)
        wanted = ConfigSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        row = lifecycle.configure(actor, install_id, wanted.validated_data["config"])
        return Response(InstallSerializer(row).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, install_id: UUID) -> Response:
        """Uninstall: the row and its settings are gone for good."""
        actor, _row = install_for(request, install_id)
        lifecycle.uninstall(actor, install_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema(tags=["installs"], request=None, responses=InstallSerializer)
class InstallEnable(APIView):
    def post(self, request: Request, install_id: UUID) -> Response:
        """Switch on again."""
        actor, _row = install_for(request, install_id)
        return Response(InstallSerializer(lifecycle.enable(actor, install_id)).data)


@extend_schema(tags=["installs"], request=None, responses=InstallSerializer)
class InstallDisable(APIView):
    def post(self, request: Request, install_id: UUID) -> Response:
        """Switch off and keep the settings."""
        actor, _row = install_for(request, install_id)
        return Response(InstallSerializer(lifecycle.disable(actor, install_id)).data)


class TestSerializer(serializers.Serializer[Any]):
    outcome = serializers.ChoiceField(choices=[item.value for item in Outcome])
    message = serializers.CharField()


@extend_schema(tags=["installs"], request=None, responses=TestSerializer)
class InstallTest(APIView):
    def post(self, request: Request, install_id: UUID) -> Response:
        """Ask the partner whether the saved key is right. Takes up to five seconds."""
        actor, _row = install_for(request, install_id)
        verdict = connection.test(actor, install_id)
        return Response({"outcome": verdict.outcome, "message": verdict.message})


class PreviewRequestSerializer(serializers.Serializer[Any]):
    action = serializers.ChoiceField(
        choices=["install", "enable", "disable", "uninstall"], default="install"
    )
    merchant_id = serializers.UUIDField(required=False)
    integration = serializers.CharField(
        max_length=64, required=False, help_text="The slug, to install."
    )
    location_id = serializers.UUIDField(required=False, allow_null=True, default=None)
    config = serializers.DictField(required=False, default=dict)
    install_id = serializers.UUIDField(required=False, help_text="For the other actions.")
    instead_of = serializers.ListField(
        child=serializers.CharField(max_length=64),
        required=False,
        default=list,
        help_text="Slugs of the holders that would leave where they conflict.",
    )


class PreviewSerializer(serializers.Serializer[Any]):
    plan = serializers.UUIDField(allow_null=True)
    changes = serializers.ListField(child=serializers.DictField())
    conflicts = serializers.ListField(child=serializers.DictField())
    ways_out = serializers.ListField(child=serializers.DictField())


@extend_schema(tags=["installs"])
class InstallPreview(APIView):
    @extend_schema(request=PreviewRequestSerializer, responses=PreviewSerializer)
    def post(self, request: Request) -> Response:
        """What an action would change, location by capability, before anything happens."""
        wanted = PreviewRequestSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        fields = wanted.validated_data
        caller = caller_of(request)
        actor = caller.actor(caller.merchant(fields.get("merchant_id")))
        actor.require(Verb.VIEW)
        slug = fields.get("integration")
        integration = Integration.objects.listed().filter(slug=slug).first() if slug else None
        answer = preview.what_would_happen(
            actor,
            fields["action"],
            integration=integration,
            location_id=fields["location_id"],
            install_id=fields.get("install_id"),
            config=fields["config"],
            instead_of=fields["instead_of"],
        )
        return Response(answer)


class SwapRequestSerializer(serializers.Serializer[Any]):
    plan = serializers.UUIDField()
    merchant_id = serializers.UUIDField(required=False)


class SwappedSerializer(serializers.Serializer[Any]):
    installed = InstallSerializer(many=True)
    undo = serializers.UUIDField(help_text="The plan that takes it all back.")


@extend_schema(tags=["installs"])
class InstallSwap(APIView):
    @extend_schema(request=SwapRequestSerializer, responses=SwappedSerializer)
    def post(self, request: Request) -> Response:
        """Carry out a plan: the old ones out, the new one in, all or nothing."""
        wanted = SwapRequestSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        caller = caller_of(request)
        actor = caller.actor(caller.merchant(wanted.validated_data.get("merchant_id")))
        done = lifecycle.swap(actor, wanted.validated_data["plan"])
        installed = InstallSerializer(done.installed, many=True).data
        return Response({"installed": installed, "undo": str(done.undo.pk)})


@extend_schema(tags=["installs"], request=None, responses=InstallSerializer)
class InstallAcceptVersions(APIView):
    def post(self, request: Request, install_id: UUID) -> Response:
        """Move to the contract versions that the catalog row declares today."""
        actor, _row = install_for(request, install_id)
        return Response(InstallSerializer(lifecycle.accept_versions(actor, install_id)).data)


class OutletNumbersSerializer(serializers.Serializer[Any]):
    numbers = serializers.DictField(
        child=serializers.CharField(max_length=outlets.LONGEST, allow_null=True),
        help_text="Outlet id to the partner’s number of it; null removes. Others stay as they are.",
    )


class OutletsSerializer(serializers.Serializer[Any]):
    numbers = serializers.DictField(child=serializers.CharField())
    unknown = serializers.ListField(
        child=serializers.CharField(),
        help_text="Numbers of yours that events have named and no outlet has.",
    )


@extend_schema(tags=["installs"], responses=OutletsSerializer)
class InstallOutlets(APIView):
    def get(self, request: Request, install_id: UUID) -> Response:
        """What the partner calls the merchant's outlets."""
        actor, row = install_for(request, install_id)
        actor.require(Verb.VIEW)
        return self._answer(actor, row)

    @extend_schema(request=OutletNumbersSerializer)
    def patch(self, request: Request, install_id: UUID) -> Response:
        """Say which outlet the partner means by which number."""
        actor, row = install_for(request, install_id)
        wanted = OutletNumbersSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        numbers = wanted.validated_data["numbers"]
        try:
            asked = {UUID(key): text or "" for key, text in numbers.items()}
        except ValueError:
            raise ApiError("not_found", _("This merchant has no such outlet.")) from None
        outlets.save_numbers(actor, row.integration, asked)
        return self._answer(actor, row)

    def _answer(self, actor: Actor, row: Install) -> Response:
        numbers = outlets.numbers_of(actor.merchant_id, row.integration)
        unknown = outlets.unknown_of(actor.merchant_id, row.integration)
        return Response(
            {
                "numbers": {str(key): text for key, text in numbers.items()},
                "unknown": list(unknown.values_list("external_id", flat=True)),
            }
        )
