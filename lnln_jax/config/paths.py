"""The fields of a config that are paths."""

from dataclasses import replace

from lnln_jax.config.schema import TrainConfig
from lnln_jax.runtime.local_paths import local_path


def with_homes(config: TrainConfig) -> TrainConfig:
    """Returns a config with `~` expanded in every field that is a path.

    Raises:
      ValueError: there is no home folder.
    """
    data = config.data
    return replace(
        config,
        data=replace(
            data,
            train=tuple(map(local_path, data.train)),
            train_lr=tuple(map(local_path, data.train_lr)),
            validation=local_path(data.validation),
            data_dir=local_path(data.data_dir),
        ),
        init_from=local_path(config.init_from),
    )
