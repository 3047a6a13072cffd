"""Multiply-adds and receptive fields against figures that others published."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.models import create_model, input_channels
from lnln_jax.models.complexity import (
    abstract_variables,
    count_elements_moved,
    count_multiply_adds,
    count_parameters,
    receptive_field,
)
from lnln_jax.models.variables import initialize


@pytest.mark.parametrize(
    ("name", "scale", "giga"),
    [
        ("edsr_baseline", 2, 316.2),
        ("edsr_baseline", 4, 114.2),
        ("rcan", 2, 3527),
        ("rcan", 4, 917),
        ("vdsr", 2, 612.6),
        ("vdsr", 4, 612.6),
    ],
)
def test_known_multiply_adds(name, scale, giga):
    counts = count_multiply_adds(create_model(name, scale))
    digits = 1 if isinstance(giga, float) else 0
    assert round(counts["convolution"] / 1e9, digits) == giga
    assert counts["attention"] == 0


def test_multiply_adds_of_lnln_by_hand():
    """Every kernel is used once a pixel; attention multiplies positions with positions, twice."""
    options = {"n_resgroups": 2, "n_resblocks": 3, "n_feats": 16, "reduction": 4}
    module = create_model("lnln", 2, **options)
    counts = count_multiply_adds(module, output_shape=(96, 128))
    pixels, region = 48 * 64, 24 * 32
    kernels = jax.tree_util.tree_flatten_with_path(abstract_variables(module)["params"])[0]
    total = 0
    for path, leaf in kernels:
        names = [key.key for key in path]
        if names[-1] != "kernel":
            continue
        uses = {"tail": 4 * pixels, "non_local": 2 * pixels}.get(names[0], pixels)
        if "attention" in names:
            uses = 1  # on the means of the channels
        total += uses * leaf.size
    assert counts["convolution"] == total
    assert counts["attention"] == 2 * 4 * 2 * region**2 * 8


def test_sizes_are_cut_to_multiples_of_the_scale():
    module = create_model("edsr", 3, n_resblocks=1, n_feats=4)
    assert count_multiply_adds(module, (30, 31)) == count_multiply_adds(module, (30, 30))


def test_parameters_are_counted_without_statistics():
    module = create_model("drca", 2, n_resgroups=1, n_resblocks=1, n_feats=8, reduction=2)
    variables = initialize(module, 0)
    assert count_parameters(module) == sum(x.size for x in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(("scale", "side"), [(2, 20), (3, 20), (4, 21)])
def test_receptive_field_of_edsr(scale, side):
    # LR pixels to each side: 1 of the head, 2 of each block, 1 after the body, 1 of the upsampler.
    # The tail and the second convolution at x4 work on finer pixels, and add 1 or 2 in all.
    module = create_model("edsr", scale, n_resblocks=3, n_feats=4)
    assert receptive_field(module) == side


@pytest.mark.slow
def test_receptive_field_is_what_gradients_see():
    """One output pixel has a gradient in as many inputs as `receptive_field` says."""
    for module in (
        create_model("vdsr", 2, n_layers=4, n_feats=4),
        create_model("edsr", 4, n_resblocks=2, n_feats=4),
    ):
        variables = jax.tree.map(jnp.abs, initialize(module, 0))
        x = jnp.full((1, 40, 40, input_channels(module)), 200.0)

        def pixel(x, row, module=module, variables=variables):
            return module.apply(variables, x)[0, row, row].sum()

        sides = []
        for phase in range(module.scale):  # pixels of one block see different inputs
            seen = jax.jit(jax.grad(pixel))(x, 20 * module.scale + phase)
            rows = np.flatnonzero(np.abs(seen).sum((0, 2, 3)))
            sides.append(rows[-1] - rows[0] + 1)
        assert receptive_field(module) == max(sides)


@pytest.mark.parametrize("name", ["rcan", "drca", "lnln"])
def test_channel_attention_sees_everything(name):
    assert receptive_field(create_model(name, 2, n_resgroups=1, n_resblocks=1)) is None


@pytest.mark.slow
def test_elements_moved():
    """Each half of LNLN's 360 separable convolutions reads and writes a map of 64 channels."""
    of_blocks = 360 * 2 * 2 * 64 * 48 * 48
    moved = count_elements_moved(create_model("lnln"), (96, 96))
    assert of_blocks < moved < 1.1 * of_blocks  # the rest: concatenations, skips, head and tail
    larger = count_elements_moved(create_model("lnln"), (192, 96))
    kernels = count_parameters(create_model("lnln"))
    assert 2 * (moved - kernels) <= larger <= 2 * moved
