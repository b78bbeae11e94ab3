"""How long it takes to know whom to ask: `python -m benchmarks.dispatch`.

Measures, in interleaved rounds of one run, resolving `receipt_qr` at one location of a warm merchant:
with the version check (one query), without it, and the same rules asked by hand over the ORM, for a
merchant with few and one with many locations. Prints medians in microseconds and ratios. Uses a
database of its own beside the one in DATABASE_URL (or SQLite).
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "poszhub.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.test.utils import (  # noqa: E402
    CaptureQueriesContext,
    setup_databases,
    teardown_databases,
)

from catalog.models import AuthShape, Integration  # noqa: E402
from installs import scope, snapshot  # noqa: E402
from installs.models import Install, Location, Merchant  # noqa: E402

ROUNDS, CALLS, INSTALLS = 30, 200, 50


def make_merchant(locations: int) -> tuple[UUID, UUID]:
    """A merchant with 50 installs: most of them merchant-wide and uncapped, some at one location."""
    merchant = Merchant.objects.create(name="Bench", email="b@example.id", city="Jakarta")
    places = Location.objects.bulk_create(
        Location(merchant=merchant, name=f"L{number}", city="Jakarta")
        for number in range(locations)
    )
    integrations = Integration.objects.order_by("slug")
    for number, integration in enumerate(integrations):
        Install.objects.create(
            merchant=merchant,
            integration=integration,
            location=places[number % locations] if number % 5 == 0 else None,
            config={},
            capability_versions=integration.capabilities,
            installed_by="bench",
        )
    return merchant.pk, places[0].pk


def make_integrations() -> None:
    for number in range(INSTALLS):
        capability = "receipt_qr" if number < 3 else "payment_webhook_inbound"
        Integration.objects.create(
            slug=f"bench-{number}",
            category_id="receipt",
            name_en="b",
            name_id="b",
            tagline_en="b",
            tagline_id="b",
            description_en="b",
            description_id="b",
            auth_shape=AuthShape.PLATFORM_SHARED,
            capabilities={capability: 1},
            data_residency="id",
        )


def over_the_orm(merchant_id: UUID, location_id: UUID) -> list[Any]:
    rows = Install.objects.for_merchant(merchant_id).with_names().in_order()
    return scope.answering([row.scoped() for row in rows], "receipt_qr", location_id)


def with_check(merchant_id: UUID, location_id: UUID) -> list[Any]:
    snap = snapshot.current(merchant_id)
    assert snap is not None
    return snap.answering("receipt_qr", location_id)


def microseconds(act: Callable[[], Any], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        act()
    return (time.perf_counter() - started) / calls * 1e6


def main() -> None:
    make_integrations()
    few, many = make_merchant(5), make_merchant(200)
    if connection.vendor == "postgresql":
        # What autovacuum does in a hub that has been up for a minute.
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    warm = snapshot.current(many[0])
    assert warm is not None
    variants: dict[str, tuple[Callable[[], Any], int]] = {
        "with the version check, 200 locations": (lambda: with_check(*many), CALLS),
        "with the version check, 5 locations": (lambda: with_check(*few), CALLS),
        "without it, 200 locations": (lambda: warm.answering("receipt_qr", many[1]), CALLS * 20),
        "every time over the ORM, 200 locations": (lambda: over_the_orm(*many), CALLS // 20),
    }
    with CaptureQueriesContext(connection) as queries:
        with_check(*many)
    settings.DEBUG = False  # with it on Django keeps a record of every query
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, (act, calls) in variants.items():
            times[name].append(microseconds(act, calls))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{connection.vendor}, {INSTALLS} installs, {ROUNDS} rounds; queries: {len(queries)}")
    for name, median in medians.items():
        print(f"  {name:42} {median:9.1f} us")
    first, second, _third, last = medians.values()
    print(f"  200 locations cost {first / second:.2f} times what 5 cost")
    print(f"  the ORM costs {last / first:.1f} times what the snapshot costs")


if __name__ == "__main__":
    config = setup_databases(verbosity=0, interactive=False)
    try:
        main()
    finally:
        teardown_databases(config, verbosity=0)
