"""The configuration of an experiment, as dataclasses."""

from lnln_jax.config.schema import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    Parallel,
    Placement,
    TrainConfig,
    build_module,
    differences,
    from_dict,
    load_config,
    override,
    to_dict,
)

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
