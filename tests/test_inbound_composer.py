"""The staff page on which a provider's webhooks are set up, button by button."""

import base64
import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from catalog.inbound_draft import Documents
from catalog.inbound_presets import PRESETS
from catalog.models import Integration
from dispatch.inbound_setup import is_proven
from installs import issuer
from installs.credentials import active_secrets
from installs.models import AuditEntry, IntegrationSecret, User
from tests.factories import make_integration, make_user
from tests.inbound_samples import all_samples, b64, mac

pytestmark = pytest.mark.django_db
KEY = "the-key-that-the-provider-shows"
BODY = '{"id":"e-1","kind":"PAID","shop":"m-1"}'
SIGNED = {
    "kind": "hmac",
    "signature": "header:X-Sign",
    "signed-source": "body",
    "signed-argument": "",
    "signed-filters": "",
}
MAPPED = {
    "format": "json",
    "event_id": "body:/id",
    "type": "body:/kind",
    "external_merchant_id": "body:/shop",
}
SAMPLE = {
    "sample-method": "POST",
    "sample-address": "https://hub.example/v1/integrations/acme/webhook",
    "sample-headers": f"X-Sign: {mac(BODY, KEY).hex()}",
    "sample-body": BODY,
    "sample-written": "text",
    "sample-clock": "now",
}
WHOLE = SIGNED | MAPPED | SAMPLE


@pytest.fixture
def staff(client: Client) -> Client:
    person = User.objects.create_superuser("staff@posz.id")
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def partner() -> Integration:
    return make_integration("acme", capabilities={"payment_webhook_inbound": 1})


def address(partner: Integration) -> str:
    return reverse("admin:catalog_integration_inbound", args=[partner.pk])


def press(staff: Client, partner: Integration, do: str, **form: Any) -> str:
    response = staff.post(address(partner), {**form, "do": do}, follow=True)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def enter_key(staff: Client, partner: Integration, key: str = KEY, **form: Any) -> str:
    return press(staff, partner, "key", **{**SIGNED, "key-text": key, **form})


def saved(partner: Integration) -> tuple[Any, Any]:
    row = Integration.objects.get(pk=partner.pk)
    return row.inbound_verification, row.inbound_mapping


def proof_of(page: str) -> str:
    found = re.search(r'name="proof" value="([^"]*)"', page)
    assert found
    return found[1]


# Saving


def test_scheme_is_saved_when_it_accepted_the_sample(staff, partner):
    enter_key(staff, partner)

    press(staff, partner, "save", **WHOLE)

    assert saved(partner) == (
        {"kind": "hmac", "signature": "header:X-Sign", "encoding": "hex"},
        {"event_id": "body:/id", "type": "body:/kind", "external_merchant_id": "body:/shop"},
    )
    assert AuditEntry.objects.filter(action="integration.inbound_changed").count() == 1


def test_sample_with_a_token_that_posz_issued_is_accepted_and_another_one_is_not(staff, partner):
    client = issuer.create_client(partner, "staff@posz.id")
    issued = issuer.issue_token(client.row.client_id, client.secret)
    assert issued
    form = MAPPED | SAMPLE | {"kind": "issued"}

    for token in ("nobody-issued-this", issued.token):
        headers = {"sample-headers": f"Authorization: Bearer {token}"}
        page = press(staff, partner, "save", **(form | headers))
        assert (saved(partner)[0].get("kind") == "issued") is (token == issued.token), page
        assert token not in page.split('name="sample-headers"')[0]


@pytest.mark.parametrize(
    "over",
    [
        {"sample-body": BODY.replace("m-1", "m-2")},
        {"sample-headers": ""},
        {"event_id": "body:/nothing"},
        {"sample-clock": "at", "sample-at": "soon"},
        {"sample-address": "hub"},
        {"sample-headers": "no header"},
        {"sample-written": "hex"},
        {"kind": "rot13"},
        {"event_id": ""},
        {"signed-source": "nonsense"},
        {"time_at": "header:X-Time"},
    ],
)
def test_nothing_is_saved_where_something_is_wrong(staff, partner, over):
    enter_key(staff, partner)

    page = press(staff, partner, "save", **WHOLE | over)

    assert 'role="alert"' in page
    assert saved(partner) == ({}, {})


