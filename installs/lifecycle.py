"""The only door through which an install comes, goes or is switched: pages, API and admin call these
verbs. (What becomes of its connection to the partner is the door of `connection`.)

Every verb locks the merchant's row first, so that two people who click at once are served one after
the other and the rules of `scope` hold for the second one too. Consequences that need the network
start after the commit. Refusals are `ApiError`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.capabilities import needs_provisioning
from catalog.envelope import ApiError
from catalog.models import Integration
from catalog.schema import ConfigError, check_place, validate_config
from catalog.verification import Verdict
from installs import audit, grants, plans, preview, scope, verification
from installs.access import Actor, Verb, needed
from installs.models import (
    Connection,
    Install,
    InstallPlan,
    Location,
    Merchant,
    OAuthGrant,
    OutletNumber,
)
from installs.state import State, state_of
from installs.wake import wake


def install(
    actor: Actor,
    integration: Integration,
    *,
    location_id: UUID | None = None,
    config: dict[str, Any] | None = None,
    grant: OAuthGrant | None = None,
) -> Install:
    """Install for one location, or for all where `location_id` is None.

    Refused with `integration_disabled`, `not_found` (location), `config_invalid`,
    `already_installed` or `capability_conflict`; the last one carries the ways out and the plan of
    each. Where the partner has to be told about the merchant first, the install is kept as
    connecting whether or not the partner is up. Where the integration has a test of the key, it runs
    first. An integration that uses OAuth works once it has a grant; without one it waits for somebody
    to connect it in a browser.
    """
    return _installed_or_refused(
        actor, integration, location_id, config or {}, grant, is_trial=False
    )


def check_install(
    actor: Actor, integration: Integration, *, location_id: UUID | None, config: dict[str, Any]
) -> dict[str, Any]:
    """Refuse what `install` would refuse at this moment; return the settings as it would keep them."""
    _installed_or_refused(actor, integration, location_id, config, None, is_trial=True)
    return clean_config(integration, config, location_id, config)


def _installed_or_refused(
    actor: Actor,
    integration: Integration,
    location_id: UUID | None,
    config: dict[str, Any],
    grant: OAuthGrant | None,
    *,
    is_trial: bool,
) -> Install:
    require_install(actor, integration, location_id)
    given = config
    cleaned = clean_config(installable(integration), given, location_id, given)
    verdict = verification.check(integration, cleaned)
    with transaction.atomic():
        lock_merchant(actor.merchant_id)
        location = find_location(actor.merchant_id, location_id)
        state = state_of(actor.merchant_id)
        preview.refuse_twice(state, integration, location_id)
        candidate = preview.candidate_of(integration, location_id)
        found = scope.conflicts(state.scoped, candidate, list(state.locations))
        if not found:
            row = _new_row(actor, integration, location, cleaned, verdict, grant)
            return row if is_trial else _add(actor, row)
    # The offers are rows, so they are made after the refused transaction is over.
    raise preview.conflict_error(state, found, candidate, integration, cleaned, actor.label)


def swap(actor: Actor, plan_id: UUID) -> "Swapped":
    """Carry out a plan: the old ones out, the new one in, all or nothing.

    Locations that the plan does not name stay as they were. Refused with 412 `plan_stale` where
    anything has changed since the plan was shown. The result names the plan that undoes it; undoing
    brings the rows back as they were, with their settings and ids.
    """
    verdict = _check_plan(actor, plan_id)
    with transaction.atomic():
        lock_merchant(actor.merchant_id)
        plan = plans.find_plan(actor.merchant_id, plan_id)
        state = state_of(actor.merchant_id)
        if plan.fingerprint != state.fingerprint():
            raise ApiError("plan_stale")
        is_undo = plan.kind == InstallPlan.Kind.UNDO
        done = _undo(actor, state, plan) if is_undo else _swap(actor, state, plan, verdict)
        plans.close(plan)
        undo = plans.make_undo_plan(state_of(actor.merchant_id), plan, done.left, done.added)
    return Swapped(done.added, undo)


@dataclass(frozen=True, slots=True)
class Swapped:
    """`installed` are the rows that came, `undo` is the plan that takes it all back."""

    installed: list[Install]
    undo: InstallPlan


@dataclass(frozen=True, slots=True)
class _Done:
    """`left` are the rows that went, as `plans.saved` describes them."""

    left: list[dict[str, Any]]
    added: list[Install]


def configure(actor: Actor, install_id: UUID, config: dict[str, Any]) -> Install:
    """Replace the settings; a secret that is left out keeps its value, null removes it.

    What is saved is what was tested: where somebody else saves during the test, it is run again.
    """
    tested: dict[str, Any] | None = None
    verdict: Verdict | None = None
    while True:
        with transaction.atomic():
            row = locked_install(actor, install_id, Verb.CONFIGURE)
            merged = {**known_settings(row), **config}
            merged = {key: value for key, value in merged.items() if value is not None}
            cleaned = clean_config(row.integration, merged, row.location_id, config)
            if cleaned == tested or not verification.has_test(row.integration):
                return _configured(actor, row, cleaned, verdict, sorted(config))
        tested, verdict = cleaned, verification.check(row.integration, cleaned)


def known_settings(row: Install) -> dict[str, Any]:
    """What is stored, without what the schema has lost since: nobody could correct that."""
    known = row.integration.config_schema.get("properties", {})
    return {name: value for name, value in row.config.items() if name in known}


def _configured(
    actor: Actor, row: Install, config: dict[str, Any], verdict: Verdict | None, keys: list[str]
) -> Install:
    row.config = config
    row.config_changed_at = timezone.now()
    verification.note(row, verdict)
    row.save(update_fields=["config", "config_changed_at", *verification.NOTED])
    changed(row, actor, "install.configured", {"keys": keys})
    return row


def enable(actor: Actor, install_id: UUID) -> Install:
    """Switch on again. A disabled install kept its place, so this can never conflict."""
    return _switch(actor, install_id, Verb.ENABLE, is_enabled=True)


def disable(actor: Actor, install_id: UUID) -> Install:
    """Switch off and keep everything. The place stays taken."""
    return _switch(actor, install_id, Verb.DISABLE, is_enabled=False)


def uninstall(actor: Actor, install_id: UUID) -> None:
    """Remove the row and its settings for good. What happened stays in the audit log.

    Open plans end with it, so that none of them brings it back. Refused with `capability_conflict`
    where the integration's merchant-wide row would take over and hold a capability for which
    there is no place any more.
    """
    with transaction.atomic():
        row = locked_install(actor, install_id, Verb.UNINSTALL)
        state = state_of(actor.merchant_id)
        found = preview.conflicts_without(state, row.pk)
        if found:
            raise preview.plain_conflict_error(state, found)
        _remove(actor, row)
        plans.close_all(actor.merchant_id)
        numbers = OutletNumber.objects.filter(location__merchant_id=actor.merchant_id)
        numbers.filter(integration=row.integration_id).uncovered().delete()


def accept_versions(actor: Actor, install_id: UUID) -> Install:
    """Move an install to the contract versions that its catalog row declares today.

    Until then it is routed to the adapter of the versions it was installed with. A capability that
    the row gained since must find a free place.
    """
    with transaction.atomic():
        row = locked_install(actor, install_id, Verb.CONFIGURE)
        if not row.is_behind:
            return row
        state = state_of(actor.merchant_id)
        candidate = row.scoped(row.integration.capabilities)
        found = scope.conflicts(
            scope.without(state.scoped, [row.pk]), candidate, list(state.locations)
        )
        if found:
            raise preview.plain_conflict_error(state, found)
        row.capability_versions = row.integration.capabilities
        row.save(update_fields=["capability_versions"])
        changed(row, actor, "install.upgraded", {"capabilities": row.capability_versions})
    return row


def installable(integration: Integration) -> Integration:
    if not integration.is_installable:
        raise ApiError("integration_disabled", _("This integration is not offered at the moment."))
    return integration


def lock_merchant(merchant_id: UUID) -> Merchant:
    """Serialise changes of one merchant. SQLite has no row locks: BEGIN IMMEDIATE does it there."""
    try:
        return Merchant.objects.select_for_update().get(pk=merchant_id)
    except Merchant.DoesNotExist:
        raise ApiError("not_found") from None


def hold_merchant(merchant_id: UUID) -> None:
    """Let nobody lock the merchant until the transaction ends; any number may hold it at once.

    For whoever locks something that a verb of this module would remove, before that: the other way
    round the two would wait for each other.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM merchant WHERE id = %s FOR KEY SHARE", [merchant_id])


