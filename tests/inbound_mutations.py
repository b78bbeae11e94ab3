"""Ways to spoil a signed request. Each result differs from the sample in something that is signed."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from catalog.inbound_parts import SignedRequest
from dispatch.inbound_verifier import decoded_key, rsa_key
from tests.inbound_samples import Sample, b64, make_jwt, url64

Change = dict[str, Any]
HEX = re.compile(r"(?P<prefix>|sha256=|t=[0-9]+,v1=)(?P<digits>[0-9a-f]{64,})")
URL_PARTS = {"url", "full-url"}
HOSTILE = ["", " ", "\x00", "é", "\uff0c", "�", ",", "=", "v1,", "sha256=", "A" * 9_000, "Bearer "]


def one_byte(value: bytes, position: int, mask: int) -> bytes:
    return value[:position] + bytes([value[position] ^ mask]) + value[position + 1 :]


def body_positions(sample: Sample) -> list[int]:
    """Every byte where the whole body is signed, else those of the signed texts."""
    body = sample.request.body
    if sample.scheme.covers_body:
        return list(range(len(body)))
    found = [(body.index(text), len(text)) for text in sample.proven]
    return [start + offset for start, length in found for offset in range(length)]


def header_positions(sample: Sample) -> list[tuple[int, int]]:
    return [
        (number, place)
        for number, (_name, value) in enumerate(sample.request.headers)
        for place in range(len(value))
        if place >= len(sample.unproven) or not value.startswith(sample.unproven)
    ]


def with_header(request: SignedRequest, number: int, value: str) -> Change:
    headers = list(request.headers)
    headers[number] = (headers[number][0], value)
    return {"headers": headers}


def is_equal_text(before: str, after: str) -> bool:
    """Hex may be written in either case, and so may the first letter of Basic and Bearer."""
    if match := HEX.fullmatch(before):
        digits = after.removeprefix(match["prefix"])
        return after.startswith(match["prefix"]) and digits.lower() == match["digits"]
    return before.startswith("B") and after == f"b{before[1:]}"


def one_byte_changes(sample: Sample, masks: list[int]) -> Iterator[Change]:
    request = sample.request
    for place in body_positions(sample):
        bodies = [one_byte(request.body, place, mask) for mask in masks]
        yield from ({"body": body} for body in bodies if not _is_same_body(request.body, body))
    for number, place in header_positions(sample):
        before = request.headers[number][1]
        for mask in masks:
            after = one_byte(before.encode("latin-1"), place, mask).decode("latin-1")
            if not is_equal_text(before, after):
                yield with_header(request, number, after)
    for place in range(len(sample.key)):
        for mask in masks:
            key = one_byte(sample.key, place, mask)
            if is_other_key(sample, key):
                yield {"key": key}


def is_other_key(sample: Sample, key: bytes) -> bool:
    encoding = sample.scheme.key_encoding
    if sample.scheme.kind == "issued":
        return False
    if sample.scheme.kind == "rsa":
        before, after = rsa_key(sample.key), rsa_key(key)
        return after is None or before is None or after.public_numbers() != before.public_numbers()
    return decoded_key(key, encoding) != decoded_key(sample.key, encoding)


def forgery(sample: Sample, others: list[Sample], chance: random.Random) -> Change | None:
    """One random forgery; None where the draw does not differ in anything that is signed."""
    change = chance.choice(FORGERIES)(sample, others, chance)
    return change if change is not None and _differs(sample, change) else None


def _differs(sample: Sample, change: Change) -> bool:
    if "body" in change:
        return sample.scheme.covers_body and not _is_same_body(sample.request.body, change["body"])
    return True


def _is_same_body(before: bytes, after: bytes) -> bool:
    """Spellings that mean the same: white space between tokens of JSON, %2b for %2B in a form."""
    if before.startswith(b"To="):
        return before.lower() == after.lower() and parse_qsl(before) == parse_qsl(after)
    try:
        return before == after or bool(json.loads(before) == json.loads(after))
    except ValueError:
        return False


def _body_byte(sample: Sample, _others: list[Sample], chance: random.Random) -> Change | None:
    places = body_positions(sample)
    if not places:
        return None
    return {"body": one_byte(sample.request.body, chance.choice(places), chance.randrange(1, 256))}


def _body_cut(sample: Sample, _others: list[Sample], chance: random.Random) -> Change:
    return {"body": sample.request.body[: chance.randrange(len(sample.request.body) or 1)]}


def _body_grown(sample: Sample, _others: list[Sample], chance: random.Random) -> Change:
    body, place = sample.request.body, chance.randrange(len(sample.request.body) + 1)
    return {"body": body[:place] + chance.randbytes(chance.randrange(1, 9)) + body[place:]}


def _other_amount(sample: Sample, _others: list[Sample], chance: random.Random) -> Change | None:
    body = sample.request.body.replace(b"1", str(chance.randrange(2, 9)).encode())
    return {"body": body} if body != sample.request.body else None


def _header_byte(sample: Sample, _others: list[Sample], chance: random.Random) -> Change | None:
    if not (places := header_positions(sample)):
        return None
    number, place = chance.choice(places)
    before = sample.request.headers[number][1]
    after = one_byte(before.encode("latin-1"), place, chance.randrange(1, 256)).decode("latin-1")
    return None if is_equal_text(before, after) else with_header(sample.request, number, after)


def _header_hostile(sample: Sample, _others: list[Sample], chance: random.Random) -> Change | None:
    """In a list anything may stand beside a signature that is right, so there it is broken up."""
    headers, signature = sample.request.headers, sample.scheme.signature
    if not headers:
        return None
    number, text = chance.randrange(len(headers)), chance.choice(HOSTILE)
    before = headers[number][1]
    around = [f"{before}{text}x", f"{text}x{before}"]
    if signature is not None and signature.separator:
        around = [f"{before[:-4]}{text}x{before[-4:]}"]
    return with_header(sample.request, number, chance.choice([text, *around]))


def _header_lost(sample: Sample, _others: list[Sample], chance: random.Random) -> Change | None:
    headers = list(sample.request.headers)
    if not headers:
        return None
    headers.pop(chance.randrange(len(headers)))
    return {"headers": headers}


def _header_twice(sample: Sample, _others: list[Sample], chance: random.Random) -> Change | None:
    headers = list(sample.request.headers)
    if not headers:
        return None
    name, value = chance.choice(headers)
    return {"headers": [*headers, (name, chance.choice([value, "", "junk"]))]}


def _signature_of_other(
    sample: Sample, others: list[Sample], chance: random.Random
) -> Change | None:
    other, headers = chance.choice(others), sample.request.headers
    if not headers or not other.request.headers or other.name == sample.name:
        return None
    number, text = chance.randrange(len(headers)), chance.choice(other.request.headers)[1]
    return None if text == headers[number][1] else with_header(sample.request, number, text)


def _random_digest(sample: Sample, _others: list[Sample], chance: random.Random) -> Change | None:
    headers = sample.request.headers
    if not headers:
        return None
    digest = chance.randbytes(chance.choice([0, 20, 32, 64, 256]))
    text = chance.choice([digest.hex(), b64(digest), url64(digest)])
    prefix = chance.choice(
        ["", "sha256=", "v1,", "HMACSHA256=", f"t={int(sample.request.now)},v1="]
    )
    return with_header(sample.request, chance.randrange(len(headers)), prefix + text)


def _wrong_key(sample: Sample, others: list[Sample], chance: random.Random) -> Change | None:
    key = chance.choice([b"", b"\x00", chance.randbytes(32), chance.choice(others).key])
    return {"key": key} if is_other_key(sample, key) else None


def _other_time(sample: Sample, _others: list[Sample], chance: random.Random) -> Change | None:
    fresh = sample.scheme.freshness
    limit = fresh.tolerance_seconds if fresh else 100 if sample.scheme.kind == "jwt" else None
    if limit is None:
        return None
    away = limit + chance.choice([1, 5, 3_600, 10**9])
    return {"now": sample.request.now + chance.choice([-1, 1]) * away}


def _other_url(sample: Sample, _others: list[Sample], chance: random.Random) -> Change | None:
    sources = {part.source for part in sample.scheme.signed}
    if not sources & URL_PARTS:
        return None
    return {"url": chance.choice(["https://evil.example/x", "", sample.request.url.upper()])}


def _unsigned_jwt(sample: Sample, _others: list[Sample], chance: random.Random) -> Change | None:
    if sample.scheme.kind != "jwt":
        return None
    token = sample.request.headers[0][1]
    head, claims, signature = token.split(".")
    none = url64(json.dumps({"alg": chance.choice(["none", "None", "RS256", "HS1"])}).encode())
    endless = make_jwt({"iss": "MessageBird", "exp": 10**12}, key="guess")
    choices = [f"{none}.{claims}.", f"{none}.{claims}.{signature}", f"{head}.{claims}.", endless]
    return with_header(sample.request, 0, chance.choice(choices))


FORGERIES = [
    *[_body_byte, _body_cut, _body_grown, _other_amount],
    *[_header_byte, _header_hostile, _header_lost, _header_twice],
    *[_signature_of_other, _random_digest, _wrong_key, _other_time, _other_url, _unsigned_jwt],
]


def attempt(sample: Sample, change: Change) -> Any:
    key = change.pop("key", sample.key)
    return replace(sample, request=sample.request._replace(**change), key=key).verdict()
