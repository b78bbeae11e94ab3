"""The scenarios of events: those that a partner is sent, and those that it sends."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from django.conf import settings
from django.core.exceptions import ValidationError

from catalog.capabilities import Direction
from catalog.inbound_scheme import Kind
from dispatch import door
from dispatch.adapters import adapter_for
from dispatch.certification import ledger
from dispatch.certification.report import Result, Verdict
from dispatch.certification.scenarios import RECEIVED, SENT, Scenario
from dispatch.certification.stand_in import MERCHANT_ID, OUTLET_ID, WRONG, StandIn, Thread
from dispatch.operations import where_and_what
from dispatch.operations.notation import Contract, Operation, Words
from dispatch.signing import SignedEvent
from installs.credentials import active_secrets

LATE_SECONDS = 600
# Schemes that are proven by no key of the row.
KEYLESS = frozenset({Kind.ISSUED, Kind.NONE})


@dataclass(frozen=True, slots=True)
class EventReply:
    """`status` None: no answer, and `problem` says why."""

    status: int | None
    elapsed_ms: int
    problem: str = ""

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_refused(self) -> bool:
        return self.status in {401, 403}

    @property
    def words(self) -> Words:
        if self.status is None:
            return Words("No answer.", "Tidak ada jawaban.")
        return Words(
            f"{self.status} after {self.elapsed_ms} ms.",
            f"{self.status} setelah {self.elapsed_ms} ms.",
        )


@dataclass(frozen=True, slots=True)
class Told:
    """An event to send: as its operation words it, or (`operation` None) the example of its type."""

    type: str
    about: str
    operation: Operation | None = None

    def event(self) -> SignedEvent | None:
        step = self.operation
        data = Thread([step]).question(step) if step else None
        return ledger.example(self.type, MERCHANT_ID, OUTLET_ID, data)


def told_of(contract: Contract) -> list[Told]:
    """One event for each operation that is delivered."""
    return [
        Told(item.events[0], f"{contract.path(item)}: {item.events[0]}", item)
        for item in contract.operations
        if item.direction is Direction.OUTBOUND and item.events
    ]


@dataclass(frozen=True, slots=True)
class Sending:
    """Events to a partner's endpoint; the first of them is also sent as it must not be."""

    stand_in: StandIn
    url: str
    told: Sequence[Told]

    def results(self) -> list[Result]:
        about = self.told[0].about
        if not self.url and not self.stand_in.integration.outbound_url:
            none = Words("The row has no event endpoint.", "Baris ini tidak punya endpoint event.")
            return [_judged(SENT["success"], about, False, none, "")]
        if why := self._why_not():
            return [_skipped(SENT["success"], about, why)]
        results = []
        for number, told in enumerate(self.told):
            event = told.event()
            if event is None:
                why = Words("There is no such event type.", "Tidak ada jenis event ini.")
                results.append(_skipped(SENT["success"], told.about, why))
                continue
            reply = self._post(event)
            results.append(_answered("success", told, reply, is_passed=reply.is_taken))
            if number == 0 and reply.status is not None:
                results += self._others(told, event)
        return results

    def _others(self, told: Told, event: SignedEvent) -> list[Result]:
        again = self._post(event)
        results = [_answered("duplicate", told, again, is_passed=again.is_taken)]
        forged = self._post(told.event() or event, is_forged=True)
        results.append(_answered("wrong_signature", told, forged, is_passed=forged.is_refused))
        late = self._post(told.event() or event, age_seconds=LATE_SECONDS)
        return [*results, _answered("late", told, late, is_passed=late.is_refused)]

    def _why_not(self) -> Words | None:
        if not self.url:
            return Words(
                "Not tried: another API address was given, and no event endpoint with it.",
                "Tidak dicoba: alamat API lain diberikan, tanpa endpoint event.",
            )
        if not self.stand_in.is_connected:
            return Words(
                "Not tried: no access token of a test account was given.",
                "Tidak dicoba: token akses akun uji tidak diberikan.",
            )
        return None

    def _post(
        self, event: SignedEvent, *, is_forged: bool = False, age_seconds: int = 0
    ) -> EventReply:
        key = WRONG.encode() if is_forged else self.stand_in.keys.get("outbound")
        if key is None:
            return EventReply(None, 0, "no outbound secret is set")
        headers = event.headers([key], int(time.time()) - age_seconds)
        if token := self.stand_in.access_token:
            headers["Authorization"] = f"Bearer {token}"
        started = time.monotonic()
        try:
            reply = door.call(
                "POST",
                self.url,
                headers=headers,
                body=event.body,
                timeout_seconds=settings.DELIVERY_TIMEOUT_SECONDS,
            )
        except door.DoorError as error:
            return EventReply(None, round((time.monotonic() - started) * 1000), error.code)
        return EventReply(reply.status, reply.elapsed_ms)


