"""The API from outside: envelopes, tokens, tenants and the bodies that break naive handlers."""

import json
import re
from uuid import uuid4

import pytest
import yaml
from django.test import Client

from catalog.capabilities import CAPABILITIES
from dispatch import router
from installs.models import ApiToken, Install, Role
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_order,
    make_spliteasy,
    make_token,
)
from tests.partners import running_partner, spliteasy_answer
from webhooks.catalogue import EVENT_TYPES
from webhooks.models import Delivery, Event

pytestmark = pytest.mark.django_db
NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def merchant():
    return make_merchant()


@pytest.fixture
def api(merchant):
    return Api(make_token(merchant))


class Api:
    """A script with a token."""

    def __init__(self, token: str | None) -> None:
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = Client(raise_request_exception=False)

    def __call__(self, method, path, body=None, **over):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return self.client.generic(
            method,
            f"/v1/{path}",
            body or b"",
            content_type=over.pop("content_type", "application/json"),
            headers=self.headers | over.pop("headers", {}),
        )


def code_of(response):
    assert response["Content-Type"] == "application/json"
    error = response.json()["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    return response.status_code, error["code"]


def test_capabilities_are_the_21_of_the_registry():
    data = Api(None)("GET", "capabilities").json()["data"]

    assert [item["name"] for item in data] == list(CAPABILITIES)
    assert len(data) == 21
    assert data[0] == {
        "name": "receipt_qr",
        "surface": "QR/text appended to printed + digital receipt",
        "mode": "add",
        "cap": 3,
        "status": "live",
        "direction": "sync",
        "versions": [1, 2],
        "budget_ms": 800,
    }


def test_integrations_lists_only_what_is_available_and_no_secret():
    keys = keys_of(make_spliteasy())
    make_integration("hidden", status="draft")

    response = Api(None)("GET", "integrations")

    assert [item["slug"] for item in response.json()["data"]] == ["spliteasy"]
    assert not any(key.hex().encode() in response.content for key in keys.values())


@pytest.mark.parametrize("slug", ["nobody", "hidden"])
def test_integration_that_is_not_listed_is_not_found(slug):
    make_integration("hidden", status="draft")

    assert code_of(Api(None)("GET", f"integrations/{slug}")) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "installs"),
        ("POST", "installs"),
        ("GET", f"installs/{NOWHERE}"),
        ("POST", "dispatch/receipt_qr"),
        ("POST", "events"),
        ("GET", "deliveries"),
        ("POST", f"deliveries/{NOWHERE}/replay"),
        ("POST", "deliveries/replay"),
        ("POST", "deliveries/recover"),
        ("GET", f"deliveries/recover/{NOWHERE}"),
        ("GET", "events"),
        ("GET", "inbound-events"),
        ("GET", f"inbound-events/{NOWHERE}"),
        ("POST", f"inbound-events/{NOWHERE}/replay"),
        ("POST", "inbound-events/replay"),
        ("POST", "inbound-events/recover"),
        ("POST", f"installs/{NOWHERE}/send-example"),
    ],
)
@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer x", "Basic abc", "Bearer a b", "Bearer é", "Bearer \xff"]
)
def test_call_without_a_valid_token_is_unauthenticated(method, path, header):
    headers = {} if header is None else {"Authorization": header}

    response = Client().generic(
        method, f"/v1/{path}", b"{}", content_type="application/json", headers=headers
    )

    assert code_of(response) == (401, "unauthenticated")


def test_revoked_token_is_unauthenticated(merchant, api):
    from django.utils import timezone

    ApiToken.objects.update(revoked_at=timezone.now())

    assert code_of(api("GET", "installs")) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "nothing/here", (404, "not_found")),
        ("GET", "", (404, "not_found")),
        ("GET", "installs/not-a-uuid", (404, "not_found")),
        ("PUT", "installs", (405, "method_not_allowed")),
        ("PUT", "events", (405, "method_not_allowed")),
        ("DELETE", "capabilities", (405, "method_not_allowed")),
    ],
)
def test_wrong_address_or_method_answers_in_the_envelope(api, method, path, expected):
    assert code_of(api(method, path)) == expected


