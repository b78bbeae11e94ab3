"""Bearer tokens of tills and scripts: who is calling, and for which merchants it may speak."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from catalog.envelope import ApiError
from catalog.prepared import as_uuid, fetch_row
from installs.access import Actor
from installs.models import ApiToken

LIVE = "SELECT id, name, role, merchant_id FROM api_token WHERE digest = %s AND revoked_at IS NULL"


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal behind a token; DRF calls it the user."""

    token_id: UUID
    name: str
    role: str
    merchant_id: UUID | None
    is_authenticated: bool = True

    @property
    def pk(self) -> UUID:
        return self.token_id

    def merchant(self, merchant_id: UUID | None) -> UUID:
        """The merchant a request is about.

        A bound token may leave it out. Another merchant's id is answered like an unknown one.
        """
        chosen = merchant_id or self.merchant_id
        if chosen is None:
            raise ApiError("invalid_payload", fields={"merchant_id": [_("Say which merchant.")]})
        if self.merchant_id is not None and chosen != self.merchant_id:
            raise ApiError("not_found")
        return chosen

    def actor(self, merchant_id: UUID) -> Actor:
        return Actor(merchant_id, f"token:{self.name}", self.role)


def caller_with(digest: str) -> Caller | None:
    """Whoever holds the token of this digest; None where there is none, or none any more."""
    row = fetch_row(LIVE, [digest])
    if row is None:
        return None
    token_id, name, role, merchant_id = row
    return Caller(as_uuid(token_id), name, role, merchant_id and as_uuid(merchant_id))


class BearerAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        parts = get_authorization_header(request).split()
        if not parts:
            return None
        if len(parts) != 2 or parts[0].lower() != b"bearer":
            raise AuthenticationFailed
        caller = caller_with(ApiToken.digest_of(parts[1].decode("latin-1")))
        if caller is None:
            raise AuthenticationFailed
        return caller, None

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return "Bearer"


def caller_of(request: Any) -> Caller:
    caller = request.user
    if not isinstance(caller, Caller):
        raise ApiError("unauthenticated")
    return caller
