"""The code of docs/events.md does what the page says."""

import json
import re
import shutil
import subprocess
import time
from typing import Any

import pytest
from django.conf import settings

from dispatch.signing import is_standard_signed, standard_headers
from tests.partners import Reply, running_partner

KEY, OTHER = bytes(range(32)), b"x" * 32
BODY = '{"type": "order.paid", "data": {"note": "é"}}'.encode()


def blocks(language: str) -> list[str]:
    text = (settings.BASE_DIR / "docs" / "events.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def signed(keys: list[bytes], at: float) -> dict[str, str]:
    return standard_headers("evt-1", int(at), BODY, keys)


def cases() -> list[tuple[dict[str, str], bytes, bool]]:
    now = time.time()
    return [
        (signed([KEY], now), BODY, True),
        (signed([OTHER, KEY], now), BODY, True),
        (signed([OTHER], now), BODY, False),
        (signed([KEY], now), BODY + b" ", False),
        (signed([KEY], now - 400), BODY, False),
        (signed([KEY], now) | {"webhook-id": "evt-2"}, BODY, False),
        (signed([KEY], now) | {"webhook-signature": "v1,é"}, BODY, False),
    ]


def test_python_of_the_guide_checks_signatures():
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)  # noqa: S102

    found = [names["is_from_posz"](headers, body, KEY.hex()) for headers, body, _ in cases()]

    assert found == [expected for *_, expected in cases()]


@pytest.mark.skipif(not shutil.which("node"), reason="no Node on this machine")
def test_node_of_the_guide_checks_signatures():
    given = [[headers, body.decode()] for headers, body, _ in cases()]
    script = (
        blocks("js")[0]
        + f"const given = {json.dumps(given)};"
        + f"const found = given.map(([h, b]) => isFromPosz(h, Buffer.from(b), '{KEY.hex()}'));"
        + "console.log(JSON.stringify(found));"
    )

    run = subprocess.run(["node", "-e", script], capture_output=True, check=True, text=True)

    assert json.loads(run.stdout) == [expected for *_, expected in cases()]


def test_python_of_the_guide_signs_the_path_of_the_feed(settings):
    names: dict[str, Any] = {}
    exec(blocks("python")[1], names)  # noqa: S102

    with running_partner(settings, lambda _request: Reply(200, b'{"data": []}')) as hub:
        names["fetch"](hub.url, "spliteasy", KEY.hex(), "17-0")
        [request] = hub.requests

    assert request.path == "/v1/integrations/spliteasy/events?limit=200&after=17-0"
    assert is_standard_signed(request.headers, request.path.encode(), [KEY], time.time())
