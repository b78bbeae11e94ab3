from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WebhooksConfig(AppConfig):
    name = "webhooks"
    verbose_name = _("Webhooks")

    def ready(self) -> None:
        from catalog.capabilities import announce_events
        from dispatch.certification.ledger import announce_ledger
        from installs.delivery_notes import announce_delivery_notes

        # What can be done at the till announces itself.
        from webhooks import (  # noqa: F401
            attention,
            certifying,
            exported,
            till_events,
            till_inbound,
            till_table,
        )

        for capability, version, events in exported.causes():
            announce_events(capability, version, events)
        announce_delivery_notes(attention.notes_for)
        announce_ledger(certifying.LEDGER)
