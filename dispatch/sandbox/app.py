"""Which path of the sandbox answers what."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from dispatch.certification.stand_in import MERCHANT_ID as STAND_IN
from dispatch.sandbox import pages
from dispatch.sandbox.behaviour import Switch, Switches
from dispatch.sandbox.callbacks import Outbox
from dispatch.sandbox.conduct import Conduct
from dispatch.sandbox.generic import DEMO_PARTNERS, DemoPartners, Events
from dispatch.sandbox.messages import Answer, RefusalError, Request, json_answer, json_object
from dispatch.sandbox.oauth import SLUG as OAUTH_SLUG
from dispatch.sandbox.oauth import DemoOAuth, require_token
from dispatch.sandbox.received import ReceivedLog
from dispatch.sandbox.sending import Order, Sender, Sent
from dispatch.sandbox.spliteasy import OUTCOMES, Bill, SplitEasy
from dispatch.sandbox.tables import Tables

SecretOf = Callable[[str, str], list[bytes]]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# What the sandbox serves about itself: neither logged nor switched.
OWN_PATHS = frozenset({"/", "/sandbox.css", "/favicon.ico"})
GENERIC_SLUG = "demo-partner"
# The paths of each partner: what Posz asks it, and where it is told.
PREFIXES = {
    "spliteasy": ("/v1/external/", "/events/spliteasy"),
    **{slug: (f"/demo/{slug}/", f"/events/{slug}") for slug in (*DEMO_PARTNERS, OAUTH_SLUG)},
}
PROMPT_SECONDS = 1.5
SHOWN_ROWS = 50


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    act: Callable[..., Answer]


def is_own_path(path: str) -> bool:
    return path.startswith("/_") or path in OWN_PATHS


class Sandbox:
    """`secret_of(slug, purpose)` gives all key bytes that are valid now, newest first."""

    def __init__(
        self,
        *,
        secret_of: SecretOf,
        hub: str,
        bind_host: str,
        base_url: Callable[[], str],
        first_retry_seconds: float,
    ) -> None:
        self.hub = hub.rstrip("/")
        self.switches = Switches()
        self.received = ReceivedLog()
        self.outbox = Outbox(
            f"{self.hub}/v1/integrations/spliteasy/webhook",
            lambda: secret_of("spliteasy", "inbound"),
            first_retry_seconds,
        )
        self.spliteasy = SplitEasy(lambda: secret_of("spliteasy", "jwt"), self.outbox)
        self.demo = DemoPartners(lambda slug: secret_of(slug, "outbound"), base_url)
        self.events = Events(
            lambda slug: secret_of(slug, "outbound"), self.demo.operations.bookings.told
        )
        self.conduct = Conduct(lambda slug: secret_of(slug, "outbound"), self.demo, self.events)
        self.sender = Sender(
            self.hub,
            lambda slug: secret_of(slug, "inbound"),
            self.demo.operations.newest_payment,
        )
        self.tables = Tables(self.hub, lambda slug: secret_of(slug, "inbound"))
        self.oauth = DemoOAuth(lambda: secret_of(OAUTH_SLUG, "oauth_client"), self.hub)
        self._own_names = LOOPBACK_NAMES | {bind_host}
        self._routes = self._all_routes()

    def answer(self, request: Request) -> Answer:
        try:
            return self._routed(request)
        except RefusalError as refusal:
            return refusal.answer()

    def _all_routes(self) -> list[Route]:
        slug, token = r"(?P<slug>[a-z0-9-]+)", r"(?P<token>[^/]+)"
        call = r"(?P<capability>[a-z_]+)(?:/(?P<operation>[a-z_.]+))?"
        rows: list[tuple[str, str, Callable[..., Answer]]] = [
            ("POST", "/v1/external/merchants", self.spliteasy.post_merchant),
            ("POST", "/v1/external/bills", self.spliteasy.post_bill),
            ("GET", f"/b/{token}", self.show_bill),
            ("POST", f"/b/{token}/settle", self.settle_bill),
            ("POST", f"/demo/{slug}/posz/v1/{call}", self.post_demo),
            ("GET", f"/demo/{slug}/posz/v1/verify", self.demo.verify),
            ("GET", f"/demo/{slug}/o/(?P<order_id>[^/]+)", self.show_order),
            ("POST", f"/demo/{slug}/o/(?P<order_id>[^/]+)/pay", self.pay_check),
            ("POST", f"/events/{slug}", self.post_event),
            ("GET", f"/demo/{OAUTH_SLUG}/authorize", self.oauth.show_consent),
            ("POST", f"/demo/{OAUTH_SLUG}/authorize", self.decide_consent),
            ("POST", f"/demo/{OAUTH_SLUG}/token", self.oauth.token),
            ("POST", f"/demo/{OAUTH_SLUG}/revoke", self.oauth.revoke),
            ("GET", f"/demo/{OAUTH_SLUG}/me", self.oauth.me),
            ("GET", "/_received", self.show_received),
            ("DELETE", "/_received", self.forget_received),
            ("GET", "/_behave", self.show_switches),
            ("PUT", "/_behave", self.put_switch),
            ("DELETE", "/_behave", self.clear_switches),
            ("GET", "/_events", self.show_events),
            ("GET", "/_send", self.show_sent),
            ("POST", "/_send", self.send),
            ("POST", "/_send/(?P<event_id>[^/]+)/again", self.send_again),
            ("GET", "/", self.show_control),
            ("POST", "/_control/behave", self.change_switches),
            ("POST", "/_control/send", self.send_by_form),
            ("POST", f"/_control/bills/{token}/(?P<act>[a-z]+)", self.end_bill),
            ("GET", "/sandbox.css", lambda _request: pages.style_sheet()),
        ]
        return [Route(method, re.compile(path), act) for method, path, act in rows]

    def _routed(self, request: Request) -> Answer:
        if is_own_path(request.path) and request.path != "/sandbox.css":
            self._check_host(request)
        method = "GET" if request.method == "HEAD" else request.method
        allowed = set()
        for route in self._routes:
            match = route.pattern.fullmatch(request.path)
            if match and route.method == method:
                parts = {name: unquote(value) for name, value in match.groupdict("").items()}
                return route.act(request, **parts)
            if match:
                allowed.add(route.method)
        if allowed:
            error = {"code": "method_not_allowed", "message": "This path has another method."}
            return json_answer(405, {"error": error}, {"Allow": ", ".join(sorted(allowed))})
        if "text/html" in (request.header("Accept") or ""):
            return pages.missing_page(request)
        raise RefusalError(404, "not_found", "There is nothing at this path.")

    def _check_host(self, request: Request) -> None:
        """Against DNS rebinding: nobody else's page may read the log by a name of its own."""
        if _host_name(request.header("Host") or "") not in self._own_names:
            raise RefusalError(403, "forbidden", "Ask by the sandbox's own address.", "Host")

    def show_bill(self, request: Request, token: str) -> Answer:
        bill = self.spliteasy.bill(token)
        return pages.bill_page(request, bill) if bill else pages.missing_page(request)

    def settle_bill(self, request: Request, token: str) -> Answer:
        _check_origin(request)
        bill = self.spliteasy.bill(token)
        if bill is None:
            return pages.missing_page(request)
        callback = self.spliteasy.settle(bill)
        if callback is not None:
            callback.decided.wait(PROMPT_SECONDS)
        query = f"?{request.query}" if request.query else ""
        return _see_other(f"/b/{bill.token}{query}")

    def show_order(self, request: Request, slug: str, order_id: str) -> Answer:
        if slug not in DEMO_PARTNERS:
            return pages.missing_page(request)
        return pages.order_page(request, slug, order_id, self.tables.find(slug, order_id))

    def pay_check(self, request: Request, slug: str, order_id: str) -> Answer:
        _check_origin(request)
        check = self.tables.find(slug, order_id)
        if check is None:
            return pages.missing_page(request)
        self.tables.pay(check)
        query = f"?{request.query}" if request.query else ""
        return _see_other(f"/demo/{slug}/o/{quote(order_id, safe='')}{query}")

    def post_demo(
        self, request: Request, slug: str, capability: str, operation: str = ""
    ) -> Answer:
        answer = self.conduct.post(request, slug, capability, operation)
        asked = json_object(request)
        parties = (asked.get("merchant"), asked.get("outlet"))
        merchant, outlet = (item if isinstance(item, dict) else {} for item in parties)
        self._hear(slug, merchant.get("id"), outlet.get("id"), asked.get("data"))
        if capability == "pay_at_table" and not operation:
            self.tables.heard_of(slug, asked)
        return answer

    def _hear(self, slug: str, merchant_id: Any, location_id: Any, data: Any) -> None:
        """The stand-in of a certification is nobody to post events about."""
        if merchant_id != str(STAND_IN):
            self.sender.heard_of(slug, merchant_id, location_id, data)

    def post_event(self, request: Request, slug: str) -> Answer:
        if slug == OAUTH_SLUG:
            require_token(self.oauth, request)
        answer = self.conduct.post_event(request, slug)
        event = json_object(request)
        place = event.get("merchant_id"), event.get("location_id")
        self._hear(slug, *place, event.get("data"))
        return answer

    def send(self, request: Request) -> Answer:
        return json_answer(200, self.sender.send(Order.from_json(json_object(request))).as_json())

    def send_again(self, _request: Request, event_id: str) -> Answer:
        return json_answer(200, self._sent_again(event_id).as_json())

    def _sent_again(self, event_id: str) -> Sent:
        sent = self.sender.send_again(event_id)
        if sent is None:
            raise RefusalError(404, "not_found", "No such event was sent.", "event_id")
        return sent

    def show_sent(self, _request: Request) -> Answer:
        return json_answer(
            200, {"sent": [item.as_json() for item in self.sender.latest(SHOWN_ROWS)]}
        )

    def send_by_form(self, request: Request) -> Answer:
        """An event that was sent before is sent again; any other is a new one."""
        _check_origin(request)
        form = request.form()
        try:
            if "again" in form:
                self._sent_again(form["again"])
            else:
                self.sender.send(_order_of(form))
        except RefusalError as refusal:
            return self.show_control(request, f"{refusal.error.get('field')}: {refusal}")
        return _back_to_control(request, "#sending")

    def decide_consent(self, request: Request) -> Answer:
        _check_origin(request)
        return self.oauth.decide(request)

    def show_received(self, _request: Request) -> Answer:
        return json_answer(200, {"requests": [row.as_json() for row in self.received.all()]})

    def forget_received(self, _request: Request) -> Answer:
        self.received.forget()
        return Answer(204)

    def show_switches(self, _request: Request) -> Answer:
        return json_answer(200, {"switches": self.switches.shown()})

    def put_switch(self, request: Request) -> Answer:
        for switch in switches_of(json_object(request)):
            self.switches.put(switch)
        return self.show_switches(request)

    def clear_switches(self, _request: Request) -> Answer:
        self.switches.clear()
        return Answer(204)

    def show_events(self, _request: Request) -> Answer:
        return json_answer(200, {"events": self.events.shown()})

    def show_control(self, request: Request, problem: str = "") -> Answer:
        return pages.control_page(
            request,
            hub=self.hub,
            switches=self.switches.shown(),
            bills=self.spliteasy.latest_bills(SHOWN_ROWS),
            received=self.received.latest(SHOWN_ROWS),
            events=self.events.shown(),
            partners=sorted(PREFIXES),
            sent=self.sender.latest(SHOWN_ROWS),
            heard=self.sender.heard_last(GENERIC_SLUG),
            problem=problem,
        )

    def change_switches(self, request: Request) -> Answer:
        _check_origin(request)
        form = request.form()
        if form.get("act") == "clear":
            self.switches.clear()
            return _back_to_control(request)
        try:
            for switch in _switches_of(form):
                self.switches.put(switch)
        except RefusalError as refusal:
            return self.show_control(request, f"{refusal.error.get('field')}: {refusal}")
        return _back_to_control(request)

    def end_bill(self, request: Request, token: str, act: str) -> Answer:
        _check_origin(request)
        bill = self.spliteasy.bill(token)
        if bill is None or act not in {*OUTCOMES, "resend"}:
            return pages.missing_page(request)
        self._act_on(bill, act)
        return _back_to_control(request)

    def _act_on(self, bill: Bill, act: str) -> None:
        if act == "resend":
            self.spliteasy.resend(bill)
        else:
            self.spliteasy.end(bill, OUTCOMES[act]).decided.wait(PROMPT_SECONDS)


