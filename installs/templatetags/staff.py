from django import template
from django.utils import timezone

from catalog.models import Integration
from installs import issuer
from installs.models import IntegrationSecret, PartnerClient

register = template.Library()


@register.simple_tag
def secrets_to_look_at() -> dict[str, list[IntegrationSecret]]:
    """What staff should see of secrets before anything else."""
    rows = IntegrationSecret.objects.select_related("integration").defer("value")
    return {"old": list(rows.old(timezone.now())), "used_late": list(rows.used_late())}


@register.simple_tag
def partner_client_of(integration: Integration) -> PartnerClient | None:
    return issuer.client_of(integration)
