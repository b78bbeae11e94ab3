from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WebhooksConfig(AppConfig):
    name = "webhooks"
    verbose_name = _("Webhooks")

    def ready(self) -> None:
        from catalog.capabilities import announce_events
        from dispatch.certification.ledger import announce_ledger
        from installs.event_notes import EventNotes, announce_event_notes

        # What can be done at the till announces itself.
        from webhooks import (  # noqa: F401
            attention,
            certifying,
            exported,
            inbound_attention,
            till_events,
            till_inbound,
            till_table,
        )

        for capability, version, events in exported.causes():
            announce_events(capability, version, events)
        announce_event_notes(
            lambda merchant_id: EventNotes(
                attention.notes_for(merchant_id), inbound_attention.notes_for(merchant_id)
            )
        )
        announce_ledger(certifying.LEDGER)
