from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from catalog import prepared
from catalog.prepared import fetch_row
from installs.models import Merchant
from installs.snapshot import STAMP
from tests.conftest import ON_POSTGRES
from tests.factories import make_integration, make_merchant
from webhooks import endpoint_rows
from webhooks.models import Endpoint

pytestmark = pytest.mark.django_db


def test_row_is_fetched():
    merchant = make_merchant()

    row = fetch_row("SELECT name, id FROM merchant WHERE id = %s", [merchant.pk])

    assert row is not None
    assert row[0] == merchant.name


def test_no_row_is_none():
    assert fetch_row(STAMP, [uuid4()]) is None


def test_whoever_watches_queries_sees_it(django_assert_num_queries):
    with django_assert_num_queries(1):
        fetch_row(STAMP, [uuid4()])


def test_error_is_one_of_django():
    with pytest.raises(DatabaseError):
        fetch_row("SELECT no_such_column FROM merchant", [])


@pytest.mark.skipif(not ON_POSTGRES, reason="only PostgreSQL keeps prepared statements")
def test_statement_is_prepared_once_per_connection():
    for _ in range(3):
        fetch_row(STAMP, [uuid4()])

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%snapshot_version%%'"
        )
        assert cursor.fetchone() == (1,)


@pytest.mark.django_db(transaction=True)
def test_rows_are_fetched_after_the_connection_was_lost():
    merchant = make_merchant()
    before = fetch_row(STAMP, [merchant.pk])

    connection.close()

    assert fetch_row(STAMP, [merchant.pk]) == before


@pytest.mark.django_db(transaction=True)
def test_rows_of_statements_that_travel_together_are_their_own():
    names = ["Kopi", "Soto"]
    merchants = [make_merchant(name=name) for name in names]

    with prepared.pipelined():
        for merchant in merchants:
            prepared.execute("UPDATE merchant SET name = name WHERE id = %s", [merchant.pk])
        rows = [
            fetch_row("SELECT name FROM merchant WHERE id = %s", [merchant.pk])
            for merchant in merchants
        ]

    assert rows == [(name,) for name in names]


@pytest.mark.django_db(transaction=True)
def test_what_travels_together_is_committed_together():
    merchant = make_merchant()

    with prepared.pipelined(), transaction.atomic():
        prepared.execute("UPDATE merchant SET name = %s WHERE id = %s", ["Warung", merchant.pk])

    merchant.refresh_from_db()
    assert merchant.name == "Warung"


@pytest.mark.django_db(transaction=True)
def test_statement_that_fails_on_the_way_takes_the_others_back():
    merchant = make_merchant()

    with pytest.raises(DatabaseError):
        rename_and_fail(merchant)

    name = merchant.name
    merchant.refresh_from_db()
    assert merchant.name == name
    assert fetch_row(STAMP, [merchant.pk]) is not None


def rename_and_fail(merchant: Merchant) -> None:
    with prepared.pipelined(), transaction.atomic():
        prepared.execute("UPDATE merchant SET name = %s WHERE id = %s", ["Warung", merchant.pk])
        prepared.execute("UPDATE merchant SET no_such_column = 1", [])


def test_rows_are_the_same_to_whoever_watches_queries(django_assert_num_queries):
    integration = make_integration()
    Endpoint.objects.create(integration=integration, totals={"2xx": 3}, latency_counts=[1, 2])

    [unseen] = endpoint_rows.locked([integration.pk])
    with django_assert_num_queries(1):
        [seen] = endpoint_rows.locked([integration.pk])

    for row in (unseen, seen):
        assert (row.totals, row.latency_counts) == ({"2xx": 3}, [1, 2])
        assert row.changed_at.tzinfo is not None
