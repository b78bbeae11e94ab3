"""Payments over the API, for the POS: what is known of one, and what guests paid at tables."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.envelope import ApiError
from catalog.paging import CursorPage
from dispatch.models import PaymentChange, PaymentIntent, PaymentRefund, TablePayment
from dispatch.payment_models import RefundState, Source, State
from dispatch.table_models import TablePaymentState
from installs.api import MERCHANT, actor_for

LONGEST_ID = 200
PAYMENT_ID = OpenApiParameter("payment_id", str, OpenApiParameter.PATH)


class PaymentChangeSerializer(serializers.ModelSerializer[PaymentChange]):
    source = serializers.ChoiceField(choices=Source.choices)  # type: ignore[assignment]
    previous = serializers.CharField(help_text="Empty for the first one.")
    state = serializers.ChoiceField(choices=State.choices)
    problem = serializers.CharField()

    class Meta:
        model = PaymentChange
        fields = ("at", "source", "previous", "state", "problem", "reason", "amount_cents")


class PaymentRefundSerializer(serializers.ModelSerializer[PaymentRefund]):
    state = serializers.ChoiceField(choices=RefundState.choices)

    class Meta:
        model = PaymentRefund
        fields = ("refund_id", "amount_cents", "state", "refund_ref", "created_at")


class PaymentSerializer(serializers.ModelSerializer[PaymentIntent]):
    merchant_id = serializers.UUIDField()
    location_id = serializers.UUIDField()
    integration = serializers.CharField(source="integration.slug")
    state = serializers.ChoiceField(choices=State.choices)
    problem = serializers.CharField(help_text="Why somebody has to look at it; mostly empty.")
    refunds = PaymentRefundSerializer(many=True)
    history = PaymentChangeSerializer(source="changes", many=True)

    class Meta:
        model = PaymentIntent
        fields = (
            "payment_id",
            "merchant_id",
            "location_id",
            "integration",
            "install_id",
            "order_id",
            "state",
            "problem",
            "amount_cents",
            "tip_cents",
            "currency",
            "paid_amount_cents",
            "refunded_cents",
            "provider_ref",
            "created_at",
            "expires_at",
            "refunds",
            "history",
        )


@extend_schema(tags=["payments"], parameters=[MERCHANT, PAYMENT_ID], responses=PaymentSerializer)
class PaymentDetail(APIView):
    def get(self, request: Request, payment_id: str) -> Response:
        """What is known of a payment that a till asked for. Asks nobody."""
        actor = actor_for(request)
        if len(payment_id) > LONGEST_ID or "\0" in payment_id:
            raise ApiError("not_found")
        rows = PaymentIntent.objects.for_merchant(actor.merchant_id).filter(payment_id=payment_id)
        row = rows.select_related("integration").prefetch_related("changes", "refunds").first()
        if row is None:
            raise ApiError("not_found")
        return Response(PaymentSerializer(row).data)


class TablePaymentSerializer(serializers.ModelSerializer[TablePayment]):
    location_id = serializers.UUIDField()
    integration = serializers.CharField(source="integration.slug")
    check_id = serializers.CharField(source="check_row.check_id")
    amount_cents = serializers.IntegerField(help_text="Without the tip.")

    class Meta:
        model = TablePayment
        fields = (
            "payment_id",
            "check_id",
            "location_id",
            "integration",
            "amount_cents",
            "tip_cents",
            "overpaid_cents",
            "method",
            "provider_ref",
            "paid_at",
            "applied_at",
        )


class AsTheyCame(CursorPage):
    ordering = ("applied_at", "id")


class TablePaymentFilterSerializer(serializers.Serializer[Any]):
    location_id = serializers.UUIDField(required=False)
    check_id = serializers.CharField(
        source="check_row__check_id", max_length=LONGEST_ID, required=False
    )
    since = serializers.DateTimeField(source="applied_at__gte", required=False)


@extend_schema(tags=["payments"], parameters=[MERCHANT, TablePaymentFilterSerializer])
class TablePaymentList(generics.ListAPIView[TablePayment]):
    """What guests have paid at tables, in the order in which it was taken in.

    Book each once, by its `payment_id`, and list it in the `payments` of the check's next version.
    """

    serializer_class = TablePaymentSerializer
    pagination_class = AsTheyCame

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return TablePayment.objects.none()
        actor = actor_for(self.request)
        asked = TablePaymentFilterSerializer(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        rows = TablePayment.objects.filter(
            merchant_id=actor.merchant_id, state=TablePaymentState.APPLIED
        )
        return rows.filter(**asked.validated_data).select_related("integration", "check_row")
