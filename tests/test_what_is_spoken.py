"""What adapters speak decides what is live, and what a row of the catalog may offer."""

from dataclasses import replace

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from catalog import capabilities
from catalog.capabilities import ANY_INTEGRATION, CAPABILITIES, Status, has_adapter
from dispatch.adapters import ADAPTERS, adapter_for
from dispatch.operations import CONTRACTS
from tests.factories import make_integration

every_capability = pytest.mark.parametrize("name", CAPABILITIES)


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda item: item.name)
def test_generic_adapter_speaks_every_version_of_every_contract(contract):
    adapter = adapter_for("any-partner", contract.capability, contract.version)

    assert adapter.slug == ANY_INTEGRATION
    assert isinstance(adapter, contract.adapter)


def test_no_two_adapters_of_one_integration_speak_the_same():
    spoken = [(item.slug, name) for item in ADAPTERS for name in item.speaks]

    assert len(set(spoken)) == len(spoken)


def test_all_capabilities_are_live():
    listed = Client().get("/v1/capabilities").json()["data"]

    assert {item["name"]: item["status"] for item in listed} == dict.fromkeys(CAPABILITIES, "live")


def test_capability_that_nobody_speaks_is_reserved(monkeypatch):
    monkeypatch.setattr(capabilities, "_spoken", {("some-partner", "receipt_qr"): frozenset({1})})

    assert CAPABILITIES["receipt_qr"].status is Status.LIVE
    assert CAPABILITIES["receipt_pretext"].status is Status.RESERVED


@pytest.mark.django_db
@every_capability
def test_row_with_a_version_that_is_spoken_can_be_available(name):
    version = max(CAPABILITIES[name].versions)

    make_integration(capabilities={name: version}).full_clean()


@pytest.mark.django_db
@every_capability
def test_row_with_a_version_that_nobody_speaks_can_not_be_available(name, monkeypatch):
    place = CAPABILITIES[name]
    version = max(place.versions) + 1
    monkeypatch.setitem(CAPABILITIES, name, replace(place, versions=(*place.versions, version)))
    row = make_integration(status="in_review", capabilities={name: version})
    row.full_clean()

    row.status = "available"
    with pytest.raises(ValidationError) as caught:
        row.full_clean()

    assert list(caught.value.message_dict) == ["capabilities"]
    assert not has_adapter(row.slug, name, version)
    assert f"No adapter speaks “{name}” version {version}" in str(caught.value)
