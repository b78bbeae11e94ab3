import json
import time
from datetime import timedelta
from uuid import uuid4

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dispatch.signing import standard_headers
from installs import lifecycle
from installs.models import Install, Role
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
    owner_of,
)
from webhooks import outbound
from webhooks.feed import SETTLED_AFTER
from webhooks.models import Delivery, Event

pytestmark = pytest.mark.django_db


@pytest.fixture
def integration():
    row = make_integration(outbound_events=["order.paid"], outbound_url="https://p.example/e")
    keys_of(row)
    return row


@pytest.fixture
def install(integration):
    return make_install(make_merchant(), integration)


def accept(install: Install, event_type: str = "order.paid", location_id=None) -> Event:
    """Accepted long enough ago to be in every feed."""
    with time_machine.travel(timezone.now() - 2 * SETTLED_AFTER, tick=True):
        new = outbound.NewEvent(
            type=event_type,
            merchant_id=install.merchant_id,
            location_id=location_id,
            occurred_at=None,
            idempotency_key=None,
            data={"order_id": "o-1", "note": "é"},
        )
        return outbound.accept_event(new)[0]


def get(install: Install, query: str = "", token: str | None = None):
    headers = {"Authorization": f"Bearer {token or make_token(install.merchant)}"}
    return Client(raise_request_exception=False).get(f"/v1/events{query}", headers=headers)


def signed_get(integration, query: str = "", **over):
    """As a partner's server signs it; `over` falsifies one part."""
    target = over.get("target", f"/v1/integrations/{integration.slug}/events{query}")
    key = over.get("key", keys_of(integration)["inbound"])
    headers = standard_headers("req-1", over.get("at", int(time.time())), target.encode(), [key])
    path = f"/v1/integrations/{integration.slug}/events{query}"
    return Client(raise_request_exception=False).get(path, headers=headers)


def ids(response) -> list[str]:
    assert response.status_code == 200, response.content
    return [item["id"] for item in response.json()["data"]]


