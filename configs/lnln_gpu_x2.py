"""LNLN x2 at its full size, for minutes on one GPU: what scripts/gpu.py trains.

bfloat16, a large batch, images on the device, a rate that rises and falls within the time that
there is: `time_budget` sizes the run by the pace that it measures. On an H200, in 1,928 steps at
750 patches a second, it took `lnln_grown_x2` from 36.98 to 37.56 dB on Set5 (docs/benchmarks.md).

    python -m scripts.recipes.training_set data data/training_set
    python -m scripts.recipes.pack_images data/training_set/train data/extra \\
        --validation data/training_set/validation --output data/pack
    lnln train lnln_gpu_x2 time_budget=8m

`init_from=lnln_grown_x2`, or another trained LNLN of at most this depth, is a better start than
none.
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

STEPS = 20_000  # that the schedule is made for; time_budget stretches it

config = TrainConfig(
    model=ModelConfig("lnln", scale=2),
    data=DataConfig(
        train=("data/pack/train.zip",),
        validation="data/training_set/validation",
        validation_images=8,
        lr_patch_size=32,
        batch_size=128,
        placement="device",
        on_bad_image="skip",
    ),
    optimizer=OptimizerConfig(
        learning_rate=2e-3,
        warmup_steps=500,
        cosine_steps=STEPS,
        clip_norm=100.0,
        skip_nonfinite=10,
    ),
    steps=STEPS,
    dtype="bfloat16",
    ema_decay=0.999,
    log_every=50,
    checkpoint_every=2000,
    validate_every=5000,
    sample_every=0,
)
