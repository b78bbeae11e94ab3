"""Which path of the sandbox answers what."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from dispatch.sandbox import pages
from dispatch.sandbox.behaviour import Switch, Switches
from dispatch.sandbox.callbacks import Outbox
from dispatch.sandbox.generic import DEMO_PARTNERS, DemoPartners, Events
from dispatch.sandbox.messages import Answer, RefusalError, Request, json_answer, json_object
from dispatch.sandbox.oauth import SLUG as OAUTH_SLUG
from dispatch.sandbox.oauth import DemoOAuth, require_token
from dispatch.sandbox.received import ReceivedLog
from dispatch.sandbox.spliteasy import OUTCOMES, Bill, SplitEasy

SecretOf = Callable[[str, str], list[bytes]]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# What the sandbox serves about itself: neither logged nor switched.
OWN_PATHS = frozenset({"/", "/sandbox.css", "/favicon.ico"})
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
        self.events = Events(lambda slug: secret_of(slug, "outbound"))
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
            ("POST", f"/demo/{slug}/posz/v1/{call}", self.demo.post),
            ("GET", f"/demo/{slug}/posz/v1/verify", self.demo.verify),
            ("GET", f"/demo/{slug}/o/(?P<order_id>[^/]+)", self.show_order),
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
            ("GET", "/", self.show_control),
            ("POST", "/_control/behave", self.change_switches),
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
        return pages.order_page(request, slug, order_id)

    def post_event(self, request: Request, slug: str) -> Answer:
        if slug == OAUTH_SLUG:
            require_token(self.oauth, request)
        return self.events.post(request, slug)

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
        self.switches.put(Switch.from_json(json_object(request)))
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
            problem=problem,
        )

    def change_switches(self, request: Request) -> Answer:
        _check_origin(request)
        form = request.form()
        if form.get("act") == "clear":
            self.switches.clear()
            return _back_to_control(request)
        try:
            self.switches.put(_switch_of(form))
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


def _switch_of(form: dict[str, str]) -> Switch:
    data: dict[str, object] = {name: form.get(name, "") for name in ("path_prefix", "mode")}
    for name in ("delay_ms", "status", "times"):
        value = form.get(name, "").strip()
        if value:
            data[name] = int(value) if re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) else value
    return Switch.from_json(data)


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


def _back_to_control(request: Request) -> Answer:
    return _see_other(f"/?lang={pages.language_of(request)}")


def _see_other(location: str) -> Answer:
    return Answer(303, headers={"Location": location})
