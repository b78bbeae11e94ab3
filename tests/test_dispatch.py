import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import jwt
import pytest
from django.db import connection

from catalog.envelope import ApiError
from dispatch import router
from dispatch.models import Answer
from installs import lifecycle
from installs.models import Connection, Install
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_order,
    make_spliteasy,
    owner_of,
)
from tests.partners import Reply, as_json, generic_answer, running_partner, spliteasy_answer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("patient_till")]


@pytest.fixture(autouse=True)
def closed_breakers():
    router.forget_partners()


@pytest.fixture
def merchant():
    return make_merchant(name="Maple")


@pytest.fixture
def location(merchant):
    return make_location(merchant, name="Ubud", city="Bali", timezone="Asia/Makassar")


@pytest.fixture
def spliteasy(settings):
    """The partner's server, with its integration in the catalog."""
    with running_partner(settings, spliteasy_answer) as partner:
        keys_of(make_spliteasy(partner.url))
        yield partner


@pytest.fixture
def make_generic(settings, merchant):
    """Installs a partner that speaks the Posz contract; returns its server."""
    running = []

    def make(answer=None):
        integration = make_integration()
        key = keys_of(integration)["outbound"]
        context = running_partner(settings, answer or generic_answer(key))
        partner = context.__enter__()
        running.append(context)
        integration.api_base_url = partner.url
        integration.save(update_fields=["api_base_url"])
        make_install(merchant, integration)
        partner.key, partner.slug = key, integration.slug
        return partner

    yield make
    for context in running:
        context.__exit__(None, None, None)


def install_spliteasy(merchant, **over):
    from catalog.models import Integration

    values = {
        "connection": Connection.CONNECTED,
        "external_merchant_id": "se-1",
        "provision_due_at": None,
    }
    return make_install(merchant, Integration.objects.get(slug="spliteasy"), **(values | over))


def ask(location, order=None, **over):
    return router.dispatch(
        location.merchant_id, location.pk, "receipt_qr", {"order": order or make_order()}, **over
    )


def only(answer):
    assert len(answer["results"]) == 1
    return answer["results"][0]


def test_receipt_qr_of_spliteasy(spliteasy, merchant, location):
    row = install_spliteasy(merchant)

    answer = ask(location)

    assert answer["results"][0].pop("elapsed_ms") >= 0
    assert answer == {
        "capability": "receipt_qr",
        "mode": "add",
        "answered_by": "integration",
        "results": [
            {
                "integration": "spliteasy",
                "install_id": str(row.pk),
                "status": "ok",
                "output": {
                    "qr_payload": "https://s.example/b/bill-order-1",
                    "label": {"en": "Scan to split the bill", "id": "Pindai untuk bagi tagihan"},
                    "external_ref": "bill-order-1",
                },
            }
        ],
    }


def test_spliteasy_gets_the_bill_in_whole_rupiah(spliteasy, merchant, location):
    install_spliteasy(merchant)

    ask(location)

    assert spliteasy.requests[0].json() == {
        "external_merchant_id": "se-1",
        "external_order_id": "order-1",
        "order_number": "A-17",
        "location_id": str(location.pk),
        "table": "7",
        "currency": "IDR",
        "items": [
            {"name": "Nasi goreng", "quantity": 2, "unit_price": 35000, "total": 70000},
            {"name": "Es teh", "quantity": 3, "unit_price": 10000, "total": 30000},
        ],
        "subtotal": 100000,
        "service_charge": 5000,
        "tax": 10500,
        "discount": 0,
        "rounding": 0,
        "total": 115500,
        "closed_at": "2026-11-23T12:00:00+07:00",
    }


def test_spliteasy_gets_a_fresh_token_with_the_merchant_in_it(spliteasy, merchant, location):
    from catalog.models import Integration

    install_spliteasy(merchant)
    key = keys_of(Integration.objects.get(slug="spliteasy"))["jwt"]

    ask(location)
    ask(location, make_order("order-2"))

    tokens = [
        request.headers["Authorization"].removeprefix("Bearer ") for request in spliteasy.requests
    ]
    claims = [
        jwt.decode(token, key, algorithms=["HS256"], audience="spliteasy") for token in tokens
    ]
    assert {claim["exp"] - claim["iat"] for claim in claims} == {900}
    assert claims[0]["iss"] == "posz"
    assert claims[0]["merchant"] == {
        "id": str(merchant.pk),
        "name": "Maple",
        "location": "Ubud",
        "city": "Bali",
        "email": merchant.email,
        "phone": None,
        "currency": "IDR",
        "locale": "id",
        "timezone": "Asia/Makassar",
        "logo_url": None,
    }


def test_reprint_asks_nobody_and_gives_the_same_code(spliteasy, merchant, location):
    install_spliteasy(merchant)

    first, second = ask(location), ask(location)

    assert only(first)["output"] == only(second)["output"]
    assert len(spliteasy.requests) == 1


def test_new_version_of_an_order_is_asked_again(spliteasy, merchant, location):
    install_spliteasy(merchant)

    ask(location)
    ask(location, make_order(version=2))

    assert len(spliteasy.requests) == 2


