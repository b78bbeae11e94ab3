"""Tests the connection with a merchant's own key, and notes on the install what came of it.

The question goes to the partner over the network, so nothing here may run while a row is locked.
"""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS
from django.utils.translation import gettext as _

from catalog.capabilities import needs_provisioning
from catalog.envelope import ApiError
from catalog.models import Integration
from catalog.schema import secret_names
from catalog.verification import Outcome, Verdict, names_in, verify
from installs.models import Connection, Install


def has_test(integration: Integration) -> bool:
    """A partner's is declared; that of a sign-in service is the same for all of them."""
    return bool(integration.verification_request) or _is_sign_in(integration)


def check(integration: Integration, config: Mapping[str, Any]) -> Verdict | None:
    """Test these settings before they are saved; None where the integration has no test.

    Refused with `config_invalid` where the partner does not accept the key. A partner that is down
    and a fault of Posz stop nobody from saving: the verdict says so.
    """
    if not has_test(integration):
        return None
    verdict = verify(integration, config)
    if verdict.outcome is Outcome.WRONG_KEY:
        fields = {name: [verdict.message] for name in _key_names(integration)}
        raise ApiError(
            "config_invalid", _("The key was not accepted, so nothing was saved."), fields=fields
        )
    if verdict.outcome is Outcome.WRONG_ADDRESS:
        raise ApiError("config_invalid", fields={"issuer": [verdict.message]})
    return verdict


def note(row: Install, verdict: Verdict | None) -> None:
    """Put the verdict on a row that is about to be written: fields `NOTED`."""
    if verdict is None or needs_provisioning(row.integration.slug):
        return
    row.connection = Connection.CONNECTED if verdict.is_ok else Connection.FAILED
    row.connection_problem = "" if verdict.is_ok else str(verdict.outcome)


NOTED = ("connection", "connection_problem")


def _is_sign_in(integration: Integration) -> bool:
    return "auth_provider" in integration.capabilities


def _key_names(integration: Integration) -> list[str]:
    """The settings to correct: the secrets that the test sends, else whatever it sends."""
    sent = names_in(integration.verification_request)
    return sorted(sent & secret_names(integration.config_schema) or sent) or [NON_FIELD_ERRORS]
