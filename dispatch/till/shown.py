"""What was sent and answered, fit for a screen: as JSON, without what looks like a key."""

import json
import re
from typing import Any

HIDDEN = "••••••"
KEYS = re.compile(
    r"(?:^|_)(?:token|secret|passw\w*|api_?key|server_key|credentials?|signature|authorization)$",
    re.IGNORECASE,
)
TOKENS = re.compile(r"\beyJ[\w-]{5,}(?:\.[\w-]*)*|\bbearer\s+\S+|\bwhsec_\S+", re.IGNORECASE)


def as_text(document: Any) -> str:
    return json.dumps(_hidden(document), indent=2, ensure_ascii=False, default=str)


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: HIDDEN if KEYS.search(name) and item else _hidden(item)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_hidden(item) for item in value]
    return TOKENS.sub(HIDDEN, value) if isinstance(value, str) else value
