"""Images as callers give them: what is not an array is refused, what looks like 0..1 is told."""

import warnings
from typing import Any

import jax
import numpy as np


def check_array(name: str, image: Any) -> None:
    """Raises ValueError for what is not an array of NumPy or JAX, with what to do about it.

    A list would be taken for whole numbers, a palette image of Pillow for its indices.
    """
    if isinstance(image, np.ndarray | jax.Array):
        return
    kind = f"{type(image).__module__}.{type(image).__qualname__}".removeprefix("builtins.")
    if hasattr(image, "convert"):  # of Pillow
        remedy = 'give np.asarray(image.convert("RGB"))'
    elif hasattr(image, "detach"):  # of PyTorch
        remedy = "give image.numpy(force=True), with the channels last"
    elif isinstance(image, str | bytes) or hasattr(image, "__fspath__"):
        remedy = "read the file first, as with lnln_jax.images.files.read_rgb"
    else:
        remedy = "give np.asarray(image, np.uint8), or np.float32"
    raise ValueError(f"{name} must be an array of NumPy or JAX, got {kind}; {remedy}")


def warn_of_unit_range(*, stacklevel: int, **images: Any) -> bool:
    """Warns of floating images that look as if they were in 0..1, where 0..255 is meant.

    An image that is black, or darker than 1 where another one is black too, says nothing. Neither
    does a traced image, whose values are unknown, nor one that lies on other processes.

    Args:
      stacklevel: as for `warnings.warn`, seen from the caller.
      **images: images that are compared, or a single one, by the names of the arguments.

    Returns:
      Whether it has warned.
    """
    if all(image.dtype == np.uint8 for image in images.values()):
        return False
    known = {name: image for name, image in images.items() if _is_known(image) and image.size}
    highest = {name: float(image.max()) for name, image in known.items()}
    unit = [
        name
        for name, image in known.items()
        if image.dtype != np.uint8 and 0 < highest[name] <= 1 and image.min() >= 0
    ]
    if unit and all(name in unit or high > 1 for name, high in highest.items()):
        warnings.warn(
            f"{' and '.join(unit)} {'have' if len(unit) > 1 else 'has'} values of at most "
            f"{highest[unit[0]]:.3g}, and 0..255 is meant; multiply by 255 if 1 is white",
            UserWarning,
            stacklevel=stacklevel + 1,
        )
        return True
    return False


def _is_known(image: Any) -> bool:
    """Returns whether the values of an array can be looked at here."""
    if isinstance(image, jax.Array):
        return not isinstance(image, jax.core.Tracer) and image.is_fully_addressable
    return True
