"""A small LNLN x2 that beats bicubic after three minutes on two CPU cores, without any data.

It learns from generated dead-leaves images; `make demo` trains it and evaluates it on photos.

    lnln train quickstart
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("lnln", scale=2, options={"n_resgroups": 2, "n_resblocks": 3, "n_feats": 32}),
    data=DataConfig(dead_leaves=64, dead_leaves_size=256, lr_patch_size=32, batch_size=8),
    optimizer=OptimizerConfig(learning_rate=2e-3, decay_every_epochs=1, steps_per_epoch=500),
    steps=2400,
)
