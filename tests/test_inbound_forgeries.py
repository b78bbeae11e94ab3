"""Forged requests against every scheme. FORGERIES is how many; `make forgeries` tries 100,000."""

import os
import random
import sys
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from catalog.inbound_parts import SignedRequest
from dispatch.inbound_explanation import explain
from dispatch.inbound_verifier import Outcome
from tests.inbound_mutations import attempt, forgery, one_byte_changes
from tests.inbound_samples import Sample, all_samples

COUNT = int(os.environ.get("FORGERIES", "4000"))
EVERY_MASK = COUNT >= 100_000
SEED = 20_261_124
SAMPLES = all_samples()
MASKS = list(range(1, 256)) if EVERY_MASK else [1, 32]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_each_one_byte_change_is_refused(sample: Sample):
    outcomes = Counter(
        attempt(sample, change).outcome for change in one_byte_changes(sample, MASKS)
    )

    sys.stdout.write(f"\n{sample.name}: {dict(outcomes)}")
    assert set(outcomes) == {Outcome.REFUSED}


@pytest.mark.timeout(1800)
def test_no_mutated_forgery_is_accepted():
    chance = random.Random(SEED)
    accepted, tried = [], Counter()
    while tried.total() < COUNT * 4 // 5:
        sample = chance.choice(SAMPLES)
        change = forgery(sample, SAMPLES, chance)
        if change is None:
            continue
        tried[sample.name] += 1
        if not attempt(sample, dict(change)).is_refused:
            accepted.append((sample.name, change))

    sys.stdout.write(
        f"\n{tried.total()} forgeries of {len(tried)} schemes, {len(accepted)} accepted"
    )
    assert accepted == []


headers = st.lists(
    st.tuples(
        st.sampled_from(sorted({name for row in SAMPLES for name, _ in row.request.headers})),
        st.one_of(st.text(max_size=80), st.binary(max_size=80).map(lambda raw: raw.hex())),
    ),
    max_size=5,
)
requests = st.builds(
    SignedRequest,
    method=st.sampled_from(["POST", "GET", ""]),
    url=st.one_of(st.just("https://hub.example/webhook"), st.text(max_size=60)),
    path=st.text(max_size=30),
    query=st.text(max_size=60),
    headers=headers,
    body=st.one_of(
        st.binary(max_size=200),
        st.sampled_from([row.request.body for row in SAMPLES]),
        st.sampled_from([b"[" * 5_000, b'{"timestamp":1e999}', b'{"a":"\\ud800"}', b"\x00"]),
    ),
    now=st.sampled_from([0.0, 1_790_000_000.0, 1e15]),
)


@pytest.mark.timeout(1800)
def test_no_invented_request_is_accepted():
    seen = Counter()

    @settings(
        max_examples=COUNT // 5,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(SAMPLES), requests)
    def try_one(sample: Sample, request: SignedRequest):
        # Some carry their signature in the body, so that this would be the real one.
        assume(request.body != sample.request.body)
        forged = replace(sample, request=request)
        seen[forged.verdict().outcome] += 1
        explain(sample.scheme, request, [sample.key], is_issued=lambda _token: False)

    try_one()

    sys.stdout.write(f"\n{seen.total()} invented requests: {dict(seen)}")
    assert set(seen) == {Outcome.REFUSED}
