"""What the hardware and the server allow: a WSGI app that checks a signature and inserts, no more.

`app` is to be served like `poszhub.wsgi`. It holds a connection per thread, and what it needs to know
is given to it: the key, and merchant to install.
"""

import hashlib
import hmac
import json
import os
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg

KEY = bytes.fromhex(os.environ["BENCH_KEY"])
INTEGRATION = UUID(os.environ["BENCH_INTEGRATION"])
INSTALLS = {name: UUID(pk) for name, pk in json.loads(os.environ["BENCH_INSTALLS"]).items()}
INSERT = b"""
    INSERT INTO inbound_event (
        id, install_id, integration_id, merchant_id, provider_event_id, type, capability,
        occurred_at, headers, body, body_digest, status, attempts, problem, due_at, received_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, NULL, '[]', %s, %s, 'received', 0, '', %s, %s)
    ON CONFLICT (install_id, provider_event_id) DO NOTHING
    RETURNING id
"""
local = threading.local()


def connection() -> psycopg.Connection[Any]:
    if not hasattr(local, "connection"):
        local.connection = psycopg.connect(
            os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=0
        )
    held: psycopg.Connection[Any] = local.connection
    return held


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body: bytes = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    given = environ.get("HTTP_X_BENCH_SIGNATURE", "")
    if not hmac.compare_digest(hmac.digest(KEY, body, "sha256").hex(), given):
        start_response("401 Unauthorized", [("Content-Length", "0")])
        return [b""]
    event, now = json.loads(body), datetime.now(UTC)
    merchant = event["merchant_id"]
    row = (
        *(uuid4(), INSTALLS[merchant], INTEGRATION, UUID(merchant)),
        *(event["event_id"], event["type"], "payment_webhook_inbound"),
        *(body, hashlib.sha256(body).hexdigest(), now, now),
    )
    cursor = psycopg.Cursor(connection())
    found = cursor.execute(INSERT, row, prepare=True, binary=True).fetchone()
    answer = json.dumps({"status": "accepted", "id": str(found and found[0])}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
    start_response("200 OK", headers)
    return [answer]
