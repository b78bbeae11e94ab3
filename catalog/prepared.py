"""The few statements that run on every warm request, without what the ORM and its cursor add to them.

PostgreSQL keeps such a statement prepared per connection, so that it is parsed and planned once. The
values must be of the types that psycopg knows (UUID, int, str, bytes, datetime).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection


def fetch_row(sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
    """The first row of the statement's answer, None where there is none."""
    rows = fetch_rows(sql, values)
    return rows[0] if rows else None


def fetch_rows(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All rows of the statement's answer.

    Runs in whatever transaction the connection is in. Errors are those of django.db.
    """
    with _executed(sql, values) as cursor:
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def execute(sql: str, values: Sequence[Any]) -> int:
    """Run a statement without an answer; return how many rows it touched."""
    with _executed(sql, values) as cursor:
        touched: int = cursor.rowcount
        return touched


@contextmanager
def _executed(sql: str, values: Sequence[Any]) -> Iterator[Any]:
    # Whoever watches queries must see this one too, and only Django's own cursor shows it.
    if (
        connection.vendor != "postgresql"
        or connection.queries_logged
        or connection.execute_wrappers
    ):
        with connection.cursor() as cursor:
            cursor.execute(sql, [storable(value) for value in values])
            yield cursor
        return
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    if raw.prepare_threshold is None:
        # Django leaves it off for the sake of old poolers; its own cursors take no notice of it.
        raw.prepare_threshold = 0
    with connection.wrap_database_errors:
        yield psycopg.Cursor(raw).execute(sql.encode(), values, prepare=True, binary=True)


def storable(value: Any) -> Any:
    """The value as Django's own fields would store it in this database."""
    if isinstance(value, UUID) and not connection.features.has_native_uuid_field:
        return value.hex
    if isinstance(value, datetime) and connection.vendor != "postgresql":
        return connection.ops.adapt_datetimefield_value(value)
    return value
