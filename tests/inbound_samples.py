"""One signed request for each preset: vectors that providers publish, and, for the others, requests
that are signed here by the rule on the provider's page, without the verifier's own code.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from catalog.inbound_parts import SignedRequest
from catalog.inbound_presets import PRESETS
from catalog.inbound_scheme import Scheme, read_scheme
from dispatch.inbound_verifier import Verdict, verify

VECTORS = json.loads((Path(__file__).parent / "data" / "signature_vectors.json").read_text())
NOW = 1_790_000_000
TIME = "2026-09-21T14:13:20Z"
URL = "https://hub.example/v1/integrations/partner/webhook"
KEY = "a-key-of-the-provider-0123456789"
TOKEN = "issued-token-0123456789"
BODY = b'{"id":"evt_1","type":"order.paid","amount":10000.00,"name":"Sambal"}'


@dataclass(frozen=True, slots=True)
class Sample:
    """`proven` are the texts of the body that are signed where the whole of it is not, `unproven` is
    the start of a header that is not.
    """

    name: str
    scheme: Scheme
    request: SignedRequest
    key: bytes
    proven: tuple[bytes, ...] = ()
    unproven: str = ""

    def verdict(self, **over: Any) -> Verdict:
        key = over.pop("key", self.key)
        request = self.request._replace(**over)
        return verify(self.scheme, request, [key], is_issued=lambda token: token == TOKEN)


def make_request(
    headers: dict[str, str] | None = None,
    body: bytes = BODY,
    url: str = URL,
    **over: Any,
) -> SignedRequest:
    address = urlsplit(url)
    pairs = [(name.lower(), value) for name, value in (headers or {}).items()]
    defaults: dict[str, Any] = {"method": "POST", "now": NOW}
    return SignedRequest(
        url=url, path=address.path, query=address.query, headers=pairs, body=body, **defaults | over
    )


def mac(message: bytes | str, key: str | bytes = KEY, name: str = "sha256") -> bytes:
    data = message.encode() if isinstance(message, str) else message
    return hmac.new(key.encode() if isinstance(key, str) else key, data, name).digest()


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def url64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def make_jwt(claims: dict[str, Any], key: str = KEY, alg: str = "HS256") -> str:
    head = url64(json.dumps({"alg": alg, "typ": "JWT"}).encode())
    signed = f"{head}.{url64(json.dumps(claims).encode())}"
    return f"{signed}.{url64(mac(signed, key))}"


def of_vectors() -> list[Sample]:
    return [
        Sample(
            row["name"],
            read_scheme(
                row.get("scheme") or PRESETS[row["preset"]].verification, "X-Hub-Signature"
            ),
            make_request(row["headers"], row["body"].encode(), row["url"], now=row["now"]),
            row["key"].encode(),
            (b"1111", b"200", b"100000.00") if row["name"] == "midtrans" else (),
            'hmac username="CLIENT_ID", algorithm="hmac-sha256", headers="date request-line", '
            if row["name"] == "mekari-request"
            else "",
        )
        for row in VECTORS
    ]


def of_rules() -> list[Sample]:
    samples = [
        _sample(name, make(), key=KEYS.get(name, KEY).encode(), proven=PROVEN.get(name, ()))
        for name, make in RULES.items()
    ]
    return [*samples, _rsa_sample(), *_composed()]


def all_samples() -> list[Sample]:
    return [*of_vectors(), *of_rules()]


def _sample(name: str, request: SignedRequest, **over: Any) -> Sample:
    return Sample(name, read_scheme(PRESETS[name].verification, "X-Unused"), request, **over)


def _hex_of_body(header: str) -> Callable[[], SignedRequest]:
    return lambda: make_request({header: mac(BODY).hex()})


def _b64_of_body(header: str) -> Callable[[], SignedRequest]:
    return lambda: make_request({header: b64(mac(BODY))})


def _stripe() -> SignedRequest:
    signature = mac(f"{NOW}.".encode() + BODY).hex()
    return make_request({"Stripe-Signature": f"t={NOW},v1={signature}"})


def _adyen() -> SignedRequest:
    item: dict[str, Any] = {
        "pspReference": "psp-7914073381342284",
        "merchantAccountCode": "MapleAccount",
        "merchantReference": "order-17",
        "amount": {"value": 115500, "currency": "IDR"},
        "eventCode": "AUTHORISATION",
        "success": "true",
        "additionalData": {},
    }
    signed = "psp-7914073381342284::MapleAccount:order-17:115500:IDR:AUTHORISATION:true"
    signature = b64(mac(signed, bytes.fromhex(HEX_KEY)))
    item["additionalData"]["hmacSignature"] = signature
    body = {"live": "false", "notificationItems": [{"NotificationRequestItem": item}]}
    return make_request(body=json.dumps(body).encode())


def _twilio() -> SignedRequest:
    # The page sorts the fields by name and glues each name to its value.
    signed = (
        f"{URL}?a=1" + "AccountSidAC1" + "BodyHalo & terima kasih" + "MessageSidSM1" + "To+62811"
    )
    body = b"To=%2B62811&MessageSid=SM1&Body=Halo+%26+terima+kasih&AccountSid=AC1"
    signature = b64(mac(signed, name="sha1"))
    return make_request({"X-Twilio-Signature": signature}, body, f"{URL}?a=1")


def _twilio_json() -> SignedRequest:
    url = f"{URL}?bodySHA256={hashlib.sha256(BODY).hexdigest()}"
    return make_request({"X-Twilio-Signature": b64(mac(url, name="sha1"))}, BODY, url)


def _messagebird() -> SignedRequest:
    claims = {"iss": "MessageBird", "nbf": NOW, "exp": NOW + 60, "jti": "j-1"}
    claims["url_hash"] = hashlib.sha256(URL.encode()).hexdigest()
    claims["payload_hash"] = hashlib.sha256(BODY).hexdigest()
    return make_request({"messagebird-signature-jwt": make_jwt(claims)})


def _toast() -> SignedRequest:
    body = b'{"timestamp":"%s","eventType":"partner_added","guid":"g-1"}' % TIME.encode()
    return make_request({"Toast-Signature": b64(mac(body + TIME.encode()))}, body)


def _olo() -> SignedRequest:
    ticks = str(621_355_968_000_000_000 + NOW * 10_000_000)
    signed = f"{URL}\n{BODY.decode()}\nmsg-1\n{ticks}"
    headers = {"X-Olo-Message-Id": "msg-1", "X-Olo-Timestamp": ticks}
    return make_request({"Authorization": b64(mac(signed)), **headers})


def _iris() -> SignedRequest:
    return make_request({"Iris-Signature": hashlib.sha512(BODY + KEY.encode()).hexdigest()})


def _klaviyo() -> SignedRequest:
    signature = mac(BODY + str(NOW).encode()).hex()
    return make_request({"Klaviyo-Signature": signature, "Klaviyo-Timestamp": str(NOW)})


def _seven_shifts() -> SignedRequest:
    signature = mac(f"{NOW}.".encode() + BODY).hex()
    return make_request({"x-hmac-signature": signature, "x-hmac-timestamp": str(NOW)})


HEX_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
KEYS = {"adyen": HEX_KEY, "adyen-platform": HEX_KEY}
PROVEN: dict[str, tuple[bytes, ...]] = {
    "adyen": (b"psp-7914073381342284", b"MapleAccount", b"115500", b"AUTHORISATION", b'"true"')
}
RULES: dict[str, Callable[[], SignedRequest]] = {
    "stripe": _stripe,
    "square": lambda: make_request(
        {"x-square-hmacsha256-signature": b64(mac(URL.encode() + BODY))}
    ),
    "adyen": _adyen,
    "adyen-platform": lambda: make_request(
        {"HmacSignature": b64(mac(BODY, bytes.fromhex(HEX_KEY)))}
    ),
    "midtrans-iris": _iris,
    "xendit": lambda: make_request({"x-callback-token": KEY}),
    "grabfood": lambda: make_request({"Authorization": f"Bearer {TOKEN}"}),
    "uber-eats": _hex_of_body("X-Uber-Signature"),
    "deliverect": _hex_of_body("x-server-authorization-hmac-sha256"),
    "toast": _toast,
    "olo": _olo,
    "shopee": lambda: make_request({"Authorization": mac(f"{URL}|".encode() + BODY).hex()}),
    "shopify": _b64_of_body("X-Shopify-Hmac-Sha256"),
    "intuit": _b64_of_body("intuit-signature"),
    "klaviyo": _klaviyo,
    "seven-shifts": _seven_shifts,
    "twilio": _twilio,
    "twilio-json": _twilio_json,
    "messagebird": _messagebird,
}


def _rsa_sample() -> Sample:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashlib.sha256(BODY).hexdigest()
    signed = f"POST:{urlsplit(URL).path}:{digest}:{TIME}".encode()
    signature = b64(private.sign(signed, padding.PKCS1v15(), hashes.SHA256()))
    request = make_request({"X-SIGNATURE": signature, "X-TIMESTAMP": TIME})
    return _sample("midtrans-snap", request, key=public)


def _composed() -> list[Sample]:
    """Schemes that no preset uses, and the standard one."""
    named = {
        "standard": ({}, {"X-Partner-Signature": mac(BODY).hex()}),
        "basic": ({"kind": "basic"}, {"Authorization": f"Basic {b64(KEY.encode())}"}),
        "several-headers": (
            {"kind": "hmac", "signature": ["header:X-New", "header:X-Old"], "algorithm": "sha512"},
            {"X-Old": mac(BODY, name="sha512").hex()},
        ),
    }
    samples = [
        Sample(
            name, read_scheme(scheme, "X-Partner-Signature"), make_request(headers), KEY.encode()
        )
        for name, (scheme, headers) in named.items()
    ]
    token = {"kind": "token", "signature": "query:token"}
    request = make_request(url=f"{URL}?token={KEY}")
    return [*samples, Sample("query-token", read_scheme(token, "X"), request, KEY.encode())]
