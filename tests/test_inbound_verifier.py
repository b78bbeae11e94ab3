import timeit

import pytest

from catalog.inbound_parts import SignedRequest
from catalog.inbound_presets import PRESETS
from catalog.inbound_scheme import read_scheme
from dispatch.inbound_explanation import explain, reason_text
from dispatch.inbound_verifier import Outcome, Reason, verify
from tests.inbound_samples import (
    BODY,
    KEY,
    NOW,
    TOKEN,
    URL,
    Sample,
    all_samples,
    b64,
    mac,
    make_jwt,
    make_request,
)

SAMPLES = {sample.name: sample for sample in all_samples()}
STANDARD = read_scheme({}, "X-Partner-Signature")
SIGNATURE = mac(BODY).hex()
CONFIRMED = {"midtrans", "xendit"}
KEY_BYTES = KEY.encode()


def standard(headers, keys=(KEY_BYTES,), body=BODY):
    return verify(STANDARD, make_request({}, body)._replace(headers=headers), keys)


def make_hmac(headers, body=BODY, **document) -> Sample:
    scheme = read_scheme({"kind": "hmac", "signature": "header:X-Sig"} | document, "X")
    return Sample("made", scheme, make_request(headers, body), KEY_BYTES)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_each_sample_is_accepted(sample: Sample):
    wanted = Outcome.CONFIRM if sample.name in CONFIRMED else Outcome.SIGNED

    assert sample.verdict().outcome == wanted


def test_each_preset_has_a_sample_unless_nothing_is_signed():
    unsigned = {"kredivo", "mekari"}

    assert PRESETS.keys() - SAMPLES.keys() == unsigned


@pytest.mark.parametrize("name", ["kredivo", "mekari"])
def test_a_scheme_without_signature_only_gives_a_hint(name):
    scheme = read_scheme(PRESETS[name].verification, "X")

    verdict = verify(scheme, make_request(), [])

    assert (verdict.outcome, verdict.is_signed) == (Outcome.CONFIRM, False)


@pytest.mark.parametrize("text", [SIGNATURE, SIGNATURE.upper(), f"sha256={SIGNATURE}"])
def test_standard_takes_either_case_and_a_prefix(text):
    assert standard([("x-partner-signature", text)]).is_signed


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], Reason.NO_SIGNATURE),
        ([("x-partner-signature", SIGNATURE)] * 2, Reason.NO_SIGNATURE),
        ([("x-partner-signature", "")], Reason.NO_SIGNATURE),
        ([("x-partner-signature", "sha256=")], Reason.NO_SIGNATURE),
        ([("x-partner-signature", "a" * 9_000)], Reason.NO_SIGNATURE),
        ([("x-partner-signature", f"{SIGNATURE},{SIGNATURE}")], Reason.MISMATCH),
        ([("x-partner-signature", f" {SIGNATURE}")], Reason.MISMATCH),
        ([("x-partner-signature", f"{SIGNATURE}\x00")], Reason.MISMATCH),
        ([("x-partner-signature", SIGNATURE[:-1])], Reason.MISMATCH),
        ([("x-partner-signature", "é" * 64)], Reason.MISMATCH),
        ([("x-partner-signature", "\ud800" * 64)], Reason.MISMATCH),
        ([("x-partner-signature", "\uff10" * 64)], Reason.MISMATCH),
    ],
)
def test_standard_refuses_everything_else(headers, reason):
    verdict = standard(headers)

    assert (verdict.is_refused, verdict.reason, verdict.signers) == (True, reason, ())


@pytest.mark.parametrize(
    ("keys", "signers"), [([b"x", KEY_BYTES], (1,)), ([KEY_BYTES, b"x", KEY_BYTES], (0, 2))]
)
def test_all_keys_are_tried_and_the_signers_named(keys, signers):
    assert standard([("x-partner-signature", SIGNATURE)], keys).signers == signers


@pytest.mark.parametrize("encoding", ["utf-8", "hex", "base64", "whsec"])
@pytest.mark.parametrize("key", [b"", b"whsec_", b"\xff", b"===="])
def test_a_key_that_is_empty_or_unreadable_opens_nothing(encoding, key):
    sample = make_hmac({"X-Sig": mac(BODY, b"").hex()}, key=encoding)

    assert sample.verdict(key=key).is_refused


