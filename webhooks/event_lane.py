"""How the usual event of a till is taken: one statement, and nothing read before it.

What a process remembers (whose a token is, what a merchant has installed) is believed only where the
statement finds it to be true still, so a token that was revoked or an install that was switched off
counts at once. Whatever is not plain and certain is left to the endpoint in `webhooks.api`, which has
the rules; nothing is refused here. It needs PostgreSQL.
"""

import re
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import Error, IntegrityError, connection
from django.utils.dateparse import parse_datetime

from catalog import strict_json
from catalog.envelope import MAX_BODY_BYTES, ApiError
from catalog.models import EVENT_TYPE_PATTERN
from catalog.prepared import is_postgresql
from installs.models import ApiToken
from installs.tokens import Caller, caller_with
from webhooks import outbound
from webhooks.event_rows import NewEvent, TokenProof

REMEMBERED_TOKENS = 10_000
FIELDS = {"type", "merchant_id", "location_id", "occurred_at", "idempotency_key", "data"}
TYPE = re.compile(EVENT_TYPE_PATTERN)
TYPE_LENGTH, KEY_LENGTH = 100, 255
PLAIN_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
PLAIN_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class NotPlainError(ValueError):
    """The rules have to be asked."""


def accept(authorization: str, content_type: str, body: bytes) -> bytes | None:
    """Store an event; what its sender is told with 202, None where the rules have to be asked."""
    if not is_postgresql() or content_type != "application/json":
        return None
    kind, _, token = authorization.partition(" ")
    if kind != "Bearer" or not token or not token.isascii() or len(body) > MAX_BODY_BYTES:
        return None
    digest = ApiToken.digest_of(token)
    caller = _caller(digest)
    if caller is None:
        return None
    try:
        new = _event(strict_json.loads(body), caller)
        accepted = outbound.accept_at_once(new, TokenProof(digest, caller.merchant_id))
    except (strict_json.StrictJSONError, NotPlainError, ApiError):
        return None
    except IntegrityError:
        # The same idempotency key, a moment ago: the endpoint finds the event.
        if connection.in_atomic_block:
            raise
        return None
    except Error:
        if connection.in_atomic_block:
            raise
        # Of a database that was restarted, most likely; the endpoint says so, or takes the event.
        connection.close()
        return None
    if accepted is None:
        _forget(digest)
        return None
    event, deliveries = accepted
    return b'{"id":"%b","deliveries":%d}' % (str(event.pk).encode(), deliveries)


def _event(value: Any, caller: Caller) -> NewEvent:
    """As the serializer of the endpoint would read it; NotPlainError for whatever it might refuse."""
    if not isinstance(value, dict) or not value.keys() <= FIELDS:
        raise NotPlainError
    kind, data, key = value.get("type"), value.get("data"), value.get("idempotency_key")
    if not isinstance(kind, str) or len(kind) > TYPE_LENGTH or not TYPE.fullmatch(kind):
        raise NotPlainError
    if not isinstance(data, dict) or not (key is None or _is_key(key)):
        raise NotPlainError
    merchant_id = _uuid(value.get("merchant_id")) if "merchant_id" in value else caller.merchant_id
    if merchant_id is None or caller.merchant_id not in {None, merchant_id}:
        raise NotPlainError
    location_id, moment = value.get("location_id"), value.get("occurred_at")
    return NewEvent(
        type=kind,
        merchant_id=merchant_id,
        location_id=None if location_id is None else _uuid(location_id),
        occurred_at=None if moment is None else _time(moment),
        idempotency_key=key,
        data=data,
    )


def _is_key(value: Any) -> bool:
    """One that the serializer neither trims nor refuses."""
    return (
        isinstance(value, str)
        and value.isprintable()
        and 0 < len(value) <= KEY_LENGTH
        and value == value.strip()
    )


def _uuid(value: Any) -> UUID:
    if not isinstance(value, str) or not PLAIN_UUID.fullmatch(value):
        raise NotPlainError
    return UUID(value)


def _time(value: Any) -> datetime:
    if not isinstance(value, str) or not PLAIN_TIME.fullmatch(value):
        raise NotPlainError
    try:
        moment = parse_datetime(value)
    except ValueError:
        raise NotPlainError from None
    if moment is None:
        raise NotPlainError
    return moment.astimezone(UTC)


# Whose tokens are


def _caller(digest: str) -> Caller | None:
    with _lock:
        if digest in _callers:
            _callers.move_to_end(digest)
            return _callers[digest]
    found = caller_with(digest)
    if found is not None:
        with _lock:
            _callers[digest] = found
            if len(_callers) > REMEMBERED_TOKENS:
                _callers.popitem(last=False)
    return found


def _forget(digest: str) -> None:
    with _lock:
        _callers.pop(digest, None)


_callers: OrderedDict[str, Caller] = OrderedDict()
_lock = threading.Lock()
