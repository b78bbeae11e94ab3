"""The door through which a provider's way to sign webhooks changes: only with a sample that passed.

`tried` runs a sample against documents and the keys that are accepted now; `save` takes documents
with the proof of such a run. Both are on record, because the expected signature of any bytes is a
valid signature of them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from django.core import signing
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from catalog.inbound_draft import Documents as Documents
from catalog.inbound_events import ParsedEvent, read_events
from catalog.inbound_mapping import EventMapping, read_mapping
from catalog.inbound_parts import SignedRequest
from catalog.inbound_scheme import Kind, Scheme, read_scheme
from catalog.models import Integration
from dispatch.inbound_explanation import Step, explain
from dispatch.inbound_verifier import decoded_key, rsa_key, verify
from installs import audit
from installs.credentials import active_secrets, take_over
from installs.issuer import checker_for

COLUMNS = {
    "inbound_verification": "verification",
    "inbound_mapping": "mapping",
    "inbound_events": "events",
}
PROOF = "inbound-sample"
PROOF_AGE = timedelta(hours=1)
SHORTEST_KEY = 8
LONGEST_OVERLAP = timedelta(days=30)
# Schemes that are proven by a key which the provider shows.
KEYLESS = frozenset({Kind.ISSUED, Kind.NONE})


@dataclass(frozen=True, slots=True)
class Trial:
    """`problem` is why the mapping reads nothing. `proof` is there where the sample passed whole."""

    steps: Sequence[Step]
    is_signed: bool
    events: Sequence[ParsedEvent] = field(default_factory=list)
    problem: str = ""
    proof: str = ""

    @property
    def is_accepted(self) -> bool:
        return bool(self.proof)


def documents_of(integration: Integration) -> Documents:
    columns = {name: getattr(integration, column) for column, name in COLUMNS.items()}
    return Documents(**columns)


def scheme_of(integration: Integration, documents: Documents) -> Scheme:
    return read_scheme(documents.verification, integration.signature_header)


def keys_of(integration: Integration, scheme: Scheme) -> list[bytes]:
    return active_secrets(integration.slug, scheme.purpose)


def refuse_mistakes(integration: Integration, documents: Documents) -> None:
    """Raises ValidationError for what is wrong in these documents, whatever else is in the row."""
    for column, name in COLUMNS.items():
        setattr(integration, column, getattr(documents, name))
    try:
        integration.clean()
    except ValidationError as error:
        mistakes = {key: item for key, item in error.error_dict.items() if key in COLUMNS}
        if mistakes:
            raise ValidationError(mistakes) from None


def tried(
    integration: Integration, documents: Documents, request: SignedRequest, actor: str
) -> Trial:
    """Documents must be right; nothing of the request is kept but the digest of its body."""
    scheme, mapping = scheme_of(integration, documents), read_mapping(documents.mapping)
    keys, is_issued = keys_of(integration, scheme), checker_for(integration.pk)
    is_signed = not verify(scheme, request, keys, is_issued=is_issued).is_refused
    events, problem = _read(mapping, request)
    is_whole = is_signed and not problem
    audit.record(
        "integration.sample_tried",
        actor=actor,
        integration_slug=integration.slug,
        data={
            "accepted": is_whole,
            "body_sha256": hashlib.sha256(request.body).hexdigest(),
        },
    )
    return Trial(
        steps=explain(scheme, request, keys, is_issued=is_issued),
        is_signed=is_signed,
        events=events,
        problem=problem,
        proof=signing.dumps(_mark(integration, documents), salt=PROOF) if is_whole else "",
    )


def is_proven(integration: Integration, documents: Documents, proof: str) -> bool:
    """Whether a sample passed exactly these documents of this row within the last hour."""
    try:
        mark = signing.loads(proof, salt=PROOF, max_age=PROOF_AGE)
    except signing.BadSignature:
        return False
    return bool(mark == _mark(integration, documents))


def save(integration: Integration, documents: Documents, proof: str, actor: str) -> None:
    """Refused with ValidationError without a proof for these documents, or with mistakes in them."""
    if not is_proven(integration, documents, proof):
        raise ValidationError(_("Try a sample first: only what accepted one can be saved."))
    with transaction.atomic():
        row = Integration.objects.select_for_update(no_key=True).get(pk=integration.pk)
        refuse_mistakes(row, documents)
        row.save(update_fields=[*COLUMNS, "updated_at"])
        audit.record(
            "integration.inbound_changed",
            actor=actor,
            integration_slug=row.slug,
            data={"kind": documents.verification.get("kind", "posz")},
        )


def enter_key(
    integration: Integration, scheme: Scheme, text: str, actor: str, overlap: timedelta | None
) -> None:
    """Keep the provider's key, which is never shown again; raises ValidationError for one that the
    scheme can't use.
    """
    if problem := key_problem(scheme, text):
        raise ValidationError(problem)
    if overlap is not None and not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise ValidationError(_("The key before can stay valid for at most 30 days."))
    take_over(integration, scheme.purpose, text, actor, overlap=overlap)


def key_problem(scheme: Scheme, text: str) -> str:
    """Why a key can't be used, in words that hold nothing of it; empty where it can."""
    if scheme.kind in KEYLESS:
        return _("This scheme has no key of the provider.")
    if scheme.kind is Kind.RSA:
        is_public = "PRIVATE KEY" not in text and rsa_key(text.encode()) is not None
        return "" if is_public else _("A public RSA key in PEM is needed.")
    key = decoded_key(text.encode(), scheme.key_encoding)
    if not key:
        return _("The key is not written as %(encoding)s.") % {"encoding": scheme.key_encoding}
    if len(key) < SHORTEST_KEY:
        return _("The key is too short: %(count)s bytes at least.") % {"count": SHORTEST_KEY}
    return ""


def _read(mapping: EventMapping | None, request: SignedRequest) -> tuple[list[ParsedEvent], str]:
    try:
        found = read_events(mapping, request.headers, request.body)
    except ApiError as error:
        return [], error.message
    events = [item for item in found if isinstance(item, ParsedEvent)]
    refusals = [item.message for item in found if isinstance(item, ApiError)]
    if refusals:
        return events, refusals[0]
    return events, "" if events else _("The body holds no event.")


def _mark(integration: Integration, documents: Documents) -> list[str]:
    written = json.dumps(asdict(documents), sort_keys=True)
    return [str(integration.pk), hashlib.sha256(written.encode()).hexdigest()]
