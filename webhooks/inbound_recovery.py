"""Processing again what was set aside: one, a selection, or everything of a time.

An event has one effect. What was processed has had it, so it is never processed again; what is still
being tried needs no help. Only what was set aside starts anew.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from catalog.envelope import MESSAGE_OF
from catalog.models import Integration
from installs import audit
from installs.access import ALLOWED, Actor, Verb
from installs.models import Install
from webhooks import inbound
from webhooks.models import InboundEvent, InboundQuerySet, InboundStatus

STARTED = "processing"
PROCESSED, RECEIVED = InboundStatus.PROCESSED.value, InboundStatus.RECEIVED.value
PARKED = InboundStatus.PARKED.value
# What `replay_chosen` says of an event.
RESULTS = (STARTED, PROCESSED, RECEIVED, PARKED, "not_found", "forbidden")


def replay_chosen(actor: Actor, ids: Iterable[UUID]) -> dict[UUID, str]:
    """Process these events of the merchant again; say for each what became of it."""
    _require_role(actor)
    asked = list(dict.fromkeys(ids))
    mine = InboundEvent.objects.for_merchant(actor.merchant_id).filter(pk__in=asked)
    with transaction.atomic():
        rows = {row.pk: row for row in mine.defer("body", "headers")}
        places = _places(rows.values())
        results = {pk: _answer(actor, rows.get(pk), places) for pk in asked}
        chosen = [pk for pk, result in results.items() if result == STARTED]
        started = _start(actor, mine.filter(pk__in=chosen))
        # Somebody else was quicker.
        return results | dict.fromkeys(set(chosen) - set(started), RECEIVED)


def count_since(
    actor: Actor, integration: Integration, *, since: datetime, until: datetime | None = None
) -> int:
    """How many events `replay_since` would process again at this moment."""
    return _set_aside(actor, integration, since, until).count()


def replay_since(
    actor: Actor, integration: Integration, *, since: datetime, until: datetime | None = None
) -> int:
    """Process again what was set aside and received from `since` and before `until`."""
    found = _set_aside(actor, integration, since, until)
    until_text = {"until": until.isoformat()} if until else {}
    with transaction.atomic():
        return len(_start(actor, found, integration.slug, since=since.isoformat(), **until_text))


def result_text(code: str) -> str:
    """Why an event is not processed again."""
    if code == PROCESSED:
        return _("It has been processed, and an event has its effect only once.")
    if code == RECEIVED:
        return _("Posz is still working on it, so there is nothing to do.")
    if code == PARKED:
        return _("It waits for somebody to say what something in it is in Posz, and then goes on.")
    if code == "forbidden":
        return _("Your role, or your outlets, do not allow this. Ask an owner.")
    return str(MESSAGE_OF[code])


def _require_role(actor: Actor) -> None:
    if Verb.REPLAY not in ALLOWED[actor.role]:
        actor.require(Verb.REPLAY)


def _answer(actor: Actor, row: InboundEvent | None, places: Mapping[UUID, UUID | None]) -> str:
    if row is None:
        return "not_found"
    if not actor.may(Verb.REPLAY, row.location_id or places.get(row.install_id)):
        return "forbidden"
    return STARTED if row.is_replayable else str(row.status)


def _places(rows: Iterable[InboundEvent]) -> dict[UUID, UUID | None]:
    installs = Install.objects.filter(pk__in={row.install_id for row in rows})
    return dict(installs.values_list("pk", "location_id"))


def _set_aside(
    actor: Actor, integration: Integration, since: datetime, until: datetime | None
) -> InboundQuerySet:
    _require_role(actor)
    rows = InboundEvent.objects.for_merchant(actor.merchant_id).set_aside()
    rows = rows.filter(integration=integration, received_at__gte=since)
    if until is not None:
        rows = rows.filter(received_at__lt=until)
    if actor.locations is None:
        return rows
    installs = Install.objects.for_merchant(actor.merchant_id)
    own = installs.filter(location__in=actor.locations).values("pk")
    return rows.filter(Q(location__in=actor.locations) | Q(location=None, install_id__in=own))


def _start(
    actor: Actor, rows: InboundQuerySet, integration_slug: str = "", **facts: Any
) -> list[UUID]:
    started = inbound.start_anew(rows)
    if started:
        audit.record(
            "inbound.replayed",
            actor=actor.label,
            merchant_id=actor.merchant_id,
            integration_slug=integration_slug,
            data={"events": len(started), **facts},
        )
    return started
