"""No address that staff can write makes Posz call where it must not: not on save, not on send."""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from catalog.forms import IntegrationForm
from catalog.models import URL_FIELDS, AuthShape, Integration
from catalog.verification import Outcome
from dispatch import router, verification
from dispatch.adapters.generic import Generic
from dispatch.adapters.spliteasy import SplitEasy
from dispatch.contracts import AdapterError, Call, Order, ReceiptPretextRequest, ReceiptQrRequest
from installs import connection, lifecycle
from installs.models import Install, Merchant, User
from tests.factories import (
    KEY_SCHEMA,
    VERIFY,
    keys_of,
    make_install,
    make_job,
    make_key_partner,
    make_location,
    make_merchant,
    make_order,
    make_user,
    owner_of,
)
from tests.partners import Reply, generic_answer, running_partner
from tests.test_addresses import FORBIDDEN_URLS
from tests.test_admin import address, catalog_form
from tests.test_door import OK, answering, dns, make_peer, sink  # noqa: F401 - fixtures
from webhooks import outbound
from webhooks.models import Attempt
from webhooks.sending import Sender

KEY = b"k" * 32
LOOPBACK = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "0", "0.0.0.0"),  # noqa: S104
    *("localhost", "localhost.", "LOCALHOST", "a.localhost", "[::1]", "[::ffff:127.0.0.1]"),
    *("x@127.0.0.1", "127.0.0.1\\@good.example", "%31%32%37.0.0.1", "\uff11\uff12\uff17.1"),
]
# Those that would reach the sink if anybody called them.
TARGETS = [*FORBIDDEN_URLS, *(f"https://{host}:8443/hook" for host in LOOPBACK)]
# A field of text loses blanks at its ends before anybody looks at it.
TYPED = [url for url in TARGETS if url and url == url.strip()]
OAUTH = {
    "authorize_url": "https://good.example/authorize",
    "token_url": "https://good.example/token",
    "revoke_url": "https://good.example/revoke",
    "client_id": "posz",
    "account": {"pointer": "/account"},
}
PLACES = [*URL_FIELDS, *(f"oauth_settings.{name}" for name in OAUTH if name.endswith("_url"))]
PLACES += ["verification_request.path"]


@pytest.fixture(autouse=True)
def production(settings):
    settings.OUTBOUND_ALLOW = []
    settings.OUTBOUND_HTTPS_ONLY = True
    router.forget_partners()


_connects: list[list[Any]] = []


