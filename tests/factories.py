"""Rows for tests, each with what a test does not care about filled in."""

import itertools
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.utils import timezone

from catalog.models import AuthShape, Category, Integration, IntegrationStatus
from dispatch.models import PaymentIntent
from installs import lifecycle
from installs.access import Actor
from installs.credentials import ensure_secrets, set_client_secret
from installs.models import ApiToken, Install, Location, Membership, Merchant, Role, User
from webhooks.claims import Claimed
from webhooks.models import (
    Attention,
    Delivery,
    DeliveryHealth,
    DeliveryStatus,
    Event,
    InboundEvent,
)
from webhooks.sending import Job

numbers = itertools.count(1)
PASSWORD = "a-long-demo-password"


def make_merchant(**over: Any) -> Merchant:
    number = next(numbers)
    defaults = {"name": f"Warung {number}", "email": f"w{number}@example.id", "city": "Jakarta"}
    return Merchant.objects.create(**(defaults | over))


def make_location(merchant: Merchant, **over: Any) -> Location:
    defaults = {"name": f"Outlet {next(numbers)}", "city": "Jakarta"}
    return Location.objects.create(merchant=merchant, **(defaults | over))


def make_user(merchant: Merchant | None = None, role: str = Role.OWNER, **over: Any) -> User:
    email = over.pop("email", f"person{next(numbers)}@example.id")
    user = User.objects.create_user(email, PASSWORD, **over)
    if merchant is not None:
        Membership.objects.create(user=user, merchant=merchant, role=role)
    return user


def make_category(slug: str) -> Category:
    """Seeded by a migration, and gone again after a test that empties the tables."""
    texts = {
        "name_en": slug,
        "name_id": slug,
        "description_en": slug,
        "description_id": slug,
    }
    return Category.objects.get_or_create(slug=slug, defaults=texts)[0]


def make_integration(slug: str | None = None, **over: Any) -> Integration:
    number = next(numbers)
    slug = slug or f"partner-{number}"
    make_category("receipt")
    defaults: dict[str, Any] = {
        "status": IntegrationStatus.AVAILABLE,
        "category_id": "receipt",
        "name_en": f"Partner {number}",
        "name_id": f"Mitra {number}",
        "tagline_en": "Does something",
        "tagline_id": "Melakukan sesuatu",
        "description_en": "More about it.",
        "description_id": "Lebih lanjut.",
        "auth_shape": AuthShape.PLATFORM_SHARED,
        "capabilities": {"receipt_qr": 1},
        "data_residency": "id",
    }
    return Integration.objects.create(slug=slug, **(defaults | over))


def make_oauth_integration(url: str, **over: Any) -> Integration:
    """A partner whose OAuth server is at the url, with the client secret in place."""
    settings = {
        "authorize_url": f"{url}/authorize",
        "token_url": f"{url}/token",
        "revoke_url": f"{url}/revoke",
        "account": {"url": f"{url}/me", "pointer": "/id", "name_pointer": "/name"},
        "client_id": "posz",
        "scopes": ["events:write"],
        **over.pop("oauth", {}),
    }
    defaults: dict[str, Any] = {
        "auth_shape": AuthShape.OAUTH,
        "oauth_settings": {key: value for key, value in settings.items() if value is not None},
        "capabilities": {"customer_event_export": 1},
        "outbound_events": ["order.paid"],
        "outbound_url": f"{url}/events",
    }
    row = make_integration(over.pop("slug", None), **(defaults | over))
    set_client_secret(row, "the-client-secret")
    return row


def make_spliteasy(url: str = "https://api.spliteasy.example", **over: Any) -> Integration:
    defaults: dict[str, Any] = {
        "capabilities": {"receipt_qr": 1, "payment_webhook_inbound": 1},
        "api_base_url": url,
        "landing_base_url": "https://s.example/b",
        "outbound_events": ["order.paid", "refund.created", "settings.changed"],
        "outbound_url": f"{url}/v1/external/events",
        "inbound_events": {
            "bill.settled": "payment_webhook_inbound",
            "bill.expired": "payment_webhook_inbound",
            "bill.cancelled": "payment_webhook_inbound",
            "bill.tipped": "payment_method",
        },
    }
    return make_integration("spliteasy", **(defaults | over))


def keys_of(integration: Integration) -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in ensure_secrets(integration).items()}


def owner_of(merchant: Merchant) -> Actor:
    return Actor(merchant.pk, "owner@example.id", Role.OWNER)


def make_install(
    merchant: Merchant, integration: Integration, location_id: UUID | None = None, **over: Any
) -> Install:
    """Through the front door; `over` is then set on the row."""
    row = lifecycle.install(owner_of(merchant), integration, location_id=location_id)
    if over:
        Install.objects.filter(pk=row.pk).update(**over)
        Merchant.touch(merchant.pk)
        row.refresh_from_db()
    return row


