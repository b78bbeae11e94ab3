import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from catalog import capabilities
from catalog.models import AuthShape, Integration, IntegrationStatus
from installs import audit
from installs.credentials import ensure_secrets
from installs.models import (
    ApiToken,
    AuditEntry,
    Install,
    IntegrationSecret,
    Location,
    Membership,
    Merchant,
    User,
)
from tests.factories import (
    make_install,
    make_integration,
    make_location,
    make_merchant,
    make_payment,
    make_token,
    make_user,
)
from webhooks.models import Attempt, Delivery, DeliveryStatus, Event, InboundEvent

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
NOT_ADDED_BY_HAND = {
    "AuditEntry",
    "Install",
    "IntegrationSecret",
    "Authenticator",
    "InboundEvent",
    "Event",
    "Delivery",
    "OAuthGrant",
    "PartnerClient",
    "UnknownOutlet",
    "Hint",
    "Endpoint",
    "DeliveryHealth",
    "Recovery",
    "InboundRefusal",
    "InboxRow",
    "ScheduleAsking",
    "IdMapping",
    "PaymentIntent",
    "ParkedReport",
    "TableCheck",
    "TablePayment",
}
CANARIES = {"config": "canary-config-7f3a", "secret": "ca9a27" * 10 + "ca9a"}


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(
        User.objects.create_superuser("staff@posz.id"),
        backend="django.contrib.auth.backends.ModelBackend",
    )
    return client


def address(model: Any, verb: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{verb}", args=args)


def act(client: Client, model: Any, action: str, *rows: Any, **extra: str) -> str:
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows]} | extra
    return client.post(address(model, "changelist"), data, follow=True).content.decode()


def catalog_form(**over: Any) -> dict[str, Any]:
    form = {
        "slug": "review-corner",
        "category": "receipt",
        "status": "draft",
        "name_en": "Review Corner",
        "name_id": "Pojok Ulasan",
        "tagline_en": "Rate your visit",
        "tagline_id": "Nilai kunjungan Anda",
        "description_en": "More about it.",
        "description_id": "Lebih lanjut.",
        "auth_shape": "platform_shared",
        "capabilities-receipt_qr": "on",
        "capabilities-receipt_qr-version": "1",
        "previous_secret_seconds": "300",
        "outbound_concurrency": "256",
        "data_residency": "id",
        "secrets-TOTAL_FORMS": "0",
        "secrets-INITIAL_FORMS": "0",
    }
    return form | over


def errors_of(client: Client, **over: Any) -> dict[str, list[str]]:
    answer = client.post(address(Integration, "add"), catalog_form(**over))
    return {} if answer.status_code == 302 else dict(answer.context["adminform"].form.errors)


def make_world() -> Install:
    """One row of every kind, with a canary wherever a secret is kept."""
    merchant = make_merchant()
    outlet = make_location(merchant)
    make_user(merchant)
    make_token(merchant)
    schema = {"type": "object", "properties": {"api_key": {"type": "string", "x-secret": True}}}
    partner = make_integration(config_schema=schema)
    ensure_secrets(partner)
    for secret in IntegrationSecret.objects.all():
        secret.value = CANARIES["secret"]
        secret.save(update_fields=["value"])
    install = make_install(merchant, partner, outlet.pk)
    install.config = {"api_key": CANARIES["config"], "left_over": CANARIES["config"]}
    install.save(update_fields=["config"])
    event = Event.objects.create(
        merchant=merchant,
        location=outlet,
        type="order.paid",
        sequence=1,
        body=b'{"a": 1}',
        occurred_at=timezone.now(),
    )
    delivery = Delivery.objects.create(
        event=event,
        merchant=merchant,
        integration=partner,
        install_id=install.pk,
        status=DeliveryStatus.DEAD,
    )
    Attempt.objects.create(delivery=delivery, number=1, started_at=timezone.now(), elapsed_ms=5)
    InboundEvent.objects.create(
        install_id=install.pk,
        integration=partner,
        merchant=merchant,
        provider_event_id="e1",
        type="bill.settled",
        capability="receipt_qr",
        body=b"<b>" + b"x" * 5000 + b"the end",
        body_digest="d",
    )
    make_payment(install, outlet)
    return install


def pages_of_everything() -> list[str]:
    pages = [reverse("admin:index")]
    for model in MODELS:
        pages.append(address(model, "changelist"))
        if model.__name__ not in NOT_ADDED_BY_HAND:
            pages.append(address(model, "add"))
        pages += [address(model, "change", row.pk) for row in model._default_manager.all()[:1]]
    return pages


