"""LNLN x2 of reduced depth (2 groups of 4 blocks): what two CPU cores train in 1.5 hours.

Expected: 36.9 dB on Set5, 32.06 dB on the validation images (docs/results.md). The images are those
of scripts/recipes/training_set.py, with held-out ones for validation.

    python -m scripts.recipes.training_set data data/training_set
    lnln train lnln_light_x2
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

STEPS = 8000

config = TrainConfig(
    model=ModelConfig("lnln", scale=2, options={"n_resgroups": 2, "n_resblocks": 4}),
    data=DataConfig(
        train=("data/training_set/train",),
        validation="data/training_set/validation",
        lr_patch_size=32,
        batch_size=8,
        on_bad_image="skip",
    ),
    optimizer=OptimizerConfig(
        learning_rate=2e-3,
        warmup_steps=200,
        cosine_steps=STEPS,
        clip_norm=100.0,
        skip_nonfinite=10,
    ),
    steps=STEPS,
    ema_decay=0.999,
    sample_every=0,
)
