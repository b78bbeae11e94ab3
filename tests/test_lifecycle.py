import pytest

from catalog.envelope import ApiError
from catalog.models import IntegrationStatus
from installs import connection, lifecycle
from installs.access import Actor
from installs.models import AuditEntry, Connection, Install, Merchant, Role
from tests.factories import (
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_spliteasy,
    owner_of,
)

pytestmark = pytest.mark.django_db


def refusal(act) -> ApiError:
    with pytest.raises(ApiError) as caught:
        act()
    return caught.value


def actions(merchant: Merchant) -> list[str]:
    return list(
        AuditEntry.objects.filter(merchant=merchant).order_by("id").values_list("action", flat=True)
    )


def test_install_of_a_partner_that_must_know_the_merchant_is_connecting():
    merchant = make_merchant()

    row = lifecycle.install(owner_of(merchant), make_spliteasy())

    assert row.connection == Connection.CONNECTING
    assert row.provision_due_at is not None
    assert actions(merchant) == ["install.created"]


def test_install_of_a_partner_that_needs_nothing_is_connected():
    row = lifecycle.install(owner_of(make_merchant()), make_integration())

    assert (row.connection, row.provision_due_at) == (Connection.CONNECTED, None)


def test_install_pins_the_contract_versions_of_the_catalog_row():
    integration = make_integration(capabilities={"receipt_qr": 1})

    row = make_install(make_merchant(), integration)
    integration.capabilities = {"receipt_qr": 2}
    integration.save(update_fields=["capabilities"])
    row.refresh_from_db()

    assert row.capability_versions == {"receipt_qr": 1}


@pytest.mark.parametrize("is_local", [False, True])
def test_install_twice_in_the_same_scope_is_refused(is_local):
    merchant, integration = make_merchant(), make_integration()
    location_id = make_location(merchant).pk if is_local else None
    make_install(merchant, integration, location_id)

    error = refusal(
        lambda: lifecycle.install(owner_of(merchant), integration, location_id=location_id)
    )

    assert (error.status, error.code) == (409, "already_installed")
    assert Install.objects.count() == 1


def test_install_for_one_location_beside_the_merchant_wide_row_is_an_override():
    merchant, integration = make_merchant(), make_integration()
    make_install(merchant, integration)

    make_install(merchant, integration, make_location(merchant).pk)

    assert Install.objects.for_merchant(merchant.pk).count() == 2


def test_install_past_the_cap_names_holders_and_places():
    merchant = make_merchant()
    location = make_location(merchant)
    rows = [make_install(merchant, make_integration()) for _ in range(3)]

    error = refusal(lambda: make_install(merchant, make_integration(), location.pk))

    assert (error.status, error.code) == (409, "capability_conflict")
    assert error.extra["conflicts"] == [
        {
            "capability": "receipt_qr",
            "mode": "add",
            "places": 3,
            "locations": [{"id": str(location.pk), "name": str(location)}],
            "holders": [
                {
                    "install_id": str(row.pk),
                    "integration": row.integration.slug,
                    "location_id": None,
                    "enabled": True,
                }
                for row in rows
            ],
        }
    ]
    ways = [(way["way"], way.get("instead_of")) for way in error.extra["ways_out"]]
    assert ways == [*(("switch", [row.integration.slug]) for row in rows), ("keep", None)]


def test_install_at_another_merchants_location_is_not_found():
    merchant, foreign = make_merchant(), make_location(make_merchant())

    error = refusal(
        lambda: lifecycle.install(owner_of(merchant), make_integration(), location_id=foreign.pk)
    )

    assert error.code == "not_found"


@pytest.mark.parametrize(
    "status", [item for item in IntegrationStatus if item != IntegrationStatus.AVAILABLE]
)
def test_install_of_what_is_not_available_is_refused(status):
    integration = make_integration(status=status)

    error = refusal(lambda: make_install(make_merchant(), integration))

    assert error.code == "integration_disabled"


