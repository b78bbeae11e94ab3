"""What the POS, merchants and staff see of payments."""

import pytest
from django.test import Client
from django.utils import timezone

from dispatch.models import ParkedReport, TableCheck, TablePayment
from dispatch.payment_states import Report, apply
from installs.models import Membership, Role, User
from tests.factories import (
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_payment,
    make_token,
    make_user,
)

pytestmark = pytest.mark.django_db
PAGE = "/deliveries/payments"


@pytest.fixture
def install():
    integration = make_integration(capabilities={"payment_method": 1})
    return make_install(make_merchant(currency="IDR"), integration)


@pytest.fixture
def outlet(install):
    return make_location(install.merchant, name="Ubud", timezone="Asia/Makassar")


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def shown(merchant, **over):
    client = signed_in(over.get("user") or make_user(merchant))
    return client.get(PAGE + over.get("query", "")).content.decode()


def pos(token, path):
    return Client().get(f"/v1/{path}", headers={"Authorization": f"Bearer {token}"})


def park(install, **over):
    defaults = {
        "merchant": install.merchant,
        "integration": install.integration,
        "install_id": install.pk,
        "event_id": "e-1",
        "provider_ref": "strange-1",
        "kind": "payment",
        "status": "paid",
        "amount_cents": 700000,
        "currency": "IDR",
    }
    return ParkedReport.objects.create(**(defaults | over))


def overpay(install, outlet):
    check = TableCheck.objects.create(
        merchant=install.merchant,
        location=outlet,
        check_id="chk-1",
        version=1,
        table="12",
        total_cents=1,
        paid_cents=0,
    )
    return TablePayment.objects.create(
        merchant=install.merchant,
        location=outlet,
        integration=install.integration,
        install_id=install.pk,
        check_row=check,
        payment_id="guest-1",
        lock_until=timezone.now(),
        asked_cents=1,
        state="applied",
        amount_cents=1500001,
        overpaid_cents=1500000,
        applied_at=timezone.now(),
    )


def test_pos_reads_a_payment_with_its_history(install, outlet):
    row = make_payment(install, outlet, payment_id="a/b 1", amount_cents=5000000)
    apply(row.pk, Report("webhook", "paid", 5000000, "IDR", "p-1", event_id="e"))

    answer = pos(make_token(install.merchant), "payments/a%2Fb%201")

    payment = answer.json()
    assert answer.status_code == 200
    assert (payment["state"], payment["paid_amount_cents"]) == ("paid", 5000000)
    assert [(item["source"], item["state"]) for item in payment["history"]] == [("webhook", "paid")]


def test_payment_of_another_merchant_is_like_none(install, outlet):
    make_payment(install, outlet, payment_id="pay-1")
    token = make_token(make_merchant())

    theirs, none = pos(token, "payments/pay-1"), pos(token, "payments/pay-2")

    assert theirs.status_code == none.status_code == 404
    assert theirs.content == none.content


@pytest.mark.parametrize("number", ["%00", "x" * 201, "%F0%9F%92%B8"])
def test_strange_number_is_not_there(install, number):
    assert pos(make_token(install.merchant), f"payments/{number}").status_code == 404


def test_held_and_unverified_payments_are_shown_and_others_not(install, outlet):
    make_payment(install, outlet, problem="amount_mismatch", payment_id="held-1", tip_cents=100000)
    make_payment(install, outlet, state="pending_verification", payment_id="unknown-1")
    make_payment(install, outlet, state="paid", payment_id="fine-1")

    page = shown(install.merchant)

    assert "held-1" in page
    assert "unknown-1" in page
    assert "fine-1" not in page
    assert "Rp51.000" in page
    assert "WITA" in page


def test_page_speaks_indonesian(install, outlet):
    make_payment(install, outlet, problem="amount_mismatch")

    page = shown(install.merchant, query="?lang=id")

    assert "Penyedia melaporkan jumlah yang berbeda dari permintaan." in page


def test_parked_reports_and_overpaid_checks_are_shown(install, outlet):
    park(install)
    park(install, event_id="e-2", provider_ref="known-1", applied_at=timezone.now())
    overpay(install, outlet)

    page = shown(install.merchant)

    assert "strange-1" in page
    assert "known-1" not in page
    assert "Rp15.000 too much for check chk-1, table 12" in page


def test_other_merchant_sees_nothing(install, outlet):
    make_payment(install, outlet, problem="amount_mismatch", payment_id="held-1")
    park(install)
    overpay(install, outlet)

    page = shown(make_merchant())

    assert not [name for name in ("held-1", "strange-1", "chk-1") if name in page]


def test_manager_of_one_outlet_sees_that_outlet(install, outlet):
    other = make_location(install.merchant)
    user: User = make_user(install.merchant, Role.MANAGER)
    Membership.objects.get(user=user).locations.add(other)
    make_payment(install, outlet, problem="amount_mismatch", payment_id="held-1")
    make_payment(install, other, problem="amount_mismatch", payment_id="held-2")
    park(install)

    page = shown(install.merchant, user=user)

    assert "held-2" in page
    assert "held-1" not in page
    assert "strange-1" not in page


def test_page_does_not_ask_per_row(install, outlet, django_assert_max_num_queries):
    client = signed_in(make_user(install.merchant))
    counts = []
    for _round in range(2):
        for _row in range(3):
            make_payment(install, outlet, problem="amount_mismatch")
            park(install, event_id=str(timezone.now()))
        with django_assert_max_num_queries(40) as asked:
            assert client.get(PAGE).status_code == 200
        counts.append(len(asked))

    assert counts[0] == counts[1]


def test_all_are_found_page_by_page(install, outlet):
    for number in range(60):
        make_payment(install, outlet, problem="amount_mismatch", payment_id=f"held-{number:02}-x")
    client, query, found = signed_in(make_user(install.merchant)), "", []
    while query is not None:
        answer = client.get(PAGE + query)
        found += [line.row.payment_id for line in answer.context["lines"]]
        query = f"?before={answer.context['older']}" if answer.context["older"] else None

    assert found == [f"held-{number:02}-x" for number in reversed(range(60))]


@pytest.mark.parametrize("model", ["paymentintent", "parkedreport", "tablecheck", "tablepayment"])
def test_staff_look_and_change_nothing(install, outlet, model):
    rows = {
        "paymentintent": make_payment(install, outlet),
        "parkedreport": park(install),
        "tablepayment": (paid := overpay(install, outlet)),
        "tablecheck": paid.check_row,
    }
    client = signed_in(User.objects.create_superuser("s@posz.id", "x" * 12))
    base = f"/admin/dispatch/{model}"

    assert client.get(f"{base}/").status_code == 200
    assert client.get(f"{base}/{rows[model].pk}/change/").status_code == 200
    assert client.post(f"{base}/{rows[model].pk}/change/", {}).status_code == 403
    assert client.get(f"{base}/add/").status_code == 403
