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
from catalog.inbound_mapping import EventMapping
from catalog.inbound_parts import SignedRequest
from catalog.inbound_scheme import Scheme
from catalog.models import Integration
from dispatch.inbound_verifier import verify
from installs.credentials import count_late_use, known_secrets

logger = logging.getLogger(__name__)


class UnsignedError(ApiError):
    """No accepted key signed the body; `late` are ended secrets that did."""

    def __init__(self, late: Sequence[UUID]) -> None:
        super().__init__("invalid_signature")
        self.late = late

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
        raise UnsignedError([]) from None


def require_signed(slug: str, scheme: Scheme, request: SignedRequest) -> None:
    """Refuse with 401 `invalid_signature` what no accepted key has signed.

    Also what the provider would have to confirm: nobody can be asked yet, so it is not believed.
    """
    known = known_secrets(slug, scheme.purpose)
    verdict = verify(scheme, request, [item.key for item in known])
    signers = [known[place] for place in verdict.signers]
    if not verdict.is_signed or not any(item.is_accepted for item in signers):
        raise UnsignedError([item.id for item in signers if not item.is_accepted])
