"""A partner with a real OAuth server: django-oauth-toolkit in a process of its own.

`running_provider` starts it. Refresh tokens rotate, and a second use of one ends its whole family.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.test import override_settings

from dispatch import door
from tests import stack

CLIENT_ID = "posz"
CLIENT_SECRET = "the-client-secret"


@dataclass(frozen=True)
class Provider:
    url: str
    host: str
    process: subprocess.Popen[bytes]

    @property
    def issuer(self) -> str:
        return f"{self.url}/o"

    def control(self, **wanted: Any) -> None:
        body = json.dumps(wanted).encode()
        with override_settings(OUTBOUND_ALLOW=[self.host]):
            reply = door.call("POST", f"{self.url}/control", body=body, timeout_seconds=10)
        assert reply.status == 204


@contextlib.contextmanager
def running_provider(folder: Path, redirect_uri: str) -> Iterator[Provider]:
    port = stack.free_ports(1)[0]
    log = folder / "provider.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.oauth_provider", str(port), str(folder), redirect_uri],
            cwd=stack.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        try:
            stack.wait_for_port(port, process, 60)
        except stack.MissingError:
            raise AssertionError(f"The provider did not start:\n{log.read_text()}") from None
        yield Provider(f"http://127.0.0.1:{port}", f"127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(10)
