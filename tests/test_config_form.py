"""Settings as a merchant fills them in: secrets that stay, are replaced or removed, and where each
setting belongs."""

from typing import Any

import pytest
from django.test import Client
from django.utils.translation import override

from catalog.envelope import ApiError
from catalog.schema import ConfigError, check_place, validate_config
from dispatch.operations import contract_of
from installs import lifecycle
from installs.models import Install
from tests.factories import make_integration, make_location, make_merchant, make_user, owner_of

pytestmark = pytest.mark.django_db

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["account", "table_code", "mode"],
    "properties": {
        "mode": {
            "type": "string",
            "enum": ["test", "live"],
            "default": "test",
            "x-order": 1,
            "title": "Mode",
            "x-title-id": "Mode pakai",
            "x-help-en": "Start with test.",
            "x-help-id": "Mulai dengan uji.",
        },
        "account": {
            "type": "string",
            "x-scope": "merchant",
            "x-order": 2,
            "title": "Account",
            "x-placeholder-en": "acc-…",
            "x-placeholder-id": "akun-…",
        },
        "table_code": {"type": "string", "x-scope": "location", "x-order": 3},
        "is_loud": {"type": "boolean", "x-scope": "location", "x-order": 4},
        "share": {"type": "number", "minimum": 0, "maximum": 1, "x-order": 5},
        "guests": {"type": "integer", "minimum": 1, "x-order": 6},
        "days": {"type": "array", "items": {"enum": ["Friday", "Sunday"]}, "x-order": 7},
        "live_key": {
            "type": "string",
            "x-secret": True,
            "x-visible-when": {"mode": "live"},
            "x-order": 8,
        },
        "pin": {"type": "string", "x-secret": True, "x-order": 9},
    },
}
PIN = "pin-1234567890-9F2A"


@pytest.fixture
def merchant():
    return make_merchant()


@pytest.fixture
def ubud(merchant):
    return make_location(merchant, name="Ubud")


@pytest.fixture
def partner():
    return make_integration("partner", config_schema=SCHEMA)


@pytest.fixture
def owner(merchant):
    client = Client()
    client.force_login(make_user(merchant))
    return client


@pytest.fixture
def everywhere(merchant, partner):
    config = {"account": "acc-1", "pin": PIN, "guests": 4}
    return lifecycle.install(owner_of(merchant), partner, config=config)


def configure(owner: Client, row: Install, **posted: Any) -> Any:
    data = {f"config-{name}": value for name, value in posted.items()}
    return owner.post(f"/integrations/partner/installs/{row.pk}/configure", data, follow=True)


def refused_fields(call: Any) -> dict[str, list[str]]:
    with override("en"), pytest.raises(ApiError) as refusal:
        call()
    assert refusal.value.code == "config_invalid"
    fields: dict[str, list[str]] = refusal.value.extra["fields"]
    return fields


# Where a setting belongs


def test_setting_of_one_outlet_is_refused_for_all(merchant, partner):
    config = {"account": "acc-1", "table_code": "T"}

    fields = refused_fields(lambda: lifecycle.install(owner_of(merchant), partner, config=config))

    assert fields == {"table_code": ["This is set outlet by outlet, in an install for one outlet."]}


def test_setting_for_all_is_refused_at_one_outlet(merchant, partner, ubud):
    config = {"account": "acc-1", "table_code": "T"}

    fields = refused_fields(
        lambda: lifecycle.install(owner_of(merchant), partner, location_id=ubud.pk, config=config)
    )

    assert fields == {
        "account": ["This is set once for all outlets, in the install for all outlets."]
    }


def test_required_setting_is_required_only_where_it_belongs(merchant, partner, ubud, everywhere):
    row = lifecycle.install(
        owner_of(merchant), partner, location_id=ubud.pk, config={"table_code": "T"}
    )

    assert everywhere.config == {"account": "acc-1", "pin": PIN, "guests": 4, "mode": "test"}
    assert row.config == {"table_code": "T", "mode": "test"}


def test_setting_is_refused_when_configured_at_the_wrong_place(merchant, everywhere):
    fields = refused_fields(
        lambda: lifecycle.configure(owner_of(merchant), everywhere.pk, {"table_code": "T"})
    )

    assert list(fields) == ["table_code"]


