"""Guests at the till: the book of reservations, members and their points, messages."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator, RegexValidator
from django.utils import dateformat, timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from dispatch.till.asking import Asked, ask, title_of, tone_of
from dispatch.till.checkout import SampleForm, order_for
from dispatch.till.surfaces import Action, Data, Happened, Row, Rows, Stand, announce, fresh_id
from installs.templatetags.posz import rupiah

EVENING = (18, 22)
SITTING_SECONDS = 7200
GUEST, PHONE = "Ni Luh Ayu Pratiwi", "+6281237004512"
BOOKING_STATES: dict[str, Promise] = {
    "held": gettext_lazy("Held"),
    "requested": gettext_lazy("Requested"),
    "confirmed": gettext_lazy("Confirmed"),
    "arrived": gettext_lazy("Arrived"),
    "partially_arrived": gettext_lazy("Partly arrived"),
    "seated": gettext_lazy("Seated"),
    "in_service": gettext_lazy("Being served"),
    "completed": gettext_lazy("Gone"),
    "no_show": gettext_lazy("No-show"),
    "cancelled_guest": gettext_lazy("Cancelled by the guest"),
    "cancelled_venue": gettext_lazy("Cancelled by the restaurant"),
    "waitlist": gettext_lazy("On the waiting list"),
}
COMING = {"held", "requested", "confirmed", "arrived", "partially_arrived"}


class DayForm(forms.Form):
    date = forms.DateField(
        label=gettext_lazy("Day"), widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d")
    )


class PartyForm(DayForm):
    party_size = forms.IntegerField(
        label=gettext_lazy("Number of guests"), min_value=1, max_value=1000, initial=4
    )


class BookingForm(PartyForm):
    time = forms.TimeField(
        label=gettext_lazy("Time"),
        initial="19:00",
        widget=forms.TimeInput({"type": "time"}, format="%H:%M"),
    )
    name = forms.CharField(label=gettext_lazy("Guest"), max_length=200, initial=GUEST)


class SizeForm(forms.Form):
    party_size = forms.IntegerField(
        label=gettext_lazy("Number of guests"), min_value=1, max_value=1000, initial=5
    )


PHONE_PATTERN = r"^\+[1-9][0-9]{6,14}\Z"
PHONE_HINT = gettext_lazy("Write it like +6281237004512.")
is_phone = RegexValidator(PHONE_PATTERN, PHONE_HINT)
is_email = EmailValidator(gettext_lazy("Write an e-mail address."))


class PhoneForm(forms.Form):
    phone = forms.RegexField(
        label=gettext_lazy("Phone"),
        regex=PHONE_PATTERN,
        initial=PHONE,
        error_messages={"invalid": PHONE_HINT},
    )


class MessageForm(forms.Form):
    channel = forms.ChoiceField(
        label=gettext_lazy("Channel"),
        choices=[
            ("whatsapp", "WhatsApp"),
            ("sms", "SMS"),
            ("email", gettext_lazy("E-mail")),
        ],
    )
    to = forms.CharField(label=gettext_lazy("To"), max_length=200, initial=PHONE)
    kind = forms.ChoiceField(
        label=gettext_lazy("Message"),
        choices=[
            ("receipt", gettext_lazy("Digital receipt")),
            ("reservation_reminder", gettext_lazy("Reminder of a reservation")),
            ("otp", gettext_lazy("One-time code")),
        ],
    )

    def clean(self) -> dict[str, Any]:
        """An address of the kind that the channel needs."""
        given = self.cleaned_data
        check = is_email if given.get("channel") == "email" else is_phone
        try:
            check(given.get("to", PHONE))
        except ValidationError as error:
            self.add_error("to", error)
        return given


def chosen(form: type[forms.Form], name: str, given: Mapping[str, Any]) -> str:
    """What the form calls what was chosen in it."""
    choices = form.base_fields[name].choices  # type: ignore[attr-defined]
    return str(dict(choices)[given[name]])


def tomorrow(stand: Stand, given: Mapping[str, Any]) -> Data:  # noqa: ARG001
    today = timezone.now().astimezone(stand.outlet.zone).date()
    return {"date": today + timedelta(days=1)}


def _moment(day: date, hour: int, minute: int, zone: ZoneInfo) -> str:
    moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    return moment.astimezone(UTC).isoformat()


def local_time(text: str, stand: Stand, pattern: str = "j M Y H:i") -> str:
    """As the clock at the outlet shows it, with the name of its zone."""
    moment = datetime.fromisoformat(text).astimezone(stand.outlet.zone)
    return f"{dateformat.format(moment, pattern)} {moment.tzname()}"


def find_time(stand: Stand, given: Mapping[str, Any]) -> Happened:
    day, zone = given["date"], stand.outlet.zone
    question = {
        "date": day.isoformat(),
        "party_size": given["party_size"],
        "from": _moment(day, EVENING[0], 0, zone),
        "to": _moment(day, EVENING[1], 0, zone),
    }
    asked = ask(stand, "reservation_provider", "availability", question)
    lines = tuple(
        Row((local_time(slot["start_at"], stand), slot.get("area", ""), str(slot["available"])))
        for slot in asked.output.get("slots", [])
    )
    return Happened(
        title=(_("There is room") if lines else _("Nothing is free"))
        if asked.is_ok
        else title_of(asked, _("The book of Posz answers")),
        tone=tone_of(asked),
        note=_without_partner(asked),
        exchange=asked.exchange,
        rows=Rows((_("Time"), _("Area"), _("Tables free")), lines) if lines else None,
    )


def _without_partner(asked: Asked) -> str:
    is_known = asked.is_ok or asked.is_built_in
    return "" if is_known else _("The book of Posz is used until it answers again.")


def book(stand: Stand, given: Mapping[str, Any]) -> Happened:
    reservation = {
        "id": fresh_id("res"),
        "party_size": given["party_size"],
        "start_at": _moment(
            given["date"], given["time"].hour, given["time"].minute, stand.outlet.zone
        ),
        "duration_s": SITTING_SECONDS,
        "guest": {"id": fresh_id("cus"), "name": given["name"], "phone_e164": PHONE},
        "source": "till",
    }
    asked = ask(stand, "reservation_provider", "create", reservation)
    if asked.is_built_in or not asked.is_ok:
        return Happened(
            title=title_of(asked, _("Booked in the book of Posz")),
            tone=tone_of(asked),
            note="" if asked.is_built_in else _("Staff can still book; it waits to be matched."),
            exchange=asked.exchange,
        )
    return _booked(stand, asked)


def change_size(stand: Stand, given: Mapping[str, Any]) -> Happened:
    return _changed(stand, given, "update", {"party_size": given["party_size"]})


def cancel_booking(stand: Stand, given: Mapping[str, Any]) -> Happened:
    return _changed(stand, given, "cancel", {"by": "guest"})


def _changed(stand: Stand, given: Mapping[str, Any], operation: str, change: Data) -> Happened:
    known = given["reservation"]
    named = {"external_id": known["external_id"], "sequence": known["sequence"] + 1}
    asked = ask(stand, "reservation_provider", operation, named | change)
    if asked.is_ok:
        return _booked(stand, asked)
    return Happened(
        title=title_of(asked, _("The book of Posz answers")),
        tone=tone_of(asked),
        note=_("It counts as not done: the booking stays as it was."),
        exchange=asked.exchange,
        slip={"reservation": known},
        offers=("resize", "cancel"),
    )


def _booked(stand: Stand, asked: Asked) -> Happened:
    reservation = asked.output
    return Happened(
        title=str(BOOKING_STATES[reservation["status"]]),
        tone="ok" if reservation["status"] in COMING else "quiet",
        exchange=asked.exchange,
        facts=(
            (_("Guest"), reservation["guest"].get("name", "")),
            (_("Number of guests"), str(reservation["party_size"])),
            (_("Time"), local_time(reservation["start_at"], stand)),
            (_("Number at the partner"), reservation["external_id"]),
        ),
        slip={"reservation": reservation},
        offers=offers_for(reservation),
    )


def offers_for(reservation: Mapping[str, Any]) -> tuple[str, ...]:
    """Seating and no-show are reported, so another part of the till announces them."""
    return ("seat", "no-show", "resize", "cancel") if reservation["status"] in COMING else ()


def show_day(stand: Stand, given: Mapping[str, Any]) -> Happened:
    asked = ask(stand, "reservation_provider", "list", {"date": given["date"].isoformat()})
    lines = tuple(
        Row(
            (
                local_time(item["start_at"], stand, "H:i"),
                f"{item['guest'].get('name', '')} ({item['party_size']})",
                str(BOOKING_STATES[item["status"]]),
            ),
            {"reservation": item},
            offers_for(item)[:2],
        )
        for item in asked.output.get("reservations", [])
    )
    return Happened(
        title=_("The book of %(day)s") % {"day": dateformat.format(given["date"], "j M Y")}
        if asked.is_ok
        else title_of(asked, _("The book of Posz answers")),
        tone=tone_of(asked),
        note=_without_partner(asked) if lines or not asked.is_ok else _("Nobody has booked yet."),
        exchange=asked.exchange,
        rows=Rows((_("Time"), _("Guest"), _("Standing")), lines) if lines else None,
    )


def find_member(stand: Stand, given: Mapping[str, Any]) -> Happened:
    asked = ask(stand, "loyalty_provider", "search", {"phone": given["phone"]})
    lines = tuple(
        Row(
            (account["name_masked"], account.get("tier", ""), account["account_id"]),
            {"account_id": account["account_id"], "name": account["name_masked"]},
            ("balance",),
        )
        for account in asked.output.get("accounts", [])
    )
    return Happened(
        title=(_("Found") if lines else _("No such member"))
        if asked.is_ok
        else title_of(asked, _("The points of Posz answer")),
        tone=tone_of(asked),
        note="" if asked.is_ok else _("Rewards are hidden, and selling goes on."),
        exchange=asked.exchange,
        rows=Rows((_("Member"), _("Tier"), _("Account")), lines) if lines else None,
    )


def show_balance(stand: Stand, given: Mapping[str, Any]) -> Happened:
    order = order_for(stand, given["sample"])
    question = {"account_id": given["account_id"], "order": order}
    asked = ask(stand, "loyalty_provider", "inquire", question)
    member = asked.output
    slip = {**_member(given), "order": order}
    if not asked.is_ok:
        return _no_points(asked, slip)
    offers = member.get("offers", [])
    lines = tuple(
        Row((offer["name"],), slip | {"offer": _spending(offer, order)}, ("redeem",))
        for offer in offers
    )
    facts = [
        (_("Member"), given["name"]),
        (_("Points"), number_format(member["balance_points"], force_grouping=True)),
        (_("Order"), f"{order['number']}, {rupiah(order['total_cents'])}"),
    ]
    if member.get("earn_preview_points") is not None:
        facts.append((_("Points for this order"), str(member["earn_preview_points"])))
    return Happened(
        title=_("What the member has"),
        tone="ok",
        exchange=asked.exchange,
        facts=tuple(facts),
        rows=Rows((_("What could be used now"),), lines) if lines else None,
        slip=slip,
        offers=("accrue",),
    )


def redeem(stand: Stand, given: Mapping[str, Any]) -> Happened:
    slip = {**_member(given), "order": given["order"]}
    spending = {
        "transaction_id": fresh_id("lty"),
        "account_id": given["account_id"],
        "order_id": given["order"]["id"],
        "redemptions": [given["offer"]],
    }
    asked = ask(stand, "loyalty_provider", "redeem", spending)
    slip["reverses"] = spending["transaction_id"]
    if not asked.is_ok:
        note = _("The discount is taken off the bill. Whatever was spent is to be reversed.")
        return _no_points(asked, slip, note, ("reverse",))
    is_taken = given["offer"]["offer_id"] in asked.output["accepted"]
    return Happened(
        title=_("Used") if is_taken else _("Not accepted"),
        tone="ok" if is_taken else "warn",
        exchange=asked.exchange,
        facts=_points_left(given, asked),
        slip=slip,
        offers=("accrue", "reverse"),
    )


def accrue(stand: Stand, given: Mapping[str, Any]) -> Happened:
    order = given["order"]
    slip = {**_member(given), "order": order}
    giving = {
        "transaction_id": fresh_id("lty"),
        "account_id": given["account_id"],
        "order": order,
        "eligible_cents": order["subtotal_cents"],
    }
    asked = ask(stand, "loyalty_provider", "accrue", giving)
    slip["reverses"] = giving["transaction_id"]
    if not asked.is_ok:
        return _no_points(asked, slip, _("The points wait to be given later."), ("reverse",))
    return Happened(
        title=_("%(points)s points given") % {"points": asked.output["points_earned"]},
        tone="ok",
        exchange=asked.exchange,
        facts=_points_left(given, asked),
        slip=slip,
        offers=("reverse",),
    )


def reverse(stand: Stand, given: Mapping[str, Any]) -> Happened:
    back = {
        "transaction_id": fresh_id("lty"),
        "account_id": given["account_id"],
        "reverses": given["reverses"],
    }
    asked = ask(stand, "loyalty_provider", "reverse", back)
    slip = {**_member(given), "order": given["order"]}
    if not asked.is_ok:
        return _no_points(asked, slip | {"reverses": given["reverses"]}, "", ("reverse",))
    return Happened(
        title=_("Taken back"),
        tone="quiet",
        exchange=asked.exchange,
        facts=_points_left(given, asked),
        slip=slip,
        offers=("accrue",),
    )


def _member(given: Mapping[str, Any]) -> Data:
    return {"account_id": given["account_id"], "name": given["name"]}


def _points_left(given: Mapping[str, Any], asked: Asked) -> tuple[tuple[str, str], ...]:
    points = number_format(asked.output["balance_points"], force_grouping=True)
    return ((_("Member"), given["name"]), (_("Points"), points))


def _no_points(
    asked: Asked, slip: Data, note: str = "", offers: tuple[str, ...] = ("balance",)
) -> Happened:
    return Happened(
        title=title_of(asked, _("The points of Posz answer")),
        tone=tone_of(asked),
        note=note or _("Rewards are hidden, and selling goes on."),
        exchange=asked.exchange,
        slip=slip,
        offers=offers,
    )


def _spending(offer: Mapping[str, Any], order: Mapping[str, Any]) -> Data:
    """The offer on the cheapest line of the order."""
    line = min(order["lines"], key=lambda item: item["total_cents"])
    return {
        "offer_id": offer["offer_id"],
        "amount_cents": line["unit_price_cents"],
        "line_ids": [line["id"]],
        "qty": 1,
    }


def send_message(stand: Stand, given: Mapping[str, Any]) -> Happened:
    is_code = given["kind"] == "otp"
    name = stand.outlet.merchant.name
    message = {
        "message_id": fresh_id("msg"),
        "channel": given["channel"],
        "to": given["to"],
        "template": {
            "key": given["kind"],
            "language": "id" if get_language() == "id" else "en",
            "params": [{"key": "merchant", "value": name}],
        },
        "text_fallback": _("A message from %(name)s") % {"name": name},
        "category": "authentication" if is_code else "utility",
        "expires_at": (timezone.now() + timedelta(minutes=5 if is_code else 60)).isoformat(),
    }
    asked = ask(stand, "notification_provider", "", message)
    titles = {"accepted": _("Taken to be sent"), "rejected": _("Not taken")}
    return Happened(
        title=titles[asked.output["status"]]
        if asked.is_ok
        else title_of(asked, _("Posz sends it by e-mail, or prints it")),
        tone=tone_of(asked) if asked.output.get("status") != "rejected" else "warn",
        note=_("Taken is not delivered: that is reported later.") if asked.is_ok else "",
        exchange=asked.exchange,
        facts=(
            (_("To"), given["to"]),
            (_("Channel"), chosen(MessageForm, "channel", given)),
            (_("Message"), chosen(MessageForm, "kind", given)),
        ),
    )


announce(
    "reservations",
    Action(
        name="find",
        label=gettext_lazy("Look for a time"),
        run=find_time,
        form=PartyForm,
        start=tomorrow,
    ),
    Action(name="book", label=gettext_lazy("Book"), run=book, form=BookingForm, start=tomorrow),
    Action(
        name="day", label=gettext_lazy("Open the book"), run=show_day, form=DayForm, start=tomorrow
    ),
    Action(
        name="resize",
        label=gettext_lazy("Change the guests"),
        run=change_size,
        form=SizeForm,
        is_follow_up=True,
    ),
    Action(
        name="cancel",
        label=gettext_lazy("Cancel the booking"),
        run=cancel_booking,
        is_follow_up=True,
        is_danger=True,
    ),
)
announce(
    "loyalty",
    Action(name="search", label=gettext_lazy("Find the member"), run=find_member, form=PhoneForm),
    Action(
        name="balance",
        label=gettext_lazy("Ring up for the member"),
        run=show_balance,
        form=SampleForm,
        is_follow_up=True,
    ),
    Action(name="redeem", label=gettext_lazy("Use it"), run=redeem, is_follow_up=True),
    Action(name="accrue", label=gettext_lazy("Give the points"), run=accrue, is_follow_up=True),
    Action(name="reverse", label=gettext_lazy("Take it back"), run=reverse, is_follow_up=True),
)
announce(
    "messages",
    Action(name="send", label=gettext_lazy("Send"), run=send_message, form=MessageForm),
)
