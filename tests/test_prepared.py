from uuid import uuid4

import pytest
from django.db import DatabaseError, connection

from catalog.prepared import fetch_row
from installs.snapshot import STAMP
from tests.conftest import ON_POSTGRES
from tests.factories import make_merchant

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
