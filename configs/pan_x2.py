"""PAN x2 (Zhao et al., ECCVW 2020): 0.26 M parameters; x3 and x4 likewise.

Expected on Set5: 38.00 dB / 0.9605 at x2, 34.40 / 0.9272 at x3, 32.13 / 0.8948 at x4 (the authors'
log). DIV2K and Flickr2K (as the folder data/Flickr2K), batches of 32 patches of 64x64 LR pixels,
L1, Adam; the rate falls along a cosine from 7e-4 to 1e-7 in 250,000 steps, four times. The authors
cut training images into parts of 360 pixels, here they are of 480. x4 has 0.27 M parameters.

    lnln prepare div2k --scales 2,3,4 --step 216
    lnln prepare folder data/Flickr2K --name flickr2k --scales 2,3,4 --step 216
    lnln train pan_x2 data.validation=data/Set5
    lnln train pan_x2 model.scale=3 --output runs/pan_x3
    lnln train pan_x2 model.scale=4 --output runs/pan_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("pan", scale=2),
    data=DataConfig(
        train=("div2k_sub", "flickr2k"), validation="data/Set5", lr_patch_size=64, batch_size=32
    ),
    optimizer=OptimizerConfig(
        learning_rate=7e-4, cosine_steps=250_000, cosine_cycles=4, cosine_floor=1e-7
    ),
)
