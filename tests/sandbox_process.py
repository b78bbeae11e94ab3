"""The partner sandbox as a process of its own, and its controls."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen  # noqa: TID251

from django.conf import settings

from catalog.models import Integration
from dispatch.operations.notation import Contract
from installs.models import Install, IntegrationSecret, Merchant
from tests.factories import keys_of, make_install, make_integration

SLUG = "demo-partner"
# One for each purpose, so that neither can stand in for the other.
KEY, INBOUND_KEY = bytes(range(32)), bytes(range(32, 64))


class Sandbox:
    def __init__(self, url: str) -> None:
        self.url = url
        self.host = url.removeprefix("http://")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data=data, method=method)
        with urlopen(request, timeout=60) as response:
            text = response.read()
        return json.loads(text) if text else None

    def behave(self, mode: str, **switch: Any) -> None:
        self.call("PUT", "/_behave", {"path_prefix": "", "mode": mode, **switch})

    def forget(self) -> None:
        self.call("DELETE", "/_behave")
        self.call("DELETE", "/_received")

    def requests(self) -> list[dict[str, Any]]:
        """What arrived, the oldest first; names of headers in lower case."""
        return [
            {**item, "headers": {name.lower(): value for name, value in item["headers"].items()}}
            for item in self.call("GET", "/_received")["requests"]
        ]

    def received(self) -> list[dict[str, str]]:
        return [item["headers"] for item in self.requests()]


@contextmanager
def running_sandbox(hub: str = "http://127.0.0.1:1") -> Iterator[Sandbox]:
    command = [sys.executable, "manage.py", "partner_sandbox", "--port", "0", "--hub", hub]
    command += ["--secret", f"{SLUG}:outbound={KEY.hex()}"]
    command += ["--secret", f"{SLUG}:inbound={INBOUND_KEY.hex()}"]
    running = subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, text=True)
    with running:
        assert running.stdout is not None
        yield Sandbox(running.stdout.readline().split()[2])
        running.terminate()


def installed_partner(merchant: Merchant, contract: Contract, **over: Any) -> Install:
    """The partner that the sandbox plays, with this one capability."""
    row = make_integration(SLUG, capabilities={contract.capability: contract.version}, **over)
    keys_of(row)
    for purpose, key in (("outbound", KEY), ("inbound", INBOUND_KEY)):
        secret = IntegrationSecret.objects.get(integration=row, purpose=purpose)
        secret.value = key.hex()
        secret.save(update_fields=["value"])
    if contract.capability == "auth_provider":
        return _without_a_test(merchant, row)
    return make_install(merchant, row)


def _without_a_test(merchant: Merchant, row: Integration) -> Install:
    """At the front door its OpenID Connect would be tested, which the sandbox does not speak."""
    install = Install.objects.create(
        merchant=merchant, integration=row, capability_versions=row.capabilities
    )
    Merchant.touch(merchant.pk)
    return install
