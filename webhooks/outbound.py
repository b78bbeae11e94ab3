"""The door for what Posz tells partners: an event and its deliveries are one transaction.

`accept_event` writes them, `deliver_due` sends what is due. The database is the clock and the truth;
the queue only wakes workers up. A delivery is claimed by conditional update with a lease and a
fencing token, sent without any lock held, and its outcome is written only by whoever still holds the
token. Delivery is at least once, with a stable event id and the same bytes on every attempt.
"""

import logging
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID, uuid4

from celery import current_app
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db import connection as database
from django.db.models import F
from django.utils import timezone

from catalog.envelope import ApiError
from catalog.strict_json import dumps
from dispatch import door, oauth
from dispatch.contracts import AuthError, TemporaryError
from dispatch.signing import hex_signature, standard_headers
from installs import audit, connection, grants, lifecycle, scope
from installs.credentials import active_secrets
from installs.ladder import LADDER, next_attempt_at
from installs.models import Install, Location, Merchant
from webhooks.models import Attempt, Delivery, DeliveryStatus, Event

logger = logging.getLogger(__name__)

BATCH = 100
PARALLEL = 16
LEASE = timedelta(seconds=60)
HOLD_WHILE_DISABLED = timedelta(minutes=15)
HOLD_WITHOUT_TOKEN = timedelta(seconds=60)
# What of the lease may go by until every access token of a batch is there.
TOKENS_WITHIN_SECONDS = 20.0
EXCERPT_CHARACTERS = 500
VERSION = 1


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event as the POS reports it, checked."""

    type: str
    merchant_id: UUID
    location_id: UUID | None
    occurred_at: datetime | None
    idempotency_key: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to. `status` None means that no answer was read."""

    started_at: datetime
    elapsed_ms: int
    status: int | None
    problem: str
    excerpt: str
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def accept_event(new: NewEvent) -> tuple[Event, int]:
    """Store an event with one delivery per subscribed, enabled, effective install.

    The same idempotency key of a merchant gives the same event and writes nothing. Refused with 404
    for an unknown merchant or outlet.
    """
    try:
        with transaction.atomic():
            event = _write_event(new)
    except IntegrityError:
        event = Event.objects.get(merchant_id=new.merchant_id, idempotency_key=new.idempotency_key)
    return event, event.deliveries.count()


def _write_event(new: NewEvent) -> Event:
    if new.idempotency_key is not None:
        known = Event.objects.filter(
            merchant_id=new.merchant_id, idempotency_key=new.idempotency_key
        ).first()
        if known is not None:
            return known
    # The update is also the lock that puts a merchant's events in one order.
    if not Merchant.objects.filter(pk=new.merchant_id).update(
        event_sequence=F("event_sequence") + 1
    ):
        raise ApiError("not_found")
    location = lifecycle.find_location(new.merchant_id, new.location_id)
    merchant = Merchant.objects.get(pk=new.merchant_id)
    event = _event_row(new, merchant, location)
    event.save(force_insert=True)
    rows = subscribers(merchant.pk, location, new.type)
    Delivery.objects.bulk_create(
        [
            Delivery(event=event, merchant=merchant, integration=row.integration, install_id=row.pk)
            for row in rows
        ]
    )
    if new.type == "settings.changed":
        merchant_settings_changed(merchant, new.data)
    if rows:
        transaction.on_commit(wake_delivery)
    return event


def accept_example(install: Install, event_type: str, data: Mapping[str, Any]) -> Delivery:
    """Store an event in which nothing has happened, with a delivery to this install alone.

    It says so in its body, and has no place in the merchant's sequence.
    """
    new = NewEvent(event_type, install.merchant_id, install.location_id, None, None, data)
    with transaction.atomic():
        event = _event_row(new, install.merchant, install.location, is_example=True)
        event.save(force_insert=True)
        delivery = Delivery(
            event=event,
            merchant_id=install.merchant_id,
            integration=install.integration,
            install_id=install.pk,
        )
        delivery.save(force_insert=True)
        transaction.on_commit(wake_delivery)
    return delivery