def test_accept_html_still_gets_json(api):
    response = api("GET", "nothing", headers={"Accept": "text/html"})
    listed = api("GET", "installs", headers={"Accept": "text/html"})

    assert code_of(response) == (404, "not_found")
    assert listed["Content-Type"] == "application/json"


def test_body_of_another_type_is_refused(api):
    response = api("POST", "installs", b"a=1", content_type="application/x-www-form-urlencoded")

    assert code_of(response) == (415, "unsupported_media_type")


BROKEN = [
    b"",
    b"not json",
    b"[]",
    b'"x"',
    b"\xef\xbb\xbf{}",
    b'{"a": NaN}',
    b'{"a": 1e999}',
    b'{"a": "\\u0000"}',
    b'{"a": "\\udfff"}',
    b'{"a": 1, "a": 1}',
    b"[" * 50_000,
    b'{"integration": 1, "type": 1, "data": 1, "merchant_id": 5, "location_id": []}',
    b'{"data": {}, "location_id": "' + b"9" * 400 + b'"}',
]


@pytest.mark.parametrize("path", ["installs", "dispatch/receipt_qr", "events"])
@pytest.mark.parametrize("body", BROKEN)
def test_broken_body_is_refused(api, path, body):
    assert code_of(api("POST", path, body)) == (400, "invalid_payload")


@pytest.mark.parametrize("path", ["installs", "dispatch/receipt_qr", "events"])
def test_body_past_the_limit_is_refused(api, path):
    body = b'{"data": "' + b"x" * (256 * 1024) + b'"}'

    assert code_of(api("POST", path, body)) == (413, "payload_too_large")


def test_install_over_the_api(api, merchant):
    location = make_location(merchant)
    make_integration("x")

    response = api("POST", "installs", {"integration": "x", "location_id": str(location.pk)})

    row = Install.objects.get()
    body = response.json()
    assert response.status_code == 201
    assert body.pop("installed_at")
    assert body == {
        "id": str(row.pk),
        "integration": "x",
        "merchant_id": str(merchant.pk),
        "location_id": str(location.pk),
        "enabled": True,
        "connection": "connected",
        "connection_problem": "",
        "config": {},
        "capability_versions": {"receipt_qr": 1},
    }


def test_install_twice_over_the_api(api):
    make_integration("x")
    api("POST", "installs", {"integration": "x"})

    assert code_of(api("POST", "installs", {"integration": "x"})) == (409, "already_installed")


def test_install_conflict_over_the_api(api, merchant):
    for _ in range(3):
        make_install(merchant, make_integration())
    make_integration("d")

    response = api("POST", "installs", {"integration": "d"})

    assert code_of(response) == (409, "capability_conflict")
    assert response.json()["error"]["conflicts"][0]["capability"] == "receipt_qr"


SECRET_SCHEMA = {
    "type": "object",
    "properties": {"api_key": {"type": "string", "x-secret": True, "minLength": 8}},
    "required": ["api_key"],
}


@pytest.mark.parametrize(
    "config", [{}, {"api_key": "short"}, {"api_key": 5}, {"api_key": "long-enough", "more": 1}]
)
def test_install_with_unfit_settings_names_the_field_and_never_the_value(api, config):
    make_integration("k", config_schema=SECRET_SCHEMA)

    response = api("POST", "installs", {"integration": "k", "config": config})

    assert code_of(response) == (422, "config_invalid")
    assert response.json()["error"]["fields"]
    assert b"long-enough" not in response.content


def test_secret_setting_reads_as_set(api):
    make_integration("k", config_schema=SECRET_SCHEMA)

    body = api(
        "POST", "installs", {"integration": "k", "config": {"api_key": "sk-live-00004F2A"}}
    ).json()

    assert body["config"]["api_key"]["set"] is True
    assert body["config"]["api_key"]["last4"] == "4F2A"
    assert "sk-live" not in json.dumps(body)