def locked_install(actor: Actor, install_id: UUID, verb: Verb) -> Install:
    """The merchant's own install under its lock, for somebody who may do this to it."""
    lock_merchant(actor.merchant_id)
    row = Install.objects.for_merchant(actor.merchant_id).with_names().filter(pk=install_id).first()
    if row is None:
        raise ApiError("not_found")
    held = {*row.capability_versions, *row.integration.capabilities}
    actor.require(needed(verb, held), row.location_id)
    return row


def require_install(actor: Actor, integration: Integration, location_id: UUID | None) -> None:
    actor.require(needed(Verb.INSTALL, integration.capabilities), location_id)
    if location_id is not None and integration.is_merchant_wide:
        raise ApiError(
            "capability_unsupported",
            _("%(name)s is for all outlets at once. Install it for all outlets.")
            % {"name": integration.name},
        )


def find_location(merchant_id: UUID, location_id: UUID | None) -> Location | None:
    if location_id is None:
        return None
    location = Location.objects.filter(pk=location_id, merchant_id=merchant_id).first()
    if location is None:
        raise ApiError("not_found", no_such_outlet())
    return location


def no_such_outlet() -> str:
    return _("This merchant has no such outlet.")


def clean_config(
    integration: Integration,
    config: dict[str, Any],
    location_id: UUID | None,
    given: dict[str, Any],
) -> dict[str, Any]:
    """The settings as they may be saved there; `given` are those of them that somebody sets now."""
    place = "location" if location_id else "merchant"
    try:
        check_place(integration.config_schema, given, place)
        return validate_config(integration.config_schema, config, place)
    except ConfigError as error:
        raise ApiError("config_invalid", fields=error.fields) from None


