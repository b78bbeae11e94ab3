import re
import signal
import threading
from argparse import ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, close_old_connections, connections

from dispatch.sandbox.app import LOOPBACK_NAMES, SecretOf
from dispatch.sandbox.behaviour import LONGEST_DELAY_MS, MODES, Switch
from dispatch.sandbox.server import SandboxServer

SECRET = re.compile(r"([a-z0-9-]+):(jwt|inbound|outbound|oauth_client)=((?:[0-9a-fA-F]{2})+)")

Given = dict[tuple[str, str], list[bytes]]


class Command(BaseCommand):
    help = "Play SplitEasy and the demo partners over HTTP, for development and tests."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=settings.SANDBOX_PORT)
        parser.add_argument("--hub", default=f"http://127.0.0.1:{settings.PORT}")
        parser.add_argument("--mode", choices=MODES, help="how to answer everything (default: ok)")
        parser.add_argument("--delay", type=delay, metavar="MS", help="answer that much later")
        parser.add_argument(
            "--secret",
            type=secret,
            action="append",
            default=[],
            metavar="SLUG:PURPOSE=HEX",
            help="use this key instead of the hub's database; newest first where given again",
        )

    def handle(self, **options: Any) -> None:
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        server = SandboxServer(
            secret_of=secret_source(options["secret"]),
            hub=options["hub"],
            host=options["host"],
            port=options["port"],
            connection_ended=connections.close_all,
        )
        switch = start_switch(options["mode"], options["delay"])
        if switch:
            server.sandbox.switches.put(switch)
        if options["host"] not in LOOPBACK_NAMES:
            self.stderr.write("Others can reach this sandbox, and it keeps credentials as sent.")
        server.start()
        self.stdout.write(f"Partner sandbox: {server.url} (hub: {options['hub']})")
        self.stdout.flush()
        stopped.wait()
        server.stop()


def secret(text: str) -> tuple[tuple[str, str], bytes]:
    match = SECRET.fullmatch(text)
    if match is None:
        raise ArgumentTypeError(
            "write SLUG:PURPOSE=HEX, with jwt, inbound, outbound or oauth_client"
        )
    return (match[1], match[2]), bytes.fromhex(match[3])


def delay(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) or int(text) > LONGEST_DELAY_MS:
        raise ArgumentTypeError(f"write milliseconds, at most {LONGEST_DELAY_MS}")
    return int(text)


def start_switch(mode: str | None, delay_ms: int | None) -> Switch | None:
    if mode is None and delay_ms is None:
        return None
    switch = Switch(mode=mode or "slow")
    if delay_ms is not None:
        switch.delay_ms = delay_ms
    return switch


def secret_source(pairs: list[tuple[tuple[str, str], bytes]]) -> SecretOf:
    """Keys from the command line first, else from the hub's database, where there is one."""
    given: Given = {}
    for name, key in pairs:
        given.setdefault(name, []).append(key)

    def secret_of(slug: str, purpose: str) -> list[bytes]:
        return given.get((slug, purpose)) or _stored_secrets(slug, purpose)

    return secret_of


def _stored_secrets(slug: str, purpose: str) -> list[bytes]:
    from installs.credentials import active_secrets

    close_old_connections()
    try:
        return active_secrets(slug, purpose)
    except DatabaseError:
        # A partner runs the sandbox without a hub: every key is on the command line then.
        return []
