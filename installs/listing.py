"""What a merchant finds under Integrations: search, categories, and what is installed where."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.utils import translation

from catalog.capabilities import CAPABILITIES, Mode
from catalog.models import Category, Integration, IntegrationQuerySet, IntegrationStatus
from installs.event_notes import EventNotes, event_notes
from installs.models import Connection, Install


@dataclass(frozen=True, slots=True)
class Row:
    """An integration with the merchant's installs of it, and how their events are doing."""

    integration: Integration
    installs: tuple[Install, ...]
    notes: EventNotes

    @property
    def state(self) -> str:
        """`attention`, `connecting`, `disabled`, `installed`, or nothing: the worst one counts."""
        if not self.installs:
            return ""
        if any(self._needs_attention(row) for row in self.installs):
            return "attention"
        if any(row.connection == Connection.CONNECTING for row in self.installs):
            return "connecting"
        return "installed" if any(row.is_enabled for row in self.installs) else "disabled"

    def _needs_attention(self, row: Install) -> bool:
        if row.connection == Connection.FAILED or row.outbound_off_at:
            return True
        return row.is_enabled and self.notes.has_problem(row.pk)

    @property
    def needs_reconnect(self) -> bool:
        return any(row.waits_for_person for row in self.installs)

    @property
    def is_exclusive(self) -> bool:
        return Mode.REPLACE in self.integration.modes()

    @property
    def cap(self) -> int | None:
        """How many integrations may answer beside each other at one outlet, None for any number."""
        caps = [item.cap for item in self.integration.declared() if item.cap]
        return min(caps, default=None)


@dataclass(frozen=True, slots=True)
class Facet:
    category: Category
    count: int
    is_current: bool


@dataclass(frozen=True, slots=True)
class Listing:
    rows: list[Row]
    facets: list[Facet]
    total: int
    installed: int


def visible_to(merchant_id: UUID) -> IntegrationQuerySet:
    """What is offered to everybody, and what this merchant has whatever became of it since."""
    own = Install.objects.for_merchant(merchant_id).values("integration_id")
    return Integration.objects.with_category().filter(
        Q(status=IntegrationStatus.AVAILABLE) | Q(pk__in=own)
    )


def find(
    merchant_id: UUID, *, query: str = "", category: str = "", only_installed: bool = False
) -> Listing:
    """What needs attention first, then what is installed, then names that fit, then by name."""
    words = query.casefold().split()
    rows = [row for row in _rows(merchant_id) if all(word in _text(row) for word in words)]
    wanted = [row for row in rows if row.installs or not only_installed]
    shown = [row for row in wanted if not category or row.integration.category_id == category]
    return Listing(
        rows=sorted(shown, key=lambda row: _rank(row, words)),
        facets=_facets(wanted, category),
        total=len(wanted),
        installed=sum(bool(row.installs) for row in rows),
    )


def _rows(merchant_id: UUID) -> list[Row]:
    installs = defaultdict(list)
    for install in Install.objects.for_merchant(merchant_id).with_names().in_order():
        installs[install.integration_id].append(install)
    notes = event_notes(merchant_id)
    return [Row(item, tuple(installs[item.pk]), notes) for item in visible_to(merchant_id)]


def _rank(row: Row, words: list[str]) -> tuple[bool, bool, bool, bool, str]:
    name = f"{row.integration.name_en} {row.integration.name_id}".casefold()
    return (
        row.state != "attention",
        not row.installs,
        not any(word in name for word in words),
        row.integration.is_demo,
        row.integration.name.casefold(),
    )


def _facets(rows: list[Row], current: str) -> list[Facet]:
    counts = Counter(row.integration.category_id for row in rows)
    categories = {row.integration.category_id: row.integration.category for row in rows}
    ordered = sorted(categories.values(), key=lambda item: (item.position, item.slug))
    return [Facet(item, counts[item.slug], item.slug == current) for item in ordered]


def _text(row: Row) -> str:
    """Everything a person may search for, in every language whichever is shown."""
    item, category = row.integration, row.integration.category
    return "\n".join(
        (
            *(item.slug, item.name_en, item.name_id, item.tagline_en, item.tagline_id),
            *(category.name_en, category.name_id),
            *(category.description_en, category.description_id),
            *(_capability_text(name) for name in item.capabilities),
        )
    ).casefold()


@lru_cache
def _capability_text(name: str) -> str:
    capability = CAPABILITIES.get(name)
    texts = [name, name.replace("_", " ")]
    for code, _label in settings.LANGUAGES if capability else ():
        with translation.override(code):
            texts.append(str(capability.surface))  # type: ignore[union-attr]
    return " ".join(texts)
