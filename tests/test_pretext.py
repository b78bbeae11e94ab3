"""`receipt_pretext`: a few lines above the totals, asked through the generic adapter."""

import base64
import json
import time
from typing import Any

import pytest
from django.test import Client

from catalog.capabilities import CAPABILITIES, Status, has_adapter
from catalog.envelope import ApiError
from catalog.models import Integration
from catalog.verification import Outcome
from dispatch import router
from dispatch.contracts import PermanentError, Pretext, TextLine
from dispatch.sandbox.server import SandboxServer
from dispatch.signing import is_standard_signed, standard_headers
from installs import connection, lifecycle
from poszhub.seeds import seed_demo
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_key_partner,
    make_location,
    make_merchant,
    make_order,
    make_token,
    make_user,
    owner_of,
)
from tests.partners import Reply, Request, running_partner

pytestmark = pytest.mark.django_db

KEY = "merchant-key-1234567890"
LINE = {"text": {"en": "Hello", "id": "Halo"}, "align": "center", "emphasis": True}


@pytest.fixture(autouse=True)
def closed_breakers(patient_till):
    router.forget_partners()


@pytest.fixture
def merchant():
    return make_merchant()


@pytest.fixture
def location(merchant):
    return make_location(merchant)


def saying(key: bytes, data: Any) -> Any:
    def answer(request: Request) -> Reply:
        if request.path.endswith("/verify"):
            return Reply(200)
        asked = request.json()
        body = json.dumps({"contract": asked["contract"], "status": "ok", "data": data}).encode()
        headers = standard_headers("msg", int(time.time()), body, [key]) if key else {}
        return Reply(200, body, {"Content-Type": "application/json", **headers})

    return answer


@pytest.fixture
def partner(settings):
    with running_partner(
        settings, saying(b"", {"lines": [LINE], "external_ref": "r-1"})
    ) as running:
        yield running


def ask(merchant, location, **receipt):
    return router.dispatch(
        merchant.pk,
        location.pk,
        "receipt_pretext",
        {"order": make_order(), "receipt": {"paper_mm": 58} | receipt},
    )


def install_key(merchant, partner, config=None, **over):
    integration = make_key_partner(partner.url, **over)
    given = config or {"api_key": KEY, "greeting": "Hai"}
    lifecycle.install(owner_of(merchant), integration, config=given)
    partner.requests.clear()
    return integration


# The contract


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain", "plain"),
        ("", ""),
        ("tab\tand\nline\r", "tabandline"),
        ("zero\u200bwidth\u202eoverride", "zerowidthoverride"),
        ("a\u2028b\u2029c", "abc"),
        ("nul\x00bell\x07del\x7fc1\x9b", "nulbelldelc1"),
        ("e\u0301", "é"),
        ("Rp50.000 - 20 %", "Rp50.000 - 20 %"),
    ],
)
def test_line_keeps_only_what_prints(text, printed):
    assert TextLine(text, text).output()["text"] == {"en": printed, "id": printed}


@pytest.mark.parametrize("byte", ["\x1b@", "\x1dV0", "\x1cp", "\x10\x04", "\x14", "\x18", "\x1e"])
def test_line_with_a_command_for_the_printer_is_refused(byte):
    with pytest.raises(PermanentError):
        TextLine("fine", f"open the drawer {byte}")


@pytest.mark.parametrize("align", ["", "justify", "LEFT"])
def test_line_with_another_align_is_refused(align):
    with pytest.raises(PermanentError):
        TextLine("a", "b", align)


@pytest.mark.parametrize(
    ("text", "columns"), [("x" * 32, 32), ("日本" * 8, 32), ("e\u0301" * 32, 32)]
)
def test_block_as_wide_as_the_paper_is_fine(text, columns):
    assert Pretext((TextLine(text, "a"),), columns).output()["external_ref"] == ""


@pytest.mark.parametrize("text", ["x" * 33, "日本" * 8 + "x"])
@pytest.mark.parametrize("language", ["en", "id"])
def test_block_wider_than_the_paper_is_refused(text, language):
    line = TextLine(text, "a") if language == "en" else TextLine("a", text)

    with pytest.raises(PermanentError):
        Pretext((line,), 32)


def test_block_of_seven_lines_is_refused():
    with pytest.raises(PermanentError):
        Pretext((TextLine("a", "b"),) * 7, 32)


def test_registry_says_what_the_spec_says():
    item = CAPABILITIES["receipt_pretext"]

    assert (item.status, item.mode, item.cap) == (Status.LIVE, "add", 1)
    assert has_adapter("any-partner", "receipt_pretext", 1)


