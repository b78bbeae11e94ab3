"""How the usual inbound event is stored: one statement, and nothing read before it.

What a process remembers of an integration (its documents, its keys) and of a merchant (its installs)
is believed only where the statement finds it to be true still: it inserts nothing if the merchant or
the catalog has changed since or if the key that signed has ended. So a rotation, a revoked key, a
catalog edit or a disabled install holds at once, in every process. Whatever is not plain and certain
is left to `webhooks.inbound`, which has the rules; no event is refused here.
"""

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import Error, connection
from django.utils import timezone

from catalog.envelope import ApiError
from catalog.inbound_events import ParsedEvent, read_events
from catalog.inbound_keeping import kept_bodies, kept_headers, kept_names
from catalog.inbound_mapping import EventMapping
from catalog.inbound_parts import SignedRequest
from catalog.inbound_scheme import Scheme
from catalog.models import Integration
from catalog.prepared import fetch_row, is_postgresql
from catalog.strict_json import dumps
from dispatch.inbound_verifier import verify
from installs import snapshot
from installs.credentials import KnownSecret, known_secrets
from installs.models import Install
from installs.snapshot import Snapshot
from webhooks import limits
from webhooks.models import InboundEvent
from webhooks.processing import wake_sweep

logger = logging.getLogger(__name__)

REMEMBERED_SECONDS = 1.0
REMEMBERED_MERCHANTS = 10_000

# That the merchant, the catalog and the key that signed are as they are remembered.
PROOF = """
    (SELECT snapshot_version FROM merchant WHERE id = %s) = %s
    AND coalesce((SELECT version FROM catalog_stamp WHERE id = 1), 0) = %s
    AND (SELECT state = 'current' OR state = 'previous' AND expires_at > statement_timestamp()
         FROM integration_secret WHERE id = %s)
"""
ADD = f"""
    INSERT INTO inbound_event (
        id, install_id, integration_id, merchant_id, provider_event_id, type, capability,
        occurred_at, headers, body, body_digest, due_at, received_at, status, attempts, problem)
    SELECT gen_random_uuid(), %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s, %s, %s, %s,
           'received', 0, ''
    WHERE {PROOF}
    ON CONFLICT (install_id, provider_event_id) DO NOTHING
    RETURNING id::text
"""
KNOWN = f"""
    SELECT id::text, body_digest
    FROM inbound_event
    WHERE install_id = %s AND provider_event_id = %s AND {PROOF}
"""  # noqa: S608
# The catalog's stamp, and which versions of its own rows an integration was read from. PostgreSQL gives
# each version a transaction and a place of its own, so a change past the catalog shows, too.
ROWS = """
    SELECT coalesce((SELECT version FROM catalog_stamp WHERE id = 1), 0),
           concat(i.xmin, i.ctid, string_agg(concat(s.xmin, s.ctid), ' ' ORDER BY s.id))
    FROM integration i LEFT JOIN integration_secret s ON s.integration_id = i.id
    WHERE i.slug = %s
    GROUP BY i.id
"""


@dataclass(frozen=True, slots=True)
class Passed:
    id: str
    is_duplicate: bool


@dataclass(frozen=True, slots=True)
class Remembered:
    """An integration as its rows were; good for a second, and then only where that is proved."""

    id: UUID
    integration: Integration
    scheme: Scheme
    mapping: EventMapping | None
    secrets: Sequence[KnownSecret]
    rows: tuple[int, str]
    until: float
    is_plain: bool
    kept_names: frozenset[str]

    @property
    def stamp(self) -> int:
        """Of the catalog, when it was so."""
        return self.rows[0]


def accept(slug: str, request: SignedRequest) -> Passed | None:
    """Store a signed event, or find it known; None where the rules have to be asked."""
    if not is_postgresql():
        return None
    known = _remembered_of(slug)
    if known is None or not known.is_plain:
        return None
    secret = _signer(known, request)
    if secret is None:
        return None
    try:
        [event] = read_events(known.mapping, request.headers, request.body)
    except ApiError:
        return None
    if isinstance(event, ApiError) or event.external_location_id is not None:
        return None
    merchant_id = event.merchant_id or _merchant_of(known.id, event)
    held = None if merchant_id is None else _snapshot_of(known, merchant_id)
    capability = known.integration.capability_of_event(event.type)
    if merchant_id is None or held is None or capability is None:
        return None
    install = _install_of(known, held, event)
    if install is None or capability not in install.capability_versions:
        return None
    try:
        limits.spend(known.id, merchant_id)
    except ApiError:
        return None
    proof = merchant_id, *held.stamp, secret.id
    passed = _stored(known, install.pk, request, event, capability, proof)
    if passed is None or passed.is_duplicate:
        limits.give_back(known.id, merchant_id)
    return passed


def flag_other_body(event_id: UUID | str) -> None:
    """The same event came with another body: the first one counts, and staff are shown it."""
    InboundEvent.objects.filter(pk=event_id, mismatched_at=None).update(
        mismatched_at=timezone.now()
    )


