"""The two feeds over HTTP. (Events come in by `api.EventList`, which shares the merchant's address.)"""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from catalog.envelope import ApiError
from catalog.models import Integration
from webhooks import feed


class QuestionSerializer(serializers.Serializer[Any]):
    after = serializers.CharField(
        required=False, max_length=64, help_text="The `next` of the answer before."
    )
    cursor = serializers.CharField(
        source="after", required=False, max_length=64, help_text="Another name for `after`."
    )
    limit = serializers.IntegerField(
        required=False, min_value=1, help_text="At most 200; 50 unless it is said."
    )
    type = serializers.CharField(required=False, max_length=100)
    location_id = serializers.UUIDField(required=False)
    merchant_id = serializers.UUIDField(required=False)


class FeedEventSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    type = serializers.CharField()
    version = serializers.IntegerField()
    occurred_at = serializers.DateTimeField()
    merchant_id = serializers.UUIDField()
    location_id = serializers.UUIDField(allow_null=True)
    sequence = serializers.IntegerField()
    data = serializers.DictField()  # type: ignore[assignment]


class FeedSerializer(serializers.Serializer[Any]):
    data = FeedEventSerializer(many=True)  # type: ignore[assignment]
    next = serializers.CharField(help_text="Always there: go on from it, now or later.")
    has_more = serializers.BooleanField()


SIGNATURE = [
    OpenApiParameter(name, str, OpenApiParameter.HEADER, required=True)
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
]


def question_of(request: Request) -> tuple[feed.Question, Any]:
    """What is asked, and of which merchant."""
    given = QuestionSerializer(data=request.query_params)
    given.is_valid(raise_exception=True)
    fields = given.validated_data
    merchant_id = fields.pop("merchant_id", None)
    fields["limit"] = min(fields.get("limit", feed.PAGE), feed.LONGEST_PAGE)
    return feed.Question(**fields), merchant_id


@extend_schema(tags=["partners"])
class IntegrationEventFeed(APIView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        parameters=[QuestionSerializer, *SIGNATURE],
        responses=FeedSerializer,
        operation_id="integrations_events",
    )
    def get(self, request: Request, slug: str) -> HttpResponse:
        """Events for this integration that a partner's server may have missed, of all merchants.

        Signed like a Standard Webhooks message with the inbound secret, where the signed content is
        the path with its query. Events appear a quarter of a minute after they were accepted.
        """
        integration = Integration.objects.filter(slug=slug).first()
        if integration is None:
            raise ApiError("not_found")
        feed.require_signed_request(integration, request._request)  # noqa: SLF001
        asked, merchant_id = question_of(request)
        return feed.of_integration(integration, asked, merchant_id)
