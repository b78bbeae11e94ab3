"""QR codes as SVG. Drawing one costs milliseconds, so it is done only when asked for, and kept."""

from functools import lru_cache
from typing import Any

import segno


@lru_cache(maxsize=2048)
def svg_of(payload: str) -> str:
    """An inline SVG, four modules of quiet zone around, error correction M."""
    return str(segno.make(payload, error="m", micro=False).svg_inline(scale=4, border=4))


def draw(answer: dict[str, Any]) -> None:
    """Add `qr_svg` beside every `qr_payload` of a dispatch answer."""
    for result in answer["results"]:
        output = result["output"]
        if output.get("qr_payload"):
            output = _drawn(output)
        if output.get("codes"):
            output = {**output, "codes": [_drawn(code) for code in output["codes"]]}
        result["output"] = output


def _drawn(code: dict[str, Any]) -> dict[str, Any]:
    return {**code, "qr_svg": svg_of(code["qr_payload"])}
