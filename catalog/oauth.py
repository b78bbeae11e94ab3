"""What a catalog row says of a partner's OAuth 2.0 server, checked when staff save it and read back
as one dataclass. No secret is in it: the client secret is kept with the integration's other keys.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from catalog.addresses import check_url

REQUIRED = ("authorize_url", "token_url", "client_id")
URLS = ("authorize_url", "token_url", "revoke_url")
KNOWN = frozenset({*REQUIRED, *URLS, "account", "scopes", "token_auth", "issuer"})
TOKEN_AUTH = ("basic", "post")
# https://www.rfc-editor.org/rfc/rfc6749#section-3.3
SCOPE = re.compile(r"[!#-\[\]-~]{1,200}")
# Slashes and names: https://www.rfc-editor.org/rfc/rfc6901 without its escapes.
POINTER = re.compile(r"(?:/[A-Za-z0-9_.-]{1,80}){1,6}")
LONGEST = 500


@dataclass(frozen=True, slots=True)
class OAuthSettings:
    """`account_url` empty: the account is in the token answer, at `account_pointer`.

    `issuer` set: the partner names itself in every callback, and one that does not is refused.
    """

    authorize_url: str
    token_url: str
    client_id: str
    account_pointer: str
    account_url: str = ""
    account_name_pointer: str = ""
    revoke_url: str = ""
    scopes: tuple[str, ...] = ()
    token_auth: str = "basic"  # noqa: S105 - the name of a method
    issuer: str = ""


def oauth_settings(value: dict[str, Any]) -> OAuthSettings:
    account = value["account"]
    return OAuthSettings(
        authorize_url=value["authorize_url"],
        token_url=value["token_url"],
        client_id=value["client_id"],
        account_pointer=account["pointer"],
        account_url=account.get("url", ""),
        account_name_pointer=account.get("name_pointer", ""),
        revoke_url=value.get("revoke_url", ""),
        scopes=tuple(value.get("scopes", ())),
        token_auth=value.get("token_auth", "basic"),
        issuer=value.get("issuer", ""),
    )


def check_oauth_settings(value: Any) -> None:
    if not isinstance(value, dict):
        raise ValidationError(_("Write an object."))
    for problem in _problems(value):
        raise problem
    for name in URLS:
        if value.get(name):
            check_url(value[name])
    if value["account"].get("url"):
        check_url(value["account"]["url"])


def _problems(value: dict[str, Any]) -> Iterator[ValidationError]:
    for name in REQUIRED:
        if not _is_text(value.get(name)):
            yield ValidationError(_("OAuth needs “%(key)s”.") % {"key": name})
    for name in sorted(value.keys() - KNOWN):
        yield ValidationError(_("OAuth settings have no “%(key)s”.") % {"key": name})
    for name in ("revoke_url", "issuer"):
        if name in value and not _is_text(value[name]):
            yield ValidationError(_("“%(key)s” must be a text.") % {"key": name})
    if value.get("token_auth", "basic") not in TOKEN_AUTH:
        yield ValidationError(_("“token_auth” is “basic” or “post”."))
    scopes = value.get("scopes", [])
    if not isinstance(scopes, list) or not all(
        isinstance(item, str) and SCOPE.fullmatch(item) for item in scopes
    ):
        yield ValidationError(_("“scopes” is a list of names without spaces."))
    if not _is_account(value.get("account")):
        yield ValidationError(
            _(
                "“account” says where the partner’s account id stands, such as "
                '{"url": "https://api.example.com/me", "pointer": "/id"}; without a url it is read '
                "from the token answer. “name_pointer” may name the account for people."
            )
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST


def _is_account(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() - {"url", "pointer", "name_pointer"}:
        return False
    pointers = [value.get("pointer"), value.get("name_pointer", "/x")]
    return all(isinstance(item, str) and POINTER.fullmatch(item) for item in pointers) and (
        "url" not in value or _is_text(value["url"])
    )


def at_pointer(document: Any, pointer: str) -> str:
    """The text or number that stands there, as text; empty where nothing usable does."""
    for name in pointer.split("/")[1:]:
        if isinstance(document, list) and name.isascii() and name.isdigit():
            index = int(name[:6])
            document = document[index] if index < len(document) else None
        else:
            document = document.get(name) if isinstance(document, dict) else None
    if type(document) is int:
        return str(document)
    return document if isinstance(document, str) and document.isprintable() else ""
