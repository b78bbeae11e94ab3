"""Where people of a merchant say what a partner calls their outlets, on the integration's page."""

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.vary import vary_on_headers

from catalog.envelope import ApiError
from installs import outlet_form, outlets
from installs.tenancy import MerchantRequest, merchant_page
from installs.views import detail_page, done, visible_or_404


@vary_on_headers("HX-Request")
@merchant_page
def save(request: MerchantRequest, slug: str) -> HttpResponse:
    if request.method != "POST":
        return redirect("installs:detail", slug=slug)
    integration = visible_or_404(request, slug)
    numbers = outlet_form.read(request.actor, integration, request.POST)
    try:
        outlets.save_numbers(request.actor, integration, numbers)
    except ApiError as error:
        if error.code != "config_invalid":
            raise
        form = outlet_form.form_of(request.actor, integration, posted=numbers, error=error)
        return detail_page(request, integration, outlets=form)
    return done(request, integration, "outlets")
