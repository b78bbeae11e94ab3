"""A partner that changes over to its new secret while it posts, against a hub as users run it."""

import contextlib
import hashlib
import hmac
import itertools
import json
import random
import socket
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest

POSTS, SENDERS = 1000, 8
OVERLAP_SECONDS = 15
# Keeps the whole below what a merchant may send in a minute.
PAUSE_SECONDS = 0.05
# A post that is on its way when the window closes proves nothing.
MARGIN_SECONDS = 3
SLUG = "changing-over"

PREPARE = f"""
import json
from catalog.models import Integration
from installs.access import Actor
from installs.credentials import ensure_secrets
from installs import lifecycle
from installs.models import Merchant
row, _ = Integration.objects.update_or_create(slug="{SLUG}", defaults=dict(
    status="available", category_id="receipt", name_en="Changing", name_id="Berganti",
    tagline_en="x", tagline_id="x", description_en="x", description_id="x",
    auth_shape="platform_shared", capabilities={{"payment_webhook_inbound": 1}},
    inbound_events={{"bill.settled": "payment_webhook_inbound"}}, data_residency="id",
    previous_secret_seconds={OVERLAP_SECONDS}, is_demo=True))
merchant = Merchant.objects.first()
lifecycle.install(Actor(merchant.pk, "test", "owner"), row)
print(json.dumps({{"merchant": str(merchant.pk), "key": ensure_secrets(row)["inbound"]}}))
"""
PREVIOUS = """
    SELECT old.expires_at, new.activated_at, old.late_uses
    FROM integration_secret AS old
    JOIN integration_secret AS new ON new.integration_id = old.integration_id
        AND new.purpose = old.purpose AND new.state = 'current'
    JOIN integration ON integration.id = old.integration_id
    WHERE old.state = 'previous' AND integration.slug = 'changing-over'
"""
REMOVE = f"""
from catalog.models import Integration
from installs.access import Actor
from installs import lifecycle
for row in Integration.objects.get(slug="{SLUG}").installs.all():
    lifecycle.uninstall(Actor(row.merchant_id, "test", "owner"), row.pk)
Integration.objects.filter(slug="{SLUG}").update(status="disabled")
"""


def asked(hub, code):
    return json.loads(hub.manage("shell", "-c", code).splitlines()[-1])


class Post(NamedTuple):
    is_new: bool
    status: int
    sent_at: float
    answered_at: float


class Sender:
    """The partner: signs with the key that `key_at` says for the moment, from many threads."""

    def __init__(self, hub, merchant_id, old):
        parts = urlsplit(hub.url)
        self.address = (parts.hostname, parts.port)
        self.merchant_id = merchant_id
        self.numbers = itertools.count(1)
        self.old, self.new, self.changes_at = old, None, None

    def key_at(self, moment):
        return self.old if self.changes_at is None or moment < self.changes_at else self.new

    def is_done(self, number):
        return number > POSTS and self.changes_at is not None and time.time() > self.changes_at + 1

    def post_until_done(self):
        posts = []
        while not self.is_done(number := next(self.numbers)):
            sent_at = time.time()
            key = self.key_at(sent_at)
            status = self.post(number, key)
            posts.append(Post(key == self.new, status, sent_at, time.time()))
        return posts

    def post(self, number, key):
        time.sleep(PAUSE_SECONDS)
        body = json.dumps(
            {
                "event_id": f"{SLUG}-{number}",
                "type": "bill.settled",
                "merchant_id": self.merchant_id,
                "data": {"bill_token": "t", "external_order_id": "o", "amount": 1},
            }
        ).encode()
        signature = hmac.new(bytes.fromhex(key), body, hashlib.sha256).hexdigest()
        head = (
            f"POST /v1/integrations/{SLUG}/webhook HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Connection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nX-Changing-Over-Signature: {signature}\r\n\r\n"
        )
        with socket.create_connection(self.address, timeout=20) as connection:
            connection.sendall(head.encode() + body)
            return int(connection.makefile("rb").readline().split()[1])


@pytest.fixture
def partner(live_hub):
    yield asked(live_hub, PREPARE)
    live_hub.manage("shell", "-c", REMOVE)


def rotate(hub, *switch):
    return json.loads(hub.manage("rotate_secret", SLUG, "inbound", *switch, "--json"))


def previous(hub):
    """When the old secret ends, since when the new one is current, and the late uses; the database
    is asked directly, because a process of its own may start slower than the window passes."""
    url = hub.env.get("DATABASE_URL")
    with contextlib.closing(
        psycopg.connect(url) if url else sqlite3.connect(f"{hub.env['VAR_DIR']}/poszhub.sqlite3")
    ) as database:
        *moments, uses = database.execute(PREVIOUS).fetchone()
    return *(in_seconds(moment) for moment in moments), uses


def in_seconds(moment):
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    return moment.timestamp()


@pytest.mark.timeout(180)
def test_changing_over_inside_the_window_is_never_refused(live_hub, partner):
    sender = Sender(live_hub, partner["merchant"], partner["key"])
    sender.new = rotate(live_hub, "--stage")["secret"]

    with ThreadPoolExecutor(SENDERS) as threads:
        posting = [threads.submit(sender.post_until_done) for _ in range(SENDERS)]
        rotate(live_hub, "--cut-over")
        ends_at, began_at, _uses = previous(live_hub)
        sender.changes_at = random.uniform(time.time(), ends_at - MARGIN_SECONDS)
        posts = [post for item in posting for post in item.result()]

    inside = [post for post in posts if post.is_new or post.answered_at < ends_at]
    assert [post for post in inside if post.status != 200] == []
    assert len(inside) >= POSTS
    assert any(post.is_new for post in inside)
    assert any(not post.is_new and post.sent_at > began_at for post in inside)

    later = itertools.count(10**6)
    while time.time() < ends_at + 1:
        assert sender.post(next(later), sender.new) == 200
    afterwards = Counter(sender.post(next(later), sender.old) for _ in range(40))

    assert afterwards == {401: 40}
    wait_for_late_uses(live_hub, 40)


def wait_for_late_uses(hub, count):
    """The last ones are counted after their answers."""
    deadline = time.monotonic() + 30
    while previous(hub)[2] != count:
        assert time.monotonic() < deadline
        time.sleep(PAUSE_SECONDS)