def _note_connect(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _connects:
        _connects[-1].append(args[1])


sys.addaudithook(_note_connect)


@pytest.fixture
def packets() -> Iterator[list[Any]]:
    """Every address that this process tries to connect a socket to."""
    _connects.append([])
    yield _connects[-1]
    _connects.pop()


def form_data(place: str, url: str) -> dict[str, Any]:
    """What the admin form sends, with the address at one place and all else in order."""
    field, _, key = place.partition(".")
    if field == "oauth_settings":
        document = json.dumps(OAUTH | {key: url})
        return catalog_form(auth_shape=AuthShape.OAUTH, oauth_settings=document)
    if field == "verification_request":
        return catalog_form(
            auth_shape=AuthShape.MERCHANT_KEY,
            config_schema=json.dumps(KEY_SCHEMA),
            verification_request=json.dumps(VERIFY | {"path": url}),
        )
    return catalog_form(**{field: url})


# On save


def test_there_are_enough_targets_and_places():
    assert len(set(TARGETS)) >= 70
    assert set(PLACES) == {
        "api_base_url",
        "landing_base_url",
        "outbound_url",
        "website_url",
        "docs_url",
        "privacy_url",
        "oauth_settings.authorize_url",
        "oauth_settings.token_url",
        "oauth_settings.revoke_url",
        "verification_request.path",
    }


def test_every_field_that_is_named_an_address_is_among_the_places():
    named = {field.name for field in Integration._meta.fields if field.name.endswith("_url")}

    assert named == set(URL_FIELDS)


@pytest.mark.django_db
@pytest.mark.parametrize("place", PLACES)
def test_form_takes_a_public_address(place):
    form = IntegrationForm(form_data(place, "https://good.example/a"))

    assert form.errors == {}


@pytest.mark.django_db
@pytest.mark.parametrize("place", PLACES)
def test_form_refuses_every_forbidden_target_with_an_explanation(place, packets):
    field = place.partition(".")[0]
    # An empty revocation address says that there is none.
    targets = [url for url in TYPED if not (url == "" and place.endswith("revoke_url"))]

    answers = {url: IntegrationForm(form_data(place, url)).errors.get(field) for url in targets}

    assert [url for url, errors in answers.items() if not errors] == []
    assert min(len(str(errors[0])) for errors in answers.values() if errors) > 15
    assert packets == []


@pytest.mark.django_db
@pytest.mark.parametrize("place", PLACES)
def test_admin_page_refuses_and_saves_nothing(client: Client, place):
    client.force_login(
        User.objects.create_superuser("staff@posz.id"),
        backend="django.contrib.auth.backends.ModelBackend",
    )

    response = client.post(
        address(Integration, "add"), form_data(place, "https://169.254.169.254/latest/")
    )

    assert response.status_code == 200
    assert "private or reserved" in response.content.decode()
    assert not Integration.objects.exists()


# On send, for rows that were written around the form


def order() -> Order:
    return Order(
        id="o",
        number="1",
        version=1,
        table=None,
        currency="IDR",
        closed_at=datetime.now(UTC),
        lines=(),
        subtotal_cents=0,
        service_cents=0,
        tax_cents=0,
        discount_cents=0,
        total_cents=0,
        raw={"id": "o"},
    )


def call_for(integration: Integration) -> Call:
    merchant = Merchant(name="Maple", email="a@example.id", city="Jakarta")
    row = Install(merchant=merchant, integration=integration, config={"api_key": "k"})
    keys = {"outbound": KEY, "jwt": KEY}
    return Call(merchant, None, row, keys, timeout_seconds=5, external_merchant_id="m")


def problem_of(act: Callable[[], Any]) -> str:
    try:
        act()
    except AdapterError as error:
        return str(error)
    return "sent"


def deliver(url: str) -> str:
    sender = Sender()
    sender.send([make_job(url, KEY)])
    [(_job, outcome)] = sender.close()
    return outcome.problem or "sent"


def ask(url: str) -> str:
    call = call_for(Integration(slug="partner", api_base_url=url))
    return problem_of(lambda: Generic().receipt_qr(call, ReceiptQrRequest(order(), {})))


def ask_with_key(url: str) -> str:
    auth = {"scheme": "bearer", "field": "api_key"}
    call = call_for(Integration(slug="partner", api_base_url=url, request_auth=auth))
    return problem_of(lambda: Generic().receipt_pretext(call, ReceiptPretextRequest(order(), {})))


def provision(url: str) -> str:
    call = call_for(Integration(slug="spliteasy", api_base_url=url))
    return problem_of(lambda: SplitEasy().provision(call))


def verify_at_api(url: str) -> str:
    return verified(Integration(api_base_url=url, verification_request=VERIFY))


def verify_at_address(url: str) -> str:
    return verified(Integration(verification_request=VERIFY | {"path": url}))


def verified(integration: Integration) -> str:
    integration.config_schema = KEY_SCHEMA
    outcome = verification.verify(integration, {"api_key": "k"}).outcome
    return "address_refused" if outcome is Outcome.OUR_SIDE else str(outcome)


SENDERS = [deliver, ask, ask_with_key, provision, verify_at_api, verify_at_address]


@pytest.mark.parametrize("send", SENDERS)
def test_send_to_every_forbidden_target_is_refused_without_a_packet(send, dns, sink, packets):  # noqa: F811
    outcomes = {url: send(url) for url in TARGETS}

    refused = {
        url
        for url, outcome in outcomes.items()
        if "address_refused" in outcome or (not url and "no API address" in outcome)
    }
    assert set(TARGETS) - refused == set()
    assert (dns.lookups, packets, sink.connections) == ([], [], [])


@pytest.mark.parametrize("send", SENDERS)
@pytest.mark.parametrize(
    "records", [["127.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"]]
)
def test_send_to_a_name_that_was_rebound_is_refused(send, dns, sink, packets, records):  # noqa: F811
    dns.answers["rebind.example"] = [records]

    outcome = send("https://rebind.example:8443/hook")

    assert "address_refused" in outcome
    assert (packets, sink.connections) == ([], [])


@pytest.mark.parametrize("send", SENDERS)
def test_send_asks_for_a_name_once_and_keeps_the_answer(send, dns, make_peer):  # noqa: F811
    peer = make_peer(answering(OK), "rebind.example")
    second = make_peer(answering(OK), address=("127.0.0.2", peer.port))
    dns.answers["rebind.example"] = [["127.0.0.1"], ["127.0.0.2"]]

    send(f"http://rebind.example:{peer.port}/hook")

    assert (dns.lookups, len(peer.requests), second.connections) == (["rebind.example"], 1, [])


@pytest.mark.parametrize("send", SENDERS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_send_follows_no_redirect(send, make_peer, sink, packets, status):  # noqa: F811
    head = (
        f"HTTP/1.1 {status} Moved\r\nLocation: https://127.0.0.1:8443/\r\nContent-Length: 0\r\n\r\n"
    )
    peer = make_peer(answering(head.encode()))

    outcome = send(f"{peer.url}/hook")

    assert outcome != "sent"
    assert (len(peer.requests), sink.connections) == (1, [])
    assert packets == [("127.0.0.1", peer.port)]


@pytest.mark.parametrize("send", SENDERS)
def test_send_to_an_allowed_host_arrives(send, make_peer, packets):  # noqa: F811
    peer = make_peer(answering(OK))

    send(f"{peer.url}/hook")

    assert len(peer.requests) == 1
    assert packets == [("127.0.0.1", peer.port)]


@pytest.fixture
def partner(settings):
    with running_partner(settings, lambda _request: Reply(200)) as running:
        yield running


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["https://127.0.0.1:8443/x", "https://localhost:8443/x"])
def test_row_written_around_the_form_harms_nobody(url, sink, partner):  # noqa: F811
    merchant = make_merchant()
    location = make_location(merchant)
    row = make_key_partner(
        partner.url, capabilities={"receipt_qr": 1}, outbound_events=["order.paid"]
    )
    keys_of(row)
    installed = lifecycle.install(owner_of(merchant), row, config={"api_key": "k"})
    Integration.objects.filter(pk=row.pk).update(api_base_url=url, outbound_url=url)
    Merchant.touch(merchant.pk)

    answer = router.dispatch(merchant.pk, location.pk, "receipt_qr", {"order": make_order()})
    verdict = connection.test(owner_of(merchant), installed.pk)
    outbound.accept_event(
        outbound.NewEvent("order.paid", merchant.pk, None, None, None, {"order_id": "o-1"})
    )
    outbound.deliver_due()

    assert answer["results"][0]["status"] == "error"
    assert verdict.outcome is Outcome.OUR_SIDE
    assert Attempt.objects.get().problem == "address_refused"
    assert sink.connections == []


# Addresses that are shown or printed, and never called


@pytest.mark.django_db
def test_addresses_for_people_are_never_fetched(settings, client):
    """All of them lead to a server that Posz may call, so that a call would arrive there."""
    with (
        running_partner(settings, lambda _request: Reply(200)) as bystander,
        running_partner(settings, lambda _request: Reply(204)) as partner,
    ):
        merchant = make_merchant(logo_url=f"{bystander.url}/logo.png")
        location = make_location(merchant)
        row = make_key_partner(
            partner.url,
            capabilities={"receipt_qr": 1},
            auth_shape=AuthShape.PLATFORM_SHARED,
            request_auth={},
            verification_request={},
            config_schema={},
            outbound_events=["order.paid", "settings.changed"],
            outbound_url=f"{partner.url}/events",
            landing_base_url=f"{bystander.url}/b",
            website_url=f"{bystander.url}/website",
            docs_url=f"{bystander.url}/docs",
            privacy_url=f"{bystander.url}/privacy",
        )
        partner.answer = generic_answer(keys_of(row)["outbound"])
        row.full_clean()
        make_install(merchant, row)
        client.force_login(make_user(merchant))

        client.get(f"/integrations/{row.slug}")
        client.post("/till", {"outlet": str(location.pk), "sample": "lunch", "paper": "58"})
        settings_changed = {"after": {"logo_url": f"{bystander.url}/new.png"}, "keys": ["logo_url"]}
        for kind, data in (("order.paid", {}), ("settings.changed", settings_changed)):
            outbound.accept_event(outbound.NewEvent(kind, merchant.pk, None, None, None, data))
        outbound.deliver_due()

        assert partner.paths() == ["/posz/v1/receipt_qr", "/events", "/events"]
        assert bystander.requests == []
