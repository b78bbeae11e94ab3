"""Prints, as JSON, what the trade day needs to know: `python -m tests.trade_day_seed RECEIVER_URL`.

The hub's own database gets a merchant with the five outlets, and partners that all post to the receiver.
"""

import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "poszhub.settings")
django.setup()

from installs.credentials import ensure_secrets  # noqa: E402
from installs.models import Install  # noqa: E402
from tests.factories import (  # noqa: E402
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_token,
)
from tests.trade_day import OUTLETS  # noqa: E402

RAW = ["order.opened", "order.paid", "order.voided", "refund.completed", "business_day.closed"]
# Slug to what it declares, what its catalog row lists, and its settings.
PARTNERS = {
    "books": ({"data_export_destination": 1}, [], {}),
    "ledger": ({"data_export_destination": 1}, [], {"sends": "daily_summary"}),
    "crm": ({"customer_event_export": 1}, [], {"purpose": "profiling"}),
    "pantry": ({"inventory_event_export": 1}, [], {}),
    "listener": ({"receipt_qr": 1}, RAW, {}),
}


def main(url: str) -> None:
    merchant = make_merchant(name="Trade day", currency="IDR")
    outlets = [make_location(merchant, name=outlet.name) for outlet in OUTLETS]
    keys = {}
    for slug, (capabilities, listed, config) in PARTNERS.items():
        row = make_integration(
            slug, capabilities=capabilities, outbound_events=listed, outbound_url=f"{url}/{slug}"
        )
        keys[slug] = ensure_secrets(row)["outbound"]
        install: Install = make_install(merchant, row)
        install.config = config
        install.save(update_fields=["config"])
    merchant.touch(merchant.pk)
    seeded = {
        "merchant_id": str(merchant.pk),
        "outlets": [str(outlet.pk) for outlet in outlets],
        "keys": keys,
        "token": make_token(merchant),
    }
    sys.stdout.write(json.dumps(seeded))


if __name__ == "__main__":
    main(sys.argv[1])