def test_unknown_integration_is_not_found(api):
    assert code_of(api("POST", "installs", {"integration": "nobody"})) == (404, "not_found")


def test_install_life_over_the_api(api, merchant):
    row = make_install(merchant, make_integration())

    off = api("POST", f"installs/{row.pk}/disable").json()["enabled"]
    on = api("POST", f"installs/{row.pk}/enable").json()["enabled"]
    gone = api("DELETE", f"installs/{row.pk}").status_code
    after = code_of(api("GET", f"installs/{row.pk}"))

    assert (off, on, gone, after) == (False, True, 204, (404, "not_found"))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "installs/{id}"),
        ("PATCH", "installs/{id}"),
        ("DELETE", "installs/{id}"),
        ("POST", "installs/{id}/enable"),
        ("POST", "installs/{id}/disable"),
    ],
)
def test_another_merchants_install_looks_like_none(api, method, path):
    foreign = make_install(make_merchant(), make_integration())
    body = {"config": {}} if method == "PATCH" else None

    other = api(method, path.format(id=foreign.pk), body)
    none = api(method, path.format(id=uuid4()), body)

    assert code_of(other) == (404, "not_found")
    assert other.content == none.content


@pytest.mark.parametrize("path", ["installs", "events", "dispatch/receipt_qr"])
def test_another_merchants_id_looks_like_an_unknown_one(api, path):
    location = make_location(make_merchant())
    make_integration("x")

    def body(merchant_id):
        return {
            "merchant_id": str(merchant_id),
            "integration": "x",
            "type": "order.paid",
            "location_id": str(location.pk),
            "data": {"order": make_order()},
        }

    other, none = api("POST", path, body(location.merchant_id)), api("POST", path, body(uuid4()))

    assert code_of(other) == (404, "not_found")
    assert other.content == none.content


def test_another_merchants_location_is_not_found(api):
    location = make_location(make_merchant())
    make_integration("x")

    for path in ("installs", "events", "dispatch/receipt_qr"):
        body = {
            "integration": "x",
            "type": "order.paid",
            "location_id": str(location.pk),
            "data": {"order": make_order()},
        }
        assert code_of(api("POST", path, body)) == (404, "not_found")
    assert not Event.objects.exists()


def test_viewers_token_may_read_and_not_change(merchant):
    row = make_install(merchant, make_integration())
    viewer = Api(make_token(merchant, role=Role.VIEWER))

    assert viewer("GET", f"installs/{row.pk}").status_code == 200
    assert code_of(viewer("POST", f"installs/{row.pk}/disable")) == (403, "forbidden")
    assert code_of(viewer("DELETE", f"installs/{row.pk}")) == (403, "forbidden")


def test_managers_token_may_not_uninstall(merchant):
    row = make_install(merchant, make_integration())
    manager = Api(make_token(merchant, role=Role.MANAGER))

    assert manager("POST", f"installs/{row.pk}/disable").status_code == 200
    assert code_of(manager("DELETE", f"installs/{row.pk}")) == (403, "forbidden")


def test_token_for_all_merchants_must_say_which(merchant):
    pos = Api(make_token(None))

    assert code_of(pos("GET", "installs")) == (400, "invalid_payload")
    assert pos("GET", f"installs?merchant_id={merchant.pk}").status_code == 200


def test_installs_are_paged_by_cursor_in_install_order(api, merchant):
    rows = [
        make_install(merchant, make_integration(capabilities={"payment_webhook_inbound": 1}))
        for _ in range(5)
    ]
    seen, cursor = [], ""

    while cursor is not None:
        page = api("GET", f"installs?limit=2&cursor={cursor}").json()
        seen += [item["id"] for item in page["data"]]
        cursor = page["next"]

    assert seen == [str(row.pk) for row in rows]


def test_install_list_costs_the_same_queries_for_one_and_many(
    api, merchant, django_assert_num_queries
):
    for count in (1, 3):
        while Install.objects.count() < count:
            make_install(merchant, make_integration())
        with django_assert_num_queries(2):
            api("GET", "installs")


