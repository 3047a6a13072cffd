"""The networks, one a file, and their registry."""

from lnln_jax.models.registry import (
    MODELS,
    SCALES,
    VARIANTS,
    create_model,
    input_channels,
    model_options,
    resolve,
)

__all__ = [
    "MODELS",
    "SCALES",
    "VARIANTS",
    "create_model",
    "input_channels",
    "model_options",
    "resolve",
]
