import pytest

from webhooks import totals


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "2xx"),
        (204, "2xx"),
        (301, "3xx"),
        (410, "4xx"),
        (429, "4xx"),
        (503, "5xx"),
        (None, "none"),
        (0, "none"),
        (100, "none"),
        (700, "none"),
    ],
)
def test_outcome_class_is_the_first_digit_or_none(status, outcome):
    assert totals.outcome_class(status) == outcome


def test_add_fills_an_endpoint_that_is_still_empty():
    outcomes, counts = {}, []

    totals.add(outcomes, counts, [(200, 25), (200, 26), (None, 15_000), (500, 15_001)])

    assert outcomes == {"2xx": 2, "none": 1, "5xx": 1}
    assert counts == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_add_goes_on_where_it_was():
    outcomes, counts = {"2xx": 7}, [3] + [0] * 10

    totals.add(outcomes, counts, [(202, 0)])

    assert outcomes == {"2xx": 8}
    assert counts == [4] + [0] * 10
