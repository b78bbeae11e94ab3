"""Encryption keys of the whole database: is it ours, and is anything left under an older key?

`FIELD_ENCRYPTION_KEY` lists the keys, the newest first. `require_right_keys` stops a process whose
keys are those of another database; `reencrypt` moves everything to the newest key while others read
and write, in small transactions. It keeps no state: what is under the newest key is skipped, so it
can be stopped at any moment and started again.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection, models, transaction

from installs.fields import DecryptError, EncryptedJSONField, rewrap, rewrap_token
from installs.models import EncryptionCanary

logger = logging.getLogger(__name__)

CANARY = "canary"
WRONG_KEYS = (
    "FIELD_ENCRYPTION_KEY does not open what is stored in this database. "
    "Give the key it was written with; an older one may stand behind the newest, after a comma."
)


@dataclass(frozen=True, slots=True)
class Column:
    """A place where encrypted values are kept. `rewrapped` gives the value under the newest key,
    None where it is under it already."""

    model: type[models.Model]
    name: str
    rewrapped: Callable[[Any], Any]

    @property
    def label(self) -> str:
        return f"{self.model._meta.label}.{self.name}"

    @property
    def vouches(self) -> bool:
        """Whether a start with the newest key alone is allowed once this one is under it."""
        return self.model is EncryptionCanary

    def rows(self) -> models.QuerySet[Any]:
        return self.model._meta.base_manager.exclude(**{f"{self.name}__isnull": True}).order_by(
            "pk"
        )


@dataclass(slots=True)
class Count:
    """What was found in one column. `old` is what is still under an older key."""

    rows: int = 0
    reencrypted: int = 0
    old: int = 0
    unreadable: int = 0


def columns() -> list[Column]:
    """Every encrypted column of every installed model, and the second factors of allauth.

    The canary comes last: once it is under the newest key, everything else is.
    """
    found = [
        Column(model, field.name, rewrap)
        for model in apps.get_models()
        for field in model._meta.local_concrete_fields
        if isinstance(field, EncryptedJSONField)
    ]
    found.append(Column(Authenticator, "data", _rewrap_second_factor))
    return sorted(found, key=lambda column: column.vouches)


# https://docs.allauth.org/en/latest/mfa/adapter.html: encrypt() is applied to these values.
SECOND_FACTOR_TOKENS = ("secret", "seed", "migrated_codes")


def _rewrap_second_factor(data: dict[str, Any]) -> dict[str, Any] | None:
    newest = {
        name: [_newest(item) for item in data[name]]
        if isinstance(data[name], list)
        else _newest(data[name])
        for name in SECOND_FACTOR_TOKENS
        if name in data
    }
    changed = data | newest
    return None if changed == data else changed


def _newest(token: str) -> str:
    return rewrap_token(token) or token


def reencrypt(
    column: Column, *, batch: int, write: bool = True, progress: Callable[[Count], None]
) -> Count:
    """Move one column to the newest key, a batch at a time in the order of the primary key.

    Rows are locked only where something has to be written, and read again under the lock, so that a
    change made meanwhile is kept. Without `write` it only counts.
    """
    count = Count()
    for values in _batches(column, batch):
        count.rows += len(values)
        behind = [pk for pk, value in values if _is_behind(column, pk, value, count)]
        if behind and write:
            count.reencrypted += _write(column, behind)
        else:
            count.old += len(behind)
        progress(count)
    return count


def _batches(column: Column, size: int) -> Iterator[list[tuple[Any, Any]]]:
    rows = column.rows().values_list("pk", column.name)
    values = list(rows[:size])
    while values:
        yield values
        values = list(rows.filter(pk__gt=values[-1][0])[:size])


def _is_behind(column: Column, pk: Any, value: Any, count: Count) -> bool:
    try:
        return column.rewrapped(value) is not None
    except DecryptError:
        logger.error("%s of row %s: no configured key opens it", column.label, pk)
        count.unreadable += 1
        return False


def _write(column: Column, pks: list[Any]) -> int:
    written = 0
    with transaction.atomic():
        rows = column.rows().select_for_update(of=("self",)).filter(pk__in=pks)
        for pk, value in rows.values_list("pk", column.name):
            newer = column.rewrapped(value)
            if newer is not None:
                column.rows().order_by().filter(pk=pk).update(**{column.name: newer})
                written += 1
    return written


def require_right_keys() -> None:
    """Refuse to go on with keys that do not open this database.

    A database that has no canary yet gets one, after a look at what is stored in it. One that is
    down or has no tables can't be judged; that shows elsewhere.
    """
    try:
        if EncryptionCanary._meta.db_table not in connection.introspection.table_names():
            return
        row = EncryptionCanary.objects.first() or _new_canary()
        if row.value != CANARY:
            raise DecryptError("The canary is not the one that was written.")
    except DecryptError:
        raise ImproperlyConfigured(WRONG_KEYS) from None
    except DatabaseError as error:
        logger.warning("The encryption keys could not be checked: %s", type(error).__name__)


def _new_canary() -> EncryptionCanary:
    for column in columns():
        stored = column.rows().values_list(column.name, flat=True).first()
        if stored is not None:
            column.rewrapped(stored)
    row, _created = EncryptionCanary.objects.get_or_create(pk=1, defaults={"value": CANARY})
    return row
