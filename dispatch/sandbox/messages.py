"""What the sandbox's parts hand each other instead of sockets: a request read whole, an answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from catalog import strict_json


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is as sent, without the query; header names keep the sender's case. `mode` is what the
    switches make of it where only the one who answers can do that."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    mode: str = "ok"

    def header(self, name: str) -> str | None:
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)

    def parameter(self, name: str) -> str | None:
        return dict(parse_qsl(self.query)).get(name)

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusalError(Exception):
    """A request that the sandbox answers with an error that names what is wrong."""

    def __init__(self, status: int, code: str, message: str, field_name: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"code": code, "message": message}
        if field_name:
            self.error["field"] = field_name

    def answer(self) -> Answer:
        return json_answer(self.status, {"error": self.error})


def json_answer(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, strict_json.dumps(value), headers=headers or {})


def json_object(request: Request) -> dict[str, Any]:
    try:
        value = strict_json.loads(request.body)
    except strict_json.StrictJSONError as error:
        raise RefusalError(400, "invalid_json", str(error)) from None
    if not isinstance(value, dict):
        raise RefusalError(400, "invalid_json", "The body must be a JSON object.")
    return value


def now() -> datetime:
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