def changed(row: Install, actor: Actor, action: str, data: dict[str, Any] | None = None) -> None:
    """What every change of an install brings: memories of it are old, and it is on record."""
    Merchant.touch(row.merchant_id)
    audit.record(action, actor=actor.label, install=row, data=data)


def wake_provisioning() -> None:
    wake("dispatch.tasks.provision_due")


def _new_row(
    actor: Actor,
    integration: Integration,
    location: Location | None,
    config: dict[str, Any],
    verdict: Verdict | None,
    grant: OAuthGrant | None = None,
) -> Install:
    row = Install(
        merchant_id=actor.merchant_id,
        integration=integration,
        location=location,
        config=config,
        capability_versions=integration.capabilities,
        installed_by=actor.label,
        grant=grant,
    )
    if needs_provisioning(integration.slug):
        row.connection = Connection.CONNECTING
        row.provision_due_at = timezone.now()
    verification.note(row, verdict)
    return row


def _add(actor: Actor, row: Install) -> Install:
    if row.integration.is_oauth:
        _take_grant(row)
    if Install.objects.of_others(row, row.external_merchant_id).exists():
        # The number that a row had before it left belongs to another merchant by now.
        row.external_merchant_id = ""
    row.save(force_insert=True)
    # Enough to know later who answered at any earlier moment.
    facts = {
        "location_id": str(row.location_id) if row.location_id else None,
        "capabilities": row.capability_versions,
        "enabled": row.is_enabled,
        "installed_at": row.installed_at.isoformat(),
        **({"account": row.grant.account} if row.grant else {}),
    }
    changed(row, actor, "install.created", facts)
    if row.provision_due_at:
        transaction.on_commit(wake_provisioning)
    return row


def _take_grant(row: Install) -> None:
    """Its grant, where that still stands; what comes back after it was revoked must be reconnected."""
    row.grant = grants.adopt(row.grant_id) if row.grant_id else None
    if row.grant is None:
        row.connection, row.connection_problem = Connection.FAILED, grants.NOT_CONNECTED


