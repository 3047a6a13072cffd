"""MSRN x2 as its authors trained it again (Li et al., ECCV 2018): 5.93 M parameters; x3, x4 too.

Expected on Set5: x2 38.07 dB / 0.9608, x3 34.48 / 0.9276, x4 32.25 / 0.8958 (the authors' project,
whose numbers are better than the paper's). L1, Adam, the rate of 1e-4 halved every 200 of 1000
epochs of 1000 steps, LR patches of 48 at every scale, each scale (6.11 M, 6.08 M) from scratch.

The authors test images cut in quarters that reach 10 pixels beyond the middle. With Python,
`upscaler.upscale(lr, tile=side // 2 + 10, overlap=20)` cuts a square of even side so. The network
sees 36 pixels far, so that this changes the numbers a little.

    lnln prepare div2k --scales 2,3,4
    lnln train msrn_x2 data.validation=data/Set5
    lnln train msrn_x2 model.scale=3 --output runs/msrn_x3
    lnln train msrn_x2 model.scale=4 --output runs/msrn_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("msrn", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(b2=0.999),
)