def code_of(response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_feed_is_the_merchants_events_by_sequence_as_they_were_delivered(install):
    events = [accept(install) for _ in range(3)]
    accept(make_install(make_merchant(), install.integration))

    response = get(install)

    assert response["Content-Type"] == "application/json"
    assert [bytes(event.body) in response.content for event in events] == [True] * 3
    assert response.json() == {
        "data": [json.loads(bytes(event.body)) for event in events],
        "next": "3",
        "has_more": False,
    }


def test_feed_has_what_nobody_subscribed_to(install):
    event = accept(install, "nobody.listens")

    assert ids(get(install)) == [str(event.pk)]


def test_feed_goes_on_from_next_also_when_it_was_caught_up(install):
    first, second = accept(install), accept(install)

    one = get(install, "?limit=1").json()
    two = get(install, f"?limit=1&after={one['next']}").json()
    caught_up = get(install, f"?after={two['next']}").json()
    third = accept(install)
    again = get(install, f"?cursor={caught_up['next']}")

    assert [item["id"] for item in (one["data"] + two["data"])] == [str(first.pk), str(second.pk)]
    assert (one["has_more"], two["has_more"]) == (True, False)
    assert caught_up == {"data": [], "next": "2", "has_more": False}
    assert ids(again) == [str(third.pk)]


def test_feed_of_a_merchant_without_events_has_a_next_too(install):
    assert get(install).json() == {"data": [], "next": "0", "has_more": False}


def test_feed_is_narrowed_by_type_and_location_and_skips_what_it_left_out(install):
    outlet = make_location(install.merchant)
    accept(install)
    refund = accept(install, "refund.created")
    there = accept(install, location_id=outlet.pk)
    accept(install)

    assert ids(get(install, "?type=refund.created")) == [str(refund.pk)]
    assert ids(get(install, f"?location_id={outlet.pk}")) == [str(there.pk)]
    assert get(install, "?type=refund.created").json()["next"] == "4"


@pytest.mark.parametrize(
    "query",
    [
        *("after=x", "after=-1", "after=99999999999999999999", "after=%00", "after=1-0"),
        *("after=%D9%A1", "limit=0", "limit=x", "location_id=x", "merchant_id=x", "type=%00"),
    ],
)
def test_feed_refuses_what_it_does_not_understand(install, query):
    assert code_of(get(install, f"?{query}")) == (400, "invalid_payload")


def test_feed_of_another_merchant_is_not_found(install):
    other, unknown = make_merchant(), uuid4()

    responses = [get(install, f"?merchant_id={pk}") for pk in (other.pk, unknown)]

    assert [code_of(item) for item in responses] == [(404, "not_found")] * 2
    assert responses[0].content == responses[1].content


def test_feed_for_a_token_of_all_merchants_names_the_merchant(install):
    event, token = accept(install), make_token(None)

    assert code_of(get(install, token=token)) == (400, "invalid_payload")
    assert code_of(get(install, f"?merchant_id={uuid4()}", token)) == (404, "not_found")
    assert ids(get(install, f"?merchant_id={install.merchant_id}", token)) == [str(event.pk)]


def test_feed_may_be_read_by_a_viewer(install):
    event = accept(install)

    assert ids(get(install, token=make_token(install.merchant, Role.VIEWER))) == [str(event.pk)]


def test_feeds_ask_as_many_queries_for_one_event_as_for_many(install, integration):
    token, counts = make_token(install.merchant), []
    for how_many in (1, 5):
        for _ in range(how_many):
            accept(install)
        with CaptureQueriesContext(connection) as queries:
            get(install, token=token)
            signed_get(integration)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_signed_feed_has_what_the_integration_had_a_delivery_for(install, integration):
    wanted = accept(install)
    accept(install, "refund.created")
    accept(make_install(make_merchant(), make_integration(outbound_events=["order.paid"])))
    other = accept(make_install(make_merchant(), integration))

    response = signed_get(integration)

    assert ids(response) == [str(wanted.pk), str(other.pk)]
    assert bytes(wanted.body) in response.content


def test_signed_feed_goes_on_from_next_also_where_times_are_equal(install, integration):
    events = {str(accept(install).pk) for _ in range(5)}
    Delivery.objects.update(created_at=timezone.now() - timedelta(hours=1))

    answer = signed_get(integration, "?limit=2").json()
    seen = answer["data"]
    while answer["has_more"]:
        answer = signed_get(integration, f"?limit=2&after={answer['next']}").json()
        seen += answer["data"]
    last = signed_get(integration, f"?after={answer['next']}").json()

    assert {item["id"] for item in seen} == events
    assert len(seen) == 5
    assert last == {"data": [], "next": answer["next"], "has_more": False}


def test_signed_feed_without_events_can_be_gone_on_from(install, integration):
    empty = signed_get(integration).json()
    event = accept(install)

    assert empty["data"] == []
    assert ids(signed_get(integration, f"?after={empty['next']}")) == [str(event.pk)]


def test_signed_feed_holds_back_what_may_not_be_complete_yet(install, integration):
    accept(install)
    Delivery.objects.update(created_at=timezone.now())

    assert ids(signed_get(integration)) == []


def test_signed_feed_is_narrowed_to_a_merchant(install, integration):
    event = accept(install)
    accept(make_install(make_merchant(), integration))

    assert ids(signed_get(integration, f"?merchant_id={install.merchant_id}")) == [str(event.pk)]


def test_signed_feed_of_a_merchant_who_did_not_install_it_is_refused(install, integration):
    response = signed_get(integration, f"?merchant_id={make_merchant().pk}")

    assert code_of(response) == (404, "integration_not_installed")


@pytest.mark.parametrize("verb", [lifecycle.disable, lifecycle.uninstall])
def test_signed_feed_tells_nothing_of_installs_that_are_off(install, integration, verb):
    accept(install)
    verb(owner_of(install.merchant), install.pk)

    assert ids(signed_get(integration)) == []


def test_signed_feed_of_an_integration_that_is_switched_off_is_refused(integration):
    integration.status = "disabled"
    integration.save(update_fields=["status"])

    assert code_of(signed_get(integration)) == (403, "integration_disabled")


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": b"\x00" * 32},
        {"seconds": -301},
        {"seconds": 400},
        {"target": "/v1/integrations/else/events"},
    ],
)
def test_signed_feed_refuses_what_is_not_signed_for_it_now(integration, wrong):
    wrong = dict(wrong)
    if seconds := wrong.pop("seconds", 0):
        wrong["at"] = int(time.time()) + seconds

    assert code_of(signed_get(integration, **wrong)) == (401, "invalid_signature")


@pytest.mark.parametrize("query", ["?after=1", "?limit=0", "?merchant_id=x"])
def test_signed_feed_refuses_what_it_does_not_understand(integration, query):
    assert code_of(signed_get(integration, query)) == (400, "invalid_payload")


def test_signed_feed_refuses_the_outbound_key_and_tokens_and_no_signature(install, integration):
    path = f"/v1/integrations/{integration.slug}/events"
    bearer = {"Authorization": f"Bearer {make_token(None)}"}
    responses = [
        signed_get(integration, key=keys_of(integration)["outbound"]),
        Client().get(path, headers=bearer),
        Client().get(path),
    ]

    assert [code_of(item) for item in responses] == [(401, "invalid_signature")] * 3


def test_signed_feed_refuses_a_query_that_was_not_signed(integration):
    path = f"/v1/integrations/{integration.slug}/events"

    assert code_of(signed_get(integration, "?limit=2", target=path)) == (401, "invalid_signature")


def test_signed_feed_of_an_unknown_integration_is_not_found():
    response = Client().get("/v1/integrations/nobody/events")

    assert code_of(response) == (404, "not_found")