# Through the generic adapter


def test_answer_is_the_partners_lines(merchant, location, partner):
    install_key(merchant, partner)

    answer = ask(merchant, location)

    (result,) = answer["results"]
    assert (answer["mode"], answer["answered_by"]) == ("add", "integration")
    assert result["output"] == {"lines": [LINE], "external_ref": "r-1"}


def test_same_order_again_asks_nobody(merchant, location, partner):
    install_key(merchant, partner)

    answers = [ask(merchant, location)["results"][0]["output"] for _ in range(2)]

    assert answers[0] == answers[1]
    assert len(partner.requests) == 1


def test_call_carries_the_key_in_its_header_and_nowhere_else(merchant, location, partner):
    install_key(merchant, partner)

    ask(merchant, location)

    (asked,) = partner.requests
    assert asked.path == "/posz/v1/receipt_pretext"
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.json()["config"] == {"greeting": "Hai"}
    assert asked.json()["data"]["receipt"] == {"paper_mm": 58}
    assert KEY.encode() not in asked.body
    assert "webhook-signature" not in asked.headers


def test_settings_that_the_schema_lost_are_not_sent(merchant, location, partner):
    integration = install_key(merchant, partner, {"api_key": KEY, "pin": "p" * 9, "greeting": "x"})
    kept = integration.config_schema["properties"]
    integration.config_schema = {
        **integration.config_schema,
        "properties": {name: kept[name] for name in ("api_key", "greeting")},
    }
    integration.save(update_fields=["config_schema"])

    ask(merchant, location)

    assert partner.requests[0].json()["config"] == {"greeting": "x"}


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        ({"scheme": "header", "name": "X-Api-Key", "field": "api_key"}, "X-Api-Key", KEY),
        (
            {"scheme": "basic", "user_field": "greeting", "password_field": "api_key"},
            "Authorization",
            f"Basic {base64.b64encode(f'Hai:{KEY}'.encode()).decode()}",
        ),
    ],
)
def test_key_goes_where_the_catalog_says(merchant, location, partner, auth, name, value):
    install_key(merchant, partner, request_auth=auth)

    ask(merchant, location)

    assert partner.requests[0].headers[name] == value


def test_call_is_signed_too_where_there_is_an_outbound_key(merchant, location, partner):
    key = keys_of(install_key(merchant, partner))["outbound"]
    partner.answer = saying(key, {"lines": [LINE]})

    answer = ask(merchant, location)

    (asked,) = partner.requests
    assert is_standard_signed(asked.headers, asked.body, [key], time.time())
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert answer["results"][0]["status"] == "ok"


def test_unsigned_answer_is_refused_where_there_is_an_outbound_key(merchant, location, partner):
    keys_of(install_key(merchant, partner))

    assert ask(merchant, location)["results"][0]["status"] == "error"


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "kunci \u0394"])
def test_key_that_no_header_can_carry_asks_nobody(merchant, location, partner, key):
    install_key(merchant, partner, {"api_key": key}, verification_request={})

    result = ask(merchant, location)["results"][0]

    assert (result["status"], partner.requests) == ("error", [])
    assert key not in str(result)


def test_missing_key_asks_nobody(merchant, location, partner):
    schema = {"type": "object", "properties": {"api_key": {"type": "string", "x-secret": True}}}
    integration = make_key_partner(partner.url, config_schema=schema, verification_request={})
    make_install(merchant, integration)

    assert ask(merchant, location)["results"][0]["status"] == "error"
    assert partner.requests == []


def test_platform_shared_partner_still_needs_the_outbound_key(merchant, location, partner):
    make_install(
        merchant, make_integration(capabilities={"receipt_pretext": 1}, api_base_url=partner.url)
    )

    assert ask(merchant, location)["results"][0]["status"] == "error"
    assert partner.requests == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"lines": {}},
        {"lines": ["text"]},
        {"lines": [{"text": "text"}]},
        {"lines": [{"text": {"en": "a"}}]},
        {"lines": [LINE | {"emphasis": "yes"}]},
        {"lines": [LINE | {"align": ["left"]}]},
        {"lines": [LINE | {"text": {"en": "a", "id": "\x1b@"}}]},
        {"lines": [LINE | {"text": {"en": "a", "id": "x" * 33}}]},
        {"lines": [LINE] * 7},
        {"lines": [LINE], "external_ref": 5},
    ],
)
def test_unusable_answer_prints_nothing(merchant, location, partner, data):
    install_key(merchant, partner)
    partner.answer = saying(b"", data)

    answer = ask(merchant, location)

    assert (answer["answered_by"], answer["results"][0]["output"]) == ("built_in", {})


