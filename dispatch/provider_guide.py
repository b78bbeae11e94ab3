"""The page that leads staff through setting up a provider's webhooks, with one that is invented.

Its tables name the fields as the form does, and a test types them in as they stand here.
"""

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from catalog.inbound_parts import FILTERS, NAMED, PLAIN, WITH_ARGUMENT
from dispatch.inbound_forms import MappingForm, SampleForm, SchemeForm

SLUG = "warung-pay"
NUMBER = "SHOP-77"
CAPABILITY = "payment_webhook_inbound"
KEY = "wk_demo_3fJm8Qz1RtX5"
SCHEME = {
    "kind": "hmac",
    "signature": "header:X-Warung-Signature",
    "prefix": "v1=",
    "separator": ",",
    "encoding": "hex",
    "joiner": ".",
    "time_at": "signature:t=",
    "time_format": "unix",
    "time_tolerance": "300",
}
PARTS = [("signature", "t="), ("body", "")]
MAPPING = {
    "format": "json",
    "event_id": "body:/id",
    "type": "body:/event",
    "external_merchant_id": "body:/shop/number",
    "occurred_at": "body:/time",
    "occurred_format": "unix",
}
TYPES = [("PAID", "bill.settled", CAPABILITY)]
SIGNATURE = "t=1795500003,v1=029e3409bd4b6a132522304806c8ca0381bb363aba33fa41ae08039f017c5ecc"
SAMPLE = {
    "headers": f"X-Warung-Signature: {SIGNATURE}",
    "body": '{"id":"evt_1001","event":"PAID","shop":{"number":"SHOP-77"},'
    '"time":1795500000,"amount":115500}',
    "written": "text",
    "clock": "sample",
}


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    context = {
        "slug": SLUG,
        "number": NUMBER,
        "capability": CAPABILITY,
        "key": KEY,
        "scheme": rows_of(SchemeForm, SCHEME),
        "parts": PARTS,
        "mapping": rows_of(MappingForm, MAPPING),
        "types": TYPES,
        "sample": rows_of(SampleForm, SAMPLE),
        "address": f"{settings.PUBLIC_URL.rstrip('/')}/v1/integrations/{SLUG}/webhook",
        "sources": sorted((PLAIN.keys() | NAMED.keys()) - {"item"}),
        "filters": sorted([*(FILTERS.keys() - WITH_ARGUMENT), "after:…", "claim:…", "optional"]),
    }
    return render(request, "dispatch/provider_guide.html", context)


def rows_of(form: type[forms.Form], values: dict[str, str]) -> list[tuple[Any, Any]]:
    """Label and value as a person reads them; of a choice, its words."""
    rows = []
    for name, value in values.items():
        field: Any = form.base_fields[name]
        choices = dict(getattr(field, "choices", ()))
        rows.append((field.label, choices.get(value, value)))
    return rows