# Who gets in


def test_every_page_is_there_for_a_superuser(staff: Client):
    make_world()

    answers = {page: staff.get(page).status_code for page in pages_of_everything()}

    assert answers == dict.fromkeys(answers, 200)


def test_no_page_is_there_for_a_merchants_user(client: Client):
    owner = make_user(make_world().merchant)
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")

    answers = {page: client.get(page, follow=True).status_code for page in pages_of_everything()}

    assert answers == dict.fromkeys(answers, 403)


def test_strangers_sign_in_where_everybody_does(client: Client):
    answer = client.get("/admin/", follow=True)

    assert answer.redirect_chain[-1][0].startswith("/accounts/login/?next=")


def test_staff_without_permissions_see_no_rows(client: Client):
    person = make_user(is_staff=True)
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")

    assert client.get("/admin/").status_code == 200
    assert client.get(address(Install, "changelist")).status_code == 403


def test_no_page_shows_a_secret(staff: Client):
    make_world()
    hidden = [*CANARIES.values(), *ApiToken.objects.values_list("digest", flat=True)]

    html = "".join(staff.get(page).content.decode() for page in pages_of_everything())

    assert [secret for secret in hidden if secret in html] == []


@pytest.mark.parametrize("model", [Install, AuditEntry, Delivery, InboundEvent, Event])
def test_lists_ask_as_often_for_three_rows_as_for_one(
    staff: Client, model: Any, django_assert_max_num_queries: Any
):
    make_world()
    staff.get(address(model, "changelist"))
    with django_assert_max_num_queries(40) as few:
        staff.get(address(model, "changelist"))
    make_world()
    make_world()

    with django_assert_max_num_queries(len(few)):
        staff.get(address(model, "changelist"))


# The catalog


def test_integration_is_saved_from_its_form(staff: Client):
    answer = staff.post(
        address(Integration, "add"),
        catalog_form(
            outbound_url="https://partner.example/events",
            outbound_events="order.paid\n\nrefund.created ",
            inbound_events='{"review.left": "receipt_qr"}',
        ),
    )

    assert answer.status_code == 302
    row = Integration.objects.get(slug="review-corner")
    assert row.capabilities == {"receipt_qr": 1}
    assert row.outbound_events == ["order.paid", "refund.created"]
    assert row.inbound_events == {"review.left": "receipt_qr"}
    assert (row.config_schema, row.oauth_settings) == ({}, {})


@pytest.mark.parametrize(
    ("field", "over", "words"),
    [
        ("slug", {"slug": "Review_Corner"}, "single hyphens"),
        ("config_schema", {"config_schema": '{"type": "array"}'}, '"type": "object"'),
        ("config_schema", {"config_schema": '{"type": '}, "line 1, column 10"),
        ("config_schema", {"config_schema": '{"a": 1, "a": 2}'}, "same key twice"),
        ("capabilities", {"capabilities-receipt_qr-version": "7"}, "Version of “receipt_qr”"),
        ("capabilities", {"capabilities-receipt_qr-version": "x"}, "Version of “receipt_qr”"),
        ("oauth_settings", {"auth_shape": AuthShape.OAUTH}, "OAuth needs “authorize_url”"),
        ("oauth_settings", {"oauth_settings": '{"client_id": "x"}'}, "Only integrations that use"),
        ("outbound_events", {"outbound_events": "order.paid"}, "need an event endpoint"),
        ("outbound_events", {"outbound_events": "Order Paid"}, "reads like “order.paid”"),
        ("inbound_events", {"inbound_events": '{"a.b": "auth_provider"}'}, "does not declare"),
        ("inbound_events", {"inbound_events": "[]"}, "object of event type"),
        ("outbound_url", {"outbound_url": "https://10.0.0.1/"}, "private or reserved"),
        ("api_base_url", {"api_base_url": "ftp://partner.example"}, "starting with https://"),
        ("data_residency", {"data_residency": "ID"}, "two-letter country code"),
        ("previous_secret_seconds", {"previous_secret_seconds": "700000"}, "604800"),
        ("logo", {"logo": "../x.svg"}, "logos/"),
    ],
)
def test_rule_of_the_catalog_is_told_at_its_field(
    staff: Client, field: str, over: dict[str, str], words: str
):
    errors = errors_of(staff, **over)

    assert list(errors) == [field]
    assert words in " ".join(errors[field])


