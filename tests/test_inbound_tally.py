"""Refused webhooks are counted without a statement each, and nothing of them is kept."""

import threading
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from catalog.envelope import ApiError
from catalog.models import Integration
from installs import credentials, lifecycle
from installs.models import IntegrationSecret
from tests.factories import make_merchant, owner_of
from tests.test_inbound import URL, install, key, make_body, post, post_signed
from webhooks import inbound, tally
from webhooks.models import NOBODY, InboundEvent, InboundRefusal, InboundTotal
from webhooks.tally import RefusedForMerchantError, Tally

__all__ = ["install", "key"]
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def counts(monkeypatch: pytest.MonkeyPatch) -> Tally:
    fresh = Tally()
    monkeypatch.setattr(tally, "_of_this_process", fresh)
    return fresh


def rows() -> list[tuple[Any, ...]]:
    values = InboundRefusal.objects.order_by("reason", "slug").values_list
    return list(values("slug", "reason", "detail", "merchant_id", "count"))


def test_unsigned_posts_are_counted_by_reason_without_anything_of_them(
    install: Any, key: bytes, counts: Tally
):
    for _number in range(3):
        post(b'{"canary": 1}', "canary")
    post(make_body(install), None)

    counts.flush()

    assert rows() == [
        ("spliteasy", "mismatch", "", NOBODY, 3),
        ("spliteasy", "no_signature", "header:X-Spliteasy-Signature", NOBODY, 1),
    ]
    assert "canary" not in str(list(InboundRefusal.objects.values()))


def test_ended_key_is_told_from_a_wrong_one(install: Any, key: bytes, counts: Tally):
    credentials.rotate(install.integration, "inbound", "test")
    IntegrationSecret.objects.filter(state="previous").update(
        expires_at=timezone.now() - timedelta(minutes=1)
    )
    post_signed(make_body(install), key)

    counts.flush()

    assert rows() == [("spliteasy", "ended_key", "", NOBODY, 1)]


@pytest.mark.parametrize(
    ("over", "reason", "detail"),
    [
        ({"type": 5}, "invalid_payload", "type"),
        ({"merchant_id": str(uuid4())}, "not_found", ""),
        ({"merchant_id": ..., "external_merchant_id": "x"}, "integration_not_installed", ""),
    ],
)
def test_signed_refusals_name_the_field_and_no_merchant(
    install: Any, key: bytes, counts: Tally, over: dict[str, Any], reason: str, detail: str
):
    post_signed(make_body(install, **over), key)

    counts.flush()

    assert rows() == [("spliteasy", reason, detail, NOBODY, 1)]


def test_refusals_about_an_install_name_its_merchant(
    install: Any, key: bytes, counts: Tally, settings: Any
):
    settings.INBOUND_RATE_PER_MINUTE = 1
    post_signed(make_body(install), key)
    post_signed(make_body(install, event_id="e-2"), key)
    post_signed(make_body(install, type="bill.tipped"), key)
    lifecycle.disable(owner_of(install.merchant), install.pk)
    post_signed(make_body(install), key)

    counts.flush()

    reasons = ["capability_unsupported", "integration_disabled", "rate_limited"]
    assert rows() == [("spliteasy", reason, "", install.merchant_id, 1) for reason in reasons]


def test_unknown_addresses_share_one_row(counts: Tally, db: None):
    for number in range(5):
        post(b"{}", None, f"/v1/integrations/scan-{number}/webhook")

    counts.flush()

    assert rows() == [("", "not_found", "", NOBODY, 5)]


def test_other_refusals_are_counted_too(install: Any, counts: Tally):
    Client().get(URL)
    post(b"x" * (256 * 1024 + 1), "x")

    counts.flush()

    assert [(reason, count) for _slug, reason, _detail, _merchant, count in rows()] == [
        ("method_not_allowed", 1),
        ("payload_too_large", 1),
    ]


def test_flood_of_refusals_writes_nothing_by_itself(install: Any, key: bytes, counts: Tally):
    with CaptureQueriesContext(connection) as captured:
        for _number in range(20):
            post(b"{}", "0" * 64)

    written = [item["sql"] for item in captured if not item["sql"].lstrip().startswith("SELECT")]
    assert written == []


def test_counts_add_up_over_flushes_and_processes(counts: Tally, install: Any):
    first_at = timezone.now()
    for _process in range(2):
        for _flush in range(2):
            counts.refused("spliteasy", ApiError("not_found"))
            counts.flush()

    [row] = InboundRefusal.objects.all()
    assert (row.count, row.first_at >= first_at, row.last_at >= row.first_at) == (4, True, True)
    assert row.hour == row.first_at.replace(minute=0, second=0, microsecond=0)


def test_database_that_is_down_breaks_nothing_and_loses_nothing(
    install: Any, counts: Tally, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_args: Any) -> None:
        raise DatabaseError

    counts.refused("spliteasy", ApiError("not_found"))
    with monkeypatch.context() as patched:
        patched.setattr(tally, "_write", fail)
        counts.flush()
    counts.refused("spliteasy", ApiError("not_found"))

    counts.flush()

    assert rows() == [("spliteasy", "not_found", "", NOBODY, 2)]


def test_memory_and_rows_are_bounded(install: Any, counts: Tally, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tally, "MOST_KEYS", 6)
    monkeypatch.setattr(tally, "MOST_MERCHANTS", 2)
    for _number in range(10):
        counts.refused("spliteasy", RefusedForMerchantError(uuid4(), "rate_limited"))
    in_memory = len(counts._refused)

    counts.flush()
    counts.refused("spliteasy", RefusedForMerchantError(uuid4(), "rate_limited"))
    counts.flush()

    named = InboundRefusal.objects.exclude(merchant_id=NOBODY)
    assert in_memory <= 7
    assert (named.count(), sum(row[-1] for row in rows())) == (2, 11)


def test_totals_count_what_was_processed_and_what_was_refused(
    install: Any, key: bytes, counts: Tally
):
    post_signed(make_body(install), key)
    inbound.process(InboundEvent.objects.get().pk)
    post(b"{}", "0")

    counts.flush()

    assert list(InboundTotal.objects.order_by("outcome").values_list("outcome", "count")) == [
        ("mismatch", 1),
        ("processed", 1),
    ]


@pytest.mark.django_db(transaction=True)
def test_counts_are_written_by_themselves(counts: Tally, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tally, "EVERY_SECONDS", 0.05)
    counts.refused("nowhere", ApiError("not_found"))

    [timer] = [item for item in threading.enumerate() if item is counts._timer]
    timer.join(10)

    assert rows() == [("", "not_found", "", NOBODY, 1)]


def test_merchant_without_the_integration_is_not_named(install: Any, key: bytes, counts: Tally):
    other = make_merchant()
    post_signed(make_body(install, merchant_id=str(other.pk)), key)

    counts.flush()

    assert not InboundRefusal.objects.filter(merchant_id=other.pk).exists()
    assert Integration.objects.filter(slug="spliteasy").exists()
