import json
from argparse import ArgumentParser
from dataclasses import asdict
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from installs.encryption import Count, columns, reencrypt


class Command(BaseCommand):
    help = (
        "Move every encrypted value to the newest key while the hub runs; safe to stop and repeat."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--batch", type=int, default=500, help="Rows per transaction.")
        parser.add_argument("--dry-run", action="store_true", help="Only count; change nothing.")
        parser.add_argument(
            "--check",
            action="store_true",
            help="Only count, and exit 1 while anything is under an older key.",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["batch"] < 1:
            raise CommandError("--batch must be at least 1.")
        counts = self.counts(
            options["batch"], write=not options["dry_run"] and not options["check"]
        )
        total = Count(*(sum(column) for column in zip(*map(values, counts.values()), strict=True)))
        if options["json"]:
            self.stdout.write(json.dumps({"total": asdict(total), "columns": as_json(counts)}))
        else:
            self.stdout.write(f"In all: {in_words(total)}.")
        if total.unreadable:
            raise CommandError("No configured key opens some values; the log names their rows.")
        if options["check"] and total.old:
            raise CommandError("Values are still under an older key: keep it, and run reencrypt.")

    def counts(self, batch: int, *, write: bool) -> dict[str, Count]:
        counts: dict[str, Count] = {}
        for column in columns():
            if column.vouches and any(count.unreadable for count in counts.values()):
                continue
            counts[column.label] = reencrypt(
                column, batch=batch, write=write, progress=partial(self.say, column.label)
            )
        return counts

    def say(self, label: str, count: Count) -> None:
        self.stderr.write(f"{label}: {in_words(count)}")
        self.stderr.flush()


def values(count: Count) -> tuple[int, ...]:
    return count.rows, count.reencrypted, count.old, count.unreadable


def in_words(count: Count) -> str:
    words = f"{count.rows} read, {count.reencrypted} re-encrypted, {count.old} under an older key"
    return f"{words}, {count.unreadable} unreadable" if count.unreadable else words


def as_json(counts: dict[str, Count]) -> dict[str, dict[str, int]]:
    return {label: asdict(count) for label, count in counts.items()}
