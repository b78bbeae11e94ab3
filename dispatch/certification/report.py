"""What a run found, as a document that says itself what was asked and how to mend what failed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext as _

from dispatch.operations.notation import Words


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def label(self) -> str:
        labels = {"passed": _("passed"), "failed": _("failed"), "skipped": _("skipped")}
        return labels[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One scenario of one operation or event. `detail` is technical, in English, without a value."""

    scenario: str
    about: str
    verdict: Verdict
    title: Words
    asked: Words
    expected: Words
    came: Words
    mend: Words | None = None
    detail: str = ""
    elapsed_ms: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "about": self.about,
            "verdict": self.verdict.value,
            **{
                name: in_both(words)
                for name in ("title", "asked", "expected", "came", "mend")
                if (words := getattr(self, name)) is not None
            },
            "detail": self.detail,
            "elapsed_ms": self.elapsed_ms,
        }


@dataclass(frozen=True, slots=True)
class Section:
    """A capability in one version, or what else an integration is sent (`version` None)."""

    name: str
    version: int | None
    results: Sequence[Result]

    @property
    def verdict(self) -> Verdict:
        return verdict_of(item.verdict for item in self.results)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "verdict": self.verdict.value,
            "results": [item.as_json() for item in self.results],
        }


def verdict_of(verdicts: Iterable[Verdict]) -> Verdict:
    """One failure fails the whole; where nothing could be tried, nothing is proven."""
    found = set(verdicts)
    if Verdict.FAILED in found:
        return Verdict.FAILED
    return Verdict.PASSED if Verdict.PASSED in found else Verdict.SKIPPED


def in_both(words: Words) -> dict[str, str]:
    return {"en": words.en, "id": words.id}


def without(secrets: Iterable[str], document: Any) -> Any:
    """The document with every one of the texts taken out: a partner may repeat what it was sent."""
    hidden = [item for item in secrets if item]
    match document:
        case str():
            for item in hidden:
                document = document.replace(item, "[hidden]")
            return document
        case dict():
            return {name: without(hidden, value) for name, value in document.items()}
        case list():
            return [without(hidden, value) for value in document]
    return document


def as_text(report: dict[str, Any]) -> str:
    """For a terminal, in the language that is active."""
    lines = [f"{report['integration']}: {Verdict(report['verdict']).label}"]
    for section in report["sections"]:
        name = section["name"] + (f"@{section['version']}" if section["version"] else "")
        lines += ["", f"{name}: {Verdict(section['verdict']).label}"]
        for result in section["results"]:
            lines += _result_lines(result)
    return "\n".join(lines)


MARKS = {Verdict.PASSED: "+", Verdict.FAILED: "x", Verdict.SKIPPED: "-"}


def _result_lines(result: dict[str, Any]) -> list[str]:
    verdict = Verdict(result["verdict"])
    title, came = spoken(result["title"]), spoken(result["came"])
    lines = [f"  {MARKS[verdict]} {result['about']}: {title} ({verdict.label}): {came}"]
    if verdict is Verdict.FAILED:
        lines += [
            f"      {label}: {text}"
            for label, text in (
                (_("Asked"), spoken(result["asked"])),
                (_("Expected"), spoken(result["expected"])),
                (_("Detail"), result["detail"]),
                (_("How to mend it"), spoken(result.get("mend"))),
            )
            if text
        ]
    return lines


def spoken(words: dict[str, str] | None) -> str:
    return str(Words(words["en"], words["id"])) if words else ""