# What is remembered


def _remembered_of(slug: str) -> Remembered | None:
    known, until = _remembered.get(slug), time.monotonic() + REMEMBERED_SECONDS
    if known is not None:
        if time.monotonic() < known.until:
            return known
        # One request reads it anew. The others meanwhile go by what is remembered, which the statement
        # proves or refuses as ever.
        _remembered[slug] = replace(known, until=until)
    # Before they are read, so that rows that are newer only mean that the statement refuses once.
    rows = fetch_row(ROWS, [slug])
    if known is not None and known.rows == rows:
        # To read the documents anew and to decrypt the keys costs much more than to look.
        _remembered[slug] = known = replace(known, until=until)
        return known
    integration = Integration.objects.filter(slug=slug).first()
    if integration is None or rows is None:
        _remembered.pop(slug, None)
        return None
    try:
        scheme, mapping = integration.inbound_scheme, integration.event_mapping
    except ValidationError:
        return None
    known = Remembered(
        id=integration.pk,
        integration=integration,
        scheme=scheme,
        mapping=mapping,
        secrets=known_secrets(slug, scheme.purpose),
        rows=(rows[0], rows[1]),
        until=until,
        is_plain=integration.is_running and (mapping is None or mapping.each is None),
        kept_names=kept_names(scheme, mapping),
    )
    _remembered[slug] = known
    return known


def _signer(known: Remembered, request: SignedRequest) -> KnownSecret | None:
    verdict = verify(known.scheme, request, [item.key for item in known.secrets])
    if not verdict.is_signed:
        return None
    signers = [known.secrets[place] for place in verdict.signers]
    return next((item for item in signers if item.is_accepted), None)


def _merchant_of(integration_id: UUID, event: ParsedEvent) -> UUID | None:
    """Whose the partner's number is; the statement looks whether it still is."""
    key = integration_id, event.external_merchant_id or ""
    with _lock:
        if key in _merchants:
            _merchants.move_to_end(key)
            return _merchants[key]
    rows = Install.objects.filter(integration_id=integration_id, external_merchant_id=key[1])
    found = set(rows.values_list("merchant_id", flat=True))
    if len(found) != 1:
        return None
    merchant_id = found.pop()
    with _lock:
        _merchants[key] = merchant_id
        if len(_merchants) > REMEMBERED_MERCHANTS:
            _merchants.popitem(last=False)
    return merchant_id


def _snapshot_of(known: Remembered, merchant_id: UUID) -> Snapshot | None:
    """The merchant's snapshot, of the same catalog as the integration that is remembered."""
    held = snapshot.remembered(merchant_id)
    if held is None or held.stamp[1] != known.stamp:
        held = snapshot.current(merchant_id)
    if held is None or held.stamp[1] != known.stamp:
        _remembered.pop(known.integration.slug, None)
        return None
    return held


def _install_of(known: Remembered, held: Snapshot, event: ParsedEvent) -> Install | None:
    """The one that `addressee.find_install` would choose, where location alone decides."""
    rows = [
        row
        for row in held.effective(event.location_id)
        if row.integration_id == known.id
        and (event.merchant_id or row.external_merchant_id == event.external_merchant_id)
    ]
    return rows[0] if len(rows) == 1 and rows[0].is_enabled else None


# What is stored


def _stored(
    known: Remembered,
    install_id: UUID,
    request: SignedRequest,
    event: ParsedEvent,
    capability: str,
    proof: tuple[UUID, int, int, UUID],
) -> Passed | None:
    bodies = kept_bodies(known.scheme, known.mapping, request.body)
    headers = kept_headers(known.kept_names, request.headers)
    digest = hashlib.sha256(request.body).hexdigest()
    now = datetime.now(UTC)
    values = (
        install_id,
        known.id,
        proof[0],
        event.event_id,
        event.type,
        capability,
        event.occurred_at,
        dumps(headers).decode() if headers else "[]",
        bodies[0] if bodies else request.body,
        digest,
        now,
        now,
        *proof,
    )
    try:
        added = fetch_row(ADD, values)
        if added is not None:
            wake_sweep()
            return Passed(added[0], is_duplicate=False)
        found = fetch_row(KNOWN, (install_id, event.event_id, *proof))
        if found is None:
            # What is remembered is old.
            _remembered.pop(known.integration.slug, None)
            snapshot.current(proof[0])
            return None
        known_id, known_digest = found
        if known_digest != digest:
            flag_other_body(known_id)
        return Passed(known_id, is_duplicate=True)
    except Error:
        if connection.in_atomic_block:
            raise
        # Of a database that was restarted, most likely. Nothing is lost: what was stored by a
        # statement whose answer was lost is found known.
        logger.warning("The fast lane failed; the event goes the long way", exc_info=True)
        connection.close()
        return None


_remembered: dict[str, Remembered] = {}
_merchants: OrderedDict[tuple[UUID, str], UUID] = OrderedDict()
_lock = threading.Lock()
