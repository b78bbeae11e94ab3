"""Where tills ask. Always 200 where the question itself is valid."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from dispatch import qr, router
from installs.tokens import caller_of


class QuestionSerializer(serializers.Serializer[Any]):
    merchant_id = serializers.UUIDField(
        required=False, help_text="May be left out with a token that is bound to one merchant."
    )
    location_id = serializers.UUIDField()
    operation = serializers.RegexField(r"^[a-z_.]{1,40}\Z", required=False, default="")
    idempotency_key = serializers.CharField(
        required=False, max_length=255, help_text="Default: order id and version."
    )
    install_id = serializers.UUIDField(
        required=False,
        allow_null=True,
        default=None,
        help_text="Ask this install alone, such as the tender that the cashier tapped.",
    )
    render = serializers.ChoiceField(choices=["svg"], required=False, allow_null=True)
    data = serializers.DictField()  # type: ignore[assignment]


class ResultErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()


class ResultSerializer(serializers.Serializer[Any]):
    integration = serializers.CharField()
    install_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=["ok", "declined", "error", "timeout", "skipped"])
    output = serializers.DictField()
    error = ResultErrorSerializer(required=False)
    elapsed_ms = serializers.IntegerField()


class AnswerSerializer(serializers.Serializer[Any]):
    capability = serializers.CharField()
    mode = serializers.ChoiceField(choices=["add", "replace"])
    answered_by = serializers.ChoiceField(choices=["integration", "built_in"])
    results = ResultSerializer(many=True)


@extend_schema(tags=["dispatch"])
class Dispatch(APIView):
    @extend_schema(request=QuestionSerializer, responses=AnswerSerializer)
    def post(self, request: Request, capability: str) -> Response:
        """Ask the integrations that answer this capability at a location, within its budget."""
        question = QuestionSerializer(data=request.data)
        question.is_valid(raise_exception=True)
        fields = question.validated_data
        answer = router.dispatch(
            caller_of(request).merchant(fields.get("merchant_id")),
            fields["location_id"],
            capability,
            fields["data"],
            operation=fields["operation"],
            idempotency_key=fields.get("idempotency_key", ""),
            install_id=fields["install_id"],
        )
        if fields.get("render") == "svg":
            qr.draw(answer)
        return Response(answer)
