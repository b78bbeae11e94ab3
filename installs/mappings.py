"""What a partner calls items and people of a merchant: looked up, put on record, resolved by people.

An id that was mapped is always translated. One that nobody has seen is passed on as it is, unless the
catalog row says that the partner's ids of this kind are not those of Posz: then it is put on record and
waits for a person, and nothing is ever made up for it. What events wait is for the inbox to know; it
finds them in rows when it is woken.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Count, F, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from installs import audit, outlets
from installs.access import Actor, Verb
from installs.lifecycle import locked_install
from installs.models import IdMapping, Install, MappingState
from installs.wake import wake_unparking

LONGEST = 200


# Receiving


@dataclass(frozen=True, slots=True)
class Found:
    """Ids of a partner: what each is in Posz, which to leave out, and which nobody has mapped yet."""

    known: Mapping[str, str]
    ignored: frozenset[str]
    open: frozenset[str]


def look_up(install: Install, kind: str, seen: Mapping[str, str]) -> Found:
    """What the ids in an event are, to be asked in the transaction that processes it.

    `seen` has each id with the name that stands beside it. Open ones stay locked until the
    transaction ends: who resolves one meanwhile waits, and then finds the event parked.
    """
    rows = {row.external_id: row for row in _rows(install, kind, seen)}
    if kind in install.integration.mapped_ids:
        _put_on_record(install, kind, {key: seen[key] for key in seen if key not in rows})
        unclear = [key for key in seen if key not in rows or _is_open(rows[key])]
        rows |= {row.external_id: row for row in _seen_again(install, kind, unclear)}
    ignored = {key for key, row in rows.items() if row.state == MappingState.IGNORED}
    waiting = {key for key, row in rows.items() if _is_open(row)}
    if kind not in install.integration.mapped_ids:
        waiting = set()
    known = {
        key: rows[key].posz_id if key in rows and rows[key].posz_id else key
        for key in seen
        if key not in ignored | waiting
    }
    return Found(known, frozenset(ignored), frozenset(waiting))


def _rows(install: Install, kind: str, ids: Iterable[str]) -> QuerySet[IdMapping]:
    return IdMapping.objects.filter(install=install, kind=kind, external_id__in=list(ids))


def _is_open(row: IdMapping) -> bool:
    return row.state == MappingState.OPEN


def _put_on_record(install: Install, kind: str, unseen: Mapping[str, str]) -> None:
    IdMapping.objects.bulk_create(
        [
            IdMapping(install=install, kind=kind, external_id=key, name=name[:LONGEST])
            for key, name in sorted(unseen.items())
        ],
        ignore_conflicts=True,
    )


def _seen_again(install: Install, kind: str, ids: list[str]) -> list[IdMapping]:
    """Locked and read anew, in one order so that two events never wait for each other."""
    if not ids:
        return []
    rows = _rows(install, kind, ids).order_by("external_id").select_for_update(of=("self",))
    found = list(rows)
    waiting = [row.pk for row in found if _is_open(row)]
    IdMapping.objects.filter(pk__in=waiting).update(
        events=F("events") + 1, last_seen_at=timezone.now()
    )
    return found


# People


def of_install(install: Install) -> QuerySet[IdMapping]:
    return IdMapping.objects.filter(install=install).in_order()


def resolve(actor: Actor, install_id: UUID, mapping_id: UUID, posz_id: str) -> IdMapping:
    """Say what an id is in Posz. What waited for it alone is processed, in the order it came in.

    Refused with `config_invalid` and the field where the id is none.
    """
    return _decide(actor, install_id, mapping_id, MappingState.MAPPED, _checked(posz_id))


def ignore(actor: Actor, install_id: UUID, mapping_id: UUID) -> IdMapping:
    """Leave it out of everything that the partner tells from now on, and of what waited for it."""
    return _decide(actor, install_id, mapping_id, MappingState.IGNORED, "")


def add(actor: Actor, install_id: UUID, kind: str, external_id: str, posz_id: str) -> IdMapping:
    """Map an id that has not been seen yet, or one that is on record already."""
    text = external_id.strip()
    if not 0 < len(text) <= 255 or not text.isprintable():
        message = _("Write it as the partner shows it, at most 255 characters.")
        raise ApiError("config_invalid", fields={"external_id": [message]})
    with transaction.atomic():
        install = locked_install(actor, install_id, Verb.CONFIGURE)
        row, _new = IdMapping.objects.get_or_create(install=install, kind=kind, external_id=text)
        return resolve(actor, install_id, row.pk, posz_id)


def _checked(posz_id: str) -> str:
    text = posz_id.strip()
    if not 0 < len(text) <= LONGEST or not text.isprintable():
        message = _("Write it as it stands in Posz, at most 200 characters.")
        raise ApiError("config_invalid", fields={"posz_id": [message]})
    return text


def _decide(
    actor: Actor, install_id: UUID, mapping_id: UUID, state: MappingState, posz_id: str
) -> IdMapping:
    with transaction.atomic():
        install = locked_install(actor, install_id, Verb.CONFIGURE)
        rows = IdMapping.objects.filter(install=install).select_for_update(of=("self",))
        row = rows.filter(pk=mapping_id).first()
        if row is None:
            raise ApiError("not_found")
        if (row.state, row.posz_id) != (state, posz_id):
            row.state, row.posz_id = state, posz_id
            row.save(update_fields=["state", "posz_id"])
            audit.record(
                f"mapping.{state}",
                actor=actor.label,
                install=install,
                data={"kind": row.kind, "number": row.external_id, "posz_id": posz_id},
            )
        transaction.on_commit(wake_unparking)
    return row


def suggested(install: Install) -> QuerySet[IdMapping, str]:
    """Ids of Posz that the merchant has mapped to before, at any partner."""
    rows = IdMapping.objects.filter(install__merchant=install.merchant_id).exclude(posz_id="")
    return rows.order_by("posz_id").values_list("posz_id", flat=True).distinct()


def has_unknown_outlets(install: Install) -> bool:
    return outlets.unknown_of(install.merchant_id, install.integration).exists()


def open_counts(install_ids: Iterable[UUID]) -> dict[UUID, int]:
    rows = IdMapping.objects.open().filter(install_id__in=list(install_ids)).order_by()
    return dict(rows.values_list("install_id").annotate(Count("pk")))
