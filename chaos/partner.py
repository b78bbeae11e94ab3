"""Partners that misbehave: `python -m chaos.partner PORT RECORD SEED`.

One process plays all of them, told apart by path. Each request is appended to the record before it
is answered; how it is answered hangs on the seed, the event, the partner and the attempt alone.
"""

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import sys
import time
from pathlib import Path

ACCEPT = "accept"
WEIGHTS = {ACCEPT: 70, "fail": 8, "limit": 6, "reset": 6, "hang": 5, "drip": 5}
ANSWERS = {
    ACCEPT: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "fail": b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
    "limit": b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nslow",
    "drip": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
}
DRIP_SECONDS = 0.2


class Partner:
    def __init__(self, record: Path, seed: str) -> None:
        self.record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.seed = seed

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await self.answer(reader, writer):
                pass
        writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take one request; whether another one may follow on the connection."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _colon, value in (line.partition(":") for line in lines[1:])
        }
        await reader.readexactly(int(headers["content-length"]))
        slug = lines[0].split(" ")[1].strip("/")
        answer = self.note(slug, headers)
        if answer in ANSWERS:
            writer.write(ANSWERS[answer])
            await writer.drain()
        if answer == "drip":
            await drip(writer)
        elif answer == "hang":
            await reader.read()
        elif answer == "reset":
            reset(writer)
        return answer not in {"drip", "hang", "reset"}

    def note(self, slug: str, headers: dict[str, str]) -> str:
        event, attempt = headers["webhook-id"], int(headers["x-posz-attempt"])
        dice = random.Random(f"{self.seed} {slug} {event} {attempt}")  # noqa: S311
        answer = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        line = [time.time(), slug, event, headers["x-posz-delivery"], attempt, answer]
        os.write(self.record, json.dumps(line).encode() + b"\n")
        return answer


async def drip(writer: asyncio.StreamWriter) -> None:
    while True:
        await asyncio.sleep(DRIP_SECONDS)
        writer.write(b".")
        await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    no_linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    writer.transport.abort()


async def main(port: int, record: Path, seed: str) -> None:
    server = await asyncio.start_server(Partner(record, seed).serve, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
