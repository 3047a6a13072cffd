"""The fields of a config that are paths."""

from dataclasses import replace

from lnln_jax.config.schema import TrainConfig
from lnln_jax.runtime.home import expand_home


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
            train=tuple(map(expand_home, data.train)),
            train_lr=tuple(map(expand_home, data.train_lr)),
            validation=expand_home(data.validation),
            data_dir=expand_home(data.data_dir),
        ),
        init_from=expand_home(config.init_from),
    )
