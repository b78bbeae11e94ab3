"""Which outlet of which merchant a partner means by a number of its own.

A number belongs to an outlet and an integration, whatever install covers the outlet at the moment. It
is typed by people of the merchant, so a number that another restaurant uses is refused, and where the
partner also says which merchant it means, both must agree. A number that nobody has is put on record,
once its event is verified, for somebody to say which outlet it is.
"""

from collections.abc import Mapping
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from catalog.inbound_events import ParsedEvent
from catalog.models import Integration
from installs import audit
from installs.access import Actor, Verb
from installs.lifecycle import lock_merchant
from installs.models import Install, Location, OutletNumber, UnknownOutlet
from installs.wake import wake_unparking

LONGEST = 255
MOST_UNKNOWN = 1_000


# Receiving


def placed(integration: Integration, event: ParsedEvent, *, is_proved: bool = True) -> ParsedEvent:
    """An event with Posz's own ids of merchant and outlet, where its partner's number of the
    outlet is known.

    A number that is not known is put on record, if the event is verified. Then the event goes on by
    its merchant if that has an install for all outlets, which covers whichever is meant; else it is
    refused with `integration_not_installed`, for any one outlet could be the wrong one.
    """
    number = event.external_location_id
    if number is None or event.location_id is not None:
        return event
    named = _installs_named(integration, event)
    merchants = {row.merchant_id for row in named}
    rows = OutletNumber.objects.covered().filter(integration=integration, external_id=number)
    found = rows.values_list("location__merchant_id", "location_id").first()
    if found is not None and (not merchants or found[0] in merchants):
        return event._replace(merchant_id=found[0], location_id=found[1])
    if is_proved:
        note_unknown(integration, number, merchants.pop() if len(merchants) == 1 else None)
    if any(row.location_id is None for row in named):
        return event
    raise ApiError("integration_not_installed")


def outlet_of(integration: Integration, merchant_id: UUID, number: str) -> Location | None:
    rows = Location.objects.filter(merchant_id=merchant_id)
    return rows.filter(
        outlet_numbers__integration=integration, outlet_numbers__external_id=number
    ).first()


def places_of(integration: Integration, merchant_id: UUID) -> dict[str, Location]:
    """The merchant's outlets by Posz's ids and by the partner's numbers of them."""
    rows = {row.pk: row for row in Location.objects.filter(merchant_id=merchant_id)}
    numbers = {text: rows[key] for key, text in numbers_of(merchant_id, integration).items()}
    return numbers | {str(key): row for key, row in rows.items()}


def _installs_named(integration: Integration, event: ParsedEvent) -> list[Install]:
    """The installs of the merchant whom the event names beside its outlet, if it names any."""
    rows = Install.objects.filter(integration=integration)
    if event.merchant_id is not None:
        return list(rows.filter(merchant_id=event.merchant_id))
    if event.external_merchant_id is not None:
        return list(rows.filter(external_merchant_id=event.external_merchant_id))
    return []


def note_unknown(integration: Integration, number: str, merchant_id: UUID | None) -> None:
    """Two posts at once make one row. Past a thousand numbers nobody would look any more."""
    rows = UnknownOutlet.objects.filter(integration=integration)
    seen = {"events": F("events") + 1, "last_seen_at": timezone.now(), "merchant_id": merchant_id}
    if rows.filter(external_id=number).update(**seen) or rows.count() >= MOST_UNKNOWN:
        return
    row = UnknownOutlet(integration=integration, external_id=number, merchant_id=merchant_id)
    UnknownOutlet.objects.bulk_create([row], ignore_conflicts=True)
    rows.filter(external_id=number).update(**seen)


# People


def covered_outlets(merchant_id: UUID, integration: Integration) -> list[Location]:
    """The outlets where the integration is installed, in their order."""
    places = Install.objects.for_merchant(merchant_id).filter(integration=integration)
    taken = set(places.values_list("location_id", flat=True))
    rows = Location.objects.filter(merchant_id=merchant_id)
    return list(rows if None in taken else rows.filter(pk__in=taken))


