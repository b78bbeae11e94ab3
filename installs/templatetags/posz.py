"""Template filters that every page may use without loading them."""

import re
import zlib

from django import template
from django.utils.functional import Promise
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _

register = template.Library()


@register.filter
def rupiah(cents: int | None) -> str:
    """Hundredths of a rupiah as `Rp50.000`: no space, dots between thousands, no decimals.

    https://www.indonesiabaik.id/infografis/cara-penulisan-rupiah-yang-benar
    """
    if cents is None:
        return ""
    whole = (abs(cents) + 50) // 100
    sign = "-" if cents < 0 and whole else ""
    return f"{sign}Rp{whole:,}".replace(",", ".")


COUNTRIES: dict[str, Promise] = {
    "au": _("Australia"),
    "de": _("Germany"),
    "gb": _("United Kingdom"),
    "hk": _("Hong Kong"),
    "id": _("Indonesia"),
    "ie": _("Ireland"),
    "in": _("India"),
    "jp": _("Japan"),
    "kr": _("South Korea"),
    "my": _("Malaysia"),
    "nl": _("Netherlands"),
    "sg": _("Singapore"),
    "th": _("Thailand"),
    "us": _("United States"),
}
TILE_COLOURS = 6


@register.filter
def country(code: str) -> str:
    """The name of a country that data is kept in; the code itself where we have no name for it."""
    return str(COUNTRIES.get(code, code.upper()))


@register.filter
def tile_colour(slug: str) -> int:
    """One of the stylesheet's tile colours, always the same one for the same integration."""
    return zlib.crc32(slug.encode()) % TILE_COLOURS


CODE = re.compile(r"`([^`]+)`")


@register.filter
def code_marks(text: object) -> SafeString:
    """What stands between back quotes is code; everything is escaped first."""
    return mark_safe(CODE.sub(r"<code>\1</code>", escape(text)))  # noqa: S308
