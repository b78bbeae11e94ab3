"""The main job through the API alone, on a running hub with its own worker and the real sandbox."""

import json
import time
from urllib.request import Request, urlopen  # noqa: TID251 - plays a till and a guest

import pytest


@pytest.fixture(scope="module")
def till(live_hub):
    return Till(live_hub)


class Till:
    def __init__(self, hub):
        self.hub = hub
        self.merchant = next(
            item for item in hub.seed["merchants"] if item["name"] == "Warung Bu Sari"
        )
        self.location_id = self.merchant["locations"][0]["id"]
        self.token = hub.seed["merchant_tokens"][self.merchant["id"]]

    def call(self, method, path, body=None):
        request = Request(
            f"{self.hub.url}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=60) as response:
            return json.loads(response.read() or b"null")

    def sandbox(self, path, method="GET"):
        with urlopen(
            Request(f"{self.hub.sandbox_url}{path}", method=method), timeout=10
        ) as response:
            return response.read()


def eventually(check, seconds=90):
    """The value of `check` as soon as it is true; fails after a long while."""
    end = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return value


def test_install_print_settle_and_be_told(till):
    install = till.call("POST", "installs", {"integration": "spliteasy"})
    eventually(lambda: till.call("GET", f"installs/{install['id']}")["connection"] == "connected")

    def printed():
        answer = till.call(
            "POST",
            "dispatch/receipt_qr",
            {
                "location_id": till.location_id,
                "data": {
                    "order": {
                        "id": "story-1",
                        "lines": [{"name": "Kopi", "qty": 2, "unit_price_cents": 2500000}],
                    }
                },
            },
        )
        return [item for item in answer["results"] if item["status"] == "ok"]

    # A machine that is too busy for the budget has the till print it again.
    landing = eventually(printed)[0]["output"]["qr_payload"]
    with urlopen(landing, timeout=60) as page:
        assert "Rp50.000" in page.read().decode()
    with urlopen(Request(f"{landing}/settle", method="POST", data=b""), timeout=60) as page:
        assert page.status == 200

    def settled():
        output = till.hub.manage(
            "shell",
            "-c",
            "from installs.models import AuditEntry as A;"
            f"print(A.objects.filter(action='bill.settled', install_id='{install['id']}').count())",
        )
        return output.strip().endswith("1")

    eventually(settled)


def test_event_of_the_pos_reaches_the_partner_signed(till):
    till.call("POST", "events", {"type": "order.paid", "data": {"order_id": "story-2"}})

    def received():
        requests = json.loads(till.sandbox("/_received"))["requests"]
        return [item for item in requests if "story-2" in item["body"]]

    [request] = eventually(received)
    delivered = eventually(
        lambda: [
            item for item in till.call("GET", "deliveries")["data"] if item["status"] == "delivered"
        ]
    )
    headers = {name.lower(): value for name, value in request["headers"].items()}
    assert headers["x-posz-event"] == "order.paid"
    assert delivered[0]["attempts"][0]["response_status"] == 200
