import flax.linen as nn
import jax.numpy as jnp
import pytest

from lnln_jax.evaluation.paper import (
    BENCHMARKS,
    TABLE_1,
    TABLE_2,
    has_published_sizes,
    published_scores,
)
from lnln_jax.models import create_model
from lnln_jax.models.spec import hyper_parameters


def test_the_paper_has_a_row_for_every_network():
    assert published_scores("LNLN", "Set5", 2) == (38.32, 0.9618)
    assert published_scores("RCAN", "manga109", 4) == (31.22, 0.9173)
    assert published_scores("DRCA", "BSD100", 2) == published_scores("DRCA", "B100", 2)
    for method, benchmark, scale in (
        ("LNLN", "Set5", 3),
        ("", "Set5", 2),
        ("LNLN", "DIV2K_valid_HR", 2),
        ("Bicubic", "Manga109", 2),  # measured by neither convention
    ):
        assert published_scores(method, benchmark, scale) is None
    for rows in TABLE_1.values():
        assert set(rows) == {"Bicubic", *TABLE_2}
        assert all(len(row) == len(BENCHMARKS) for row in rows.values())


@pytest.mark.parametrize(
    ("name", "options", "published"),
    [
        ("lnln", {}, True),
        ("rcan", {}, True),
        ("drca", {"dtype": jnp.bfloat16}, True),
        ("edsr", {"scale": 4}, True),
        ("vdsr", {}, True),
        ("edsr_baseline", {}, False),
        ("vdsr_rgb", {}, False),
        ("edsr", {"n_resblocks": 2}, False),
        ("edsr", {"res_scale": 1.0}, False),
        ("lnln", {"reduction": 8}, False),
    ],
)
def test_what_the_paper_measured_has_the_published_sizes(name, options, published):
    module = create_model(name, **options)
    assert has_published_sizes(type(module).__name__, hyper_parameters(module)) == published


def test_bicubic_has_the_published_sizes_by_the_published_convention_alone():
    assert has_published_sizes("Bicubic", {})
    assert not has_published_sizes("", {})
    assert not has_published_sizes("Dense", hyper_parameters(nn.Dense(3)))


def test_hyper_parameters_are_numbers():
    module = create_model("edsr_baseline", 4, dtype=jnp.bfloat16)
    assert hyper_parameters(module) == {"n_resblocks": 16, "n_feats": 64, "res_scale": 1.0}