def test_nothing_is_saved_without_a_key(staff, partner):
    page = press(staff, partner, "save", **WHOLE)

    assert "There is no key yet." in page
    assert saved(partner) == ({}, {})


def test_sample_that_passed_need_not_be_pasted_again(staff, partner):
    enter_key(staff, partner)
    proof = proof_of(press(staff, partner, "try", **WHOLE))

    press(staff, partner, "save", **SIGNED, **MAPPED, proof=proof)

    assert saved(partner)[0] != {}


def test_proof_is_for_these_documents_of_this_row_only(staff, partner):
    enter_key(staff, partner)
    proof = proof_of(press(staff, partner, "try", **WHOLE))
    documents = Documents(
        {"kind": "hmac", "signature": "header:X-Sign", "encoding": "hex"},
        {"event_id": "body:/id", "type": "body:/kind", "external_merchant_id": "body:/shop"},
        {},
    )
    other = make_integration("other", capabilities={"payment_webhook_inbound": 1})

    changed = press(staff, partner, "save", **SIGNED, **MAPPED | {"type": "body:/id"}, proof=proof)

    assert 'role="alert"' in changed
    assert saved(partner) == ({}, {})
    assert is_proven(partner, documents, proof)
    assert not is_proven(other, documents, proof)
    assert not is_proven(partner, documents, proof + "x")


def test_documents_can_not_be_changed_by_the_form_of_the_row(staff, partner):
    url = reverse("admin:catalog_integration_change", args=[partner.pk])

    staff.post(url, {"inbound_verification": '{"kind": "none", "confirm": true}'})

    assert 'name="inbound_verification"' not in staff.get(url).content.decode()
    assert saved(partner) == ({}, {})


# The form


@pytest.mark.parametrize("name", PRESETS)
def test_preset_is_drawn_and_read_back_as_it_is(staff, partner, name):
    filled = staff.post(address(partner), {"do": "preset", "preset": name})

    made = filled.context["composer"].draft.documents()

    assert (made.verification, made.mapping) == (PRESETS[name].verification, PRESETS[name].mapping)
    assert html.escape(str(PRESETS[name].note)) in filled.content.decode()


def test_parts_are_added_moved_and_removed(staff, partner):
    row = {
        "signed-source": ["body", "header"],
        "signed-argument": ["", "X-Time"],
        "signed-filters": ["", ""],
    }

    def order(do: str) -> list[str]:
        response = staff.post(address(partner), {"kind": "hmac", **row, "do": do})
        return [part.text for part in response.context["composer"].draft.rows["signed"]]

    assert order("add-signed") == ["body", "header:X-Time", "body"]
    assert order("up-signed-1") == ["header:X-Time", "body"]
    assert order("down-signed-0") == ["header:X-Time", "body"]
    assert order("remove-signed-0") == ["header:X-Time"]
    assert order("up-signed-7") == order("up-other-1") == order("up-signed-x") == order("draw")


def test_documents_are_edited_as_json_and_come_back_as_a_form(staff, partner):
    page = press(staff, partner, "json", **SIGNED, **MAPPED)
    assert '"signature": "header:X-Sign"' in page

    back = staff.post(
        address(partner),
        {
            "json-verification": '{"kind": "token", "signature": "header:X-Token"}',
            "json-mapping": "{}",
            "json-events": "{}",
            "do": "form",
        },
    )

    assert back.context["composer"].draft.values["signature"] == "header:X-Token"


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "token"}', '{"a": 1, "a": 2}'])
def test_json_that_is_wrong_stays_as_it_was_typed(staff, partner, text):
    form = {"json-verification": text, "json-mapping": "{}", "json-events": "{}"}

    page = press(staff, partner, "form", **form)

    assert 'role="alert"' in page
    assert text in page


def test_stored_document_that_is_wrong_opens_as_json(staff, partner):
    Integration.objects.filter(pk=partner.pk).update(inbound_verification={"kind": "nonsense"})

    page = html.unescape(staff.get(address(partner)).content.decode())

    assert '"kind": "nonsense"' in page
    assert 'role="alert"' in page


def test_row_with_a_missing_cell_is_left_out(staff, partner):
    response = staff.post(address(partner), {"kind": "hmac", "signed-source": "url"})

    assert [part.text for part in response.context["composer"].draft.rows["signed"]] == ["body"]


