from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DispatchConfig(AppConfig):
    name = "dispatch"
    verbose_name = _("Dispatch")

    def ready(self) -> None:
        from catalog.verification import announce_verifier
        from dispatch import adapters, oauth, verification
        from installs.oauth_client import announce_oauth_client

        adapters.announce()
        announce_verifier(verification.verify)
        announce_oauth_client(oauth.Client())
