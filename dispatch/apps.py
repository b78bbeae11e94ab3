from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DispatchConfig(AppConfig):
    name = "dispatch"
    verbose_name = _("Dispatch")

    def ready(self) -> None:
        from catalog.verification import announce_verifier
        from dispatch import adapters, verification

        adapters.announce()
        announce_verifier(verification.verify)
