"""How an event and its deliveries become rows, in as few statements as the database allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.db import DEFAULT_DB_ALIAS, connection
from django.utils import timezone

from catalog import prepared
from catalog.strict_json import dumps
from installs.models import Install
from installs.snapshot import Stamp
from webhooks.models import DeliveryStatus, Event

VERSION = 1
ORDER_KEY_LENGTH = 255


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
class Draft:
    """An event with all but its place in the merchant's sequence. Examples have none."""

    id: UUID
    new: NewEvent
    created_at: datetime
    occurred_at: datetime
    is_example: bool
    # What every subscriber gets, up to the sequence and after it.
    head: bytes
    tail: bytes

    def tail_with(self, data: Mapping[str, Any]) -> bytes:
        """As `tail`, with other data than the event's own."""
        return _tail(data, is_example=self.is_example)

    def body(self, sequence: int | None, tail: bytes | None = None) -> bytes:
        return b"%b%d%b" % (self.head, sequence or 0, self.tail if tail is None else tail)


def draft(new: NewEvent, *, is_example: bool = False) -> Draft:
    event_id, now = uuid4(), timezone.now()
    occurred_at = new.occurred_at or now
    head = {
        "id": str(event_id),
        "type": new.type,
        "version": VERSION,
        "occurred_at": occurred_at.isoformat(),
        "merchant_id": str(new.merchant_id),
        "location_id": str(new.location_id) if new.location_id else None,
    }
    return Draft(
        event_id,
        new,
        now,
        occurred_at,
        is_example,
        dumps(head)[:-1] + b',"sequence":',
        _tail(new.data, is_example=is_example),
    )


def _tail(data: Mapping[str, Any], *, is_example: bool) -> bytes:
    return b"," + dumps({**({"example": True} if is_example else {}), "data": data})[1:]


def order_of(data: Mapping[str, Any]) -> str:
    """The order an event is about, empty where it is about none."""
    order = data.get("order")
    found = order.get("id") if isinstance(order, dict) else None
    found = found or data.get("order_id") or data.get("external_order_id")
    return str(found)[:ORDER_KEY_LENGTH] if isinstance(found, str | int) else ""


EVENT_COLUMNS = (
    "id",
    "merchant_id",
    "location_id",
    "type",
    "sequence",
    "is_example",
    "idempotency_key",
    "body",
    "occurred_at",
    "created_at",
)
DELIVERY_COLUMNS = (
    "id",
    "event_id",
    "merchant_id",
    "integration_id",
    "install_id",
    "sequence",
    "order_key",
    "status",
    "reason",
    "attempts_made",
    "attempts_before_replay",
    "fencing_token",
    "next_attempt_at",
    "created_at",
)
# Only of what differs from the event.
OWN_COLUMNS = ("body", "useful_until")


@dataclass(frozen=True, slots=True)
class Addressed:
    """An install that gets an event, with a tail of its own where its body is not the event's."""

    install: Install
    tail: bytes | None = None
    useful_until: datetime | None = None


def insert_event(item: Draft, sequence: int | None) -> Event:
    new = item.new
    values = (
        item.id,
        new.merchant_id,
        new.location_id,
        new.type,
        sequence,
        item.is_example,
        new.idempotency_key,
        item.body(sequence),
        item.occurred_at,
        item.created_at,
    )
    prepared.insert("event", EVENT_COLUMNS, [values])
    return Event.from_db(DEFAULT_DB_ALIAS, EVENT_COLUMNS, values)


def insert_deliveries(
    event: Event, item: Draft, to: Sequence[Addressed], data: Mapping[str, Any]
) -> list[UUID]:
    if not to:
        return []
    ids, at, order = [uuid4() for _item in to], timezone.now(), order_of(data)
    rows = [
        (
            pk,
            event.pk,
            event.merchant_id,
            addressed.install.integration_id,
            addressed.install.pk,
            event.sequence,
            order if addressed.install.integration.outbound_in_order else "",
            DeliveryStatus.PENDING.value,
            "",
            0,
            0,
            0,
            at,
            at,
            None if addressed.tail is None else item.body(event.sequence, addressed.tail),
            addressed.useful_until,
        )
        for pk, addressed in zip(ids, to, strict=True)
    ]
    prepared.insert("delivery", (*DELIVERY_COLUMNS, *OWN_COLUMNS), rows)
    return ids


