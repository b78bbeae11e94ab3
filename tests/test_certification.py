"""The contract kit against a sandbox on a real socket, which keeps the contract or breaks it."""

import io
import json
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import jwt
import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from catalog.capabilities import CAPABILITIES, Direction
from dispatch.certification import runs
from dispatch.certification.asking import Trial
from dispatch.certification.examination import Subject, examine
from dispatch.certification.report import Verdict, without
from dispatch.certification.scenarios import ASKED, SENT
from dispatch.certification.stand_in import BEFORE, UNKNOWN, StandIn
from dispatch.certification.telling import Receiving, Sending, Told, told_of
from dispatch.models import Certification, CertificationStatus
from dispatch.operations import CONTRACTS, all_operations
from dispatch.sandbox.behaviour import WRONG_WAYS, Switch
from dispatch.sandbox.generic import DEMO_PARTNERS
from dispatch.sandbox.server import SandboxServer
from installs.models import AuditEntry, IntegrationSecret, Merchant, User
from tests.factories import (
    KEY_SCHEMA,
    make_inbound,
    make_install,
    make_integration,
    make_key_partner,
    make_merchant,
    make_oauth_integration,
    make_spliteasy,
)
from tests.partners import Partner, Reply
from tests.stack import free_ports
from tests.test_sandbox_oauth import HUB, allowed, exchange

pytestmark = pytest.mark.django_db

KEY = bytes(range(32))
INBOUND = {
    operation.name: contract.capability
    for contract, operation in all_operations()
    if operation.direction is Direction.INBOUND and operation.answer is None
}
# A question that every scenario applies to.
PATH = ("payment_method", "cancel")


