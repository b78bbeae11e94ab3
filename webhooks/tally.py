"""What became of webhooks, counted in this process and written down every few seconds.

A refused post costs an entry in a dict and no statement, however many come. Nothing here raises and
nothing waits for the database: while that is down, counts stay in memory, which is bounded. A process
that is killed takes the counts of the last seconds along; they are no ledger.
"""

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from django.core.exceptions import SuspiciousOperation
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.utils import timezone

from catalog.envelope import ApiError
from catalog.models import Integration
from webhooks.models import NOBODY, InboundRefusal, InboundTotal
from webhooks.signed import UnsignedError

logger = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
# In memory of a process, and of one integration and hour in the table; what is more is counted
# without its merchant or, in memory, without its integration.
MOST_KEYS = 1_000
MOST_MERCHANTS = 200
SLUG_LENGTH = 64
PROCESSED, SET_ASIDE = "processed", "set_aside"


class RefusedForMerchantError(ApiError):
    """A refusal of a verified post that is this merchant's business too."""

    def __init__(self, merchant_id: UUID, code: str, *, retry_after: int | None = None) -> None:
        super().__init__(code, retry_after=retry_after)
        self.merchant_id = merchant_id


class Key(NamedTuple):
    hour: datetime
    slug: str
    reason: str
    merchant_id: UUID


@dataclass(slots=True)
class Counted:
    count: int
    first_at: datetime
    last_at: datetime
    detail: str

    def add(self, other: "Counted") -> None:
        self.count += other.count
        self.first_at = min(self.first_at, other.first_at)
        self.last_at = max(self.last_at, other.last_at)
        self.detail = other.detail or self.detail


class Tally:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused: dict[Key, Counted] = {}
        self._ended: Counter[tuple[str, str]] = Counter()
        self._timer: threading.Timer | None = None

    def refused(self, slug: str, error: Exception) -> None:
        """Of the post nothing is looked at: the error says why, in words of our own."""
        now = timezone.now()
        reason, detail, merchant_id = _cause(error)
        hour = now.replace(minute=0, second=0, microsecond=0)
        key = Key(hour, slug[:SLUG_LENGTH], reason, merchant_id)
        with self._lock:
            self._add(key, Counted(1, now, now, detail))
            self._start()

    def ended(self, slug: str, outcome: str) -> None:
        with self._lock:
            self._ended[slug, outcome] += 1
            self._start()

    def flush(self) -> None:
        """Write down what was counted; what can't be written is kept for the next time."""
        with self._lock:
            refused, self._refused = self._refused, {}
            ended, self._ended = self._ended, Counter()
        if not refused and not ended:
            return
        try:
            _write(refused, ended)
        except DatabaseError:
            logger.warning("Refused webhooks could not be written down yet")
            with self._lock:
                for key, counted in refused.items():
                    self._add(key, counted)
                self._ended.update(ended)

    def _add(self, key: Key, counted: Counted) -> None:
        if key not in self._refused and len(self._refused) >= MOST_KEYS:
            key = key._replace(slug="", merchant_id=NOBODY)
        if key in self._refused:
            self._refused[key].add(counted)
        else:
            self._refused[key] = counted

    def _start(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(EVERY_SECONDS, self._run)
            self._timer.daemon = True
            self._timer.start()

    def _run(self) -> None:
        try:
            self.flush()
        except Exception:
            logger.exception("Refused webhooks were not counted")
        finally:
            connection.close()
        with self._lock:
            self._timer = None
            if self._refused or self._ended:
                self._start()


_of_this_process = Tally()


def of_this_process() -> Tally:
    return _of_this_process


def _cause(error: Exception) -> tuple[str, str, UUID]:
    match error:
        case UnsignedError():
            return error.reason, error.part, NOBODY
        case RefusedForMerchantError():
            return error.code, "", error.merchant_id
        case ApiError():
            # Names of fields, which are ours; the sentences may quote the post.
            return error.code, ", ".join(sorted(error.extra.get("fields", {}))), NOBODY
        case SuspiciousOperation():
            return "invalid_payload", "", NOBODY
    return "internal", "", NOBODY


def _write(refused: Mapping[Key, Counted], ended: Counter[tuple[str, str]]) -> None:
    slugs = {key.slug for key in refused}
    known = set(Integration.objects.filter(slug__in=slugs).values_list("slug", flat=True))
    rows: dict[Key, Counted] = {}
    totals = Counter(ended)
    for key, counted in refused.items():
        place = key if key.slug in known else key._replace(slug="")
        totals[place.slug, place.reason] += counted.count
        _merge(rows, place, counted)
    with transaction.atomic():
        _add_refusals(_folded(rows))
        _add_totals(totals)


def _merge(rows: dict[Key, Counted], key: Key, counted: Counted) -> None:
    copy = Counted(counted.count, counted.first_at, counted.last_at, counted.detail)
    if key in rows:
        rows[key].add(copy)
    else:
        rows[key] = copy


def _folded(rows: Mapping[Key, Counted]) -> dict[Key, Counted]:
    """Without their merchants, where an integration has rows of enough of them in that hour."""
    stored = _stored([key for key in rows if key.merchant_id != NOBODY])
    taken = Counter((key.hour, key.slug) for key in stored)
    folded: dict[Key, Counted] = {}
    for key, counted in rows.items():
        place = key
        if key.merchant_id != NOBODY and key not in stored:
            if taken[key.hour, key.slug] < MOST_MERCHANTS:
                taken[key.hour, key.slug] += 1
            else:
                place = key._replace(merchant_id=NOBODY)
        _merge(folded, place, counted)
    return folded


def _stored(named: Sequence[Key]) -> set[Key]:
    """The rows with merchants of the same integrations and hours; there are never very many."""
    if not named:
        return set()
    rows = InboundRefusal.objects.filter(
        hour__in={key.hour for key in named}, slug__in={key.slug for key in named}
    ).exclude(merchant_id=NOBODY)
    return {Key(*values) for values in rows.values_list(*Key._fields)}


def _add_refusals(rows: Mapping[Key, Counted]) -> None:
    InboundRefusal.objects.bulk_create(
        [
            InboundRefusal(**key._asdict(), first_at=item.first_at, last_at=item.last_at)
            for key, item in sorted(rows.items(), key=itemgetter(0))
        ],
        ignore_conflicts=True,
    )
    # In one order, so that two processes never wait for each other.
    for key, item in sorted(rows.items(), key=itemgetter(0)):
        InboundRefusal.objects.filter(**key._asdict()).update(
            count=F("count") + item.count, last_at=item.last_at, detail=item.detail[:200]
        )


def _add_totals(totals: Counter[tuple[str, str]]) -> None:
    places = sorted(totals)
    InboundTotal.objects.bulk_create(
        [InboundTotal(slug=slug, outcome=outcome) for slug, outcome in places],
        ignore_conflicts=True,
    )
    for slug, outcome in places:
        rows = InboundTotal.objects.filter(slug=slug, outcome=outcome)
        rows.update(count=F("count") + totals[slug, outcome])