def _event_row(
    new: NewEvent, merchant: Merchant, location: Location | None, *, is_example: bool = False
) -> Event:
    event_id, occurred_at = uuid4(), new.occurred_at or timezone.now()
    body = dumps(
        {
            "id": str(event_id),
            "type": new.type,
            "version": VERSION,
            "occurred_at": occurred_at.isoformat(),
            "merchant_id": str(merchant.pk),
            "location_id": str(location.pk) if location else None,
            "sequence": 0 if is_example else merchant.event_sequence,
            **({"example": True} if is_example else {}),
            "data": new.data,
        }
    )
    return Event(
        id=event_id,
        merchant=merchant,
        location=location,
        type=new.type,
        sequence=None if is_example else merchant.event_sequence,
        is_example=is_example,
        idempotency_key=new.idempotency_key,
        body=body,
        occurred_at=occurred_at,
    )


def subscribers(merchant_id: UUID, location: Location | None, event_type: str) -> list[Install]:
    """Enabled installs that are effective at the location and subscribe to the type.

    An event of no location goes to every enabled subscriber, once per partner.
    """
    rows = list(Install.objects.for_merchant(merchant_id).with_names().in_order())
    if location is not None:
        effective = {
            item.id
            for item in scope.effective_installs([row.scoped() for row in rows], location.pk)
        }
        rows = [row for row in rows if row.pk in effective]
    wanted = [
        row
        for row in rows
        if row.is_enabled
        and row.outbound_off_at is None
        and row.integration.is_running
        and event_type in row.integration.outbound_events
    ]
    if location is not None:
        return wanted
    first_of: dict[UUID, Install] = {}
    for row in wanted:
        first_of.setdefault(row.integration_id, row)
    return list(first_of.values())


def merchant_settings_changed(merchant: Merchant, data: Mapping[str, Any]) -> None:
    """Follow the POS: take over what changed, and tell the partners that know the merchant."""
    after = data.get("after")
    merchant.apply_settings(after if isinstance(after, dict) else {})
    rows = Install.objects.for_merchant(merchant.pk).with_names().filter(is_enabled=True)
    connection.schedule_provisioning(rows.select_for_update(of=("self",)))


def deliver_due() -> int:
    """Send everything that is due; return how many attempts were made.

    Safe to run in many workers at once and after any crash.
    """
    made = 0
    while batch := claim_due(timezone.now()):
        made += send_batch(batch)
    return made


def claim_due(at: datetime) -> list[Delivery]:
    """Take up to a batch of due deliveries for the length of a lease."""
    lease = at + LEASE
    with transaction.atomic():
        due = Delivery.objects.due(at)
        if database.features.has_select_for_update_skip_locked:
            due = due.select_for_update(skip_locked=True)
        ids = list(due.values_list("pk", flat=True)[:BATCH])
        # The condition repeats what made the row due: where rows can't be locked it is the lock.
        Delivery.objects.due(at).order_by().filter(pk__in=ids).update(
            lease_until=lease, fencing_token=F("fencing_token") + 1
        )
        return list(
            Delivery.objects.filter(pk__in=ids, lease_until=lease).select_related(
                "event", "integration"
            )
        )


def send_batch(batch: list[Delivery]) -> int:
    installs = Install.objects.in_bulk([item.install_id for item in batch])
    sendable = [item for item in batch if _is_sendable(item, installs.get(item.install_id))]
    keys = {
        slug: active_secrets(slug, "outbound")
        for slug in {item.integration.slug for item in sendable}
    }
    tokens = access_tokens(sendable, installs)
    sendable = [item for item in sendable if tokens.get(item.install_id) is not None]
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="deliver") as threads:
        outcomes = threads.map(
            lambda item: attempt(item, keys[item.integration.slug], tokens[item.install_id] or ""),
            sendable,
        )
        for item, outcome in zip(sendable, outcomes, strict=True):
            record(item, outcome)
            if outcome.status == 401 and (token := tokens[item.install_id]):
                doubt_token(item, token)
    return len(sendable)


