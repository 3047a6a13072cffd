"""LNLN x2 at its full size, grown out of `lnln_light_x2`, for CPU cores alone.

The light network's two groups of 4 blocks are the first of the 5 groups of 36; all others start
without effect (lnln_jax/training/warm_start.py). Expected: 36.98 dB on Set5 and 32.09 dB on all
validation images, 0.05 and 0.03 more than the light network, after an hour and a half
(docs/results.md). The images are those of scripts/recipes/training_set.py, with held-out ones for
validation.

    python -m scripts.recipes.training_set data data/training_set
    lnln train lnln_grown_x2
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

STEPS = 1800

config = TrainConfig(
    model=ModelConfig("lnln", scale=2),
    data=DataConfig(
        train=("data/training_set/train",),
        validation="data/training_set/validation",
        validation_images=8,  # the network takes its time
        lr_patch_size=24,
        batch_size=8,
        on_bad_image="skip",  # one image of T91 is smaller than a patch
    ),
    optimizer=OptimizerConfig(
        learning_rate=1e-3,
        warmup_steps=60,
        cosine_steps=STEPS,
        clip_norm=100.0,
        skip_nonfinite=10,
    ),
    steps=STEPS,
    ema_decay=0.999,
    init_from="lnln_light_x2",
    log_every=20,
    checkpoint_every=200,
    validate_every=600,
    sample_every=0,
)
