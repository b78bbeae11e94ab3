"""The scenarios of an operation that Posz asks: each a few questions, judged by what comes back."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from catalog.strict_json import dumps
from dispatch.adapters import adapter_for
from dispatch.certification.answer import Answer, error_code_of
from dispatch.certification.report import Result, Verdict
from dispatch.certification.scenarios import ASKED, Scenario
from dispatch.certification.stand_in import (
    UNKNOWN,
    StandIn,
    Thread,
    leads_to,
    of_unknown_version,
    wrongly_keyed,
)
from dispatch.contracts import (
    AdapterError,
    Call,
    PermanentError,
    TemporaryError,
)
from dispatch.operations import read_from_partner
from dispatch.operations.notation import Contract, Done, Operation, Wire, Words
from dispatch.posz_wire import answer_of, envelope, post
from dispatch.request_auth import was_refused

# Beyond the budget, so that a slow answer is judged by what it says, and once by its time.
PATIENCE_SECONDS = 5.0
DEFAULT_BUDGET_MS = 5_000
LATE_SECONDS = 600
TIMES = 5
WRONG_KIND = [1.5]
EXTRA = {"posz_certification": {"since": 99}}
# Callers are known by something that has no time of its own.
TIMELESS = frozenset({"bearer", "header", "basic", "client_credentials"})

Alter = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Trial:
    """One operation of a contract, put to one partner."""

    stand_in: StandIn
    contract: Contract
    operation: Operation

    def results(self) -> list[Result]:
        """All scenarios in their order. Without any answer to the first there is no use in the rest."""
        if skipped := self._why_not():
            return [self._skipped(ASKED["success"], skipped)]
        first, is_silent = self._success()
        results = [first]
        for code, attempt in self._others().items():
            silent = Words(
                "Not tried: the first question got no answer.",
                "Tidak dicoba: pertanyaan pertama tidak dijawab.",
            )
            results.append(self._skipped(ASKED[code], silent) if is_silent else attempt())
        return results

    @property
    def path(self) -> str:
        return self.contract.path(self.operation)

    @property
    def budget_ms(self) -> int:
        return self.contract.budget_of(self.operation) or DEFAULT_BUDGET_MS

    def _others(self) -> dict[str, Callable[[], Result]]:
        return {
            "refusal": self._refusal,
            "duplicate": self._duplicate,
            "late": self._late,
            "wrong_signature": self._wrong_signature,
            "malformed": self._malformed,
            "version": self._version,
            "in_time": self._in_time,
            "unknown_fields": self._unknown_fields,
        }

    def _why_not(self) -> Words | None:
        integration = self.stand_in.integration
        if self.operation.wire is not Wire.POSZ:
            return Words(
                "Spoken over OpenID Connect; tried when a merchant connects.",
                "Melalui OpenID Connect; dicoba saat merchant menghubungkan.",
            )
        adapter = adapter_for(integration.slug, self.contract.capability, self.contract.version)
        if adapter is not None and adapter.slug == integration.slug:
            return Words(
                "Spoken by an adapter of its own, which has its own tests.",
                "Memakai adapter sendiri, yang memiliki ujiannya sendiri.",
            )
        if not self.stand_in.is_connected:
            return Words(
                "Not tried: no access token of a test account was given.",
                "Tidak dicoba: token akses akun uji tidak diberikan.",
            )
        return None

    # Scenarios

    def _success(self) -> tuple[Result, bool]:
        answer, _thread = self._told()
        return self._judged("success", answer, is_passed=answer.is_ok), answer.is_unanswered

    def _refusal(self) -> Result:
        name = UNKNOWN.get(self.path)
        if name is None:
            return self._not_applicable("refusal")
        thread = Thread([self.operation])
        answer = self._asked(thread, self.operation, thread.unknown(self.operation, name))
        is_passed = answer.is_declined and bool(answer.error_code)
        return self._judged("refusal", answer, is_passed=is_passed)

    def _duplicate(self) -> Result:
        if not self.operation.key:
            return self._not_applicable("duplicate")
        first, thread = self._told()
        if not first.is_ok:
            return self._judged("duplicate", first, is_passed=False)
        second = self._asked(thread, self.operation, thread.question(self.operation))
        is_same = second.is_ok and dumps(first.data) == dumps(second.data)
        detail = "" if is_same or not second.is_ok else "the second answer has other data"
        return self._judged("duplicate", second, is_passed=is_same, detail=detail)

    def _late(self) -> Result:
        auth = self.stand_in.integration.request_auth.get("scheme")
        if auth in TIMELESS or self.stand_in.access_token:
            return self._not_applicable("late")
        answer = self._asked_alone(age_seconds=LATE_SECONDS)
        return self._judged("late", answer, is_passed=answer.is_refused)

    def _wrong_signature(self) -> Result:
        answer = self._asked_alone(change=wrongly_keyed)
        return self._judged("wrong_signature", answer, is_passed=answer.is_refused)

    def _malformed(self) -> Result:
        answer = Answer(None, 0)
        for data in self._malformed_questions():
            answer = self._asked(Thread([self.operation]), self.operation, data)
            if not answer.is_turned_down:
                break
        return self._judged("malformed", answer, is_passed=answer.is_turned_down)

    def _malformed_questions(self) -> list[dict[str, Any]]:
        """The question without a field that it needs, where there is one, and with a wrong one."""
        data = Thread([self.operation]).question(self.operation)
        required = [
            item.encode_name
            for item in msgspec.structs.fields(self.operation.request)
            if item.required
        ]
        missing = (
            [{key: value for key, value in data.items() if key != required[0]}] if required else []
        )
        name = next(iter(required or data), None)
        return [*missing, data | {name: WRONG_KIND}] if name else [*missing, dict(EXTRA)]

    def _version(self) -> Result:
        def change(call: Call) -> Call:
            return of_unknown_version(call, self.contract.capability)

        answer = self._asked_alone(change=change)
        return self._judged("version", answer, is_passed=answer.is_turned_down)

    def _in_time(self) -> Result:
        """Of five the slowest is what 95 of 100 stand for, so one that is late decides."""
        slowest = Answer(None, 0)
        for _number in range(TIMES):
            answer, _thread = self._told()
            is_good = answer.is_ok and answer.elapsed_ms <= self.budget_ms
            if not is_good:
                return self._judged("in_time", answer, is_passed=False, budget=True)
            slowest = max(slowest, answer, key=lambda item: item.elapsed_ms)
        return self._judged("in_time", slowest, is_passed=True, budget=True)

    def _unknown_fields(self) -> Result:
        def with_more(document: dict[str, Any]) -> dict[str, Any]:
            parties = {name: document[name] | EXTRA for name in ("merchant", "outlet")}
            return document | parties | EXTRA

        answer, _thread = self._told(alter=with_more)
        return self._judged("unknown_fields", answer, is_passed=answer.is_ok)

    # Questions

    def _asked_alone(
        self, *, change: Callable[[Call], Call] = lambda call: call, age_seconds: int = 0
    ) -> Answer:
        """What must be refused before anybody looks whether what it is about is there."""
        thread = Thread([self.operation])
        data = thread.question(self.operation)
        return self._asked(thread, self.operation, data, change=change, age_seconds=age_seconds)

    def _told(self, alter: Alter | None = None) -> tuple[Answer, Thread]:
        """Put the question after those that have to come before it; the last answer counts."""
        steps = leads_to(self.contract, self.operation)
        thread, answer = Thread(steps), Answer(None, 0)
        for step in steps:
            is_last = step is self.operation
            question, change = thread.question(step), alter if is_last else None
            answer = self._asked(thread, step, question, alter=change)
            if answer.data is None:
                if not is_last:
                    path = self.contract.path(step)
                    answer = replace(answer, problem=_at_step(path, answer.problem))
                break
            thread.heard(answer.data)
        return answer, thread

    def _asked(
        self,
        thread: Thread,
        operation: Operation,
        data: Mapping[str, Any],
        *,
        change: Callable[[Call], Call] = lambda call: call,
        alter: Alter | None = None,
        age_seconds: int = 0,
    ) -> Answer:
        """One question, one try. Everything that goes wrong is in the answer."""
        budget_ms = self.contract.budget_of(operation) or DEFAULT_BUDGET_MS
        seconds = budget_ms / 1000 + PATIENCE_SECONDS
        call = change(self.stand_in.call(self.contract, seconds))
        key = f"{call.install.pk}:{operation.key_of(data)}:{thread.suffix}"
        call = replace(call, idempotency_key=key if operation.key else "")
        version = call.install.capability_versions[self.contract.capability]
        name = f"{self.contract.capability}@{version}"
        path = self.contract.path(operation)
        body_of = _altered(envelope(call, name, operation.name, data), alter)
        started = time.monotonic()

        def time_left() -> float:
            return max(started + seconds - time.monotonic(), 0.02)

        try:
            reply = post(call, path, body_of, time_left, age_seconds=age_seconds)
            if reply.status == 401 and was_refused(call):
                reply = post(call, path, body_of, time_left, age_seconds=age_seconds)
        except AdapterError as error:
            return Answer(None, _ms_since(started), problem=error)
        code = error_code_of(reply)
        try:
            answer = answer_of(call, path, reply, name)
            read_from_partner(answer, operation.answer or Done)
        except AdapterError as error:
            return Answer(reply.status, reply.elapsed_ms, problem=error, error_code=code)
        return Answer(reply.status, reply.elapsed_ms, answer)

    # Judgements

    def _judged(
        self, code: str, answer: Answer, *, is_passed: bool, detail: str = "", budget: bool = False
    ) -> Result:
        problem = "" if is_passed or answer.problem is None else str(answer.problem)
        limit = Words(f" Budget: {self.budget_ms} ms.", f" Batas: {self.budget_ms} ms.")
        came = answer.words
        scenario = ASKED[code]
        return Result(
            scenario=code,
            about=self.path,
            verdict=Verdict.PASSED if is_passed else Verdict.FAILED,
            title=scenario.title,
            asked=scenario.asked,
            expected=scenario.expected,
            came=Words(came.en + limit.en, came.id + limit.id) if budget else came,
            mend=None if is_passed else scenario.mend,
            detail=detail or problem,
            elapsed_ms=answer.elapsed_ms,
        )

    def _not_applicable(self, code: str) -> Result:
        return self._skipped(ASKED[code], NOT_APPLICABLE[code])

    def _skipped(self, scenario: Scenario, why: Words) -> Result:
        return Result(
            scenario=scenario.code,
            about=self.path,
            verdict=Verdict.SKIPPED,
            title=scenario.title,
            asked=scenario.asked,
            expected=scenario.expected,
            came=why,
        )


NOT_APPLICABLE = {
    "refusal": Words(
        "Not applicable: nothing in this question makes a no certain.",
        "Tidak berlaku: tidak ada dalam pertanyaan ini yang pasti ditolak.",
    ),
    "duplicate": Words(
        "Not applicable: a reading is put anew each time.",
        "Tidak berlaku: pembacaan selalu ditanyakan ulang.",
    ),
    "late": Words(
        "Not applicable: callers are known by a key that has no time.",
        "Tidak berlaku: pemanggil dikenali dari kunci yang tidak memiliki waktu.",
    ),
}


def _altered(body_of: Callable[[str], bytes], alter: Alter | None) -> Callable[[str], bytes]:
    if alter is None:
        return body_of
    change = alter

    def altered(request_id: str) -> bytes:
        return dumps(change(msgspec.json.decode(body_of(request_id))))

    return altered


def _at_step(path: str, problem: AdapterError | None) -> PermanentError | TemporaryError:
    kind = TemporaryError if isinstance(problem, TemporaryError) else PermanentError
    return kind(f"before it, {path}: {problem}")


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