def make_delivery(install: Install, **over: Any) -> Delivery:
    """One that was given up, of an event at the install's own outlet unless `location_id` says."""
    location_id = over.pop("location_id", install.location_id)
    event = Event.objects.create(
        merchant=install.merchant,
        location_id=location_id,
        type=over.pop("type", "order.paid"),
        body=over.pop("body", b'{"id": "e"}'),
        occurred_at=timezone.now(),
    )
    defaults: dict[str, Any] = {"status": DeliveryStatus.DEAD, "reason": "http_500"}
    return Delivery.objects.create(
        event=event,
        merchant=install.merchant,
        integration=install.integration,
        install_id=install.pk,
        **(defaults | over),
    )


def make_inbound(install: Install, **over: Any) -> InboundEvent:
    """One that was received and not worked on, in the body that Posz expects."""
    number = over.pop("provider_event_id", f"evt-{next(numbers)}")
    body = {
        "event_id": number,
        "type": over.get("type", "bill.settled"),
        "merchant_id": str(install.merchant_id),
        "data": over.pop("data", {"bill_token": "tok"}),
    }
    defaults: dict[str, Any] = {
        "type": "bill.settled",
        "capability": "payment_webhook_inbound",
        "body": json.dumps(body).encode(),
        "body_digest": "0" * 64,
    }
    return InboundEvent.objects.create(
        install_id=install.pk,
        integration=install.integration,
        merchant=install.merchant,
        provider_event_id=number,
        **(defaults | over),
    )


def make_payment(install: Install, location: Location, **over: Any) -> PaymentIntent:
    """One that the partner was asked to start, and that nobody has paid yet."""
    defaults: dict[str, Any] = {
        "merchant": install.merchant,
        "integration": install.integration,
        "install_id": install.pk,
        "location": location,
        "payment_id": f"pay-{next(numbers)}",
        "order_id": "o-1",
        "amount_cents": 5000000,
        "currency": "IDR",
        "expires_at": timezone.now() + timedelta(minutes=15),
        "next_sweep_at": timezone.now() + timedelta(seconds=15),
    }
    return PaymentIntent.objects.create(**(defaults | over))


def make_health(install: Install, **over: Any) -> DeliveryHealth:
    """Of an install with an open incident."""
    defaults: dict[str, Any] = {
        "attention": Attention.FAILING,
        "attention_at": timezone.now(),
        "failing_since": timezone.now(),
        "problem": "http_500",
    }
    return DeliveryHealth.objects.create(
        install_id=install.pk,
        merchant=install.merchant,
        integration=install.integration,
        **(defaults | over),
    )


def make_token(merchant: Merchant | None = None, role: str = Role.OWNER) -> str:
    return ApiToken.issue(f"token {next(numbers)}", merchant=merchant, role=role)


def make_order(order_id: str = "order-1", **over: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "id": order_id,
        "number": "A-17",
        "version": 1,
        "table": "7",
        "lines": [
            {
                "name": "Nasi goreng",
                "qty": "2",
                "unit_price_cents": 3500000,
                "total_cents": 7000000,
            },
            {"name": "Es teh", "qty": "3", "unit_price_cents": 1000000, "total_cents": 3000000},
        ],
        "charges": [{"code": "service", "amount_cents": 500000}],
        "taxes": [{"code": "PBJT", "amount_cents": 1050000}],
        "subtotal_cents": 10000000,
        "total_cents": 11550000,
        "closed_at": "2026-11-23T12:00:00+07:00",
    }
    return defaults | over


KEY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["api_key"],
    "properties": {
        "api_key": {"type": "string", "x-secret": True, "maxLength": 200, "x-order": 1},
        "pin": {"type": "string", "x-secret": True, "maxLength": 200, "x-order": 2},
        "greeting": {"type": "string", "maxLength": 96, "x-order": 3},
    },
}
VERIFY: dict[str, Any] = {
    "method": "GET",
    "path": "/posz/v1/verify",
    "headers": {"Authorization": "Bearer {config.api_key}"},
}


def make_key_partner(url: str = "https://keys.example", **over: Any) -> Integration:
    """A partner for which each merchant pastes a key, with a test of that key."""
    defaults: dict[str, Any] = {
        "auth_shape": AuthShape.MERCHANT_KEY,
        "capabilities": {"receipt_pretext": 1},
        "config_schema": KEY_SCHEMA,
        "request_auth": {"scheme": "bearer", "field": "api_key"},
        "verification_request": VERIFY,
        "api_base_url": url,
    }
    return make_integration(**(defaults | over))


def make_job(url: str, key: bytes, **over: Any) -> Job:
    """A claimed delivery that is in no database."""
    defaults: dict[str, Any] = {
        "id": uuid4(),
        "fencing_token": 1,
        "event_id": uuid4(),
        "event_type": "order.paid",
        "body": b"{}",
        "merchant_id": uuid4(),
        "install_id": uuid4(),
        "attempts_made": 0,
        "attempts_before_replay": 0,
        "integration_id": uuid4(),
        "slug": "partner",
        "url": url,
        "is_oauth": False,
    }
    return Job(Claimed(**(defaults | over)), [key])