def test_integration_without_capabilities_is_refused(staff: Client):
    form = catalog_form()
    del form["capabilities-receipt_qr"]

    answer = staff.post(address(Integration, "add"), form)

    assert "Declare at least one capability" in answer.content.decode()


@pytest.fixture
def nobody_tells_of_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the code of a capability were still to be written."""
    spoken = {
        key: value
        for key, value in capabilities._spoken.items()
        if "order_status_outbound" not in key
    }
    monkeypatch.setattr(capabilities, "_spoken", spoken)


def test_integration_is_not_available_without_an_adapter(
    staff: Client, nobody_tells_of_orders: None
):
    errors = errors_of(
        staff,
        status=IntegrationStatus.AVAILABLE,
        **{
            "capabilities-order_status_outbound": "on",
            "capabilities-order_status_outbound-version": "1",
        },
    )

    assert "No adapter speaks “order_status_outbound”" in " ".join(errors["capabilities"])


def test_refused_document_is_shown_as_it_was_typed(staff: Client):
    typed = '{"a": 1, "a": 2'
    html = staff.post(address(Integration, "add"), catalog_form(config_schema=typed)).content

    assert typed.replace('"', "&quot;").encode() in html


def test_slug_of_an_installed_integration_can_not_change(staff: Client):
    partner = make_integration("kept-name")
    make_install(make_merchant(), partner)

    staff.post(address(Integration, "change", partner.pk), catalog_form(slug="new-name"))

    partner.refresh_from_db()
    assert partner.slug == "kept-name"
    assert b'name="slug"' not in staff.get(address(Integration, "change", partner.pk)).content


def test_slug_of_a_draft_can_change(staff: Client):
    partner = make_integration("first-name")

    staff.post(address(Integration, "change", partner.pk), catalog_form(slug="better-name"))

    partner.refresh_from_db()
    assert partner.slug == "better-name"


def test_installed_integration_is_not_deleted(staff: Client):
    partner = make_integration("kept-row")
    make_install(make_merchant(), partner)

    html = staff.post(
        address(Integration, "delete", partner.pk), {"post": "yes"}, follow=True
    ).content.decode()

    assert "“kept-row” can&#x27;t be deleted: 1 install still refer" in html
    assert Integration.objects.filter(pk=partner.pk).exists()


def test_bulk_deletion_with_an_installed_integration_is_refused(staff: Client):
    free, partner = make_integration("free-row"), make_integration("kept-row")
    make_install(make_merchant(), partner)

    html = act(staff, Integration, "delete_selected", free, partner, post="yes")

    assert "“kept-row” can&#x27;t be deleted" in html
    assert Integration.objects.filter(pk__in=[free.pk, partner.pk]).count() == 2


def test_unused_integration_is_deleted_by_the_bulk_action(staff: Client):
    partner = make_integration()

    act(staff, Integration, "delete_selected", partner, post="yes")

    assert not Integration.objects.filter(pk=partner.pk).exists()


def test_category_in_use_is_not_deleted(staff: Client):
    category = make_integration().category

    html = staff.post(
        reverse("admin:catalog_category_delete", args=[category.pk]), {"post": "yes"}, follow=True
    ).content.decode()

    assert "Move its integrations to another category first." in html


def test_make_available_tells_which_row_is_not_ready(staff: Client, nobody_tells_of_orders: None):
    ready = make_integration("ready", status="in_review")
    not_ready = make_integration(
        "not-ready", status="in_review", capabilities={"order_status_outbound": 1}
    )

    html = act(staff, Integration, "make_available", ready, not_ready)

    assert "“not-ready”: Capabilities: No adapter speaks" in html
    ready.refresh_from_db()
    not_ready.refresh_from_db()
    assert (ready.status, not_ready.status) == ("available", "in_review")


@pytest.mark.parametrize(
    ("action", "status"), [("deprecate", "deprecated"), ("disable", "disabled")]
)
def test_status_actions_change_the_status(staff: Client, action: str, status: str):
    partner = make_integration()

    act(staff, Integration, action, partner)

    partner.refresh_from_db()
    assert partner.status == status


def test_capability_filter_finds_who_declares_it(staff: Client):
    make_integration("with-it", capabilities={"receipt_pretext": 1})
    make_integration("without-it")

    html = staff.get(address(Integration, "changelist"), {"capability": "receipt_pretext"}).content

    assert (b"with-it<" in html, b"without-it<" in html) == (True, False)


def test_old_secret_is_flagged(staff: Client):
    partner = make_integration()
    ensure_secrets(partner)
    IntegrationSecret.objects.filter(purpose="inbound").update(
        activated_at=timezone.now() - timedelta(days=91)
    )

    html = staff.get(address(Integration, "change", partner.pk)).content.decode()

    assert html.count("rotated 91 days ago: rotate it") == 1
    assert html.count("rotated less than a day ago") == 2


# Merchants, people, tokens


def merchant_form(merchant: Merchant, **over: Any) -> dict[str, Any]:
    form = {
        name: getattr(merchant, name)
        for name in ("name", "email", "phone", "city", "currency", "locale", "timezone", "logo_url")
    }
    counts = {
        f"{prefix}-{count}_FORMS": "0"
        for prefix in ("locations", "memberships")
        for count in ("TOTAL", "INITIAL")
    }
    return form | counts | over


def test_membership_is_limited_to_the_merchants_own_outlets(staff: Client):
    merchant, person = make_merchant(), make_user()
    own, other = make_location(merchant), make_location(make_merchant())
    form = {
        "memberships-TOTAL_FORMS": "1",
        "memberships-0-user": str(person.pk),
        "memberships-0-role": "manager",
    }

    def save(outlet: Location) -> int:
        data = merchant_form(merchant, **form) | {"memberships-0-locations": [str(outlet.pk)]}
        return staff.post(address(Merchant, "change", merchant.pk), data).status_code

    assert save(other) == 200
    assert save(own) == 302
    assert list(Membership.objects.get(user=person).locations.all()) == [own]


def test_outlet_with_installs_is_not_removed(staff: Client):
    merchant = make_merchant()
    outlet = make_location(merchant)
    make_install(merchant, make_integration(), outlet.pk)
    row = {
        "locations-TOTAL_FORMS": "1",
        "locations-INITIAL_FORMS": "1",
        "locations-0-id": str(outlet.pk),
        "locations-0-merchant": str(merchant.pk),
        "locations-0-DELETE": "on",
    }

    answer = staff.post(address(Merchant, "change", merchant.pk), merchant_form(merchant, **row))

    assert answer.status_code == 200
    assert Location.objects.filter(pk=outlet.pk).exists()


def test_merchant_with_installs_is_not_deleted(staff: Client):
    install = make_install(make_merchant(), make_integration())

    html = act(staff, Merchant, "delete_selected", install.merchant, post="yes")

    assert "can&#x27;t be deleted: 1 install" in html
    assert Merchant.objects.filter(pk=install.merchant_id).exists()


def test_person_is_added_with_a_hashed_password_and_a_small_email(staff: Client):
    staff.post(
        address(User, "add"),
        {
            "email": "Bima@Example.ID",
            "name": "Bima",
            "usable_password": "true",
            "password1": "nasi-goreng-41",
            "password2": "nasi-goreng-41",
        },
    )

    person = User.objects.get(email="bima@example.id")
    assert person.check_password("nasi-goreng-41")


def test_person_with_the_same_email_in_other_case_is_refused(staff: Client):
    make_user(email="bima@example.id")

    answer = staff.post(
        address(User, "add"),
        {"email": "BIMA@example.id", "usable_password": "false"},
    )

    assert "email" in answer.context["adminform"].form.errors


def test_staff_who_edit_people_can_not_promote_themselves(client: Client):
    clerk = make_user(is_staff=True)
    clerk.user_permissions.set(
        [item for item in all_permissions() if item.codename.endswith("_user")]
    )
    client.force_login(clerk, backend="django.contrib.auth.backends.ModelBackend")

    answer = client.post(
        address(User, "change", clerk.pk),
        {"email": clerk.email, "is_active": "on", "is_staff": "on", "is_superuser": "on"},
    )

    clerk.refresh_from_db()
    assert (answer.status_code, clerk.is_superuser) == (302, False)


def all_permissions() -> list[Any]:
    return list(Permission.objects.all())


def test_token_is_shown_once(staff: Client):
    merchant = make_merchant()
    form = {"name": "till 4", "merchant": str(merchant.pk), "role": "owner"}

    html = staff.post(address(ApiToken, "add"), form, follow=True).content.decode()

    shown = re.search(r"posz_[\w-]{40,}", html)
    assert shown is not None
    row = ApiToken.objects.get()
    assert row.digest == ApiToken.digest_of(shown[0])
    assert shown[0] not in staff.get(address(ApiToken, "change", row.pk)).content.decode()


def test_revoked_token_stays_with_its_time(staff: Client):
    make_token()
    row = ApiToken.objects.get()

    act(staff, ApiToken, "revoke", row)

    row.refresh_from_db()
    assert row.revoked_at is not None


def test_token_keeps_its_reach_when_it_is_renamed(staff: Client):
    make_token()
    row = ApiToken.objects.get()
    form = {"name": "till 5", "merchant": str(make_merchant().pk), "role": "viewer"}

    staff.post(address(ApiToken, "change", row.pk), form)

    row.refresh_from_db()
    assert (row.name, row.merchant, row.role) == ("till 5", None, "owner")


# Installs and ledgers


def test_disable_goes_through_the_lifecycle(staff: Client):
    install = make_install(make_merchant(), make_integration())

    act(staff, Install, "disable", install)

    install.refresh_from_db()
    last = AuditEntry.objects.latest_first()[0]
    assert (install.is_enabled, last.action, last.actor) == (
        False,
        "install.disabled",
        "staff:staff@posz.id",
    )


def test_enable_switches_on_again(staff: Client):
    install = make_install(make_merchant(), make_integration(), is_enabled=False)

    act(staff, Install, "enable", install)

    install.refresh_from_db()
    assert install.is_enabled


def test_uninstall_asks_first(staff: Client):
    install = make_install(make_merchant(), make_integration())

    html = act(staff, Install, "uninstall", install)

    assert "removed for good" in html
    assert Install.objects.filter(pk=install.pk).exists()


def test_uninstall_after_the_question_removes_the_install(staff: Client):
    install = make_install(make_merchant(), make_integration())

    act(staff, Install, "uninstall", install, post="yes")

    assert not Install.objects.exists()
    assert AuditEntry.objects.latest_first()[0].action == "install.removed"


def test_staff_who_may_only_look_can_not_switch_installs(client: Client):
    install = make_install(make_merchant(), make_integration())
    clerk = make_user(is_staff=True)
    clerk.user_permissions.set([p for p in all_permissions() if p.codename == "view_install"])
    client.force_login(clerk, backend="django.contrib.auth.backends.ModelBackend")

    act(client, Install, "disable", install)

    install.refresh_from_db()
    assert install.is_enabled


def test_settings_are_shown_as_set_or_not(staff: Client):
    install = make_world()

    html = staff.get(address(Install, "change", install.pk)).content.decode()

    assert "[encrypted]<ul><li>api_key: set</li></ul>" in html


@pytest.mark.parametrize("model", [AuditEntry, Install, InboundEvent, Event, Delivery])
def test_ledger_can_not_be_written_by_a_superuser(staff: Client, model: Any):
    make_world()
    row = model._default_manager.all()[0]

    answers = [
        staff.get(address(model, "add")),
        staff.post(address(model, "change", row.pk), {}),
        staff.post(address(model, "delete", row.pk), {"post": "yes"}),
    ]
    act(staff, model, "delete_selected", row, post="yes")

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert model._default_manager.filter(pk=row.pk).exists()


def test_audit_entry_shows_its_details(staff: Client):
    entry = audit.record("install.configured", actor="a", data={"keys": ["<greeting>"]})

    html = staff.get(address(AuditEntry, "change", entry.pk)).content.decode()

    assert "&lt;greeting&gt;" in html


def test_inbound_body_is_shown_as_text_and_without_what_looks_like_a_key(staff: Client):
    make_world()
    row = InboundEvent.objects.get()

    html = staff.get(address(InboundEvent, "change", row.pk)).content.decode()

    assert "&lt;b&gt;[redacted]" in html
    assert "x" * 100 not in html


def test_replay_makes_a_dead_delivery_due(staff: Client):
    make_world()
    delivery = Delivery.objects.get()

    act(staff, Delivery, "replay", delivery)

    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.PENDING
    assert LogEntry.objects.filter(object_id=str(delivery.pk)).exists()


def test_replay_of_an_uninstalled_integration_is_refused_in_words(staff: Client):
    install = make_world()
    Install.objects.filter(pk=install.pk).delete()

    html = act(staff, Delivery, "replay", Delivery.objects.get())

    assert "has not installed the integration" in html