def numbers_of(merchant_id: UUID, integration: Integration) -> dict[UUID, str]:
    rows = OutletNumber.objects.filter(integration=integration, location__merchant_id=merchant_id)
    return dict(rows.values_list("location_id", "external_id"))


def unknown_of(merchant_id: UUID, integration: Integration) -> QuerySet[UnknownOutlet]:
    rows = UnknownOutlet.objects.filter(integration=integration, merchant_id=merchant_id)
    return rows.order_by("first_seen_at", "id")


def save_numbers(actor: Actor, integration: Integration, numbers: Mapping[UUID, str]) -> None:
    """Set the numbers of these outlets; an empty one removes it, outlets left out keep theirs.

    Refused as a whole, with `config_invalid` and the outlet's id as the field, where a number is not
    one or is used elsewhere; with `not_found` for an outlet where the integration is not installed.
    """
    try:
        with transaction.atomic():
            lock_merchant(actor.merchant_id)
            changed = check_numbers(actor, integration, numbers)
            # All of them first, for two outlets may have changed places.
            OutletNumber.objects.filter(integration=integration, location__in=changed).delete()
            for location in Location.objects.filter(pk__in=changed):
                _set(actor, integration, location, changed[location.pk])
            transaction.on_commit(wake_unparking)
    except IntegrityError:
        # Somebody of another merchant was a moment quicker.
        fields = {str(key): [_taken()] for key in numbers if numbers[key].strip()}
        raise ApiError("config_invalid", fields=fields) from None


def check_numbers(
    actor: Actor, integration: Integration, numbers: Mapping[UUID, str]
) -> dict[UUID, str]:
    """Refuse what `save_numbers` would refuse at this moment; return what it would change."""
    covered = {row.pk for row in covered_outlets(actor.merchant_id, integration)}
    kept = numbers_of(actor.merchant_id, integration)
    known = {key: text for key, text in kept.items() if key in covered}
    wanted = {key: text.strip() for key, text in numbers.items()}
    changed = {key: text for key, text in wanted.items() if text != known.get(key, "")}
    for location_id in changed:
        if location_id not in covered:
            raise ApiError("not_found", _("It is not installed at such an outlet."))
        actor.require(Verb.CONFIGURE, location_id)
    _refuse_wrong(integration, {**known, **wanted}, changed)
    return changed


def _refuse_wrong(
    integration: Integration, after: Mapping[UUID, str], changed: Mapping[UUID, str]
) -> None:
    fields: dict[str, list[str]] = {}
    others = OutletNumber.objects.covered().filter(integration=integration)
    for location_id, text in changed.items():
        if not text:
            continue
        if len(text) > LONGEST or not text.isprintable():
            message = _("Write the number as the partner shows it, at most 255 characters.")
        elif list(after.values()).count(text) > 1:
            message = _("Two outlets can’t have the same number.")
        elif others.filter(external_id=text).exclude(location_id__in=after).exists():
            message = _taken()
        else:
            continue
        fields[str(location_id)] = [message]
    if fields:
        raise ApiError("config_invalid", fields=fields)


def _taken() -> str:
    return _("This number is in use elsewhere. Write to Posz if it is yours.")


def _set(actor: Actor, integration: Integration, location: Location, text: str) -> None:
    if text:
        # One that is left over from a merchant who has uninstalled it.
        rows = OutletNumber.objects.filter(integration=integration, external_id=text)
        rows.uncovered().delete()
        OutletNumber.objects.create(integration=integration, location=location, external_id=text)
        UnknownOutlet.objects.filter(integration=integration, external_id=text).delete()
    audit.record(
        "outlet.numbered",
        actor=actor.label,
        merchant_id=actor.merchant_id,
        integration_slug=integration.slug,
        location=location,
        data={"number": text},
    )
