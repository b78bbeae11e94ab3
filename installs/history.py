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
    "install.numbered": gettext_lazy("%(actor)s noted your number at %(integration)s"),
    "oauth.refused": gettext_lazy("%(actor)s came back from %(integration)s without a connection"),
    "oauth.revoked": gettext_lazy("%(integration)s was told to forget the connection"),
    "oauth.revoke_failed": gettext_lazy(
        "%(integration)s could not be told to forget the connection; Posz has erased its part"
    ),
    "install.address_made": gettext_lazy(
        "%(actor)s made a new webhook address for %(integration)s"
    ),
    "outlet.numbered": gettext_lazy(
        "%(actor)s changed the number that %(integration)s has for an outlet"
    ),
    "mapping.mapped": gettext_lazy("%(actor)s said what an id of %(integration)s is in Posz"),
    "mapping.ignored": gettext_lazy("%(actor)s leaves an id of %(integration)s out from now on"),
    "sign_in.done": gettext_lazy("%(actor)s signed in through %(integration)s"),
    "sign_in.linked": gettext_lazy("%(actor)s was recognised by %(integration)s"),
    "sign_in.joined": gettext_lazy("%(actor)s joined through %(integration)s"),
    "sign_in.unlinked": gettext_lazy("%(actor)s unlinked an account of %(integration)s"),
    "sign_in.role_changed": gettext_lazy("%(integration)s changed the role of %(actor)s"),
    "sign_in.last_owner_kept": gettext_lazy(
        "%(integration)s would take the role of owner from %(actor)s, but there is no other owner"
    ),
    "sign_in.refused": gettext_lazy("Somebody could not sign in through %(integration)s"),
    "sign_in.password_refused": gettext_lazy(
        "%(actor)s was sent to %(integration)s instead of signing in with a password"
    ),
    "sign_in.fallback": gettext_lazy(
        "%(actor)s signed in with a password because %(integration)s did not answer"
    ),
    "sign_in.emergency": gettext_lazy(
        "%(actor)s signed in with a password in an emergency, going around %(integration)s"
    ),
    "install.endpoint_gone": gettext_lazy(
        "%(integration)s closed its event address, so Posz stopped sending events there"
    ),
    "install.endpoint_opened": gettext_lazy("%(actor)s let events go to %(integration)s again"),
    "delivery.dead": gettext_lazy("%(integration)s did not take an event after five attempts"),
    "install.deliveries_failing": gettext_lazy("%(integration)s does not take events"),
    "install.deliveries_recovered": gettext_lazy("%(integration)s takes events again"),
    "deliveries.replayed": gettext_lazy("%(actor)s sent events again"),
    "recovery.started": gettext_lazy("%(actor)s asked to send events to %(integration)s again"),
    "recovery.done": gettext_lazy("Events to %(integration)s were sent again"),
    "recovery.stopped": gettext_lazy("Sending events to %(integration)s again was stopped"),
    "example.sent": gettext_lazy("%(actor)s sent an example to %(integration)s"),
    "inbound.set_aside": gettext_lazy("Posz set an event of %(integration)s aside"),
    "inbound.replayed": gettext_lazy("%(actor)s had events processed again"),
    "bill.settled": gettext_lazy("A bill was settled with %(integration)s"),
    "bill.expired": gettext_lazy("A bill of %(integration)s expired"),
    "bill.cancelled": gettext_lazy("A bill of %(integration)s was cancelled"),
    "payment.applied": gettext_lazy("%(integration)s reported a payment"),
    "payment.parked": gettext_lazy(
        "%(integration)s reported a payment that Posz does not know; the report is kept"
    ),
    "payment.ignored": gettext_lazy("%(integration)s reported something that is no payment"),
    "payment.overpaid": gettext_lazy("Guests paid more than their check through %(integration)s"),
}
LABELS: dict[str, Promise] = {
    "account": gettext_lazy("Account"),
    "account_before": gettext_lazy("Account before"),
    "amount": gettext_lazy("Amount"),
    "amount_cents": gettext_lazy("Amount"),
    "attempt": gettext_lazy("Attempt"),
    "bill_token": gettext_lazy("Bill"),
    "capabilities": gettext_lazy("What it does"),
    "currency": gettext_lazy("Currency"),
    "deliveries": gettext_lazy("Deliveries"),
    "event_id": gettext_lazy("Event number"),
    "events": gettext_lazy("Events"),
    "external_merchant_id": gettext_lazy("Your number at the partner"),
    "external_order_id": gettext_lazy("Order"),
    "keys": gettext_lazy("Settings"),
    "kind": gettext_lazy("Kind"),
    "late": gettext_lazy("Came late"),
    "number": gettext_lazy("Number at the partner"),
    "occurred_at": gettext_lazy("Happened"),
    "overpaid_cents": gettext_lazy("Overpaid"),
    "partner_code": gettext_lazy("What the partner said"),
    "payment_id": gettext_lazy("Payment"),
    "person": gettext_lazy("Person"),
    "posz_id": gettext_lazy("In Posz"),
    "problem": gettext_lazy("Problem"),
    "provider_ref": gettext_lazy("Number at the partner"),
    "role": gettext_lazy("Role"),
    "role_before": gettext_lazy("Role before"),
    "scopes": gettext_lazy("Rights"),
    "since": gettext_lazy("From"),
    "skipped": gettext_lazy("Left out"),
    "status": gettext_lazy("Status"),
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
    "wrong_address": gettext_lazy("No sign-in service calls itself by the address that you set"),
    "partner_down": gettext_lazy("The partner can’t be reached, so your key is not tested"),
    "our_side": gettext_lazy("Posz could not test your key"),
    "request_refused": gettext_lazy("Posz could not put the request together"),
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
    "client_refused": gettext_lazy("The sign-in service did not accept the key of this restaurant"),
    "token_expired": gettext_lazy("The proof of the sign-in service was too old"),
    "token_unsigned": gettext_lazy("The proof of the sign-in service was not signed as it must be"),
    "token_refused": gettext_lazy("The proof of the sign-in service was not valid"),
    "wrong_audience": gettext_lazy("The proof of the sign-in service was meant for somebody else"),
    "wrong_nonce": gettext_lazy("The proof of the sign-in service belongs to another sign-in"),
    "not_a_member": gettext_lazy("You do not work for this restaurant at Posz Hub"),
    "email_unverified": gettext_lazy("The sign-in service does not vouch for your e-mail address"),
    "email_not_accepted": gettext_lazy("Your e-mail address is not one of this restaurant’s"),
    "linked_already": gettext_lazy(
        "Another account of the sign-in service is linked to you already"
    ),
    "no_role": gettext_lazy("None of your groups gives you a role at this restaurant"),
    "number_taken": gettext_lazy("The partner mixed up two restaurants; Posz will look into it"),
    "install_gone": gettext_lazy("It was uninstalled meanwhile"),
    "integration_not_installed": gettext_lazy("It was uninstalled meanwhile"),
    "integration_disabled": gettext_lazy("It was switched off meanwhile"),
}
# Problems that staff of Posz must mend; all others are the partner’s.
OURS = frozenset(
    {"no_adapter", "unauthorized", "address_refused", "request_refused", "our_side"}
    | {"no_client_secret", "number_taken"}
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
    is_cents = key in {"amount_cents", "overpaid_cents"} and type(value) is int
    if is_cents and data.get("currency", "IDR") == "IDR":
        return rupiah(value)
    if key == "late":
        return _("Something newer about the same had come before")
    if key == "problem":
        return problem_text(str(value))
    if key == "capabilities":
        return "; ".join(str(CAPABILITIES[item].surface) for item in value if item in CAPABILITIES)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
