from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DispatchConfig(AppConfig):
    name = "dispatch"
    verbose_name = _("Dispatch")

    def ready(self) -> None:
        from catalog.contract_changes import announce_comparison
        from catalog.verification import announce_verifier
        from dispatch import adapters, contract_changes, oauth, openid, verification

        # What can be done at the till announces itself.
        from dispatch.till import checkout, guests  # noqa: F401
        from installs.identity_provider import announce_identity_provider
        from installs.oauth_client import announce_oauth_client

        adapters.announce()
        announce_comparison(contract_changes.compare)
        announce_verifier(verification.verify)
        announce_oauth_client(oauth.Client())
        announce_identity_provider(openid.Provider())
