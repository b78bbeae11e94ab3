"""Requests that break naive servers and handlers, each with what it must be answered.

An answer is a code of the envelope, or, where no application is asked, the statuses that the server
may give by itself; 0 is a connection that is closed without a word.
"""

import codecs
import gzip
import hashlib
import hmac
import json
import random
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.wire import WEBHOOK, Partner, make_event, request

BY_THE_SERVER = frozenset[str | int]({0, 400, 413, 414, 431})
LIMIT = 256 * 1024
BRACKETS = 100_000
POST = f"POST {WEBHOOK} HTTP/1.1".encode()
OTHER_METHODS = ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BOGUS")
NOBODY = "00000000-0000-4000-8000-000000000000"
API_PATHS = (
    "capabilities",
    "integrations",
    "integrations/spliteasy",
    "integrations/spliteasy/webhook",
    "integrations/spliteasy/events",
    "installs",
    "installs/preview",
    "installs/swap",
    f"installs/{NOBODY}",
    f"installs/{NOBODY}/enable",
    f"installs/{NOBODY}/test",
    "dispatch/receipt_qr",
    "event-types",
    "event-types/order.paid",
    "events",
    "deliveries",
    "deliveries/recover",
    f"deliveries/recover/{NOBODY}",
    "deliveries/replay",
    f"deliveries/{NOBODY}/replay",
    "openapi.yaml",
    "",
    "nothing",
)


@dataclass(frozen=True)
class Trap:
    """`answers` are codes and, for what the server refuses by itself, statuses."""

    name: str
    chunks: Sequence[bytes]
    answers: frozenset[str | int]
    pause_seconds: float = 0
    # Whoever sends less than it promised must say that it is done.
    is_cut_off: bool = False


def traps(partner: Partner, merchant_id: str, token: str) -> list[Trap]:
    found = [
        *signature_traps(partner, merchant_id),
        *signed_body_traps(partner, merchant_id),
        *framing_traps(partner, merchant_id),
        *request_line_traps(),
        *header_traps(),
        *method_traps(token),
        *api_body_traps(token, merchant_id),
        *slow_traps(partner, merchant_id),
    ]
    assert len({trap.name for trap in found}) == len(found)
    return found


def one(name: str, raw: bytes, *answers: str | int, **over: Any) -> Trap:
    return Trap(name, [raw], frozenset(answers), **over)


