"""Sending deliveries again over the API: a selection, or everything since a time."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.envelope import ApiError
from catalog.models import Integration
from catalog.paging import page_of
from installs.access import Actor, Verb
from installs.tokens import caller_of
from webhooks import recovery
from webhooks.models import Recovery


class RecoverySerializer(serializers.ModelSerializer[Recovery]):
    integration = serializers.CharField(source="integration.slug")
    count = serializers.IntegerField(
        source="total", help_text="How many deliveries were found when it was asked for."
    )

    class Meta:
        model = Recovery
        fields = (
            "id",
            "integration",
            "what",
            "since",
            "until",
            "status",
            "reason",
            "count",
            "done",
            "skipped",
            "created_at",
            "finished_at",
        )


class RecoverRequestSerializer(serializers.Serializer[Any]):
    integration = serializers.CharField(max_length=64, help_text="The slug.")
    merchant_id = serializers.UUIDField(
        required=False, help_text="May be left out with a token that is bound to one merchant."
    )
    since = serializers.DateTimeField(help_text="Deliveries created at this time or later.")
    until = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="And before this one, or now."
    )
    what = serializers.ChoiceField(choices=Recovery.What.choices, default=Recovery.What.DEAD)
    dry_run = serializers.BooleanField(default=False, help_text="Only count.")


class CountSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()


def asked_to_recover(
    request: Request, serializer: type[serializers.Serializer[Any]]
) -> tuple[Actor, Integration, dict[str, Any]]:
    """Who wants what of which integration sent or processed again, as the serializer reads it."""
    wanted = serializer(data=request.data)
    wanted.is_valid(raise_exception=True)
    fields = wanted.validated_data
    caller = caller_of(request)
    actor = caller.actor(caller.merchant(fields.get("merchant_id")))
    integration = Integration.objects.filter(slug=fields["integration"]).first()
    if integration is None:
        raise ApiError("not_found")
    return actor, integration, fields


@extend_schema(tags=["deliveries"])
class DeliveryRecover(APIView):
    @extend_schema(
        request=RecoverRequestSerializer,
        responses={200: CountSerializer, 202: RecoverySerializer},
        operation_id="deliveries_recover",
    )
    def post(self, request: Request) -> Response:
        """Send everything of a time again; with `dry_run` only count it (200)."""
        actor, integration, fields = asked_to_recover(request, RecoverRequestSerializer)
        window = {name: fields[name] for name in ("since", "until", "what")}
        if fields["dry_run"]:
            return Response({"count": recovery.count(actor, integration, **window)})
        row = recovery.start(actor, integration, **window)
        return Response(RecoverySerializer(row).data, status=status.HTTP_202_ACCEPTED)


@extend_schema(tags=["deliveries"], responses=RecoverySerializer)
class RecoveryDetail(APIView):
    def get(self, request: Request, recovery_id: UUID) -> Response:
        """How far a recovery has come."""
        caller = caller_of(request)
        row = Recovery.objects.select_related("integration").filter(pk=recovery_id).first()
        if row is None or caller.merchant_id not in {None, row.merchant_id}:
            raise ApiError("not_found")
        caller.actor(row.merchant_id).require(Verb.VIEW)
        return Response(RecoverySerializer(row).data)


class ChosenSerializer(serializers.Serializer[Any]):
    merchant_id = serializers.UUIDField(required=False)
    ids = serializers.ListField(
        child=serializers.UUIDField(), min_length=1, max_length=recovery.MOST_CHOSEN
    )


def chosen(request: Request) -> tuple[Actor, list[UUID]]:
    """Who wants which of their merchant's rows again."""
    wanted = ChosenSerializer(data=request.data)
    wanted.is_valid(raise_exception=True)
    caller = caller_of(request)
    actor = caller.actor(caller.merchant(wanted.validated_data.get("merchant_id")))
    return actor, wanted.validated_data["ids"]


class ReplayedSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    result = serializers.ChoiceField(choices=recovery.RESULTS)


@extend_schema(tags=["deliveries"])
class DeliveryReplayChosen(APIView):
    @extend_schema(
        request=ChosenSerializer,
        responses={202: page_of(ReplayedSerializer)},
        operation_id="deliveries_replay_chosen",
    )
    def post(self, request: Request) -> Response:
        """Send up to 500 finished deliveries again; the answer says of each what became of it."""
        results = recovery.replay_chosen(*chosen(request))
        data = [{"id": str(pk), "result": result} for pk, result in results.items()]
        return Response({"data": data, "next": None}, status=status.HTTP_202_ACCEPTED)
