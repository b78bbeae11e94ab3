"""The one settings file. Every value that differs between places comes from the environment.

With nothing set this is a development machine: DEBUG on, SQLite and generated keys under `var/`,
Celery on its in-memory broker, and only loopback host names are served. Production sets DEBUG=0,
and then every secret must be given.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
from celery.schedules import crontab
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from poszhub.devkeys import development_keys

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(os.environ.get("VAR_DIR", BASE_DIR / "var"))


def env_flag(name: str, *, default: bool) -> bool:
    return os.environ.get(name, "1" if default else "0").lower() in {"1", "true", "yes", "on"}


def env_list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in os.environ.get(name, default).split(",") if item.strip()]


def env_count(name: str, default: int, *, least: int = 1) -> int:
    number = int(os.environ.get(name, default))
    if number < least:
        raise ImproperlyConfigured(f"{name} must be at least {least}.")
    return number


def required(name: str) -> str:
    value = os.environ.get(name) or (development_keys(VAR_DIR).get(name) if DEBUG else None)
    if not value:
        raise ImproperlyConfigured(f"{name} must be set when DEBUG is off.")
    return value


def oidc_providers(issuer: str) -> dict[str, Any]:
    client_id, secret = os.environ.get("OIDC_CLIENT_ID", ""), os.environ.get("OIDC_CLIENT_SECRET")
    if not (issuer or client_id or secret):
        return {}
    if not (issuer and client_id and secret):
        raise ImproperlyConfigured(
            "OIDC_ISSUER, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET are set together or not at all."
        )
    app = {
        "provider_id": "sso",
        "name": os.environ.get("OIDC_NAME", "Single sign-on"),
        "client_id": client_id,
        "secret": secret,
        "settings": {"server_url": issuer},
    }
    return {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}


DEBUG = env_flag("DEBUG", default=True)
SECRET_KEY = required("SECRET_KEY")
# Newest key first: the first one encrypts, all of them decrypt.
FIELD_ENCRYPTION_KEY = [key for key in required("FIELD_ENCRYPTION_KEY").split(",") if key]

PORT = int(os.environ.get("PORT", "8000"))
SANDBOX_PORT = int(os.environ.get("SANDBOX_PORT", "8001"))
LOOPBACK_HOSTS = "localhost,127.0.0.1,[::1]"
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", LOOPBACK_HOSTS if DEBUG else "")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")
PUBLIC_URL = os.environ.get("PUBLIC_URL", f"http://127.0.0.1:{PORT}" if DEBUG else "")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "django_htmx",
    "csp",
    "encrypted_model_fields",
    "rest_framework",
    "drf_spectacular",
    "catalog",
    "installs",
    "dispatch",
    "webhooks",
    "poszhub",
]

MIDDLEWARE = [
    "poszhub.api_chain.ApiMiddleware",
    "poszhub.logs.RequestIdMiddleware",
    "poszhub.failures.KnownHostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "poszhub.language.LanguageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    # Sees exceptions after those below it, which turn some into redirects.
    "poszhub.failures.FailureMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "installs.tenancy.TenancyMiddleware",
]
# All that stands before a view under /v1.
API_MIDDLEWARE = [
    "poszhub.logs.RequestIdMiddleware",
    "poszhub.failures.KnownHostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "poszhub.language.LanguageMiddleware",
    "poszhub.api_chain.AnswerMiddleware",
]

CSRF_FAILURE_VIEW = "poszhub.failures.csrf_failure"
ROOT_URLCONF = "poszhub.urls"
WSGI_APPLICATION = "poszhub.wsgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "installs.tenancy.tenancy_context",
            ],
            "builtins": ["installs.templatetags.posz"],
        },
    }
]

DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(
        os.environ.get("DATABASE_URL") or f"sqlite:///{VAR_DIR / 'poszhub.sqlite3'}"
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Writers queue for the lock at BEGIN instead of failing half-way through a transaction.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = os.environ.get("REDIS_URL", "")
if REDIS_URL:
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": "posz",
        }
    }
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

CELERY_BROKER_URL = REDIS_URL or "memory://localhost/"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    # Whoever wakes a worker looks for a lost Redis once more and goes on: a tick does the rest.
    {"visibility_timeout": 300, "max_retries": 1, "interval_start": 0, "interval_step": 0}
    if REDIS_URL
    else {"polling_interval": 0.05}
)
CELERY_BEAT_SCHEDULE = {
    "tick": {"task": "poszhub.tasks.tick", "schedule": 15.0},
    "look-after-deliveries": {"task": "webhooks.tasks.look_after_deliveries", "schedule": 10.0},
    "run-recoveries": {"task": "webhooks.tasks.run_recoveries", "schedule": 15.0},
    "sweep-inbound": {"task": "webhooks.tasks.sweep_inbound", "schedule": 15.0},
    "unpark-inbound": {"task": "webhooks.tasks.unpark_inbound", "schedule": 15.0},
    "ask-for-schedules": {"task": "webhooks.tasks.ask_for_schedules", "schedule": 15.0},
    "prune-inbound": {"task": "webhooks.tasks.prune_inbound", "schedule": 3600.0},
    "provision-due": {"task": "dispatch.tasks.provision_due", "schedule": 15.0},
    "mail-attention": {"task": "webhooks.tasks.mail_attention", "schedule": 60.0},
    "close-expired-plans": {"task": "installs.tasks.close_expired_plans", "schedule": 600.0},
    "look-after-secrets": {
        "task": "installs.tasks.look_after_secrets",
        "schedule": crontab(hour="1", minute="17"),
    },
    "prune-partner-tokens": {"task": "installs.tasks.prune_partner_tokens", "schedule": 3600.0},
    "confirm-due": {"task": "webhooks.tasks.confirm_due", "schedule": 15.0},
    "prune-hints": {"task": "webhooks.tasks.prune_hints", "schedule": 3600.0},
    "sweep-payments": {"task": "dispatch.tasks.sweep_payments", "schedule": 15.0},
    "certify-due": {"task": "dispatch.tasks.certify_due", "schedule": 15.0},
    "refresh-due": {"task": "dispatch.tasks.refresh_due", "schedule": 15.0},
    "revoke-due": {"task": "dispatch.tasks.revoke_due", "schedule": 30.0},
    "prune-sign-in-trips": {"task": "installs.tasks.prune_sign_in_trips", "schedule": 3600.0},
    "prune-oauth-states": {"task": "installs.tasks.prune_oauth_states", "schedule": 3600.0},
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 4
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_ALWAYS_EAGER = False

AUTH_USER_MODEL = "installs.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
    "installs.sessions.SignInServiceBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/integrations"
ACCOUNT_ADAPTER = "installs.accounts.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "/accounts/login/"
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = {"sign_in_service": "60/m/ip"}
# Sign-in through one OpenID Connect provider beside passwords; all three, or none.
OIDC_ISSUER = os.environ.get("OIDC_ISSUER", "").rstrip("/")
SOCIALACCOUNT_ADAPTER = "poszhub.single_sign_on.SingleSignOnAdapter"
SOCIALACCOUNT_ONLY = False
# A link, not a form: a form's page could not redirect to an address that is only discovered later.
SOCIALACCOUNT_LOGIN_ON_GET = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_PROVIDERS = oidc_providers(OIDC_ISSUER)
MFA_ADAPTER = "installs.accounts.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
# Accounts are opened by Posz for known people, so nobody can register an address of somebody else.
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "Posz Hub"

EMAIL_BACKEND = os.environ.get(
    "EMAIL_BACKEND",
    "django.core.mail.backends.console.EmailBackend"
    if DEBUG
    else "django.core.mail.backends.smtp.EmailBackend",
)
EMAIL_HOST = os.environ.get("EMAIL_HOST", "localhost")
EMAIL_PORT = int(os.environ.get("EMAIL_PORT", "25"))
EMAIL_HOST_USER = os.environ.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env_flag("EMAIL_USE_TLS", default=False)
DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL", "Posz Hub <posz@uncle-z.com>")

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("id", _("Indonesian"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
if DEBUG:
    # Files are served from where they lie; WhiteNoise still wants its folder to be there.
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["installs.tokens.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["catalog.envelope.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "catalog.envelope.JSONOnly",
    "EXCEPTION_HANDLER": "catalog.envelope.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Posz Hub",
    "DESCRIPTION": "The integrations API of the Posz point of sale.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "poszhub.openapi.complete",
    ],
    # Names that must not change when another field gets the same name.
    "ENUM_NAME_OVERRIDES": {
        "ResultEnum": "webhooks.recovery.RESULTS",
        "InboundResultEnum": "webhooks.inbound_recovery.RESULTS",
        "InboundStatusEnum": "webhooks.models.InboundStatus",
        "PaymentStateEnum": "dispatch.payment_models.State",
        "RefundStateEnum": "dispatch.payment_models.RefundState",
        "PaymentSourceEnum": "dispatch.payment_models.Source",
    },
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
}

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = not DEBUG
SECURE_SSL_REDIRECT = env_flag("SECURE_SSL_REDIRECT", default=not DEBUG)
# Probes come from inside, past the proxy that speaks TLS, and take a redirect for a good answer.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
# Neighbouring subdomains and the browsers' preload list are for the owner of the domain to decide.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env_flag("HSTS_INCLUDE_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = env_flag("HSTS_PRELOAD", default=False)
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
if env_flag("BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# The only private addresses that outbound calls may reach: "host:port" pairs, empty in production.
OUTBOUND_ALLOW = env_list(
    "OUTBOUND_ALLOW",
    f"127.0.0.1:{SANDBOX_PORT},localhost:{SANDBOX_PORT}" if DEBUG else "",
)
OUTBOUND_HTTPS_ONLY = not DEBUG

DISPATCH_BREAKER_FAILURES = 3
DISPATCH_BREAKER_OPEN_FOR = timedelta(seconds=30)
DISPATCH_THREADS_PER_PARTNER = 32
PARTNER_TOKEN_SECONDS = env_count("PARTNER_TOKEN_SECONDS", 3_600)
INBOUND_RATE_PER_MINUTE = env_count("INBOUND_RATE_PER_MINUTE", 6_000)
# How many new events may come at once after a quiet time; 0 stands for those of a minute.
INBOUND_BURST = env_count("INBOUND_BURST", 0, least=0)
INBOUND_INTEGRATION_RATE_PER_MINUTE = env_count("INBOUND_INTEGRATION_RATE_PER_MINUTE", 60_000)
# How many webhooks that prove nothing an integration takes; those that prove their sender have the
# rates above.
HINTS_PER_MINUTE = env_count("HINTS_PER_MINUTE", 120)
# For how long the bodies of processed inbound events are kept, and at least their rows.
INBOUND_BODY_DAYS = env_count("INBOUND_BODY_DAYS", 90)
INBOUND_ROW_DAYS = env_count("INBOUND_ROW_DAYS", 400)
DELIVERY_TIMEOUT_SECONDS = float(os.environ.get("DELIVERY_TIMEOUT_SECONDS", "15"))

# What Prometheus shows as its bearer token; without one, metrics are served while DEBUG is on only.
METRICS_TOKEN = os.environ.get("METRICS_TOKEN", "").strip()

LOG_FORMAT = os.environ.get("LOG_FORMAT", "plain")
if LOG_FORMAT not in {"plain", "json"}:
    raise ImproperlyConfigured("LOG_FORMAT is plain or json.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"format": "{asctime} {levelname} {name} {message}", "style": "{"},
        "json": {"()": "poszhub.logs.JSONLine"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
    "loggers": {
        "celery": {"level": "WARNING"},
        # Not also by Django's own handlers, which know one format only.
        "django": {"handlers": []},
        # Refusals are answers, not incidents; unhandled errors are logged where they are caught.
        "django.request": {"level": "ERROR"},
    },
}
