"""What staff declare about a key that each merchant pastes: how a call is authenticated with it
(`request_auth`), and the request that shows whether it is right (`verification_request`).

Both are documents on the catalog row, checked here. The asking is done by an app to the right, which
announces itself, so that those who save settings can test them without knowing the network.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from catalog.addresses import check_url

if TYPE_CHECKING:
    from catalog.models import Integration

MAX_HEADERS = 20
MAX_TEXT = 2_000
MAX_DEPTH = 8

PLACEHOLDER = re.compile(r"\{config\.([a-z][a-z0-9_]{0,63})\}")
BRACES = re.compile(r"[{}]")
PATH = re.compile(r"/(?!/)[!-~]*")
# Everything up to the path belongs to staff: a merchant's text must not choose the host.
FULL_URL = re.compile(r"https?://[^/?#{}]+[/?][!-~]*", re.IGNORECASE)
HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,99}")
HEADER_TEXT = re.compile(r"[ -~]*")
FRAMING_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"}
)
METHODS = ("GET", "POST")
ACCEPT, WRONG_KEY = [200], [401, 403]
KEYS = frozenset({"method", "path", "headers", "body", "accept", "wrong_key"})
SCHEMES: dict[str, frozenset[str]] = {
    "bearer": frozenset({"field"}),
    "header": frozenset({"name", "field"}),
    "basic": frozenset({"user_field", "password_field"}),
    "jwt": frozenset({"field", "issuer", "audience"}),
    "platform_jwt": frozenset({"issuer", "audience"}),
    "client_credentials": frozenset(
        {"token_url", "scope", "client_id_field", "client_secret_field"}
    ),
}
# What of a scheme is no name of a setting but a text of its own.
PLAIN_KEYS = frozenset({"name", "issuer", "audience", "token_url", "scope"})


class Outcome(StrEnum):
    OK = "ok"
    FOUND = "found"
    WRONG_KEY = "wrong_key"
    WRONG_ADDRESS = "wrong_address"
    PARTNER_DOWN = "partner_down"
    OUR_SIDE = "our_side"


SENTENCES: dict[Outcome, Promise] = {
    Outcome.OK: gettext_lazy("The connection works: %(name)s accepted your key."),
    Outcome.FOUND: gettext_lazy(
        "Your provider answers and publishes its keys. Sign in once to try the rest."
    ),
    Outcome.WRONG_KEY: gettext_lazy(
        "%(name)s does not accept this key. It is your turn: copy the key from %(name)s again."
    ),
    Outcome.WRONG_ADDRESS: gettext_lazy(
        "No sign-in service calls itself by this address. It is your turn: copy the issuer from your "
        "provider again, exactly as it stands there."
    ),
    Outcome.PARTNER_DOWN: gettext_lazy(
        "%(name)s can’t be reached at the moment, so your key could not be tested. It is their "
        "turn; try again later."
    ),
    Outcome.OUR_SIDE: gettext_lazy(
        "Posz could not run this test. It is our turn, and there is nothing you have to do."
    ),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a test, in words that hold nothing of what the partner said."""

    outcome: Outcome
    name: str = ""

    @property
    def is_ok(self) -> bool:
        return self.outcome in (Outcome.OK, Outcome.FOUND)

    @property
    def message(self) -> str:
        return str(SENTENCES[self.outcome]) % {"name": self.name}


Verifier: TypeAlias = Callable[["Integration", Mapping[str, Any]], Verdict]
_verifiers: list[Verifier] = []


def announce_verifier(verifier: Verifier) -> None:
    """Tell the catalog who can make a verification request. The last one announced is asked."""
    _verifiers[:] = [verifier]


def verify(integration: "Integration", config: Mapping[str, Any]) -> Verdict:
    """Ask the partner whether the key in the config is right: some seconds on the network.

    Never call it with a row locked or inside a transaction.
    """
    if not _verifiers:
        return Verdict(Outcome.OUR_SIDE, integration.name)
    return _verifiers[0](integration, config)


# Filling in


def names_in(value: Any) -> set[str]:
    """The settings that a document speaks of."""
    return {name for text in _texts(value) for name in PLACEHOLDER.findall(text)}


def fill(text: str, config: Mapping[str, Any]) -> str:
    return PLACEHOLDER.sub(lambda match: _as_text(config.get(match[1])), text)


def fill_path(text: str, config: Mapping[str, Any]) -> str:
    """With values encoded, so that none of them can add a step, a query or a host to the path."""
    return PLACEHOLDER.sub(lambda match: quote(_as_text(config.get(match[1])), safe=""), text)


