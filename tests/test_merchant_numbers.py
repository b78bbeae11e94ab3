from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection as database
from django.test import Client
from django.urls import reverse

from catalog.envelope import ApiError
from installs import connection
from installs.models import AuditEntry, Connection, Install, Merchant, User
from tests.factories import (
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_user,
    owner_of,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    person = User.objects.create_superuser("staff@posz.id")
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def address(install: Install) -> str:
    return reverse("admin:installs_install_number", args=[install.pk])


def number_of(install: Install) -> str:
    return Install.objects.get(pk=install.pk).external_merchant_id


def test_staff_note_the_number_of_a_merchant(staff):
    install = make_install(make_merchant(), make_integration())

    response = staff.post(address(install), {"number": " SHOP-77 "})

    entry = AuditEntry.objects.get(action="install.numbered")
    assert response.url == reverse("admin:installs_install_change", args=[install.pk])
    assert number_of(install) == "SHOP-77"
    assert (entry.actor, entry.data) == ("staff:staff@posz.id", {"external_merchant_id": "SHOP-77"})


def test_number_of_another_merchant_is_refused_without_a_word_about_whom(staff):
    partner, other = make_integration(), make_merchant(name="Kopi Rahasia")
    make_install(other, partner, external_merchant_id="SHOP-77")
    install = make_install(make_merchant(), partner)

    html = staff.post(address(install), {"number": "SHOP-77"}).content.decode()

    assert "can’t be used here" in html
    assert "Kopi Rahasia" not in html
    assert str(other.pk) not in html
    assert number_of(install) == ""


def test_outlets_of_one_merchant_share_its_number(staff):
    partner, merchant = make_integration(), make_merchant()
    make_install(merchant, partner, make_location(merchant).pk, external_merchant_id="SHOP-77")
    install = make_install(merchant, partner, make_location(merchant).pk)

    staff.post(address(install), {"number": "SHOP-77"})

    assert number_of(install) == "SHOP-77"


def test_two_partners_may_use_the_same_number(staff):
    make_install(make_merchant(), make_integration(), external_merchant_id="7")
    install = make_install(make_merchant(), make_integration())

    staff.post(address(install), {"number": "7"})

    assert number_of(install) == "7"


def test_number_is_forgotten(staff):
    make_install(make_merchant(), partner := make_integration())
    install = make_install(make_merchant(), partner, external_merchant_id="7")

    staff.post(address(install), {"number": ""})

    assert number_of(install) == ""


def test_staff_without_the_right_see_nothing(client):
    client.force_login(
        make_user(is_staff=True), backend="django.contrib.auth.backends.ModelBackend"
    )
    install = make_install(make_merchant(), make_integration())

    assert client.post(address(install), {"number": "7"}).status_code == 403
    assert number_of(install) == ""


def test_partner_that_mixes_up_two_merchants_connects_neither_to_the_other():
    partner = make_integration()
    make_install(make_merchant(), partner, external_merchant_id="7")
    install = make_install(make_merchant(), partner, connection=Connection.CONNECTING)

    connection.provisioned(install.pk, "7")

    install.refresh_from_db()
    assert (install.external_merchant_id, install.connection, install.connection_problem) == (
        "",
        Connection.FAILED,
        "number_taken",
    )


@pytest.mark.servers
@pytest.mark.django_db(transaction=True)
def test_two_who_give_the_same_number_at_once_are_served_one_after_the_other():
    partner = make_integration()
    installs = [make_install(make_merchant(), partner) for _ in range(2)]
    together = Barrier(2)

    def give(install: Install) -> str:
        try:
            together.wait(10)
            connection.name_at_partner(owner_of(install.merchant), install.pk, "7")
        except ApiError as error:
            return error.code
        finally:
            database.close()
        return "ok"

    for _round in range(20):
        Install.objects.update(external_merchant_id="")
        with ThreadPoolExecutor(2) as people:
            answers = sorted(people.map(give, installs))
        assert answers == ["config_invalid", "ok"]
        assert Merchant.objects.filter(installs__external_merchant_id="7").count() == 1