def test_misplaced_setting_that_a_row_already_has_can_be_kept_and_removed(merchant, everywhere):
    everywhere.config = {**everywhere.config, "table_code": "old"}
    everywhere.save(update_fields=["config"])

    lifecycle.configure(owner_of(merchant), everywhere.pk, {"guests": 5})
    everywhere.refresh_from_db()
    kept = everywhere.config.get("table_code")
    lifecycle.configure(owner_of(merchant), everywhere.pk, {"table_code": None})
    everywhere.refresh_from_db()

    assert (kept, "table_code" in everywhere.config) == ("old", False)


def test_setting_that_the_schema_lost_stops_nobody_from_saving(merchant, everywhere):
    everywhere.config = {**everywhere.config, "of_old": "x"}
    everywhere.save(update_fields=["config"])

    lifecycle.configure(owner_of(merchant), everywhere.pk, {"guests": 5})

    everywhere.refresh_from_db()
    assert "of_old" not in everywhere.config


def test_default_is_given_only_where_it_belongs():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "default": "x", "x-scope": "merchant"}},
    }

    found = [validate_config(schema, {}, place) for place in ("merchant", "location", None)]

    assert found == [{"a": "x"}, {}, {"a": "x"}]


def test_place_is_checked_without_repeating_the_value():
    with pytest.raises(ConfigError) as refusal:
        check_place(SCHEMA, {"table_code": "hunter2"}, "merchant")

    assert "hunter2" not in str(refusal.value.fields)


def test_install_form_says_where_a_setting_belongs(owner, partner, ubud):
    shown = owner.get("/integrations/partner").content.decode()

    assert "This is set once for all outlets" in shown
    assert "This is set outlet by outlet" in shown


def test_install_form_ignores_an_empty_setting_of_the_other_place(owner, partner, ubud):
    form = {"location": str(ubud.pk), "config-table_code": "T", "config-account": ""}

    sent = form | {"config-mode": "test"}
    owner.post("/integrations/partner/install", sent, headers={"HX-Request": "true"})

    assert Install.objects.get().config["table_code"] == "T"


def test_install_form_names_a_filled_in_setting_of_the_other_place(owner, partner, ubud):
    form = {"location": str(ubud.pk), "config-table_code": "T", "config-account": "acc-1"}

    response = owner.post("/integrations/partner/install", form | {"config-mode": "test"})

    errors = {item.field.name: item.errors for item in response.context["inputs"] if item.errors}
    assert (response.status_code, list(errors)) == (422, ["account"])


def test_settings_form_has_only_what_belongs_there(owner, everywhere):
    response = owner.get("/integrations/partner")

    (block,) = response.context["blocks"]
    names = [item.field.name for item in block.inputs]
    assert names == ["mode", "account", "share", "guests", "days", "live_key", "pin"]


# Secrets


def test_secret_reads_as_set_with_its_end_and_day(owner, everywhere):
    shown = owner.get("/integrations/partner").content.decode()

    assert "Set, ends 9F2A, changed" in shown
    assert PIN not in shown


def test_secret_left_empty_is_kept(owner, everywhere):
    configure(owner, everywhere, mode="test", account="acc-1", pin="")

    assert Install.objects.get().config["pin"] == PIN


def test_secret_is_replaced(owner, everywhere):
    configure(owner, everywhere, mode="test", account="acc-1", pin="another-pin")

    assert Install.objects.get().config["pin"] == "another-pin"


def test_secret_is_removed_by_its_box(owner, everywhere):
    configure(owner, everywhere, mode="test", account="acc-1", **{"pin-remove": "true"})

    assert "pin" not in Install.objects.get().config


def test_secret_that_is_replaced_and_removed_is_replaced(owner, everywhere):
    both = {"pin": "another-pin", "pin-remove": "true"}

    configure(owner, everywhere, mode="test", account="acc-1", **both)

    assert Install.objects.get().config["pin"] == "another-pin"