@pytest.fixture(scope="module")
def server():
    running = SandboxServer(
        secret_of=lambda _slug, purpose: {"outbound": [KEY], "oauth_client": [b"top"]}.get(
            purpose, []
        ),
        hub=HUB,
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture
def sandbox(server, settings):
    server.sandbox.switches.clear()
    settings.OUTBOUND_ALLOW = [server.url.removeprefix("http://")]
    return server


def with_key(integration):
    for purpose in ("outbound", "inbound"):
        IntegrationSecret.objects.update_or_create(
            integration=integration,
            purpose=purpose,
            state="current",
            defaults={"value": KEY.hex(), "activated_at": timezone.now()},
        )
    return integration


def make_partner(sandbox, slug="demo-partner", **over):
    defaults = {
        "capabilities": {PATH[0]: 1},
        "api_base_url": f"{sandbox.url}/demo/{slug}",
        "outbound_url": f"{sandbox.url}/events/{slug}",
    }
    return with_key(make_integration(slug, **(defaults | over)))


def subject_of(integration, **over):
    return Subject(integration, list(integration.capabilities), **over)


def trial(integration, capability=PATH[0], name=PATH[1]):
    contract = CONTRACTS[capability, 1]
    stand_in = StandIn(integration, {"outbound": KEY}, {})
    return Trial(stand_in, contract, contract.operation(name))


def failed(results):
    return {item.scenario for item in results if item.verdict is Verdict.FAILED}


def all_results(report):
    return [result for section in report["sections"] for result in section["results"]]


def why(report):
    return [item for item in all_results(report) if item["verdict"] == "failed"]


# Questions


def test_every_scenario_of_a_question_passes_at_a_partner_that_keeps_the_contract(sandbox):
    results = trial(make_partner(sandbox)).results()

    assert [item.scenario for item in results] == list(ASKED)
    assert {item.verdict for item in results} == {Verdict.PASSED}


@pytest.mark.parametrize(("mode", "scenario"), WRONG_WAYS.items(), ids=WRONG_WAYS)
def test_each_wrong_way_fails_its_scenario_and_no_other(sandbox, mode, scenario):
    sandbox.sandbox.switches.put(Switch(mode=mode))

    assert failed(trial(make_partner(sandbox)).results()) == {scenario}


def test_slow_answers_fail_for_their_time_alone(sandbox, monkeypatch):
    place = replace(CAPABILITIES[PATH[0]], budget_ms=60)
    monkeypatch.setitem(CAPABILITIES, PATH[0], place)
    sandbox.sandbox.switches.put(Switch(mode="slow", delay_ms=70))

    assert failed(trial(make_partner(sandbox)).results()) == {"in_time"}


def test_malformed_answer_fails_success_and_its_field_is_named(sandbox):
    sandbox.sandbox.switches.put(Switch(mode="malformed"))

    first = trial(make_partner(sandbox), name="list_plans").results()[0]

    assert (first.scenario, first.verdict) == ("success", Verdict.FAILED)
    assert first.detail.startswith("the answer is wrong at data.plans")


def test_scenarios_are_all_covered_by_a_wrong_way():
    assert {*WRONG_WAYS.values(), "success", "in_time"} == set(ASKED)


def test_silent_partner_is_asked_once(settings):
    [port] = free_ports(1)
    settings.OUTBOUND_ALLOW = [f"127.0.0.1:{port}"]
    partner = with_key(make_integration(api_base_url=f"http://127.0.0.1:{port}"))

    results = trial(partner).results()

    assert [item.verdict for item in results] == ["failed"] + ["skipped"] * (len(ASKED) - 1)


def test_partner_without_a_key_of_ours_fails_in_words(sandbox):
    partner = make_partner(sandbox)

    stand_in = StandIn(partner, {}, {})
    first = replace(trial(partner, name="list_plans"), stand_in=stand_in).results()[0]

    assert (first.verdict, first.detail) == (Verdict.FAILED, "no outbound secret is set")


def test_late_token_of_ours_has_ended(sandbox, settings):
    tokens = []

    def refuse(request):
        tokens.append(request.headers["Authorization"].removeprefix("Bearer "))
        return Reply(401)

    with Partner(refuse) as partner:
        settings.OUTBOUND_ALLOW = [partner.url.removeprefix("http://")]
        auth = {"scheme": "platform_jwt", "issuer": "posz", "audience": "partner"}
        row = with_key(make_integration(api_base_url=partner.url, request_auth=auth))
        stand_in = StandIn(row, {"outbound": KEY, "jwt": KEY}, {})
        late = replace(trial(row, "receipt_qr", ""), stand_in=stand_in).results()[3]

    assert (late.scenario, late.verdict) == ("late", Verdict.PASSED)
    ends = [jwt.decode(item, options={"verify_signature": False})["exp"] for item in tokens]
    now = timezone.now().timestamp()
    assert sum(end < now for end in ends) == 1


def test_preparations_name_operations_that_there_are():
    known = {
        contract.path(operation): (contract, operation) for contract, operation in all_operations()
    }

    assert {*BEFORE, *UNKNOWN} <= known.keys()
    assert all(known[path][0].operation(name) for path, names in BEFORE.items() for name in names)
    assert all(name in known[path][1].request_example for path, name in UNKNOWN.items())


# Events


def sending(integration):
    stand_in = StandIn(integration, {"outbound": KEY}, {})
    return Sending(stand_in, integration.outbound_url, [Told("order.paid", "order.paid")])


@pytest.mark.parametrize(
    ("mode", "scenario"),
    [
        ("ok", None),
        ("unchecked_signature", "wrong_signature"),
        ("accept_late", "late"),
        ("forgetful", "duplicate"),
    ],
)
def test_each_wrong_way_with_events_fails_its_scenario(sandbox, mode, scenario):
    sandbox.sandbox.switches.put(Switch(mode=mode))

    results = sending(make_partner(sandbox)).results()

    assert [item.scenario for item in results] == list(SENT)
    assert failed(results) == ({scenario} if scenario else set())


def test_event_that_is_refused_fails(sandbox):
    sandbox.sandbox.switches.put(Switch(mode="fail", status=503))

    assert "success" in failed(sending(make_partner(sandbox)).results())


def test_delivered_operations_are_sent_in_their_own_words(sandbox):
    sandbox.sandbox.received.forget()
    partner = make_partner(sandbox, capabilities={"menu_sync_outbound": 1})

    report = examine(subject_of(partner))

    assert (why(report), report["verdict"]) == ([], "passed")
    sent = [json.loads(item.text) for item in sandbox.sandbox.received.all()]
    contract = CONTRACTS["menu_sync_outbound", 1]
    assert {item["type"] for item in sent} == {"menu.published", "item.availability_changed"}
    for item in sent:
        name = "full" if item["type"] == "menu.published" else "patch"
        msgspec.convert(item["data"], contract.operation(name).request)


def test_capability_that_is_delivered_needs_an_endpoint(sandbox):
    partner = make_partner(
        sandbox, capabilities={"staff_event_export": 1}, outbound_url="", outbound_events=[]
    )

    assert examine(subject_of(partner))["verdict"] == "failed"


def test_event_says_that_it_is_an_example_of_no_merchant(sandbox):
    sandbox.sandbox.received.forget()
    sending(make_partner(sandbox)).results()

    body = json.loads(sandbox.sandbox.received.all()[0].text)
    assert (body["example"], body["sequence"], body["type"]) == (True, 0, "order.paid")
    assert not Merchant.objects.filter(pk=body["merchant_id"]).exists()


# What partners send


def receiving(integration, capability="order_inbound"):
    contract = CONTRACTS[capability, 1]
    operations = [item for item in contract.operations if item.direction is Direction.INBOUND]
    results = Receiving(StandIn(integration, {}, {}), contract, operations).results()
    return {(item.scenario, item.about.rpartition("/")[2]): item for item in results}


def test_inbound_capability_waits_for_a_first_event():
    partner = with_key(
        make_integration(
            capabilities={"order_inbound": 1}, inbound_events={"order.created": "order_inbound"}
        )
    )

    results = receiving(partner)

    assert results["scheme", "order_inbound"].verdict is Verdict.PASSED
    assert results["sample", "order.created"].came.en == "Waiting for a first event."


@pytest.mark.parametrize(
    ("events", "has_key"), [({}, True), ({"order.created": "order_inbound"}, False)]
)
def test_inbound_capability_that_is_not_set_up_fails(events, has_key):
    partner = make_integration(capabilities={"order_inbound": 1}, inbound_events=events)
    if has_key:
        with_key(partner)

    assert receiving(partner)["scheme", "order_inbound"].verdict is Verdict.FAILED


@pytest.mark.parametrize("is_right", [True, False])
def test_latest_event_of_a_partner_is_held_against_the_contract(is_right):
    partner = with_key(
        make_integration(
            capabilities={"order_inbound": 1}, inbound_events={"order.cancelled": "order_inbound"}
        )
    )
    data = dict(CONTRACTS["order_inbound", 1].operation("order.cancelled").request_example)
    older = {"channel": 7}
    install = make_install(make_merchant(), partner)
    for number, sent in enumerate([older, data] if is_right else [data, older]):
        at = timezone.now() + timedelta(seconds=number)
        over = {"type": "order.cancelled", "capability": "order_inbound", "received_at": at}
        make_inbound(install, data=sent, **over)

    found = receiving(partner)["sample", "order.cancelled"]

    assert found.verdict is (Verdict.PASSED if is_right else Verdict.FAILED)
    assert "7" not in found.detail


# Whole integrations


@pytest.mark.parametrize("version", sorted({version for _name, version in CONTRACTS}))
def test_partner_of_the_sandbox_passes_everything_that_the_registry_holds(sandbox, version):
    held = [item for item in CONTRACTS.values() if item.version == version]
    names = [name for name in CAPABILITIES if (name, version) in CONTRACTS]
    partner = make_partner(
        sandbox,
        capabilities=dict.fromkeys(names, version),
        outbound_events=["settings.changed"],
        inbound_events={event: name for event, name in INBOUND.items() if name in names},
    )

    report = examine(subject_of(partner))

    assert why(report) == []
    assert [item["name"] for item in report["sections"]] == [*names, "events"]
    asked = {contract.path(it) for contract in held for it in contract.operations if it.is_asked}
    told = {item.about for contract in held for item in told_of(contract)}
    passed = {
        item["about"]
        for item in all_results(report)
        if (item["scenario"], item["verdict"]) == ("success", "passed")
    }
    assert passed == asked | told | {"settings.changed"}
    received = {
        contract.path(it)
        for contract in held
        for it in contract.operations
        if it.direction is Direction.INBOUND
    }
    assert received <= {item["about"] for item in all_results(report)}


@pytest.mark.parametrize(
    ("slug", "capability"),
    [pair for pair in DEMO_PARTNERS.items() if pair[1] in {"receipt_qr", "pay_at_table"}],
)
def test_demo_partners_pass(sandbox, slug, capability):
    partner = make_partner(
        sandbox, slug, capabilities={capability: 1}, outbound_events=["order.paid"]
    )

    report = examine(subject_of(partner))

    assert (why(report), report["verdict"]) == ([], "passed")


def test_partner_that_goes_by_a_key_of_the_merchant_passes_with_it_and_fails_without(sandbox):
    partner = with_key(make_key_partner(f"{sandbox.url}/demo/demo-key", slug="demo-key"))

    right = examine(subject_of(partner, settings={"api_key": "demo-valid-key"}))
    wrong = examine(subject_of(partner, settings={"api_key": "another"}))

    assert (why(right), right["verdict"], wrong["verdict"]) == ([], "passed", "failed")
    late = next(item for item in all_results(right) if item["scenario"] == "late")
    assert late["verdict"] == "skipped"


def test_connected_account_is_needed_where_there_are_accounts(sandbox):
    partner = with_key(make_oauth_integration(f"{sandbox.url}/demo/demo-oauth", slug="demo-oauth"))
    partner.outbound_url = f"{sandbox.url}/events/demo-oauth"
    partner.save()
    provider = sandbox.sandbox.oauth
    tokens = json.loads(exchange(provider, allowed(provider)).body)

    without_account = examine(subject_of(partner))
    report = examine(subject_of(partner, settings={"access_token": tokens["access_token"]}))

    assert without_account["verdict"] == "skipped"
    assert (why(report), report["verdict"]) == ([], "passed")


def test_partner_with_an_adapter_of_its_own_is_tried_with_events_alone(sandbox):
    partner = make_spliteasy(sandbox.url, outbound_url=f"{sandbox.url}/events/spliteasy")
    with_key(partner)

    report = examine(subject_of(partner))

    assert (why(report), report["verdict"]) == ([], "passed")
    assert report["sections"][0]["verdict"] == "skipped"


def test_nothing_of_a_run_is_an_install_or_a_merchant(sandbox):
    partner = make_partner(sandbox)

    examine(subject_of(partner))

    assert not Merchant.objects.exists()
    assert not partner.installs.exists()


def test_events_go_to_no_other_address_than_one_that_was_given(sandbox):
    partner = make_partner(
        sandbox, api_base_url="http://127.0.0.1:9", outbound_events=["order.paid"]
    )

    report = examine(subject_of(partner, base_url=f"{sandbox.url}/demo/demo-partner"))

    assert (report["verdict"], report["events"]) == ("passed", "")
    assert report["sections"][-1]["verdict"] == "skipped"


# What must not be in a report


def test_secrets_are_taken_out_of_whatever_a_partner_repeats():
    document = {"detail": ["the key geheim-1 is wrong"], "code": "geheim-1"}

    assert "geheim-1" not in json.dumps(without(["geheim-1", ""], document))


def test_key_that_a_partner_repeats_is_not_kept(settings):
    def repeat(request):
        key = request.headers["Authorization"].removeprefix("Bearer ")
        return Reply(401, json.dumps({"error": {"code": key}}).encode())

    with Partner(repeat) as partner:
        settings.OUTBOUND_ALLOW = [partner.url.removeprefix("http://")]
        row = with_key(make_key_partner(partner.url, config_schema=KEY_SCHEMA))
        report = examine(subject_of(row, settings={"api_key": "sk_kept_safe"}))

    assert report["verdict"] == "failed"
    assert "sk_kept_safe" not in json.dumps(report)
    assert KEY.hex() not in json.dumps(report)


# Rows


def test_run_is_a_row_that_a_worker_carries_out(sandbox):
    partner = make_partner(sandbox)

    row = runs.start(subject_of(partner, settings={"note": "geheim"}), "staff:a")
    again = runs.start(subject_of(partner), "staff:b")
    carried_out = runs.run_due()

    assert again == row
    row.refresh_from_db()
    assert (carried_out, row.status, row.settings) == (1, CertificationStatus.PASSED, None)
    assert (row.done, row.total) == (5, 5)
    assert row.report["verdict"] == "passed"
    assert runs.run_due() == 0
    actions = AuditEntry.objects.filter(integration_slug=partner.slug, action__startswith="certif")
    assert list(actions.order_by("pk").values_list("action", flat=True)) == [
        "certification.started",
        "certification.finished",
    ]


def test_run_whose_worker_died_is_taken_over_once(sandbox):
    row = runs.start(subject_of(make_partner(sandbox)), "staff:a")
    mine = Certification.objects.filter(pk=row.pk)
    left = timezone.now() - timedelta(seconds=1)
    mine.update(status=CertificationStatus.RUNNING, runs=1, lease_until=left)

    assert runs.run_due() == 1
    assert mine.get().status == CertificationStatus.PASSED


def test_run_that_died_twice_is_given_up(sandbox):
    row = runs.start(subject_of(make_partner(sandbox)), "staff:a")
    mine = Certification.objects.filter(pk=row.pk)
    left = timezone.now() - timedelta(seconds=1)
    mine.update(status=CertificationStatus.RUNNING, runs=2, lease_until=left)

    assert runs.run_due() == 0
    assert mine.get().status == CertificationStatus.BROKEN


def test_run_that_another_worker_is_at_is_left_to_it(sandbox):
    row = runs.start(subject_of(make_partner(sandbox)), "staff:a")
    until = timezone.now() + timedelta(minutes=1)
    Certification.objects.filter(pk=row.pk).update(
        status=CertificationStatus.RUNNING, runs=1, lease_until=until
    )

    assert runs.run_due() == 0


def test_certified_is_who_passed_whole_with_what_the_row_declares_now(sandbox):
    partner = make_partner(sandbox, capabilities={"receipt_qr": 1, "receipt_pretext": 1})
    assert not runs.is_certified(partner)

    runs.run_now(Subject(partner, ["receipt_qr"]), "command")
    assert not runs.is_certified(partner)

    runs.run_now(subject_of(partner), "command")
    assert runs.is_certified(partner)

    partner.capabilities = {"receipt_qr": 1}
    assert not runs.is_certified(partner)


# The command


def certify(*args):
    out = io.StringIO()
    try:
        call_command("certify", *args, stdout=out)
    except SystemExit as left:
        return out.getvalue(), left.code
    return out.getvalue(), 0


def test_command_tells_in_the_terminal_and_ends_with_1_where_something_failed(sandbox):
    make_partner(sandbox)
    text, code = certify("demo-partner")
    assert (text.splitlines()[0], code) == ("demo-partner: passed", 0)

    sandbox.sandbox.switches.put(Switch(mode="any_version"))
    text, code = certify("demo-partner", "--capability", "payment_method", "--language", "id")

    assert (text.splitlines()[0], code) == ("demo-partner: gagal", 1)
    assert "Versi tidak dikenal (gagal)" in text
    assert "Cara memperbaikinya: Lihat `contract`" in text


def test_command_writes_json_and_html(sandbox):
    make_partner(sandbox)

    assert json.loads(certify("demo-partner", "--format", "json")[0])["verdict"] == "passed"
    html = certify("demo-partner", "--format", "html")[0]

    assert html.startswith("<!doctype html>")
    assert "payment_method@1: passed" in html


def test_command_takes_settings_from_a_file_and_another_address(sandbox, tmp_path):
    with_key(make_key_partner("http://127.0.0.1:9", slug="demo-key"))
    file = tmp_path / "settings.json"
    file.write_text('{"api_key": "demo-valid-key"}')
    elsewhere = ["--base-url", f"{sandbox.url}/demo/demo-key"]

    assert certify("demo-key", *elsewhere, "--settings-file", str(file))[1] == 0


@pytest.mark.parametrize(
    "args",
    [
        ["nobody"],
        ["demo-partner", "--capability", "receipt_qr"],
        ["demo-partner", "--base-url", "http://10.0.0.1"],
        ["demo-partner", "--settings-file", "/nowhere.json"],
    ],
)
def test_command_refuses_what_makes_no_sense(sandbox, args):
    make_partner(sandbox)

    with pytest.raises(CommandError):
        certify(*args)


# The staff's page


@pytest.fixture
def staff(client):
    person = User.objects.create_superuser("staff@posz.id")
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page_of(integration):
    return reverse("admin:catalog_integration_certify", args=[integration.pk])


def test_page_starts_a_run_shows_how_far_it_is_and_then_the_report(sandbox, staff):
    partner = make_partner(sandbox)
    page = page_of(partner)
    assert "This partner was never tried." in staff.get(page).content.decode()

    begun = staff.post(page, {"capabilities": ["payment_method"]})
    waiting = staff.get(page).content.decode()
    runs.run_due()
    done = staff.get(page).content.decode()

    assert (begun.status_code, begun["Location"]) == (302, page)
    assert 'hx-trigger="every 2s"' in waiting
    assert "Waiting for a worker." in waiting
    assert "hx-trigger" not in done
    assert "payment_method@1: passed" in done
    row = Certification.objects.get()
    assert row.started_by == "staff:staff@posz.id"
    document = staff.get(
        reverse("admin:catalog_integration_certification", args=[partner.pk, row.pk])
    )
    assert document.json() == row.report


def test_page_keeps_the_settings_of_a_run_to_itself(sandbox, staff):
    partner = with_key(make_key_partner(f"{sandbox.url}/demo/demo-key", slug="demo-key"))
    posted = {"capabilities": ["receipt_pretext"], "config-api_key": "demo-valid-key"}

    staff.post(page_of(partner), posted)
    row = Certification.objects.get()
    assert row.settings == {"api_key": "demo-valid-key"}
    runs.run_due()

    assert Certification.objects.get().settings is None
    assert Certification.objects.get().status == CertificationStatus.PASSED
    assert "demo-valid-key" not in staff.get(page_of(partner)).content.decode()


@pytest.mark.parametrize(
    "posted",
    [
        {},
        {"capabilities": ["receipt_qr"]},
        {"capabilities": ["payment_method"], "base_url": "http://10.0.0.1"},
    ],
)
def test_page_refuses_what_makes_no_sense(sandbox, staff, posted):
    answer = staff.post(page_of(make_partner(sandbox)), posted)

    assert (answer.status_code, Certification.objects.count()) == (200, 0)
    assert 'class="errornote"' in answer.content.decode()


def test_page_is_for_those_who_may_change_the_row(sandbox, client):
    partner = make_partner(sandbox)
    person = User.objects.create_user("clerk@posz.id", "a-long-demo-password", is_staff=True)
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")

    assert client.get(page_of(partner)).status_code == 403
    assert client.post(page_of(partner)).status_code == 403


def test_report_of_another_integration_is_not_found(sandbox, staff):
    row = runs.run_now(subject_of(make_partner(sandbox)), "command")
    other = make_integration()
    address = reverse("admin:catalog_integration_certification", args=[other.pk, row.pk])

    assert staff.get(address).status_code == 404
    assert staff.get(address.replace(str(row.pk), str(uuid4()))).status_code == 404


def test_list_says_who_has_passed_without_a_question_for_each_row(sandbox, staff):
    partner = make_partner(sandbox)
    runs.run_now(subject_of(partner), "command")
    address = reverse("admin:catalog_integration_changelist")
    with CaptureQueriesContext(connection) as few:
        text = staff.get(address).content.decode()
    for _number in range(3):
        make_integration()
    with CaptureQueriesContext(connection) as many:
        staff.get(address)

    assert "passed, " in text
    assert len(few) == len(many)
    partner.capabilities = {"payment_method": 1, "receipt_qr": 1}
    partner.save()
    text = staff.get(address).content.decode()
    assert "not for these versions, " in text
    assert "not tried" in text


def test_making_available_without_a_certificate_is_done_and_warned_of(sandbox, staff):
    partner = make_partner(sandbox, status="in_review")
    sent = {"action": "make_available", "_selected_action": [partner.pk]}
    address = reverse("admin:catalog_integration_changelist")

    warned = staff.post(address, sent, follow=True).content.decode()
    runs.run_now(subject_of(partner), "command")
    quiet = staff.post(address, sent, follow=True).content.decode()

    partner.refresh_from_db()
    assert partner.status == "available"
    assert "no certification has passed" in warned
    assert "no certification has passed" not in quiet
