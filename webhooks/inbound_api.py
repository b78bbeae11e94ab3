"""Received events over the API: listed, looked at, and processed again where they were set aside."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.envelope import STATUS_OF, ApiError
from catalog.paging import CursorPage, page_of
from installs.access import Verb
from installs.api import MERCHANT, actor_for
from installs.tokens import caller_of
from webhooks import inbound_log, inbound_recovery
from webhooks.models import InboundEvent, InboundStatus
from webhooks.recovery_api import ChosenSerializer, CountSerializer, asked_to_recover, chosen

FIELDS = (
    "id",
    "event_id",
    "type",
    "capability",
    "integration",
    "install_id",
    "location_id",
    "status",
    "attempts",
    "problem",
    "problem_at",
    "due_at",
    "occurred_at",
    "received_at",
    "processed_at",
    "mismatched_at",
    "is_late",
)


class InboundEventSerializer(serializers.ModelSerializer[InboundEvent]):
    event_id = serializers.CharField(source="provider_event_id", help_text="The partner’s own.")
    integration = serializers.CharField(source="integration.slug")
    location_id = serializers.UUIDField(allow_null=True, help_text="Known once it is processed.")

    class Meta:
        model = InboundEvent
        fields: tuple[str, ...] = FIELDS


class HeaderSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    value = serializers.CharField()


class InboundEventDetailSerializer(InboundEventSerializer):
    body = serializers.SerializerMethodField(
        help_text="Laid out for reading, without what looks like a key; empty once it is erased."
    )
    headers = serializers.SerializerMethodField()

    class Meta(InboundEventSerializer.Meta):
        fields = (*FIELDS, "erased_at", "body", "headers")

    def get_body(self, row: InboundEvent) -> str:
        return inbound_log.body_of(row)

    @extend_schema_field(HeaderSerializer(many=True))
    def get_headers(self, row: InboundEvent) -> Any:
        return [{"name": name, "value": value} for name, value in inbound_log.headers_of(row)]


class LatestFirst(CursorPage):
    ordering = ("-received_at", "-id")


class InboundFilterSerializer(serializers.Serializer[Any]):
    """What may stand in the query of the list, and to which column it belongs."""

    integration = serializers.CharField(
        source="integration__slug", max_length=64, required=False, help_text="The slug."
    )
    install = serializers.UUIDField(source="install_id", required=False)
    status = serializers.ChoiceField(choices=InboundStatus.choices, required=False)
    type = serializers.CharField(max_length=100, required=False)
    event_id = serializers.CharField(source="provider_event_id", max_length=255, required=False)
    since = serializers.DateTimeField(source="received_at__gte", required=False)
    until = serializers.DateTimeField(source="received_at__lt", required=False)


@extend_schema(tags=["inbound-events"], parameters=[MERCHANT, InboundFilterSerializer])
class InboundEventList(generics.ListAPIView[InboundEvent]):
    """Events that partners sent for the merchant, the newest first."""

    serializer_class = InboundEventSerializer
    pagination_class = LatestFirst

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return InboundEvent.objects.none()
        actor = actor_for(self.request)
        asked = InboundFilterSerializer(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        rows = InboundEvent.objects.for_merchant(actor.merchant_id).filter(**asked.validated_data)
        return rows.select_related("integration").defer("body", "headers")


@extend_schema(tags=["inbound-events"], responses=InboundEventDetailSerializer)
class InboundEventDetail(APIView):
    def get(self, request: Request, event_id: UUID) -> Response:
        """One event with what came."""
        return Response(InboundEventDetailSerializer(event_for(request, event_id)).data)


@extend_schema(tags=["inbound-events"], request=None, responses={202: InboundEventDetailSerializer})
class InboundEventReplay(APIView):
    def post(self, request: Request, event_id: UUID) -> Response:
        """Process an event that was set aside again; 409 `not_replayable` for any other."""
        row = event_for(request, event_id, Verb.REPLAY)
        actor = caller_of(request).actor(row.merchant_id)
        result = inbound_recovery.replay_chosen(actor, [row.pk])[row.pk]
        if result != inbound_recovery.STARTED:
            code = result if result in STATUS_OF else "not_replayable"
            raise ApiError(code, inbound_recovery.result_text(result))
        row.refresh_from_db()
        return Response(InboundEventDetailSerializer(row).data, status=status.HTTP_202_ACCEPTED)


def event_for(request: Request, event_id: UUID, verb: Verb = Verb.VIEW) -> InboundEvent:
    caller = caller_of(request)
    row = InboundEvent.objects.select_related("integration").filter(pk=event_id).first()
    if row is None or caller.merchant_id not in {None, row.merchant_id}:
        raise ApiError("not_found")
    caller.actor(row.merchant_id).require(verb)
    return row


class ReplayedEventSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    result = serializers.ChoiceField(choices=inbound_recovery.RESULTS)


@extend_schema(tags=["inbound-events"])
class InboundEventReplayChosen(APIView):
    @extend_schema(
        request=ChosenSerializer,
        responses={202: page_of(ReplayedEventSerializer)},
        operation_id="inbound_events_replay_chosen",
    )
    def post(self, request: Request) -> Response:
        """Process up to 500 events again; the answer says of each what became of it."""
        results = inbound_recovery.replay_chosen(*chosen(request))
        data = [{"id": str(pk), "result": result} for pk, result in results.items()]
        return Response({"data": data, "next": None}, status=status.HTTP_202_ACCEPTED)


class InboundRecoverSerializer(serializers.Serializer[Any]):
    integration = serializers.CharField(max_length=64, help_text="The slug.")
    merchant_id = serializers.UUIDField(
        required=False, help_text="May be left out with a token that is bound to one merchant."
    )
    since = serializers.DateTimeField(help_text="Events received at this time or later.")
    until = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="And before this one."
    )
    dry_run = serializers.BooleanField(default=False, help_text="Only count.")


@extend_schema(tags=["inbound-events"])
class InboundEventRecover(APIView):
    @extend_schema(
        request=InboundRecoverSerializer,
        responses={200: CountSerializer, 202: CountSerializer},
        operation_id="inbound_events_recover",
    )
    def post(self, request: Request) -> Response:
        """Process everything again that was set aside; with `dry_run` only count it (200)."""
        actor, integration, fields = asked_to_recover(request, InboundRecoverSerializer)
        window = {name: fields[name] for name in ("since", "until")}
        if fields["dry_run"]:
            return Response({"count": inbound_recovery.count_since(actor, integration, **window)})
        count = inbound_recovery.replay_since(actor, integration, **window)
        return Response({"count": count}, status=status.HTTP_202_ACCEPTED)
