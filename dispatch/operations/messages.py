"""Messages to guests and staff, in place of Posz's own e-mail."""

from abc import abstractmethod
from typing import Any, Literal

from catalog.capabilities import Direction
from dispatch.contracts import Adapter, Call, PartnerEvent
from dispatch.operations.notation import (
    Command,
    Contract,
    Failure,
    Operation,
    Prose,
    Record,
    Text,
    Time,
    Url,
    Words,
    number,
    per_outlet,
    secret,
    text,
)


class Parameter(Record, frozen=True):
    key: Text
    value: Prose


class Attachment(Record, frozen=True):
    kind: Literal["document", "image"]
    url: Url


class Button(Record, frozen=True):
    label: Text
    url: Url


class Template(Record, frozen=True):
    key: Text
    language: Literal["id", "en"]
    provider_template_id: Text | None = None
    params: tuple[Parameter, ...] = ()
    header: Attachment | None = None
    buttons: tuple[Button, ...] = ()


class Message(Command, frozen=True):
    """Marketing is never sent over another channel than the one that was asked for."""

    message_id: Text
    channel: Literal["whatsapp", "sms", "email", "push"]
    to: Text
    template: Template
    category: Literal["utility", "authentication", "marketing"]
    expires_at: Time
    text_fallback: Prose | None = None
    order_id: Text | None = None


class TakenMessage(Record, frozen=True):
    """Taken is not delivered: that is reported later."""

    provider_message_id: Text
    status: Literal["accepted", "rejected"]
    reason: Text | None = None


class MessageReport(Record, frozen=True):
    message_id: Text
    status: Literal["queued", "sent", "delivered", "read", "failed"]
    provider_message_id: Text | None = None
    code: Text | None = None


class NotificationAdapter(Adapter):
    @abstractmethod
    def send_message(self, call: Call, request: Message) -> TakenMessage:
        """Send a message, once per `message_id`."""

    @abstractmethod
    def message_report(self, event: PartnerEvent) -> MessageReport:
        """What became of a message, in the words of Posz."""


MESSAGE: dict[str, Any] = {
    "message_id": "msg-1190",
    "channel": "whatsapp",
    "to": "+6281237004512",
    "template": {
        "key": "receipt",
        "provider_template_id": "struk_digital_v2",
        "language": "id",
        "params": [
            {"key": "name", "value": "Ayu"},
            {"key": "total", "value": "Rp159.390"},
        ],
        "buttons": [{"label": "Lihat struk", "url": "https://posz.example/r/U-117"}],
    },
    "text_fallback": "Struk Anda: https://posz.example/r/U-117",
    "category": "utility",
    "expires_at": "2026-11-24T06:41:30Z",
    "order_id": "ord-58213",
}

CONTRACTS = (
    Contract(
        capability="notification_provider",
        adapter=NotificationAdapter,
        words=Words(
            "Posz calls you to send a receipt, a reminder, a call to the counter or a one-time code. "
            "You post what became of it.",
            "Posz memanggil Anda untuk mengirim struk, pengingat, panggilan ambil pesanan, atau kode "
            "sekali pakai. Anda mengirim hasilnya.",
        ),
        failure=Words(
            "Posz sends it by e-mail where there is an address, or prints it. Marketing is never sent "
            "another way.",
            "Posz mengirimnya lewat e-mail bila ada alamat, atau mencetaknya. Pesan pemasaran tidak "
            "pernah dialihkan.",
        ),
        operations=(
            Operation(
                words=Words("Send a message.", "Kirim pesan."),
                request=Message,
                answer=TakenMessage,
                request_example=MESSAGE,
                answer_example={"provider_message_id": "wamid.HBgN", "status": "accepted"},
                failure=Failure.BUILT_IN,
                method=NotificationAdapter.send_message,
                key=("message_id",),
                events=("order.completed", "reservation.status_changed", "tax_invoice.updated"),
            ),
            Operation(
                name="message.updated",
                direction=Direction.INBOUND,
                words=Words(
                    "You report what became of a message.", "Anda melaporkan status pesan."
                ),
                request=MessageReport,
                request_example={
                    "message_id": "msg-1190",
                    "provider_message_id": "wamid.HBgN",
                    "status": "delivered",
                },
                failure=Failure.SEND_AGAIN,
                method=NotificationAdapter.message_report,
                key=("message_id", "status"),
            ),
        ),
        config={
            "channel_id": per_outlet(text("Sender or channel id", "ID pengirim atau kanal")),
            "token": secret("Token", "Token"),
            "quiet_from": text("Quiet from", "Jam tenang dari", format="time"),
            "quiet_until": text("Quiet until", "Jam tenang sampai", format="time"),
            "cost_cap_cents": number("Most cost a day", "Biaya tertinggi per hari"),
        },
    ),
)
