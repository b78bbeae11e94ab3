import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from poszhub.seeds import seed_demo


class Command(BaseCommand):
    help = "Build the demo world, or find it as it is, and print how to use it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")
        parser.add_argument("--force", action="store_true", help="Also where DEBUG is off.")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not settings.DEBUG and not options["force"]:
            raise CommandError(
                "The demo world has well-known passwords. It is only built where DEBUG is on; "
                "--force builds it all the same."
            )
        # Tokens are stored hashed, so their clear values are remembered beside the development keys.
        path = settings.VAR_DIR / "demo-tokens.json"
        tokens: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        world = seed_demo(tokens)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(tokens))
        if options["json"]:
            self.stdout.write(json.dumps(world))
            return
        for user in world["users"]:
            self.stdout.write(f"{user['role']:8} {user['email']:28} {user['password']}")