def test_an_empty_key_beside_another_opens_nothing():
    signature = mac(BODY, b"").hex()

    assert standard([("x-partner-signature", signature)], [b"", b"another"]).is_refused


@pytest.mark.parametrize(
    ("age", "reason"),
    [(-301, Reason.TOO_NEW), (-300, None), (0, None), (300, None), (301, Reason.TOO_OLD)],
)
def test_time_is_checked_both_ways(age, reason):
    assert SAMPLES["stripe"].verdict(now=NOW + age).reason == reason


@pytest.mark.parametrize("time", ["", "9" * 400, "-5", "1e5", "²", "nan", f"{NOW}.5.5", "0x10"])
def test_a_time_that_is_none_is_refused(time):
    headers = {"X-Sig": mac(time.encode("latin-1") + BODY).hex(), "T": time}
    sample = make_hmac(
        headers, signed=["header:T", "body"], time={"at": "header:T", "format": "unix"}
    )

    assert sample.verdict().reason == Reason.TIME_MISSING


def test_any_signature_of_a_list_may_match():
    old, right = mac(BODY, "old").hex(), mac(f"{NOW}.".encode() + BODY).hex()
    sample = SAMPLES["stripe"]

    verdict = sample.verdict(headers=[("stripe-signature", f"t={NOW},v1={old},v1={right},v0=x")])

    assert verdict.is_signed


@pytest.mark.parametrize("start", [f"t={NOW},t={NOW - 1}", f"t={NOW - 1},t={NOW}", "v1=x"])
def test_a_list_with_two_times_or_none_is_refused(start):
    right = mac(f"{NOW}.".encode() + BODY).hex()

    verdict = SAMPLES["stripe"].verdict(headers=[("stripe-signature", f"{start},v1={right}")])

    assert verdict.reason == Reason.TIME_MISSING


def test_numbers_are_signed_as_they_are_written():
    body = b'{"amount":10000.00,"big":12345678901234567890.10,"on":true,"note":null}'
    signed = "10000.00:12345678901234567890.10:true:"
    parts = ["body:/amount", "body:/big", "body:/on", "body:/note | optional"]

    assert (
        make_hmac({"X-Sig": mac(signed).hex()}, body, signed=parts, joiner=":").verdict().is_signed
    )


@pytest.mark.parametrize(
    "body", [b'{"a":"1","a":"2"}', b"[1", b"", b"\xff", b"[" * 100_000, b"null"]
)
def test_fields_of_a_body_that_can_be_read_in_two_ways_are_missing(body):
    sample = make_hmac({"X-Sig": mac("1").hex()}, body, signed=["body:/a"])

    assert sample.verdict().reason == Reason.PART_MISSING


def test_white_space_between_tokens_is_all_that_minifying_drops():
    body = b'{ "a b" : [ 1.00 ,\n"x \\" y" ] }'
    parts = ["body | minify"]

    signature = mac(b'{"a b":[1.00,"x \\" y"]}').hex()

    assert make_hmac({"X-Sig": signature}, body, signed=parts).verdict().is_signed


def test_base64_has_one_spelling():
    # The last letter carries two bits that no decoder looks at.
    text = b64(mac(BODY))
    twin = text[:-2] + chr(ord(text[-2]) + 1) + "="

    assert make_hmac({"X-Sig": text}, encoding="base64").verdict().is_signed
    assert make_hmac({"X-Sig": twin}, encoding="base64").verdict().is_refused


@pytest.mark.parametrize(
    "body", [b"To&%2B62811", b"To=a&To=b", b"a=%zz", b"a=\xff", b"a=%ff", b"a"]
)
def test_form_that_can_be_read_in_two_ways_is_not_signed(body):
    sample = SAMPLES["twilio"]
    signed = f"{URL}?a=1{body.decode('latin-1')}"
    headers = [("x-twilio-signature", b64(mac(signed, name="sha1")))]

    assert sample.verdict(headers=headers, body=body).is_refused


def test_form_bytes_that_are_no_text_are_not_read_as_another():
    signed = f"{URL}?a=1" + "a\ufffd"
    headers = [("x-twilio-signature", b64(mac(signed, name="sha1")))]

    assert SAMPLES["twilio"].verdict(headers=headers, body=b"a=%EF%BF%BD").is_signed
    assert SAMPLES["twilio"].verdict(headers=headers, body=b"a=%FF").is_refused


