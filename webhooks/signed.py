"""Whether a post is signed by a key that is accepted now, in the way of its integration.

Staff want to know who still signs with a key that has ended; senders must not be able to find out.
So the answer is the same, every key is tried on every post, and the use is counted only once the
sender has its answer.
"""

import logging
from collections.abc import Sequence
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.http import JsonResponse

from catalog.envelope import ApiError
from catalog.inbound_confirmation import Confirmation
from catalog.inbound_mapping import EventMapping
from catalog.inbound_parts import SignedRequest
from catalog.inbound_scheme import Kind, Scheme
from catalog.models import Integration
from dispatch.inbound_verifier import Verdict, verify
from installs import issuer
from installs.credentials import count_late_use, known_secrets

logger = logging.getLogger(__name__)

# Beside the reasons of the verifier: a key that has ended signed it, the provider would have to be
# asked, the documents of the catalog row can't be read.
ENDED, UNCONFIRMED, UNREADABLE = "ended_key", "unconfirmed", "documents"


class UnsignedError(ApiError):
    """No accepted key signed the body; `late` are ended secrets that did.

    `reason` and `part` are for staff alone: the sender is told neither.
    """

    def __init__(self, late: Sequence[UUID], reason: str, part: str = "") -> None:
        super().__init__("invalid_signature")
        self.late = late
        self.reason = reason
        self.part = part

    def response(self) -> JsonResponse:
        response = AnsweredFirst(self.body(), status=self.status)
        response.late = self.late
        return response


class AnsweredFirst(JsonResponse):
    late: Sequence[UUID] = ()

    def close(self) -> None:
        """Called by the server when the whole answer has been sent."""
        try:
            if self.late:
                count_late_use(self.late)
        except DatabaseError:
            logger.exception("The use of an ended secret was not counted")
        finally:
            super().close()


def documents_of(integration: Integration) -> tuple[Scheme, EventMapping | None]:
    """How the integration signs and where its fields stand; what can't be read lets nobody in."""
    try:
        return integration.inbound_scheme, integration.event_mapping
    except ValidationError as error:
        logger.error("Webhooks of %s are refused: %s", integration.slug, "; ".join(error.messages))
        raise UnsignedError([], UNREADABLE) from None


def require_signed(integration: Integration, scheme: Scheme, request: SignedRequest) -> None:
    """Refuse with 401 `invalid_signature` what no accepted key has signed.

    What a scheme leaves open for the provider to confirm is not believed by this alone.
    """
    has_keys = scheme.kind not in {Kind.ISSUED, Kind.NONE}
    known = known_secrets(integration.slug, scheme.purpose) if has_keys else []
    verdict = verify(
        scheme,
        request,
        [item.key for item in known],
        is_issued=issuer.checker_for(integration.pk),
    )
    signers = [known[place] for place in verdict.signers]
    is_accepted = not has_keys or any(item.is_accepted for item in signers)
    if verdict.is_refused or not is_accepted:
        late = [item.id for item in signers if not item.is_accepted]
        raise UnsignedError(late, _reason(verdict, late), verdict.part)


def _reason(verdict: Verdict, late: Sequence[UUID]) -> str:
    if verdict.reason is not None:
        return verdict.reason
    return ENDED if late else UNCONFIRMED


def confirmation_of(integration: Integration) -> Confirmation:
    """How the provider is asked; where nobody can be asked, nobody is believed."""
    try:
        question = integration.confirmation
    except ValidationError as error:
        logger.error("Webhooks of %s are refused: %s", integration.slug, "; ".join(error.messages))
        raise UnsignedError([], UNREADABLE) from None
    if question is None:
        raise UnsignedError([], UNCONFIRMED)
    return question