def fill_all(value: Any, config: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return fill(value, config)
    if isinstance(value, dict):
        return {key: fill_all(item, config) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_all(item, config) for item in value]
    return value


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


# Checking


def check_verification_request(request: Any, schema: Any, api_base_url: str) -> None:
    """Raises ValidationError with what to write instead; {} means that there is no test."""
    if request == {}:
        return
    if not isinstance(request, dict):
        raise ValidationError(_("Write an object, or leave it as {} for no test."))
    problems = [
        *_shape_problems(request),
        *_path_problems(request.get("path"), api_base_url),
        *_header_problems(request.get("headers", {})),
        *_body_problems(request),
        *_status_problems(request),
        *_placeholder_problems(request, _names(schema)),
    ]
    if problems:
        raise ValidationError(problems)


def check_request_auth(auth: Any, schema: Any) -> None:
    """Raises ValidationError with what to write instead; {} means Posz's own signature alone."""
    if auth == {}:
        return
    if not isinstance(auth, dict) or auth.get("scheme") not in list(SCHEMES):
        raise ValidationError(
            _('Give it a "scheme": %(names)s.') % {"names": ", ".join(sorted(SCHEMES))}
        )
    wanted = SCHEMES[auth["scheme"]]
    if auth.keys() - {"scheme"} != wanted:
        raise ValidationError(
            _("The scheme “%(scheme)s” needs exactly: %(keys)s.")
            % {"scheme": auth["scheme"], "keys": ", ".join(sorted(wanted))}
        )
    if "name" in wanted and not _is_header_name(auth["name"]):
        raise ValidationError(_('Let "name" be the name of a header, such as X-Api-Key.'))
    for key in sorted(wanted & (PLAIN_KEYS - {"name"})):
        _check_plain_key(key, auth[key])
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    for key in sorted(wanted - PLAIN_KEYS):
        rules = properties.get(auth[key]) if isinstance(auth[key], str) else None
        if not isinstance(rules, dict) or rules.get("type") != "string":
            raise ValidationError(
                _("“%(key)s” must name a text setting of the settings schema.") % {"key": key}
            )


def _check_plain_key(key: str, value: Any) -> None:
    is_right = isinstance(value, str) and len(value) <= MAX_TEXT and HEADER_TEXT.fullmatch(value)
    if not is_right or (not value and key != "scope"):
        raise ValidationError(_("“%(key)s” must be a plain ASCII text.") % {"key": key})
    if key == "token_url":
        check_url(value)


def _names(schema: Any) -> set[str]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return set(properties) if isinstance(properties, dict) else set()


def _shape_problems(request: dict[str, Any]) -> Iterator[str]:
    for key in sorted(request.keys() - KEYS):
        yield _('Remove "%(keyword)s": it cannot be used here.') % {"keyword": key}
    if request.get("method") not in METHODS:
        yield _('Let "method" be GET or POST.')


def _path_problems(path: Any, api_base_url: str) -> Iterator[str]:
    if not isinstance(path, str) or len(path) > MAX_TEXT:
        yield _('Give it a "path", such as /posz/v1/verify.')
        return
    sample = PLACEHOLDER.sub("x", path)
    if path.startswith("/"):
        if not PATH.fullmatch(sample) or "\\" in sample or "#" in sample:
            yield _('Let "path" start with one / and hold no spaces, backslashes or #.')
        elif not api_base_url:
            yield _("A path needs the API address that it is joined to.")
        return
    try:
        check_url(sample)
    except ValidationError as error:
        yield from (f"path: {message}" for message in error.messages)
        return
    if not FULL_URL.fullmatch(path):
        yield _("Settings may stand in the path of an address, never in its host or port.")


def _header_problems(headers: Any) -> Iterator[str]:
    if not isinstance(headers, dict) or len(headers) > MAX_HEADERS:
        yield _('Let "headers" be an object of at most %(limit)s names and texts.') % {
            "limit": MAX_HEADERS
        }
        return
    if len({str(name).lower() for name in headers}) != len(headers):
        yield _('Let "headers" name each header once.')
    for name, value in headers.items():
        if not _is_header_name(name):
            yield _("“%(name)s” is not a header that can be set here.") % {"name": name[:100]}
        if not isinstance(value, str) or len(value) > MAX_TEXT or not HEADER_TEXT.fullmatch(value):
            yield _("The value of the header “%(name)s” must be plain ASCII text.") % {
                "name": name[:100]
            }


def _body_problems(request: dict[str, Any]) -> Iterator[str]:
    body = request.get("body")
    if body is None:
        return
    if not isinstance(body, dict) or _depth(body) > MAX_DEPTH:
        yield _('Let "body" be null or a small object.')
    if request.get("method") == "GET":
        yield _('Remove "body" or use POST: a GET request has none.')


def _status_problems(request: dict[str, Any]) -> Iterator[str]:
    accept, wrong = request.get("accept", ACCEPT), request.get("wrong_key", WRONG_KEY)
    for key, value in (("accept", accept), ("wrong_key", wrong)):
        if (
            not isinstance(value, list)
            or not value
            or any(type(item) is not int or not 200 <= item <= 499 for item in value)
        ):
            yield _('Let "%(key)s" be a list of HTTP status codes from 200 to 499.') % {"key": key}
            return
    if set(accept) & set(wrong):
        yield _("One status code can’t mean both a right and a wrong key.")


def _placeholder_problems(request: dict[str, Any], known: set[str]) -> Iterator[str]:
    spoken = {key: request.get(key) for key in ("path", "headers", "body")}
    for text in _texts(spoken):
        if BRACES.search(PLACEHOLDER.sub("", text)):
            yield _("Write a setting as {config.name}; other braces can’t be used.")
            break
    for name in sorted(names_in(spoken) - known):
        yield _("“%(name)s” is not a setting of the settings schema.") % {"name": name}


def _is_header_name(name: Any) -> bool:
    return (
        isinstance(name, str)
        and HEADER_NAME.fullmatch(name) is not None
        and name.lower() not in FRAMING_HEADERS
    )


def _depth(value: Any) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((_depth(item) for item in items), default=0)
