"""The seam to the network: what signing in asks of a merchant's OpenID Connect provider, and who asks.

The code that speaks HTTP lives in an app that this one must not know; it announces itself at start-up.
None of these calls may be made inside a transaction.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured


class ProviderError(Exception):
    """No sign-in came of it. `code` is a short machine word; nothing of a token or a secret."""

    def __init__(self, code: str, *, is_down: bool = False) -> None:
        self.code = code
        # The provider does not answer, or says itself that it is broken.
        self.is_down = is_down
        super().__init__(code)


@dataclass(frozen=True, slots=True)
class Service:
    """Posz as a client of one provider."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Secrets:
    """What one trip proves itself by when it comes back."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a checked ID token says. `everything` holds all of its claims, for those with other names."""

    subject: str
    email: str
    is_email_verified: bool
    name: str
    everything: Mapping[str, Any] = field(repr=False)


class IdentityProvider(ABC):
    @abstractmethod
    def departure(self, service: Service, secrets: Secrets, redirect_uri: str) -> str:
        """The address of the provider's sign-in page."""

    @abstractmethod
    def check_issuer(self, service: Service, told: str | None) -> None:
        """Refuse an answer that another server gave: `told` is its `iss`, where it sent one."""

    @abstractmethod
    def claims(self, service: Service, secrets: Secrets, redirect_uri: str, code: str) -> Claims:
        """A code for an ID token, once, and what that says after every check."""

    @abstractmethod
    def is_down(self, service: Service) -> bool:
        """Whether nobody can sign in there at the moment, because it does not answer."""


_announced: list[IdentityProvider] = []


def announce_identity_provider(provider: IdentityProvider) -> None:
    _announced[:] = [provider]


def identity_provider() -> IdentityProvider:
    if not _announced:
        raise ImproperlyConfigured("No code that speaks OpenID Connect was announced.")
    return _announced[0]
