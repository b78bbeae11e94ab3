from django import template

from dispatch.certification import report

register = template.Library()


@register.simple_tag
def spoken(words: dict[str, str] | None) -> str:
    """The text of a report in the reader's language."""
    return report.spoken(words)


@register.simple_tag
def verdict(value: str) -> str:
    return report.Verdict(value).label
