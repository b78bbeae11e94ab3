"""Asks a provider whether something is as a webhook said, as the catalog row declares the question.

One request through the HTTP door. What comes back is the provider's own answer, or one of two errors:
it says no, or nobody knows yet.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from catalog import strict_json
from catalog.inbound_confirmation import Confirmation, is_one_of
from catalog.inbound_parts import text_of, value_at
from catalog.models import Integration
from dispatch import door
from dispatch.contracts import AuthError, PermanentError, TemporaryError
from dispatch.oauth import access_token_for
from dispatch.request_auth import key_headers
from installs.credentials import active_secrets
from installs.models import Install

TIMEOUT_SECONDS = 5.0


class RefusedError(Exception):
    """The provider knows nothing of it, or knows it otherwise."""


class NoAnswerError(Exception):
    """Nobody knows; `is_down` where the provider could not be reached or broke."""

    def __init__(self, code: str, *, is_down: bool = False) -> None:
        self.code = code
        self.is_down = is_down
        super().__init__(code)


@dataclass(frozen=True, slots=True)
class Answer:
    headers: list[tuple[str, str]]
    body: bytes


def ask(
    integration: Integration,
    confirmation: Confirmation,
    values: Mapping[str, str],
    install: Install | None,
) -> Answer:
    """At most five seconds, no retry; never inside a transaction. `values` are by the parts' texts.

    Raises RefusedError or NoAnswerError.
    """
    if any(part.text not in values for part in confirmation.parts):
        # Staff have changed the question since.
        raise RefusedError
    url = confirmation.url.filled_url(values)
    if url is None:
        raise RefusedError
    headers = {"Accept": "application/json", **_proof(integration, confirmation, install)}
    body = None
    if confirmation.method == "POST":
        headers["Content-Type"] = "application/json"
        fields = {name: item.filled(values) for name, item in confirmation.body.items()}
        body = strict_json.dumps(fields)
    try:
        reply = door.call(
            confirmation.method, url, headers=headers, body=body, timeout_seconds=TIMEOUT_SECONDS
        )
    except door.DoorError as error:
        is_ours = isinstance(error, door.AddressRefusedError | door.RequestRefusedError)
        raise NoAnswerError(error.code, is_down=not is_ours) from None
    return _checked(confirmation, values, reply)


def _checked(confirmation: Confirmation, values: Mapping[str, str], reply: door.Reply) -> Answer:
    if reply.status in confirmation.refused:
        raise RefusedError
    if reply.status in {401, 403}:
        raise NoAnswerError("unauthorized")
    if reply.status != 200:
        raise NoAnswerError("upstream_error", is_down=reply.status >= 500 or reply.status == 429)
    try:
        document = strict_json.loads(reply.body, literal_numbers=True)
    except strict_json.StrictJSONError:
        raise NoAnswerError("nonsense") from None
    for steps, allowed in confirmation.require:
        if not is_one_of(text_of(value_at(document, steps)), allowed, values):
            raise RefusedError
    return Answer([(name.lower(), value) for name, value in reply.headers.items()], reply.body)


def _proof(
    integration: Integration, confirmation: Confirmation, install: Install | None
) -> dict[str, str]:
    kind = confirmation.auth["as"]
    if kind == "none":
        return {}
    try:
        if confirmation.is_asked_for_merchant:
            if install is None:
                raise NoAnswerError("integration_not_installed")
            if kind == "account":
                return {"Authorization": f"Bearer {access_token_for(install)}"}
            auth = integration.request_auth
            return key_headers(auth, install.config, lambda: TIMEOUT_SECONDS)
    except AuthError:
        raise NoAnswerError("unauthorized") from None
    except PermanentError:
        raise NoAnswerError("upstream_error") from None
    except TemporaryError:
        raise NoAnswerError("unreachable") from None
    keys = active_secrets(integration.slug, confirmation.auth["purpose"])
    if not keys:
        raise NoAnswerError("no_client_secret")
    return _with_key(confirmation.auth, keys[0].decode("latin-1"))


def _with_key(auth: Mapping[str, str], key: str) -> dict[str, str]:
    match auth["as"]:
        case "bearer":
            return {"Authorization": f"Bearer {key}"}
        case "basic":
            # As most providers have it: the key is the user, and there is no password.
            pair = key if ":" in key else f"{key}:"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {auth["name"]: key}
