"""The configuration of an experiment, as dataclasses."""

from lnln_jax.config.overrides import differences, from_dict, load_config, override, to_dict
from lnln_jax.config.schema import (
    DataConfig,
    OptimizerConfig,
    Parallel,
    Placement,
    TrainConfig,
    build_module,
)
from lnln_jax.models.spec import ModelConfig

__all__ = [
    "DataConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Parallel",
    "Placement",
    "TrainConfig",
    "build_module",
    "differences",
    "from_dict",
    "load_config",
    "override",
    "to_dict",
]
