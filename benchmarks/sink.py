"""A partner that costs next to nothing: `python -m benchmarks.sink PORT`.

The first part of the path says when it answers: `/0` at once, `/50` after 50 ms, `/hang` never. GET
gives what was received since the last GET, as [monotonic seconds, webhook-id, path] each.
"""

import asyncio
import json
import sys
import time

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
received: list[tuple[float, str, str]] = []


class Sink(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        head = self.buffer[:end]
        lower = head.lower()
        if len(self.buffer) - end < int(header(lower, b"content-length") or 0):
            return
        self.buffer = b""
        if head.startswith(b"GET"):
            self.report()
            return
        path = head.split(b" ", 2)[1].decode()
        received.append((time.monotonic(), header(lower, b"webhook-id").decode(), path))
        wait = path.split("/")[1]
        if wait == "0":
            self.transport.write(OK)
        elif wait != "hang":
            self.loop.call_later(int(wait) / 1000, self.transport.write, OK)

    def report(self) -> None:
        body = json.dumps(received).encode()
        received.clear()
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def header(lower: bytes, name: bytes) -> bytes:
    return lower.partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0]


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Sink(loop), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
