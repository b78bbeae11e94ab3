"""Which code speaks for which integration. A partner of its own comes first, then the generic one."""

from catalog.capabilities import ANY_INTEGRATION, announce_adapter, announce_provisioning
from dispatch.adapters.generic import Generic
from dispatch.adapters.generic_asked import GenericAsked
from dispatch.adapters.generic_exports import GenericExports
from dispatch.adapters.generic_inbound import GenericInbound
from dispatch.adapters.spliteasy import SplitEasy
from dispatch.contracts import Adapter, ProvisioningAdapter

ADAPTERS: tuple[Adapter, ...] = (
    SplitEasy(),
    Generic(),
    GenericAsked(),
    GenericExports(),
    GenericInbound(),
)


def adapter_for(slug: str, capability: str, version: int) -> Adapter | None:
    """The adapter that speaks this contract version for the integration."""
    for adapter in ADAPTERS:
        speaks = version in adapter.speaks.get(capability, ())
        if speaks and adapter.slug in {slug, ANY_INTEGRATION}:
            return adapter
    return None


def provisioner_for(slug: str) -> ProvisioningAdapter | None:
    for adapter in ADAPTERS:
        if adapter.slug == slug and isinstance(adapter, ProvisioningAdapter):
            return adapter
    return None


def announce() -> None:
    for adapter in ADAPTERS:
        for capability, versions in adapter.speaks.items():
            announce_adapter(adapter.slug, capability, versions)
        if isinstance(adapter, ProvisioningAdapter):
            announce_provisioning(adapter.slug)