def test_given_idempotency_key_decides_what_is_the_same(spliteasy, merchant, location):
    install_spliteasy(merchant)

    ask(location, make_order("a"), idempotency_key="k")
    answer = ask(location, make_order("b"), idempotency_key="k")

    assert only(answer)["output"]["external_ref"] == "bill-a"


def test_failure_is_not_kept_so_that_a_reprint_asks_again(spliteasy, merchant, location):
    install_spliteasy(merchant)
    spliteasy.answer = lambda _request: Reply(503)
    failed = only(ask(location))
    spliteasy.answer = spliteasy_answer

    healed = only(ask(location))

    assert (failed["status"], failed["error"]["code"]) == ("error", "upstream_error")
    assert healed["status"] == "ok"


def test_connecting_install_is_provisioned_by_the_receipt_that_needs_it(
    spliteasy, merchant, location
):
    row = install_spliteasy(merchant, connection=Connection.CONNECTING, external_merchant_id="")

    answer = only(ask(location))
    row.refresh_from_db()

    assert answer["status"] == "ok"
    assert spliteasy.paths() == ["/v1/external/merchants", "/v1/external/bills"]
    assert (row.connection, row.external_merchant_id) == (
        Connection.CONNECTED,
        f"se-{str(merchant.pk)[:8]}",
    )


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>hello</html>"),
        Reply(200, b""),
        Reply(200, b"[]"),
        Reply(200, b"{}"),
        Reply(200, b'{"bill_token": 7}'),
        Reply(200, b'{"bill_token": ""}'),
        Reply(200, b'{"bill_token": "a b"}'),
        Reply(200, b'{"bill_token": "' + b"x" * 290 + b'"}'),
        Reply(200, b'{"bill_token": "\xff"}'),
        Reply(200, b"x" * 100_000),
        Reply(302, b"", {"Location": "http://127.0.0.1:1/"}),
        Reply(401),
        Reply(404),
        Reply(500),
    ],
)
def test_nonsense_from_a_partner_is_its_own_error_and_no_bill(spliteasy, merchant, location, reply):
    install_spliteasy(merchant)
    spliteasy.answer = lambda _request: reply

    answer = ask(location)

    assert answer["answered_by"] == "built_in"
    assert (only(answer)["status"], only(answer)["error"]["code"]) == ("error", "upstream_error")
    assert not Answer.objects.exists()


def test_partners_are_asked_at_once_and_answer_in_install_order(make_generic, location):
    together = threading.Barrier(3)
    partners = [make_generic() for _ in range(3)]

    def meet(answer):
        def reply(request):
            together.wait(30)
            return answer(request)

        return reply

    for partner in partners:
        partner.answer = meet(partner.answer)

    answer = ask(location)

    assert [item["integration"] for item in answer["results"]] == [item.slug for item in partners]
    assert {item["status"] for item in answer["results"]} == {"ok"}


def test_hanging_partner_costs_the_others_nothing_and_the_till_only_the_budget(
    make_generic, location
):
    live, dead = make_generic(), make_generic()
    dead.answer = dead.hang

    answer = ask(location)

    assert not dead.leave.is_set()
    assert {item["integration"]: item["status"] for item in answer["results"]} == {
        live.slug: "ok",
        dead.slug: "timeout",
    }


def test_breaker_leaves_a_failing_partner_out_after_three_failures(make_generic, location):
    dead = make_generic(lambda _request: Reply(503))

    statuses = [only(ask(location, make_order(f"o{number}")))["status"] for number in range(5)]

    assert statuses == ["error", "error", "error", "skipped", "skipped"]
    assert len(dead.requests) == 3


def test_breaker_ignores_a_partner_that_answers_nonsense(make_generic, location):
    make_generic(lambda _request: as_json({"status": "?"}))

    statuses = {only(ask(location, make_order(f"o{number}")))["status"] for number in range(5)}

    assert statuses == {"error"}


def test_disabled_install_is_not_asked(spliteasy, merchant, location):
    row = install_spliteasy(merchant)
    lifecycle.disable(owner_of(merchant), row.pk)

    assert ask(location)["results"] == []


def test_uninstalled_is_not_asked_although_it_was_a_moment_ago(spliteasy, merchant, location):
    row = install_spliteasy(merchant)
    ask(location)
    lifecycle.uninstall(owner_of(merchant), row.pk)

    assert ask(location)["results"] == []


def test_integration_that_staff_switched_off_is_not_asked(spliteasy, merchant, location):
    install_spliteasy(merchant)
    ask(location)
    from catalog.models import Integration

    row = Integration.objects.get(slug="spliteasy")
    row.status = "disabled"
    row.save(update_fields=["status"])

    assert ask(location)["results"] == []


