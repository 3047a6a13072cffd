"""Spans of time as text."""

import pytest

from lnln_jax.runtime.durations import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("90", 90), ("8m", 480), ("1h30m", 5400), ("1h5s", 3605), ("0.5m", 30)],
)
def test_spans(text, seconds):
    assert seconds_of("time_budget", text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-5", "5 m", "m", "5x", "30s5m", "nan", "1h30"])
def test_what_is_not_a_span(text):
    with pytest.raises(ValueError, match=f"^time_budget is '{text}'; write a time such as 90s"):
        seconds_of("time_budget", text)


def test_a_number_beyond_all_floats():
    with pytest.raises(ValueError, match="write a time"):
        seconds_of("time_budget", "9" * 400)