SCHEMA = {
    "type": "object",
    "properties": {
        "api_key": {"type": "string", "x-secret": True, "minLength": 8},
        "greeting": {"type": "string", "maxLength": 10},
    },
    "required": ["api_key"],
}


def test_install_with_settings_that_do_not_fit_names_the_fields():
    integration = make_integration(config_schema=SCHEMA)

    error = refusal(lambda: make_install(make_merchant(), integration))

    assert (error.status, error.code) == (422, "config_invalid")
    assert list(error.extra["fields"]) == ["api_key"]


def test_configure_keeps_what_is_left_out_and_removes_null():
    merchant, integration = make_merchant(), make_integration(config_schema=SCHEMA)
    actor = owner_of(merchant)
    row = lifecycle.install(
        actor, integration, config={"api_key": "key-12345678", "greeting": "Halo"}
    )

    lifecycle.configure(actor, row.pk, {"greeting": None})
    row.refresh_from_db()

    assert row.config == {"api_key": "key-12345678"}
    assert AuditEntry.objects.get(action="install.configured").data == {"keys": ["greeting"]}


def test_disable_keeps_the_place_and_enable_gives_it_back():
    merchant = make_merchant()
    row = make_install(merchant, make_integration())

    lifecycle.disable(owner_of(merchant), row.pk)
    off = Install.objects.get(pk=row.pk).is_enabled
    lifecycle.enable(owner_of(merchant), row.pk)

    assert (off, Install.objects.get(pk=row.pk).is_enabled) == (False, True)
    assert actions(merchant) == ["install.created", "install.disabled", "install.enabled"]


def test_disable_twice_is_recorded_once():
    merchant = make_merchant()
    row = make_install(merchant, make_integration())

    lifecycle.disable(owner_of(merchant), row.pk)
    lifecycle.disable(owner_of(merchant), row.pk)

    assert actions(merchant) == ["install.created", "install.disabled"]


def test_uninstall_removes_the_row_and_keeps_the_history():
    merchant = make_merchant()
    row = make_install(merchant, make_integration())

    lifecycle.uninstall(owner_of(merchant), row.pk)

    assert not Install.objects.exists()
    assert actions(merchant) == ["install.created", "install.removed"]


def test_verbs_on_another_merchants_install_are_not_found():
    row = make_install(make_merchant(), make_integration())
    stranger = owner_of(make_merchant())

    codes = {
        verb.__name__: refusal(lambda verb=verb: verb(stranger, row.pk)).code
        for verb in (lifecycle.enable, lifecycle.disable, lifecycle.uninstall, connection.reconnect)
    }

    assert set(codes.values()) == {"not_found"}


def test_manager_may_not_uninstall():
    merchant = make_merchant()
    row = make_install(merchant, make_integration())

    error = refusal(lambda: lifecycle.uninstall(Actor(merchant.pk, "m", Role.MANAGER), row.pk))

    assert (error.status, error.code) == (403, "forbidden")


def test_manager_of_some_outlets_may_not_install_for_all_or_elsewhere():
    merchant = make_merchant()
    own, other = make_location(merchant), make_location(merchant)
    manager = Actor(merchant.pk, "m", Role.MANAGER, frozenset({own.pk}))
    integration = make_integration()

    for location_id in (None, other.pk):
        error = refusal(
            lambda where=location_id: lifecycle.install(manager, integration, location_id=where)
        )
        assert error.code == "forbidden"
    assert lifecycle.install(manager, integration, location_id=own.pk).location == own


def test_viewer_may_change_nothing():
    merchant = make_merchant()
    viewer = Actor(merchant.pk, "v", Role.VIEWER)

    assert refusal(lambda: lifecycle.install(viewer, make_integration())).code == "forbidden"


def test_merchant_save_does_not_set_counters_back():
    merchant = make_merchant()
    Merchant.objects.filter(pk=merchant.pk).update(event_sequence=41)

    merchant.name = "New name"
    merchant.save()

    assert Merchant.objects.get(pk=merchant.pk).event_sequence == 41