def test_install_for_one_location_is_asked_only_there(spliteasy, merchant, location):
    elsewhere = make_location(merchant)
    from catalog.models import Integration

    row = make_install(merchant, Integration.objects.get(slug="spliteasy"), location.pk)
    Install.objects.filter(pk=row.pk).update(external_merchant_id="se-1")

    assert len(ask(location)["results"]) == 1
    assert ask(elsewhere)["results"] == []


def test_generic_partner_that_does_not_sign_its_answer_is_not_believed(make_generic, location):
    make_generic(generic_answer(b"another key" * 3))

    assert only(ask(location))["status"] == "error"


def test_generic_partner_may_decline(make_generic, location):
    partner = make_generic()
    right = partner.answer

    def declined(request):
        from dispatch.signing import standard_headers

        asked = request.json()
        body = b'{"contract":"receipt_qr@1","status":"declined"}'
        headers = standard_headers(asked["request_id"], int(time.time()), body, [partner.key])
        return Reply(200, body, headers)

    partner.answer = declined
    first = only(ask(location))
    partner.answer = right
    again = only(ask(location))

    assert (first["status"], again["status"]) == ("declined", "declined")


@pytest.mark.parametrize(
    "payload",
    [
        "javascript:alert(1)",
        "ftp://x.example/",
        "https:///b",
        "https://x.example/a b",
        "https://x/" + "y" * 300,
    ],
)
def test_qr_that_is_no_short_web_address_is_refused(make_generic, location, payload):
    partner = make_generic()
    partner.answer = generic_answer(partner.key, qr_payload=payload)

    assert only(ask(location))["status"] == "error"


def test_warm_dispatch_of_a_reprint_reads_stamps_and_answers_only(
    spliteasy, merchant, location, django_assert_num_queries
):
    install_spliteasy(merchant)
    ask(location)

    with django_assert_num_queries(2):
        ask(location)


def test_pay_at_table_is_answered_by_the_one_and_falls_back_to_posz_when_it_fails(
    settings, merchant, location
):
    integration = make_integration(capabilities={"pay_at_table": 1})
    key = keys_of(integration)["outbound"]
    with running_partner(settings, generic_answer(key, subject="check")) as partner:
        integration.api_base_url = partner.url
        integration.save(update_fields=["api_base_url"])
        make_install(merchant, integration)
        question = {"check": make_order("check-1")}

        answered = router.dispatch(merchant.pk, location.pk, "pay_at_table", question)
        partner.answer = lambda _request: Reply(503)
        question = {"check": make_order("check-2")}
        fallen_back = router.dispatch(merchant.pk, location.pk, "pay_at_table", question)

    assert (answered["mode"], answered["answered_by"]) == ("replace", "integration")
    assert only(answered)["output"]["external_ref"] == "ref-check-1"
    assert fallen_back["answered_by"] == "built_in"
    assert only(fallen_back)["status"] == "error"


@pytest.mark.parametrize(
    ("capability", "code"),
    [("no_such_thing", "not_found"), ("payment_webhook_inbound", "capability_unsupported")],
)
def test_question_that_makes_no_sense_is_refused(location, capability, code):
    with pytest.raises(ApiError) as caught:
        router.dispatch(location.merchant_id, location.pk, capability, {})

    assert caught.value.code == code


def test_capability_that_nobody_has_is_answered_by_posz(location):
    answer = router.dispatch(location.merchant_id, location.pk, "loyalty_provider", {})

    assert answer == {
        "capability": "loyalty_provider",
        "mode": "replace",
        "answered_by": "built_in",
        "results": [],
    }


def test_unknown_merchant_and_foreign_location_are_not_found(location):
    for merchant_id, location_id in (
        (uuid4(), location.pk),
        (make_merchant().pk, location.pk),
        (location.merchant_id, uuid4()),
    ):
        with pytest.raises(ApiError) as caught:
            router.dispatch(merchant_id, location_id, "receipt_qr", {"order": make_order()})
        assert caught.value.code == "not_found"


@pytest.mark.django_db(transaction=True)
def test_same_order_printed_at_two_tills_at_once_makes_one_bill(spliteasy, merchant, location):
    install_spliteasy(merchant)
    asked = threading.Event()

    def slowly(request):
        asked.wait(0.2)
        return spliteasy_answer(request)

    spliteasy.answer = slowly

    def till(_number):
        try:
            return ask(location)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as tills:
        answers = list(tills.map(till, range(8)))

    assert len(spliteasy.requests) == 1
    assert {only(item)["output"]["external_ref"] for item in answers} == {"bill-order-1"}


@pytest.mark.django_db(transaction=True)
def test_32_tills_with_one_dead_partner_keep_every_live_answer(make_generic, location):
    live, dead = [make_generic(), make_generic()], make_generic()
    dead.answer = dead.hang

    def till(number):
        try:
            return ask(location, make_order(f"o{number}"))
        finally:
            connection.close()

    with ThreadPoolExecutor(32) as tills:
        answers = list(tills.map(till, range(32)))

    alive = {partner.slug for partner in live}
    kept = [
        item["status"]
        for answer in answers
        for item in answer["results"]
        if item["integration"] in alive
    ]
    assert kept == ["ok"] * 64
