"""The few statements that run on every warm request, without what the ORM and its cursor add to them.

PostgreSQL keeps such a statement prepared per connection, so that it is parsed and planned once. The
values must be of the types that psycopg knows (UUID, int, str, bytes, datetime).
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from psycopg.types.json import Jsonb

M = TypeVar("M", bound=models.Model)


@cache
def is_postgresql() -> bool:
    """Of which kind the database is: one and the same as long as a process lives."""
    return connections[DEFAULT_DB_ALIAS].vendor == "postgresql"


def fetch_row(sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
    """The first row of the statement's answer, None where there is none."""
    row: tuple[Any, ...] | None = _run(sql, values, lambda cursor: cursor.fetchone(), is_brief=True)
    return row


def fetch_rows(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All rows of the statement's answer.

    Runs in whatever transaction the connection is in. Errors are those of django.db.
    """
    rows: list[tuple[Any, ...]] = _run(sql, values, lambda cursor: cursor.fetchall())
    return rows


def execute(sql: str, values: Sequence[Any]) -> int:
    """Run a statement without an answer; return how many rows it touched."""
    touched: int = _run(sql, values, lambda cursor: cursor.rowcount)
    return touched


def insert(table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows in one statement. The names are the code's own, never somebody's input."""
    places = ", ".join(["%s"] * len(columns))
    values = ", ".join([f"({places})"] * len(rows))
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}"  # noqa: S608
    execute(sql, [value for row in rows for value in row])


@contextmanager
def pipelined() -> Iterator[None]:
    """Statements whose answer nobody reads travel with the next one that is read, or with the commit.

    Each journey to the database costs more than most statements. Within it no statement knows how many
    rows it touched, so of Django's own ways to write only those may be used that do not ask.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if database.vendor != "postgresql" or database.force_debug_cursor or database.execute_wrappers:
        yield
        return
    database.ensure_connection()
    with database.wrap_database_errors, database.connection.pipeline():
        yield


def load(model: type[M], names: Sequence[str], values: Sequence[Any]) -> M:
    """A row of the model with these fields, named by their columns, as a statement answered them."""
    reads = [READ.get(type(model._meta.get_field(name)), _same) for name in names]
    values = [
        None if value is None else read(value) for read, value in zip(reads, values, strict=True)
    ]
    return model.from_db(DEFAULT_DB_ALIAS, names, values)


def _run(
    sql: str, values: Sequence[Any], read: Callable[[Any], Any], *, is_brief: bool = False
) -> Any:
    """With `is_brief` the answer is small enough to be held until the thread's next statement."""
    # Looked up once: each look at `connection` searches the thread's own one anew.
    database = connections[DEFAULT_DB_ALIAS]
    # Whoever watches queries must see this one too, and only Django's own cursor shows it.
    if database.vendor != "postgresql" or database.force_debug_cursor or database.execute_wrappers:
        with database.cursor() as cursor:
            cursor.execute(sql, [storable(value) for value in values])
            return read(cursor)
    if database.connection is None:
        database.ensure_connection()
    raw: psycopg.Connection[Any] = database.connection
    if raw.prepare_threshold is None:
        # Django leaves it off for the sake of old poolers; its own cursors take no notice of it.
        raw.prepare_threshold = 0
    with database.wrap_database_errors:
        own = _cursor_again(raw) if is_brief else psycopg.Cursor(raw)
        return read(own.execute(_encoded(sql), values, prepare=True, binary=True))


def _cursor_again(raw: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:
    """The one that the thread had before: it has learnt how to write the values. For statements whose
    answer is read before the next one leaves.
    """
    cursor = _held.cursor
    if cursor is None or cursor.connection is not raw:
        cursor = _held.cursor = psycopg.Cursor(raw)
    return cursor


class _Held(threading.local):
    cursor: psycopg.Cursor[Any] | None = None


_held = _Held()

# The same bytes each time, so that psycopg finds at once that it knows the statement.
_encoded = lru_cache(maxsize=500)(str.encode)


def storable(value: Any) -> Any:
    """The value as Django's own fields would store it in this database."""
    if isinstance(value, UUID) and not connection.features.has_native_uuid_field:
        return value.hex
    if isinstance(value, datetime) and connection.vendor != "postgresql":
        return connection.ops.adapt_datetimefield_value(value)
    return value


def as_json(value: dict[str, Any] | list[Any]) -> Any:
    """The value for a column of JSON, as a statement takes it."""
    return Jsonb(value) if connection.vendor == "postgresql" else json.dumps(value)


def as_time(value: datetime | None) -> datetime | None:
    """A time as a statement answers it, by the same token."""
    return None if value is None else _as_moment(value)


def as_uuid(value: Any) -> UUID:
    """A UUID as a statement answers it: SQLite knows none and gives its text."""
    return value if isinstance(value, UUID) else UUID(value)


def _as_moment(value: datetime) -> datetime:
    # Django teaches SQLite to read times, but not the zone they are in.
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _same(value: Any) -> Any:
    return value


def _as_document(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


# How answers of SQLite, and of Django's own cursor, become what fields of these types hold.
READ: dict[type[Any], Callable[[Any], Any]] = {
    models.DateTimeField: _as_moment,
    models.JSONField: _as_document,
    models.UUIDField: as_uuid,
    models.OneToOneField: as_uuid,
}
