"""The door of an install's connection to its partner: who has heard of the merchant, and who has not.

A partner that is down does not undo an install. It is kept as connecting, tried again on the ladder,
and shown to the merchant; workers report here what came of it.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from catalog.capabilities import needs_provisioning
from catalog.envelope import ApiError
from catalog.models import Integration
from catalog.verification import Verdict, verify
from installs import audit, verification
from installs.access import Actor, Verb
from installs.ladder import next_attempt_at
from installs.lifecycle import changed, lock_merchant, locked_install, wake_provisioning
from installs.models import Connection, Install, Merchant

# Long enough for one call to the partner; a worker that died gives the row back after it.
PROVISION_LEASE = timedelta(seconds=60)


def reconnect(actor: Actor, install_id: UUID) -> Install:
    """Ask the partner again now, with a fresh ladder."""
    with transaction.atomic():
        row = locked_install(actor, install_id, Verb.TEST)
        schedule_provisioning([row])
        audit.record("install.reconnect_asked", actor=actor.label, install=row)
    return row


def test(actor: Actor, install_id: UUID) -> Verdict:
    """Ask the partner now whether the saved key is right, and note the answer on the install.

    Refused with `capability_unsupported` where the integration declares no such test.
    """
    row = Install.objects.for_merchant(actor.merchant_id).with_names().filter(pk=install_id).first()
    if row is None:
        raise ApiError("not_found")
    actor.require(Verb.TEST, row.location_id)
    if not verification.has_test(row.integration):
        raise ApiError(
            "capability_unsupported", _("This integration has no test of its connection.")
        )
    tested = row.config
    verdict = verify(row.integration, tested)
    with transaction.atomic():
        row = locked_install(actor, install_id, Verb.TEST)
        if row.config == tested:
            verification.note(row, verdict)
            row.save(update_fields=verification.NOTED)
            Merchant.touch(row.merchant_id)
        problem = {} if verdict.is_ok else {"problem": str(verdict.outcome)}
        audit.record("install.tested", actor=actor.label, install=row, data=problem)
    return verdict


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


def name_at_partner(actor: Actor, install_id: UUID, number: str) -> Install:
    """Note by which number the partner knows the merchant; an empty one is forgotten.

    Events that name the number come to this install, so only staff may say it: a merchant could
    claim the events of another one. A merchant's installs may share a number. Refused with
    `config_invalid` where another merchant has it, without a word about whom.
    """
    with transaction.atomic():
        row = locked_install(actor, install_id, Verb.CONFIGURE)
        if is_taken(row, number):
            message = _("This number can’t be used here. Check it with the partner.")
            raise ApiError("config_invalid", message)
        if row.external_merchant_id != number:
            row.external_merchant_id = number
            row.save(update_fields=["external_merchant_id"])
            changed(row, actor, "install.numbered", {"external_merchant_id": number})
    return row


def is_taken(row: Install, number: str) -> bool:
    """Whether another merchant has this number at the partner, until the transaction ends.

    Waits for whoever is giving a number of this integration at this moment.
    """
    Integration.objects.select_for_update(no_key=True).get(pk=row.integration_id)
    return Install.objects.of_others(row, number).exists()


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

    With a lease, a wish for another round that came in meanwhile is kept. A number that the partner
    has for another merchant is a failure: events would reach the wrong one.
    """
    with transaction.atomic():
        row = _row_for_worker(install_id)
        if row is None:
            return
        if is_taken(row, external_merchant_id):
            provisioning_failed(install_id, "number_taken", is_final=True)
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
        Merchant.touch(row.merchant_id)
        audit.record("install.endpoint_gone", actor=row.integration.slug, install=row)


def turn_outbound_on(actor: Actor, install_id: UUID) -> Install:
    """Send events again where the partner had closed its address and has opened it since."""
    with transaction.atomic():
        row = locked_install(actor, install_id, Verb.ENABLE)
        if row.outbound_off_at is not None:
            row.outbound_off_at = None
            row.save(update_fields=["outbound_off_at"])
            changed(row, actor, "install.endpoint_opened")
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
