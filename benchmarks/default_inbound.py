"""The same door as one would write it first: a DRF view, the whole middleware, get_or_create.

A URLconf for `benchmarks.default_settings`.
"""

import hashlib
import hmac
from typing import Any

from django.http import HttpRequest
from django.urls import path
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.models import Integration
from installs.credentials import active_secrets
from installs.models import Install
from webhooks.models import InboundEvent


class PostSerializer(serializers.Serializer[Any]):
    event_id = serializers.CharField(max_length=255)
    type = serializers.CharField(max_length=100)
    merchant_id = serializers.UUIDField()
    data = serializers.DictField()  # type: ignore[assignment]


class Receive(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    def post(self, request: Request, slug: str) -> Response:
        raw: HttpRequest = request._request  # noqa: SLF001
        body = raw.body
        integration = Integration.objects.get(slug=slug)
        given = request.headers.get("X-Bench-Signature", "")
        keys = active_secrets(slug, "inbound")
        if not any(
            hmac.compare_digest(hmac.digest(key, body, "sha256").hex(), given) for key in keys
        ):
            return Response(status=401)
        posted = PostSerializer(data=request.data)
        posted.is_valid(raise_exception=True)
        fields = posted.validated_data
        install = Install.objects.get(integration=integration, merchant_id=fields["merchant_id"])
        row, is_new = InboundEvent.objects.get_or_create(
            install_id=install.pk,
            provider_event_id=fields["event_id"],
            defaults={
                "integration": integration,
                "merchant_id": install.merchant_id,
                "type": fields["type"],
                "capability": "payment_webhook_inbound",
                "body": body,
                "body_digest": hashlib.sha256(body).hexdigest(),
            },
        )
        return Response({"status": "accepted" if is_new else "duplicate", "id": str(row.pk)})


urlpatterns = [path("v1/integrations/<slug:slug>/webhook", Receive.as_view())]