@dataclass(frozen=True, slots=True)
class Receiving:
    """What a partner posts or asks: nothing can be asked of it, but what there is can be looked at."""

    stand_in: StandIn
    contract: Contract
    operations: Sequence[Operation]

    def results(self) -> list[Result]:
        told = [item for item in self.operations if item.answer is None]
        asked = [item for item in self.operations if item.answer is not None]
        results = [_skipped(RECEIVED["sample"], self.contract.path(item), YOURS) for item in asked]
        if not told:
            return results
        if not self._has_events and not self._needs_events:
            return [*results, _skipped(RECEIVED["scheme"], self.contract.capability, NOT_SET_UP)]
        return [*results, self._scheme(), *(self._sample(item) for item in told)]

    @property
    def _has_events(self) -> bool:
        return self.contract.capability in self.stand_in.integration.inbound_events.values()

    @property
    def _needs_events(self) -> bool:
        """Whether without them the capability would be nothing."""
        is_inbound = self.contract.place.direction is Direction.INBOUND
        return is_inbound and not any(item.is_asked for item in self.contract.operations)

    def _scheme(self) -> Result:
        detail = self._gap()
        came = (
            Words("Something is missing.", "Ada yang belum lengkap.")
            if detail
            else Words("Complete.", "Lengkap.")
        )
        return _judged(RECEIVED["scheme"], self.contract.capability, not detail, came, detail)

    def _gap(self) -> str:
        integration = self.stand_in.integration
        try:
            scheme = integration.inbound_scheme
            _mapping = integration.event_mapping
        except ValidationError as error:
            return " ".join(error.messages)
        if not self._has_events:
            return f"no inbound event leads to {self.contract.capability}"
        if scheme.kind in KEYLESS:
            return ""
        has_key = active_secrets(integration.slug, scheme.purpose)
        return "" if has_key else f"there is no key of the purpose {scheme.purpose}"

    def _sample(self, operation: Operation) -> Result:
        scenario, integration = RECEIVED["sample"], self.stand_in.integration
        about, name = self.contract.path(operation), self.contract.capability
        adapter = adapter_for(integration.slug, name, self.contract.version)
        if adapter is not None and adapter.slug == integration.slug:
            return _skipped(scenario, about, OWN_ADAPTER)
        found = ledger.latest(integration.pk, name, operation.name)
        if found is None or found.data is None:
            return _skipped(scenario, about, WAITING)
        try:
            msgspec.convert(found.data, operation.request)
        except msgspec.ValidationError as error:
            where, what = where_and_what(error)
            detail = f"data{where}: {what}"
        else:
            detail = ""
        moment = f"{found.received_at:%Y-%m-%d %H:%M} UTC"
        came = Words(f"An event of {moment}.", f"Event dari {moment}.")
        return _judged(scenario, about, not detail, came, detail)


YOURS = Words(
    "Not tried: you ask Posz for this, so the first question is yours.",
    "Tidak dicoba: Anda yang bertanya kepada Posz, jadi pertanyaan pertama dari Anda.",
)
NOT_SET_UP = Words(
    "Not tried: the row takes no event of this capability from you.",
    "Tidak dicoba: baris ini tidak menerima event kapabilitas ini dari Anda.",
)
OWN_ADAPTER = Words(
    "Read by an adapter of its own, which has its own tests.",
    "Dibaca oleh adapter sendiri, yang memiliki ujiannya sendiri.",
)
WAITING = Words("Waiting for a first event.", "Menunggu event pertama.")


def _answered(code: str, told: Told, reply: EventReply, *, is_passed: bool) -> Result:
    return _judged(SENT[code], told.about, is_passed, reply.words, reply.problem, reply.elapsed_ms)


def _judged(
    scenario: Scenario, about: str, is_passed: bool, came: Words, detail: str, ms: int | None = None
) -> Result:
    return Result(
        scenario=scenario.code,
        about=about,
        verdict=Verdict.PASSED if is_passed else Verdict.FAILED,
        title=scenario.title,
        asked=scenario.asked,
        expected=scenario.expected,
        came=came,
        mend=None if is_passed else scenario.mend,
        detail="" if is_passed else detail,
        elapsed_ms=ms,
    )


def _skipped(scenario: Scenario, about: str, why: Words) -> Result:
    return Result(
        scenario=scenario.code,
        about=about,
        verdict=Verdict.SKIPPED,
        title=scenario.title,
        asked=scenario.asked,
        expected=scenario.expected,
        came=why,
    )
