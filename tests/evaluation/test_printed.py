"""Printed scores: what is read, and which values they are of."""

import pytest

from lnln_jax.evaluation.printed import Printed, PrintedScores, read_printed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("38.24", PrintedScores(Printed(38.24, 2), None)),
        ("38.240", PrintedScores(Printed(38.24, 3), None)),
        ("38", PrintedScores(Printed(38.0, 0), None)),
        ("0.9614", PrintedScores(None, Printed(0.9614, 4))),
        ("38.24/0.9614", PrintedScores(Printed(38.24, 2), Printed(0.9614, 4))),
        (" 38.24 / 0.9610 ", PrintedScores(Printed(38.24, 2), Printed(0.961, 4))),
    ],
)
def test_what_is_read(text, expected):
    assert read_printed(text) == expected
    assert read_printed(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("38,24", "dB", "38.24 dB", "0.9614/38.24", "38/39", "1/2/3", "-3", "38.", "/", ".96"),
        *("9" * 400, "38." + "0" * 400),  # which would be infinite
    ],
)
def test_what_is_refused(text):
    with pytest.raises(ValueError, match="neither a PSNR in dB nor an SSIM; write 38"):
        read_printed(text)


def test_half_a_unit_fits():
    printed = read_printed("38.24/0.9614")
    assert printed.fit(38.2450, 0.96135)
    assert printed.fit(38.2350, 0.96145)
    assert not printed.fit(38.2451, 0.9614)
    assert not printed.fit(38.24, 0.96134)
    assert not printed.fit(float("inf"), 0.9614)
    assert read_printed("38.24").fit(38.2450, 0.1)
    assert read_printed("0.9614").fit(float("inf"), 0.9614)
    assert read_printed("38.963960").fit(38.9639645, 0)  # as MATLAB prints single precision


def test_the_farther_of_both_counts():
    printed = read_printed("38.24/0.9614")
    assert printed.units(38.25, 0.9614) == pytest.approx(1)
    assert printed.units(38.25, 0.9618) == pytest.approx(4)
    assert read_printed("38.2").units(38.25, 0.9618) == pytest.approx(0.5)