@pytest.fixture
def spliteasy(settings, merchant, patient_till):
    router.forget_partners()
    with running_partner(settings, spliteasy_answer) as partner:
        integration = make_spliteasy(partner.url)
        keys_of(integration)
        make_install(merchant, integration, external_merchant_id="se-1")
        yield partner


def test_dispatch_over_the_api_with_a_drawn_code(api, merchant, spliteasy):
    location = make_location(merchant)

    response = api(
        "POST",
        "dispatch/receipt_qr",
        {"location_id": str(location.pk), "render": "svg", "data": {"order": make_order()}},
    )

    output = response.json()["results"][0]["output"]
    assert response.status_code == 200
    assert output["qr_payload"] == "https://s.example/b/bill-order-1"
    assert output["qr_svg"].startswith("<svg")


@pytest.mark.parametrize(
    "order",
    [
        None,
        [],
        {},
        {"id": ""},
        {"id": "x" * 201},
        {"id": "a", "lines": {}},
        {"id": "a", "lines": [1]},
        {"id": "a", "lines": [{"name": "x", "qty": "many"}]},
        {"id": "a", "lines": [{"name": "x", "qty": -1}]},
        {"id": "a", "lines": [{"name": "x", "qty": True}]},
        {"id": "a", "lines": [{"name": "x", "qty": "1e400"}]},
        {"id": "a", "lines": [{"name": 5.5, "qty": 1}]},
        {"id": "a", "lines": [{"name": "x", "unit_price_cents": "5"}]},
        {"id": "a", "lines": [{"name": "x", "unit_price_cents": 1.5}]},
        {"id": "a", "total_cents": 10**16},
        {"id": "a", "taxes": [5]},
        {"id": "a", "charges": [{"amount_cents": True}]},
        {"id": "a", "version": "1"},
        {"id": "a", "version": -1},
        {"id": "a", "closed_at": "noon"},
        {"id": "a", "closed_at": "2026-11-23T12:00:00"},
    ],
)
def test_dispatch_of_an_unusable_order_names_the_field(api, merchant, order):
    location = make_location(merchant)

    response = api(
        "POST", "dispatch/receipt_qr", {"location_id": str(location.pk), "data": {"order": order}}
    )

    assert code_of(response) == (400, "invalid_payload")
    assert next(iter(response.json()["error"]["fields"])).startswith("data.order")


def test_order_with_only_an_id_and_lines_is_enough(api, merchant, spliteasy):
    location = make_location(merchant)
    order = {"id": 9, "lines": [{"name": "Kopi", "qty": 2, "unit_price_cents": 2500000}]}

    response = api(
        "POST", "dispatch/receipt_qr", {"location_id": str(location.pk), "data": {"order": order}}
    )

    assert response.json()["results"][0]["status"] == "ok"
    bill = spliteasy.requests[-1].json()
    assert (bill["external_order_id"], bill["subtotal"], bill["total"]) == ("9", 50000, 50000)


def test_unknown_capability_is_not_found(api, merchant):
    body = {"location_id": str(make_location(merchant).pk), "data": {}}

    assert code_of(api("POST", "dispatch/teleport", body)) == (404, "not_found")


def test_event_over_the_api(api, merchant, spliteasy):
    response = api("POST", "events", {"type": "order.paid", "data": {"order_id": "o"}})

    event = Event.objects.get()
    assert response.status_code == 202
    assert response.json() == {"id": str(event.pk), "deliveries": 1}


def test_event_again_with_the_same_key_has_the_same_id(api, spliteasy):
    body = {"type": "order.paid", "idempotency_key": "k", "data": {}}

    assert api("POST", "events", body).json() == api("POST", "events", body).json()


