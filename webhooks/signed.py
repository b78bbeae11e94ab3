"""Whether a post is signed by a key that is accepted now.

Staff want to know who still signs with a key that has ended; senders must not be able to find out.
So the answer is the same, every key is tried on every post, and the use is counted only once the
sender has its answer.
"""

import logging
from collections.abc import Sequence
from uuid import UUID

from django.db import DatabaseError
from django.http import JsonResponse

from catalog.envelope import ApiError
from dispatch.signing import is_signed
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


def require_signed(slug: str, body: bytes, signature: str | None) -> None:
    """Refuse with 401 `invalid_signature` what no accepted inbound key has signed."""
    known = known_secrets(slug, "inbound")
    signers = [item for item in known if is_signed(body, signature, [item.key])]
    if not any(item.is_accepted for item in signers):
        raise UnsignedError([item.id for item in signers])
