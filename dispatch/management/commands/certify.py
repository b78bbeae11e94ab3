import json
import sys
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.loader import render_to_string
from django.utils import translation

from catalog import strict_json
from catalog.addresses import check_url
from catalog.models import Integration
from dispatch.certification import report as reports
from dispatch.certification import runs
from dispatch.certification.examination import Subject
from dispatch.models import Certification, CertificationStatus

FORMATS = ("terminal", "json", "html")


class Command(BaseCommand):
    help = (
        "Try a partner's endpoint against its contracts, for each capability and version that its "
        "catalog row declares. Ends with 1 where something failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")
        parser.add_argument(
            "--capability", action="append", default=[], metavar="NAME", help="only this one"
        )
        parser.add_argument("--format", choices=FORMATS, default="terminal")
        parser.add_argument("--language", choices=["en", "id"], default="en")
        parser.add_argument("--base-url", default="", help="instead of the row's API address")
        parser.add_argument("--events-url", default="", help="instead of the row's event endpoint")
        parser.add_argument(
            "--settings-file",
            metavar="FILE",
            help="JSON with the settings of a test merchant, such as its API key, or access_token of "
            "a connected account; - reads from standard input",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        row = runs.run_now(subject_of(options), "command")
        if row.status == CertificationStatus.BROKEN:
            raise CommandError("The run could not be finished; the log says why.")
        with translation.override(options["language"]):
            self.stdout.write(written(row, options["format"]))
        if row.status != CertificationStatus.PASSED:
            sys.exit(1)


def written(row: Certification, form: str) -> str:
    match form:
        case "json":
            return json.dumps(row.report, ensure_ascii=False, indent=2)
        case "html":
            context = {"certification": row, "report": row.report}
            return render_to_string("certification/report.html", context)
    return reports.as_text(row.report)


def subject_of(options: dict[str, Any]) -> Subject:
    integration = Integration.objects.filter(slug=options["slug"]).first()
    if integration is None:
        raise CommandError(f"There is no integration “{options['slug']}”.")
    names = options["capability"] or list(integration.capabilities)
    for name in names:
        if name not in integration.capabilities:
            raise CommandError(f"{integration} does not declare “{name}”.")
    for url in (options["base_url"], options["events_url"]):
        try:
            if url:
                check_url(url)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
    return Subject(
        integration,
        names,
        options["base_url"],
        options["events_url"],
        settings_of(options["settings_file"]),
    )


def settings_of(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        settings = strict_json.loads(text)
    except OSError:
        raise CommandError("The file of settings can't be read.") from None
    except strict_json.StrictJSONError as error:
        raise CommandError(f"The settings are no JSON: {error}") from None
    if not isinstance(settings, dict):
        raise CommandError("The settings must be a JSON object.")
    return settings
