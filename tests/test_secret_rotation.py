import base64
import hashlib
import hmac
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.models.functions import Now
from django.test import Client, RequestFactory
from django.utils import timezone

from catalog.envelope import ApiError
from installs import credentials, reminders, tasks
from installs.credentials import active_secrets, cut_over, revoke_previous, rotate, stage
from installs.models import AuditEntry, IntegrationSecret
from tests.conftest import ON_POSTGRES
from tests.factories import keys_of, make_install, make_integration, make_merchant, make_user
from tests.partners import Reply, running_partner
from webhooks import outbound
from webhooks.api import receive_webhook

pytestmark = pytest.mark.django_db
WHO = "staff:ayu@posz.id"
ROUNDS = 50 if ON_POSTGRES else 10


@pytest.fixture
def partner():
    row = make_integration("acme")
    keys_of(row)
    return row


def states(integration, purpose="inbound"):
    rows = IntegrationSecret.objects.of(integration, purpose)
    return {row.state: row.value for row in rows}


def active_hex(purpose="inbound"):
    return [key.hex() for key in active_secrets("acme", purpose)]


def end_previous():
    IntegrationSecret.objects.filter(state="previous").update(expires_at=Now())


def refusal(act, *args):
    with pytest.raises(ApiError) as caught:
        act(*args)
    return caught.value.code


# States


def test_staged_secret_is_not_valid_yet(partner):
    before = active_hex()

    value = stage(partner, "inbound", WHO)

    assert (len(bytes.fromhex(value)), active_hex()) == (32, before)
    assert states(partner)["next"] == value


def test_staging_again_replaces_what_was_staged(partner):
    first = stage(partner, "inbound", WHO)

    second = stage(partner, "inbound", WHO)

    assert first != second
    assert states(partner)["next"] == second


def test_cut_over_makes_next_current_and_keeps_the_one_before(partner):
    [old] = active_hex()
    new = stage(partner, "inbound", WHO)

    row = cut_over(partner, "inbound", WHO)

    assert (row.state, row.value) == ("current", new)
    assert states(partner) == {"current": new, "previous": old}
    assert active_hex() == [new, old]


def test_cut_over_touches_no_other_purpose(partner):
    before = states(partner, "outbound")
    stage(partner, "inbound", WHO)

    cut_over(partner, "inbound", WHO)

    assert states(partner, "outbound") == before


def test_cut_over_without_a_next_secret_is_refused(partner):
    before = states(partner)

    assert refusal(cut_over, partner, "inbound", WHO) == "not_found"
    assert states(partner) == before


def test_rotation_stages_and_cuts_over_at_once(partner):
    [old] = active_hex()

    new = rotate(partner, "inbound", WHO)

    assert active_hex() == [new, old]


def test_second_rotation_ends_the_secret_before_the_last(partner):
    rotate(partner, "inbound", WHO)
    [second, _first] = active_hex()

    third = rotate(partner, "inbound", WHO)

    assert active_hex() == [third, second]


def test_revoked_previous_is_refused_at_once(partner):
    new = rotate(partner, "inbound", WHO)

    revoke_previous(partner, "inbound", WHO)

    assert active_hex() == [new]


def test_revoking_is_refused_where_nothing_is_accepted_any_more(partner):
    assert refusal(revoke_previous, partner, "inbound", WHO) == "not_found"
    rotate(partner, "inbound", WHO)
    end_previous()

    assert refusal(revoke_previous, partner, "inbound", WHO) == "not_found"


def test_first_secret_of_a_purpose_is_staged_and_cut_over():
    bare = make_integration("acme")

    value = rotate(bare, "jwt", WHO)

    assert states(bare, "jwt") == {"current": value}


def test_every_step_is_in_the_audit_log_without_the_value(partner):
    value = stage(partner, "inbound", WHO)
    row = cut_over(partner, "inbound", WHO)
    revoked = revoke_previous(partner, "inbound", WHO)

    entries = AuditEntry.objects.filter(integration_slug="acme").order_by("id")

    new, old = ({"purpose": "inbound", "secret": str(item.pk)} for item in (row, revoked))
    assert [(entry.action, entry.actor, entry.data) for entry in entries] == [
        ("secret.staged", WHO, new),
        ("secret.cut_over", WHO, new | {"overlap_seconds": 300}),
        ("secret.revoked", WHO, old),
    ]
    assert value not in json.dumps([entry.data for entry in entries])


# The overlap


@pytest.mark.parametrize("seconds", [60, 300, 7 * 24 * 3600])
def test_previous_secret_is_accepted_for_the_overlap_by_the_clock_of_the_database(seconds):
    partner = make_integration("acme", previous_secret_seconds=seconds)
    keys_of(partner)

    rotate(partner, "inbound", WHO)

    current = IntegrationSecret.objects.get(purpose="inbound", state="current")
    previous = IntegrationSecret.objects.get(purpose="inbound", state="previous")
    overlap = previous.expires_at - current.activated_at
    assert abs(overlap - timedelta(seconds=seconds)) < timedelta(milliseconds=500)
    assert len(active_hex()) == 2


