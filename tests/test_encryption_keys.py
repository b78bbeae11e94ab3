"""The keys of the whole database: the canary, and moving everything to a new key."""

import json
import os
import random
import re
import subprocess
import sys
import threading
from io import StringIO
from urllib.parse import quote

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from dispatch.models import Certification
from installs import encryption
from installs.fields import DecryptError, EncryptedJSONField, crypter
from installs.models import (
    EncryptionCanary,
    InstallPlan,
    IntegrationSecret,
    OAuthGrant,
    OAuthState,
    SignInTrip,
)
from tests import stack
from tests.conftest import ON_POSTGRES
from tests.factories import keys_of, make_install, make_integration, make_merchant, make_user

pytestmark = pytest.mark.django_db
ROWS = 20_000 if ON_POSTGRES else 2_000


@pytest.fixture
def keys(settings):
    """A new key, and the old one that everything so far is under."""
    return Fernet.generate_key().decode(), settings.FIELD_ENCRYPTION_KEY[0]


def make_plans(count, **over):
    merchant = over.get("merchant") or make_merchant()
    integration = over.get("integration") or make_integration()
    expires_at = "2030-01-01T00:00:00Z"
    return InstallPlan.objects.bulk_create(
        InstallPlan(
            merchant=merchant,
            integration=integration,
            payload={"config": {"number": number}},
            expires_at=expires_at,
        )
        for number in range(count)
    )


def make_everything():
    """A row in every encrypted column."""
    encryption.require_right_keys()
    partner = make_integration()
    keys_of(partner)
    install = make_install(make_merchant(), partner)
    install.config = {"api_key": "canary"}
    install.save(update_fields=["config"])
    make_plans(1, merchant=install.merchant, integration=partner)
    person = make_user()
    TOTP.activate(person, "JBSWY3DPEHPK3PXP")
    RecoveryCodes.activate(person)
    Authenticator.objects.create(user=person, type="webauthn", data={"name": "x"})
    of_partner = {"merchant": install.merchant, "integration": partner}
    OAuthGrant.objects.create(tokens={"access_token": "canary"}, **of_partner)
    OAuthState.objects.create(
        digest="d", user=person, payload={}, expires_at=timezone.now(), **of_partner
    )
    SignInTrip.objects.create(
        digest="d", install=install, payload={"nonce": "canary"}, expires_at=timezone.now()
    )
    Certification.objects.create(integration=partner, settings={"api_key": "canary"})