# The sample


def test_every_step_is_shown_with_what_is_read_and_without_the_key(staff, partner):
    enter_key(staff, partner)

    page = press(
        staff,
        partner,
        "try",
        **WHOLE,
        **{
            "types-theirs": "PAID",
            "types-ours": "bill.settled",
            "types-capability": "payment_webhook_inbound",
        },
    )

    signature = mac(BODY, KEY).hex()
    assert "The sample passed." in page
    assert page.count(f'composer__value">{signature}') == 2
    for text in ("Signed part body", "e-1", "PAID → bill.settled", "m-1", "id, kind, shop"):
        assert text in page
    assert KEY not in page


def test_trial_is_on_record_without_the_sample(staff, partner):
    enter_key(staff, partner)

    press(staff, partner, "try", **WHOLE)

    entry = AuditEntry.objects.get(action="integration.sample_tried")
    assert (entry.actor, entry.integration_slug) == ("staff:staff@posz.id", "acme")
    assert entry.data["accepted"] is True
    assert set(entry.data) == {"accepted", "body_sha256"}


def test_type_without_a_capability_is_pointed_out(staff, partner):
    enter_key(staff, partner)

    assert "None: such an event is refused." in press(staff, partner, "try", **WHOLE)


def test_token_is_not_shown_again(staff, partner):
    token = {"kind": "token", "signature": "header:X-Token", **MAPPED, **SAMPLE}
    enter_key(staff, partner)

    page = press(staff, partner, "try", **token | {"sample-headers": f"X-Token: {KEY}"})

    assert "The sample passed." in page
    assert "X-Token: [key]" in page
    assert KEY not in page


@pytest.mark.parametrize(
    ("body", "written", "form"),
    [
        (b'{"id":"e-1",\n"kind":"P"}', "text", '{"id":"e-1",\r\n"kind":"P"}'),
        (b'{"id":"e-1",\r\n"kind":"P"}', "text-crlf", '{"id":"e-1",\r\n"kind":"P"}'),
        (b'{"id":"e-1","kind":"\xc3\xa9"}', "hex", b'{"id":"e-1","kind":"\xc3\xa9"}'.hex(" ")),
        (b'{"id":"e-1","kind":"P"}\n', "base64", b64(b'{"id":"e-1","kind":"P"}\n')),
    ],
)
def test_body_is_signed_byte_for_byte(staff, partner, body, written, form):
    enter_key(staff, partner)
    sample = {
        "sample-headers": f"X-Sign: {mac(body, KEY).hex()}",
        "sample-body": form,
        "sample-written": written,
    }
    fields = {"format": "json", "event_id": "body:/id", "type": "body:/kind"}

    assert "The sample passed." in press(staff, partner, "try", **SIGNED | fields | SAMPLE | sample)


def test_body_comes_as_a_file(staff, partner):
    enter_key(staff, partner)
    body = b'\n{"id":"e-1","kind":"PAID","shop":"m-1"}\r\n'
    sample = {
        "sample-headers": f"X-Sign: {mac(body, KEY).hex()}",
        "sample-file": SimpleUploadedFile("body.json", body),
    }

    page = press(staff, partner, "try", **WHOLE | sample)

    assert "The sample passed." in page
    assert base64.b64encode(body).decode() in page


def test_old_sample_passes_as_of_its_own_time(staff, partner):
    old = "1700000000"
    signed = {
        "kind": "hmac",
        "signature": "header:X-Sign",
        "joiner": ".",
        "time_at": "header:X-Time",
        "signed-source": ["header", "body"],
        "signed-argument": ["X-Time", ""],
        "signed-filters": ["", ""],
    }
    enter_key(staff, partner)
    headers = f"X-Sign: {mac(f'{old}.{BODY}', KEY).hex()}\nX-Time: {old}"
    whole = signed | MAPPED | SAMPLE | {"sample-headers": headers}

    now = press(staff, partner, "try", **whole)
    own = press(staff, partner, "try", **whole | {"sample-clock": "sample"})
    at = {"sample-clock": "at", "sample-at": "2023-11-14T22:13"}
    then = press(staff, partner, "try", **whole | at)

    assert "older than the tolerance" in now
    assert "The sample passed." in own
    assert "The sample passed." in then


