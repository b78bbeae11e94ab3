"""What a partner answered or sent, fit to be shown: without anything that looks like a key.

A partner may send back what it was sent, or its own secrets in an error page. What is taken for a key
by mistake costs nothing; what is overlooked is on a screen.
"""

import re

HIDDEN = "[redacted]"
SHOWN_CHARACTERS = 300
WORDS = r"(?:token|secret|passw|api[_-]?key|apikey|signature|cookie|credential)"
# Looked at once from its start and never again, so that no text takes long.
NAMES = rf"(?<![\w-])(?=[\w-]*?{WORDS})[\w-]++"
UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
RULES = (
    # Authorization: Bearer abc, and the same word anywhere else.
    (re.compile(r"\b(bearer|basic|digest)\s+[^\s\"',;<>]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # "api_key": "two words", 'secret': 'abc', token=abc&…, password: abc
    (
        re.compile(
            rf"({NAMES}[\"']?\s*+[:=]\s*+)(?:\"(?:\\.|[^\"\\])*\"?|'[^']*'?|[^\s\"',;&<>}}]+)",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    # The start of a JWT, or of any other JSON in base64.
    (re.compile(r"\beyJ[\w-]{5,}(?:\.[\w-]*)*"), HIDDEN),
    (re.compile(r"\b(?:sk|pk|rk|posz|ghp|gho|xox[abp]|whsec)[-_][\w+/=-]{6,}"), HIDDEN),
    # Long and without a blank: a key, unless it is an id.
    (re.compile(rf"(?!{UUID}(?![\w+/=-]))(?<![\w+/=-])[\w+/=-]{{28,}}", re.IGNORECASE), HIDDEN),
)


def redact(text: str) -> str:
    for pattern, instead in RULES:
        text = pattern.sub(instead, text)
    return text


def shown_header(name: str, value: str) -> str:
    """One that is about who sent it is hidden whole, whatever it looks like."""
    is_proof = re.search(f"{WORDS}|authorization", name, re.IGNORECASE)
    return HIDDEN if is_proof else redact(value)


def shown_answer(excerpt: str) -> str:
    """The start of an answer for a screen: redacted first, so that no half of a key is left over."""
    text = redact(excerpt)
    return f"{text[:SHOWN_CHARACTERS]}…" if len(text) > SHOWN_CHARACTERS else text
