"""Whom an inbound event is about: the one of the merchant's installs, and the outlet."""

from collections.abc import Mapping
from uuid import UUID

from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from catalog.inbound_events import ParsedEvent
from catalog.models import Integration
from dispatch import answers
from dispatch.adapters import adapter_for
from dispatch.contracts import InboundAdapter
from dispatch.models import Answer
from installs import outlets, scope
from installs.models import Install, Location, Merchant
from webhooks.models import InboundEvent


def installs_named(
    integration: Integration, merchant_id: UUID | None, external_id: str | None
) -> dict[UUID, Install]:
    """The installs of a merchant whom an event names, the oldest first; at least one."""
    rows = Install.objects.filter(integration=integration).with_names().in_order()
    if merchant_id is not None:
        if not Merchant.objects.filter(pk=merchant_id).exists():
            raise ApiError("not_found", _("There is no such merchant."))
        rows = rows.for_merchant(merchant_id)
    else:
        rows = rows.filter(external_merchant_id=external_id)
    present = {row.pk: row for row in rows}
    if not present:
        raise ApiError("integration_not_installed")
    return present


def find_install(
    integration: Integration, envelope: ParsedEvent, present: Mapping[UUID, Install]
) -> Install:
    """The one of the merchant's installs an event belongs to.

    With a location: the one effective there. Without: the one whose earlier answer the event refers
    to, else the merchant-wide one, else the oldest.
    """
    if envelope.location_id is not None:
        effective = scope.effective_installs(
            [row.scoped() for row in present.values()], envelope.location_id
        )
        if not effective:
            raise ApiError("integration_not_installed")
        return present[effective[0].id]
    oldest = next(iter(present.values()))
    if len(present) == 1:
        return oldest
    answer = _answer_it_refers_to(integration, oldest.merchant_id, envelope)
    if answer is not None and answer.install_id in present:
        return present[answer.install_id]
    return next((row for row in present.values() if row.location_id is None), oldest)


def _answer_it_refers_to(
    integration: Integration, merchant_id: UUID, envelope: ParsedEvent
) -> Answer | None:
    """The earlier answer of ours that an event is about, such as the bill that was settled."""
    capability = integration.capability_of_event(envelope.type) or ""
    version = integration.capabilities.get(capability, 1)
    adapter = adapter_for(integration.slug, capability, version)
    reference = adapter.external_ref(envelope.data) if isinstance(adapter, InboundAdapter) else None
    if not reference:
        return None
    return answers.answer_of_reference(merchant_id, integration.slug, reference)


def outlet_of(row: InboundEvent, envelope: ParsedEvent) -> Location | None:
    """The outlet that the event names, else the one whose answer it refers to."""
    answer = _answer_it_refers_to(row.integration, row.merchant_id, envelope)
    location_id = envelope.location_id or (answer.location_id if answer else None)
    if location_id is None and envelope.external_location_id is not None:
        return outlets.outlet_of(row.integration, row.merchant_id, envelope.external_location_id)
    if location_id is None:
        return None
    return Location.objects.filter(pk=location_id, merchant_id=row.merchant_id).first()
