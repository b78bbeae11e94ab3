import json
import os
import subprocess
import sys
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from poszhub.devkeys import development_keys

SECRETS = {
    "SECRET_KEY": "s" * 60,
    "FIELD_ENCRYPTION_KEY": "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=",
}


def check(tmp_path, **env):
    where = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"],
        env=where | {"VAR_DIR": str(tmp_path)} | env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("missing", list(SECRETS))
def test_production_does_not_start_without_a_secret(tmp_path, missing):
    given = {name: value for name, value in SECRETS.items() if name != missing}

    result = check(tmp_path, DEBUG="0", **given)

    assert result.returncode != 0
    assert f"{missing} must be set" in result.stderr


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"OUTBOUND_ALLOW": "10.0.0.1:80"}, "poszhub.E001"),
        ({"PUBLIC_URL": "http://hub.example"}, "poszhub.E002"),
    ],
)
def test_deploy_check_refuses(tmp_path, env, problem):
    result = check(
        tmp_path,
        **{"DEBUG": "0", "ALLOWED_HOSTS": "hub.example", "PUBLIC_URL": "https://hub.example"}
        | SECRETS
        | env,
    )

    assert result.returncode != 0
    assert problem in result.stderr


def test_development_keys_are_made_once(tmp_path):
    assert development_keys(tmp_path) == development_keys(tmp_path)
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0


@pytest.fixture
def in_tmp(settings, tmp_path):
    settings.VAR_DIR, settings.DEBUG = tmp_path, True
    return tmp_path


@pytest.mark.django_db
def test_seed_demo_prints_the_same_world_twice(in_tmp):
    first, second = StringIO(), StringIO()

    call_command("seed_demo", "--json", stdout=first)
    call_command("seed_demo", "--json", stdout=second)

    world = json.loads(first.getvalue())
    assert world == json.loads(second.getvalue())
    assert set(world) == {
        "merchants",
        "users",
        "pos_token",
        "merchant_tokens",
        "integrations",
    }
    maple = next(item for item in world["merchants"] if item["name"] == "Maple & Oat")
    assert [place["name"] for place in maple["locations"]] == ["Senopati", "Ubud", "Bandung"]
    assert set(world["integrations"]["spliteasy"]) == {
        "inbound_secret",
        "outbound_secret",
        "jwt_secret",
    }


@pytest.mark.django_db
def test_seed_demo_refuses_production_unless_forced(in_tmp, settings):
    settings.DEBUG = False

    with pytest.raises(CommandError):
        call_command("seed_demo")
    call_command("seed_demo", "--force", stdout=StringIO())
