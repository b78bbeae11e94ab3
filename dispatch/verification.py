"""Asks a partner whether a merchant's key is right, as the catalog row declares the request.

The answer is one of four plain outcomes. Nothing of what was sent or received leaves this module,
for both may hold the key.
"""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from catalog import verification as declared
from catalog.models import Integration
from catalog.strict_json import dumps
from catalog.verification import Outcome, Verdict
from dispatch import door, openid

TIMEOUT_SECONDS = 5.0

logger = logging.getLogger(__name__)


def verify(integration: Integration, config: Mapping[str, Any]) -> Verdict:
    """One request, or two of a sign-in service, at most five seconds each, no retry."""
    if "auth_provider" in integration.capabilities:
        outcome = openid.outcome_of(str(config.get("issuer", "")))
    else:
        outcome = _outcome(integration, config)
    logger.info("Verification at %s: %s", integration.slug, outcome)
    return Verdict(outcome, integration.name)


def _outcome(integration: Integration, config: Mapping[str, Any]) -> Outcome:
    request = integration.verification_request
    try:
        # A row may be older than today's rules, or written around the form.
        declared.check_verification_request(
            request, integration.config_schema, integration.api_base_url
        )
    except ValidationError:
        return Outcome.OUR_SIDE
    if _changes_the_path(request["path"], config):
        return Outcome.WRONG_KEY
    try:
        reply = door.call(
            request["method"],
            _url(integration, config),
            headers=_headers(request, config),
            body=_body(request, config),
            timeout_seconds=TIMEOUT_SECONDS,
        )
    except door.RequestRefusedError:
        # The templates were checked when staff saved them, so it is the merchant's text that no
        # header can carry.
        return Outcome.WRONG_KEY
    except door.AddressRefusedError:
        return Outcome.OUR_SIDE
    except door.DoorError:
        return Outcome.PARTNER_DOWN
    return _meaning(request, reply.status)


def _meaning(request: Mapping[str, Any], status: int) -> Outcome:
    if status in request.get("accept", declared.ACCEPT):
        return Outcome.OK
    if status in request.get("wrong_key", declared.WRONG_KEY):
        return Outcome.WRONG_KEY
    if status == 429 or status >= 500:
        return Outcome.PARTNER_DOWN
    # A redirect or an unforeseen 4xx: what staff declared does not fit the partner.
    return Outcome.OUR_SIDE


def _changes_the_path(path: str, config: Mapping[str, Any]) -> bool:
    """Whether a value would make `.` or `..` of a step of the path, which no encoding hides."""
    steps = urlsplit(declared.fill_path(path, config)).path.split("/")
    written = urlsplit(path).path.split("/")
    return any(step in {".", ".."} and step not in written for step in steps)


def _url(integration: Integration, config: Mapping[str, Any]) -> str:
    path = declared.fill_path(integration.verification_request["path"], config)
    return f"{integration.api_base_url.rstrip('/')}{path}" if path.startswith("/") else path


def _headers(request: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    headers = {
        name: declared.fill(text, config).strip(" ")
        for name, text in request.get("headers", {}).items()
    }
    if request.get("body") is not None and "content-type" not in map(str.lower, headers):
        headers["Content-Type"] = "application/json"
    return headers


def _body(request: Mapping[str, Any], config: Mapping[str, Any]) -> bytes | None:
    body = request.get("body")
    return None if body is None else dumps(declared.fill_all(body, config))
