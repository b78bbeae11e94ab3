import getpass
import json
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from catalog.envelope import ApiError
from catalog.models import Integration
from installs import credentials
from installs.credentials import OWN_PURPOSES
from installs.encryption import require_right_keys
from installs.models import IntegrationSecret, SecretState

ONCE = "It is shown only this once."


class Command(BaseCommand):
    help = "Rotate a secret of an integration; without a switch, stage and cut over at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("purpose", choices=[str(item) for item in OWN_PURPOSES])
        act = parser.add_mutually_exclusive_group()
        act.add_argument("--stage", action="store_true", help="Make the next secret, show it once.")
        act.add_argument(
            "--cut-over", action="store_true", help="Make the next secret the current one."
        )
        act.add_argument(
            "--revoke-previous", action="store_true", help="End the previous secret now."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_args: Any, **options: Any) -> None:
        require_right_keys()
        integration = Integration.objects.filter(slug=options["slug"]).first()
        if integration is None:
            raise CommandError(f"There is no integration “{options['slug']}”.")
        try:
            state, secret, words = act(integration, options)
        except ApiError as error:
            raise CommandError(error.message) from None
        if not options["json"]:
            self.stdout.write("\n".join(words))
            return
        named = {"slug": options["slug"], "purpose": options["purpose"]}
        self.stdout.write(json.dumps(named | {"state": str(state), "secret": secret}))


def act(
    integration: Integration, options: dict[str, Any]
) -> tuple[SecretState, str | None, list[str]]:
    """The state of the secret that was acted on, its value where it is new, and what to do next."""
    purpose, actor = options["purpose"], actor_label()
    name = f"{integration.slug} {purpose}"
    if options["stage"]:
        secret = credentials.stage(integration, purpose, actor)
        return SecretState.NEXT, secret, staged_words(name, secret)
    if options["cut_over"]:
        credentials.cut_over(integration, purpose, actor)
        words = [f"The next secret of {name} is current now.", previous_words(integration, purpose)]
        return SecretState.CURRENT, None, words
    if options["revoke_previous"]:
        credentials.revoke_previous(integration, purpose, actor)
        words = [f"The previous secret of {name} is refused from now on, by every process."]
        return SecretState.PREVIOUS, None, words
    secret = credentials.rotate(integration, purpose, actor)
    words = [
        f"The new secret of {name}:",
        "",
        f"  {secret}",
        "",
        f"{ONCE} It is current now: give it to the partner.",
        previous_words(integration, purpose),
    ]
    return SecretState.CURRENT, secret, words


def staged_words(name: str, secret: str) -> list[str]:
    return [
        f"The next secret of {name}:",
        "",
        f"  {secret}",
        "",
        f"{ONCE} Give it to the partner. It is not valid yet:",
        f"when the partner is ready, run  manage.py rotate_secret {name} --cut-over",
    ]


def previous_words(integration: Integration, purpose: str) -> str:
    row = IntegrationSecret.objects.of(integration, purpose).filter(state=SecretState.PREVIOUS)
    ends_at = row.values_list("expires_at", flat=True).first()
    if ends_at is None:
        return "There was no secret before it."
    return f"The one before is accepted until {ends_at:%Y-%m-%d %H:%M:%S} UTC."


def actor_label() -> str:
    # A container's user need not have a name.
    with suppress(OSError, KeyError):
        return f"command:{getpass.getuser()}"
    return "command"
