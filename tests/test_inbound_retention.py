"""What is erased of the inbound ledger and when; above all what is not."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from catalog.models import Integration
from installs import credentials
from installs.models import IntegrationSecret
from tests.factories import keys_of, make_inbound, make_install, make_merchant, make_spliteasy
from tests.test_inbound import make_body, post_signed
from webhooks import inbound, retention
from webhooks.models import InboundEvent, InboundRefusal, InboundSubject

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def days(number: float) -> timedelta:
    return timedelta(days=number)


@pytest.fixture
def integration() -> Integration:
    return make_spliteasy()


@pytest.fixture
def install(integration: Integration) -> Any:
    return make_install(make_merchant(), integration)


def make_secret(integration: Integration, state: str, *, age: timedelta, **over: Any) -> None:
    defaults = {"purpose": "inbound", "value": "ab" * 32}
    row = IntegrationSecret.objects.create(
        integration=integration, state=state, **(defaults | over)
    )
    IntegrationSecret.objects.filter(pk=row.pk).update(created_at=NOW - age)


def make_old(install: Any, age: timedelta, **over: Any) -> InboundEvent:
    defaults = {"received_at": NOW - age, "status": "processed", "headers": [["a", "b"]]}
    return make_inbound(install, **(defaults | over))


def test_bodies_are_erased_after_their_time_and_the_key_stays(install: Any):
    old, new = make_old(install, days(91)), make_old(install, days(89))

    done = retention.prune()

    old.refresh_from_db()
    new.refresh_from_db()
    assert (bytes(old.body), old.headers, old.erased_at is None) == (b"", [], False)
    assert (new.body != b"", new.headers, new.erased_at) == (True, [["a", "b"]], None)
    others = ("rows", "subjects", "inbox", "told", "refusals")
    assert done == {"bodies": 1, **dict.fromkeys(others, 0)}


@pytest.mark.parametrize("status", ["received", "quarantined"])
def test_what_has_had_no_effect_is_kept_whole(install: Any, status: str):
    make_secret(install.integration, "current", age=days(1))
    row = make_old(install, days(1000), status=status)

    retention.prune()

    row.refresh_from_db()
    assert row.body != b""


@pytest.mark.parametrize(
    ("secrets", "is_removed"),
    [
        pytest.param([("current", days(500), {})], True, id="made after it"),
        pytest.param([("current", days(700), {})], False, id="made before it"),
        pytest.param([("current", days(599.5), {})], False, id="within the tolerance"),
        pytest.param([("current", days(598.9), {})], True, id="past the tolerance"),
        pytest.param(
            [("current", days(5), {}), ("previous", days(700), {"expires_at": NOW + days(1)})],
            False,
            id="the previous one is still accepted",
        ),
        pytest.param(
            [("current", days(5), {}), ("previous", days(700), {"expires_at": NOW - days(1)})],
            True,
            id="the previous one has ended",
        ),
        pytest.param(
            [("current", days(5), {}), ("next", days(700), {})], False, id="the next one is older"
        ),
        pytest.param(
            [("current", days(5), {}), ("current", days(700), {"purpose": "oauth_client"})],
            False,
            id="another purpose that a scheme may use",
        ),
        pytest.param(
            [("current", days(5), {}), ("current", days(700), {"purpose": "outbound"})],
            True,
            id="a key that signs nothing inbound",
        ),
        pytest.param([], False, id="no secret at all"),
    ],
)
def test_row_goes_only_when_no_secret_could_sign_it(
    install: Any, secrets: list[tuple[str, timedelta, dict[str, Any]]], is_removed: bool
):
    for state, age, over in secrets:
        make_secret(install.integration, state, age=age, **over)
    make_old(install, days(600))

    retention.prune()

    assert InboundEvent.objects.exists() is not is_removed


def test_row_younger_than_its_time_stays_whatever_was_rotated(install: Any):
    make_secret(install.integration, "current", age=days(1))
    make_old(install, days(399))

    retention.prune()

    assert InboundEvent.objects.get().erased_at is not None


@pytest.mark.parametrize(
    "document", [{"kind": "none", "confirm": True}, {"kind": "issued"}, {"kind": "odd"}]
)
def test_row_stays_where_no_secret_signs(install: Any, document: dict[str, Any]):
    make_secret(install.integration, "current", age=days(1))
    Integration.objects.filter(pk=install.integration_id).update(inbound_verification=document)
    make_old(install, days(600))

    retention.prune()

    assert InboundEvent.objects.exists()


def test_post_that_was_kept_is_a_repetition_after_pruning_and_a_rotation(install: Any):
    key = keys_of(install.integration)["inbound"]
    IntegrationSecret.objects.update(created_at=NOW - days(1000))
    first = post_signed(make_body(install), key).json()
    inbound.sweep()
    InboundEvent.objects.update(received_at=NOW - days(600))
    credentials.rotate(install.integration, "inbound", "test")

    retention.prune()
    again = post_signed(make_body(install), key).json()

    assert again == first | {"status": "duplicate", "deduped": True}
    assert bytes(InboundEvent.objects.get().body) == b""


def test_run_ends_in_time_and_the_next_goes_on(install: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    monkeypatch.setattr(retention, "RUN_SECONDS", -1.0)
    for _number in range(5):
        make_old(install, days(100))

    runs = [retention.prune()["bodies"] for _run in range(4)]

    assert runs == [2, 2, 1, 0]


def test_subjects_and_refusals_go_with_their_age(install: Any):
    for age in (days(401), days(399)):
        InboundSubject.objects.create(
            install_id=install.pk, subject=str(age), occurred_at=NOW, changed_at=NOW - age
        )
    for age in (days(31), days(29)):
        at = NOW - age
        InboundRefusal.objects.create(slug="", reason="x", hour=at, first_at=at, last_at=at)

    done = retention.prune()

    assert (done["subjects"], done["refusals"]) == (1, 1)
