"""The short way of a till's event gives the answers of the endpoint, and believes nothing old."""

import io
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.utils import timezone

from installs import lifecycle, snapshot
from installs.models import ApiToken
from poszhub.shortcut import Shortcut
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
    owner_of,
)
from tests.test_exports import CUSTOMER, configured, install_of
from webhooks import event_lane, event_rows
from webhooks.models import Delivery, Endpoint, Event

pytestmark = [pytest.mark.servers, pytest.mark.django_db]
TYPE = "application/json"


class PassedOnError(Exception):
    """The request went on to Django."""


def refuse(_environ: Any, _start: Any) -> Any:
    raise PassedOnError


SHORT, LONG = Shortcut(refuse), WSGIHandler()


@pytest.fixture(autouse=True)
def open_connection():
    """The handler would close the connection in which the test's rows are."""
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    yield
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


@pytest.fixture
def install():
    row = make_integration(outbound_events=["order.paid"], outbound_url="http://127.0.0.1:9/")
    keys_of(row)
    return make_install(make_merchant(), row)


@pytest.fixture
def token(install):
    return make_token(install.merchant)


@pytest.fixture
def known(install, token):
    """A token and a merchant that this process remembers."""
    assert post(LONG, event(), token)[0] == 202
    return install


def event(**over: Any) -> bytes:
    values = {"type": "order.paid", "data": {"order_id": "o-1", "note": "é"}} | over
    return json.dumps({k: v for k, v in values.items() if v is not ...}).encode()


def post(application: Any, body: bytes, token: str, **over: Any) -> tuple[int, Any, dict[str, str]]:
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/v1/events",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "CONTENT_TYPE": TYPE,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
    } | over
    heard: list[Any] = []
    content = b"".join(application(environ, lambda *values: heard.extend(values[:2])))
    return int(heard[0].split()[0]), json.loads(content), dict(heard[1])


def comparable(event_id: str) -> Any:
    own = {"id", "event_id", "created_at", "next_attempt_at", "sequence", "occurred_at", "body"}
    row = Event.objects.get(pk=event_id)
    columns = [
        {name: value for name, value in found.items() if name not in own}
        for query in (Event.objects.filter(pk=event_id), row.deliveries.order_by("pk"))
        for found in query.values()
    ]
    body = json.loads(bytes(row.body))
    return columns, [(key, value) for key, value in body.items() if key not in own], list(body)


def test_event_of_the_short_way_is_that_of_the_endpoint(known, token):
    place = make_location(known.merchant)
    # The endpoint remembers the outlet that is new.
    post(LONG, event(), token)
    body = event(
        location_id=str(place.pk),
        merchant_id=str(known.merchant_id),
        occurred_at="2026-11-24T19:00:00.5+07:00",
    )

    slow, quick = post(LONG, body, token), post(SHORT, body, token)

    assert (quick[0], quick[1]["deliveries"]) == (slow[0], slow[1]["deliveries"]) == (202, 1)
    assert comparable(quick[1]["id"]) == comparable(slow[1]["id"])
    times = Event.objects.filter(pk__in=[slow[1]["id"], quick[1]["id"]])
    assert len(set(times.values_list("occurred_at", flat=True))) == 1
    kept = {"X-Request-Id", "Allow", "Vary"}
    assert quick[2].keys() - kept == slow[2].keys() - kept


@pytest.mark.parametrize(
    ("over", "status"),
    [
        ({"type": "Order"}, 400),
        ({"type": "order.paid\n"}, 202),
        ({"type": ...}, 400),
        ({"data": []}, 400),
        ({"data": ...}, 400),
        ({"merchant_id": "x"}, 400),
        ({"merchant_id": str(uuid4())}, 404),
        ({"location_id": str(uuid4())}, 404),
        ({"location_id": 5}, 404),
        ({"occurred_at": "soon"}, 400),
        ({"occurred_at": "2026-02-30T00:00:00Z"}, 400),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, 400),
        ({"idempotency_key": ""}, 400),
        ({"idempotency_key": "x" * 256}, 400),
        ({"idempotency_key": 7}, 202),
        ({"idempotency_key": " k "}, 202),
        ({"idempotency_key": None}, 202),
        ({"surplus": 1}, 202),
        ({"type": "settings.changed"}, 202),
    ],
)
def test_answer_is_that_of_the_endpoint(known, token, over, status):
    both = Shortcut(LONG)

    assert post(both, event(**over), token)[0] == post(LONG, event(**over), token)[0] == status


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"type": "order.paid", "data": {"a": 1e999}}', b"\xff"]
)
def test_body_that_is_no_event_goes_to_the_endpoint(known, token, body):
    with pytest.raises(PassedOnError):
        post(SHORT, body, token)


