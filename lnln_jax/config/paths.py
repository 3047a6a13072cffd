"""The fields of a config that are paths."""

from collections.abc import Callable
from dataclasses import replace

from lnln_jax.config.schema import TrainConfig
from lnln_jax.runtime.local_paths import local_path


def with_homes(config: TrainConfig) -> TrainConfig:
    """Returns a config with `~` expanded in every field that is a path.

    Raises:
      ValueError: there is no home folder, or a path is an address.
    """
    return with_paths(config, local_path)


def with_paths(config: TrainConfig, change: Callable[[str], str]) -> TrainConfig:
    """Returns a config with every path changed by a function, empty ones too."""
    data = config.data
    return replace(
        config,
        data=replace(
            data,
            train=tuple(map(change, data.train)),
            train_lr=tuple(map(change, data.train_lr)),
            validation=change(data.validation),
            data_dir=change(data.data_dir),
        ),
        init_from=change(config.init_from),
    )
