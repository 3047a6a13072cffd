"""The networks that LNLN's and later papers compare with: their published sizes."""

import jax
import jax.numpy as jnp
import pytest

from lnln_jax.evaluation.published import all_published
from lnln_jax.models import (
    MODELS,
    SCALES,
    create_model,
    input_channels,
    least_side,
    scales_of,
)
from lnln_jax.models.complexity import count_multiply_adds, count_parameters
from lnln_jax.models.variables import abstract_variables
from tests.support.small_networks import OPTIONS

# At x2, x3 and x4, without mean-shift layers, as the authors' modules have them.
PARAMETERS = {
    "rlfn": (526_856, 533_891, 543_740),
    "rlfn_s": (454_620, 461_115, 470_208),
    "rlfn_ntire": (None, None, 317_218),
    "rfdn": (None, None, 433_448),
    "imdn": (694_404, 703_059, 715_176),
    "carn": (964_163, 1_148_803, 1_111_875),
    "carn_multi": (1_591_939,) * 3,
    "carn_m": (257_027, 303_427, 294_147),
    "carn_m_multi": (414_787,) * 3,
    "pan": (261_403, 261_403, 272_419),
    "rdn": (22_123_395, 22_308_035, 22_271_107),
    "rdn_a": (5_541_795, None, None),
    "msrn": (5_930_307, 6_114_947, 6_078_019),
    "wdsr_a": (1_190_100, 1_195_605, 1_203_312),
    "wdsr_b": (1_202_260, 1_212_085, 1_225_840),
    "wdsr_reloaded": (1_190_100, 1_195_605, 1_203_312),
    "san": (15_712_776, 15_897_416, 15_860_488),
    "swinir_light": (910_152, 918_267, 929_628),
}
LEARNT_SHIFTS = ("msrn", "san")  # 24 numbers, which the counts leave out
# What the authors' module has and never uses: a convolution, the groups' gammas, an attention.
UNUSED = {"san": (9 * 64 + 1) * 64 + 20 + (64 + 1) * 8 + (8 + 1) * 64}
PUBLISHED = [
    (name, scale, count)
    for name, counts in PARAMETERS.items()
    for scale, count in zip(SCALES, counts, strict=True)
    if count
]


def test_counts_are_the_published_ones():
    """CARN's and CARN-M's are of the published networks, which have three scales."""
    for row in all_published():
        name = f"{row.network}_multi" if row.network in ("carn", "carn_m") else row.network
        if name in PARAMETERS:
            assert row.parameters == PARAMETERS[name][row.scale - 2], row


@pytest.mark.parametrize(("name", "scale", "parameters"), PUBLISHED)
def test_parameter_counts(name, scale, parameters):
    shifts = 24 if name in LEARNT_SHIFTS else 0
    expected = parameters + shifts - UNUSED.get(name, 0)
    assert count_parameters(create_model(name, scale)) == expected


@pytest.mark.parametrize("name", [name for name in PARAMETERS if not name.endswith("multi")])
def test_multiply_adds(name):
    """Those that the authors' modules need for 1280x720; at x3, of LR images 427 wide."""
    rows = [row for row in all_published() if row.network == name and row.multiply_adds]
    for row in rows:
        shape = (720, 1281) if row.scale == 3 else (720, 1280)
        counts = count_multiply_adds(create_model(name, row.scale), shape)
        if name == "san":  # whose published count leaves attention out
            del counts["attention"]
        whole = float(row.multiply_adds).is_integer()
        digit = 1 if whole else 0.2 if name == "swinir_light" else 0.1  # a sum of two
        expected = pytest.approx(row.multiply_adds, abs=0.51 * digit)  # as printed
        assert sum(counts.values()) / 1e9 == expected, row.scale


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        *((name, ("n_resgroups", "n_resblocks")) for name in ("lnln", "drca", "rcan")),
        ("edsr", ("n_resblocks",)),
    ],
)
def test_eight_times(name, depth):
    """The upsampler of x4 once more."""
    sizes = (create_model(name, scale, **dict.fromkeys(depth, 1)) for scale in (2, 4, 8))
    two, four, eight = map(count_parameters, sizes)
    assert eight - four == four - two > 0


@pytest.mark.parametrize("name", MODELS)
def test_output_shapes(name):
    for scale in (3, scales_of(name)[-1]):  # one step of the upsampler, and most
        module = create_model(name, scale, **OPTIONS[name])
        channels = input_channels(module)
        side = max(least_side(module), 9)
        lr = jax.ShapeDtypeStruct((1, side, side + 2, channels), jnp.float32)
        sr = jax.eval_shape(module.apply, abstract_variables(module), lr)
        assert sr.shape == (1, side * scale, (side + 2) * scale, channels)
        assert sr.dtype == jnp.float32


def test_networks_of_other_scales_refuse_eight():
    with pytest.raises(ValueError, match="scale is 8; vdsr has 2, 3, 4"):
        create_model("vdsr", 8)
