from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DispatchConfig(AppConfig):
    name = "dispatch"
    verbose_name = _("Dispatch")

    def ready(self) -> None:
        from dispatch import adapters, oauth
        from installs.oauth_client import announce_oauth_client

        adapters.announce()
        announce_oauth_client(oauth.Client())