def access_tokens(
    batch: list[Delivery], installs: Mapping[UUID, Install]
) -> dict[UUID, str | None]:
    """Install to access token, empty where the partner wants none.

    Without a token nothing is sent and no attempt is counted: the delivery waits until the merchant
    has connected again, or until the partner gives tokens again.
    """
    give_up_at = time.monotonic() + TOKENS_WITHIN_SECONDS
    tokens: dict[UUID, str | None] = {}
    for item in batch:
        if item.install_id not in tokens:
            is_oauth = item.integration.is_oauth
            wait = max(give_up_at - time.monotonic(), 0)
            token = _access_token(installs[item.install_id], wait) if is_oauth else ""
            tokens[item.install_id] = token
        if tokens[item.install_id] is None:
            _held(item).update(
                lease_until=None, next_attempt_at=timezone.now() + HOLD_WITHOUT_TOKEN
            )
    return tokens


def _access_token(install: Install, wait_seconds: float) -> str | None:
    try:
        return oauth.access_token_for(install, wait_seconds=wait_seconds)
    except (AuthError, TemporaryError):
        return None


def doubt_token(delivery: Delivery, token: str) -> None:
    grant_id = (
        Install.objects.filter(pk=delivery.install_id).values_list("grant_id", flat=True).first()
    )
    if grant_id is not None:
        grants.doubt(grant_id, token)


def _is_sendable(delivery: Delivery, install: Install | None) -> bool:
    """Put aside what must not be sent now: uninstalled is cancelled, switched off waits."""
    if install is None:
        _finish(delivery, DeliveryStatus.CANCELLED, "uninstalled")
        return False
    if install.outbound_off_at is not None:
        _finish(delivery, DeliveryStatus.DEAD, "endpoint_gone")
        return False
    if not install.is_enabled or not delivery.integration.is_running:
        _held(delivery).update(
            lease_until=None, next_attempt_at=timezone.now() + HOLD_WHILE_DISABLED
        )
        return False
    return True


def attempt(delivery: Delivery, keys: list[bytes], token: str = "") -> Outcome:
    """One signed POST. Touches no database, so that many can run at once."""
    started_at, started = timezone.now(), time.monotonic()
    body = bytes(delivery.event.body)
    status, problem, excerpt, retry_after = None, "", "", None
    try:
        if not keys:
            raise door.DoorError("no outbound secret")
        reply = door.call(
            "POST",
            delivery.integration.outbound_url,
            headers=signed_headers(delivery, body, keys) | bearer(token),
            body=body,
            timeout_seconds=settings.DELIVERY_TIMEOUT_SECONDS,
        )
        status, excerpt = reply.status, _excerpt(reply.body)
        retry_after = _retry_after(reply.headers, started_at)
        if not 200 <= status < 300:
            problem = f"http_{status}"
    except door.DoorError as error:
        problem = error.code
    elapsed_ms = round((time.monotonic() - started) * 1000)
    return Outcome(started_at, elapsed_ms, status, problem, excerpt, retry_after)