@pytest.mark.parametrize(
    "over",
    [
        {"HTTP_AUTHORIZATION": ""},
        {"HTTP_AUTHORIZATION": "Bearer nobody"},
        {"HTTP_AUTHORIZATION": "Bearer a b"},
        {"CONTENT_TYPE": "text/plain"},
        {"REQUEST_METHOD": "GET"},
        {"HTTP_HOST": "evil.example"},
        {"CONTENT_LENGTH": "9999999"},
    ],
)
def test_what_is_not_plain_goes_to_the_endpoint(known, token, over):
    with pytest.raises(PassedOnError):
        post(SHORT, event(), token, **over)


def test_token_that_was_revoked_is_refused_at_once(known, token):
    assert post(SHORT, event(), token)[0] == 202
    ApiToken.objects.update(revoked_at=timezone.now())

    assert post(Shortcut(LONG), event(), token)[0] == 401


def test_token_of_another_merchant_reaches_nobody_else(known):
    other = make_merchant()
    theirs = make_token(other)
    post(LONG, event(), theirs)

    status, _content, _headers = post(
        Shortcut(LONG), event(merchant_id=str(known.merchant_id)), theirs
    )

    assert status == 404
    assert not Event.objects.filter(merchant=known.merchant).exclude(sequence=1).exists()


def test_install_that_was_switched_off_is_told_nothing(known, token):
    assert post(SHORT, event(), token)[1]["deliveries"] == 1
    lifecycle.disable(owner_of(known.merchant), known.pk)

    assert post(Shortcut(LONG), event(), token)[1]["deliveries"] == 0


def test_same_key_is_the_same_event_whichever_way_it_comes(known, token):
    both = Shortcut(LONG)
    body = event(idempotency_key="k-1")

    answers = [post(way, body, token)[1] for way in (SHORT, both, LONG)]

    assert answers == [answers[0]] * 3
    assert Event.objects.filter(idempotency_key="k-1").count() == 1
    sequences = Event.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(sequences) == [1, 2]
    assert Delivery.objects.count() == 2


def test_plain_events_are_remembered_by_nobody_but_the_tokens_holder(known, token):
    event_lane._callers.clear()

    assert post(SHORT, event(), token)[0] == 202
    assert set(event_lane._callers) == {ApiToken.digest_of(token)}


@pytest.mark.parametrize(("seconds", "is_looked_for"), [(0, True), (1, False), (None, False)])
def test_engine_that_has_just_claimed_needs_no_message(known, seconds, is_looked_for):
    at = None if seconds is None else timezone.now() - timedelta(seconds=seconds)
    Endpoint.objects.filter(integration=known.integration).update(claimed_at=at)
    new = event_rows.NewEvent("order.paid", known.merchant_id, None, None, None, {})
    stamp = snapshot.remembered(known.merchant_id).stamp

    written = event_rows.insert_at_once(event_rows.draft(new), [event_rows.Addressed(known)], stamp)

    assert written is not None
    assert written[1] is is_looked_for


def test_partner_that_is_told_in_its_own_words_gets_them_at_once(known):
    crm = install_of("customer_event_export", merchant=known.merchant)
    configured(crm, purpose="profiling")
    token = make_token(known.merchant)
    order = {"id": "o-2", "number": "A-2", "total_cents": 100, "lines": []}
    said = event(data={"order": order, "customer": CUSTOMER})
    assert post(LONG, said, token)[0] == 202

    assert post(SHORT, said, token)[0] == 202

    happened = Event.objects.latest("sequence")
    assert happened.deliveries.get(install_id=known.pk).body is None
    body = json.loads(bytes(happened.deliveries.get(install_id=crm.pk).body))
    assert (body["id"], body["sequence"]) == (str(happened.pk), happened.sequence)
    assert (body["data"]["name"], body["data"]["customer_ref"]["id"]) == ("Placed Order", "cus-1")


def test_event_of_which_nothing_can_be_told_is_refused_by_the_endpoint(known):
    crm = install_of("customer_event_export", merchant=known.merchant)
    configured(crm, purpose="profiling")
    token = make_token(known.merchant)
    assert post(LONG, event(), token)[0] == 202
    order = {"id": "o-2", "number": "A-2", "total_cents": "a hundred", "lines": []}
    said = event(data={"order": order, "customer": CUSTOMER})

    with pytest.raises(PassedOnError):
        post(SHORT, said, token)
    assert post(LONG, said, token)[0] == 400
