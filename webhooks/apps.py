from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WebhooksConfig(AppConfig):
    name = "webhooks"
    verbose_name = _("Webhooks")

    def ready(self) -> None:
        from installs.delivery_notes import announce_delivery_notes
        from webhooks import attention

        announce_delivery_notes(attention.notes_for)
