"""What a role may do: the one place that says so, for pages and API alike."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from django.utils.translation import gettext as _

from catalog.envelope import ApiError
from installs.models import Role


class Verb(StrEnum):
    VIEW = "view"
    INSTALL = "install"
    CONFIGURE = "configure"
    ENABLE = "enable"
    DISABLE = "disable"
    TEST = "test"
    REPLAY = "replay"
    ACKNOWLEDGE = "acknowledge"
    UNINSTALL = "uninstall"
    MANAGE_PEOPLE = "manage_people"


ALLOWED: dict[str, frozenset[Verb]] = {
    Role.OWNER: frozenset(Verb),
    Role.MANAGER: frozenset(Verb) - {Verb.UNINSTALL, Verb.MANAGE_PEOPLE},
    Role.VIEWER: frozenset({Verb.VIEW}),
}

CHANGES = frozenset({Verb.INSTALL, Verb.CONFIGURE, Verb.ENABLE, Verb.DISABLE})


def needed(verb: Verb, capabilities: Collection[str]) -> Verb:
    """What somebody must be allowed to do, to do this to an integration with these capabilities.

    Who decides how people sign in decides who is an owner, so a manager must not.
    """
    governs = verb in CHANGES and "auth_provider" in capabilities
    return Verb.MANAGE_PEOPLE if governs else verb


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts for a merchant. `locations` None means all of them."""

    merchant_id: UUID
    label: str
    role: str
    locations: frozenset[UUID] | None = None

    def may(self, verb: Verb, location_id: UUID | None = None) -> bool:
        if verb not in ALLOWED[self.role]:
            return False
        if verb is Verb.VIEW or self.locations is None:
            return True
        return location_id is not None and location_id in self.locations

    def require(self, verb: Verb, location_id: UUID | None = None) -> None:
        """Refuse with 403 `forbidden` where the role is too low or the outlet is not theirs."""
        if verb not in ALLOWED[self.role]:
            raise ApiError("forbidden", _("Your role does not allow this. Ask an owner."))
        if not self.may(verb, location_id):
            raise ApiError("forbidden", _("You may only change the outlets that are yours."))