def switches_of(data: dict[str, Any]) -> list[Switch]:
    """One for a prefix of paths, or those for everything that a partner of the sandbox serves."""
    if not data.get("partner"):
        rest = {name: value for name, value in data.items() if name != "partner"}
        return [Switch.from_json(rest)]
    slug = data["partner"]
    if slug not in PREFIXES:
        raise RefusalError(422, "invalid_switch", "There is no such partner.", "partner")
    if data.get("path_prefix"):
        raise RefusalError(422, "invalid_switch", "Say a partner or a prefix.", "path_prefix")
    rest = {name: value for name, value in data.items() if name not in {"partner", "path_prefix"}}
    return [Switch.from_json({**rest, "path_prefix": prefix}) for prefix in PREFIXES[slug]]


def _switches_of(form: dict[str, str]) -> list[Switch]:
    names = ("partner", "path_prefix", "mode")
    data: dict[str, object] = {name: form.get(name, "") for name in names}
    for name in ("delay_ms", "status", "times"):
        value = form.get(name, "").strip()
        if value:
            data[name] = int(value) if re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) else value
    return switches_of(data)


def _order_of(form: dict[str, str]) -> Order:
    """The form names an event as `order_inbound/order.created`."""
    capability, _slash, operation = form.get("event", "").partition("/")
    names = ("merchant_id", "location_id", "event_id", "way")
    given = {name: form[name].strip() for name in names if form.get(name, "").strip()}
    return Order.from_json({"capability": capability, "operation": operation, **given})


def _check_origin(request: Request) -> None:
    """A browser names the page that a form came from; scripts name none and are let through."""
    origin = request.header("Origin") or request.header("Referer")
    if origin is not None and urlsplit(origin).netloc != request.header("Host"):
        raise RefusalError(403, "forbidden", "This form came from another site.", "Origin")


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _back_to_control(request: Request, part: str = "") -> Answer:
    return _see_other(f"/?lang={pages.language_of(request)}{part}")


def _see_other(location: str) -> Answer:
    return Answer(303, headers={"Location": location})
