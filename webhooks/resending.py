"""Who may send finished deliveries again, and what came of it: pages and staff call this."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from installs import audit
from installs.access import Actor, Verb
from installs.models import Install
from webhooks import outbound
from webhooks.models import Delivery, DeliveryStatus


@dataclass(slots=True)
class Resent:
    """Deliveries that go out again, and the refusals of the others, each said once."""

    rows: list[Delivery] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)


def resend(actor: Actor, rows: Iterable[Delivery]) -> Resent:
    """Replay what may be replayed; a refusal of one does not hold up the others.

    Each install's part is on record in the audit log once, with how many it was.
    """
    done = Resent()
    for row in rows:
        if row.status == DeliveryStatus.PENDING:
            done.refusals[_("It is still on its way, so there is nothing to send again.")] += 1
            continue
        try:
            actor.require(Verb.REPLAY, row.event.location_id)
            outbound.replay(row)
        except ApiError as error:
            done.refusals[error.message] += 1
        else:
            done.rows.append(row)
    _record(actor, done.rows)
    return done


def _record(actor: Actor, rows: list[Delivery]) -> None:
    counts: Counter[UUID] = Counter(row.install_id for row in rows)
    for install in Install.objects.with_names().filter(pk__in=counts).in_order():
        audit.record(
            "delivery.replayed",
            actor=actor.label,
            install=install,
            data={"deliveries": counts[install.pk]},
        )
