"""The audit log in words that a merchant reads."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from catalog.capabilities import CAPABILITIES
from catalog.models import Integration
from installs.audit import SYSTEM
from installs.models import AuditEntry, Merchant, User
from installs.templatetags.posz import rupiah

SENTENCES: dict[str, Promise] = {
    "install.created": gettext_lazy("%(actor)s installed %(integration)s"),
    "install.configured": gettext_lazy("%(actor)s changed the settings of %(integration)s"),
    "install.enabled": gettext_lazy("%(actor)s enabled %(integration)s"),
    "install.disabled": gettext_lazy("%(actor)s disabled %(integration)s"),
    "install.removed": gettext_lazy("%(actor)s uninstalled %(integration)s"),
    "install.upgraded": gettext_lazy("%(actor)s moved %(integration)s to its latest version"),
    "install.connected": gettext_lazy("%(integration)s is connected"),
    "install.refreshed": gettext_lazy("%(integration)s received your latest details"),
    "install.connect_failed": gettext_lazy("%(integration)s could not be connected"),
    "install.reconnect_asked": gettext_lazy("%(actor)s asked to connect %(integration)s again"),
    "install.tested": gettext_lazy("%(actor)s tested the connection of %(integration)s"),
    "install.reconnected": gettext_lazy("%(actor)s connected %(integration)s again"),
    "oauth.refused": gettext_lazy("%(actor)s came back from %(integration)s without a connection"),
    "oauth.revoked": gettext_lazy("%(integration)s was told to forget the connection"),
    "oauth.revoke_failed": gettext_lazy(
        "%(integration)s could not be told to forget the connection; Posz has erased its part"
    ),
    "install.endpoint_gone": gettext_lazy(
        "%(integration)s closed its event address, so Posz stopped sending events there"
    ),
    "install.endpoint_opened": gettext_lazy("%(actor)s let events go to %(integration)s again"),
    "delivery.dead": gettext_lazy("%(integration)s did not take an event after five attempts"),
    "deliveries.replayed": gettext_lazy("%(actor)s sent events again"),
    "recovery.started": gettext_lazy("%(actor)s asked to send events to %(integration)s again"),
    "recovery.done": gettext_lazy("Events to %(integration)s were sent again"),
    "recovery.stopped": gettext_lazy("Sending events to %(integration)s again was stopped"),
    "example.sent": gettext_lazy("%(actor)s sent an example to %(integration)s"),
    "bill.settled": gettext_lazy("A bill was settled with %(integration)s"),
    "bill.expired": gettext_lazy("A bill of %(integration)s expired"),
    "bill.cancelled": gettext_lazy("A bill of %(integration)s was cancelled"),
}
LABELS: dict[str, Promise] = {
    "account": gettext_lazy("Account"),
    "account_before": gettext_lazy("Account before"),
    "amount": gettext_lazy("Amount"),
    "attempt": gettext_lazy("Attempt"),
    "bill_token": gettext_lazy("Bill"),
    "capabilities": gettext_lazy("What it does"),
    "currency": gettext_lazy("Currency"),
    "deliveries": gettext_lazy("Deliveries"),
    "event_id": gettext_lazy("Event number"),
    "external_merchant_id": gettext_lazy("Your number at the partner"),
    "external_order_id": gettext_lazy("Order"),
    "keys": gettext_lazy("Settings"),
    "occurred_at": gettext_lazy("Happened"),
    "partner_code": gettext_lazy("What the partner said"),
    "problem": gettext_lazy("Problem"),
    "scopes": gettext_lazy("Rights"),
    "since": gettext_lazy("From"),
    "skipped": gettext_lazy("Left out"),
    "type": gettext_lazy("Type"),
    "until": gettext_lazy("Until"),
}
# Kept for those who search the log later; a merchant reads the same in the line itself.
HIDDEN = frozenset({"location_id", "enabled", "installed_at", "recovery_id", "what"})
PROBLEMS: dict[str, Promise] = {
    "unreachable": gettext_lazy("The partner could not be reached"),
    "deadline": gettext_lazy("The partner took too long to answer"),
    "upstream_error": gettext_lazy("The partner had a problem of its own"),
    "unauthorized": gettext_lazy("The partner did not accept the key of Posz"),
    "refused": gettext_lazy("The partner refused the request"),
    "declined": gettext_lazy("The partner declined"),
    "nonsense": gettext_lazy("The partner’s answer could not be understood"),
    "too_large": gettext_lazy("The partner’s answer was too large"),
    "no_adapter": gettext_lazy("Posz can’t talk to this partner yet"),
    "address_refused": gettext_lazy("The partner’s address is not allowed"),
    "wrong_key": gettext_lazy("The partner does not accept your key"),
    "partner_down": gettext_lazy("The partner can’t be reached, so your key is not tested"),
    "our_side": gettext_lazy("Posz could not test your key"),
    "reconnect_needed": gettext_lazy("The partner no longer accepts the connection"),
    "not_connected": gettext_lazy("Nobody has connected it to the partner yet"),
    "missing_scopes": gettext_lazy("The partner did not grant all the rights that are needed"),
    "no_client_secret": gettext_lazy("Posz has no key for this partner yet"),
    "no_refresh_token": gettext_lazy("The connection has run out"),
    "no_account": gettext_lazy("The partner did not say which account it is"),
    "access_denied": gettext_lazy("The request was declined at the partner"),
    "consent_failed": gettext_lazy("The partner broke off"),
    "no_code": gettext_lazy("The partner’s answer could not be understood"),
    "code_refused": gettext_lazy("The partner did not accept the answer that it gave"),
    "wrong_issuer": gettext_lazy("The answer came from another server than the partner’s"),
    "state_unknown": gettext_lazy("The link does not belong to anything that was started here"),
    "state_used": gettext_lazy("The link was used before"),
    "state_expired": gettext_lazy("The link was too old"),
    "install_gone": gettext_lazy("It was uninstalled meanwhile"),
    "integration_not_installed": gettext_lazy("It was uninstalled meanwhile"),
    "integration_disabled": gettext_lazy("It was switched off meanwhile"),
}
# Problems that staff of Posz must mend; all others are the partner’s.
OURS = frozenset(
    {"no_adapter", "unauthorized", "address_refused", "request_refused", "our_side"}
    | {"no_client_secret"}
)
YOURS = frozenset({"wrong_key"})


@dataclass(frozen=True, slots=True)
class Line:
    id: int
    sentence: str
    place: str
    at: datetime
    facts: list[tuple[str, str]]

    @property
    def time(self) -> str:
        return time_text(self.at)

    @property
    def moment(self) -> str:
        """The full second after it, at which its consequences can be looked at."""
        after = (self.at + timedelta(microseconds=999_999)).replace(microsecond=0)
        return f"{after.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def time_text(at: datetime) -> str:
    """With the zone's own short name: WIB, WITA or WIT in Indonesia."""
    return f"{date_format(at, 'j M Y, H:i')} {at.tzname()}"


