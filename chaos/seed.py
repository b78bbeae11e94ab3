"""Prints, as JSON, what the run needs to know: `python -m chaos.seed PARTNER_URL SLUG...`.

A migrated database of its own gets a merchant whose integrations all want `order.paid` and
tell when a bill is settled.
"""

import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "poszhub.settings")
django.setup()

from django.core.management import call_command  # noqa: E402

from installs.credentials import ensure_secrets  # noqa: E402
from tests.factories import (  # noqa: E402
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
)
from webhooks.claims import LEASE  # noqa: E402


def main(url: str, slugs: list[str]) -> None:
    call_command("migrate", interactive=False, verbosity=0)
    merchant = make_merchant()
    make_location(merchant)
    inbound_keys = {}
    for slug in slugs:
        row = make_integration(
            slug,
            capabilities={"receipt_qr": 1, "payment_webhook_inbound": 1},
            inbound_events={"bill.settled": "payment_webhook_inbound"},
            outbound_events=["order.paid"],
            outbound_url=f"{url}/{slug}",
        )
        inbound_keys[slug] = ensure_secrets(row)["inbound"]
        make_install(merchant, row)
    seeded = {
        "merchant_id": str(merchant.pk),
        "inbound_keys": inbound_keys,
        "token": make_token(merchant),
        "lease_seconds": LEASE.total_seconds(),
    }
    sys.stdout.write(json.dumps(seeded))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