def _remove(actor: Actor, row: Install, *, undo: bool = False) -> None:
    """With `undo` its grant is kept until the offer to take this back is over."""
    changed(row, actor, "install.removed")
    Install.objects.filter(pk=row.pk).delete()
    if not undo:
        transaction.on_commit(partial(wake, "webhooks.tasks.cancel_deliveries", str(row.pk)))
    if row.grant_id:
        grants.release(row.grant_id, due_at=timezone.now() + plans.PLAN_LIFETIME if undo else None)


def _check_plan(actor: Actor, plan_id: UUID) -> Verdict | None:
    """The test of what a plan would install. Its settings never change, so it needs no lock."""
    plan = plans.find_plan(actor.merchant_id, plan_id)
    actor.require(Verb.INSTALL, plan.location_id)
    if plan.kind == InstallPlan.Kind.UNDO or not verification.has_test(plan.integration):
        return None
    given = plan.payload["config"]
    config = clean_config(plan.integration, given, plan.location_id, given)
    return verification.check(plan.integration, config)


def _swap(actor: Actor, state: State, plan: InstallPlan, verdict: Verdict | None) -> _Done:
    integration = installable(plan.integration)
    if plan.payload["capabilities"] != integration.capabilities:
        raise ApiError("plan_stale")
    require_install(actor, integration, plan.location_id)
    preview.refuse_twice(state, integration, plan.location_id)
    location = find_location(actor.merchant_id, plan.location_id)
    given = plan.payload["config"]
    config = clean_config(integration, given, plan.location_id, given)
    candidate = preview.candidate_of(integration, plan.location_id)
    after, evictions = preview.after_swap(state, candidate, plan.instead_of)
    if scope.conflicts(scope.without(after, [candidate.id]), candidate, list(state.locations)):
        raise ApiError("plan_stale")
    left = _take_out(actor, state, [item.id for way in evictions for item in way.removed])
    added = [
        _narrowed(actor, left[wide.id], item)
        for way in evictions
        for wide in way.removed
        for item in way.narrowed
        if wide.location is None
    ]
    row = _new_row(actor, integration, location, config, verdict)
    return _Done(list(left.values()), [*added, _add(actor, row)])


def _take_out(actor: Actor, state: State, ids: Iterable[UUID]) -> dict[UUID, dict[str, Any]]:
    """Remove the rows for as long as nobody takes it back; return what each was."""
    left = {}
    for row in [state.rows[pk] for pk in ids]:
        actor.require(Verb.UNINSTALL, row.location_id)
        left[row.pk] = plans.saved(row)
        _remove(actor, row, undo=True)
    return left


def _narrowed(actor: Actor, wide: dict[str, Any], item: scope.ScopedInstall) -> Install:
    """The merchant-wide row carried on at one location: same settings, same partner account, same
    items and people.
    """
    row = plans.restored(wide)
    row.id, row.location_id = item.id, item.location
    _add(actor, row)
    plans.give_mappings(row, [wide], is_same=False)
    return row


def _undo(actor: Actor, state: State, plan: InstallPlan) -> _Done:
    left = _take_out(actor, state, map(UUID, plan.payload["remove"]))
    added = []
    for kept in plan.payload["restore"]:
        row = plans.restored(kept)
        require_install(actor, row.integration, row.location_id)
        added.append(_add(actor, row))
        # What people have said meanwhile counts too.
        later = [item for item in left.values() if item["integration_id"] == kept["integration_id"]]
        plans.give_mappings(row, [kept, *later])
        plans.give_address(row, kept)
    return _Done(list(left.values()), added)


def _switch(actor: Actor, install_id: UUID, verb: Verb, *, is_enabled: bool) -> Install:
    with transaction.atomic():
        row = locked_install(actor, install_id, verb)
        if row.is_enabled != is_enabled:
            row.is_enabled, row.switched_at = is_enabled, timezone.now()
            row.save(update_fields=["is_enabled", "switched_at"])
            changed(row, actor, "install.enabled" if is_enabled else "install.disabled")
            if is_enabled:
                transaction.on_commit(
                    partial(wake, "webhooks.tasks.resume_deliveries", str(row.pk))
                )
            if is_enabled and row.provision_due_at:
                transaction.on_commit(wake_provisioning)
    return row
