import pytest
from django.utils import timezone

from installs import lifecycle
from installs.past import state_at
from installs.state import state_of
from tests.factories import (
    make_install,
    make_integration,
    make_location,
    make_merchant,
    owner_of,
)

pytestmark = pytest.mark.django_db


def test_state_at_each_moment_is_what_it_was_then():
    merchant = make_merchant()
    ubud = make_location(merchant)
    actor = owner_of(merchant)
    moments = []

    def remember():
        moments.append((timezone.now(), list(state_of(merchant.pk).scoped)))

    remember()
    first = make_install(merchant, make_integration())
    remember()
    second = make_install(merchant, make_integration(), ubud.pk)
    remember()
    lifecycle.disable(actor, first.pk)
    remember()
    lifecycle.uninstall(actor, second.pk)
    remember()
    lifecycle.enable(actor, first.pk)
    first.integration.capabilities = {"payment_webhook_inbound": 1}
    first.integration.save(update_fields=["capabilities"])
    lifecycle.accept_versions(actor, first.pk)
    remember()

    assert [state_at(merchant.pk, moment) for moment, _state in moments] == [
        state for _moment, state in moments
    ]


def test_state_at_knows_nothing_of_other_merchants():
    make_install(make_merchant(), make_integration())

    assert state_at(make_merchant().pk, timezone.now()) == []
