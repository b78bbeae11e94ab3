"""The seam to the network: what the connect flow asks of a partner's OAuth server, and who asks.

The code that speaks HTTP lives in an app that this one must not know; it announces itself at start-up.
None of these calls may be made inside a transaction.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from django.core.exceptions import ImproperlyConfigured

from catalog.models import Integration


class OAuthError(Exception):
    """An answer of the partner that gives no token. `code` is a short machine word, no secret."""

    def __init__(self, code: str, *, is_final: bool = False) -> None:
        self.code = code
        # Final: the partner will never take this code or this refresh token again.
        self.is_final = is_final
        super().__init__(code)


@dataclass(frozen=True, slots=True)
class Tokens:
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False, default="")
    expires_in: int | None = None
    # None: the partner did not say, which means those that were asked for.
    scopes: tuple[str, ...] | None = None
    account_id: str = ""
    account_name: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    id: str
    name: str


class OAuthClient(ABC):
    @abstractmethod
    def exchange(
        self, integration: Integration, *, code: str, verifier: str, redirect_uri: str
    ) -> Tokens:
        """A code for tokens, once. With the account where the token answer names it."""

    @abstractmethod
    def account(self, integration: Integration, tokens: Tokens) -> Account:
        """Whose account the tokens open."""

    @abstractmethod
    def refresh(self, integration: Integration, refresh_token: str) -> Tokens:
        """New tokens. A final error means that only the merchant can mend it."""

    @abstractmethod
    def revoke(self, integration: Integration, tokens: dict[str, str]) -> None:
        """Ask the partner to forget the tokens; nothing where it offers no way to."""


_announced: list[OAuthClient] = []


def announce_oauth_client(client: OAuthClient) -> None:
    _announced[:] = [client]


def oauth_client() -> OAuthClient:
    if not _announced:
        raise ImproperlyConfigured("No code that speaks OAuth was announced.")
    return _announced[0]