def signed_headers(delivery: Delivery, body: bytes, keys: list[bytes]) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "X-Posz-Signature": hex_signature(body, keys[0]),
        "X-Posz-Event": delivery.event.type,
        "X-Posz-Delivery": str(delivery.pk),
        "X-Posz-Attempt": str(delivery.attempts_made + 1),
        **standard_headers(str(delivery.event_id), int(time.time()), body, keys),
    }


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def record(delivery: Delivery, outcome: Outcome) -> None:
    """Write the attempt and what follows from it, unless the lease was lost meanwhile."""
    number = delivery.attempts_made + 1
    with transaction.atomic():
        status, reason, next_at = _what_follows(number - delivery.attempts_before_replay, outcome)
        is_mine = _held(delivery).update(
            status=status,
            reason=reason,
            attempts_made=number,
            next_attempt_at=next_at,
            lease_until=None,
            finished_at=None if status == DeliveryStatus.PENDING else timezone.now(),
        )
        if not is_mine:
            return
        Attempt.objects.create(
            delivery=delivery,
            number=number,
            started_at=outcome.started_at,
            elapsed_ms=outcome.elapsed_ms,
            response_status=outcome.status,
            problem=outcome.problem,
            response_excerpt=outcome.excerpt,
        )
        if outcome.status == 410:
            connection.turn_outbound_off(delivery.install_id)
        elif status == DeliveryStatus.DEAD:
            audit.record(
                "delivery.dead",
                actor=audit.SYSTEM,
                install=Install.objects.with_names().filter(pk=delivery.install_id).first(),
                merchant_id=delivery.merchant_id,
                data={"event_id": str(delivery.event_id), "problem": outcome.problem},
            )


def _what_follows(tries: int, outcome: Outcome) -> tuple[str, str, datetime | None]:
    if outcome.is_success:
        return DeliveryStatus.DELIVERED, "", None
    if outcome.status == 410:
        return DeliveryStatus.DEAD, "endpoint_gone", None
    failed_at = outcome.started_at + timedelta(milliseconds=outcome.elapsed_ms)
    next_at = next_attempt_at(tries, failed_at)
    if next_at is None:
        return DeliveryStatus.DEAD, outcome.problem, None
    if outcome.retry_after:
        next_at = max(next_at, failed_at + min(outcome.retry_after, LADDER[-1]))
    return DeliveryStatus.PENDING, outcome.problem, next_at


def replay(delivery: Delivery) -> None:
    """Send a finished delivery again from the start of its ladder.

    Refused where the install is gone or switched off, and while it is still on its way.
    """
    install = Install.objects.filter(pk=delivery.install_id).first()
    if install is None:
        raise ApiError("integration_not_installed")
    if not install.is_enabled:
        raise ApiError("integration_disabled")
    start_anew([delivery.pk])


def start_anew(ids: Collection[UUID]) -> int:
    """Put finished deliveries at the start of their ladder, due now; return how many they were.

    Whether their installs may be sent to is for the caller to know. One on its way stays as it is.
    """
    with transaction.atomic():
        started = (
            Delivery.objects.filter(pk__in=ids)
            .exclude(status=DeliveryStatus.PENDING)
            .update(
                status=DeliveryStatus.PENDING,
                reason="",
                attempts_before_replay=F("attempts_made"),
                next_attempt_at=timezone.now(),
                finished_at=None,
            )
        )
        if started:
            transaction.on_commit(wake_delivery)
    return started


def wake_delivery() -> None:
    """Wake a worker. A queue that is down costs nothing: the tick finds what is due."""
    try:
        current_app.send_task("webhooks.tasks.deliver_due", ignore_result=True, retry=False)
    except Exception:
        logger.exception("The queue is down; the tick will deliver")


def _held(delivery: Delivery) -> Any:
    return Delivery.objects.filter(
        pk=delivery.pk, fencing_token=delivery.fencing_token, status=DeliveryStatus.PENDING
    )


def _finish(delivery: Delivery, status: str, reason: str) -> None:
    _held(delivery).update(
        status=status,
        reason=reason,
        next_attempt_at=None,
        lease_until=None,
        finished_at=timezone.now(),
    )


def _excerpt(body: bytes) -> str:
    """The beginning of an answer as text that any database can hold."""
    text = body[: EXCERPT_CHARACTERS * 4].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text)[:EXCERPT_CHARACTERS]


def _retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    value = headers.get("Retry-After", headers.get("retry-after", "")).strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return timedelta(seconds=int(value))
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        return None
    return max(moment - now, timedelta(0))
