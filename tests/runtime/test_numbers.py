"""Numbers of all kinds, as callers give them."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.runtime.numbers import real, whole

NO_NUMBERS = (True, np.True_, np.array(True), None, "2", np.str_("2"), b"2", 2j, [2], np.array([2]))


@pytest.mark.parametrize("kind", [int, float, np.int64, np.uint8, np.float32, np.array, jnp.array])
def test_whole_numbers_become_ints(kind):
    number = whole("scale", kind(2), least=1, most=4)
    assert type(number) is int
    assert number == 2


@pytest.mark.parametrize(
    "kind", [float, np.float64, np.float32, np.float16, jnp.bfloat16, np.array, jnp.array]
)
@pytest.mark.parametrize("value", [0.1, 0.5, 1 / 3, 2.0])
def test_scalars_stand_for_the_number_they_were_made_of(kind, value):
    number = real("scale", kind(value), above=0)
    assert type(number) is float
    assert number == value


def test_a_scalar_of_many_digits_keeps_them():
    assert real("scale", np.float32(0.1234)) == 0.1234
    assert real("scale", np.float32(1e-30)) == pytest.approx(1e-30, rel=1e-6)
    assert real("scale", Fraction(1, 3)) == 1 / 3
    assert real("scale", np.int64(2**53)) == 2.0**53


@pytest.mark.parametrize("take", [whole, real])
@pytest.mark.parametrize("value", [*NO_NUMBERS, float("nan"), np.float32("inf"), jnp.array(-1)])
def test_what_is_no_number_or_out_of_range_is_named(take, value):
    with pytest.raises(ValueError, match=r"shave is .*; it must be a (whole )?number of at least"):
        take("shave", value, least=0)


def test_messages_say_the_range():
    with pytest.raises(ValueError, match=r"^index is 8; it must be a whole number from 0 to 7$"):
        whole("index", 8, least=0, most=7)
    with pytest.raises(ValueError, match=r"^scale is 0; it must be a number above 0$"):
        real("scale", 0, above=0)
    with pytest.raises(ValueError, match=r"^tile is 2\.5; it must be a whole number$"):
        whole("tile", 2.5)


def test_a_traced_number_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"shave is .*static_argnames"):
        jax.jit(lambda x: whole("shave", x))(2)
