"""The published weights of VDSR give the published numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax import load_model
from lnln_jax.images.arrays import modcrop, rgb_to_y
from lnln_jax.images.files import read_rgb
from lnln_jax.images.metrics import psnr
from lnln_jax.images.resize import imresize


@pytest.mark.slow
def test_vdsr_on_set5(published_dir, published_weights):
    """37.65 dB at x2 (README of pytorch-vdsr), by its protocol: nothing is rounded."""
    model = load_model(published_weights / "vdsr.pt", scale=2)
    scores = []
    for file in sorted((published_dir / "Set5" / "HR").iterdir()):
        hr = rgb_to_y(modcrop(read_rgb(file), 2))
        interpolated = jnp.asarray(imresize(imresize(hr, 0.5), 2)[None, ..., None] / 255)
        sr = model.module.apply(model.variables, interpolated, method="refine")
        scores.append(psnr(np.clip(255 * sr[0, ..., 0], 0, 255), hr, shave=2))
    assert len(scores) == 5
    assert np.mean(scores) == pytest.approx(37.653, abs=2e-3)
