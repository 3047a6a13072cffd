"""SwinIR-light x2 (Liang et al., ICCVW 2021): 0.91 M parameters; x3 and x4 from it.

Expected on Set5: x2 38.14 dB / 0.9611, x3 34.62 / 0.9289, x4 32.44 / 0.8976 (the authors' table).
500,000 steps, the rate of 2e-4 halved at 250, 400, 450 and 475 thousand, averaged weights; x3 and
x4 start from the trained x2 network, all but the upsampler, with half the rate and half the steps.
Batches of 64 patches as in the authors' options; the paper says 32. Here the average of the weights
forgets the first ones sooner, and which paths are dropped depends on the batch alone.

    lnln prepare div2k --scales 2,3,4
    lnln train swinir_light_x2 data.validation=data/Set5
    lnln train swinir_light_x2 model.scale=3 init_from=runs/swinir_light_x2 steps=250000 \\
        schedule_steps=500000 optimizer.learning_rate=1e-4 --output runs/swinir_light_x3
    lnln train swinir_light_x2 model.scale=4 init_from=runs/swinir_light_x2 steps=250000 \\
        schedule_steps=500000 optimizer.learning_rate=1e-4 --output runs/swinir_light_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("swinir_light", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5", lr_patch_size=64, batch_size=64),
    optimizer=OptimizerConfig(learning_rate=2e-4, b2=0.999, decay_at_epochs=(250, 400, 450, 475)),
    steps=500_000,
    ema_decay=0.999,
)
