"""How it is written down what a partner is told when something happens."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from dispatch.orders import field_error
from installs.fields import DecryptError
from installs.models import Install
from installs.snapshot import Snapshot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Happening:
    """An event as it is accepted: its number and its time are given out, and nothing is sent yet."""

    id: UUID
    type: str
    occurred_at: datetime
    location_id: UUID | None
    data: Mapping[str, Any]
    known: Snapshot

    def object(self, name: str) -> Mapping[str, Any] | None:
        """An object in `data`, None where it is left out. Refused where it is something else."""
        value = self.data.get(name)
        if value is not None and not isinstance(value, dict):
            raise field_error(f"data.{name}", _("An object is needed."))
        return value

    def time(self, name: str) -> datetime | None:
        value = self.data.get(name)
        if value is None:
            return None
        moment = parse_time(value)
        if moment is None:
            raise field_error(f"data.{name}", _("A time with its zone is needed."))
        return moment


@dataclass(frozen=True, slots=True)
class Part:
    """What the partner of one capability is told.

    `data` is the request of the operation, still to be checked; without an operation it is the
    event's own. `places` tells where in the event the fields of a request came from, both written as
    in “.customers[0]”. After `useful_until` nobody needs it any more.
    """

    data: Mapping[str, Any]
    operation: str | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    useful_until: datetime | None = None


def settings_of(install: Install) -> Mapping[str, Any]:
    """What the merchant has set. What can't be read lets nothing out, and stops no other partner."""
    try:
        config = install.config
    except DecryptError:
        logger.exception("The settings of install %s can't be read", install.pk)
        return {}
    return config if isinstance(config, dict) else {}


def parse_time(value: object) -> datetime | None:
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def some(**values: Any) -> dict[str, Any]:
    """Without what is not known."""
    return {name: value for name, value in values.items() if value is not None}
