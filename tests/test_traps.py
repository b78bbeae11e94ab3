"""Every trap against the server of production, over raw sockets: an envelope or a refusal by the
server itself, never a 5xx, soon, and without memory that is not given back. `make traps` runs more."""

import asyncio
import os
import time
from collections import Counter

import psutil
import pytest

from catalog.envelope import STATUS_OF
from tests.traps import traps
from tests.wire import Partner, Peer, install_everywhere

pytestmark = [pytest.mark.servers, pytest.mark.alone, pytest.mark.timeout(3000)]
WARM_UP_ROUNDS = 5
ROUNDS = int(os.environ.get("TRAP_ROUNDS", "3"))
AT_ONCE = 6
WITHIN_SECONDS = 2
GROWTH_BYTES = 50 * 1024 * 1024


class Sprung:
    """What came of a trap, over all rounds."""

    def __init__(self, trap):
        self.trap = trap
        self.answers = Counter()
        self.slowest = 0.0

    def note(self, answer, seconds):
        is_envelope = STATUS_OF.get(answer.code) == answer.status
        self.answers[answer.code if is_envelope else answer.status] += 1
        self.slowest = max(self.slowest, seconds)

    def __str__(self):
        answers = ", ".join(map(str, self.answers))
        return f"{self.trap.name:50} {answers:40} {self.slowest:.2f} s"

    @property
    def is_right(self):
        return self.answers.keys() <= self.trap.answers


async def spring(hub, all_sprung, rounds):
    """Round after round, a few traps at once."""
    places = asyncio.Semaphore(AT_ONCE)

    async def once(sprung):
        async with places:
            trap = sprung.trap
            peer = await Peer.to(hub)
            pauses = trap.pause_seconds * len(trap.chunks)
            began_at = time.monotonic()
            answer = await peer.ask(trap.chunks, trap.pause_seconds, is_cut_off=trap.is_cut_off)
            sprung.note(answer, time.monotonic() - began_at - pauses)

    for _round in range(rounds):
        await asyncio.gather(*map(once, all_sprung))


def memory_of_web_processes(hub):
    processes = psutil.Process(hub.process.pid).children(recursive=True)
    return sum(process.memory_info().rss for process in processes)


@pytest.fixture(scope="module")
def traps_of_hub(production):
    install_everywhere(production)
    [merchant, *_] = production.seed["merchant_tokens"]
    token = production.seed["merchant_tokens"][merchant]
    return traps(Partner(production), merchant, token)


def test_no_trap_breaks_the_hub(production, traps_of_hub):
    asyncio.run(spring(production, [Sprung(trap) for trap in traps_of_hub], WARM_UP_ROUNDS))
    all_sprung = [Sprung(trap) for trap in traps_of_hub]
    before, is_alive = memory_of_web_processes(production), production.process.poll() is None

    asyncio.run(spring(production, all_sprung, ROUNDS))

    growth = memory_of_web_processes(production) - before
    print(*all_sprung, sep="\n")  # noqa: T201
    print(f"{ROUNDS} rounds of {len(all_sprung)} traps, {growth / 2**20:.1f} MB more")  # noqa: T201
    assert [str(sprung) for sprung in all_sprung if not sprung.is_right] == []
    assert [str(sprung) for sprung in all_sprung if sprung.slowest > WITHIN_SECONDS] == []
    assert growth < GROWTH_BYTES
    assert is_alive
