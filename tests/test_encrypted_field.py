import copy
import json
import pickle
import uuid
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.exceptions import FieldError
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.writer import MigrationWriter
from django.db.models import F, TextField, Value
from django.db.models.functions import Concat
from django.forms import modelform_factory
from rest_framework.serializers import ModelSerializer

from catalog.models import Category, Integration
from installs.fields import DecryptError, EncryptedJSONField, Sealed, rewrap
from installs.models import IntegrationSecret

pytestmark = pytest.mark.django_db

CANARY = "canary-5f2c81"


def make_integration(slug="acme"):
    category, _ = Category.objects.get_or_create(slug="payments_test")
    return Integration.objects.create(slug=slug, category=category)


def make_secret(value=CANARY, **fields):
    if "integration" not in fields:
        fields["integration"] = make_integration(f"acme-{uuid.uuid4().hex[:8]}")
    return IntegrationSecret.objects.create(
        **{"purpose": "jwt", "state": "current", "value": value} | fields
    )


def read(secret):
    return IntegrationSecret.objects.get(pk=secret.pk).value


def stored_token(secret):
    return IntegrationSecret.objects.values_list("value", flat=True).get(pk=secret.pk).token


def plant(secret, text):
    IntegrationSecret.objects.filter(pk=secret.pk).update(value=Sealed(text))


def fernet_token(text):
    return Fernet(settings.FIELD_ENCRYPTION_KEY[0]).encrypt(text.encode()).decode()


@pytest.mark.parametrize(
    "value",
    [{"a": [1, 2.5, None, True], "é": "日本"}, {}, [], "", "text", 0, 5, False, "\ud83d", "\x00"],
    ids=repr,
)
def test_value_comes_back_equal(value):
    assert read(make_secret(value)) == value


def test_none_is_stored_as_null():
    secret = IntegrationSecret(value=None)

    assert secret._meta.get_field("value").pre_save(secret, True) is None


def test_column_holds_a_token_and_no_plaintext():
    secret = make_secret({"api_key": CANARY})

    with connection.cursor() as cursor:
        cursor.execute("SELECT value FROM integration_secret")
        (token,) = cursor.fetchone()

    envelope = json.loads(Fernet(settings.FIELD_ENCRYPTION_KEY[0]).decrypt(token))
    assert envelope == {
        "field": "installs.integrationsecret.value",
        "row": str(secret.pk),
        "value": {"api_key": CANARY},
    }


def test_changed_dict_is_saved_by_update_fields():
    secret = IntegrationSecret.objects.get(pk=make_secret({"a": 1}).pk)

    secret.value["b"] = 2
    secret.save(update_fields=["value"])

    assert read(secret) == {"a": 1, "b": 2}


def test_bulk_create_seals_each_row_for_itself():
    integration = make_integration()

    rows = IntegrationSecret.objects.bulk_create(
        IntegrationSecret(integration=integration, purpose=purpose, state="next", value=purpose)
        for purpose in ("jwt", "inbound")
    )

    assert [read(row) for row in rows] == ["jwt", "inbound"]


def test_deferred_value_loads_on_access():
    secret = IntegrationSecret.objects.defer("value").get(pk=make_secret().pk)

    assert secret.value == CANARY


def test_refresh_brings_the_stored_value():
    secret = make_secret()
    secret.value = "other"

    secret.refresh_from_db()

    assert secret.value == CANARY


def test_assigned_value_is_used_as_it_is():
    token = stored_token(make_secret())

    assert IntegrationSecret(value=token).value == token


# Failing closed


def test_wrong_key_is_refused_without_the_data(settings):
    secret = make_secret()
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]

    with pytest.raises(DecryptError) as caught:
        read(secret)

    message = "installs.integrationsecret.value: no configured key opens this value."
    assert str(caught.value) == message


def test_row_with_wrong_key_is_never_written_back(settings):
    secret = make_secret()
    token = stored_token(secret)
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]

    with pytest.raises(DecryptError), transaction.atomic():
        IntegrationSecret.objects.get(pk=secret.pk).save()

    assert stored_token(secret) == token


def test_unread_row_with_wrong_key_still_lists(settings):
    secret = make_secret()
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]

    assert IntegrationSecret.objects.get(pk=secret.pk).state == "current"


def test_token_of_another_row_is_refused():
    victim, thief = make_secret(), make_secret("own")
    plant(thief, stored_token(victim))

    with pytest.raises(DecryptError, match="another field or row"):
        read(thief)


def test_unopened_value_moved_to_another_row_is_refused():
    victim, thief = make_secret(), make_secret("own")
    unopened = IntegrationSecret.objects.get(pk=victim.pk)

    thief.value = unopened.__dict__["value"]

    with pytest.raises(DecryptError, match="another field or row"):
        thief.save(update_fields=["value"])


def test_token_of_another_field_is_refused():
    secret = make_secret()
    envelope = {"field": "installs.install.config", "row": str(secret.pk), "value": CANARY}
    plant(secret, fernet_token(json.dumps(envelope)))

    with pytest.raises(DecryptError, match="another field or row"):
        read(secret)


@pytest.mark.parametrize("text", ["", "planted", '{"value": 1}', "gAAAAAé"])
def test_planted_plaintext_is_refused(text):
    secret = make_secret()
    plant(secret, text)

    with pytest.raises(DecryptError):
        read(secret)