def test_secret_is_typed_unseen_and_not_remembered(owner, partner, merchant):
    shown = owner.get("/integrations/partner").content.decode()

    field = next(line for line in shown.splitlines() if 'name="config-pin"' in line)
    assert 'type="password"' in field
    assert 'autocomplete="off"' in field


def test_required_secret_can_be_replaced_but_not_removed(owner, merchant):
    schema = {
        "type": "object",
        "required": ["key"],
        "properties": {"key": {"type": "string", "x-secret": True}},
    }
    integration = make_integration("partner", config_schema=schema)
    row = lifecycle.install(owner_of(merchant), integration, config={"key": "k"})

    shown = owner.get("/integrations/partner").content.decode()
    response = configure(owner, row, **{"key-remove": "true"})

    assert 'name="config-key"' in shown
    assert 'name="config-key-remove"' not in shown
    assert response.status_code == 422
    assert Install.objects.get().config == {"key": "k"}


# Errors, languages, answers that hide


def test_error_stands_at_its_field_and_keeps_what_was_typed(owner, everywhere):
    response = configure(
        owner, everywhere, mode="live", account="acc-2", guests="none", share="7", pin="typed-pin"
    )

    (block,) = response.context["blocks"]
    errors = {item.field.name for item in block.inputs if item.errors}
    values = {item.field.name: item.value for item in block.inputs}
    shown = response.content.decode()
    assert errors == {"guests", "share"}
    assert (values["mode"], values["account"], values["guests"]) == ("live", "acc-2", "none")
    assert "typed-pin" not in shown
    assert PIN not in shown


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "9" * 5000])
def test_number_that_json_has_not_is_refused_at_its_field(owner, everywhere, text):
    response = configure(owner, everywhere, mode="test", account="acc-2", share=text)

    (block,) = response.context["blocks"]
    assert response.status_code == 422
    assert [item.field.name for item in block.inputs if item.errors] == ["share"]


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("en", ("Mode", "Start with test.", "acc-…")),
        ("id", ("Mode pakai", "Mulai dengan uji.", "akun-…")),
    ],
)
def test_texts_of_fields_come_in_both_languages(owner, partner, language, texts):
    shown = owner.get("/integrations/partner", headers={"Accept-Language": language})

    assert [text for text in texts if text not in shown.content.decode()] == []


def test_field_that_the_answers_hide_is_ignored_without_script(owner, everywhere):
    configure(owner, everywhere, mode="test", account="acc-1", live_key="hidden-key")
    hidden = Install.objects.get().config
    configure(owner, everywhere, mode="live", account="acc-1", live_key="shown-key")
    shown = Install.objects.get().config

    assert "live_key" not in hidden
    assert shown["live_key"] == "shown-key"


def test_every_kind_of_answer_is_read_as_its_type(owner, merchant, partner, ubud):
    form = {
        "location": str(ubud.pk),
        "config-mode": "live",
        "config-table_code": "T",
        "config-is_loud": "true",
        "config-share": "0.5",
        "config-guests": "3",
        "config-days": ["Friday", "Sunday"],
    }

    owner.post("/integrations/partner/install", form, headers={"HX-Request": "true"})

    assert Install.objects.get().config == {
        "mode": "live",
        "table_code": "T",
        "is_loud": True,
        "share": 0.5,
        "guests": 3,
        "days": ["Friday", "Sunday"],
    }


# What choices are called


@pytest.mark.parametrize(("lang", "words"), [("en", "Phone number"), ("id", "Nomor telepon")])
def test_choices_are_shown_in_words_and_stored_by_name(merchant, owner, lang, words):
    fields = contract_of("customer_export", 1).config_schema()["properties"]["fields"]
    crm = make_integration(
        "crm", config_schema={"type": "object", "properties": {"fields": fields}}
    )
    row = lifecycle.install(owner_of(merchant), crm)
    data = {"config-fields": "phone_e164"}
    owner.post(f"/integrations/crm/installs/{row.pk}/configure", data)

    html = owner.get(f"/integrations/crm?lang={lang}").content.decode()

    assert f'value="phone_e164" checked><span>{words}</span>' in html
    assert "<span>phone_e164</span>" not in html
    row.refresh_from_db()
    assert row.config == {"fields": ["phone_e164"]}