# The 150 ms are shorter than `engine.KEEP_LOOKING_SECONDS`: who claimed so lately still looks.
AT_ONCE = f"""
    WITH turn AS (
        UPDATE merchant SET event_sequence = event_sequence + 1
        WHERE id = %s AND snapshot_version = %s
          AND coalesce((SELECT version FROM catalog_stamp WHERE id = 1), 0) = %s
          AND NOT EXISTS (SELECT 1 FROM event WHERE merchant_id = %s AND idempotency_key = %s)
          AND (%s::text IS NULL OR EXISTS (
              SELECT 1 FROM api_token WHERE digest = %s AND revoked_at IS NULL
                AND merchant_id IS NOT DISTINCT FROM %s))
        RETURNING event_sequence
    ), new_event AS (
        INSERT INTO event ({", ".join(EVENT_COLUMNS)})
        SELECT %s, %s, %s, %s, event_sequence, false, %s,
               %s || convert_to(event_sequence::text, 'UTF8') || %s, %s, %s
        FROM turn
    ), new_delivery AS (
        INSERT INTO delivery ({", ".join((*DELIVERY_COLUMNS, *OWN_COLUMNS))})
        SELECT d.id, %s, %s, d.integration_id, d.install_id, turn.event_sequence, d.order_key,
               'pending', '', 0, 0, 0, %s, %s,
               %s || convert_to(turn.event_sequence::text, 'UTF8') || d.tail, d.useful_until
        FROM turn, unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::bytea[],
                          %s::timestamptz[])
             AS d(id, integration_id, install_id, order_key, tail, useful_until)
    )
    SELECT event_sequence, EXISTS (
        SELECT 1 FROM delivery_endpoint
        WHERE integration_id = ANY(%s::uuid[]) AND claimed_at > clock_timestamp() - interval '150 ms')
    FROM turn
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class TokenProof:
    """That this token holds still, and is still this merchant's, or any's."""

    digest: str
    merchant_id: UUID | None


def insert_at_once(
    item: Draft, to: Sequence[Addressed], stamp: Stamp, token: TokenProof | None = None
) -> tuple[Event, bool] | None:
    """The event and its deliveries in one statement; None where that is not certainly right.

    The second value tells whether an engine has served one of the endpoints a moment ago, so that it
    is looking for more by itself.

    It is where the stamp is the merchant's, the idempotency key is new, and a token that is given
    holds.
    Under the merchant's lock there is then no waiting for this process, so that a merchant's events
    queue for the database alone. On SQLite there is no such statement, and the answer is None.
    """
    if connection.vendor != "postgresql":
        return None
    new = item.new
    order, digest = order_of(new.data), token.digest if token else None
    installs = [addressed.install for addressed in to]
    integrations = [install.integration_id for install in installs]
    row = prepared.fetch_row(
        AT_ONCE,
        [
            new.merchant_id,
            *stamp,
            new.merchant_id,
            new.idempotency_key,
            digest,
            digest,
            token.merchant_id if token else None,
            item.id,
            new.merchant_id,
            new.location_id,
            new.type,
            new.idempotency_key,
            item.head,
            item.tail,
            item.occurred_at,
            item.created_at,
            item.id,
            new.merchant_id,
            item.created_at,
            item.created_at,
            item.head,
            [uuid4() for _install in installs],
            integrations,
            [install.pk for install in installs],
            [order if install.integration.outbound_in_order else "" for install in installs],
            [addressed.tail for addressed in to],
            [addressed.useful_until for addressed in to],
            integrations,
        ],
    )
    if row is None:
        return None
    sequence, is_looked_for = row
    values = {"id": item.id, "merchant_id": new.merchant_id, "sequence": sequence}
    return Event.from_db(DEFAULT_DB_ALIAS, list(values), list(values.values())), is_looked_for