def lines(merchant: Merchant, entries: Iterable[AuditEntry]) -> list[Line]:
    """In the zone of the entry's outlet, else the merchant's."""
    rows = list(entries)
    slugs = {row.integration_slug for row in rows} | {row.actor for row in rows}
    names = {item.slug: item.name for item in Integration.objects.filter(slug__in=slugs)}
    people = User.objects.filter(memberships__merchant=merchant).exclude(name="")
    names |= dict(people.values_list("email", "name"))
    zones = {str(item): item.zone for item in merchant.locations.all()}
    zone = ZoneInfo(merchant.timezone)
    return [_line(row, names, zones.get(row.location_name, zone)) for row in rows]


def problem_text(code: str) -> str:
    return str(PROBLEMS.get(code, code))


def _line(row: AuditEntry, names: dict[str, str], zone: ZoneInfo) -> Line:
    actor = _("Posz") if row.actor == SYSTEM else names.get(row.actor, row.actor)
    integration = names.get(row.integration_slug, row.integration_slug) or _("An integration")
    sentence = SENTENCES.get(row.action)
    return Line(
        id=row.pk,
        sentence=sentence % {"actor": actor, "integration": integration}
        if sentence
        else row.action,
        place=row.location_name or _everywhere(row),
        at=row.at.astimezone(zone),
        facts=[
            (str(LABELS.get(key, key)), _value(key, value, row.data))
            for key, value in row.data.items()
            if key not in HIDDEN and value not in (None, "", [], {})
        ],
    )


def _everywhere(row: AuditEntry) -> str:
    # A bill belongs to one outlet even where the install behind it covers them all.
    return _("All outlets") if row.action.startswith("install.") else ""


def _value(key: str, value: Any, data: dict[str, Any]) -> str:
    if key == "amount" and type(value) is int and data.get("currency", "IDR") == "IDR":
        # Partners count whole rupiah, Posz hundredths.
        return rupiah(value * 100)
    if key == "problem":
        return problem_text(str(value))
    if key == "capabilities":
        return "; ".join(str(CAPABILITIES[item].surface) for item in value if item in CAPABILITIES)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
