"""IMDN x2 (Hui et al., ACM Multimedia 2019): 694,404 parameters; x3 and x4 likewise.

Expected on Set5: x2 38.00 dB / 0.9605, x3 34.36 / 0.9270, x4 32.21 / 0.8948 (the paper). HR patches
of 192 pixels at every scale, L1, Adam at 2e-4 halved every 200 of 1000 epochs of 1000 steps. The
authors take L1 of images in 0..1; of those in 0..255 Adam makes the same steps, but for its eps.

    lnln prepare div2k --scales 2,3,4
    lnln train imdn_x2 data.validation=data/Set5
    lnln train imdn_x2 model.scale=3 data.lr_patch_size=64 --output runs/imdn_x3
    lnln train imdn_x2 model.scale=4 data.lr_patch_size=48 --output runs/imdn_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("imdn", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5", lr_patch_size=96),
    optimizer=OptimizerConfig(learning_rate=2e-4, b2=0.999),
)
