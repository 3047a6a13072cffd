"""WDSR-B x2 as in the authors' project (Yu et al., 2018): 1.20 M parameters; x3 and x4 too.

The authors' project has no result of this size; with 8 blocks 34.54 dB on DIV2K's validation images
in RGB, as A has, and with 5 blocks 34.41, 0.02 more than A.
EDSR's recipe at ten times its rate, which weight normalisation bears: L1, Adam, 1e-3 halved every
200 of 300 epochs of 1000 steps, HR patches of 96. The number of epochs is that of the EDSR authors'
program, in which WDSR was trained; nothing is published of x3 and x4. x3 has 1.21 M and x4 1.23 M.

    lnln prepare div2k --scales 2,3,4
    lnln train wdsr_b_x2 data.validation=data/Set5
    lnln train wdsr_b_x2 model.scale=3 --output runs/wdsr_b_x3
    lnln train wdsr_b_x2 model.scale=4 --output runs/wdsr_b_x4
"""

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("wdsr_b", scale=2),
    data=DataConfig(train=("div2k_sub",), validation="data/Set5"),
    optimizer=OptimizerConfig(learning_rate=1e-3, b2=0.999),
    steps=300_000,
)
