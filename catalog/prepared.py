"""The few statements that run on every warm request, without what the ORM and its cursor add to them.

PostgreSQL keeps such a statement prepared per connection, so that it is parsed and planned once. The
values must be of the types that psycopg knows (UUID, int, str, bytes, datetime).
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection


def fetch_row(sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
    """The first row of the statement's answer, None where there is none.

    Runs in whatever transaction the connection is in. Errors are those of django.db.
    """
    row: tuple[Any, ...] | None
    # Whoever watches queries must see this one too, and only Django's own cursor shows it.
    if (
        connection.vendor != "postgresql"
        or connection.queries_logged
        or connection.execute_wrappers
    ):
        with connection.cursor() as cursor:
            cursor.execute(sql, [_storable(value) for value in values])
            row = cursor.fetchone()
            return row
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    if raw.prepare_threshold is None:
        # Django leaves it off for the sake of old poolers; its own cursors take no notice of it.
        raw.prepare_threshold = 0
    with connection.wrap_database_errors:
        row = (
            psycopg.Cursor(raw).execute(sql.encode(), values, prepare=True, binary=True).fetchone()
        )
        return row


def _storable(value: Any) -> Any:
    is_text = isinstance(value, UUID) and not connection.features.has_native_uuid_field
    return value.hex if is_text else value
