"""LNLN x2 of reduced depth (2 groups of 4 blocks), for about half an hour on two CPU cores.

The training images are BSDS400 (BSDS500 without its validation folder, which is the test set
B100), T91 and General100; README.md has the result.

lnln train configs/lnln_small_x2.py data.train=data/BSDS400,data/T91,data/General100
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("lnln", scale=2, options={"n_resgroups": 2, "n_resblocks": 4}),
    data=DataConfig(
        train=("data/BSDS400", "data/T91", "data/General100"),
        validation="data/Set5",
        lr_patch_size=32,
        batch_size=8,
        on_bad_image="skip",  # some images of T91 are smaller than a patch
    ),
    optimizer=OptimizerConfig(learning_rate=1e-3, decay_every_epochs=2),
    steps=10_000,
    ema_decay=0.999,
    sample_every=2000,
)
