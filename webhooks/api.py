"""Where partners post, where the POS reports events, and where deliveries can be looked up."""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.envelope import ApiError, failure_response, read_body
from catalog.inbound_parts import SignedRequest
from catalog.models import EVENT_TYPE_PATTERN
from catalog.paging import CursorPage
from installs.access import Verb
from installs.api import MERCHANT, actor_for
from installs.tokens import caller_of
from webhooks import feed, inbound, outbound, tally
from webhooks.feed_api import FeedSerializer, QuestionSerializer, question_of
from webhooks.models import Attempt, Delivery, DeliveryStatus

HEADERS = ("HTTP_", "CONTENT_TYPE", "CONTENT_LENGTH")


@csrf_exempt
def receive_webhook(request: HttpRequest, slug: str, secret: str | None = None) -> HttpResponse:
    """Plain Django: this is the busiest door, and its body must stay raw until it is verified."""
    try:
        if request.method != "POST":
            raise ApiError("method_not_allowed")
        signed = signed_request(request.META, request.path, read_body(request))
        reception = inbound.receive(slug, signed, secret)
    except Exception as error:  # noqa: BLE001
        tally.of_this_process().refused(slug, error)
        return failure_response(error)
    if not reception.is_batch:
        [item] = reception.receipts
        content = told(item.id, is_duplicate=item.is_duplicate)
        return HttpResponse(content, content_type="application/json")
    for item in reception.receipts:
        if item.refusal is not None:
            tally.of_this_process().refused(slug, item.refusal)
    events = [_told(item) for item in reception.receipts]
    return JsonResponse(_told_of_batch(reception.receipts) | {"events": events})


def told(number: UUID | str | None, *, is_duplicate: bool) -> bytes:
    """What the sender of one event is told; a UUID needs no escaping."""
    status, deduped = ("duplicate", "true") if is_duplicate else ("accepted", "false")
    return f'{{"status": "{status}", "deduped": {deduped}, "id": "{number}"}}'.encode()


def _told(item: inbound.Receipt) -> dict[str, Any]:
    if item.refusal is not None:
        return {"status": "refused", "deduped": False, "id": None, "code": item.refusal.code}
    status = "duplicate" if item.is_duplicate else "accepted"
    return {"status": status, "deduped": item.is_duplicate, "id": item.id and str(item.id)}


def _told_of_batch(receipts: Sequence[inbound.Receipt]) -> dict[str, Any]:
    """`accepted` if anything is new, else `duplicate` if anything is known, else `refused`."""
    stored = [item for item in receipts if item.refusal is None]
    new = [item for item in stored if not item.is_duplicate]
    answer = _told(next(iter([*new, *stored, *receipts]), inbound.Receipt(None)))
    first = _told(stored[0])["id"] if stored else None
    return {"status": answer["status"], "deduped": answer["deduped"], "id": first}


@lru_cache(maxsize=1_000)
def _header_of(name: str) -> str | None:
    """The header, in lower case, that a server calls so; None for what is none."""
    if not name.startswith(HEADERS):
        return None
    return name.removeprefix("HTTP_").replace("_", "-").lower()


def signed_request(meta: Mapping[str, Any], path: str, body: bytes) -> SignedRequest:
    """A header that was sent twice comes from the server as one value, joined by a comma."""
    return SignedRequest(
        method="POST",
        url=f"{settings.PUBLIC_URL.rstrip('/')}{path}",
        path=path,
        query=meta.get("QUERY_STRING", ""),
        headers=[
            (header, str(value))
            for name, value in meta.items()
            if (header := _header_of(name)) is not None
        ],
        body=body,
        now=time.time(),
    )


class NewEventSerializer(serializers.Serializer[Any]):
    type = serializers.RegexField(EVENT_TYPE_PATTERN, max_length=100)
    merchant_id = serializers.UUIDField(
        required=False, help_text="May be left out with a token that is bound to one merchant."
    )
    location_id = serializers.UUIDField(required=False, allow_null=True, default=None)
    occurred_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    idempotency_key = serializers.CharField(
        required=False, allow_null=True, default=None, max_length=255
    )
    data = serializers.DictField()  # type: ignore[assignment]


class AcceptedEventSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    deliveries = serializers.IntegerField()


@extend_schema(tags=["events"])
class EventList(APIView):
    @extend_schema(request=NewEventSerializer, responses={202: AcceptedEventSerializer})
    def post(self, request: Request) -> Response:
        """Report a domain event; every subscribed integration of the merchant is told."""
        reported = NewEventSerializer(data=request.data)
        reported.is_valid(raise_exception=True)
        fields = reported.validated_data
        event, deliveries = outbound.accept_event(
            outbound.NewEvent(
                type=fields["type"],
                merchant_id=caller_of(request).merchant(fields.get("merchant_id")),
                location_id=fields["location_id"],
                occurred_at=fields["occurred_at"],
                idempotency_key=fields["idempotency_key"],
                data=fields["data"],
            )
        )
        return Response(
            {"id": str(event.pk), "deliveries": deliveries}, status=status.HTTP_202_ACCEPTED
        )

    @extend_schema(parameters=[QuestionSerializer], responses=FeedSerializer)
    def get(self, request: Request) -> HttpResponse:
        """The merchant's events by sequence, as they were delivered."""
        caller = caller_of(request)
        asked, merchant_id = question_of(request)
        return feed.of_merchant(caller.actor(caller.merchant(merchant_id)), asked)


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    class Meta:
        model = Attempt
        fields = ("number", "started_at", "elapsed_ms", "response_status", "problem")


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    integration = serializers.CharField(source="integration.slug")
    event_id = serializers.UUIDField()
    event_type = serializers.CharField(source="event.type")
    attempts = serializers.SerializerMethodField()

    class Meta:
        model = Delivery
        fields = (
            "id",
            "event_id",
            "event_type",
            "integration",
            "install_id",
            "status",
            "reason",
            "attempts_made",
            "next_attempt_at",
            "created_at",
            "finished_at",
            "attempts",
        )

    @extend_schema_field(AttemptSerializer(many=True))
    def get_attempts(self, row: Delivery) -> Any:
        return AttemptSerializer(row.attempts.all(), many=True).data


class NewestFirst(CursorPage):
    ordering = ("-created_at", "-id")


class DeliveryFilterSerializer(serializers.Serializer[Any]):
    """What may stand in the query of the list, and to which column it belongs."""

    integration = serializers.CharField(
        source="integration__slug", max_length=64, required=False, help_text="The slug."
    )
    install = serializers.UUIDField(source="install_id", required=False)
    status = serializers.ChoiceField(choices=DeliveryStatus.choices, required=False)
    event_type = serializers.CharField(source="event__type", max_length=100, required=False)
    since = serializers.DateTimeField(source="created_at__gte", required=False)
    until = serializers.DateTimeField(source="created_at__lt", required=False)


@extend_schema(tags=["deliveries"], parameters=[MERCHANT, DeliveryFilterSerializer])
class DeliveryList(generics.ListAPIView[Delivery]):
    """Deliveries of the merchant, the newest first, with every attempt."""

    serializer_class = DeliverySerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Delivery.objects.none()
        actor = actor_for(self.request)
        asked = DeliveryFilterSerializer(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        return (
            Delivery.objects.for_merchant(actor.merchant_id)
            .filter(**asked.validated_data)
            .select_related("event", "integration")
            .prefetch_related("attempts")
        )


@extend_schema(tags=["deliveries"], request=None, responses={202: DeliverySerializer})
class DeliveryReplay(APIView):
    def post(self, request: Request, delivery_id: UUID) -> Response:
        """Send a finished delivery again."""
        caller = caller_of(request)
        rows = Delivery.objects.select_related("event", "integration")
        row = rows.filter(pk=delivery_id).first()
        if row is None or caller.merchant_id not in {None, row.merchant_id}:
            raise ApiError("not_found")
        caller.actor(row.merchant_id).require(Verb.REPLAY)
        outbound.replay(row)
        row.refresh_from_db()
        return Response(DeliverySerializer(row).data, status=status.HTTP_202_ACCEPTED)
