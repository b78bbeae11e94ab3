"""Sign-in rules for allauth: accounts come from Posz, and second-factor secrets are encrypted."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.http import HttpRequest, HttpResponse

from installs.fields import crypter
from installs.models import User
from installs.signing_in import instead_of_password


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def pre_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse | None:
        """A right password is not enough where a merchant has a sign-in service of its own."""
        refused: HttpResponse | None = super().pre_login(request, user, **kwargs)
        return refused or instead_of_password(request, user)


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    def encrypt(self, text: str) -> str:
        return crypter().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return crypter().decrypt(encrypted_text.encode()).decode()
