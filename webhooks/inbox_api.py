"""The POS's inbox over HTTP: what partners told is fetched, worked on, and then acknowledged."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.capabilities import CAPABILITIES
from installs.api import MERCHANT, actor_for
from installs.tokens import caller_of
from webhooks import inbox
from webhooks.models import InboxRow

MOST_IDS = 500


class InboxQuestionSerializer(serializers.Serializer[Any]):
    after = serializers.CharField(
        required=False, max_length=64, help_text="The `next` of the answer before."
    )
    limit = serializers.IntegerField(
        required=False, min_value=1, help_text="At most 200; 50 unless it is said."
    )
    location_id = serializers.UUIDField(
        required=False, help_text="Rows of this outlet, and those that are about no one outlet."
    )
    capability = serializers.ChoiceField(
        required=False, choices=[name for name in CAPABILITIES if name in inbox.CAPABILITIES]
    )


class InboxRowSerializer(serializers.ModelSerializer[InboxRow]):
    sequence = serializers.IntegerField(help_text="Counts the rows of a merchant.")
    event_id = serializers.UUIDField(help_text="The received event it comes from.")
    merchant_id = serializers.UUIDField()
    location_id = serializers.UUIDField(allow_null=True)
    integration = serializers.CharField(source="integration.slug")
    external_id = serializers.CharField(
        help_text="What it is about at the partner, such as an order’s `external_order_id`."
    )
    accept_by = serializers.DateTimeField(
        allow_null=True, help_text="Until when an order has to be accepted or rejected."
    )
    needs_approval = serializers.BooleanField(
        help_text="A person has to look at it before it is applied."
    )
    notes = serializers.DictField(
        help_text="`open_items`: lines without an item of Posz. `late`: it came late."
    )
    data = serializers.DictField(  # type: ignore[assignment]
        help_text="As the contract of the operation says, with ids of Posz."
    )

    class Meta:
        model = InboxRow
        fields = (
            "id",
            "sequence",
            "event_id",
            "merchant_id",
            "location_id",
            "install_id",
            "integration",
            "capability",
            "operation",
            "contract_version",
            "external_id",
            "occurred_at",
            "created_at",
            "accept_by",
            "needs_approval",
            "notes",
            "data",
        )


class InboxSerializer(serializers.Serializer[Any]):
    data = InboxRowSerializer(many=True)  # type: ignore[assignment]
    next = serializers.CharField(help_text="Always there: go on from it, now or later.")
    has_more = serializers.BooleanField()


@extend_schema(tags=["inbox"])
class Inbox(APIView):
    @extend_schema(
        parameters=[MERCHANT, InboxQuestionSerializer],
        responses=InboxSerializer,
        operation_id="inbox",
    )
    def get(self, request: Request) -> Response:
        """What partners told and the POS has not acknowledged, the oldest first.

        Without `after` it starts with the oldest, so that whatever was fetched and not acknowledged
        is handed over again.
        """
        actor = actor_for(request)
        given = InboxQuestionSerializer(data=request.query_params)
        given.is_valid(raise_exception=True)
        fields = given.validated_data
        fields["limit"] = min(fields.get("limit", inbox.PAGE), inbox.LONGEST_PAGE)
        page = inbox.page_of(actor, inbox.Question(**fields))
        data = InboxRowSerializer(page.rows, many=True).data
        return Response({"data": data, "next": page.next, "has_more": page.has_more})


class AcknowledgeSerializer(serializers.Serializer[Any]):
    ids = serializers.ListField(
        child=serializers.UUIDField(), min_length=1, max_length=MOST_IDS, help_text="Of rows."
    )


class AcknowledgedSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    acknowledged_at = serializers.DateTimeField(help_text="When it was acknowledged first.")


class AcknowledgedListSerializer(serializers.Serializer[Any]):
    data = AcknowledgedSerializer(many=True)  # type: ignore[assignment]


@extend_schema(tags=["inbox"])
class InboxAcknowledge(APIView):
    @extend_schema(
        request=AcknowledgeSerializer,
        responses=AcknowledgedListSerializer,
        operation_id="inbox_acknowledge",
    )
    def post(self, request: Request) -> Response:
        """Say that these rows are taken over; they are not handed over again.

        All or none of them: an id that is not there is a 404. Acknowledging again changes nothing.
        """
        given = AcknowledgeSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        caller = caller_of(request)
        done = inbox.acknowledge(caller, given.validated_data["ids"])
        return Response({"data": [{"id": str(pk), "acknowledged_at": at} for pk, at in done]})
