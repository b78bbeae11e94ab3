"""Asks providers whether what was posted in their name is true, and makes events of what they answer.

A hint is claimed by a conditional update, asked about without a lock, and finished only if nobody has
posted it again meanwhile. The event is stored before its hint is finished, under the id that the
provider gives it: a worker that dies in between asks again, and finds the event known.
"""

import logging
from collections import defaultdict
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from catalog.envelope import ApiError
from catalog.inbound_confirmation import Confirmation
from catalog.inbound_events import ParsedEvent, read_events
from dispatch import confirmation
from dispatch.breaker import Breaker
from dispatch.confirmation import NoAnswerError, RefusedError
from installs import outlets
from installs.ladder import next_attempt_at
from installs.models import Install
from webhooks import inbound
from webhooks.addressee import find_install, installs_named
from webhooks.models import Hint, HintQuerySet, HintStatus
from webhooks.signed import UnsignedError, confirmation_of

logger = logging.getLogger(__name__)

SWEEP_SIZE = 200
# Longer than any question takes.
LEASE = timedelta(seconds=60)
KEPT_REFUSED = timedelta(days=3)
KEPT = timedelta(days=30)
MERCHANT_FIELDS = ("merchant_id", "external_merchant_id", "external_location_id")


class OtherMerchantError(Exception):
    """What the provider tells is not about the merchant in whose name it was asked."""


def _breaker() -> Breaker:
    seconds = settings.DISPATCH_BREAKER_OPEN_FOR.total_seconds()
    return Breaker(settings.DISPATCH_BREAKER_FAILURES, seconds)


# Of this process, by integration: a provider that hangs must not hold all workers.
_breakers: defaultdict[UUID, Breaker] = defaultdict(_breaker)


def confirm_due() -> int:
    """Ask about what is due; what waits for a provider that is down is left for later."""
    left_out: set[UUID] = set()
    asked = 0
    while asked < SWEEP_SIZE:
        due = Hint.objects.due(timezone.now()).exclude(integration__in=left_out)
        hint = due.select_related("integration").first()
        if hint is None:
            break
        if not _breakers[hint.integration_id].allows():
            left_out.add(hint.integration_id)
        elif _claim(hint):
            asked += 1
            _confirm(hint)
    return asked


def prune() -> int:
    """Erase hints that nobody will ask for: after three days the refused ones, then the others."""
    now = timezone.now()
    settled = Hint.objects.exclude(status=HintStatus.RECEIVED)
    refused = settled.filter(status=HintStatus.REFUSED, posted_at__lt=now - KEPT_REFUSED)
    return refused.delete()[0] + settled.filter(posted_at__lt=now - KEPT).delete()[0]


def _claim(hint: Hint) -> bool:
    """Take it for a minute, unless somebody else was quicker."""
    until = timezone.now() + LEASE
    mine = Hint.objects.filter(pk=hint.pk, status=HintStatus.RECEIVED, due_at=hint.due_at)
    if not mine.update(due_at=until, asked_at=timezone.now()):
        return False
    hint.refresh_from_db(fields=["posts", "attempts", "values", "due_at"])
    return True


def _confirm(hint: Hint) -> None:
    breaker = _breakers[hint.integration_id]
    try:
        _accept(hint)
    except RefusedError:
        breaker.succeeded()
        _finish(hint, HintStatus.REFUSED, "refused")
    except OtherMerchantError:
        breaker.succeeded()
        _finish(hint, HintStatus.QUARANTINED, "other_merchant")
    except ApiError as error:
        breaker.succeeded()
        _refused_by_us(hint, error)
    except NoAnswerError as error:
        breaker.failed() if error.is_down else breaker.succeeded()
        _try_later(hint, error.code)
    except Exception:
        logger.exception("Hint %s could not be asked about", hint.pk)
        _try_later(hint, "internal")
    else:
        breaker.succeeded()
        _finish(hint, HintStatus.CONFIRMED, "", values={})


def _accept(hint: Hint) -> None:
    integration = hint.integration
    if not integration.is_running:
        raise ApiError("integration_disabled")
    try:
        question = confirmation_of(integration)
    except UnsignedError:
        raise NoAnswerError("our_side") from None
    owner = _owner(hint, question)
    answer = confirmation.ask(integration, question, hint.values, owner)
    try:
        found = read_events(question.mapping, answer.headers, answer.body)
    except ApiError:
        raise NoAnswerError("nonsense") from None
    events = [_whose(hint, question, event, owner) for event in found]
    inbound.accept_confirmed(integration, events, answer.body)


