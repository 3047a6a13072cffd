"""The networks, one a file, and their registry."""

from lnln_jax.models.registry import (
    ALL_SCALES,
    MODELS,
    SCALES,
    VARIANTS,
    create_model,
    input_channels,
    least_side,
    model_options,
    resolve,
    scales_of,
    window,
)

__all__ = [
    "ALL_SCALES",
    "MODELS",
    "SCALES",
    "VARIANTS",
    "create_model",
    "input_channels",
    "least_side",
    "model_options",
    "resolve",
    "scales_of",
    "window",
]
