"""Asks as a till asks, and puts what came back into words."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from catalog.envelope import ApiError
from catalog.models import Integration
from dispatch import router
from dispatch.operations import newest
from dispatch.till.surfaces import Data, Exchange, Party, Stand

STATUS_NAMES = {
    "ok": pgettext_lazy("answer", "Answered"),
    "declined": pgettext_lazy("answer", "Declined"),
    "error": pgettext_lazy("answer", "Failed"),
    "timeout": pgettext_lazy("answer", "Too slow"),
    "skipped": pgettext_lazy("answer", "Left out"),
}
TONES = {"ok": "ok", "declined": "quiet", "error": "bad", "timeout": "warn", "skipped": "warn"}
FAILURES = {"error", "timeout", "skipped"}
REASONS: dict[str, Promise] = {
    "ok": gettext_lazy("Its answer counts."),
    "declined": gettext_lazy("It said no, which is an answer."),
    "error": gettext_lazy("It could not be reached or gave no usable answer."),
    "timeout": gettext_lazy("It did not answer in time."),
    "skipped": gettext_lazy(
        "It has been failing, so it was not asked. It is tried again in a moment."
    ),
    "unsupported": gettext_lazy("Posz does not speak its version of this yet."),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The answer that counts: of the first integration that gave one, else what is known without.

    `status` is that of a result, `built_in` where nobody was asked, or `refused` by the hub itself.
    """

    status: str
    output: Data
    exchange: Exchange
    name: str = ""

    @property
    def is_ok(self) -> bool:
        return self.status == "ok"

    @property
    def is_built_in(self) -> bool:
        return self.status == "built_in"


def ask(
    stand: Stand,
    capability: str,
    operation: str,
    data: Mapping[str, Any],
    install_id: str = "",
) -> Asked:
    """Put a question through the router, as `POST /v1/dispatch/{capability}` does."""
    contract = newest(capability)
    known = contract.operation(operation)
    question: Data = {"location_id": str(stand.outlet.pk), "data": dict(data)}
    if operation:
        question["operation"] = operation
    if install_id:
        question["install_id"] = install_id
    started = time.monotonic()
    try:
        answer = router.dispatch(
            stand.actor.merchant_id,
            stand.outlet.pk,
            capability,
            dict(data),
            operation=operation,
            install_id=UUID(install_id) if install_id else None,
        )
    except ApiError as error:
        answer = error.body()
    results = answer.get("results", [])
    names = names_of(results)
    exchange = Exchange(
        name=f"{capability}.{operation}" if operation else capability,
        path=f"POST /v1/dispatch/{capability}",
        request=question,
        answer=answer,
        parties=tuple(party_of(result, names) for result in results),
        is_built_in=answer.get("answered_by") == "built_in",
        elapsed_ms=round((time.monotonic() - started) * 1000),
        budget_ms=contract.budget_of(known) if known else None,
        failure=str(known.failure.words) if known else "",
    )
    if "error" in answer:
        return Asked("refused", {}, exchange)
    if not results:
        return Asked("built_in", {}, exchange)
    counts = next((item for item in results if item["status"] == "ok"), results[0])
    return Asked(counts["status"], counts["output"], exchange, names[counts["integration"]])


def names_of(results: list[Data]) -> dict[str, str]:
    slugs = {result["integration"] for result in results}
    known = {row.slug: row.name for row in Integration.objects.filter(slug__in=slugs)}
    return {slug: known.get(slug, slug) for slug in slugs}


def party_of(result: Data, names: Mapping[str, str]) -> Party:
    status = result["status"]
    code = result.get("error", {}).get("code")
    reason = "unsupported" if code == "capability_unsupported" else status
    return Party(
        name=names[result["integration"]],
        status_name=str(STATUS_NAMES[status]),
        tone=TONES[status],
        reason=str(REASONS[reason]),
        detail=result["error"]["message"] if status in {"error", "timeout"} else "",
        # A partner that is still thinking was not timed.
        elapsed_ms=result["elapsed_ms"] or None,
    )


def title_of(asked: Asked, built_in: str) -> str:
    """What the till says where there is no answer; `built_in` is what Posz does by itself then."""
    match asked.status:
        case "built_in":
            return built_in
        case "declined":
            return _("%(name)s declined") % {"name": asked.name}
        case "refused":
            return _("The hub refused the question")
        case _:
            return _("%(name)s gave no answer") % {"name": asked.name}


def tone_of(asked: Asked) -> str:
    return {"ok": "ok", "built_in": "quiet", "declined": "quiet"}.get(asked.status, "warn")
