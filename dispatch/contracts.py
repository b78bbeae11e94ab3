"""What Posz asks of an adapter: neutral dataclasses, one ABC per capability, four ways to fail.

An adapter translates. It takes a `Call` and a request, speaks to the partner through the HTTP door,
and returns a dataclass or raises one of the errors below. It never stores, retries or schedules.
Amounts are integer hundredths of the currency unit.
"""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlsplit
from uuid import UUID

from catalog.models import Integration
from installs.models import Install, Location, Merchant

QR_PAYLOAD_LENGTH = 300
LABEL_LENGTH = 32
MAX_PRETEXT_LINES = 6
# Columns of a receipt printer's standard font on 58 mm and on 80 mm paper.
COLUMNS = {58: 32, 80: 48}
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
ALIGNMENTS = ("left", "center", "right")
# The bytes that begin a command of an ESC/POS printer: EOT, ENQ, DLE, DC4, CAN, ESC, FS, GS, RS, US.
PRINTER_COMMAND = re.compile(r"[\x04\x05\x10\x14\x18\x1b-\x1f]")


class AdapterError(Exception):
    """`code` is a short machine word; the message is for logs and holds no secret."""

    code = "upstream_error"


class TemporaryError(AdapterError):
    """The partner is slow, down or broken: the same call may work later."""

    code = "unreachable"


class PermanentError(AdapterError):
    """The partner understood and will not do it, or answered nonsense."""

    code = "refused"


class AuthError(AdapterError):
    """The partner does not accept our credentials."""

    code = "unauthorized"


class DeclinedError(AdapterError):
    """A business refusal: a right answer that says no."""

    code = "declined"


@dataclass(frozen=True, slots=True)
class Call:
    """Everything about the asking that is not the question."""

    merchant: Merchant
    location: Location | None
    install: Install
    keys: Mapping[str, bytes]
    timeout_seconds: float
    external_merchant_id: str = ""
    idempotency_key: str = ""
    # Of the merchant's account at the partner, where it was connected.
    access_token: str = field(default="", repr=False)

    @property
    def integration(self) -> Integration:
        return self.install.integration


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    qty: Decimal
    unit_price_cents: int
    total_cents: int


@dataclass(frozen=True, slots=True)
class Order:
    """A closed order; `raw` is the POS's own object, for partners that want all of it."""

    id: str
    number: str
    version: int
    table: str | None
    currency: str
    closed_at: datetime
    lines: tuple[Line, ...]
    subtotal_cents: int
    service_cents: int
    tax_cents: int
    discount_cents: int
    total_cents: int
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReceiptQrRequest:
    order: Order
    receipt: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReceiptPretextRequest:
    order: Order
    receipt: Mapping[str, Any]

    @property
    def columns(self) -> int:
        """How wide a line may be; the narrow paper where the till does not say."""
        paper = self.receipt.get("paper_mm")
        return COLUMNS.get(paper, COLUMNS[58]) if type(paper) is int else COLUMNS[58]


@dataclass(frozen=True, slots=True)
class TableCheckRequest:
    """An open check at a table, whose guests want to pay from their own phones."""

    check: Order


@dataclass(frozen=True, slots=True)
class QrLink:
    """A code that guests scan from paper. The payload is an http(s) URL short enough for 58 mm paper."""

    qr_payload: str
    label_en: str
    label_id: str
    external_ref: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.qr_payload)
        is_printable = self.qr_payload.isascii() and self.qr_payload.isprintable()
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or not is_printable
            or " " in self.qr_payload
            or len(self.qr_payload) > QR_PAYLOAD_LENGTH
        ):
            raise PermanentError("qr_payload is not an http(s) URL of at most 300 characters")
        for label in (self.label_en, self.label_id):
            if not 0 < len(label) <= LABEL_LENGTH or not label.isprintable():
                raise PermanentError("label must have 1 to 32 printable characters")

    def output(self) -> dict[str, Any]:
        return {
            "qr_payload": self.qr_payload,
            "label": {"en": self.label_en, "id": self.label_id},
            "external_ref": self.external_ref,
        }


