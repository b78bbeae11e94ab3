"""The yardstick: claim, send, record, as tight as honesty allows, and none of the hub's rules.

No fair shares, no breaker, no pace, no address check, no limits on answers, no totals: one statement
claims as many as there are places, one records all that has ended, and aiohttp sends.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from dispatch.signing import hex_signature, standard_headers

IN_FLIGHT = 128
WORTH_RECORDING = 32
LINGER_SECONDS = 0.004
INDEX = "bare_due"
CLAIM = """
    UPDATE delivery d
    SET lease_until = now() + interval '60 s', fencing_token = d.fencing_token + 1
    FROM event e
    WHERE e.id = d.event_id AND d.id = ANY(ARRAY(
        SELECT id FROM delivery
        WHERE status = 'pending' AND next_attempt_at <= now()
          AND (lease_until IS NULL OR lease_until < now())
        ORDER BY next_attempt_at LIMIT %s FOR UPDATE SKIP LOCKED))
    RETURNING d.id, d.fencing_token, d.attempts_made, d.integration_id, e.id, e.type, e.body
"""
RECORD = """
    WITH outcome AS (
        SELECT * FROM unnest(
            %s::uuid[], %s::bigint[], %s::int[], %s::timestamptz[], %s::int[], %s::int[]
        ) AS o(id, token, number, started_at, elapsed_ms, response_status)
    ), written AS (
        UPDATE delivery d
        SET attempts_made = o.number, lease_until = NULL,
            status = CASE WHEN o.response_status = 200 THEN 'delivered' ELSE 'pending' END,
            finished_at = CASE WHEN o.response_status = 200 THEN now() END,
            next_attempt_at = CASE WHEN o.response_status = 200 THEN NULL
                              ELSE now() + interval '60 s' END
        FROM outcome o WHERE d.id = o.id AND d.fencing_token = o.token
        RETURNING d.id
    )
    INSERT INTO delivery_attempt
        (delivery_id, number, started_at, elapsed_ms, response_status, problem, response_excerpt)
    SELECT id, number, started_at, elapsed_ms, response_status, '', ''
    FROM outcome JOIN written USING (id)
"""


@dataclass(frozen=True, slots=True)
class Route:
    url: str
    key: bytes


class BareLoop:
    def __init__(
        self, database_url: str, routes: dict[UUID, Route], timeout_seconds: float
    ) -> None:
        self.database_url = database_url
        self.routes = routes
        self.timeout = ClientTimeout(total=timeout_seconds)
        self.ended: list[tuple[Any, ...]] = []
        self.is_worth_recording = asyncio.Event()

    async def run(self) -> int:
        """Until nothing is due; return how many attempts were made."""
        made = flying = 0
        tasks: set[asyncio.Task[None]] = set()
        async with (
            await psycopg.AsyncConnection.connect(
                self.database_url, autocommit=True, prepare_threshold=0
            ) as database,
            ClientSession(connector=TCPConnector(limit=0), timeout=self.timeout) as self.session,
        ):
            while True:
                if self.ended:
                    columns, self.ended = list(map(list, zip(*self.ended, strict=True))), []
                    await database.execute(RECORD, columns)
                    flying -= len(columns[0])
                    made += len(columns[0])
                claimed = await database.execute(CLAIM, [IN_FLIGHT - flying])
                for row in await claimed.fetchall():
                    tasks.add(asyncio.create_task(self.send(*row)))
                    flying += 1
                if not flying:
                    return made
                await self.linger()
                tasks = {task for task in tasks if not task.done()}

    async def linger(self) -> None:
        """Until something has ended, and a moment longer, so that a burst is one statement."""
        self.is_worth_recording.clear()
        if not self.ended:
            await self.is_worth_recording.wait()
        if len(self.ended) < WORTH_RECORDING:
            await asyncio.sleep(LINGER_SECONDS)

    async def send(
        self, pk: UUID, token: int, attempts_made: int, integration: UUID, *event: Any
    ) -> None:
        route, (event_id, event_type, body) = self.routes[integration], event
        number, started_at, started = attempts_made + 1, datetime.now(UTC), time.monotonic()
        headers = {
            "Content-Type": "application/json",
            "X-Posz-Signature": hex_signature(body, route.key),
            "X-Posz-Event": event_type,
            "X-Posz-Delivery": str(pk),
            "X-Posz-Attempt": str(number),
            **standard_headers(str(event_id), int(time.time()), body, [route.key]),
        }
        try:
            async with self.session.post(route.url, data=body, headers=headers) as reply:
                await reply.read()
                status: int | None = reply.status
        except (ClientError, TimeoutError):
            status = None
        elapsed_ms = round((time.monotonic() - started) * 1000)
        self.ended.append((pk, token, number, started_at, elapsed_ms, status))
        self.is_worth_recording.set()
