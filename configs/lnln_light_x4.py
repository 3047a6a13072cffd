"""LNLN x4 of reduced depth, from the trained x2 network, tail excepted.

Expected: 30.4 dB on Set5 after a quarter of an hour on two CPU cores, 26.77 dB on the validation
images (docs/results.md). The images are those of scripts/recipes/training_set.py, with held-out
ones for validation.

    python -m scripts.recipes.training_set data data/training_set
    lnln train lnln_light_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

STEPS = 1500

config = TrainConfig(
    model=ModelConfig("lnln", scale=4, options={"n_resgroups": 2, "n_resblocks": 4}),
    data=DataConfig(
        train=("data/training_set/train",),
        validation="data/training_set/validation",
        lr_patch_size=24,
        batch_size=8,
        on_bad_image="skip",  # one image of T91 is smaller than a patch
    ),
    optimizer=OptimizerConfig(
        learning_rate=1e-3,
        warmup_steps=200,
        cosine_steps=STEPS,
        clip_norm=100.0,
        skip_nonfinite=10,
    ),
    steps=STEPS,
    ema_decay=0.999,
    init_from="lnln_light_x2",
    sample_every=0,
)
