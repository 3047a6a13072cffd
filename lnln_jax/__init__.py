"""Lightweight non-local super-resolution in JAX.

import lnln_jax

model = lnln_jax.load_model("lnln_light_x2")  # or a run's folder, or a file of weights
sr = model.upscale(lr)  # uint8 H W 3 to uint8 H*2 W*2 3
lnln_jax.psnr(sr, hr, shave=2), lnln_jax.ssim(sr, hr, shave=2)  # on luma

Names are imported at their first use, so that `lnln --help` need not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

from lnln_jax.version import __version__

if TYPE_CHECKING:
    from lnln_jax import pretrained, torch_port
    from lnln_jax.images.metrics import psnr, ssim
    from lnln_jax.images.resize import imresize
    from lnln_jax.inference.loading import load_model
    from lnln_jax.models import create_model

__all__ = [
    "__version__",
    "create_model",
    "imresize",
    "load_model",
    "pretrained",
    "psnr",
    "ssim",
    "torch_port",
]

# The module of each name that is not a module itself.
_HOMES = {
    "create_model": "lnln_jax.models",
    "imresize": "lnln_jax.images.resize",
    "load_model": "lnln_jax.inference.loading",
    "psnr": "lnln_jax.images.metrics",
    "ssim": "lnln_jax.images.metrics",
}


def __getattr__(name: str) -> Any:
    if name in ("pretrained", "torch_port"):
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
