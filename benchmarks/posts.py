"""A sender that costs little: `python -m benchmarks.posts PORT CONNECTIONS SECONDS MERCHANT...`.

Signs its posts before it begins, each with an id of its own, then keeps every connection busy. Writes
one line of JSON: answers of 200 a second, another answer where there was one, and the latencies at 50
and 99 % in milliseconds.
"""

import hmac
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from uuid import uuid4

POSTS_PER_SECOND = 9_000
DATA = {
    "bill_token": "b" * 24,
    "external_order_id": "order-1",
    "amount": 115500,
    "lines": [{"name": "Nasi goreng", "quantity": "2", "total": 7000000}] * 4,
}


def posts(count: int, merchants: list[str], key: bytes) -> Iterator[bytes]:
    for number in range(count):
        body = json.dumps(
            {
                "event_id": str(uuid4()),
                "type": "bill.settled",
                "merchant_id": merchants[number % len(merchants)],
                "occurred_at": "2026-11-24T05:00:00Z",
                "data": DATA,
            }
        ).encode()
        yield (
            b"POST /v1/integrations/bench/webhook HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nUser-Agent: bench\r\nAccept: */*\r\n"
            b"X-Bench-Signature: %s\r\nContent-Length: %d\r\n\r\n%s"
            % (hmac.digest(key, body, "sha256").hex().encode(), len(body), body)
        )


def is_whole(answer: bytes) -> bool:
    head, found, content = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(found) and len(content) >= int(length or 0)


def send(port: int, connections: int, seconds: float, waiting: list[bytes]) -> dict[str, object]:
    poll = select.epoll()
    peers: dict[int, socket.socket] = {}
    begun: dict[int, float] = {}
    parts: dict[int, bytes] = {}
    for _ in range(connections):
        peer = socket.create_connection(("127.0.0.1", port))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peers[peer.fileno()] = peer
        poll.register(peer.fileno(), select.EPOLLIN)
    latencies: list[float] = []
    other: list[str] = []
    started_at = time.perf_counter()
    for number, peer in peers.items():
        begun[number] = time.perf_counter()
        peer.sendall(waiting.pop())
    while (now := time.perf_counter()) - started_at < seconds:
        for number, _event in poll.poll(1):
            chunk = peers[number].recv(65_536)
            if not chunk:
                raise ConnectionError("The server closed a connection.")
            answer = parts.pop(number, b"") + chunk
            if not is_whole(answer):
                parts[number] = answer
                continue
            now = time.perf_counter()
            if answer.startswith(b"HTTP/1.1 200"):
                latencies.append(now - begun[number])
            else:
                other.append(answer[:800].decode("latin-1"))
            begun[number] = now
            peers[number].sendall(waiting.pop())
    latencies.sort()
    return {
        "per_second": len(latencies) / (now - started_at),
        "other": other[:1],
        "p50": latencies[len(latencies) // 2] * 1000 if latencies else None,
        "p99": latencies[len(latencies) * 99 // 100] * 1000 if latencies else None,
    }


def main() -> None:
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    key = bytes.fromhex(os.environ["BENCH_KEY"])
    waiting = list(posts(int(seconds * POSTS_PER_SECOND), sys.argv[4:], key))
    print(json.dumps(send(port, connections, seconds, waiting)))


if __name__ == "__main__":
    main()
