"""What the tests stand on: the database, a browser, and a whole hub as users run it."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from catalog.capabilities import CAPABILITIES
from poszhub.celery import app as celery_app
from tests import stack
from tests.stack import Hub
from webhooks import limits, tally

CHROMIUM = stack.find_chromium()
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# Both only end what would never happen; a busy machine must not be taken for a fault.
SEEN_WITHIN_MS = 60_000
HUB_TEST_SECONDS = 300
HUBS = {"live_hub", "production", "fresh_hub"}
ON_POSTGRES = settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql"
ON_SERVERS = ON_POSTGRES and bool(settings.REDIS_URL)


def worker_number() -> int:
    """Which of the pytest-xdist processes this is; 0 also where there is one process only."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def redis_of_this_worker(number: int) -> str:
    """The address of one of its four databases, or nothing where there is no Redis."""
    if not settings.REDIS_URL:
        return ""
    return stack.redis_database(settings.REDIS_URL, 4 * worker_number() + number)


def pytest_configure(config: pytest.Config) -> None:
    if settings.REDIS_URL:
        # Two processes in one database would meet in the cache and in the queues.
        url = redis_of_this_worker(0)
        os.environ["REDIS_URL"] = settings.REDIS_URL = url
        settings.CACHES["default"]["LOCATION"] = url
        settings.CELERY_BROKER_URL = url
        celery_app.conf.update(broker_url=url)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_browser = pytest.mark.skip(reason="no Chromium: install it or set CHROMIUM_PATH")
    no_servers = pytest.mark.skip(reason="needs PostgreSQL and Redis: make test")
    for item in items:
        if item.get_closest_marker("browser") and not CHROMIUM:
            item.add_marker(no_browser)
        if item.get_closest_marker("servers") and not ON_SERVERS:
            item.add_marker(no_servers)
        if HUBS & set(getattr(item, "fixturenames", ())) and not item.get_closest_marker("timeout"):
            # Whoever comes first waits for the hub to start, within the time of its own test.
            item.add_marker(pytest.mark.timeout(HUB_TEST_SECONDS))
    # Playwright leaves its event loop running in the thread, which code under test may not expect.
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not CHROMIUM:
        terminalreporter.write_line(
            "!! SKIPPED: browser tests, because no Chromium was found; "
            "to run: apt install chromium, or set CHROMIUM_PATH"
        )


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SQLite in a file, as the hub has it: in memory its locks between threads are others."""
    if not ON_POSTGRES:
        file = tmp_path_factory.mktemp("database") / "test.sqlite3"
        connections["default"].settings_dict["TEST"]["NAME"] = str(file)


@pytest.fixture(scope="session", autouse=True)
def no_tally_by_itself() -> None:
    """Tests write down what was counted themselves: a thread would be outside their transaction."""
    tally.EVERY_SECONDS = 86_400.0


@pytest.fixture(scope="session", autouse=True)
def patience_with_redis() -> None:
    """A Redis that is slow because the machine is would be taken for one that is down."""
    limits.REDIS_TIMEOUT_SECONDS = 20.0


@pytest.fixture
def patient_till(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets that a busy test machine keeps: what they bound is shown, not how fast it is."""
    for name in ("receipt_qr", "receipt_pretext"):
        monkeypatch.setitem(CAPABILITIES, name, replace(CAPABILITIES[name], budget_ms=4000))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=SEEN_WITHIN_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """`new_page(viewport={"width": 390, "height": 844}, color_scheme="dark", locale="id-ID")`.

    Takes what Playwright's `new_context` takes; every page has cookies of its own.
    """
    if "db" in request.fixturenames or request.node.get_closest_marker("django_db"):
        # In a thread with Playwright's event loop Django opens another connection, which sees
        # nothing of the test's own transaction and outlives it.
        pytest.fail("A browser test arranges through live_hub, not through the test database.")
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> Page:
        contexts.append(chromium.new_context(**({"locale": "en-GB"} | options)))
        contexts[-1].set_default_timeout(SEEN_WITHIN_MS)
        page = contexts[-1].new_page()
        if latency := os.environ.get("BROWSER_LATENCY_MS"):
            slow_down(page, float(latency))
        return page

    yield make
    for context in contexts:
        context.close()


def slow_down(page: Page, latency: float) -> None:
    """Every answer takes that many milliseconds longer: shows what a test does not wait for."""
    line = {"latency": latency, "downloadThroughput": -1, "uploadThroughput": -1, "offline": False}
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", line)


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    return new_page(viewport={"width": 1280, "height": 800})


@pytest.fixture(scope="session")
def live_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """One running hub for all tests of this process: they must not rely on what others leave.

    It stands on the same kind of servers as the tests themselves, in a database of its own.
    """
    where = {"REDIS_URL": redis_of_this_worker(1)}
    with ExitStack() as running:
        if ON_POSTGRES:
            server = stack.fresh_database(os.environ["DATABASE_URL"])
            where["DATABASE_URL"] = running.enter_context(server)
        yield running.enter_context(stack.running_hub(tmp_path_factory.mktemp("hub"), **where))


@pytest.fixture(scope="session")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """One hub as it is deployed, for all tests of this process that need PostgreSQL and Redis."""
    folder = tmp_path_factory.mktemp("production")
    with (
        stack.fresh_database(os.environ["DATABASE_URL"]) as database,
        stack.production(folder, DATABASE_URL=database, REDIS_URL=redis_of_this_worker(3)) as hub,
    ):
        yield hub


@pytest.fixture
def fresh_hub(tmp_path: Path) -> Iterator[Hub]:
    """A running hub for this test alone, on SQLite, which is the quickest to set up."""
    with stack.running_hub(tmp_path, REDIS_URL=redis_of_this_worker(2)) as hub:
        yield hub
