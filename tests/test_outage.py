"""What callers are told while a server that the hub stands on is away."""

import json

import pytest
from django.db import OperationalError
from django.test import Client

from catalog.envelope import failure_response
from tests.factories import keys_of, make_install, make_merchant, make_spliteasy
from tests.stack import free_ports
from tests.test_inbound import make_body, sign


def test_database_that_is_away_is_no_fault_of_the_caller():
    response = failure_response(OperationalError("connection refused"))

    assert response.status_code == 503
    assert json.loads(response.content)["error"]["code"] == "unavailable"
    assert response["Retry-After"] == "5"


@pytest.mark.django_db
def test_inbound_event_is_taken_while_redis_is_away(settings):
    [port] = free_ports(1)
    settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
    integration = make_spliteasy()
    body = make_body(make_install(make_merchant(), integration))

    response = Client().post(
        "/v1/integrations/spliteasy/webhook",
        body,
        content_type="application/json",
        headers={"X-Spliteasy-Signature": sign(body, keys_of(integration)["inbound"])},
    )

    assert response.status_code == 200
