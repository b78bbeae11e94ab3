"""The pages of the sandbox, for a diner's phone and for an engineer, all without JavaScript."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation.trans_real import parse_accept_lang_header

from dispatch.operations import inbound_operations
from dispatch.sandbox.behaviour import MODES, Switch
from dispatch.sandbox.messages import Answer, Request
from dispatch.sandbox.received import Received
from dispatch.sandbox.sending import WAYS, Sent
from dispatch.sandbox.spliteasy import Bill
from dispatch.sandbox.tables import Check

LANGUAGES = {"en": "English", "id": "Bahasa Indonesia"}
MOST_PEOPLE = 10
# Currencies whose amounts SplitEasy gets in whole units and not in hundredths.
WHOLE_UNIT_CURRENCIES = frozenset({"IDR", "JPY", "KRW", "VND"})
STYLE_SHEET = Path(__file__).resolve().parents[2] / "static" / "css" / "sandbox.css"
KEPT_PARAMETERS = (
    "people",
    "lang",
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
)
MINUS = "\N{MINUS SIGN}"
HTML_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
}


def bill_page(request: Request, bill: Bill) -> Answer:
    data = bill.data
    people = _people(request.parameter("people"))

    def amount(name: str) -> str:
        return money(data[name], data["currency"])

    context = {
        "bill": bill,
        "items": [
            {"name": item["name"], "quantity": item["quantity"], "total": total}
            for item in data["items"]
            for total in [money(item["total"], data["currency"])]
        ],
        "sums": {name: amount(name) for name in ("subtotal", "service_charge", "tax", "total")},
        "discount": money(-data["discount"], data["currency"]) if data["discount"] else "",
        "rounding": amount("rounding") if data["rounding"] else "",
        "people": people,
        "choices": [
            {"count": count, "query": _query(request, people=count)}
            for count in range(1, MOST_PEOPLE + 1)
        ],
        "shares": shares(data["total"], people, data["currency"]),
        "settle_query": _query(request, people=people),
    }
    return page(request, "sandbox/bill.html", context)


def order_page(request: Request, slug: str, order_id: str, check: Check | None) -> Answer:
    context = {
        "slug": slug,
        "order_id": order_id,
        "check": check,
        "query": _query(request),
    }
    return page(request, "sandbox/order.html", context)


def consent_page(
    request: Request,
    asked: Mapping[str, str],
    *,
    accounts: Mapping[str, str] | None = None,
    scopes: Sequence[str] = (),
    problem: str = "",
) -> Answer:
    context = {"asked": asked, "accounts": accounts or {}, "scopes": scopes, "problem": problem}
    status = 400 if problem else 200
    leads_to = "" if problem else origin_of(asked["redirect_uri"])
    return page(request, "sandbox/consent.html", context, status=status, leads_to=leads_to)


def missing_page(request: Request) -> Answer:
    return page(request, "sandbox/missing.html", {}, status=404)


def control_page(
    request: Request,
    *,
    hub: str,
    switches: list[dict[str, Any]],
    bills: list[Bill],
    received: list[Received],
    events: Mapping[str, Mapping[str, Any]],
    partners: Sequence[str],
    sent: Sequence[Sent],
    heard: tuple[str | None, str | None],
    problem: str = "",
) -> Answer:
    context = {
        "hub": hub,
        "switches": switches,
        "blank": Switch(),
        "modes": MODES,
        "bills": [
            {"bill": bill, "total": money(bill.data["total"], bill.data["currency"])}
            for bill in bills
        ],
        "received": received,
        "events": events,
        "partners": partners,
        "told": [contract.path(operation) for contract, operation in inbound_operations()],
        "ways": WAYS,
        "sent": sent,
        "heard": heard,
        "problem": problem,
    }
    return page(request, "sandbox/control.html", context, status=422 if problem else 200)


def page(
    request: Request,
    template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
    leads_to: str = "",
) -> Answer:
    language = language_of(request)
    links = [
        {"code": code, "name": name, "query": _query(request, lang=code)}
        for code, name in LANGUAGES.items()
    ]
    with translation.override(language):
        html = render_to_string(template, {**context, "language": language, "languages": links})
    headers = {**HTML_HEADERS, "Content-Language": language, "Vary": "Accept-Language"}
    if leads_to:
        # Browsers hold the redirect that answers a form to the policy of the form's page.
        policy = headers["Content-Security-Policy"]
        headers["Content-Security-Policy"] = policy.replace(
            "form-action 'self'", f"form-action 'self' {leads_to}"
        )
    return Answer(status, html.encode(), "text/html; charset=utf-8", headers)


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def style_sheet() -> Answer:
    return Answer(200, STYLE_SHEET.read_bytes(), "text/css; charset=utf-8")


def language_of(request: Request) -> str:
    asked = request.parameter("lang")
    if asked in LANGUAGES:
        return asked
    for language, _quality in parse_accept_lang_header(request.header("Accept-Language") or ""):
        base = language.partition("-")[0]
        if base in LANGUAGES:
            return base
    return "en"


def money(amount: int, currency: str) -> str:
    """`Rp50.000` for rupiah, in either language; the code and the amount for anything else."""
    sign = MINUS if amount < 0 else ""
    if currency == "IDR":
        return f"{sign}Rp{abs(amount):,}".replace(",", ".")
    if currency in WHOLE_UNIT_CURRENCIES:
        return f"{sign}{currency} {abs(amount):,}"
    units, hundredths = divmod(abs(amount), 100)
    return f"{sign}{currency} {units:,}.{hundredths:02}"


def shares(total: int, people: int, currency: str) -> list[dict[str, Any]]:
    """Who pays how much so that the sum is the total; the indivisible rest is spread by ones."""
    share, rest = divmod(total, people)
    parts = [(rest, share + 1), (people - rest, share)]
    return [
        {"people": count, "amount": money(amount, currency)} for count, amount in parts if count
    ]


def _people(value: str | None) -> int:
    is_number = value is not None and value.isascii() and value.isdigit() and len(value) < 4
    return min(max(int(value), 1), MOST_PEOPLE) if value and is_number else 1


def _query(request: Request, **changes: object) -> str:
    """The page's parameters with some of them changed; what nobody asked for stays out."""
    kept = {name: request.parameter(name) for name in KEPT_PARAMETERS}
    merged = {**kept, **changes}
    return "?" + urlencode({name: value for name, value in merged.items() if value is not None})
