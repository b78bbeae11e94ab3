"""What the POS was told last about each thing of a partner, so that nothing older overwrites it.

Events of one partner may come twice, late and in any order; each says which version of a thing it tells.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.utils import timezone

from webhooks.models import Told, Withheld

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SUBJECT_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Version:
    """Of one thing; `value` tells two of the same version apart, such as a status."""

    number: int
    value: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`withheld` is empty where it is news; `before` is the value that was told last, if any was."""

    withheld: str
    before: str | None


def moment(at: datetime) -> int:
    """A time as a version: microseconds."""
    return (at - EPOCH) // timedelta(microseconds=1)


def tell_one(install_id: UUID, subject: str, version: Version) -> Verdict:
    return tell(install_id, {subject: version})[subject]


def tell(install_id: UUID, versions: Mapping[str, Version]) -> dict[str, Verdict]:
    """Say for each thing whether this is news, and remember what is.

    To be asked in the transaction that hands it over: another one about the same waits for it.
    """
    keys = {_key(subject): subject for subject in versions}
    # In one order, so that two events never wait for each other.
    blank = [Told(install_id=install_id, subject=key) for key in sorted(keys)]
    Told.objects.bulk_create(blank, ignore_conflicts=True)
    rows = Told.objects.filter(install_id=install_id, subject__in=list(keys))
    known = {row.subject: row for row in rows.order_by("subject").select_for_update()}
    verdicts, newer, now = dict[str, Verdict](), list[Told](), timezone.now()
    for key, subject in keys.items():
        row, version = known[key], versions[subject]
        verdicts[subject] = _verdict(row, version)
        if not verdicts[subject].withheld:
            row.version, row.value, row.changed_at = version.number, version.value, now
            newer.append(row)
    Told.objects.bulk_update(newer, ["version", "value", "changed_at"], batch_size=200)
    return verdicts


def _verdict(row: Told, version: Version) -> Verdict:
    before = None if row.version < 0 else row.value
    if version.number < row.version:
        return Verdict(Withheld.OUTDATED, before)
    if (version.number, version.value) == (row.version, row.value):
        return Verdict(Withheld.REPEATED, before)
    return Verdict("", before)


def _key(subject: str) -> str:
    if len(subject) <= SUBJECT_LENGTH:
        return subject
    return hashlib.sha256(subject.encode()).hexdigest()
