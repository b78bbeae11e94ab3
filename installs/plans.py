"""Plans: changes that were shown to somebody and may be carried out while nothing else has changed.

`lifecycle.swap` keeps the promise or refuses it as stale.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from catalog.envelope import ApiError
from catalog.models import Integration
from installs.models import IdMapping, InboundAddress, Install, InstallPlan, MappingState
from installs.state import State

PLAN_LIFETIME = timedelta(minutes=30)


def make_plan(
    state: State,
    integration: Integration,
    location_id: UUID | None,
    config: dict[str, Any],
    *,
    instead_of: Sequence[str],
    actor: str,
) -> InstallPlan:
    return InstallPlan.objects.create(
        merchant_id=state.merchant_id,
        integration=integration,
        location_id=location_id,
        payload={"config": config, "capabilities": integration.capabilities},
        instead_of=list(instead_of),
        fingerprint=state.fingerprint(),
        created_by=actor,
        expires_at=timezone.now() + PLAN_LIFETIME,
    )


def find_plan(merchant_id: UUID, plan_id: UUID) -> InstallPlan:
    """A plan of the merchant that may still be carried out; 404 for another merchant's, 412 else."""
    plan = InstallPlan.objects.select_related("integration").filter(
        pk=plan_id, merchant_id=merchant_id
    )
    row = plan.first()
    if row is None:
        raise ApiError("not_found")
    if row.used_at is not None or row.expires_at <= timezone.now():
        raise ApiError("plan_stale")
    return row


def close(plan: InstallPlan) -> None:
    """Nobody can carry it out any more, and the settings in it are gone."""
    plan.used_at = timezone.now()
    plan.payload = {}
    plan.save(update_fields=["used_at", "payload"])


def close_all(merchant_id: UUID) -> None:
    for plan in InstallPlan.objects.filter(merchant_id=merchant_id, used_at=None):
        close(plan)


def close_expired() -> int:
    """Empty the plans that nobody carried out in time; return how many."""
    expired = InstallPlan.objects.filter(used_at=None, expires_at__lte=timezone.now())[:1000]
    for plan in expired:
        close(plan)
    return len(expired)


def make_undo_plan(
    state: State, done: InstallPlan, left: list[dict[str, Any]], added: Iterable[Install]
) -> InstallPlan:
    """The plan that takes back what was just done: what came goes, what left comes back as it was."""
    return InstallPlan.objects.create(
        kind=InstallPlan.Kind.UNDO,
        merchant_id=state.merchant_id,
        integration=done.integration,
        location_id=done.location_id,
        payload={
            "restore": left,
            "remove": [str(row.pk) for row in added],
        },
        fingerprint=state.fingerprint(),
        created_by=done.created_by,
        expires_at=timezone.now() + PLAN_LIFETIME,
    )


KEPT = (
    "is_enabled",
    "config",
    "capability_versions",
    "external_merchant_id",
    "connection",
    "connection_problem",
    "provision_attempts",
    "installed_by",
)
KEPT_IDS = ("id", "merchant_id", "integration_id", "location_id", "grant_id")
KEPT_TIMES = ("config_changed_at", "provision_due_at", "outbound_off_at", "installed_at")
MAPPING_KEPT = ("kind", "external_id", "name", "posz_id", "state", "events")
MAPPING_TIMES = ("first_seen_at", "last_seen_at")


def saved(row: Install) -> dict[str, Any]:
    """An install that is there as plain data, with its settings and with what goes when it goes: only
    for an encrypted payload.
    """
    data = {name: getattr(row, name) for name in KEPT}
    data |= {name: str(getattr(row, name) or "") for name in KEPT_IDS}
    for name in KEPT_TIMES:
        moment = getattr(row, name)
        data[name] = moment.isoformat() if moment else ""
    mappings = IdMapping.objects.filter(install=row).order_by("first_seen_at", "pk")
    data["mappings"] = [_saved_mapping(item) for item in mappings]
    address = InboundAddress.objects.filter(install=row).first()
    data["address"] = [address.digest, address.made_at.isoformat()] if address else []
    return data


def _saved_mapping(row: IdMapping) -> dict[str, Any]:
    times = {name: getattr(row, name).isoformat() for name in MAPPING_TIMES}
    return {name: getattr(row, name) for name in MAPPING_KEPT} | times


def restored(data: dict[str, Any]) -> Install:
    """The install that `saved` described, not yet written."""
    values = {name: data[name] for name in KEPT}
    values |= {name: UUID(data[name]) if data.get(name) else None for name in KEPT_IDS}
    for name in KEPT_TIMES:
        values[name] = datetime.fromisoformat(data[name]) if data[name] else None
    return Install(**values)


def give_mappings(row: Install, kept: Iterable[dict[str, Any]], *, is_same: bool = True) -> None:
    """Give a new row the mappings of those that `saved` described; of the same id the last resolved one.

    Where the row is not the same again, no event waits for its open ones: a partner's next event puts
    those on record.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for data in kept:
        for item in data.get("mappings", []):
            key = item["kind"], item["external_id"]
            if item["state"] != MappingState.OPEN or (is_same and key not in found):
                found[key] = item
    IdMapping.objects.bulk_create(
        [IdMapping(install=row, **_restored_mapping(item)) for item in found.values()],
        batch_size=1_000,
    )


def _restored_mapping(data: dict[str, Any]) -> dict[str, Any]:
    return data | {name: datetime.fromisoformat(data[name]) for name in MAPPING_TIMES}


def give_address(row: Install, kept: dict[str, Any]) -> None:
    """Let the webhook address that the row had lead to it again."""
    if kept.get("address"):
        digest, made_at = kept["address"]
        InboundAddress.objects.create(
            install=row, digest=digest, made_at=datetime.fromisoformat(made_at)
        )