def test_overlap_of_nothing_ends_the_previous_secret_at_the_cut_over():
    partner = make_integration("acme", previous_secret_seconds=0)
    keys_of(partner)

    new = rotate(partner, "inbound", WHO)

    assert active_hex() == [new]


def test_previous_secret_is_not_accepted_after_its_end(partner):
    new = rotate(partner, "inbound", WHO)

    end_previous()

    assert active_hex() == [new]


@pytest.mark.parametrize("days", [-30, 30])
def test_wrong_clock_of_a_process_changes_nothing(partner, monkeypatch, days):
    rotate(partner, "inbound", WHO)
    now = timezone.now()

    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(days=days))

    assert len(active_hex()) == 2
    end_previous()
    assert len(active_hex()) == 1


def test_overlap_is_the_one_that_is_set_at_the_cut_over(partner):
    type(partner).objects.filter(pk=partner.pk).update(previous_secret_seconds=0)

    new = rotate(partner, "inbound", WHO)

    assert active_hex() == [new]


def test_delivery_is_signed_with_old_and_new_during_the_overlap(settings):
    with running_partner(settings, lambda _request: Reply(204)) as server:
        partner = make_integration(
            "acme", outbound_events=["order.paid"], outbound_url=f"{server.url}/events"
        )
        old = keys_of(partner)["outbound"]
        install = make_install(make_merchant(), partner)
        new = bytes.fromhex(rotate(partner, "outbound", WHO))
        outbound.accept_event(
            outbound.NewEvent("order.paid", install.merchant_id, None, None, None, {})
        )

        outbound.deliver_due()

        [request] = server.requests

    headers = {name.lower(): value for name, value in request.headers.items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    digests = [hmac.new(key, signed, hashlib.sha256).digest() for key in (new, old)]
    assert headers["webhook-signature"].split(" ") == [
        f"v1,{base64.b64encode(digest).decode()}" for digest in digests
    ]
    own = hmac.new(new, request.body, hashlib.sha256).hexdigest()
    assert headers["x-posz-signature"] == own


# Two at once


def race(acts):
    start = threading.Barrier(len(acts))

    def run(act):
        try:
            start.wait(30)
            act()
        except ApiError as error:
            return error.code
        else:
            return "done"
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return sorted(pool.map(run, acts))


@pytest.mark.django_db(transaction=True)
def test_two_cut_overs_at_once_are_one():
    partners = [make_integration() for _ in range(ROUNDS)]
    for partner in partners:
        keys_of(partner)
        stage(partner, "inbound", WHO)

    outcomes = [race([lambda row=row: cut_over(row, "inbound", WHO)] * 2) for row in partners]

    assert outcomes == [["done", "not_found"]] * ROUNDS
    for partner in partners:
        assert set(states(partner)) == {"current", "previous"}


@pytest.mark.django_db(transaction=True)
def test_rotations_and_stagings_at_once_leave_one_secret_per_state(partner):
    acts = [lambda: rotate(partner, "inbound", WHO), lambda: stage(partner, "inbound", WHO)] * 4

    outcomes = race(acts)

    assert outcomes == ["done"] * 8
    assert AuditEntry.objects.filter(action="secret.cut_over").count() == 4
    assert {"current", "previous"} <= set(states(partner))


# Use after the end


URL = "/v1/integrations/acme/webhook"


def post(key: bytes, body=b"{}"):
    signature = hmac.new(key, body, hashlib.sha256).hexdigest()
    return Client().post(
        URL, body, content_type="application/json", headers={"X-Acme-Signature": signature}
    )


def late_uses():
    return list(IntegrationSecret.objects.used_late().values_list("state", "late_uses"))


def shown(answer) -> str:
    """Its headers, but for the number that every request has of its own."""
    return str({name: text for name, text in answer.headers.items() if name != "X-Request-Id"})


def test_use_of_an_ended_secret_is_counted_and_answered_like_any_forgery(partner):
    old = keys_of(partner)["inbound"]
    rotate(partner, "inbound", WHO)
    end_previous()

    forged, first, second = post(b"x" * 32), post(old), post(old)

    assert late_uses() == [("previous", 2)]
    answers = {(item.status_code, item.content, shown(item)) for item in (forged, first)}
    assert len(answers) == 1
    assert second.status_code == 401
    assert IntegrationSecret.objects.get(late_uses=2).late_used_at is not None


def test_use_of_an_ended_secret_is_counted_only_after_the_answer(partner):
    """A server closes the answer when all of it is sent; until then nothing must be written."""
    old = keys_of(partner)["inbound"]
    rotate(partner, "inbound", WHO)
    end_previous()
    signature = hmac.new(old, b"{}", hashlib.sha256).hexdigest()
    request = RequestFactory().post(
        URL, b"{}", content_type="application/json", headers={"X-Acme-Signature": signature}
    )

    answer = receive_webhook(request, "acme")

    assert (answer.status_code, late_uses()) == (401, [])


@pytest.mark.parametrize("which", ["accepted", "next", "forged"])
def test_no_other_post_is_counted(partner, which):
    old = keys_of(partner)["inbound"]
    rotate(partner, "inbound", WHO)
    staged = bytes.fromhex(stage(partner, "inbound", WHO))

    post({"accepted": old, "next": staged, "forged": b"x" * 32}[which])

    assert late_uses() == []


def test_ended_secret_is_erased_after_30_days_and_not_before(partner):
    rotate(partner, "inbound", WHO)
    rotate(partner, "outbound", WHO)
    for purpose, days in (("inbound", 29), ("outbound", 31)):
        IntegrationSecret.objects.filter(purpose=purpose, state="previous").update(
            expires_at=timezone.now() - timedelta(days=days)
        )

    erased = credentials.forget_ended()

    assert erased == 1
    assert set(states(partner, "inbound")) == {"current", "previous"}
    assert set(states(partner, "outbound")) == {"current"}


# Reminders


def age(days):
    IntegrationSecret.objects.filter(state="current").update(
        activated_at=timezone.now() - timedelta(days=days, minutes=1)
    )


def test_staff_are_mailed_once_per_secret_and_quarter(partner):
    make_user(email="staff@posz.id", is_staff=True)
    make_user(email="gone@posz.id", is_staff=True, is_active=False)
    make_user(email="owner@example.id")
    sent = {}

    for days in (89, 90, 91, 179, 180, 181, 400):
        age(days)
        tasks.look_after_secrets()
        sent[days] = len(mail.outbox)

    assert sent == {89: 0, 90: 1, 91: 1, 179: 1, 180: 2, 181: 2, 400: 3}
    assert mail.outbox[0].recipients() == ["staff@posz.id"]
    assert mail.outbox[0].subject == "3 secrets are older than 90 days"
    assert "acme, inbound: in use for 90 days" in mail.outbox[0].body


def test_rotated_secret_starts_anew(partner):
    make_user(email="staff@posz.id", is_staff=True)
    age(100)
    reminders.remind_of_old_secrets()

    rotate(partner, "inbound", WHO)
    age(100)

    assert reminders.remind_of_old_secrets() == 1


def test_mail_that_can_not_leave_is_tried_again(partner, settings):
    make_user(email="staff@posz.id", is_staff=True)
    age(100)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1

    with pytest.raises(OSError, match="refused"):
        reminders.remind_of_old_secrets()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"

    assert reminders.remind_of_old_secrets() == 3


def test_without_staff_nothing_is_claimed(partner):
    age(100)

    assert reminders.remind_of_old_secrets() == 0
    assert set(IntegrationSecret.objects.values_list("reminders", flat=True)) == {0}


# The command


def command(*args):
    out = StringIO()
    call_command("rotate_secret", *args, stdout=out)
    return out.getvalue()


def test_command_prints_json(partner):
    asked = [
        json.loads(command("acme", "inbound", *switch, "--json"))
        for switch in (["--stage"], ["--cut-over"], ["--revoke-previous"], [])
    ]

    named = {"slug": "acme", "purpose": "inbound"}
    staged, rotated = asked[0]["secret"], asked[3]["secret"]
    assert asked == [
        named | {"state": "next", "secret": staged},
        named | {"state": "current", "secret": None},
        named | {"state": "previous", "secret": None},
        named | {"state": "current", "secret": rotated},
    ]
    assert active_hex() == [rotated, staged]


@pytest.mark.parametrize("switch", [["--stage"], []])
def test_command_shows_a_new_value_once_in_words(partner, switch):
    words = command("acme", "inbound", *switch)

    new = states(partner)["next" if switch else "current"]
    assert words.count(new) == 1
    assert "only this once" in words


@pytest.mark.parametrize("switch", ["--cut-over", "--revoke-previous"])
def test_command_refuses_in_words_what_can_not_be(partner, switch):
    with pytest.raises(CommandError, match=r"No (next|previous) secret"):
        command("acme", "inbound", switch)


@pytest.mark.parametrize(
    "args",
    [
        ["nobody", "inbound"],
        ["acme", "other"],
        ["acme", "oauth_client"],
        ["acme"],
        ["acme", "inbound", "--stage", "--cut-over"],
    ],
)
def test_command_refuses_wrong_arguments(partner, args):
    with pytest.raises(CommandError):
        command(*args)


def test_command_is_named_in_the_audit_log(partner):
    command("acme", "inbound", "--stage")

    assert AuditEntry.objects.get().actor.startswith("command")
