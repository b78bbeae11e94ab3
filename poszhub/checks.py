"""What must be right before a machine serves merchants; `manage.py check --deploy` says it."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

from installs.encryption import require_right_keys


@register(deploy=True)
def outbound_calls_reach_public_addresses_only(**_kwargs: Any) -> list[CheckMessage]:
    if not settings.OUTBOUND_ALLOW:
        return []
    return [
        Error(
            "OUTBOUND_ALLOW lets outbound calls reach private addresses.",
            hint="It is for development and tests. Leave it empty.",
            id="poszhub.E001",
        )
    ]


@register(deploy=True)
def public_address_is_known(**_kwargs: Any) -> list[CheckMessage]:
    if settings.PUBLIC_URL.startswith("https://"):
        return []
    return [
        Error(
            "PUBLIC_URL is not an https address.",
            hint="Set it to the address that merchants and partners use.",
            id="poszhub.E002",
        )
    ]


@register(deploy=True)
def queue_is_shared(**_kwargs: Any) -> list[CheckMessage]:
    if settings.REDIS_URL or settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        return []
    return [
        checks.Warning(
            "REDIS_URL is not set, so workers are woken only by the tick and limits are per process.",
            hint="Set it to redis://host:6379/0.",
            id="poszhub.W001",
        )
    ]


# Only where a database is asked about, as `migrate` and `check --database default` do.
@register(Tags.database)
def encryption_keys_open_the_database(
    databases: Sequence[str] | None = None, **_kwargs: Any
) -> list[CheckMessage]:
    if not databases:
        return []
    try:
        require_right_keys()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="poszhub.E003")]
    return []