@pytest.mark.parametrize("alg", ["none", "RS256", "HS1", ""])
def test_jwt_of_another_algorithm_is_refused(alg):
    token = make_jwt({"iss": "MessageBird", "exp": NOW + 60}, alg=alg)
    headers = [("messagebird-signature-jwt", token)]

    assert SAMPLES["messagebird"].verdict(headers=headers).reason == Reason.NOT_READABLE


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({}, Reason.TIME_MISSING),
        ({"exp": "soon"}, Reason.TIME_MISSING),
        ({"exp": NOW - 5}, Reason.TOO_OLD),
        ({"exp": NOW - 4}, None),
        ({"exp": NOW + 9, "nbf": NOW + 5}, None),
        ({"exp": NOW + 9, "nbf": NOW + 6}, Reason.TOO_NEW),
        ({"exp": 10**400}, None),
    ],
)
def test_jwt_has_an_end_and_a_beginning(claims, reason):
    scheme = read_scheme({"kind": "jwt", "signature": "header:X-Jwt", "leeway": 5}, "X")
    sample = Sample("jwt", scheme, make_request({"X-Jwt": make_jwt(claims)}), KEY_BYTES)

    assert sample.verdict().reason == reason


def test_an_issued_token_is_refused_where_nobody_can_check_it():
    sample = SAMPLES["grabfood"]

    assert verify(sample.scheme, sample.request, [TOKEN.encode()]).reason == Reason.NO_KEY


def test_a_public_key_takes_one_spelling_of_a_signature():
    sample = SAMPLES["midtrans-snap"]
    (name, text), *others = sample.request.headers
    # The last letter before the padding carries four bits that no decoder looks at.
    twin = f"{text[:-3]}{chr(ord(text[-3]) + 1)}=="

    assert sample.verdict(headers=[(name, twin), *others]).is_refused


def test_a_public_key_that_is_none_opens_nothing():
    sample = SAMPLES["midtrans-snap"]

    assert sample.verdict(key=b"-----BEGIN PUBLIC KEY-----").is_refused


def test_an_address_that_is_no_url_is_no_error():
    sample = SAMPLES["doku"]

    assert sample.verdict(url="https://[::1").is_refused


# The debugger


def texts(sample: Sample, request: SignedRequest | None = None) -> str:
    steps = explain(
        sample.scheme, request or sample.request, [sample.key], is_issued=lambda _: True
    )
    return "\n".join(f"{step.title} {step.text} {step.hex}" for step in steps)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_no_key_is_shown(sample: Sample):
    leaking = sample.request._replace(body=sample.request.body + sample.key)
    shown = [texts(sample), texts(sample, leaking)]
    secrets = [] if sample.scheme.kind == "rsa" else [sample.key, TOKEN.encode()]

    assert [item for item in secrets for text in shown if item.decode() in text] == []
    assert [item for item in secrets for text in shown if item.hex(" ") in text] == []


def test_each_part_and_both_digests_are_shown():
    sample = SAMPLES["standard-webhooks"]

    steps = explain(sample.scheme, sample.request, [sample.key])

    assert [(step.title, step.text, step.is_ok) for step in steps] == [
        ("Received signature", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", None),
        ("Signed part header:webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", None),
        ("Signed part header:webhook-timestamp", "1614265330", None),
        ("Signed part body", '{"test": 2432232314}', None),
        (
            "Time header:webhook-timestamp",
            "0 s old, allowed are 300 s before and after.",
            True,
        ),
        (
            "Expected signature with key 1",
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            None,
        ),
        ("Accepted.", "", True),
    ]


def test_bytes_are_escaped():
    sample = make_hmac({"X-Sig": "a\n\x00é"})

    step = explain(sample.scheme, sample.request, [sample.key])[0]

    assert (step.text, step.hex) == (r"a\n\x00\xe9", "61 0a 00 e9")


def test_a_refusal_has_a_sentence_that_holds_nothing_of_the_request():
    verdict = SAMPLES["stripe"].verdict(now=NOW + 999)

    assert reason_text(verdict) == "signature:t=: The request is older than the tolerance allows."


def test_the_standard_scheme_is_fast():
    request = make_request(
        {f"X-{number}": "x" for number in range(12)} | {"X-Partner-Signature": SIGNATURE}
    )

    seconds = min(
        timeit.repeat(lambda: verify(STANDARD, request, [KEY_BYTES]), number=200, repeat=20)
    )

    assert seconds / 200 < 30e-6