@pytest.mark.parametrize("text", ["planted", "5", "[]", "{}", '{"field": 1, "row": 2}'])
def test_token_without_our_envelope_is_refused(text):
    secret = make_secret()
    plant(secret, fernet_token(text))

    with pytest.raises(DecryptError, match="was not written here"):
        read(secret)


def test_row_without_primary_key_is_not_saved():
    secret = IntegrationSecret(id=None, value=CANARY)

    with pytest.raises(FieldError, match="primary key"):
        secret._meta.get_field("value").pre_save(secret, True)


# Doors that are closed


@pytest.mark.parametrize(
    "value",
    [
        CANARY,
        {"a": 1},
        F("purpose"),
        F("value"),
        Value("x"),
        Concat("purpose", "state", output_field=TextField()),
    ],
    ids=repr,
)
def test_update_is_refused(value):
    secret = make_secret()

    with (
        pytest.raises(FieldError, match=r"save\(update_fields=\['value'\]\)"),
        transaction.atomic(),
    ):
        IntegrationSecret.objects.filter(pk=secret.pk).update(value=value)

    assert read(secret) == CANARY


def test_bulk_update_is_refused():
    secret = make_secret()
    secret.value = "other"

    with (
        pytest.raises(FieldError, match=r"save\(update_fields=\['value'\]\)"),
        transaction.atomic(),
    ):
        IntegrationSecret.objects.bulk_update([secret], ["value"])

    assert read(secret) == CANARY


def test_expression_in_save_is_refused():
    secret = make_secret()
    secret.value = F("purpose")

    with pytest.raises(FieldError, match="no expressions"):
        secret.save(update_fields=["value"])


@pytest.mark.parametrize(
    "lookup", ["value", "value__contains", "value__in", "value__startswith", "value__lower__gt"]
)
def test_lookup_is_refused(lookup):
    with pytest.raises(FieldError):
        IntegrationSecret.objects.filter(**{lookup: [CANARY]}).exists()


def test_isnull_lookup_works():
    make_secret()

    assert IntegrationSecret.objects.filter(value__isnull=False).count() == 1


# Places where plaintext must not appear


def test_values_stay_sealed():
    make_secret()

    rows = list(IntegrationSecret.objects.values("value"))

    assert repr(rows) == "[{'value': [encrypted]}]"


@pytest.mark.parametrize("value", [{"key": CANARY}, CANARY, 424242])
def test_dumpdata_does_not_leak(value):
    make_secret(value)
    out = StringIO()

    call_command("dumpdata", "installs.IntegrationSecret", stdout=out)

    assert [row["fields"]["value"] for row in json.loads(out.getvalue())] == ["[encrypted]"]


def test_model_serializer_of_all_fields_does_not_leak():
    class AllFields(ModelSerializer[IntegrationSecret]):
        class Meta:
            model = IntegrationSecret
            fields = "__all__"

    assert AllFields(make_secret()).data["value"] == "[encrypted]"


def test_model_form_has_no_such_field():
    form = modelform_factory(IntegrationSecret, fields="__all__")

    assert "value" not in form.base_fields


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda row: pickle.loads(pickle.dumps(row))],  # noqa: S301
)
def test_copy_of_an_unopened_row_stays_sealed_and_opens(duplicate):
    secret = IntegrationSecret.objects.get(pk=make_secret().pk)

    twin = duplicate(secret)

    assert (repr(twin.__dict__["value"]), twin.value) == ("[encrypted]", CANARY)


def test_pickle_of_an_unopened_row_holds_no_plaintext():
    secret = IntegrationSecret.objects.get(pk=make_secret().pk)

    assert CANARY.encode() not in pickle.dumps(secret)


# Keys


def test_old_key_still_reads_and_new_key_writes(settings):
    old, new = settings.FIELD_ENCRYPTION_KEY[0], Fernet.generate_key().decode()
    before = make_secret("before")
    settings.FIELD_ENCRYPTION_KEY = [new, old]
    after = make_secret("after")

    settings.FIELD_ENCRYPTION_KEY = [new]

    assert read(after) == "after"
    with pytest.raises(DecryptError):
        read(before)


def test_rewrap_moves_a_token_to_the_newest_key(settings):
    old, new = settings.FIELD_ENCRYPTION_KEY[0], Fernet.generate_key().decode()
    secret = make_secret()
    settings.FIELD_ENCRYPTION_KEY = [new, old]

    rewrapped = rewrap(Sealed(stored_token(secret)))

    assert rewrapped is not None
    plant(secret, rewrapped.token)

    settings.FIELD_ENCRYPTION_KEY = [new]
    assert read(secret) == CANARY


def test_rewrap_leaves_a_token_of_the_newest_key():
    assert rewrap(Sealed(stored_token(make_secret()))) is None


@pytest.mark.parametrize("text", ["planted", "é"])
def test_rewrap_refuses_what_no_key_opens(text):
    with pytest.raises(DecryptError, match="No configured key"):
        rewrap(Sealed(text))


def test_migration_names_our_class_and_nothing_more():
    text, imports = MigrationWriter.serialize(EncryptedJSONField("settings"))

    assert (text, imports) == (
        "installs.fields.EncryptedJSONField(verbose_name='settings')",
        {"import installs.fields"},
    )