def _owner(hint: Hint, question: Confirmation) -> Install | None:
    """The install at whose address it was posted, or with whose key the provider is asked."""
    rows = Install.objects.with_names()
    if hint.install_id is not None:
        owner = rows.filter(pk=hint.install_id).first()
        if owner is None:
            raise ApiError("integration_not_installed")
    elif question.is_asked_for_merchant:
        owner = _install_of(hint, _claimed(hint), is_proved=False)
    else:
        return None
    if not owner.is_enabled:
        raise ApiError("integration_disabled")
    return owner


def _claimed(hint: Hint) -> ParsedEvent:
    """The hint as an event whose every field may be made up."""
    return ParsedEvent(
        event_id=hint.claimed_id,
        type=hint.claimed_type,
        provider_type=hint.claimed_type,
        merchant_id=_uuid(hint.named.get("merchant_id")),
        external_merchant_id=hint.named.get("external_merchant_id"),
        location_id=_uuid(hint.named.get("location_id")),
        external_location_id=hint.named.get("external_location_id"),
    )


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None


def _install_of(hint: Hint, event: ParsedEvent, *, is_proved: bool) -> Install:
    placed = outlets.placed(hint.integration, event, is_proved=is_proved)
    present = installs_named(hint.integration, placed.merchant_id, placed.external_merchant_id)
    return find_install(hint.integration, placed, present)


def _whose(
    hint: Hint, question: Confirmation, event: ParsedEvent | ApiError, owner: Install | None
) -> ParsedEvent:
    """The event with the merchant that it is about, as far as that is proved.

    The provider says it, or it was asked with the merchant's own key, which opens nothing else. An
    address of an install alone proves it only if the question needs no key: with a key of Posz the
    provider would answer about any merchant.
    """
    if isinstance(event, ApiError):
        raise NoAnswerError("nonsense")
    event = _with_hint(hint, question, event)
    is_named = any(getattr(event, name) is not None for name in MERCHANT_FIELDS)
    if owner is None:
        if not is_named:
            raise OtherMerchantError
        return event
    is_own = question.is_asked_for_merchant or question.auth["as"] == "none"
    if is_named and not question.is_asked_for_merchant:
        if _install_of(hint, event, is_proved=True).merchant_id != owner.merchant_id:
            raise OtherMerchantError
        return event
    if not is_own:
        raise OtherMerchantError
    return _of_owner(event, owner)


def _of_owner(event: ParsedEvent, owner: Install) -> ParsedEvent:
    """Of the owner's merchant whatever number stands there; its outlet where that is known."""
    outlet = None
    if event.external_location_id is not None:
        number = event.external_location_id
        outlet = outlets.outlet_of(owner.integration, owner.merchant_id, number)
    return event._replace(
        merchant_id=owner.merchant_id,
        external_merchant_id=None,
        location_id=outlet.pk if outlet else owner.location_id,
        external_location_id=None,
    )


def _with_hint(hint: Hint, question: Confirmation, event: ParsedEvent) -> ParsedEvent:
    claimed = _claimed(hint)
    taken = {
        name: getattr(claimed, name)
        for name in question.from_hint
        if getattr(event, name) is None and getattr(claimed, name) is not None
    }
    return event._replace(**taken)


# What became of it


def _refused_by_us(hint: Hint, error: ApiError) -> None:
    if error.code == "rate_limited":
        due_at = timezone.now() + timedelta(seconds=error.retry_after or 1)
        _mine(hint).update(due_at=due_at)
    else:
        _finish(hint, HintStatus.QUARANTINED, error.code)


def _finish(hint: Hint, status: HintStatus, problem: str, **more: object) -> None:
    """Only if the post that was asked about is still the last one; else it is asked about again."""
    done = _mine(hint).filter(posts=hint.posts).update(status=status, problem=problem, **more)
    if not done:
        _mine(hint).update(due_at=timezone.now())


def _try_later(hint: Hint, problem: str) -> None:
    due_at = next_attempt_at(hint.attempts + 1, timezone.now())
    _mine(hint).update(
        attempts=F("attempts") + 1,
        problem=problem,
        status=HintStatus.RECEIVED if due_at else HintStatus.QUARANTINED,
        due_at=due_at or hint.due_at,
    )


def _mine(hint: Hint) -> HintQuerySet:
    return Hint.objects.filter(pk=hint.pk, status=HintStatus.RECEIVED, due_at=hint.due_at)