def reencrypt(*args):
    out = StringIO()
    call_command("reencrypt", "--json", *args, stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


def values_of_everything():
    rows = [
        str(getattr(row, column.name))
        for column in encryption.columns()
        if column.model is not Authenticator
        for row in column.rows()
    ]
    codes = [
        item.wrap().get_unused_codes()
        for item in Authenticator.objects.filter(type="recovery_codes")
    ]
    secrets = [
        crypter().decrypt(item.data["secret"]) for item in Authenticator.objects.filter(type="totp")
    ]
    return rows, codes, secrets


# Every column


def test_no_encrypted_column_is_forgotten():
    declared = {
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.get_fields()
        if isinstance(field, EncryptedJSONField)
    }

    found = [column.label for column in encryption.columns()]

    assert set(found) == declared | {"mfa.Authenticator.data"}
    assert {"installs.Install.config", "installs.IntegrationSecret.value"} <= set(found)
    assert found[-1] == "installs.EncryptionCanary.value"


def test_everything_moves_to_the_newest_key_and_the_old_one_can_go(settings, keys):
    make_everything()
    before = values_of_everything()
    settings.FIELD_ENCRYPTION_KEY = list(keys)

    moved = reencrypt("--batch", "2")

    assert moved["total"] == {"rows": 13, "reencrypted": 12, "old": 0, "unreadable": 0}
    settings.FIELD_ENCRYPTION_KEY = list(keys[:1])
    assert values_of_everything() == before
    encryption.require_right_keys()


def test_every_column_has_a_row_in_the_test_above():
    make_everything()

    assert [column.label for column in encryption.columns() if not column.rows().exists()] == []


def test_second_run_finds_nothing_to_do(settings, keys):
    make_everything()
    settings.FIELD_ENCRYPTION_KEY = list(keys)
    reencrypt()

    assert reencrypt()["total"]["reencrypted"] == 0


def test_dry_run_counts_and_changes_nothing(settings, keys):
    make_everything()
    settings.FIELD_ENCRYPTION_KEY = list(keys)

    first, second = reencrypt("--dry-run"), reencrypt("--dry-run")

    assert first == second
    assert first["total"]["old"] == 12


def test_check_fails_while_anything_is_under_an_older_key(settings, keys):
    make_everything()
    assert reencrypt("--check")["total"]["old"] == 0
    settings.FIELD_ENCRYPTION_KEY = list(keys)

    with pytest.raises(CommandError, match="under an older key"):
        reencrypt("--check")
    reencrypt()

    assert reencrypt("--check")["total"]["old"] == 0


def test_value_that_no_key_opens_is_counted_and_left(settings, keys):
    make_everything()
    lost = IntegrationSecret.objects.first()
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    lost.value = "written with a key that is gone"
    lost.save(update_fields=["value"])
    settings.FIELD_ENCRYPTION_KEY = list(keys)

    with pytest.raises(CommandError, match="No configured key"):
        reencrypt()

    settings.FIELD_ENCRYPTION_KEY = list(keys[:1])
    with pytest.raises(DecryptError):
        _ = EncryptionCanary.objects.get().value


def test_output_for_people_shows_progress_and_a_sum(settings, keys):
    make_everything()
    settings.FIELD_ENCRYPTION_KEY = list(keys)
    out, progress = StringIO(), StringIO()

    call_command("reencrypt", stdout=out, stderr=progress)

    assert out.getvalue() == "In all: 13 read, 12 re-encrypted, 0 under an older key.\n"
    assert "installs.Install.config: 1 read, 1 re-encrypted" in progress.getvalue()


# The canary


def test_first_start_writes_the_canary_once():
    encryption.require_right_keys()
    encryption.require_right_keys()

    assert EncryptionCanary.objects.count() == 1


def test_wrong_key_stops_the_start_with_a_sentence(settings):
    encryption.require_right_keys()
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]

    with pytest.raises(ImproperlyConfigured, match="does not open what is stored"):
        encryption.require_right_keys()


def test_wrong_key_writes_no_canary_beside_values_of_another_key(settings):
    keys_of(make_integration())
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]

    with pytest.raises(ImproperlyConfigured):
        encryption.require_right_keys()

    assert not EncryptionCanary.objects.exists()


def test_old_key_behind_a_new_one_starts(settings, keys):
    encryption.require_right_keys()
    settings.FIELD_ENCRYPTION_KEY = list(keys)

    encryption.require_right_keys()


def test_old_key_removed_too_early_stops_the_start(settings, keys):
    make_everything()
    settings.FIELD_ENCRYPTION_KEY = list(keys[:1])

    with pytest.raises(ImproperlyConfigured):
        encryption.require_right_keys()


def test_check_of_the_database_tells_of_a_wrong_key(settings):
    encryption.require_right_keys()
    assert [item.id for item in run_checks(tags=["database"], databases=["default"])] == []
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]

    found = run_checks(tags=["database"], databases=["default"])

    assert [item.id for item in found] == ["poszhub.E003"]


