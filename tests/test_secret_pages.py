import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from catalog.models import Integration
from installs.credentials import active_secrets, ensure_secrets, rotate, stage
from installs.models import AuditEntry, IntegrationSecret, User
from tests.factories import make_integration, make_user

pytestmark = pytest.mark.django_db
VERBS = ["stage", "cut-over", "revoke-previous"]


@pytest.fixture
def partner() -> Integration:
    row = make_integration("acme")
    ensure_secrets(row)
    return row


@pytest.fixture
def staff(client: Client) -> Client:
    return signed_in(client, User.objects.create_superuser("staff@posz.id"))


def signed_in(client: Client, person: User) -> Client:
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def make_staff(*permissions: str) -> User:
    person = make_user(is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return person


def address(partner: Integration, verb: str, purpose: str = "inbound") -> str:
    return reverse("admin:installs_integrationsecret_act", args=[partner.pk, purpose, verb])


def page_of(partner: Integration) -> str:
    return reverse("admin:catalog_integration_change", args=[partner.pk])


def states() -> dict[str, str]:
    rows = IntegrationSecret.objects.filter(purpose="inbound")
    return {row.state: row.value for row in rows}


def html_of(answer: Any) -> str:
    return str(answer.content.decode())


def test_staged_value_is_on_the_answer_and_nowhere_later(staff: Client, partner: Integration):
    answer = staff.post(address(partner, "stage"))

    value = states()["next"]
    assert html_of(answer).count(value) == 1
    assert "no-store" in answer["Cache-Control"]
    later = [
        page_of(partner),
        address(partner, "stage"),
        address(partner, "cut-over"),
        reverse("admin:index"),
        reverse("admin:installs_integrationsecret_changelist"),
        reverse("admin:installs_auditentry_changelist"),
        reverse("admin:installs_auditentry_change", args=[AuditEntry.objects.get().pk]),
    ]
    assert [path for path in later if value in html_of(staff.get(path, follow=True))] == []
    kept = [session.get_decoded() for session in Session.objects.all()]
    assert value not in f"{kept} {staff.cookies}"


def test_cut_over_and_revocation_are_done_and_said(staff: Client, partner: Integration):
    old = states()["current"]
    new = stage(partner, "inbound", "x")

    cut = staff.post(address(partner, "cut-over"), follow=True)
    revoked = staff.post(address(partner, "revoke-previous"), follow=True)

    assert "is current now" in html_of(cut)
    assert "refused from now on" in html_of(revoked)
    assert states() == {"current": new, "previous": old}
    assert active_secrets("acme", "inbound") == [bytes.fromhex(new)]
    actors = AuditEntry.objects.filter(action__in=["secret.cut_over", "secret.revoked"])
    assert {entry.actor for entry in actors} == {"staff:staff@posz.id"}


@pytest.mark.parametrize("verb", VERBS)
def test_question_changes_nothing(staff: Client, partner: Integration, verb: str):
    stage(partner, "inbound", "x")
    before = states()

    answer = staff.get(address(partner, verb))

    assert (answer.status_code, states()) == (200, before)
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("cut-over", "No next secret is staged: somebody may have cut over."),
        ("revoke-previous", "No previous secret is accepted any more."),
    ],
)
def test_what_can_not_be_is_refused_in_words(
    staff: Client, partner: Integration, verb: str, words: str
):
    before = states()

    html = html_of(staff.post(address(partner, verb), follow=True))

    assert words in html
    assert states() == before


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("method", ["get", "post"])
def test_staff_who_may_only_look_can_not_rotate(
    client: Client, partner: Integration, verb: str, method: str
):
    stage(partner, "inbound", "x")
    before = states()
    signed_in(client, make_staff("view_integration", "change_integration"))

    answer = getattr(client, method)(address(partner, verb))

    assert (answer.status_code, states()) == (403, before)
    assert "Stage next" not in html_of(client.get(page_of(partner)))


def test_staff_with_the_permission_can_rotate(client: Client, partner: Integration):
    signed_in(client, make_staff("view_integration", "change_integrationsecret"))

    answer = client.post(address(partner, "stage"))

    assert answer.status_code == 200
    assert html_of(client.get(page_of(partner))).count("Stage next") == 3


def test_merchants_do_not_get_in(client: Client, partner: Integration):
    signed_in(client, make_user())

    client.post(address(partner, "stage"))

    assert "next" not in states()


def test_other_site_can_not_make_staff_rotate(partner: Integration):
    staff = signed_in(
        Client(enforce_csrf_checks=True), User.objects.create_superuser("staff@posz.id")
    )

    assert staff.post(address(partner, "stage")).status_code == 403
    assert "next" not in states()


@pytest.mark.parametrize(("purpose", "verb"), [("other", "stage"), ("inbound", "other")])
def test_unknown_purpose_or_verb_is_not_found(
    staff: Client, partner: Integration, purpose: str, verb: str
):
    assert staff.post(address(partner, verb, purpose)).status_code == 404


def test_integration_page_tells_until_when_the_previous_one_is_accepted(
    staff: Client, partner: Integration
):
    rotate(partner, "inbound", "x")
    assert "previous accepted until" in html_of(staff.get(page_of(partner)))

    staff.post(address(partner, "revoke-previous"))

    html = html_of(staff.get(page_of(partner)))
    assert "previous accepted until" not in html
    assert re.search(r"ended \w+", html)


def test_panel_of_the_index_names_old_and_late_used_secrets(staff: Client, partner: Integration):
    assert "secrets-panel" not in html_of(staff.get(reverse("admin:index")))
    rotate(partner, "outbound", "x")
    IntegrationSecret.objects.filter(state="previous").update(
        late_uses=3, late_used_at=timezone.now()
    )
    IntegrationSecret.objects.filter(purpose="inbound").update(
        activated_at=timezone.now() - timedelta(days=91)
    )

    html = html_of(staff.get(reverse("admin:index")))

    panel = html[html.index('id="secrets-panel"') :].partition("</ul>")[0]
    assert re.findall(r"acme, (\w+)", panel) == ["inbound", "outbound"]
    assert "used 3 times" in panel


def test_panel_is_not_for_staff_without_the_catalog(client: Client, partner: Integration):
    IntegrationSecret.objects.update(activated_at=timezone.now() - timedelta(days=91))
    signed_in(client, make_staff())

    assert "secrets-panel" not in html_of(client.get(reverse("admin:index")))