@dataclass(frozen=True, slots=True)
class QrCodes:
    """One code or two, as version 2 of the contract has them.

    What a till has read since version 1 is the first of them.
    """

    links: tuple[QrLink, ...]
    expires_at: tuple[datetime | None, ...]
    external_ref: str

    def output(self) -> dict[str, Any]:
        codes = [
            {
                "qr_payload": link.qr_payload,
                "label": {"en": link.label_en, "id": link.label_id},
                **({"expires_at": until.isoformat()} if until else {}),
            }
            for link, until in zip(self.links, self.expires_at, strict=True)
        ]
        return {**codes[0], "external_ref": self.external_ref, "codes": codes}


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of plain text on paper, in both languages.

    What starts a command of the printer is refused, for what follows it is no text either; other
    characters that print nothing are left out.
    """

    text_en: str
    text_id: str
    align: str = "left"
    is_emphasized: bool = False

    def __post_init__(self) -> None:
        if self.align not in ALIGNMENTS:
            raise PermanentError("align is not left, center or right")
        object.__setattr__(self, "text_en", _plain(self.text_en))
        object.__setattr__(self, "text_id", _plain(self.text_id))

    @property
    def columns(self) -> int:
        return max(_columns(self.text_en), _columns(self.text_id))

    def output(self) -> dict[str, Any]:
        return {
            "text": {"en": self.text_en, "id": self.text_id},
            "align": self.align,
            "emphasis": self.is_emphasized,
        }


@dataclass(frozen=True, slots=True)
class Pretext:
    """A block of text above the totals of a receipt that has this many columns."""

    lines: tuple[TextLine, ...]
    columns: int
    external_ref: str = ""

    def __post_init__(self) -> None:
        if len(self.lines) > MAX_PRETEXT_LINES:
            raise PermanentError(f"there are more than {MAX_PRETEXT_LINES} lines")
        if any(line.columns > self.columns for line in self.lines):
            raise PermanentError(f"a line has more than {self.columns} columns")

    def output(self) -> dict[str, Any]:
        return {
            "lines": [line.output() for line in self.lines],
            "external_ref": self.external_ref,
        }


def _plain(text: str) -> str:
    if PRINTER_COMMAND.search(text):
        raise PermanentError("a line holds a command for the printer")
    kept = (char for char in text if unicodedata.category(char) not in UNPRINTABLE)
    return unicodedata.normalize("NFC", "".join(kept))


def _columns(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "FW")
        for char in text
    )


@dataclass(frozen=True, slots=True)
class PartnerEvent:
    """A verified inbound event of a partner.

    `is_late`: something newer about the same subject has been processed already. A late event may
    be noted; it must not overwrite anything.
    """

    id: str
    type: str
    capability: str
    occurred_at: datetime | None
    data: Mapping[str, Any]
    install_id: UUID
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class AuditNote:
    """An effect of an event: a row in the install's audit log."""

    action: str
    data: dict[str, Any]


class Adapter(ABC):
    """One partner's code. `speaks` maps each capability to the contract versions it knows."""

    slug: ClassVar[str]
    speaks: ClassVar[Mapping[str, tuple[int, ...]]]


class ReceiptQrAdapter(Adapter):
    @abstractmethod
    def receipt_qr(self, call: Call, request: ReceiptQrRequest) -> QrLink:
        """A code for the foot of the receipt of a closed order."""


class ReceiptCodesAdapter(Adapter):
    @abstractmethod
    def receipt_codes(self, call: Call, request: ReceiptQrRequest) -> QrCodes:
        """Version 2 of the same: one code or two, of which each may end."""


class ReceiptPretextAdapter(Adapter):
    @abstractmethod
    def receipt_pretext(self, call: Call, request: ReceiptPretextRequest) -> Pretext:
        """A few lines of text above the totals of the receipt of a closed order."""


class PayAtTableAdapter(Adapter):
    @abstractmethod
    def pay_at_table(self, call: Call, request: TableCheckRequest) -> QrLink:
        """A code at which the guests of this check pay; it takes the place of Posz's own."""


class ProvisioningAdapter(Adapter):
    """A partner that must know a merchant before it serves it. Asking twice gives the same id."""

    @abstractmethod
    def provision(self, call: Call) -> str:
        """Tell the partner about the merchant; return the partner's id of it."""


class InboundAdapter(Adapter):
    @abstractmethod
    def on_event(self, event: PartnerEvent) -> list[AuditNote]:
        """Say what an event means. Called again with the same event after a crash."""

    def external_ref(self, data: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """What in an event names an earlier answer of ours, so that its outlet can be found."""
        return None

    def subject(self, data: Mapping[str, Any]) -> str | None:
        """What an event is about, where a newer one takes the place of an older one.

        None where each stands for itself.
        """
        return self.external_ref(data)
