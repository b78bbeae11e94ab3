"""The partner that the sandbox plays: the switch that makes it slow, dead or wrong, and what it posts.

Offered in development only, where a sandbox runs on this machine; what is switched is the sandbox's
own, so it holds for everybody who uses it. Production has no such partner and no such page.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from catalog import strict_json
from catalog.models import Integration
from dispatch import door, router

NORMAL = "ok"
MODES: dict[str, Promise] = {
    NORMAL: _("Normal"),
    "slow": _("Slow: two seconds"),
    "hang": _("Dead: never answers"),
    "reset": _("Dead: hangs up"),
    "fail": _("Broken: answers 503"),
    "garbage": _("Talks nonsense"),
    "malformed": _("Answers with a wrong field"),
    "wrong_signature": _("Signs with a wrong key"),
    "decline": _("Declines"),
}
SLOW_MS = 2_000
WAIT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Switch:
    slug: str
    name: str
    mode: str

    @property
    def mode_name(self) -> str:
        return str(MODES.get(self.mode, self.mode))

    @property
    def is_normal(self) -> bool:
        return self.mode == NORMAL


def sandbox_url() -> str:
    """Where the sandbox of this machine is; nothing in production."""
    return f"http://127.0.0.1:{settings.SANDBOX_PORT}" if settings.DEBUG else ""


def is_played(row: Integration) -> bool:
    base = sandbox_url()
    return bool(base) and f"{row.api_base_url}/".startswith(f"{base}/")


def switches_of(rows: Iterable[Integration]) -> list[Switch]:
    """Those of these integrations that the sandbox plays, and how each behaves now."""
    played = [row for row in rows if is_played(row)]
    shown = _ask("GET", "/_behave") if played else None
    if shown is None:
        return []
    modes = {item["path_prefix"]: item["mode"] for item in shown["switches"]}
    return [Switch(row.slug, row.name, modes.get(_prefix(row), NORMAL)) for row in played]


def turn(row: Integration, mode: str) -> bool:
    """Make the partner behave so from now on; False where the sandbox could not be reached.

    Back to normal it is asked again at once, and not only when its breaker closes.
    """
    switch = {"partner": row.slug, "mode": mode, "delay_ms": SLOW_MS}
    is_done = _ask("PUT", "/_behave", switch) is not None
    if mode == NORMAL:
        router.partner(row.slug).breaker.succeeded()
    return is_done


def post(row: Integration, order: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Let the partner post an event to the hub, signed as it is agreed; what came of it.

    None where the sandbox could not be reached or has no such event.
    """
    return _ask("POST", "/_send", {"slug": row.slug, **order})


def _ask(
    method: str, path: str, document: Mapping[str, Any] | None = None
) -> Mapping[str, Any] | None:
    try:
        reply = door.call(
            method,
            f"{sandbox_url()}{path}",
            headers={"Content-Type": "application/json"} if document else {},
            body=strict_json.dumps(document) if document else None,
            timeout_seconds=WAIT_SECONDS,
        )
        answer: Mapping[str, Any] = reply.json()
    except door.DoorError:
        return None
    return answer if reply.status == 200 else None


def _prefix(row: Integration) -> str:
    """Below which the sandbox is asked; SplitEasy has no path of its own there."""
    path = urlsplit(row.api_base_url).path.rstrip("/")
    return f"{path}/" if path else "/v1/external/"
