"""The whole of what is tried for an integration, in the order of the registry, and the report of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.utils import timezone

from catalog.capabilities import Direction
from catalog.models import Integration
from dispatch.certification.asking import Trial
from dispatch.certification.report import Result, Section, verdict_of, without
from dispatch.certification.stand_in import StandIn
from dispatch.certification.telling import Receiving, Sending, Told, told_of
from dispatch.operations import CONTRACTS
from dispatch.operations.notation import Contract
from installs.credentials import current_keys

# Events that the row subscribes to and that cause no operation of its capabilities.
OTHER_EVENTS = "events"


class Step(Protocol):
    def results(self) -> list[Result]: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom to try, with which of its capabilities, where, and with the settings of which merchant.

    An empty address is the row's own; with another API address events go only where one is given.
    """

    integration: Integration
    capabilities: Sequence[str]
    base_url: str = ""
    events_url: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def contracts(self) -> list[Contract]:
        """In the versions that the row declares."""
        declared = self.integration.capabilities
        return [
            contract
            for (name, version), contract in CONTRACTS.items()
            if name in self.capabilities and declared.get(name) == version
        ]

    @property
    def is_whole(self) -> bool:
        return set(self.capabilities) >= set(self.integration.capabilities)

    @property
    def event_address(self) -> str:
        return self.events_url or ("" if self.base_url else self.integration.outbound_url)

    def placed(self) -> Integration:
        """The row as if its API were at the given address; it is not to be saved."""
        row = Integration.objects.get(pk=self.integration.pk)
        if self.base_url:
            row.api_base_url = self.base_url
        return row


Plan = list[tuple[str, int | None, list[Step]]]


def plan_of(subject: Subject, stand_in: StandIn) -> Plan:
    """Sections with the steps of each."""
    plan: Plan = []
    left = list(subject.integration.outbound_events)
    for contract in subject.contracts():
        steps = _steps_of(contract, subject, stand_in)
        plan.append((contract.capability, contract.version, steps))
        caused = {event for item in contract.operations for event in item.events}
        left = [item for item in left if item not in caused]
    if left and subject.is_whole:
        told = [Told(item, item) for item in left]
        plan.append((OTHER_EVENTS, None, [Sending(stand_in, subject.event_address, told)]))
    return plan


def _steps_of(contract: Contract, subject: Subject, stand_in: StandIn) -> list[Step]:
    operations = contract.operations
    received = [item for item in operations if item.direction is Direction.INBOUND]
    steps: list[Step] = [
        Trial(stand_in, contract, item) for item in operations if item.direction is Direction.SYNC
    ]
    if received:
        steps.append(Receiving(stand_in, contract, received))
    if told := told_of(contract):
        steps.append(Sending(stand_in, subject.event_address, told))
    return steps


def examine(
    subject: Subject, told: Callable[[int, int], None] = lambda _done, _total: None
) -> dict[str, Any]:
    """Try everything and report. `told` hears how many steps of how many are done."""
    integration = subject.placed()
    keys = current_keys([integration.slug]).get(integration.slug, {})
    stand_in = StandIn(integration, keys, subject.settings)
    plan = plan_of(subject, stand_in)
    total, done = sum(len(steps) for _name, _version, steps in plan), 0
    sections = []
    for name, version, steps in plan:
        results: list[Result] = []
        for step in steps:
            told(done, total)
            results += step.results()
            done += 1
        sections.append(Section(name, version, results))
    told(done, total)
    report = {
        "integration": integration.slug,
        "at": timezone.now().isoformat(timespec="seconds"),
        "api": integration.api_base_url,
        "events": subject.event_address,
        "verdict": verdict_of(section.verdict for section in sections).value,
        "sections": [section.as_json() for section in sections],
    }
    cleaned: dict[str, Any] = without(stand_in.secrets(), report)
    return cleaned
