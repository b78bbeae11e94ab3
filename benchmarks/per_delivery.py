"""What most applications do: one Celery task per delivery, with requests and the ORM.

`celery -A benchmarks.per_delivery worker`. Each process keeps its session and the keys.
"""

from datetime import timedelta
from functools import cache

import django
import requests
from celery import Celery
from django.conf import settings

app = Celery("per_delivery")
app.config_from_object("django.conf:settings", namespace="CELERY")
django.setup()

from django.utils import timezone  # noqa: E402

from dispatch.signing import hex_signature, standard_headers  # noqa: E402
from installs.credentials import active_secrets  # noqa: E402
from webhooks.models import Attempt, Delivery, DeliveryStatus  # noqa: E402

QUEUE = "per-delivery"
app.conf.task_default_queue = QUEUE


@cache
def session() -> requests.Session:
    return requests.Session()


@cache
def keys_of(slug: str) -> list[bytes]:
    return active_secrets(slug, "outbound")


@app.task(name="benchmarks.deliver", ignore_result=True)
def deliver(delivery_id: str) -> None:
    delivery = Delivery.objects.select_related("event", "integration").get(pk=delivery_id)
    body, keys = bytes(delivery.event.body), keys_of(delivery.integration.slug)
    number, started_at = delivery.attempts_made + 1, timezone.now()
    headers = {
        "Content-Type": "application/json",
        "X-Posz-Signature": hex_signature(body, keys[0]),
        "X-Posz-Event": delivery.event.type,
        "X-Posz-Delivery": delivery_id,
        "X-Posz-Attempt": str(number),
        **standard_headers(str(delivery.event_id), int(started_at.timestamp()), body, keys),
    }
    try:
        status = (
            session()
            .post(
                delivery.integration.outbound_url,
                data=body,
                headers=headers,
                timeout=settings.DELIVERY_TIMEOUT_SECONDS,
            )
            .status_code
        )
    except requests.RequestException:
        status = None
    now, is_success = timezone.now(), status == 200
    Attempt.objects.create(
        delivery=delivery,
        number=number,
        started_at=started_at,
        elapsed_ms=round((now - started_at).total_seconds() * 1000),
        response_status=status,
    )
    Delivery.objects.filter(pk=delivery_id).update(
        status=DeliveryStatus.DELIVERED if is_success else DeliveryStatus.PENDING,
        attempts_made=number,
        finished_at=now if is_success else None,
        next_attempt_at=None if is_success else now + timedelta(seconds=60),
    )
