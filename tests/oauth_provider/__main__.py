"""`python -m tests.oauth_provider PORT FOLDER REDIRECT_URI`."""

import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

port, folder, redirect_uri = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
settings.configure(
    SECRET_KEY="only-for-tests",
    DEBUG=False,
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="tests.oauth_provider.urls",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    MIDDLEWARE=["tests.oauth_provider.urls.EverybodyIsAnna"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": folder / "provider.sqlite3",
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        }
    },
    USE_TZ=True,
    LOGGING_CONFIG=None,
    OAUTH2_PROVIDER={
        "SCOPES": {
            "events:write": "Write events",
            "profile:read": "Read the profile",
            "openid": "Sign in",
            "email": "Read the address",
            "profile": "Read the name",
        },
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": "",
        "OAUTH2_VALIDATOR_CLASS": "tests.oauth_provider.openid.Validator",
        "ROTATE_REFRESH_TOKEN": True,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
        "PKCE_REQUIRED": True,
        "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
    },
)
django.setup()
call_command("migrate", verbosity=0)

from django.contrib.auth.models import User  # noqa: E402
from oauth2_provider.models import Application  # noqa: E402
from oauth2_provider.settings import oauth2_settings  # noqa: E402

from tests.oauth_provider import CLIENT_ID, CLIENT_SECRET  # noqa: E402
from tests.oauth_provider.tokens import new_pem  # noqa: E402

oauth2_settings.OIDC_RSA_PRIVATE_KEY = new_pem()

Application.objects.create(
    client_id=CLIENT_ID,
    client_secret=CLIENT_SECRET,
    client_type=Application.CLIENT_CONFIDENTIAL,
    authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
    redirect_uris=redirect_uri,
    algorithm=Application.RS256_ALGORITHM,
    hash_client_secret=False,
    skip_authorization=True,
    name="Posz",
)
User.objects.create_user("anna", first_name="Anna’s Deli")
call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)