@pytest.mark.parametrize(
    "change",
    [
        {"type": "paid"},
        {"type": "Order.Paid"},
        {"type": 5},
        {"type": "a." * 80},
        {"data": []},
        {"occurred_at": "soon"},
        {"occurred_at": "0001-01-01T00:00:00+14:00"},
        {"idempotency_key": ""},
        {"idempotency_key": "x" * 256},
        {"location_id": "x"},
    ],
)
def test_event_that_is_not_usable_is_refused(api, change):
    response = api("POST", "events", {"type": "order.paid", "data": {}} | change)

    assert code_of(response) == (400, "invalid_payload")
    assert not Event.objects.exists()


def test_deliveries_of_the_merchant_only(api, spliteasy, merchant):
    other = make_install(make_merchant(), Install.objects.get().integration)
    api("POST", "events", {"type": "order.paid", "data": {}})
    Api(make_token(other.merchant))("POST", "events", {"type": "order.paid", "data": {}})

    data = api("GET", "deliveries").json()["data"]

    assert [item["id"] for item in data] == [
        str(row.pk) for row in Delivery.objects.filter(merchant=merchant)
    ]


def test_replay_of_another_merchants_delivery_is_not_found(api, spliteasy):
    other = make_install(make_merchant(), Install.objects.get().integration)
    Api(make_token(other.merchant))("POST", "events", {"type": "order.paid", "data": {}})

    response = api("POST", f"deliveries/{Delivery.objects.get().pk}/replay")

    assert code_of(response) == (404, "not_found")


@pytest.mark.parametrize("path", ["/v1/openapi.yaml", "/docs/integrations/openapi.yaml"])
def test_openapi_document_is_3_1_and_describes_every_route(path):
    document = yaml.safe_load(Client().get(path).content)

    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/capabilities",
        "/v1/capabilities/{capability}",
        "/v1/integrations",
        "/v1/integrations/{slug}",
        "/v1/integrations/{slug}/webhook",
        "/v1/installs",
        "/v1/installs/{install_id}",
        "/v1/installs/preview",
        "/v1/installs/swap",
        "/v1/installs/{install_id}/accept-versions",
        "/v1/installs/{install_id}/enable",
        "/v1/installs/{install_id}/disable",
        "/v1/installs/{install_id}/test",
        "/v1/installs/{install_id}/outlets",
        "/v1/dispatch/{capability}",
        "/v1/events",
        "/v1/deliveries",
        "/v1/deliveries/{delivery_id}/replay",
        "/v1/deliveries/recover",
        "/v1/deliveries/recover/{recovery_id}",
        "/v1/deliveries/replay",
        "/v1/event-types",
        "/v1/event-types/{event_type}",
        "/v1/installs/{install_id}/send-example",
        "/v1/integrations/{slug}/events",
        "/v1/oauth/token",
        "/v1/integrations/{slug}/webhook/{secret}",
        "/v1/inbound-events",
        "/v1/inbound-events/{event_id}",
        "/v1/inbound-events/{event_id}/replay",
        "/v1/inbound-events/replay",
        "/v1/inbound-events/recover",
        "/v1/integrations/{slug}/pay_at_table/{operation}",
        "/v1/payments/{payment_id}",
        "/v1/inbox",
        "/v1/inbox/acknowledge",
        "/v1/installs/{install_id}/mappings",
        "/v1/installs/{install_id}/mappings/{mapping_id}",
        "/v1/integrations/{slug}/menu",
        "/v1/table-payments",
    }


def test_openapi_document_has_every_event_and_what_it_refers_to():
    text = Client().get("/v1/openapi.yaml").content.decode()
    document = yaml.safe_load(text)

    assert set(document["webhooks"]) == set(EVENT_TYPES)
    referred = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert referred <= document["components"]["schemas"].keys()
    assert "$defs" not in text


def test_messages_follow_the_language_that_is_asked_for(api):
    english = api("GET", "nothing", headers={"Accept-Language": "en"}).json()["error"]["message"]
    indonesian = api("GET", "nothing", headers={"Accept-Language": "id"}).json()["error"]["message"]

    assert english != indonesian


def test_health_says_ok():
    assert Client().get("/healthz").json() == {"status": "ok"}
