"""Two versions of one contract side by side, and the move from one to the other."""

import json

import msgspec
import pytest
from django.test import Client
from django.utils import timezone

from catalog.contract_changes import ContractChange
from dispatch import qr, receipt, router
from dispatch.contract_changes import compare
from dispatch.operations import contract_of
from dispatch.operations.common import CUSTOMER, ORDER
from dispatch.operations.receipts import ReceiptOrder
from installs.models import Role
from tests.factories import (
    keys_of,
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_user,
)
from tests.partners import generic_answer, running_partner
from tests.sandbox_process import SLUG, installed_partner, running_sandbox

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("patient_till")]
WITH_PEOPLE = {**ORDER, "customer": CUSTOMER}


@pytest.fixture(scope="module")
def process():
    with running_sandbox() as running:
        yield running


@pytest.fixture
def newer(process, settings):
    """The partner of the sandbox, which speaks whatever it is asked in."""
    process.forget()
    router.forget_partners()
    settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, process.host]
    return process


@pytest.fixture
def older(settings):
    integration = make_integration("older", name_en="Older")
    key = keys_of(integration)["outbound"]
    with running_partner(settings, generic_answer(key)) as partner:
        integration.api_base_url = partner.url
        integration.save(update_fields=["api_base_url"])
        partner.integration = integration
        yield partner


@pytest.fixture
def location():
    return make_location(make_merchant())


def install_newer(location, url, version=2):
    base = f"{url}/demo/{SLUG}"
    return installed_partner(
        location.merchant, contract_of("receipt_qr", version), api_base_url=base
    )


def ask(location, **order):
    return router.dispatch(
        location.merchant_id, location.pk, "receipt_qr", {"order": {**WITH_PEOPLE, **order}}
    )


def asked(sandbox):
    return [json.loads(item["body"]) for item in sandbox.requests()]


def test_old_and_new_version_answer_the_same_question(location, older, newer):
    make_install(location.merchant, older.integration)
    install_newer(location, newer.url)

    answer = ask(location)

    first, second = answer["results"]
    assert [item["status"] for item in answer["results"]] == ["ok", "ok"]
    assert set(first["output"]) == {"qr_payload", "label", "external_ref"}
    assert set(second["output"]) == {*first["output"], "expires_at", "codes"}
    assert [older.requests[0].json()["contract"], asked(newer)[0]["contract"]] == [
        "receipt_qr@1",
        "receipt_qr@2",
    ]


def test_what_tills_have_always_read_is_the_first_code(location, newer):
    install_newer(location, newer.url)

    [result] = ask(location)["results"]

    first, second = result["output"]["codes"]
    assert {name: result["output"][name] for name in first} == first
    assert "expires_at" not in second


def test_codes_are_drawn_where_that_is_asked_for(location, newer):
    install_newer(location, newer.url)
    answer = ask(location)

    qr.draw(answer)

    output = answer["results"][0]["output"]
    assert [output["qr_svg"][:4], *(code["qr_svg"][:4] for code in output["codes"])] == ["<svg"] * 3


def test_guest_and_staff_are_shared_with_the_old_version_only(location, older, newer):
    make_install(location.merchant, older.integration)
    install_newer(location, newer.url)

    ask(location)

    [old], [new] = [item.json() for item in older.requests], asked(newer)
    assert old["data"]["order"]["customer"] == CUSTOMER
    assert new["data"]["order"].keys() == old["data"]["order"].keys() - {"customer", "staff_id"}


def test_what_a_till_leaves_out_is_filled_in(location, newer):
    install_newer(location, newer.url)
    lines = [{"name": "Kopi", "qty": "2", "unit_price_cents": 500, "total_cents": 1000}]

    router.dispatch(
        location.merchant_id, location.pk, "receipt_qr", {"order": {"id": "o-1", "lines": lines}}
    )

    assert asked(newer)[0]["data"]["order"] == {
        "id": "o-1",
        "number": "o-1",
        "version": 1,
        "lines": [{"id": "1", **lines[0]}],
        "subtotal_cents": 1000,
        "total_cents": 1000,
    }


@pytest.mark.parametrize("sample", receipt.SAMPLES, ids=lambda item: item.slug)
def test_receipts_of_the_till_are_whole_enough_for_the_new_version(location, sample):
    order = receipt.build_order(sample, location, "o-1", "U-1", timezone.now())

    assert msgspec.convert(order, ReceiptOrder).total_cents == order["total_cents"]


def test_order_that_the_new_version_can_not_hold_costs_nobody_else_a_code(location, older, newer):
    make_install(location.merchant, older.integration)
    install_newer(location, newer.url)

    first, second = ask(location, covers="two")["results"]

    assert (first["status"], second["status"]) == ("ok", "error")
    assert "data.order.covers" in second["error"]["message"]


def test_install_keeps_its_version_until_somebody_agrees_to_the_new_one(location, newer):
    install = install_newer(location, newer.url, version=1)
    partner = install.integration
    partner.capabilities = {"receipt_qr": 2}
    partner.save()
    owner = make_user(location.merchant, Role.OWNER)
    browser = Client()
    browser.force_login(owner)

    ask(location)
    page = browser.get(f"/integrations/{SLUG}").content.decode()
    browser.post(f"/integrations/{SLUG}/installs/{install.pk}/upgrade")
    ask(location, id="ord-2")

    assert [item["contract"] for item in asked(newer)] == ["receipt_qr@1", "receipt_qr@2"]
    assert "(version 2 in place of 1)" in page
    assert "No longer shared" in page
    assert "<code>order.customer</code>" in page
    assert "New in the answer" in page
    assert "Agree and use the newer version" in page


def test_difference_of_two_versions_names_each_field_once():
    assert compare("receipt_qr", 1, 2) == ContractChange(
        1,
        2,
        shared_too=[],
        shared_no_more=["order.customer", "order.paid_cents", "order.payments", "order.staff_id"],
        answered_too=["codes"],
        answered_no_more=["expires_at", "label", "qr_payload"],
    )
    assert compare("receipt_qr", 2, 2) == ContractChange(2, 2)
    assert compare("receipt_qr", 1, 9) == ContractChange(1, 9)
