"""CARN x2 (Ahn et al., ECCV 2018): 0.96 M parameters; x3 and x4 likewise.

Expected on Set5: 37.76 dB / 0.9590 at x2, 34.29 / 0.9255 at x3, 32.13 / 0.8937 at x4 (the project's
table). Batches of 64 patches of 64x64 LR pixels, L1, Adam, gradients clipped to a norm of 10;
600,000 steps, the rate halved after 400,000. The authors train one network for x2, x3 and x4, whose
scale is drawn anew for each step; these are one for each. x3 has 1.15 M, x4 1.11 M parameters.

    lnln prepare div2k --scales 2,3,4 --step 216
    lnln train carn_x2 data.validation=data/Set5
    lnln train carn_x2 model.scale=3 --output runs/carn_x3
    lnln train carn_x2 model.scale=4 --output runs/carn_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("carn", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5", lr_patch_size=64, batch_size=64),
    optimizer=OptimizerConfig(b2=0.999, decay_every_epochs=400, clip_norm=10.0),
    steps=600_000,
)
