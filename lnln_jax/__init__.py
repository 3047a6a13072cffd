"""Lightweight non-local super-resolution in JAX.

import lnln_jax

model = lnln_jax.load_model("runs/lnln_x2")
sr = model.upscale(lr)  # uint8 H W 3 to uint8 H*2 W*2 3
lnln_jax.psnr(sr, hr, shave=2), lnln_jax.ssim(sr, hr, shave=2)  # on luma
"""

from lnln_jax.loading import load_model
from lnln_jax.metrics import psnr, ssim
from lnln_jax.models import create_model
from lnln_jax.resize import imresize
from lnln_jax.version import __version__

__all__ = ["__version__", "create_model", "imresize", "load_model", "psnr", "ssim"]