def test_wide_paper_takes_wide_lines(merchant, location, partner):
    install_key(merchant, partner)
    partner.answer = saying(b"", {"lines": [LINE | {"text": {"en": "x" * 48, "id": "y"}}]})

    assert ask(merchant, location, paper_mm=80)["results"][0]["status"] == "ok"


@pytest.mark.parametrize("paper", [None, "80", 57, True, [80]])
def test_unknown_paper_is_narrow(merchant, location, partner, paper):
    install_key(merchant, partner)
    partner.answer = saying(b"", {"lines": [LINE | {"text": {"en": "x" * 48, "id": "y"}}]})

    assert ask(merchant, location, paper_mm=paper)["results"][0]["status"] == "error"


def test_second_text_block_finds_no_place(merchant, location, partner):

    install_key(merchant, partner)

    with pytest.raises(ApiError) as refusal:
        make_install(merchant, make_integration(capabilities={"receipt_pretext": 1}))

    assert refusal.value.code == "capability_conflict"


def test_pos_asks_over_the_api(merchant, location, partner):
    install_key(merchant, partner)

    response = Client().post(
        "/v1/dispatch/receipt_pretext",
        {"location_id": str(location.pk), "data": {"order": make_order()}},
        "application/json",
        headers={"Authorization": f"Bearer {make_token(merchant)}"},
    )

    assert response.json()["results"][0]["output"]["lines"] == [LINE]


# On the receipt


@pytest.mark.parametrize(("language", "text"), [("en", "Hello"), ("id", "Halo")])
def test_till_prints_the_text_above_the_totals(merchant, location, partner, language, text):
    install_key(merchant, partner)
    client = Client()
    client.force_login(make_user(merchant))
    data = {"outlet": str(location.pk), "sample": "lunch", "paper": "58"}

    html = client.post("/till", data, headers={"Accept-Language": language}).content.decode()

    block = f'<p class="receipt__text receipt__text--center"><strong>{text}</strong></p>'
    assert block in html
    assert html.index(block) < html.index("Subtotal")


def test_till_escapes_what_a_partner_says(merchant, location, partner):
    install_key(merchant, partner)
    partner.answer = saying(b"", {"lines": [LINE | {"text": {"en": "<script>", "id": "<b>"}}]})
    client = Client()
    client.force_login(make_user(merchant))
    data = {"outlet": str(location.pk), "sample": "lunch", "paper": "58"}

    html = client.post("/till", data).content.decode()

    assert "<strong>&lt;script&gt;</strong>" in html


# The demo partner


def test_seed_has_the_demo_partner_once():
    tokens: dict[str, str] = {}

    worlds = [seed_demo(tokens) for _ in range(2)]

    assert worlds[0] == worlds[1]
    assert set(worlds[0]["integrations"]["demo-key"]) == {
        "inbound_secret",
        "outbound_secret",
        "jwt_secret",
    }


def test_seeded_demo_partner_is_sound_and_on_offer():

    seed_demo({})

    row = Integration.objects.get(slug="demo-key")
    row.full_clean()
    assert (row.status, row.auth_shape, row.capabilities, row.outbound_events) == (
        "available",
        "merchant_key",
        {"receipt_pretext": 1},
        ["order.paid"],
    )


def test_seeded_demo_partner_works_with_the_sandbox(settings, merchant, location, request):

    seed_demo({})
    row = Integration.objects.get(slug="demo-key")
    key = keys_of(row)["outbound"]
    server = SandboxServer(
        secret_of=lambda _slug, _purpose: [key], hub="http://127.0.0.1:1", first_retry_seconds=1
    )
    server.start()
    request.addfinalizer(server.stop)
    settings.OUTBOUND_ALLOW = [server.url.removeprefix("http://")]
    row.api_base_url = f"{server.url}/demo/demo-key"
    row.save(update_fields=["api_base_url"])

    config = {"api_key": "demo-valid-key", "greeting": "Sampai jumpa"}
    installed = lifecycle.install(owner_of(merchant), row, config=config)

    assert connection.test(owner_of(merchant), installed.pk).outcome is Outcome.OK
    (line,) = ask(merchant, location)["results"][0]["output"]["lines"]
    assert line["text"]["en"] == "Sampai jumpa"
