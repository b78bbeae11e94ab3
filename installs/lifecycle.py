"""The only door through which an install changes: pages, API, admin and workers call these verbs.

Every verb locks the merchant's row first, so that two people who click at once are served one after
the other and the rules of `scope` hold for the second one too. Consequences that need the network
start after the commit. Refusals are `ApiError`.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from celery import current_app
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.capabilities import CAPABILITIES, needs_provisioning
from catalog.envelope import ApiError
from catalog.models import Integration
from catalog.schema import ConfigError, validate_config
from installs import audit, scope
from installs.access import Actor, Verb
from installs.ladder import next_attempt_at
from installs.models import Connection, Install, Location, Merchant

# Long enough for one call to the partner; a worker that died gives the row back after it.
PROVISION_LEASE = timedelta(seconds=60)


def install(
    actor: Actor,
    integration: Integration,
    *,
    location_id: UUID | None = None,
    config: dict[str, Any] | None = None,
) -> Install:
    """Install for one location, or for all where `location_id` is None.

    Refused with `integration_disabled`, `not_found` (location), `config_invalid`,
    `already_installed` or `capability_conflict`. Where the partner has to be told about the
    merchant first, the install is kept as connecting whether or not the partner is up.
    """
    actor.require(Verb.INSTALL, location_id)
    if not integration.is_installable:
        raise ApiError("integration_disabled", _("This integration is not offered at the moment."))
    cleaned = clean_config(integration, config or {})
    with transaction.atomic():
        lock_merchant(actor.merchant_id)
        location = find_location(actor.merchant_id, location_id)
        present = list(Install.objects.for_merchant(actor.merchant_id).with_names().in_order())
        if any(
            row.integration_id == integration.pk and row.location_id == location_id
            for row in present
        ):
            raise ApiError("already_installed")
        row = Install(
            merchant_id=actor.merchant_id,
            integration=integration,
            location=location,
            config=cleaned,
            capability_versions=integration.capabilities,
            installed_by=actor.label,
        )
        refuse_conflicts(present, row)
        if needs_provisioning(integration.slug):
            row.connection = Connection.CONNECTING
            row.provision_due_at = timezone.now()
        row.save(force_insert=True)
        _changed(row, actor, "install.created")
        if row.provision_due_at:
            transaction.on_commit(wake_provisioning)
    return row


def configure(actor: Actor, install_id: UUID, config: dict[str, Any]) -> Install:
    """Replace the settings; a secret that is left out keeps its value, null removes it."""
    with transaction.atomic():
        row = _locked(actor, install_id, Verb.CONFIGURE)
        merged = {**row.config, **config}
        row.config = clean_config(
            row.integration, {key: value for key, value in merged.items() if value is not None}
        )
        row.config_changed_at = timezone.now()
        row.save(update_fields=["config", "config_changed_at"])
        _changed(row, actor, "install.configured", {"keys": sorted(config)})
    return row


def enable(actor: Actor, install_id: UUID) -> Install:
    """Switch on again. A disabled install kept its place, so this can never conflict."""
    return _switch(actor, install_id, Verb.ENABLE, is_enabled=True)


def disable(actor: Actor, install_id: UUID) -> Install:
    """Switch off and keep everything. The place stays taken."""
    return _switch(actor, install_id, Verb.DISABLE, is_enabled=False)


def uninstall(actor: Actor, install_id: UUID) -> None:
    """Remove the row and its settings for good. What happened stays in the audit log."""
    with transaction.atomic():
        row = _locked(actor, install_id, Verb.UNINSTALL)
        _changed(row, actor, "install.removed")
        row.delete()


def reconnect(actor: Actor, install_id: UUID) -> Install:
    """Ask the partner again now, with a fresh ladder."""
    with transaction.atomic():
        row = _locked(actor, install_id, Verb.TEST)
        schedule_provisioning([row])
        audit.record("install.reconnect_asked", actor=actor.label, install=row)
    return row


def schedule_provisioning(rows: Iterable[Install]) -> None:
    """Tell the partner about the merchant (again), soon and with a fresh ladder.

    An install that is connected stays so meanwhile.
    """
    for row in rows:
        if not needs_provisioning(row.integration.slug):
            continue
        row.provision_due_at = timezone.now()
        row.provision_attempts = 0
        if row.connection == Connection.FAILED:
            row.connection = Connection.CONNECTING
        row.save(update_fields=["provision_due_at", "provision_attempts", "connection"])
        transaction.on_commit(wake_provisioning)


def claim_provisioning(install_id: UUID, due_at: datetime) -> datetime | None:
    """Take the row for one attempt; None where somebody else has it.

    The lease is the new due time: it is the proof of the claim, and when it is over the row is due.
    """
    lease = timezone.now() + PROVISION_LEASE
    is_mine = Install.objects.filter(pk=install_id, provision_due_at=due_at).update(
        provision_due_at=lease
    )
    return lease if is_mine else None


def provisioned(
    install_id: UUID, external_merchant_id: str, *, lease: datetime | None = None
) -> None:
    """The partner knows the merchant.

    With a lease, a wish for another round that came in meanwhile is kept.
    """
    with transaction.atomic():
        row = _row_for_worker(install_id)
        if row is None:
            return
        was = row.connection
        row.external_merchant_id = external_merchant_id
        row.connection = Connection.CONNECTED
        row.connection_problem = ""
        if lease is None or row.provision_due_at == lease:
            row.provision_due_at = None
        row.provision_attempts = 0
        row.save(
            update_fields=[
                "external_merchant_id",
                "connection",
                "connection_problem",
                "provision_due_at",
                "provision_attempts",
            ]
        )
        Merchant.touch(row.merchant_id)
        action = "install.refreshed" if was == Connection.CONNECTED else "install.connected"
        audit.record(
            action,
            actor=row.integration.slug,
            install=row,
            data={"external_merchant_id": external_merchant_id},
        )


def provisioning_failed(install_id: UUID, problem: str, *, is_final: bool = False) -> None:
    """Note a failed attempt and put the next one on the ladder.

    `problem` is a short code, such as `unreachable`. A final failure (the partner refuses us) and a
    used-up ladder leave the install as failed, for a person to act on. An install that had been
    connected stays connected: the partner still knows an older version of the merchant.
    """
    with transaction.atomic():
        row = _row_for_worker(install_id)
        if row is None:
            return
        row.provision_attempts += 1
        row.provision_due_at = (
            None if is_final else next_attempt_at(row.provision_attempts, timezone.now())
        )
        row.connection_problem = problem
        if row.provision_due_at is None and row.connection != Connection.CONNECTED:
            row.connection = Connection.FAILED
        row.save(
            update_fields=[
                "provision_attempts",
                "provision_due_at",
                "connection_problem",
                "connection",
            ]
        )
        audit.record(
            "install.connect_failed",
            actor=row.integration.slug,
            install=row,
            data={"problem": problem, "attempt": row.provision_attempts},
        )


def turn_outbound_off(install_id: UUID) -> None:
    """The partner said that its event endpoint is gone for good."""
    with transaction.atomic():
        row = _row_for_worker(install_id)
        if row is None or row.outbound_off_at is not None:
            return
        row.outbound_off_at = timezone.now()
        row.save(update_fields=["outbound_off_at"])
        audit.record("install.endpoint_gone", actor=row.integration.slug, install=row)


def lock_merchant(merchant_id: UUID) -> Merchant:
    """Serialise changes of one merchant. SQLite has no row locks: BEGIN IMMEDIATE does it there."""
    try:
        return Merchant.objects.select_for_update().get(pk=merchant_id)
    except Merchant.DoesNotExist:
        raise ApiError("not_found") from None


def find_location(merchant_id: UUID, location_id: UUID | None) -> Location | None:
    if location_id is None:
        return None
    location = Location.objects.filter(pk=location_id, merchant_id=merchant_id).first()
    if location is None:
        raise ApiError("not_found", _("This merchant has no such outlet."))
    return location


def clean_config(integration: Integration, config: dict[str, Any]) -> dict[str, Any]:
    try:
        return validate_config(integration.config_schema, config)
    except ConfigError as error:
        raise ApiError("config_invalid", fields=error.fields) from None


def scoped(row: Install) -> scope.ScopedInstall:
    return scope.ScopedInstall(
        id=row.pk,
        integration=row.integration.slug,
        location=row.location_id,
        is_enabled=row.is_enabled,
        capabilities=frozenset(row.capability_versions),
    )


def refuse_conflicts(present: list[Install], candidate: Install) -> None:
    locations = {
        item.pk: item for item in Location.objects.filter(merchant_id=candidate.merchant_id)
    }
    found = scope.conflicts([scoped(row) for row in present], scoped(candidate), list(locations))
    if not found:
        return
    names = {row.pk: row.integration.name for row in present}
    first = found[0]
    raise ApiError(
        "capability_conflict",
        _(
            "%(holders)s already answers “%(capability)s” at %(locations)s. "
            "Uninstall it there first, or choose another outlet."
        )
        % {
            "holders": ", ".join(names[holder.id] for holder in first.holders),
            "capability": first.capability,
            "locations": ", ".join(
                str(locations[item]) if item else _("every other outlet")
                for item in first.locations
            ),
        },
        conflicts=[
            {
                "capability": conflict.capability,
                "mode": CAPABILITIES[conflict.capability].mode,
                "places": CAPABILITIES[conflict.capability].places,
                "locations": [
                    {"id": str(item), "name": str(locations[item])}
                    for item in conflict.locations
                    if item is not None
                ],
                "holders": [
                    {
                        "install_id": str(holder.id),
                        "integration": holder.integration,
                        "location_id": str(holder.location) if holder.location else None,
                        "enabled": holder.is_enabled,
                    }
                    for holder in conflict.holders
                ],
                "ways_out": ["uninstall_holder", "choose_other_location"],
            }
            for conflict in found
        ],
    )


def wake_provisioning() -> None:
    # By name: the worker's code lives in an app that this one must not know.
    current_app.send_task("dispatch.tasks.provision_due", ignore_result=True)


def _switch(actor: Actor, install_id: UUID, verb: Verb, *, is_enabled: bool) -> Install:
    with transaction.atomic():
        row = _locked(actor, install_id, verb)
        if row.is_enabled != is_enabled:
            row.is_enabled = is_enabled
            row.save(update_fields=["is_enabled"])
            _changed(row, actor, "install.enabled" if is_enabled else "install.disabled")
            if is_enabled and row.provision_due_at:
                transaction.on_commit(wake_provisioning)
    return row


def _locked(actor: Actor, install_id: UUID, verb: Verb) -> Install:
    lock_merchant(actor.merchant_id)
    row = Install.objects.for_merchant(actor.merchant_id).with_names().filter(pk=install_id).first()
    if row is None:
        raise ApiError("not_found")
    actor.require(verb, row.location_id)
    return row


def _row_for_worker(install_id: UUID) -> Install | None:
    """The row under its merchant's lock, None where it was uninstalled meanwhile."""
    merchant_id = (
        Install.objects.filter(pk=install_id).values_list("merchant_id", flat=True).first()
    )
    if merchant_id is None:
        return None
    lock_merchant(merchant_id)
    return Install.objects.with_names().filter(pk=install_id).first()


def _changed(row: Install, actor: Actor, action: str, data: dict[str, Any] | None = None) -> None:
    Merchant.touch(row.merchant_id)
    audit.record(action, actor=actor.label, install=row, data=data)
