"""Template filters that every page may use without loading them."""

from django import template

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