@pytest.mark.parametrize("sample", all_samples(), ids=lambda sample: sample.name)
def test_known_sample_never_shows_its_key(staff, partner, sample):
    IntegrationSecret.objects.create(
        integration=partner,
        purpose=sample.scheme.purpose,
        state="current",
        value=sample.key.hex(),
        activated_at=timezone.now(),
    )
    headers = "\n".join(f"{name}: {value}" for name, value in sample.request.headers)
    name = sample.name if sample.name in PRESETS else "github"
    form = {"sample-headers": headers, "sample-body": b64(sample.request.body)}
    filled = staff.post(address(partner), {"do": "preset", "preset": name})
    draft = filled.context["composer"].draft
    rows = {
        f"signed-{column}": [getattr(row, column) for row in draft.rows["signed"]]
        for column in ("source", "argument", "filters")
    }

    page = press(
        staff,
        partner,
        "try",
        **draft.values,
        **rows,
        **SAMPLE | form | {"sample-written": "base64"},
    )

    assert b"PUBLIC" in sample.key or sample.key.decode() not in page


# Keys


def test_key_is_stored_and_never_shown(staff, partner):
    page = enter_key(staff, partner)

    assert active_secrets("acme", "inbound") == [KEY.encode()]
    assert KEY not in page + staff.get(address(partner)).content.decode()
    assert KEY not in str(list(AuditEntry.objects.values()))
    assert KEY not in str(list(IntegrationSecret.objects.values("purpose", "state")))


def test_key_before_is_accepted_until_the_time_that_is_said(staff, partner):
    enter_key(staff, partner)
    until = timezone.now() + timedelta(days=2)

    enter_key(staff, partner, "the-next-key-of-it", **{"key-until": f"{until:%Y-%m-%dT%H:%M}"})

    before = IntegrationSecret.objects.get(state="previous")
    assert active_secrets("acme", "inbound") == [b"the-next-key-of-it", KEY.encode()]
    assert abs(before.expires_at - until) < timedelta(minutes=2)


@pytest.mark.parametrize(
    "form",
    [
        {"key-text": ""},
        {"key-text": "short"},
        {"key": "hex", "key-text": "not-hexadecimal"},
        {"key": "base64", "key-text": "n*t base64 at all"},
        {"key": "whsec", "key-text": "whsec_***********"},
        {"kind": "rsa", "key-text": "-----BEGIN PUBLIC KEY-----\nAAAA"},
        {"kind": "none", "confirm": "on", "key-text": KEY},
        {"key-text": KEY, "key-until": "soon"},
        {"key-text": KEY, "key-until": "2001-01-01T00:00"},
        {"key-text": KEY, "key-until": "2999-01-01T00:00"},
    ],
)
def test_key_that_can_not_be_used_is_refused_and_not_shown(staff, partner, form):
    page = press(staff, partner, "key", **SIGNED | form)

    assert 'role="alert"' in page
    assert len(form["key-text"]) < 6 or form["key-text"] not in page
    assert not IntegrationSecret.objects.exists()


# Who may


def test_staff_who_may_not_change_integrations_see_nothing(client, partner):
    client.force_login(
        make_user(is_staff=True), backend="django.contrib.auth.backends.ModelBackend"
    )

    assert client.get(address(partner)).status_code == 403
    assert client.post(address(partner), WHOLE | {"do": "try"}).status_code == 403


def test_staff_who_may_not_change_secrets_enter_no_key(client, partner):
    person = make_user(is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename="change_integration"))
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")

    response = client.post(address(partner), SIGNED | {"do": "key", "key-text": KEY})

    assert response.status_code == 403
    assert not IntegrationSecret.objects.exists()


def test_merchants_and_strangers_are_sent_to_sign_in(client, partner):
    assert client.get(address(partner)).status_code == 302


def test_tries_are_counted(staff, partner, monkeypatch):
    monkeypatch.setattr("dispatch.admin.SENT_PER_MINUTE", 1)
    enter_key(staff, partner)

    page = press(staff, partner, "try", **WHOLE)

    assert "Too many tries" in page
    assert not AuditEntry.objects.filter(action="integration.sample_tried").exists()