WSGI = [sys.executable, "-c", "import poszhub.wsgi"]
WORKER = [sys.executable, "-m", "celery", "-A", "poszhub", "worker", "--pool", "solo"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The environment of a hub whose database has a canary."""
    folder = tmp_path_factory.mktemp("prepared")
    env = stack.hub_env(folder) | {"REDIS_URL": ""}
    stack.manage(env, "migrate", "--verbosity", "0")
    assert run(WSGI, env).returncode == 0
    return env


def run(command, env):
    return subprocess.run(
        command,
        cwd=stack.BASE_DIR,
        env=env,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        WSGI,
        WORKER,
        [sys.executable, "manage.py", "migrate"],
        [sys.executable, "manage.py", "rotate_secret", "spliteasy", "inbound"],
        [sys.executable, "manage.py", "run_stack"],
    ],
    ids=["web", "worker", "migrate", "rotate_secret", "run_stack"],
)
def test_process_with_a_wrong_key_does_not_start(prepared, command):
    done = run(command, prepared | {"FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode()})

    assert done.returncode != 0
    assert "FIELD_ENCRYPTION_KEY does not open" in done.stderr


@pytest.mark.parametrize(
    "command", [["migrate"], ["makemigrations", "--check", "--dry-run"], ["check"]]
)
def test_empty_database_needs_no_canary(tmp_path, command):
    env = stack.hub_env(tmp_path) | {"REDIS_URL": ""}

    done = run([sys.executable, "manage.py", *command], env)

    assert (done.returncode, "could not be checked" in done.stderr) == (0, False)


# While traffic flows


def database_url():
    where = connection.settings_dict
    if not ON_POSTGRES:
        return f"sqlite:///{where['NAME']}"
    options = where.get("OPTIONS") or {}
    host = quote(str(where["HOST"] or options.get("host", "")), safe="")
    return (
        f"postgres://{quote(where['USER'])}:{quote(where['PASSWORD'])}@{host}"
        f":{where['PORT']}/{where['NAME']}"
    )


class Traffic:
    """Reads rows all the time and changes some; keeps what could not be opened and what it wrote."""

    def __init__(self, pks):
        self.pks, self.reads, self.unreadable, self.written = pks, 0, [], {}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_error):
        self.stopping.set()
        self.thread.join()

    def run(self):
        try:
            while not self.stopping.wait(0.002):
                self.reads += 1
                self.read_and_sometimes_write(random.choice(self.pks))
        finally:
            connections.close_all()

    def read_and_sometimes_write(self, pk):
        try:
            row = InstallPlan.objects.get(pk=pk)
            assert "config" in row.payload
            if self.reads % 20 == 0:
                row.payload = self.written[pk] = {"config": {"number": f"changed {self.reads}"}}
                row.save(update_fields=["payload"])
        except Exception as error:  # noqa: BLE001
            self.unreadable.append(f"{pk}: {error}")


def killed_after(command, env, rows):
    """Kill the command, by SIGKILL, once it has reported so many re-encrypted rows."""
    with subprocess.Popen(
        command, cwd=stack.BASE_DIR, env=env, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr:
            done = re.search(r"InstallPlan\.payload: .* (\d+) re-encrypted", line)
            if done and int(done[1]) >= rows:
                process.kill()
                return process.wait()
        return process.wait()


@pytest.mark.timeout(300)
@pytest.mark.django_db(transaction=True)
def test_reencryption_survives_kills_while_others_read_and_write(settings, keys):
    plans = make_plans(ROWS)
    encryption.require_right_keys()
    settings.FIELD_ENCRYPTION_KEY = list(keys)
    env = os.environ | {"DATABASE_URL": database_url(), "FIELD_ENCRYPTION_KEY": ",".join(keys)}
    command = [sys.executable, "manage.py", "reencrypt", "--batch", "100"]
    expected = {plan.pk: plan.payload for plan in plans}

    with Traffic(list(expected)) as traffic:
        exits = [killed_after(command, env, ROWS // 4) for _ in range(2)]
        done = run([*command, "--json"], env)

    assert exits == [-9, -9]
    assert done.returncode == 0, done.stderr
    moved = json.loads(done.stdout)["columns"]["installs.InstallPlan.payload"]
    assert moved["rows"] == ROWS
    assert 0 < moved["reencrypted"] <= ROWS // 2
    assert (traffic.unreadable, len(traffic.written) > 0) == ([], True)
    settings.FIELD_ENCRYPTION_KEY = list(keys[:1])
    stored = {plan.pk: plan.payload for plan in InstallPlan.objects.all()}
    assert stored == expected | traffic.written
    encryption.require_right_keys()
