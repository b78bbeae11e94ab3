"""Where people of a merchant make the webhook address of an install. It is on one page once."""

from uuid import UUID

from django.http import Http404, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.vary import vary_on_headers

from installs.access import Verb
from installs.inbound_addresses import make_address
from installs.models import InboundAddress, Install
from installs.tenancy import MerchantRequest, merchant_page
from installs.views import show


@never_cache
@vary_on_headers("HX-Request")
@merchant_page
def address(request: MerchantRequest, slug: str, install_id: UUID) -> HttpResponse:
    row = (
        Install.objects.for_merchant(request.actor.merchant_id)
        .filter(pk=install_id, integration__slug=slug)
        .select_related("integration__category", "location")
        .first()
    )
    if row is None or not row.integration.has_own_addresses:
        raise Http404
    request.actor.require(Verb.CONFIGURE, row.location_id)
    context = {
        "install": row,
        "address": make_address(request.actor, row.pk) if request.method == "POST" else "",
        "has_address": InboundAddress.objects.filter(install=row).exists(),
    }
    return show(request, "installs/_address.html", row.integration, context)
