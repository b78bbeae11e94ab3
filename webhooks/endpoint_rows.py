"""How the rows of endpoints are read, locked and written: a few prepared statements per turn.

What they mean is in `claims` and `outcomes`. Every claim and every record goes through here, thirty
times a second in each worker, where what the ORM adds is most of the cost.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection

from catalog import prepared
from catalog.models import Integration
from webhooks.breaker import Standing
from webhooks.models import Endpoint

BREAKER_FIELDS = (
    "state",
    "changed_at",
    "probe_at",
    "window_started_at",
    "window_attempts",
    "window_failures",
)
CLAIMED_FIELDS = (*BREAKER_FIELDS, "in_flight", "next_slot_at", "claimed_at")
RECORDED_FIELDS = (*BREAKER_FIELDS, "in_flight", "totals", "latency_counts", "latency_ms_total")
# What a claim has to know of the catalog row.
ROUTE_FIELDS = (
    "id",
    "slug",
    "status",
    "auth_shape",
    "outbound_url",
    "outbound_rate_per_second",
    "outbound_concurrency",
)
MOST_AT_ONCE = 16


def _columns(alias: str, fields: Iterable[str]) -> str:
    return ", ".join(f"{alias}.{name}" for name in fields)


READY = f"""
    SELECT e.integration_id, {_columns("e", CLAIMED_FIELDS)}, {_columns("i", ROUTE_FIELDS)}
    FROM delivery_endpoint e JOIN integration i ON i.id = e.integration_id
    WHERE (e.state <> 'open' OR e.probe_at <= %s)
      AND e.in_flight < i.outbound_concurrency
      AND (e.next_slot_at IS NULL OR e.next_slot_at <= %s)
      AND EXISTS (
          SELECT 1 FROM delivery d
          WHERE d.integration_id = e.integration_id AND d.status = 'pending'
            AND d.next_attempt_at <= %s AND d.lease_until IS NULL)
    ORDER BY e.claimed_at NULLS FIRST
    LIMIT {MOST_AT_ONCE}
"""  # noqa: S608
READY_LOCKED = f"{READY} FOR UPDATE OF e SKIP LOCKED"
# In one order, so that two workers never wait for each other.
LOCKED = f"""
    SELECT e.integration_id, {_columns("e", RECORDED_FIELDS)}
    FROM delivery_endpoint e WHERE e.integration_id IN ({{places}}) ORDER BY e.integration_id
"""  # noqa: S608


def ready(at: datetime, horizon: datetime) -> list[Endpoint]:
    """Locked ones that have something due and room for it, those served longest ago first.

    A paced one counts when its next moment is not after the horizon. Their `integration` has the fields
    of `ROUTE_FIELDS` only.
    """
    can_lock = connection.features.has_select_for_update_skip_locked
    names = ("integration_id", *CLAIMED_FIELDS)
    found = []
    for row in prepared.fetch_rows(READY_LOCKED if can_lock else READY, [at, horizon, at]):
        endpoint = prepared.load(Endpoint, names, row[: len(names)])
        endpoint.integration = prepared.load(Integration, ROUTE_FIELDS, row[len(names) :])
        found.append(endpoint)
    return found


def locked(ids: Iterable[UUID]) -> list[Endpoint]:
    """Those that there are, with the fields of `RECORDED_FIELDS`."""
    wanted = list(ids)
    if not wanted:
        return []
    sql = LOCKED.format(places=", ".join(["%s"] * len(wanted)))
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    names = ("integration_id", *RECORDED_FIELDS)
    return [prepared.load(Endpoint, names, row) for row in prepared.fetch_rows(sql + lock, wanted)]


def save(endpoint: Endpoint, fields: Sequence[str]) -> None:
    """Write these fields. Whoever calls it holds the row's lock."""
    changes = ", ".join(f"{name} = %s" for name in fields)
    found = [getattr(endpoint, name) for name in fields]
    values = [prepared.as_json(item) if isinstance(item, dict | list) else item for item in found]
    prepared.execute(
        f"UPDATE delivery_endpoint SET {changes} WHERE integration_id = %s",  # noqa: S608
        [*values, endpoint.pk],
    )


def standing_of(endpoint: Endpoint) -> Standing:
    return Standing(*(getattr(endpoint, name) for name in BREAKER_FIELDS))


def set_standing(endpoint: Endpoint, standing: Standing) -> None:
    for name in BREAKER_FIELDS:
        setattr(endpoint, name, getattr(standing, name))
