"""A sample request as staff paste it, and as the request that the provider sent.

A browser sends the line ends of a text as CRLF, whatever they were. So a body that is pasted as text
has LF unless staff say CRLF; where it must be exact, it comes as a file, as hex or as base64.
"""

import base64
import binascii
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Self
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from catalog.envelope import MAX_BODY_BYTES
from catalog.inbound_parts import HEADER_NAME, SignedRequest
from catalog.inbound_scheme import Scheme
from catalog.models import Integration
from dispatch.inbound_explanation import time_of

MAX_HEADERS = 100
HIDDEN = "[key]"


def _hex(text: str) -> bytes:
    return bytes.fromhex("".join(text.split()))


def _base64(text: str) -> bytes:
    return base64.b64decode("".join(text.split()), validate=True)


WRITTEN: dict[str, Callable[[str], bytes]] = {
    "text": lambda text: text.replace("\r\n", "\n").encode(),
    "text-crlf": lambda text: text.replace("\r\n", "\n").replace("\n", "\r\n").encode(),
    "hex": _hex,
    "base64": _base64,
}


@dataclass(frozen=True, slots=True)
class Pasted:
    """`clock` says which time it is for the sample: `now`, its own (`sample`), or the one in `at`."""

    method: str
    address: str
    headers: str
    body: str
    written: str
    clock: str
    at: str

    @classmethod
    def typed_in(cls, data: Mapping[str, str], upload: bytes | None) -> Self:
        pasted = cls(*(data.get(f"sample-{name}", "") for name in cls.__slots__))
        if upload is None:
            return pasted
        return replace(pasted, body=base64.b64encode(upload).decode(), written="base64")

    @classmethod
    def empty(cls, integration: Integration) -> Self:
        return cls("POST", registered_address(integration), "", "", "text", "now", "")

    def request(self, scheme: Scheme) -> SignedRequest:
        """Raises ValidationError that names what can't be read, never what stands in it."""
        address, path, query = self._target()
        request = SignedRequest(
            method=self.method.strip() or "POST",
            url=address,
            path=path,
            query=query,
            headers=self._pairs(),
            body=self.raw_body(),
            now=time.time(),
        )
        return request._replace(now=self._now(scheme, request))

    def without(self, spellings: Sequence[bytes]) -> Self:
        """As it may be shown again: keys are not, wherever they stand."""
        return replace(
            self,
            address=_covered(self.address, spellings),
            headers=_covered(self.headers, spellings),
            body=self._body_without(spellings),
        )

    def raw_body(self) -> bytes:
        try:
            body = WRITTEN.get(self.written, WRITTEN["text"])(self.body)
        except (ValueError, binascii.Error):
            raise ValidationError(
                _("Body: it is not written as %(kind)s.") % {"kind": self.written}
            ) from None
        if len(body) > MAX_BODY_BYTES:
            raise ValidationError(_("Body: it is longer than 256 KiB."))
        return body

    def _body_without(self, spellings: Sequence[bytes]) -> str:
        if self.written not in {"hex", "base64"}:
            return _covered(self.body, spellings)
        try:
            body = self.raw_body()
        except ValidationError:
            return _covered(self.body, spellings)
        for spelling in spellings:
            body = body.replace(spelling, HIDDEN.encode())
        return body.hex() if self.written == "hex" else base64.b64encode(body).decode()

    def _target(self) -> tuple[str, str, str]:
        try:
            parts = urlsplit(self.address.strip())
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ValidationError(_("Address: write the whole of it, starting with https://."))
        return self.address.strip().partition("?")[0], parts.path, parts.query

    def _pairs(self) -> list[tuple[str, str]]:
        """One that stands twice becomes one value, joined by a comma, as the server hands it out."""
        found: dict[str, str] = {}
        lines = [line for line in self.headers.splitlines() if line.strip()]
        for number, line in enumerate(lines, start=1):
            name, colon, value = line.partition(":")
            if not colon or not HEADER_NAME.fullmatch(name.strip()) or number > MAX_HEADERS:
                raise ValidationError(
                    _("Headers: line %(number)s is no “Name: value”.") % {"number": number}
                )
            key, text = name.strip().lower(), value.strip().encode().decode("latin-1")
            found[key] = f"{found[key]},{text}" if key in found else text
        return list(found.items())

    def _now(self, scheme: Scheme, request: SignedRequest) -> float:
        if self.clock == "sample":
            return time_of(scheme, request) or request.now
        if self.clock != "at":
            return request.now
        try:
            moment = parse_datetime(self.at)
            if moment is not None:
                return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
        except (ValueError, OverflowError):
            pass
        raise ValidationError(_("Time of the check: write a date and a time."))


def registered_address(integration: Integration) -> str:
    base = settings.PUBLIC_URL.rstrip("/")
    return f"{base}/v1/integrations/{integration.slug}/webhook"


def _covered(text: str, spellings: Sequence[bytes]) -> str:
    for spelling in spellings:
        text = text.replace(spelling.decode("utf-8", "surrogateescape"), HIDDEN)
    return text