def sized(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


def signature_traps(partner: Partner, merchant_id: str) -> Iterator[Trap]:
    body = make_event("trap", merchant_id)
    right = partner.hex_of(body).encode()
    empty_key = hmac.new(b"", body, hashlib.sha256).hexdigest().encode()
    values = {
        "signature by an empty key": [b"X-Spliteasy-Signature: " + empty_key],
        "two signature headers": [partner.signature(body)] * 2,
        "two signatures in one header": [b"X-Spliteasy-Signature: " + right + b", " + right],
        "signature under a name with underscores": [b"X_Spliteasy_Signature: " + right],
        "signature that is not ASCII": [b"X-Spliteasy-Signature: " + "é".encode() * 32],
        "signature that is not UTF-8": [b"X-Spliteasy-Signature: " + b"\xff" * 64],
        "signature in full-width digits": [b"X-Spliteasy-Signature: " + "\uff10".encode() * 64],
        "signature of 7,000 digits": [b"X-Spliteasy-Signature: " + b"0" * 7000],
        "empty signature": [b"X-Spliteasy-Signature:"],
        "no signature": [],
    }
    for name, headers in values.items():
        yield one(name, request([*headers, sized(body)], body), "invalid_signature")


def strange_documents(merchant_id: str) -> dict[str, bytes]:
    """Bodies that no JSON door may take, or that break what comes after it."""
    event = make_event("trap", merchant_id)
    as_text = event.decode()

    def with_data(value: str) -> bytes:
        return event.replace(b'"amount": 1', b'"amount": ' + value.encode())

    return {
        "1e999": with_data("1e999"),
        "-1e999": with_data("-1e999"),
        "NaN": with_data("NaN"),
        "Infinity": with_data("-Infinity"),
        "integer of 5,000 digits": with_data("9" * 5000),
        "NUL escape": with_data('"\\u0000"'),
        "NUL escape in a key": event.replace(b"amount", b"a\\u0000"),
        "raw NUL": with_data('"\x00"'),
        "lone surrogate": with_data('"\\ud800"'),
        "lone low surrogate in a key": event.replace(b"amount", b"\\udc00"),
        "surrogate in UTF-8": event.replace(b'"t"', b'"\xed\xa0\x80"'),
        "invalid UTF-8": event.replace(b'"t"', b'"\xff\xfe"'),
        "nested lists": b"[" * BRACKETS,
        "nested lists, closed": b"[" * BRACKETS + b"]" * BRACKETS,
        "nested objects": b'{"a":' * (BRACKETS // 3),
        "nested in an event": with_data("[" * 1000 + "]" * 1000),
        "brackets in an open string": b'{"a": "' + b"[" * BRACKETS,
        "list": b"[" + event + b"]",
        "text": b'"text"',
        "number": b"17",
        "null": b"null",
        "byte order mark": codecs.BOM_UTF8 + event,
        "UTF-16": as_text.encode("utf-16"),
        "UTF-16 without a mark": as_text.encode("utf-16-le"),
        "UTF-32": as_text.encode("utf-32"),
        "key twice": event.replace(b'"amount"', b'"bill_token"'),
        "no body": b"",
        "white space": b" \r\n\t",
        "half a document": event[:-10],
        "something after the document": event + b"{}",
        "single quotes": event.replace(b'"', b"'"),
        "comment": b"/* */" + event,
        "gzip": gzip.compress(event, mtime=0),
    }


def strange_events(merchant_id: str) -> dict[str, bytes]:
    """JSON that is right, and no event of ours."""
    event = json.loads(make_event("trap", merchant_id))
    random_id = "".join(random.Random(1).choices(string.ascii_letters, k=3000))
    over: dict[str, dict[str, Any]] = {
        "event id left out": {"event_id": ...},
        "empty event id": {"event_id": ""},
        "event id that is a number": {"event_id": 7},
        "event id that is a list": {"event_id": ["trap"]},
        "event id of 256 characters": {"event_id": "x" * 256},
        "event id of 3,000 random characters": {"event_id": random_id},
        "type left out": {"type": ...},
        "type that is an object": {"type": {}},
        "type of 10,000 characters": {"type": "x" * 10_000},
        "merchant that is no UUID": {"merchant_id": "1' OR '1'='1"},
        "merchant that is a list": {"merchant_id": [merchant_id]},
        "merchant left out": {"merchant_id": ...},
        "outlet that is no UUID": {"location_id": "here"},
        "time that is none": {"occurred_at": "yesterday"},
        "time that is a number": {"occurred_at": 1e308},
        "time before the first": {"occurred_at": "0001-01-01T00:00:00+23:59"},
        "time after the last": {"occurred_at": "9999-12-31T23:59:59-23:59"},
        "time that no zone may move": {"occurred_at": "9999-12-31T23:59:59Z"},
        "data that is a list": {"data": []},
    }
    return {
        name: json.dumps(
            {key: value for key, value in (event | item).items() if value is not ...}
        ).encode()
        for name, item in over.items()
    }


def signed_body_traps(partner: Partner, merchant_id: str) -> Iterator[Trap]:
    for name, body in strange_documents(merchant_id).items():
        yield one(f"signed: {name}", partner.post(body), "invalid_payload")
    for name, body in strange_events(merchant_id).items():
        yield one(f"signed: {name}", partner.post(body), "invalid_payload")
    encoded = partner.post(gzip.compress(b"{}", mtime=0), b"Content-Encoding: gzip")
    yield one("signed: Content-Encoding: gzip", encoded, "invalid_payload")
    unknown = partner.post(make_event("trap", NOBODY))
    yield one("signed: unknown merchant", unknown, "not_found")
    many = b"{%s}" % b",".join(b'"k%d":1' % number for number in range(20_000))
    yield one("signed: 20,000 keys", partner.post(many), "invalid_payload")
    yield one("signed: past 256 KiB", partner.post(b" " * (LIMIT + 1)), "payload_too_large")
    yield one("signed: past 2.5 MB", partner.post(b" " * 2_700_000), "payload_too_large", 0)


def framing_traps(partner: Partner, merchant_id: str) -> Iterator[Trap]:
    """What stands in the headers about the body is not true, or not one thing."""
    body = make_event("trap", NOBODY)
    signed = partner.signature(body)
    chunked = b"Transfer-Encoding: chunked"
    whole = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    halves = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    lengths = {
        "too short": [b"Content-Length: 10"],
        "negative": [b"Content-Length: -1"],
        "with a plus": [b"Content-Length: +%d" % len(body)],
        "no number": [b"Content-Length: ten"],
        "hexadecimal": [b"Content-Length: 0x10"],
        "in full-width digits": ["Content-Length: \uff11\uff10".encode()],
        "of 400 digits": [b"Content-Length: " + b"9" * 400],
        "twice, different": [sized(body), b"Content-Length: 5"],
        "as a list": [b"Content-Length: %d, 5" % len(body)],
        "empty": [b"Content-Length:"],
    }
    refused: tuple[str | int, ...] = (
        "invalid_signature",
        "invalid_payload",
        "payload_too_large",
        *BY_THE_SERVER,
    )
    for name, headers in lengths.items():
        yield one(f"length {name}", request([signed, *headers], body), *refused)
    yield one("length left out", request([signed], body), "invalid_signature", *BY_THE_SERVER)
    promised = request([signed, b"Content-Length: %d" % (len(body) + 100)], body)
    yield one("length too long", promised, "not_found", *refused, is_cut_off=True)
    huge = request([signed, b"Content-Length: 99999999999"], body)
    yield one("length of 100 GB", huge, "payload_too_large")

    both = request([signed, sized(body), chunked], whole)
    yield one("length and chunks", both, "not_found", *refused)
    yield one("chunks", request([signed, chunked], halves + b"0\r\n\r\n"), "not_found")
    extended = b"%x;a=b\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(body), body)
    yield one("chunks with a trailer", request([signed, chunked], extended), "not_found", 0, 400)
    past = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    yield one(
        "chunks past 256 KiB",
        request([signed, chunked], past * 5 + b"0\r\n\r\n"),
        "payload_too_large",
    )
    wrong = {
        "chunk longer than it is": b"fffff\r\n" + body,
        "chunk shorter than it is": b"5\r\n" + body + b"\r\n0\r\n\r\n",
        "chunk size that is no number": b"zz\r\n" + body + b"\r\n0\r\n\r\n",
        "negative chunk size": b"-5\r\n" + body + b"\r\n0\r\n\r\n",
        "chunk size of 100 digits": b"f" * 100 + b"\r\n" + body + b"\r\n0\r\n\r\n",
        "chunks without an end": halves,
        "bare line feeds between chunks": halves.replace(b"\r\n", b"\n") + b"0\n\n",
        "endless chunk extension": b"5;" + b"a" * 20_000 + b"\r\n",
    }
    for name, content in wrong.items():
        raw = request([signed, chunked], content)
        yield one(name, raw, "invalid_signature", "invalid_payload", 0, 400, is_cut_off=True)
    codings = {
        "chunked twice": b"chunked, chunked",
        "gzip and chunked": b"gzip, chunked",
        "unknown coding": b"xchunked",
        "chunked in quotes": b'"chunked"',
        "identity": b"identity",
    }
    for name, value in codings.items():
        raw = request([signed, b"Transfer-Encoding: " + value], whole)
        # RFC 9112, 6.1: 501 says that a coding is not known.
        answers: tuple[str | int, ...] = ("not_found", 501, *refused)
        yield one(f"transfer coding: {name}", raw, *answers, is_cut_off=True)


def request_line_traps() -> Iterator[Trap]:
    """`BY_THE_SERVER` stands where the line can not be given to any application."""
    missing = {
        "unknown address": "/v1/nothing",
        "address of the API itself": "/v1",
        "its root": "/v1/",
        "slash at the end": "/v1/capabilities/",
        "slash at the end of the webhook": f"{WEBHOOK}/",
        "unknown integration": "/v1/integrations/nobody/webhook",
        "slug in capitals": "/v1/integrations/SplitEasy/webhook",
        "two slashes": "/v1//integrations/spliteasy/webhook",
        "slash that is encoded": "/v1/integrations%2Fspliteasy/webhook",
        "dots": "/v1/../v1/capabilities/",
        "dots that are encoded": "/v1/%2e%2e/v1/nothing",
        "NUL that is encoded": "/v1/integrations/%00/webhook",
        "bytes that are no UTF-8": "/v1/integrations/%ff%fe/webhook",
        "surrogate that is encoded": "/v1/installs/%ed%a0%80",
        "encoding that is cut off": "/v1/integrations/%2/webhook",
        "encoding of nothing": "/v1/integrations/%zz/webhook",
        "line break that is encoded": "/v1/integrations/%0d%0aSet-Cookie:%20a=b/webhook",
        "slug of 3,000 characters": f"/v1/integrations/{'x' * 3000}/webhook",
        "parameters": f"{WEBHOOK};a=b",
        "UUID that is none": "/v1/installs/00000000-0000-4000-8000-00000000000g",
        "event type with a NUL": "/v1/event-types/%00",
    }
    for name, path in missing.items():
        raw = request([b"Content-Length: 0"], line=f"POST {path} HTTP/1.1".encode())
        answers = ("not_found", "method_not_allowed", "invalid_signature")
        yield one(f"path: {name}", raw, *answers)
    outside = {"/nothing": 404, "/v2/capabilities": 404, "/integrations/%00/x": 404}
    for path, status in outside.items():
        raw = request(line=f"GET {path} HTTP/1.1".encode())
        yield one(f"outside the API: {path}", raw, status, 302)
    queries = ("limit=abc", "cursor=%00%ff", "cursor=!!!", "limit=-1", "limit=" + "9" * 2000)
    for number, query in enumerate(queries):
        raw = request(line=f"GET /v1/integrations?{query} HTTP/1.1".encode())
        yield one(f"query {number} of the catalog", raw, 200, "not_found", "invalid_payload")
    lines = {
        "absolute address": b"POST http://127.0.0.1%s HTTP/1.1" % WEBHOOK.encode(),
        "HTTP/1.0": b"POST %s HTTP/1.0" % WEBHOOK.encode(),
        "query of 2,000 characters": b"POST %s?%s HTTP/1.1" % (WEBHOOK.encode(), b"q" * 2000),
        "fragment": b"POST %s#here HTTP/1.1" % WEBHOOK.encode(),
    }
    for name, line in lines.items():
        raw = request([b"Content-Length: 0"], line=line)
        yield one(f"line: {name}", raw, "invalid_signature", "not_found", 400)
    malformed = {
        "of 10,000 characters": b"GET /v1/" + b"x" * 10_000 + b" HTTP/1.1",
        "of 100,000 characters": b"GET /v1/" + b"x" * 100_000 + b" HTTP/1.1",
        "without a version": b"GET /v1/capabilities",
        "HTTP/0.9": b"GET /v1/capabilities HTTP/0.9",
        "HTTP/2.0": b"PRI * HTTP/2.0",
        "HTTP/3.7": b"GET /v1/capabilities HTTP/3.7",
        "no HTTP": b"hello",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "raw bytes in the path": b"GET /v1/\xff\xfe HTTP/1.1",
        "raw NUL in the path": b"GET /v1/\x00 HTTP/1.1",
        "blank in the path": b"GET /v1/capa bilities HTTP/1.1",
        "path without a slash": b"GET v1/capabilities HTTP/1.1",
        "asterisk": b"OPTIONS * HTTP/1.1",
        "CONNECT": b"CONNECT 127.0.0.1:80 HTTP/1.1",
        "method with brackets": b"(GET) /v1/capabilities HTTP/1.1",
        "method in small letters": b"get /v1/capabilities HTTP/1.1",
    }
    refused = ("not_found", "method_not_allowed", "invalid_payload", 404, *BY_THE_SERVER)
    for name, line in malformed.items():
        yield one(f"line: {name}", request(line=line), *refused, is_cut_off=True)


def header_traps() -> Iterator[Trap]:
    line = b"GET /v1/nothing HTTP/1.1"
    by_the_server = {
        "value of 9,000 characters": [b"X-Long: " + b"x" * 9000],
        "value of 100,000 characters": [b"X-Long: " + b"x" * 100_000],
        "name of 10,000 characters": [b"x" * 10_000 + b": 1"],
        "150 headers": [b"X-%d: 1" % number for number in range(150)],
        "2,000 headers": [b"X-%d: 1" % number for number in range(2000)],
        "line without a colon": [b"nothing"],
        "blank before the colon": [b"X-Blank : 1"],
        "name that is empty": [b": 1"],
        "name with a NUL": [b"X-\x00: 1"],
        "value with a NUL": [b"X-Nul: \x00"],
        "value with a carriage return": [b"X-Break: a\rb"],
        "folded line": [b"X-Folded: a", b" b"],
        "name that is not ASCII": ["X-é: 1".encode()],
    }
    for name, headers in by_the_server.items():
        raw = request(headers, line=line)
        yield one(f"header: {name}", raw, "not_found", *BY_THE_SERVER)
    values = {
        "accept nonsense": b"Accept: \xff/\xff;q=x",
        "language nonsense": b"Accept-Language: " + b"x-" * 1000,
        "language that is not ASCII": "Accept-Language: é".encode(),
        "cookie nonsense": b"Cookie: =;;==\xff; sessionid=" + b"x" * 4000,
        "cookie with a NUL that is escaped": b'Cookie: sessionid="\\000"',
        "forwarded nonsense": b"X-Forwarded-For: \xff, ::::, 999.999.999.999",
        "forwarded scheme": b"X-Forwarded-Proto: javascript",
        "request id nonsense": b"X-Request-Id: \xff\xff",
        "method override": b"X-HTTP-Method-Override: DELETE",
        "range nonsense": b"Range: bytes=-999999999999999999-",
        "upgrade": b"Upgrade: websocket",
        "blank values": b"Accept:",
    }
    for name, header in values.items():
        yield one(f"header: {name}", request([header], line=line), "not_found", 400)
    hosts = {
        "of another": b"evil.example",
        "empty": b"",
        "that is nonsense": b"127.0.0.1:99999/\\@evil.example",
        "that is not ASCII": "é.example".encode(),
        "of 5,000 characters": b"x" * 5000,
    }
    for name, host in hosts.items():
        yield one(f"host {name}", request(line=line, host=host), "invalid_payload", 400)
    page = request(line=b"GET /integrations HTTP/1.1", host=b"evil.example")
    yield one("host of another, for a page", page, 400)
    twice = request([b"Host: evil.example"], line=line)
    yield one("host twice", twice, "not_found", "invalid_payload", 400)
    without = b"%s\r\nConnection: close\r\n\r\n" % line
    yield one("host left out", without, "not_found", "invalid_payload", 400)
    tokens = {
        "is not ASCII": "Bearer é".encode(),
        "is not UTF-8": b"Bearer \xff\xfe",
        "is two words": b"Bearer a b",
        "is no word": b"Bearer",
        "is of another kind": b"Basic Og==",
        "has 7,000 characters": b"Bearer " + b"x" * 7000,
    }
    for name, value in tokens.items():
        raw = request([b"Authorization: " + value], line=b"GET /v1/installs HTTP/1.1")
        yield one(f"token that {name}", raw, "unauthenticated")


def method_traps(token: str) -> Iterator[Trap]:
    """200 is for what a path answers by design, such as HEAD where there is GET."""
    bearer = b"Authorization: Bearer " + token.encode()
    codes = ("not_found", "method_not_allowed", "invalid_payload", "unsupported_media_type")
    others = ("invalid_signature", "forbidden", "integration_not_installed")
    for path in API_PATHS:
        for method in OTHER_METHODS:
            raw = request(
                [bearer, b"Content-Length: 0"], line=f"{method} /v1/{path} HTTP/1.1".encode()
            )
            by_head = BY_HEAD if method == "HEAD" else frozenset({200})
            yield Trap(f"{method} /v1/{path}", [raw], by_head | {*codes, *others})


# Without a body there is no code.
BY_HEAD = frozenset({200, 400, 401, 403, 404, 405, 415})


def api_body_traps(token: str, merchant_id: str) -> Iterator[Trap]:
    """The same documents at doors that are opened by a token."""
    refused = (
        *("invalid_payload", "not_found", "unsupported_media_type", "payload_too_large"),
        "capability_unsupported",
    )

    def post(path: str, body: bytes, *headers: bytes) -> bytes:
        bearer = b"Authorization: Bearer " + token.encode()
        kind = [] if headers else [b"Content-Type: application/json"]
        line = f"POST /v1/{path} HTTP/1.1".encode()
        return request([bearer, sized(body), *kind, *headers], body, line)

    for path in ("events", "installs", "dispatch/receipt_qr"):
        for name, body in strange_documents(merchant_id).items():
            yield one(f"/{path}: {name}", post(path, body), *refused)
        big = post(path, b" " * (LIMIT + 1))
        yield one(f"/{path}: past 256 KiB", big, "payload_too_large", "invalid_payload")
        huge = post(path, b" " * 2_700_000)
        yield one(f"/{path}: past 2.5 MB", huge, "payload_too_large", "invalid_payload", 0)
    unknown = json.dumps({"integration": "nobody"}).encode()
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(unknown), unknown)
    kind = [b"Content-Type: application/json", b"Transfer-Encoding: chunked"]
    bearer = b"Authorization: Bearer " + token.encode()
    raw = request([bearer, *kind], chunked, b"POST /v1/installs HTTP/1.1")
    yield one("/installs: chunks", raw, "not_found")
    raw = request([bearer, *kind], b"zz\r\n", b"POST /v1/installs HTTP/1.1")
    yield one("/installs: broken chunks", raw, "invalid_payload", is_cut_off=True)
    kinds = {
        "no type": b"X-Nothing: 1",
        "a form": b"Content-Type: application/x-www-form-urlencoded",
        "parts without a boundary": b"Content-Type: multipart/form-data",
        "type that is not ASCII": "Content-Type: é/é; charset=é".encode(),
        "another charset": b"Content-Type: application/json; charset=utf-16",
        "unknown charset": b"Content-Type: application/json; charset=nothing",
        "XML": b"Content-Type: application/xml",
        "empty type": b"Content-Type:",
    }
    for name, header in kinds.items():
        yield one(f"/events as {name}", post("events", b"{}", header), *refused)


def slow_traps(partner: Partner, merchant_id: str) -> Iterator[Trap]:
    """Whoever is slow is waited for; whoever sends two at once is answered in turn."""
    raw = partner.post(make_event("trap", NOBODY))
    step = len(raw) // 8 + 1
    dripped = [raw[start : start + step] for start in range(0, len(raw), step)]
    yield Trap("dripped", dripped, frozenset({"not_found"}), pause_seconds=0.05)
    expecting = partner.post(make_event("trap", NOBODY), b"Expect: 100-continue")
    yield one("Expect: 100-continue", expecting, "not_found")
    other = partner.post(make_event("trap", NOBODY), b"Expect: nonsense")
    yield one("Expect: nonsense", other, "not_found", 400, 417)
    first = raw.replace(b"Connection: close", b"Connection: keep-alive")
    yield one("two requests at once", first + raw, "not_found")
    yield one("half a request", raw[:40], *BY_THE_SERVER, is_cut_off=True)
    yield one("nothing", b"", 0, is_cut_off=True)
    yield one("blank lines first", b"\r\n\r\n" + raw, "not_found", *BY_THE_SERVER)
